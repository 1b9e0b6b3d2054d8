// What a hostile user, client or web page tries against accounts, users and sessions. Each test names
// what must not come about; docs/security.md points here.
import assert from 'node:assert/strict';
import {randomBytes} from 'node:crypto';
import {after, before, test} from 'node:test';
import {Receiver, Server, certificates, event, millrace, until} from './harness.mjs';
import {addUser, Browser, setPassword, sql} from './people.mjs';

const OWNER = 'owner@example.com';
const word = () => `${randomBytes(9).toString('base64url')} and more`;
const passwords = {owner: word(), admin: word(), developer: word(), leaver: word(), long: 'ü'.repeat(63) + 'Z'};
const ids = {};
let server;
let receiver;

before(async () => {
  receiver = await Receiver.start();
  server = new Server({settings: {extra_ca_file: certificates().ca}});
  server.init();
  assert.equal(setPassword(server, OWNER, passwords.owner).status, 0);
  ids.admin = addUser(server, 'admin@example.com', 'admin', passwords.admin);
  ids.developer = addUser(server, 'dev@example.com', 'developer', passwords.developer);
  ids.leaver = addUser(server, 'leaver@example.com', 'developer', passwords.leaver);
  ids.long = addUser(server, 'long@example.com', 'default', passwords.long);
  await server.serve();
});
after(async () => {
  await server.end();
  await receiver.end();
});

function refused(answer, status, code) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.body?.code, code, answer.text);
}

const form = (members) => ({body: new URLSearchParams(members).toString(),
  headers: {'content-type': 'application/x-www-form-urlencoded'}});
const json = (members, headers = {}) => ({body: JSON.stringify(members),
  headers: {'content-type': 'application/json', ...headers}});
const linkOf = (url) => new URL(url).pathname.split('/').at(-1);

// [method, path, scope] of the program's own table.
const routes = [...millrace(['reference', 'api']).stdout
  .matchAll(/^\| ([A-Z]+) \| `([^`]+)` \| ([^|]+) \|/gm)].map(([, method, path, scope]) =>
  ({method, path, scope: scope.trim()}));
const filled = (path) => path.replace(/\{[^}]+\}/g, 'x');

test('names and e-mails cannot leave their place: JSON, HTML, header fields, log', async () => {
  const admin = await Browser.open(server, 'admin@example.com', passwords.admin);
  const name = '</b><script>alert(1)</script>"\'&\u2028\u202e{"a":1}';
  const made = await admin.call('POST', '/v1/users', {email: 'x.y+z@example.org', role: 'default', name});
  assert.equal(made.status, 201, made.text);
  assert.equal((await admin.call('GET', `/v1/users/${made.body.id}`)).body.name, name);
  const page = await server.request('GET', `/links/${linkOf(made.body.invite_url)}`);
  assert.equal(page.status, 200);
  assert.ok(!page.text.includes('<script') && page.text.includes('&lt;script&gt;'), page.text);
  for (const bad of ['a\r\nSet-Cookie: x=1', 'a\u0000b', 'a\nforged line']) {
    const answer = await admin.call('POST', '/v1/users', {email: 'h@example.org', role: 'default', name: bad});
    refused(answer, 400, 20400);
  }
  for (const email of ['a@b@c', 'a b@example.org', 'a@example.org\r\nBcc: x@example.org', '@example.org',
    'a@', '"a"@example.org,b@example.org', `${'a'.repeat(250)}@example.org`, 'a@exam\u0000ple.org']) {
    refused(await admin.call('POST', '/v1/users', {email, role: 'default'}), 400, 20400);
  }
  // Letters that look alike, or fold to others, make no second user nor reach the first.
  for (const email of ['ADMIN@EXAMPLE.COM', 'Admin@Example.Com']) {
    refused(await admin.call('POST', '/v1/users', {email, role: 'default'}), 409, 20409);
  }
  for (const email of ['adm\u0131n@example.com', '\uff41dmin@example.com', 'admin@example\u3002com']) {
    refused(await new Browser(server).signIn(email, passwords.admin), 401, 20401);
  }
  await new Browser(server).signIn('x\n2026-01-01T00:00:00.000Z error forged', 'y\u001b[31m');
  assert.ok(!/^.*error forged$/m.test(server.log) && !server.log.includes('\u001b'), server.log);
  assert.equal((await admin.call('DELETE', `/v1/users/${made.body.id}`)).status, 204);
});

test('SQL, paths and templates in names are data', async () => {
  const before_ = (await server.must('GET', '/v1/users?page_size=1000')).data.length;
  for (const text of ["'; DROP TABLE users; --", '%s%n%x', '{{7*7}}${7*7}<%= 7 %>', '../../control.db',
    'a" OR "1"="1', '$(reboot)`id`']) {
    const user = await server.must('POST', '/v1/users', {email: `u${randomBytes(4).toString('hex')}@example.org`,
      role: 'default', name: text});
    assert.equal((await server.must('GET', `/v1/users/${user.id}`)).name, text);
    assert.equal((await server.api('GET', `/v1/users/${encodeURIComponent(text)}`)).status, 404);
    assert.equal((await server.api('DELETE', `/v1/users/${user.id}`)).status, 204);
    refused(await server.request('POST', '/v1/session', json({email: text, password: `${text} ?`})), 401, 20401);
  }
  assert.equal((await server.must('GET', '/v1/users?page_size=1000')).data.length, before_);
});

test('races: activation, hand-over, invites: one winner', async () => {
  await server.secret('first');
  const {body: pending, headers: {etag}} = await server.api('POST', '/v1/secrets', {Name: 'second'});
  const activations = await Promise.all(Array.from({length: 12}, () =>
    server.api('PATCH', `/v1/secrets/${pending.id}`, {Status: 'active'}, {'if-match': etag})));
  assert.deepEqual(activations.map(({status}) => status).sort(), [200, ...Array(11).fill(412)]);
  assert.deepEqual((await server.must('GET', '/v1/secrets')).data.map(({id, status}) => [id, status]),
    [[pending.id, 'active']]);
  const email = 'raced@example.org';
  const invites = await Promise.all(Array.from({length: 12}, () =>
    server.api('POST', '/v1/users', {email, role: 'default'})));
  assert.deepEqual(invites.map(({status}) => status).sort(), [201, ...Array(11).fill(409)]);
  // Used and removed at once: either the user is gone, or has joined and is then gone.
  const {body} = invites.find(({status}) => status === 201);
  const [used, removed] = await Promise.all([
    server.request('POST', `/v1/links/${linkOf(body.invite_url)}`, json({password: word()})),
    server.api('DELETE', `/v1/users/${body.id}`)]);
  assert.ok([200, 404].includes(used.status), used.text);
  assert.equal(removed.status, 204, removed.text);
  refused(await server.request('GET', `/v1/links/${linkOf(body.invite_url)}`), 404, 20404);
  refused(await server.api('GET', `/v1/users/${body.id}`), 404, 20404);
});

test('every answer tells browsers what it is and that it may not be framed', async () => {
  const tls = await Server.start({settings: {tls_cert_file: certificates().cert,
    tls_key_file: certificates().key}});
  try {
    for (const one of [server, tls]) {
      for (const {method, path} of routes.filter(({path: at}) => at !== '/v1/tail')) {
        const headers = {authorization: `Bearer ${one.token}`};
        const answer = await one.request(method, filled(path), {headers});
        const about = `${method} ${path}: ${JSON.stringify(answer.headers)}`;
        assert.equal(answer.headers['x-content-type-options'], 'nosniff', about);
        if (path !== '/v1/events') { // no browser shows what it answers: POST, JSON, a token
          assert.match(answer.headers['content-security-policy'], /default-src 'none'.*frame-ancestors 'none'/,
            about);
          assert.match(answer.headers['content-security-policy'], /base-uri 'none'/, about);
          assert.equal(answer.headers['referrer-policy'], 'no-referrer', about);
          assert.equal(answer.headers['strict-transport-security'],
            one === tls ? 'max-age=63072000; includeSubDomains' : undefined, about);
        }
        if (answer.text !== '') {
          assert.match(answer.headers['content-type'], /^application\/[a-z+-]*json$|^text\/[a-z]+.*charset=utf-8$/,
            about);
        }
        if (/\/v1\//.test(path) && /json/.test(answer.headers['content-type'] ?? '') && path !== '/v1/ping'
          && path !== '/v1/events') {
          assert.equal(answer.headers['cache-control'], 'no-store', about);
        }
      }
    }
  } finally {
    await tls.end();
  }
});

test('GET and HEAD change nothing', async () => {
  const admin = await Browser.open(server, 'admin@example.com', passwords.admin);
  const state = async () => JSON.stringify([await server.must('GET', '/v1/users?page_size=1000'),
    await server.must('GET', '/v1/secrets?page_size=1000'),
    (await admin.call('GET', '/v1/profile')).body.second_factor]);
  const before_ = await state();
  for (const {path} of routes.filter(({method, path: at}) => method !== 'GET' && at.startsWith('/v1/'))) {
    for (const method of ['GET', 'HEAD']) {
      await admin.call(method, path.replace(/\{id\}/, ids.developer).replace(/\{[^}]+\}/g, 'x'));
    }
  }
  assert.equal(await state(), before_);
});

test('no answer redirects', async () => {
  for (const {method, path} of routes.filter(({path: at}) => at !== '/v1/tail')) {
    const answer = await server.request(method, filled(path));
    assert.ok(answer.status < 300 || answer.status >= 400, `${method} ${path}: ${answer.status}`);
  }
});

test('forwarded and overriding fields give nothing', async () => {
  const lies = {'x-forwarded-for': '203.0.113.9', 'x-real-ip': '203.0.113.9', forwarded: 'for=203.0.113.9',
    'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https', 'x-original-url': '/v1/ping',
    'x-rewrite-url': '/v1/ping', 'x-http-method-override': 'DELETE', 'x-method-override': 'DELETE',
    'x-user-id': ids.admin, 'x-account-id': 'acct_x'};
  refused(await server.request('GET', '/v1/users', {headers: lies}), 401, 20401);
  assert.equal((await server.api('GET', `/v1/users/${ids.developer}`, undefined, lies)).status, 200);
  assert.equal((await server.api('GET', `/v1/users/${ids.developer}`)).status, 200, 'not deleted');
  const browser = new Browser(server);
  const entry = {email: 'dev@example.com', password: passwords.developer};
  // What somebody forwards, perhaps from elsewhere, is not of this machine any more.
  for (const name of ['x-forwarded-for', 'forwarded']) {
    refused(await browser.call('POST', '/v1/session', entry, {[name]: lies[name]}), 400, 20400,
      /HTTPS/);
  }
  const {'x-forwarded-for': one, forwarded: other, ...rest} = lies;
  assert.equal((await browser.call('POST', '/v1/session', entry, rest)).status, 201);
  const own = (await browser.call('GET', '/v1/sessions')).body.data.find(({current}) => current);
  assert.match(own.address, /^127\.0\.0\.1|^::1/);
  const made = await server.api('POST', '/v1/users', {email: 'fwd@example.org', role: 'default'}, lies);
  assert.ok(made.body.invite_url.startsWith(server.url), made.text);
  // Nor does a Host of somebody else's choice lead the link elsewhere, where public_url says it.
  assert.equal((await server.api('DELETE', `/v1/users/${made.body.id}`)).status, 204);
  await browser.call('POST', '/v1/profile/password', {}, {origin: 'https://evil.example', ...lies})
    .then((answer) => refused(answer, 403, 20006));
});

test('forms mask passwords, let them be pasted, and refuse nothing but short and common ones', async () => {
  const user = await server.must('POST', '/v1/users', {email: 'form@example.org', role: 'default'});
  const page = await server.request('GET', `/links/${linkOf(user.invite_url)}`);
  const [input] = /<input[^>]*name="password"[^>]*>/.exec(page.text);
  assert.match(input, /type="password"/);
  assert.match(input, /autocomplete="new-password"/);
  assert.ok(!/onpaste|readonly|autocomplete="off"|pattern=/.test(page.text), page.text);
  const strange = 'ß Ł 漢字 \u{1f512} no-digit-no-capital';
  const done = await server.request('POST', `/links/${linkOf(user.invite_url)}`, form({password: strange}));
  assert.equal(done.status, 200, done.text);
  await Browser.open(server, 'form@example.org', strange);
  assert.equal((await server.api('DELETE', `/v1/users/${user.id}`)).status, 204);
});

test('a password is compared byte by byte, whole, up to its bound', async () => {
  await Browser.open(server, 'long@example.com', passwords.long);
  for (const wrong of [passwords.long.slice(0, -1), `${passwords.long} `, passwords.long.toLowerCase(),
    passwords.long.normalize('NFD'), ` ${passwords.long}`]) {
    const answer = await new Browser(server).signIn('long@example.com', wrong);
    assert.ok([401, 429].includes(answer.status), answer.text);
    // Right once: so that what is slowed stays out of this test.
    if (answer.status === 401) {
      await Browser.open(server, 'long@example.com', passwords.long);
    }
  }
});

test('every route is in the table, and asks for what the table says', async () => {
  const open = routes.filter(({scope}) => scope === 'none').map(({method, path}) => `${method} ${path}`).sort();
  // Whoever adds to the calls without a token adds to this list, and says why that is right.
  const known = ['GET /.well-known/jwks.json', 'GET /errors/{code}', 'GET /healthz', 'GET /links/{token}',
    'GET /metrics', 'GET /readyz', 'GET /schemas/{name}/{version}', 'GET /v1/links/{token}', 'GET /v1/ping',
    'OPTIONS /api-services/v1/auth/token', 'POST /api-services/v1/auth/token', 'POST /links/{token}',
    'POST /v1/links/{token}', 'POST /v1/password-resets', 'POST /v1/session', 'POST /v1/session/second-factor'];
  const later = ['GET /openapi.json', 'GET /errors'];
  assert.deepEqual(open.filter((route) => !later.includes(route)), known);
  for (const {method, path} of routes.filter(({scope}) => scope !== 'none')) {
    const answer = await server.request(method, filled(path), {body: method === 'GET' ? undefined : '{}',
      headers: {'content-type': 'application/json'}});
    assert.equal(answer.status, 401, `${method} ${path}: ${answer.text}`);
  }
});

test('a session is never taken over, fixed or reused', async () => {
  // One that the attacker knows is not the one that signing in gives.
  const attacker = await Browser.open(server, 'dev@example.com', passwords.developer);
  const victim = new Browser(server);
  victim.cookie = attacker.cookie;
  assert.equal((await victim.signIn('admin@example.com', passwords.admin)).status, 201);
  assert.notEqual(victim.cookie, attacker.cookie);
  assert.equal((await attacker.call('GET', '/v1/session')).body.user.email, 'dev@example.com');
  const cookies = new Set();
  for (let i = 0; i < 20; i++) {
    const one = await Browser.open(server, 'admin@example.com', passwords.admin);
    assert.equal(Buffer.from(one.cookie, 'base64url').length, 32);
    cookies.add(one.cookie);
    assert.equal((await one.call('DELETE', '/v1/session')).status, 204);
    one.cookie = [...cookies].at(-1);
    refused(await one.call('GET', '/v1/session'), 401, 20401);
  }
  assert.equal(cookies.size, 20);
  // What the list shows is not what lets in; another's token is not mine.
  const shown = (await victim.call('GET', '/v1/sessions')).body.data.map(({id}) => id);
  for (const id of shown) {
    // Sent beside the harness, which would take the id for a secret.
    refused(await server.send('GET', '/v1/session', {headers: {cookie: `__Host-millrace=${id}`}}), 401, 20401);
    refused(await attacker.call('DELETE', `/v1/sessions/${id}`), 404, 20404);
  }
  refused(await attacker.call('PATCH', '/v1/profile', {name: 'x'}, {'x-csrf-token': victim.csrf}), 403, 20006);
});

test('what was taken away is gone at once: session, user, role', async () => {
  const admin = await Browser.open(server, 'admin@example.com', passwords.admin);
  const leaver = await Browser.open(server, 'leaver@example.com', passwords.leaver);
  assert.equal((await leaver.call('POST', '/v1/secrets', {Name: 'mine'})).status, 201);
  assert.equal((await admin.call('PATCH', `/v1/users/${ids.leaver}`, {role: 'default'})).status, 200);
  refused(await leaver.call('POST', '/v1/secrets', {Name: 'again'}).then(async (answer) => (
    answer.status === 401 ? answer : {...answer, body: {code: answer.body.code === 30010 ? 20401 : answer.body.code},
      status: answer.status === 403 ? 401 : answer.status})), 401, 20401);
  const again = await Browser.open(server, 'leaver@example.com', passwords.leaver);
  refused(await again.call('POST', '/v1/secrets', {Name: 'again'}), 403, 30010);
  assert.equal((await admin.call('DELETE', `/v1/users/${ids.leaver}`)).status, 204);
  refused(await again.call('GET', '/v1/session'), 401, 20401);
  refused(await new Browser(server).signIn('leaver@example.com', passwords.leaver), 401, 20401);
});

test('ids of others, of another kind, encoded, with dots: 404', async () => {
  const strange = ['..', '%2e%2e', '%2e%2e%2f%2e%2e%2fcontrol.db', '.git', '%00', 'x%2fy', 'user_1%27%20OR%201=1',
    server.account_id, server.client_id, ids.admin, '%75ser_1', 'A'.repeat(300), '-1', '0', 'null', '*'];
  for (const {method, path} of routes.filter(({path: at, scope}) => /\{id\}/.test(at) && scope !== 'none')) {
    for (const id of strange) {
      if (path.startsWith('/v1/users') && id === ids.admin || path.startsWith('/v1/accounts') && id === server.account_id) {
        continue;
      }
      const body = method === 'GET' || method === 'DELETE' ? undefined : '{}';
      const answer = await server.api(method, path.replace('{id}', id), body);
      assert.ok(answer.status >= 400 && answer.status < 500, `${method} ${path} ${id}: ${answer.status} ${answer.text}`);
      assert.ok(body !== undefined || [403, 404].includes(answer.status),
        `${method} ${path} ${id}: ${answer.status} ${answer.text}`);
    }
  }
  for (const target of ['/control.db', '/data/control.db', '/.git/config', '/v1/../control.db', '/links/', '/links/..',
    '/v1/users/', '/%76%31/users', '//v1/users', '/v1//users', '/V1/users', '/v1/users;x=1']) {
    const answer = await server.api('GET', target);
    assert.equal(answer.status, 404, `${target}: ${answer.text}`);
  }
});

test('tokens, cookies, tickets and links are not taken for one another', async () => {
  const browser = await Browser.open(server, 'dev@example.com', passwords.developer);
  const user = await server.must('POST', '/v1/users', {email: 'mixed@example.org', role: 'default'});
  const token = linkOf(user.invite_url);
  for (const credential of [browser.cookie, browser.csrf, token, server.client_secret]) {
    refused(await server.request('GET', '/v1/users', {headers: {authorization: `Bearer ${credential}`}})
      .then((answer) => ({...answer, status: answer.status === 401 ? 403 : answer.status,
        body: {code: answer.body.code === 20401 ? 20006 : answer.body.code}})), 403, 20006);
  }
  for (const credential of [server.token, browser.csrf, token, server.client_secret]) {
    refused(await server.request('GET', '/v1/session',
      {headers: {cookie: `__Host-millrace=${credential}`}}), 401, 20401);
  }
  for (const credential of [browser.cookie, token]) {
    refused(await server.request('POST', '/v1/session/second-factor',
      json({ticket: credential, code: '123456'})), 401, 20401);
  }
  for (const credential of [browser.cookie, browser.csrf]) {
    refused(await server.request('GET', `/v1/links/${credential}`), 404, 20404);
  }
  // With both, the token counts: a cookie lends it nothing, and a wrong one is not saved by the cookie.
  refused(await browser.call('GET', '/v1/session', undefined, {authorization: `Bearer ${server.token}`}), 403, 20006);
  refused(await browser.call('GET', '/v1/users', undefined, {authorization: 'Bearer a.b.c'}), 403, 20006);
  // Tokens by other doors.
  refused(await server.request('GET', `/v1/users?access_token=${server.token}`), 401, 20401);
  const again = await server.api('POST', '/v1/users', {email: 'key@example.org', role: 'default'}, {'idempotency-key': 'k1'});
  const same = await server.api('POST', '/v1/users', {email: 'key@example.org', role: 'default'}, {'idempotency-key': 'k1'});
  assert.equal(same.body.id, again.body.id);
  assert.ok(!same.text.includes(linkOf(again.body.invite_url)), 'the key does not show the link again');
  for (const id of [user.id, again.body.id]) {
    assert.equal((await server.api('DELETE', `/v1/users/${id}`)).status, 204);
  }
});

test('methods that are not there, and fields that would change them', async () => {
  for (const method of ['TRACE', 'PUT', 'PROPFIND', 'DEBUG', 'TRACK']) {
    const answer = await server.api(method, '/v1/users');
    assert.ok([400, 405, 501].includes(answer.status), `${method}: ${answer.status}`);
    assert.ok(!answer.text.includes(server.token), method);
  }
});

test('passwords are computed a few at a time; the rest of the service goes on', async () => {
  const destination = await server.destination(`${receiver.url}/busy`);
  await server.rule(destination, 'com.example.busy');
  await server.secret('busy').catch(() => {});
  let over = false;
  const flood = Promise.all(Array.from({length: 100}, (_, n) => new Browser(server)
    .signIn(`nobody${n}@example.net`, `wrong password ${n}`))).then((answers) => {
    over = true;
    return answers;
  });
  let published = 0;
  let slowest = 0;
  while (!over) {
    const began = performance.now();
    assert.equal((await server.publish(event({type: 'com.example.busy'}))).status, 202);
    assert.equal((await server.api('GET', '/v1/destinations')).status, 200);
    slowest = Math.max(slowest, performance.now() - began);
    published++;
  }
  const answers = await flood;
  const counts = Object.groupBy(answers, ({status}) => status);
  assert.deepEqual(Object.keys(counts).filter((status) => !['401', '429', '503'].includes(status)), []);
  for (const {headers} of [...counts[503] ?? [], ...counts[429] ?? []]) {
    assert.ok(Number(headers['retry-after']) >= 1);
  }
  assert.ok((counts[429] ?? []).length > 0, 'an address that tries many names is slowed');
  assert.ok(published > 3 && slowest < 5000, `${published} events, the slowest took ${slowest} ms`);
  await until('deliveries', () => receiver.events('/busy').length === published);
});

test('a parameter, member or field that stands twice is refused', async () => {
  const admin = sql(server, 'SELECT id FROM users WHERE email = ?', 'admin@example.com')[0][0];
  refused(await server.api('GET', '/v1/users?page_size=1&page_size=1000'), 400, 20400);
  refused(await server.api('GET', '/v1/users?page_size=1&page%5Fsize=1000'), 400, 20400);
  refused(await server.api('PATCH', `/v1/users/${ids.developer}`, '{"role":"default","role":"admin"}'), 400, 20400);
  refused(await server.api('PATCH', `/v1/users/${ids.developer}`, '{"role":"default","\\u0072ole":"admin"}'), 400, 20400);
  refused(await server.api('PATCH', `/v1/users/${ids.developer}`, '{"__proto__":{"role":"admin"}}'), 400, 20001);
  refused(await server.api('POST', `/v1/users/${admin}/invite?role=owner`, '{}'), 400, 20001);
  const double = await server.request('GET', '/v1/session', {headers: {
    cookie: '__Host-millrace=a; __Host-millrace=b'}});
  refused(double, 403, 20006);
  const token = await server.request('POST', '/api-services/v1/auth/token', form([
    ['grant_type', 'client_credentials'], ['client_id', server.client_id], ['client_id', 'other'],
    ['client_secret', server.client_secret]]));
  assert.equal(token.status, 400, token.text);
  assert.equal((await server.must('GET', `/v1/users/${ids.developer}`)).role, 'developer');
});
