// Users, roles, sessions, passwords, second factor, over real HTTP. The judge of one-time codes is
// OATH's own oathtool.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import http from 'node:http';
import {after, before, test} from 'node:test';

import {certificates, Server, until} from './harness.mjs';
import {addUser, Browser, setPassword, sql} from './people.mjs';

const OWNER = 'owner@example.com';
const word = () => `${randomBytes(9).toString('base64url')} and more`;
const passwords = {owner: word(), admin: word(), developer: word(), plain: word(), products: word(),
  second: word(), twice: word(), few: word(), victim: word()};
const ids = {};
let server;

before(async () => {
  server = new Server();
  server.init();
  assert.equal(setPassword(server, OWNER, passwords.owner).status, 0);
  ids.admin = addUser(server, 'admin@example.com', 'admin', passwords.admin);
  ids.developer = addUser(server, 'dev@example.com', 'developer', passwords.developer);
  ids.plain = addUser(server, 'plain@example.com', 'default', passwords.plain);
  ids.products = addUser(server, 'products@example.com', 'developer', passwords.products,
    {products: ['Webhooks']});
  ids.second = addUser(server, 'second@example.com', 'developer', passwords.second);
  addUser(server, 'few@example.com', 'admin', passwords.few, {products: ['Webhooks']});
  ids.victim = addUser(server, 'victim@example.com', 'developer', passwords.victim);
  ids.nobody = addUser(server, 'invited@example.com', 'default', null);
  sql(server, `UPDATE users SET status = 'INVITED' WHERE email = 'invited@example.com'`);
  await server.serve();
});
after(() => server.end());

function refused(answer, status, code, about) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.body.code, code, answer.text);
  if (about) {
    assert.match(answer.body.message, about);
  }
}

function code(seed, when = Date.now()) {
  return execFileSync('oathtool', ['--totp', '-b', seed, '--now',
    new Date(when).toISOString().replace('T', ' ').replace(/\..*/, ' UTC')],
  {encoding: 'utf8'}).trim();
}

test('signing in gives a cookie that only this host gets, and what the user may do', async () => {
  const browser = new Browser(server);
  const answer = await browser.signIn('OWNER@Example.com', passwords.owner);
  assert.equal(answer.status, 201, answer.text);
  const [cookie] = answer.headers['set-cookie'];
  assert.match(cookie, /^__Host-millrace=[A-Za-z0-9_-]{43}; /);
  for (const part of ['Secure', 'HttpOnly', 'SameSite=Strict', 'Path=/', 'Max-Age=2592000']) {
    assert.ok(cookie.split('; ').includes(part), cookie);
  }
  assert.equal(answer.headers['cache-control'], 'no-store');
  assert.equal(answer.headers['access-control-allow-credentials'], undefined);
  const session = await browser.call('GET', '/v1/session');
  assert.equal(session.status, 200);
  assert.deepEqual(session.body, answer.body);
  assert.equal(session.body.user.email, OWNER);
  assert.equal(session.body.user.role, 'owner');
  assert.equal(session.body.second_factor_needed, false);
  assert.match(session.body.csrf_token, /^[A-Za-z0-9_-]{43}$/);
  assert.deepEqual(session.body.scopes.globalResources.map((entry) => entry.resourceName),
    ['API Clients', 'Accounts', 'Users', 'Audit Log']);
  assert.ok(!session.text.includes(browser.cookie));
});

test('a user calls every resource by cookie, as a client does by token', async () => {
  const dev = await Browser.open(server, 'dev@example.com', passwords.developer);
  const made = await dev.call('POST', '/v1/secrets', {Name: 'by a user'});
  assert.equal(made.status, 201, made.text);
  assert.equal((await dev.call('GET', '/v1/destinations')).status, 200);
  const event = {specversion: '1.0', id: 'by-user-1', source: '/test', type: 'by.a.user',
    time: new Date().toISOString(), data: {}};
  const published = await dev.call('POST', '/v1/events', JSON.stringify(event),
    {'content-type': 'application/cloudevents+json'});
  assert.ok(published.status < 300, published.text);
  const id = (await dev.call('GET', '/v1/session')).body.account.id;
  assert.equal((await dev.call('GET', `/v1/destinations?account_id=${id}`)).status, 200);
  refused(await dev.call('GET', '/v1/destinations?account_id=acct_nope'), 404, 20404);
});

test('roles: the table, seen from outside', async () => {
  const roles = {
    admin: await Browser.open(server, 'admin@example.com', passwords.admin),
    developer: await Browser.open(server, 'dev@example.com', passwords.developer),
    plain: await Browser.open(server, 'plain@example.com', passwords.plain),
    products: await Browser.open(server, 'products@example.com', passwords.products)};
  const account = (await roles.admin.call('GET', '/v1/session')).body.account.id;
  const none = ['PATCH', '/v1/users/user_00000000000000000000000000', {}];
  for (const [[method, target, body], right, wrong] of [
    [['GET', '/v1/users'], {admin: 200, developer: 200, plain: 200, products: 200}],
    [none, {admin: 404}, ['developer', 'plain', 'products']],
    [['GET', `/v1/accounts/${account}`], {admin: 200, developer: 200, plain: 200}],
    [['PATCH', `/v1/accounts/${account}`, {}], {admin: 200}, ['developer', 'plain', 'products']],
    [['GET', '/v1/destinations'], {admin: 200, developer: 200, plain: 200}, ['products']],
    [['POST', '/v1/destinations', {}], {admin: 400, developer: 400}, ['plain', 'products']],
    [['GET', '/v1/secrets'], {admin: 200, developer: 200, plain: 200, products: 200}],
    [['POST', '/v1/secrets', {}], {admin: 400, developer: 400, products: 400}, ['plain']],
    [['GET', '/v1/event-types'], {developer: 200, plain: 200}, ['products']]]) {
    for (const [role, status] of Object.entries(right)) {
      const answer = await roles[role].call(method, target, body);
      assert.equal(answer.status, status, `${role} ${method} ${target}: ${answer.text}`);
    }
    for (const role of wrong ?? []) {
      const answer = await roles[role].call(method, target, body);
      assert.equal(answer.status, 403, `${role} ${method} ${target}: ${answer.text}`);
    }
  }
});

test('a token is no session: own things are of users alone', async () => {
  for (const [method, target] of [['GET', '/v1/session'], ['DELETE', '/v1/session'],
    ['GET', '/v1/sessions'], ['DELETE', '/v1/sessions/x'], ['GET', '/v1/profile'],
    ['PATCH', '/v1/profile'], ['POST', '/v1/profile/password'], ['POST', '/v1/profile/totp'],
    ['POST', '/v1/profile/totp/confirm'], ['POST', '/v1/profile/totp/remove'],
    ['POST', '/v1/profile/recovery-codes']]) {
    refused(await server.api(method, target, method === 'GET' ? undefined : {}), 403, 20006);
    refused(await server.request(method, target), 401, 20401);
  }
});

test('forged calls: each of the checks stands by itself', async () => {
  const victim = await Browser.open(server, 'victim@example.com', passwords.victim);
  const other = await Browser.open(server, 'victim@example.com', passwords.victim);
  const create = (headers) => victim.call('POST', '/v1/secrets', {Name: 'forged'}, headers);
  const before = (await victim.call('GET', '/v1/secrets')).text;
  for (const [what, headers] of Object.entries({
    'another site': {origin: 'https://evil.example'},
    'no origin to speak of': {origin: 'null'},
    'another port': {origin: 'http://127.0.0.1:1'},
    'another scheme': {origin: server.url.replace('http:', 'https:')},
    'a longer origin': {origin: `${server.url}.evil.example`},
    'cross-site': {'sec-fetch-site': 'cross-site'},
    'same-site': {'sec-fetch-site': 'same-site'},
    'no token': {'x-csrf-token': null},
    'an empty token': {'x-csrf-token': ''},
    'the token of another session': {'x-csrf-token': other.csrf},
    'a token that is nearly right': {'x-csrf-token': `${victim.csrf.slice(0, -1)}_`},
    'a form': {origin: 'https://evil.example', 'x-csrf-token': null,
      'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'cross-site'},
    'a second cookie': {cookie: `__Host-millrace=${victim.cookie}; __Host-millrace=${other.cookie}`},
  })) {
    const answer = await create(headers);
    assert.equal(answer.status, 403, `${what}: ${answer.text}`);
    assert.equal(answer.headers['access-control-allow-credentials'], undefined);
  }
  // Looking is refused across sites too, and needs no token at home.
  refused(await victim.call('GET', '/v1/secrets', undefined, {origin: 'https://evil.example'}), 403,
    30010);
  refused(await victim.call('GET', '/v1/secrets', undefined, {'sec-fetch-site': 'cross-site'}), 403,
    30010);
  assert.equal((await victim.call('GET', '/v1/secrets', undefined,
    {'sec-fetch-site': 'none'})).status, 200);
  assert.equal((await victim.call('GET', '/v1/secrets')).text, before);
  // An old browser that sends neither still has the token.
  const plain = await victim.call('PATCH', '/v1/profile', {name: 'Vic'},
    {origin: null, 'sec-fetch-site': null});
  assert.equal(plain.status, 200, plain.text);
  // Signing in across sites would put the victim into the attacker's session.
  const forged = await new Browser(server).call('POST', '/v1/session',
    {email: OWNER, password: passwords.owner}, {origin: 'https://evil.example'});
  refused(forged, 403, 20006);
  assert.equal(forged.headers['set-cookie'], undefined);
  refused(await new Browser(server).call('POST', '/v1/session',
    JSON.stringify({email: OWNER, password: passwords.owner}), {'content-type': 'text/plain'}),
  415, 20415);
  // Both an Authorization field and a cookie: the field counts.
  const both = await victim.call('POST', '/v1/secrets', {Name: 'token'},
    {authorization: `Bearer ${server.token}`, 'x-csrf-token': null, origin: 'https://app.example'});
  assert.equal(both.status, 201, both.text);
  refused(await victim.call('GET', '/v1/secrets', undefined, {authorization: 'Bearer x.y.z'}), 403,
    30010);
});

test('what is wrong with a sign-in is told in one way', async () => {
  const messages = new Set();
  for (const [email, password, more] of [['nobody@example.com', word()], [OWNER, word()],
    ['invited@example.com', word()], [OWNER, passwords.owner, {account_id: 'acct_other'}],
    ['not an e-mail', 'x']]) {
    const answer = await new Browser(server).signIn(email, password, more);
    refused(answer, 401, 20401);
    assert.equal(answer.headers['set-cookie'], undefined);
    messages.add(answer.body.message);
  }
  assert.equal(messages.size, 1);
  for (const [body, status, code_, about] of [
    [{}, 400, 20002, /email/], [{email: OWNER}, 400, 20002, /password/],
    [{email: OWNER, password: 'x', nope: 1}, 400, 20001, /nope/],
    [{email: 1, password: 'x'}, 400, 20400, /email/], [{email: OWNER, password: ''}, 400, 20400],
    [{email: OWNER, password: 'x'.repeat(513)}, 400, 20400, /password/],
    ['{"email":', 400, 20400], ['[]', 400, 20400], ['', 400, 20400],
    ['x'.repeat(20000), 413, 20413]]) {
    refused(await new Browser(server).call('POST', '/v1/session', body), status, code_, about);
  }
  refused(await new Browser(server).call('POST', '/v1/session?x=1', {email: OWNER, password: 'x'}),
    400, 20001);
  refused(await server.request('PUT', '/v1/session'), 405, 20004);
});

test('an unknown e-mail takes as long as a wrong password', async () => {
  const time = async (email) => {
    const times = [];
    for (let i = 0; i < 4; i++) {
      const begun = performance.now();
      refused(await new Browser(server).signIn(i === 0 ? email : `${email}${i}`, word()), 401,
        20401);
      times.push(performance.now() - begun);
    }
    return Math.min(...times);
  };
  const [unknown, known] = [await time('who@example.com'), await time('second@example.com')];
  assert.ok(unknown > 20, `an unknown e-mail is answered within ${unknown} ms: nothing was computed`);
  assert.ok(known > 20);
});

test('wrong attempts are slowed, and a right password does not help while they are', async () => {
  const browser = new Browser(server);
  let answer;
  for (let i = 0; i < 8; i++) {
    answer = await browser.signIn('plain@example.com', word());
    if (answer.status === 429) {
      break;
    }
    refused(answer, 401, 20401);
  }
  refused(answer, 429, 20429, /again in \d+ s/);
  assert.ok(Number(answer.headers['retry-after']) >= 1);
  refused(await browser.signIn('plain@example.com', passwords.plain), 429, 20429);
});

test('a session is listed, revoked, signed out', async () => {
  const one = await Browser.open(server, 'admin@example.com', passwords.admin);
  const two = await Browser.open(server, 'admin@example.com', passwords.admin);
  const list = await one.call('GET', '/v1/sessions?page_size=1000');
  assert.equal(list.status, 200, list.text);
  const current = list.body.data.filter((row) => row.current);
  assert.equal(current.length, 1);
  assert.equal(current[0].agent, 'Test/1.0');
  assert.equal(current[0].address, '127.0.0.1');
  assert.ok(!list.text.includes(one.cookie) && !list.text.includes(two.cookie));
  const mine = (await two.call('GET', '/v1/session')).body.id;
  assert.ok(list.body.data.some((row) => row.id === mine));
  // Not another user's.
  const dev = await Browser.open(server, 'dev@example.com', passwords.developer);
  refused(await dev.call('DELETE', `/v1/sessions/${mine}`), 404, 20404);
  assert.equal((await two.call('GET', '/v1/session')).status, 200);
  assert.equal((await one.call('DELETE', `/v1/sessions/${mine}`)).status, 204);
  for (let i = 0; i < 8; i++) { // on whichever worker the connection is
    const gone = await server.request('GET', '/v1/session',
      {headers: {cookie: `__Host-millrace=${two.cookie}`, connection: 'close'}});
    refused(gone, 401, 20401, /sign in again/);
  }
  refused(await one.call('DELETE', `/v1/sessions/${mine}`), 404, 20404);
  const cookie = one.cookie;
  const out = await one.call('DELETE', '/v1/session');
  assert.equal(out.status, 204);
  assert.match(out.headers['set-cookie'][0], /^__Host-millrace=; .*Max-Age=0/);
  refused(await server.request('GET', '/v1/session',
    {headers: {cookie: `__Host-millrace=${cookie}`}}), 401, 20401);
  for (const page of ['page_size=0', 'page_size=-1', 'page_size=1001', 'page_number=x']) {
    refused(await dev.call('GET', `/v1/sessions?${page}`), 400, 20400);
    refused(await dev.call('GET', `/v1/users?${page}`), 400, 20400);
  }
});

test('the live view of whoever lost the right ends', async () => {
  const watch = (headers) => new Promise((resolve, reject) => {
    const call = http.get(`${server.url}/v1/tail`, {headers, agent: false}, (response) => {
      const reader = {ended: false, status: response.statusCode};
      response.once('data', () => resolve(reader));
      response.on('end', () => { reader.ended = true; });
      response.on('error', () => { reader.ended = true; });
    });
    call.on('error', reject);
  });
  const admin = await Browser.open(server, 'admin@example.com', passwords.admin);
  const other = await Browser.open(server, 'admin@example.com', passwords.admin);
  const reads = await watch({cookie: `__Host-millrace=${admin.cookie}`});
  const stays = await watch({cookie: `__Host-millrace=${other.cookie}`});
  const token = await watch({authorization: `Bearer ${server.token}`});
  assert.equal(reads.status, 200);
  assert.equal((await admin.call('DELETE', '/v1/session')).status, 204);
  await until('the stream ends', () => reads.ended);
  assert.equal(stays.ended, false);
  assert.equal(token.ended, false);
  await other.call('DELETE', '/v1/session');
  await until('this one too', () => stays.ended);
  assert.equal(token.ended, false);
});

test('a cookie that is none, or cut, or another one', async () => {
  const dev = await Browser.open(server, 'dev@example.com', passwords.developer);
  for (const cookie of ['__Host-millrace=', '__Host-millrace=x', `__Host-millrace=${dev.cookie}x`,
    `__Host-millrace=${dev.cookie.slice(1)}`, `__Host-millrace=${'A'.repeat(43)}`,
    `millrace=${dev.cookie}`, `x__Host-millrace=${dev.cookie}`]) {
    refused(await server.request('GET', '/v1/session', {headers: {cookie}}), 401, 20401);
  }
  const among = await server.request('GET', '/v1/session',
    {headers: {cookie: `a=b; __Host-millrace=${dev.cookie}; c=d`}});
  assert.equal(among.status, 200);
});

test('users are read, changed, removed; nobody changes their own role', async () => {
  const admin = await Browser.open(server, 'admin@example.com', passwords.admin);
  const list = await admin.call('GET', '/v1/users?page_size=2&page_number=2');
  assert.equal(list.body.data.length, 2);
  assert.ok(list.body.meta_data.count >= 7);
  assert.match(list.body.meta_data.next_page_url, /page_size=2&page_number=3$/);
  assert.match(list.body.meta_data.previous_page_url, /page_number=1$/);
  const owner = (await admin.call('GET', '/v1/users')).body.data
    .find((user) => user.role === 'owner');
  const at = (id) => `/v1/users/${id}`;
  for (const [id, body, status, code_, about] of [
    [ids.admin, {role: 'developer'}, 409, 20409, /their own/],
    [ids.admin, {status: 'DISABLED'}, 409, 20409, /their own/],
    [owner.id, {role: 'admin'}, 409, 20409, /Owner keeps/],
    [owner.id, {status: 'DISABLED'}, 409, 20409, /Owner keeps/],
    [ids.victim, {role: 'owner'}, 400, 20400, /role/],
    [ids.victim, {role: 'Admin'}, 400, 20400, /role/],
    [ids.victim, {email: 'x@y.example'}, 400, 20001, /email/],
    [ids.victim, {status: 'INVITED'}, 400, 20400, /status/],
    [ids.victim, {products: []}, 400, 20400, /products/],
    [ids.victim, {products: ['Nope']}, 400, 20400, /products/],
    [ids.victim, {name: 'x'.repeat(256)}, 400, 20400, /name/],
    [ids.nobody, {status: 'ACTIVE'}, 409, 20409, /invite them again/],
    ['user_none', {}, 404, 20404]]) {
    refused(await admin.call('PATCH', at(id), body), status, code_, about);
  }
  const got = await admin.call('GET', at(ids.victim));
  assert.equal(got.status, 200);
  refused(await admin.call('PATCH', at(ids.victim), {name: 'x'}, {'if-match': '"v999"'}), 412,
    20412);
  const victim = await Browser.open(server, 'victim@example.com', passwords.victim);
  const renamed = await admin.call('PATCH', at(ids.victim), {name: 'V', products: ['SuperSIM']},
    {'if-match': got.headers.etag});
  assert.equal(renamed.status, 200, renamed.text);
  assert.deepEqual(renamed.body.products, ['SuperSIM']);
  // Products bind at once, without ending the session; a role ends it.
  refused(await victim.call('POST', '/v1/events', {}), 403, 20006);
  assert.equal((await victim.call('GET', '/v1/destinations')).status, 200);
  const other = await admin.call('PATCH', at(ids.victim), {role: 'default', products: null});
  assert.equal(other.body.role, 'default');
  assert.equal(other.body.products, null);
  refused(await victim.call('GET', '/v1/session'), 401, 20401);
  await victim.signIn('victim@example.com', passwords.victim);
  const disabled = await admin.call('PATCH', at(ids.victim), {status: 'DISABLED'});
  assert.equal(disabled.body.status, 'DISABLED');
  refused(await victim.call('GET', '/v1/session'), 401, 20401);
  refused(await new Browser(server).signIn('victim@example.com', passwords.victim), 401, 20401);
  await admin.call('PATCH', at(ids.victim), {status: 'ACTIVE', role: 'developer'});
  await victim.signIn('victim@example.com', passwords.victim);
  // Nobody gives more than they hold: an Admin of some products, too.
  const few = await Browser.open(server, 'few@example.com', passwords.few);
  for (const body of [{role: 'admin'}, {products: ['Webhooks', 'Events']}, {role: 'developer'}]) {
    refused(await few.call('PATCH', at(ids.plain), body), 403, 20006, /than they hold/);
  }
  assert.equal((await few.call('PATCH', at(ids.plain), {products: ['Webhooks']})).status, 200);
  await admin.call('PATCH', at(ids.plain), {products: null});
  refused(await admin.call('DELETE', at(owner.id)), 409, 20409, /Owner/);
  refused(await admin.call('DELETE', at(ids.admin)), 409, 20409, /themselves/);
  assert.equal((await admin.call('DELETE', at(ids.victim))).status, 204);
  refused(await admin.call('DELETE', at(ids.victim)), 404, 20404);
  refused(await admin.call('GET', at(ids.victim)), 404, 20404);
  refused(await victim.call('GET', '/v1/session'), 401, 20401);
});

test('a password is changed by whoever knows it, and ends the other sessions', async () => {
  const one = await Browser.open(server, 'dev@example.com', passwords.developer);
  const two = await Browser.open(server, 'dev@example.com', passwords.developer);
  const change = (current_password, new_password) =>
    one.call('POST', '/v1/profile/password', {current_password, new_password});
  refused(await change('wrong password here', word()), 403, 20006, /present password/);
  for (const [bad, about] of [['short', /12 to 128/], ['x'.repeat(129), /12 to 128/],
    ['Sunshine2024!', /tried first/], ['123456789012', /tried first/],
    ['passwordpassword', /tried first/], ['dev@example.com', /e-mail/],
    ['twelve\u0000nulls', /control/], [passwords.developer, /present one/]]) {
    refused(await change(passwords.developer, bad), 400, 20400, about);
  }
  refused(await one.call('POST', '/v1/profile/password', {new_password: word()}), 400, 20002);
  const next = `пароль ${word()}`;
  const changed = await change(passwords.developer, next);
  assert.equal(changed.status, 204, changed.text);
  assert.equal((await one.call('GET', '/v1/session')).status, 200);
  refused(await two.call('GET', '/v1/session'), 401, 20401);
  refused(await new Browser(server).signIn('dev@example.com', passwords.developer), 401, 20401);
  passwords.developer = next;
  await Browser.open(server, 'dev@example.com', next);
});

test('a second factor: set up, asked, used once, recovered, removed', async () => {
  const browser = await Browser.open(server, 'second@example.com', passwords.second);
  const elsewhere = await Browser.open(server, 'second@example.com', passwords.second);
  const password = passwords.second;
  refused(await browser.call('POST', '/v1/profile/totp/confirm', {code: '123456'}), 409, 20409);
  refused(await browser.call('POST', '/v1/profile/totp/remove', {password}), 409, 20409);
  refused(await browser.call('POST', '/v1/profile/recovery-codes', {password}), 409, 20409);
  refused(await browser.call('POST', '/v1/profile/totp', {password: 'not the password'}), 403, 20006);
  const begun = await browser.call('POST', '/v1/profile/totp', {password});
  assert.equal(begun.status, 200, begun.text);
  const url = new URL(begun.body.url);
  assert.equal(`${url.protocol}//${url.host}`, 'otpauth://totp');
  assert.equal(decodeURIComponent(url.pathname), '/Millrace:second@example.com');
  assert.equal(url.searchParams.get('secret'), begun.body.secret);
  assert.match(begun.body.secret, /^[A-Z2-7]{32}$/);
  const seed = begun.body.secret;
  const wrong = String((Number(code(seed)) + 1) % 1000000).padStart(6, '0');
  refused(await browser.call('POST', '/v1/profile/totp/confirm', {code: wrong}), 400, 20400);
  // A step back is taken, and leaves the present one for the sign-in.
  const confirmed = await browser.call('POST', '/v1/profile/totp/confirm',
    {code: code(seed, Date.now() - 30000)});
  assert.equal(confirmed.status, 200, confirmed.text);
  const recovery = confirmed.body.recovery_codes;
  assert.equal(new Set(recovery).size, 10);
  recovery.forEach((text) => assert.match(text, /^[A-Z2-7]{5}-[A-Z2-7]{5}-[A-Z2-7]{5}$/));
  refused(await elsewhere.call('GET', '/v1/session'), 401, 20401);
  assert.equal((await browser.call('GET', '/v1/profile')).body.second_factor, true);

  const ticket = async () => {
    const answer = await new Browser(server).signIn('second@example.com', password);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.headers['set-cookie'], undefined);
    assert.equal(answer.body.second_factor, true);
    return answer.body.ticket;
  };
  const second = (ticket_, code_) => {
    const fresh = new Browser(server);
    return fresh.call('POST', '/v1/session/second-factor', {ticket: ticket_, code: code_});
  };
  const first = await ticket();
  refused(await second(first, wrong), 401, 20401);
  const present = code(seed);
  const inside = await second(first, present);
  assert.equal(inside.status, 201, inside.text);
  refused(await second(first, present), 401, 20401); // the ticket is used up
  refused(await second(await ticket(), present), 401, 20401); // and so is the step
  refused(await second(await ticket(), code(seed, Date.now() - 30000)), 401, 20401);
  refused(await second(await ticket(), code(seed, Date.now() + 120000)), 401, 20401);
  refused(await second('A'.repeat(43), present), 401, 20401);
  refused(await second('x', present), 401, 20401);
  refused(await second(undefined, present), 400, 20002);
  const saved = await second(await ticket(), recovery[3].toLowerCase().replaceAll('-', ' '));
  assert.equal(saved.status, 201, saved.text);
  refused(await second(await ticket(), recovery[3]), 401, 20401); // once

  const renewed = await browser.call('POST', '/v1/profile/recovery-codes', {password});
  assert.equal(renewed.status, 200, renewed.text);
  refused(await second(await ticket(), recovery[4]), 401, 20401);
  assert.equal((await second(await ticket(), renewed.body.recovery_codes[0])).status, 201);
  refused(await browser.call('POST', '/v1/profile/totp', {password}), 409, 20409);
  assert.equal((await browser.call('POST', '/v1/profile/totp/remove', {password})).status, 204);
  assert.equal((await new Browser(server).signIn('second@example.com', password)).status, 201);
});

test('five wrong codes end a ticket', async () => {
  const browser = await Browser.open(server, 'products@example.com', passwords.products);
  const {secret} = (await browser.call('POST', '/v1/profile/totp',
    {password: passwords.products})).body;
  await browser.call('POST', '/v1/profile/totp/confirm', {code: code(secret, Date.now() - 30000)});
  const {ticket} = (await new Browser(server).signIn('products@example.com',
    passwords.products)).body;
  for (let i = 0; i < 5; i++) {
    refused(await new Browser(server).call('POST', '/v1/session/second-factor',
      {ticket, code: 'AAAAA-AAAAA-AAAAA'}), 401, 20401);
  }
  refused(await new Browser(server).call('POST', '/v1/session/second-factor',
    {ticket, code: code(secret)}), 401, 20401);
});

test('the account is handed over by its Owner alone, in one piece', async () => {
  const owner = await Browser.open(server, OWNER, passwords.owner);
  const admin = await Browser.open(server, 'admin@example.com', passwords.admin);
  const account = (await owner.call('GET', '/v1/session')).body.account.id;
  const to = `/v1/accounts/${account}/transfer-ownership`;
  refused(await admin.call('POST', to, {user_id: ids.admin}), 403, 20006, /Only the account's Owner/);
  refused(await server.api('POST', to, {user_id: ids.admin}), 403, 20006, /Only the account's Owner/);
  refused(await owner.call('POST', to, {}), 400, 20002, /user_id/);
  refused(await owner.call('POST', to, {user_id: 'user_none'}), 404, 20404);
  refused(await owner.call('POST', to, {user_id: ids.nobody}), 409, 20409);
  const me = (await owner.call('GET', '/v1/session')).body.user.id;
  refused(await owner.call('POST', to, {user_id: me}), 409, 20409);
  refused(await owner.call('POST', '/v1/accounts/acct_x/transfer-ownership', {user_id: ids.admin}),
    404, 20404);
  // Two at once: one wins.
  const answers = await Promise.all([ids.admin, ids.admin, ids.admin].map((user_id) =>
    owner.call('POST', to, {user_id})));
  assert.deepEqual(answers.map((answer) => answer.status).sort(), [200, 403, 403]);
  assert.equal((await owner.call('GET', '/v1/session')).body.user.role, 'admin');
  refused(await admin.call('GET', '/v1/session'), 401, 20401);
  await admin.signIn('admin@example.com', passwords.admin);
  const users = (await admin.call('GET', '/v1/users?page_size=1000')).body.data;
  assert.deepEqual(users.filter((user) => user.role === 'owner').map((user) => user.id),
    [ids.admin]);
  refused(await owner.call('DELETE', `/v1/users/${ids.admin}`), 409, 20409);
  assert.equal((await owner.call('DELETE', `/v1/users/${me}`)).status, 409);
});

test('sessions outlive a restart; the folder holds no cookie, password or code', async () => {
  const admin = await Browser.open(server, 'admin@example.com', passwords.admin);
  await server.stop();
  for (const secret of [admin.cookie, admin.csrf, ...Object.values(passwords)]) {
    assert.throws(() => execFileSync('grep', ['-rqF', secret, server.data]), `${secret} lies there`);
    assert.ok(!server.log.includes(secret));
  }
  const rows = sql(server, 'SELECT action, object, detail FROM audit');
  for (const action of ['session.create', 'session.refused', 'session.delete', 'user.change',
    'user.delete', 'user.set-password', 'profile.password', 'profile.change',
    'second-factor.enable', 'second-factor.remove', 'second-factor.recovery-code-used',
    'second-factor.recovery-codes', 'account.transfer-ownership']) {
    assert.ok(rows.some((row) => row[0] === action), action);
  }
  await server.serve();
  assert.equal((await admin.call('GET', '/v1/session')).status, 200);
});

test('an account that asks for a second factor lets its users do nothing else first', async () => {
  await server.stop();
  sql(server, 'UPDATE accounts SET second_factor = 1');
  await server.serve();
  const dev = new Browser(server);
  const inside = await dev.signIn('dev@example.com', passwords.developer);
  assert.equal(inside.status, 201, inside.text);
  assert.equal(inside.body.second_factor_needed, true);
  for (const [method, target] of [['GET', '/v1/destinations'], ['GET', '/v1/users'],
    ['PATCH', '/v1/profile'], ['POST', '/v1/profile/password'], ['GET', '/v1/sessions']]) {
    refused(await dev.call(method, target, method === 'GET' ? undefined : {}), 403, 20006,
      /second factor/);
  }
  const event = await dev.call('POST', '/v1/events', '{}',
    {'content-type': 'application/cloudevents+json'});
  refused(event, 403, 20006, /second factor/);
  const begun = await dev.call('POST', '/v1/profile/totp', {password: passwords.developer});
  assert.equal(begun.status, 200, begun.text);
  const confirmed = await dev.call('POST', '/v1/profile/totp/confirm',
    {code: code(begun.body.secret)});
  assert.equal(confirmed.status, 200, confirmed.text);
  assert.equal((await dev.call('GET', '/v1/destinations')).status, 200);
  refused(await dev.call('POST', '/v1/profile/totp/remove', {password: passwords.developer}), 409,
    20409, /asks all/);
});

test('idle and absolute limits end a session', async () => {
  const admin = new Browser(server);
  await server.stop();
  sql(server, 'UPDATE accounts SET second_factor = 0');
  await server.serve();
  await admin.signIn('admin@example.com', passwords.admin);
  const other = await Browser.open(server, 'admin@example.com', passwords.admin);
  const ids_ = [(await admin.call('GET', '/v1/session')).body.id,
    (await other.call('GET', '/v1/session')).body.id];
  await server.stop();
  sql(server, 'UPDATE sessions SET seen_ms = seen_ms - 721 * 60000 WHERE id = ?', ids_[0]);
  sql(server, 'UPDATE sessions SET expires_ms = 1 WHERE id = ?', ids_[1]);
  await server.serve();
  refused(await admin.call('GET', '/v1/session'), 401, 20401);
  refused(await other.call('GET', '/v1/session'), 401, 20401);
  await Browser.open(server, 'admin@example.com', passwords.admin); // sweeps
  await server.stop();
  assert.deepEqual(sql(server, 'SELECT 1 FROM sessions WHERE id IN (?, ?)', ...ids_), []);
  await server.serve();
});

test('last use is written down, but at most once a minute', async () => {
  const admin = await Browser.open(server, 'admin@example.com', passwords.admin);
  const {id} = (await admin.call('GET', '/v1/session')).body;
  await server.stop();
  const minutesAgo = Date.now() - 5 * 60000;
  sql(server, 'UPDATE sessions SET seen_ms = ? WHERE id = ?', minutesAgo, id);
  await server.serve();
  const seen = async () => (await admin.call('GET', '/v1/sessions?page_size=1000')).body.data
    .find((row) => row.id === id).date_seen;
  await seen(); // brings it to the store
  const first = await seen();
  assert.ok(Date.parse(first) > minutesAgo + 60000);
  assert.equal(await seen(), first);
});

test('the password for an operator who lost access', async () => {
  const in_use = setPassword(server, OWNER, word());
  assert.equal(in_use.status, 4, in_use.stderr);
  await server.stop();
  for (const [email, password, about] of [['who@example.com', word(), /no such user/],
    [OWNER, 'short', /12 to 128/], [OWNER, 'Sunshine2024!', /tried first/]]) {
    const done = setPassword(server, email, password);
    assert.equal(done.status, 1);
    assert.match(done.stderr, about);
    assert.ok(!done.stderr.includes(password));
  }
  const next = word();
  assert.equal(setPassword(server, 'DEV@example.com', next).status, 0);
  await server.serve();
  const dev = await Browser.open(server, 'dev@example.com', next); // no second factor any more
  assert.equal((await dev.call('GET', '/v1/profile')).body.second_factor, false);
});

test('one e-mail in several accounts: the one that is named, else the one that had it first', async () => {
  await server.stop();
  sql(server, `INSERT INTO accounts(number, id, parent, friendly_name, owner_email, status, validate,
    unknown_types, version, created_ms, updated_ms)
    SELECT 900, 'acct_other', 1, 'Other', 'x@y.example', 'ACTIVE', 0, 0, 1, 1, 1`);
  addUser(server, 'admin@example.com', 'developer', passwords.twice, {account: 900});
  await server.serve();
  const account = (browser) => browser.call('GET', '/v1/session')
    .then((answer) => answer.body.account.id);
  const here = await Browser.open(server, 'admin@example.com', passwords.admin);
  // Whoever does not know that it is the other account's password is told what to give; so is
  // everybody else, for the answer tells nothing of a user.
  const lost = await new Browser(server).signIn('admin@example.com', passwords.twice);
  refused(lost, 401, 20401, /with several accounts give the id of the one that is meant \(account_id\)/);
  assert.equal((await new Browser(server).signIn('no-such@example.com', passwords.twice)).body.message,
    lost.body.message);
  const there = await Browser.open(server, 'admin@example.com', passwords.twice, {account_id: 'acct_other'});
  assert.notEqual(await account(here), 'acct_other');
  assert.equal(await account(there), 'acct_other');
  refused(await new Browser(server).signIn('admin@example.com', passwords.admin,
    {account_id: 'acct_other'}), 401, 20401);
  const done = setPassword(server, 'admin@example.com', word());
  assert.notEqual(done.status, 0);
  // Another account's users are not there.
  refused(await there.call('GET', `/v1/users/${ids.admin}`), 404, 20404);
});

test('plain HTTP from elsewhere gives no session', async () => {
  const tls = new Server({settings: {tls_cert_file: certificates().cert,
    tls_key_file: certificates().key}});
  tls.init();
  setPassword(tls, OWNER, passwords.owner);
  await tls.serve();
  try {
    const browser = await Browser.open(tls, OWNER, passwords.owner);
    assert.equal((await browser.call('PATCH', '/v1/profile', {name: 'Over TLS'})).status, 200);
    refused(await browser.call('PATCH', '/v1/profile', {name: 'x'},
      {origin: tls.url.replace('https', 'http')}), 403, 20006);
  } finally {
    await tls.end();
  }
});
