// Links as people follow them: the first start, invites, password resets, portal links; forms and
// JSON; used once, by one of many at the same time; nothing of them in log and files.
import assert from 'node:assert/strict';
import {createHash, randomUUID} from 'node:crypto';
import {spawn} from 'node:child_process';
import {existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {after, before, describe, test} from 'node:test';
import {Server, binary, folder, millrace, remove, until} from './harness.mjs';
import {Mailbox, linkIn} from './mailbox.mjs';

const servers = [];
const boxes = [];
const dirs = [];
let shared;

before(async () => {
  shared = await started();
});

after(async () => {
  await Promise.all(servers.map((server) => server.end()));
  await Promise.all(boxes.map((box) => box.end()));
  dirs.forEach(remove);
});

async function started(settings = {}) {
  const server = await Server.start({settings});
  servers.push(server);
  return server;
}

let serial = 0;
const address = () => `user${++serial}@example.org`;
const password = 'nine lives of a green lantern';
const form = (members) => ({
  body: new URLSearchParams(members).toString(),
  headers: {'content-type': 'application/x-www-form-urlencoded'}});
const json = (members) => ({
  body: JSON.stringify(members), headers: {'content-type': 'application/json'}});

function wrong(answer, status, code, part = /./) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.body.code, code, answer.text);
  assert.match(answer.body.message, part);
}

async function invited(server = shared, more = {}) {
  const email = address();
  const answer = await server.api('POST', '/v1/users', {email, role: 'developer', ...more});
  assert.equal(answer.status, 201, answer.text);
  assert.ok(answer.body.invite_url.startsWith(`${server.url}/links/`));
  return {...answer.body, token: linkIn(answer.body.invite_url)};
}

async function joined(server = shared, more = {}) {
  const user = await invited(server, more);
  const answer = await server.request('POST', `/v1/links/${user.token}`, json({password}));
  assert.equal(answer.status, 200, answer.text);
  return user;
}

// A user's browser: its cookie and what it needs for changes.
async function signedIn(server, email, word = password) {
  const answer = await server.request('POST', '/v1/session', json({email, password: word}));
  assert.equal(answer.status, 201, answer.text);
  const cookie = answer.headers['set-cookie'][0].split(';')[0];
  const headers = {cookie, 'x-csrf-token': answer.body.csrf_token,
    'content-type': 'application/json'};
  return (method, target, body) =>
    server.request(method, target, {headers, body: body && JSON.stringify(body)});
}

function isPage(answer, status) {
  assert.equal(answer.status, status, answer.text);
  const {headers} = answer;
  assert.equal(headers['content-type'], 'text/html; charset=utf-8');
  assert.equal(headers['cache-control'], 'no-store');
  assert.equal(headers['referrer-policy'], 'no-referrer');
  assert.equal(headers['x-content-type-options'], 'nosniff');
  const style = /<style>([^<]*)<\/style>/.exec(answer.text)[1];
  const hash = createHash('sha256').update(style).digest('base64');
  assert.equal(headers['content-security-policy'], `default-src 'none'; style-src 'sha256-${hash}'; `
    + "form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
  assert.ok(!/<script|\son[a-z]+=|style=|https?:\/\//.test(answer.text), answer.text);
  assert.match(answer.text, /<meta name="viewport" content="width=device-width, initial-scale=1">/);
  assert.match(answer.text, /<html lang="en">/);
  assert.match(answer.text, /<h1>/);
  for (const [, id] of answer.text.matchAll(/<input id="([^"]+)"/g)) {
    assert.ok(answer.text.includes(`<label for="${id}">`), id);
  }
}

describe('invites', () => {
  test('link, name, password: then the user signs in', async () => {
    const user = await invited();
    assert.equal(user.status, 'INVITED');
    wrong(await shared.request('POST', '/v1/session', json({email: user.email, password})),
      401, 20401);
    const seen = await shared.request('GET', `/v1/links/${user.token}`);
    assert.equal(seen.status, 200, seen.text);
    assert.deepEqual({...seen.body, date_expires: null}, {kind: 'invite',
      account_id: shared.account_id, account_name: 'Root', email: user.email, name: '',
      role: 'developer', date_expires: null, members: ['name', 'password']});
    assert.equal(seen.body.date_expires, user.date_link_expires);
    const days = (Date.parse(seen.body.date_expires) - Date.now()) / 86400000;
    assert.ok(days > 6.99 && days <= 7, String(days));
    const done = await shared.request('POST', `/v1/links/${user.token}`,
      json({name: 'Ada', password}));
    assert.equal(done.status, 200, done.text);
    assert.equal(done.body.user_id, user.id);
    assert.equal(done.headers['set-cookie'], undefined);
    const call = await signedIn(shared, user.email);
    const profile = (await call('GET', '/v1/profile')).body;
    assert.equal(profile.name, 'Ada');
    assert.equal((await shared.must('GET', `/v1/users/${user.id}`)).status, 'ACTIVE');
  });

  test('used, ended, unknown and malformed links: one answer', async () => {
    const user = await joined();
    const first = await invited();
    const again = await shared.must('POST', `/v1/users/${first.id}/invite`, {});
    assert.notEqual(linkIn(again.invite_url), first.token);
    const bodies = new Set();
    for (const token of [user.token, first.token, 'A'.repeat(43), 'x', '%00', 'A'.repeat(4000)]) {
      for (const [method, how] of [['GET', {}], ['POST', json({password})]]) {
        const answer = await shared.request(method, `/v1/links/${token}`, how);
        wrong(answer, 404, 20404, /was used, has expired, or never was/);
        bodies.add(answer.text);
      }
      const page = await shared.request('GET', `/links/${token}`);
      isPage(page, 404);
      bodies.add(page.text);
      isPage(await shared.request('POST', `/links/${token}`, form({password})), 404);
    }
    assert.equal(bodies.size, 2); /* one as JSON, one as a page */
    assert.equal((await shared.request('GET', `/v1/links/${linkIn(again.invite_url)}`)).status, 200);
    wrong(await shared.api('POST', `/v1/users/${user.id}/invite`, {}), 409, 20409);
    wrong(await shared.api('POST', '/v1/users/user_none/invite', {}), 404, 20404);
  });

  test('looking, by scanners of mail too, uses nothing up', async () => {
    const user = await invited();
    for (let i = 0; i < 5; i++) {
      isPage(await shared.request('GET', `/links/${user.token}`), 200);
      assert.equal((await shared.request('HEAD', `/links/${user.token}`)).status, 200);
      assert.equal((await shared.request('OPTIONS', `/links/${user.token}`)).status, 204);
    }
    isPage(await shared.request('POST', `/links/${user.token}`, form({password})), 200);
  });

  test('twelve at once: one winner, whose password it is', async () => {
    const user = await invited();
    const answers = await Promise.all(Array.from({length: 12}, (_, i) =>
      shared.request('POST', `/v1/links/${user.token}`, json({password: `${password} ${i}`}))));
    const winners = answers.flatMap((answer, i) => answer.status === 200 ? [i] : []);
    assert.equal(winners.length, 1, answers.map((answer) => answer.text).join('\n'));
    for (const answer of answers) {
      assert.ok([200, 404, 503].includes(answer.status), answer.text);
    }
    await signedIn(shared, user.email, `${password} ${winners[0]}`);
  });

  test('wrong bodies: the documented error, and the link stays good', async () => {
    const user = await invited();
    const target = `/v1/links/${user.token}`;
    for (const [members, code, part] of [
      [{}, 20002, /password/], [{password: 'short'}, 20400, /12/], [{password: 7}, 20400, /password/],
      [{password: 'password1234'}, 20400, /tried first/], [{password: user.email}, 20400, /e-mail/],
      [{password, more: 1}, 20001, /more/], [{password, email: 'a@b.example'}, 20001, /email/],
      [{password, name: ''}, 20400, /name/], [{password, name: 'a\nb'}, 20400, /name/],
      [{password, name: 'x'.repeat(256)}, 20400, /name/], [[], 20400, /./]]) {
      const answer = await shared.request('POST', target, json(members));
      wrong(answer, 400, code, part);
      assert.ok(!answer.text.includes(password));
    }
    wrong(await shared.request('POST', target, {body: '{', headers: json({}).headers}), 400, 20400);
    wrong(await shared.request('POST', target, form({password})), 415, 20415);
    wrong(await shared.request('POST', target, json({password: 'x'.repeat(20000)})), 413, 20413);
    wrong(await shared.request('GET', `${target}?a=1`), 400, 20001);
    wrong(await shared.request('DELETE', target), 405, 20004);
    assert.equal((await shared.request('POST', target, json({password}))).status, 200);
  });

  test('what is invited: wrong input, e-mails taken, roles that may not be given', async () => {
    const email = address();
    for (const [body, status, code] of [
      [{}, 400, 20002], [{email}, 400, 20002], [{email, role: 'owner'}, 400, 20400],
      [{email, role: 'Admin'}, 400, 20400], [{email: 'x', role: 'admin'}, 400, 20400],
      [{email, role: 'admin', products: ['Fax']}, 400, 20400],
      [{email, role: 'admin', x: 1}, 400, 20001],
      [{email: 'OWNER@example.com', role: 'admin'}, 409, 20409]]) {
      wrong(await shared.api('POST', '/v1/users', body), status, code);
    }
    const developer = await signedIn(shared, (await joined()).email);
    wrong(await developer('POST', '/v1/users', {email, role: 'default'}), 403, 20006);
    const admin = await signedIn(shared, (await joined(shared, {role: 'admin'})).email);
    assert.equal((await admin('POST', '/v1/users', {email, role: 'admin'})).status, 201);
    const owner = (await shared.must('GET', '/v1/users')).data
      .find((user) => user.role === 'owner');
    wrong(await admin('POST', `/v1/users/${owner.id}/reset-link`, {}), 403, 20006, /Owner/);
  });

  test('concurrent invites of one e-mail: one user', async () => {
    const email = address();
    const answers = await Promise.all(Array.from({length: 8}, () =>
      shared.api('POST', '/v1/users', {email, role: 'default'})));
    assert.equal(answers.filter((answer) => answer.status === 201).length, 1);
    assert.equal(answers.filter((answer) => answer.status === 409).length, 7);
  });

  test('an answer repeated under its Idempotency-Key holds no link', async () => {
    const body = {email: address(), role: 'default'};
    const key = {'idempotency-key': randomUUID()};
    const first = await shared.api('POST', '/v1/users', body, key);
    assert.ok(first.body.invite_url);
    const second = await shared.api('POST', '/v1/users', body, key);
    assert.equal(second.status, 201);
    const {invite_url: url, ...rest} = first.body;
    assert.deepEqual(second.body, rest);
    assert.ok(url);
  });

  test('a link of a user who was removed is none', async () => {
    const user = await invited();
    assert.equal((await shared.api('DELETE', `/v1/users/${user.id}`)).status, 204);
    wrong(await shared.request('GET', `/v1/links/${user.token}`), 404, 20404);
  });
});

describe('pages', () => {
  test('the invite as a form: mended, sent, done', async () => {
    const name = '<b>"Ada" & \'Co\'</b>';
    const user = await invited(shared, {name});
    const target = `/links/${user.token}`;
    const page = await shared.request('GET', target);
    isPage(page, 200);
    assert.ok(!page.text.includes('<b>"Ada"'));
    assert.ok(page.text.includes('value="&lt;b&gt;&quot;Ada&quot; &amp; &#39;Co&#39;&lt;/b&gt;"'));
    assert.match(page.text, /<form method="post">/);
    assert.match(page.text, /type="password" autocomplete="new-password" required/);
    const short = await shared.request('POST', target, form({name: '"><i>', password: 'short'}));
    isPage(short, 400);
    assert.match(short.text, /role="alert">The password must have 12/);
    assert.ok(short.text.includes('value="&quot;&gt;&lt;i&gt;"'));
    assert.ok(!short.text.includes('short"'));
    for (const [how, status] of [[form({password, more: '1'}), 400], [form({}), 400],
      [{body: `password=${'%zz'}`, headers: form({}).headers}, 400],
      [{body: 'password=a&password=b', headers: form({}).headers}, 400],
      [json({password}), 415], [{body: 'x', headers: {'content-type': 'text/plain'}}, 415]]) {
      isPage(await shared.request('POST', target, how), status);
    }
    const done = await shared.request('POST', target, form({name: 'Ada', password}));
    isPage(done, 200);
    assert.match(done.text, /sign in/);
    await signedIn(shared, user.email);
  });
});

describe('password resets', () => {
  test('without mail: a link to be handed on, which ends all sessions and keeps the rest', async () => {
    const user = await joined();
    const call = await signedIn(shared, user.email);
    const made = await shared.must('POST', `/v1/users/${user.id}/reset-link`, {});
    assert.equal(made.invite_url, undefined);
    const token = linkIn(made.reset_url);
    const minutes = (Date.parse(made.date_link_expires) - Date.now()) / 60000;
    assert.ok(minutes > 59 && minutes <= 60);
    assert.equal((await shared.request('GET', `/v1/links/${token}`)).body.kind, 'reset');
    assert.equal((await call('GET', '/v1/profile')).status, 200);
    const page = await shared.request('GET', `/links/${token}`);
    isPage(page, 200);
    assert.match(page.text, /signs you out everywhere/);
    isPage(await shared.request('POST', `/links/${token}`, form({password: `${password} new`})), 200);
    assert.equal((await call('GET', '/v1/profile')).status, 401);
    wrong(await shared.request('POST', '/v1/session', json({email: user.email, password})),
      401, 20401);
    await signedIn(shared, user.email, `${password} new`);
  });

  test('who has not joined has no password to be reset', async () => {
    const user = await invited();
    wrong(await shared.api('POST', `/v1/users/${user.id}/reset-link`, {}), 409, 20409);
    wrong(await shared.api('POST', '/v1/users/user_none/reset-link', {}), 404, 20404);
    wrong(await shared.api('POST', `/v1/users/${user.id}/reset-link`, {x: 1}), 400, 20001);
  });

  test('by e-mail: the same answer for everybody, and mail for who is there', async () => {
    const box = await Mailbox.start();
    boxes.push(box);
    const server = await started(box.settings());
    const email = address();
    await server.must('POST', '/v1/users', {email, role: 'developer'});
    const invite = linkIn((await box.next(email)).text);
    const there = await server.request('POST', `/v1/links/${invite}`, json({password}));
    assert.equal(there.status, 200, there.text);
    const call = await signedIn(server, email);
    const ask = (who) => server.request('POST', '/v1/password-resets', json({email: who}));
    const answers = [await ask(email), await ask('nobody@example.org'), await ask('nonsense')];
    for (const answer of answers) {
      assert.equal(answer.status, 202);
      assert.equal(answer.text, answers[0].text);
    }
    const mail = await box.next(email, 2);
    assert.equal(mail.subject, 'Set a new password on Millrace');
    assert.equal((await server.request('POST', `/v1/links/${linkIn(mail.text)}`,
      json({password: `${password} new`}))).status, 200);
    assert.equal((await call('GET', '/v1/profile')).status, 401);
    const told = await box.next(email, 3);
    assert.match(told.text, /password was changed/);
    assert.equal(linkIn(told.text), undefined);
    assert.equal(box.to('nobody@example.org').length, 0);
    /* Where there is mail, nobody else gets the link. */
    const id = there.body.user_id;
    const made = await server.must('POST', `/v1/users/${id}/reset-link`, {});
    assert.equal(made.reset_url, undefined);
    assert.ok(linkIn((await box.next(email, 4)).text));
    for (const [how, status, code] of [[json({}), 400, 20002], [json({email: 7}), 400, 20400],
      [json({email, x: 1}), 400, 20001], [form({email}), 415, 20415]]) {
      wrong(await server.request('POST', '/v1/password-resets', how), status, code);
    }
    let last;
    for (let i = 0; i < 12 && last?.status !== 429; i++) {
      last = await ask(email.toUpperCase());
    }
    wrong(last, 429, 20429);
    assert.ok(Number(last.headers['retry-after']) >= 1);
  });
});

describe('portal links', () => {
  test('opened once, by a button, into one account in one role', async () => {
    const answer = await shared.api('POST', '/v1/portal-links',
      {return_url: 'https://shop.example.com/x?a=1&b=2'});
    assert.equal(answer.status, 201, answer.text);
    assert.equal(answer.body.account_id, shared.account_id);
    assert.equal(answer.body.role, 'developer');
    const token = linkIn(answer.body.url);
    const target = `/links/${token}`;
    for (let i = 0; i < 3; i++) {
      const page = await shared.request('GET', target);
      isPage(page, 200);
      assert.equal(page.headers['set-cookie'], undefined);
      assert.match(page.text, /<button>Open<\/button>/);
    }
    /* Not from another site. */
    for (const site of ['cross-site', 'same-site']) {
      const {body, headers} = form({});
      isPage(await shared.request('POST', target, {body, headers: {...headers, origin: 'null',
        'sec-fetch-site': site}}), 403);
    }
    const {body, headers} = form({});
    const done = await shared.request('POST', target, {body,
      headers: {...headers, origin: 'null', 'sec-fetch-site': 'same-origin'}});
    assert.equal(done.status, 200, done.text);
    assert.match(done.text, /href="https:\/\/shop\.example\.com\/x\?a=1&amp;b=2"/);
    const set = done.headers['set-cookie'][0];
    assert.match(set, /^__Host-millrace=[\w-]{43}; Path=\/; .*Secure; HttpOnly; SameSite=Strict$/);
    isPage(await shared.request('POST', target, form({})), 404);
    const cookie = set.split(';')[0];
    const session = await shared.request('GET', '/v1/session', {headers: {cookie}});
    assert.equal(session.status, 200, session.text);
    assert.equal(session.body.account.id, shared.account_id);
    assert.equal(session.body.user.role, 'developer');
    assert.equal((await shared.request('GET', '/v1/destinations', {headers: {cookie}})).status, 200);
    assert.equal((await shared.request('POST', '/v1/users', {headers: {cookie,
      'x-csrf-token': session.body.csrf_token, 'content-type': 'application/json'},
      body: '{"email":"a@b.example","role":"default"}'})).status, 403);
    for (const [method, target] of [['PATCH', '/v1/profile'], ['POST', '/v1/profile/password'],
      ['POST', '/v1/profile/totp']]) {
      assert.equal((await shared.request(method, target, {headers: {cookie,
        'x-csrf-token': session.body.csrf_token, 'content-type': 'application/json'},
        body: '{}'})).status, 403, target);
    }
    /* Disabling the portal user ends every such session. */
    const id = session.body.user.id;
    await shared.must('PATCH', `/v1/users/${id}`, {status: 'DISABLED'});
    assert.equal((await shared.request('GET', '/v1/session', {headers: {cookie}})).status, 401);
    wrong(await shared.api('POST', '/v1/portal-links', {}), 409, 20409);
    await shared.must('DELETE', `/v1/users/${id}`).catch(() => {});
  });

  test('as JSON, and wrong input', async () => {
    const made = await shared.must('POST', '/v1/portal-links', {role: 'default'});
    const done = await shared.request('POST', `/v1/links/${linkIn(made.url)}`, json({}));
    assert.equal(done.status, 200, done.text);
    assert.equal(done.body.kind, 'portal');
    assert.equal(done.body.role, 'default');
    assert.ok(done.headers['set-cookie']);
    for (const [body, code] of [[{role: 'owner'}, 20400], [{return_url: 'http://a.example'}, 20400],
      [{return_url: 'javascript:alert(1)'}, 20400], [{x: 1}, 20001]]) {
      wrong(await shared.api('POST', '/v1/portal-links', body), 400, code);
    }
    wrong(await shared.request('POST', '/v1/portal-links', json({})), 401, 20401);
    const body = {role: 'default'};
    const key = {'idempotency-key': randomUUID()};
    assert.ok((await shared.api('POST', '/v1/portal-links', body, key)).body.url);
    assert.equal((await shared.api('POST', '/v1/portal-links', body, key)).body.url, undefined);
  });
});

describe('first start', () => {
  // A server on a folder that init never saw.
  async function fresh(data) {
    const server = new Server({data});
    servers.push(server);
    server.signIn = async () => {};
    await server.serve();
    return server;
  }

  function place() {
    const dir = folder('first');
    dirs.push(dir);
    return path.join(dir, 'data');
  }

  const owner = {account_name: 'Acme', email: 'Ada@example.com', name: 'Ada', password};

  test('a set-up link in a file of its own, the same after a restart, gone once used', async () => {
    const data = place();
    const file = `${data}.setup-link`;
    let server = await fresh(data);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const text = readFileSync(file, 'utf8');
    const token = linkIn(text);
    assert.equal(text, `${server.url}/links/${token}\n`);
    assert.match(server.log, /setup_waits link_in=\S+data\.setup-link/);
    assert.ok(!server.log.includes(token));
    await server.kill();
    server = await fresh(data);
    assert.equal(readFileSync(file, 'utf8'), `${server.url}/links/${token}\n`);
    const seen = await server.request('GET', `/v1/links/${token}`);
    assert.deepEqual(seen.body.members, ['account_name', 'email', 'name', 'password']);
    assert.equal(seen.body.date_expires, null);
    isPage(await server.request('GET', `/links/${token}`), 200);
    for (const member of Object.keys(owner)) {
      const {[member]: left, ...rest} = owner;
      wrong(await server.request('POST', `/v1/links/${token}`, json(rest)), 400, 20002,
        new RegExp(member));
      assert.ok(left);
    }
    wrong(await server.request('POST', `/v1/links/${token}`, json({...owner, email: 'x'})),
      400, 20400, /email/);
    const done = await Promise.all(Array.from({length: 4}, () =>
      server.request('POST', `/links/${token}`, form(owner))));
    assert.deepEqual(done.map((answer) => answer.status).sort(), [200, 404, 404, 404]);
    assert.equal(existsSync(file), false);
    const call = await signedIn(server, 'ada@example.com');
    const session = (await call('GET', '/v1/session')).body;
    assert.equal(session.user.role, 'owner');
    assert.equal(session.account.friendly_name, 'Acme');
    /* The new Owner makes a client and goes on with it. */
    await server.stop();
    for (const name of readdirSync(data, {recursive: true, withFileTypes: true})) {
      if (name.isFile()) {
        const bytes = readFileSync(path.join(name.parentPath ?? name.path, name.name));
        assert.ok(!bytes.includes(token) && !bytes.includes(password), name.name);
      }
    }
    await server.serve();
    assert.equal(existsSync(file), false);
    await signedIn(server, 'ada@example.com');
  });

  test('a file that is lost or not ours makes way for another link', async () => {
    const data = place();
    let server = await fresh(data);
    const first = linkIn(readFileSync(`${data}.setup-link`, 'utf8'));
    await server.stop();
    writeFileSync(`${data}.setup-link`, 'https://elsewhere.example/links/nonsense\n');
    server = await fresh(data);
    const second = linkIn(readFileSync(`${data}.setup-link`, 'utf8'));
    assert.notEqual(second, first);
    wrong(await server.request('GET', `/v1/links/${first}`), 404, 20404);
    assert.equal((await server.request('GET', `/v1/links/${second}`)).status, 200);
  });

  test('on a terminal the link is shown there, and in no file', async () => {
    const data = place();
    const child = spawn('script', ['-qec',
      `echo $$ >${data}.pid; exec ${binary} serve --data ${data} --listen 127.0.0.1:0 >${data}.out`,
      '/dev/null'], {stdio: ['ignore', 'pipe', 'inherit']});
    let shown = '';
    child.stdout.on('data', (bytes) => { shown += bytes; });
    const gone = new Promise((resolve) => child.on('exit', resolve));
    try {
      const token = await until('the link', () => linkIn(shown), 30000);
      await until('ready', () => existsSync(`${data}.out`)
        && /^ready url=\S+ data=\S+\n$/.test(readFileSync(`${data}.out`, 'utf8')));
      assert.equal(existsSync(`${data}.setup-link`), false);
      const url = /url=(\S+)/.exec(readFileSync(`${data}.out`, 'utf8'))[1];
      assert.ok(shown.includes(`${url}/links/${token}`));
      const answer = await fetch(`${url}/v1/links/${token}`);
      assert.equal((await answer.json()).kind, 'setup');
    } finally {
      // The server itself: it outlives its terminal. script ends with it, and with its exit code.
      process.kill(Number(readFileSync(`${data}.pid`, 'utf8')), 'SIGTERM');
      assert.equal(await gone, 0);
    }
  });

  test('a folder with other things in it is left alone', async () => {
    const data = place();
    mkdirSync(data);
    writeFileSync(path.join(data, 'photo.jpg'), 'x');
    const refused = millrace(['serve', '--data', data, '--listen', '127.0.0.1:0']);
    assert.equal(refused.status, 2);
    assert.match(refused.stderr, /not empty and holds no data of Millrace \(photo\.jpg is in it\)/);
    assert.deepEqual(readdirSync(data), ['photo.jpg']);
    assert.equal(existsSync(`${data}.key`), false);
    assert.equal(existsSync(`${data}.setup-link`), false);
  });

  test('an empty folder will do; two starts at once: one of them', async () => {
    const data = place();
    mkdirSync(data, {mode: 0o700});
    const server = await fresh(data);
    const second = millrace(['serve', '--data', data, '--listen', '127.0.0.1:0']);
    assert.equal(second.status, 4, second.stderr);
    assert.match(second.stderr, /in use/);
    const token = linkIn(readFileSync(`${data}.setup-link`, 'utf8'));
    assert.equal((await server.request('GET', `/v1/links/${token}`)).status, 200);
  });
});

test('no link, no address of who was invited in the log', () => {
  assert.ok(!/links\/|example\.org/.test(shared.log), shared.log);
});
