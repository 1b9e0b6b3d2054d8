// Secrets of every kind are made, used and searched for: in answers, log, metrics, files, a copy of
// the data folder, and in a core dump of the running server.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {chmodSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {after, test} from 'node:test';
import {Canaries, decoded} from './canaries.mjs';
import {Receiver, Server, binary, canaries, certificates, event, folder, millrace, remove,
  until} from './harness.mjs';
import {Mailbox, linkIn} from './mailbox.mjs';
import {Browser} from './people.mjs';

const homes = [];
const open = [];
after(async () => {
  await Promise.all(open.map((one) => one.end()));
  homes.forEach(remove);
});

const padded = (text, n) => 'x'.repeat(n) + text + 'y'.repeat(40);

test('a secret is found in every form and place, and told without its value', () => {
  const secret = 'Hs9"k/ü!pq_Zm4-vT2+wL8~ rB6;cN';
  const bytes = Buffer.from(secret);
  const forms = {
    raw: secret, hex: bytes.toString('hex'), HEX: bytes.toString('hex').toUpperCase(),
    percent: encodeURIComponent(secret), form: new URLSearchParams({secret}).toString(),
    json: JSON.stringify(secret), slashes: JSON.stringify(secret).replaceAll('/', '\\/'),
    ...Object.fromEntries([0, 1, 2, 3].flatMap((n) => {
      const inside = Buffer.from(padded(secret, n));
      return [[`base64 at ${n}`, inside.toString('base64')],
        [`base64url at ${n}`, inside.toString('base64url')]];
    }))};
  for (const [name, text] of Object.entries(forms)) {
    const some = new Canaries();
    some.note('password', secret);
    const dir = folder('canary');
    homes.push(dir);
    mkdirSync(path.join(dir, 'inner'));
    // Behind a segment's worth of other bytes, before zeroes.
    writeFileSync(path.join(dir, 'inner', 'one'),
      Buffer.concat([Buffer.alloc(70000, 'a'), Buffer.from(text), Buffer.alloc(200000)]));
    some.searchFiles(dir);
    assert.deepEqual(some.found(), ['password in the file one'], name);
  }
});

test('what a secret encodes is searched for as well; a beginning of it is enough', () => {
  const some = new Canaries();
  some.note('TOTP seed', 'otpauth://totp/a?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&digits=6');
  some.search('seed', Buffer.from('48656c6c6f21deadbeef48656c6c6f21deadbeef', 'hex'));
  const long = 'k7Jq-4xTz_Qm2Wn8Rb5Yc1Vd9Pf3Lg6Hs0Ua';
  some.note('client secret', long);
  some.search('short', `secret ${long.slice(0, 32)} and no more`);
  some.search('shorter', long.slice(0, 31));
  some.note('link token', 'https://example.test/links/Zx81_qwertyuiopasdfghj?x');
  some.search('link', 'GET /links/Zx81_qwertyuiopasdfghj');
  assert.deepEqual(some.found(), ['TOTP seed in seed', 'client secret in short', 'link token in link']);
});

test('an answer that shows a secret again is told of', () => {
  const some = new Canaries();
  some.noteBody(JSON.stringify({id: 'whs_1', secret: '0123456789abcdef0123456789abcdef'}),
    'application/json');
  some.searchAnswer('GET', '/v1/secrets?page_size=1',
    {headers: {}, text: '{"data":[{"secret":"0123456789abcdef0123456789abcdef"}]}'});
  assert.deepEqual(some.found(), ['secret in the answer to GET /v1/secrets']);
});

// The program with a folder of its own to leave a core in.
function inFolderOfItsOwn(dir) {
  const file = path.join(dir, 'run');
  writeFileSync(file, `#!/bin/sh\nulimit -c unlimited || exit 1\ncd ${dir} && exec ${binary} "$@"\n`);
  chmodSync(file, 0o700);
  return file;
}

// Why no core is written where the test could read it; null where one is. Sanitizers forbid it: their
// shadow memory would be in it.
function noCores() {
  if (/__[at]san_init/.test(readFileSync(binary, 'latin1'))) {
    return 'the program is built with a sanitizer';
  }
  const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim();
  return /^[|/]/.test(pattern) ? `core_pattern is ${pattern}` : null;
}

const cores = (dir) => readdirSync(dir).filter((name) => name.startsWith('core'));

// Dies of SIGABRT; the core, where one was written.
async function abort(server, dir) {
  await server.kill('SIGABRT');
  return cores(dir).map((name) => path.join(dir, name))[0];
}

async function scene(settings = {}) {
  const home = folder('canaries');
  homes.push(home);
  const mailPassword = path.join(home, 'smtp.key');
  writeFileSync(mailPassword, 'canary smtp password 31f7', {mode: 0o600});
  canaries.note('SMTP password', 'canary smtp password 31f7');
  const box = await Mailbox.start({auth: {user: 'millrace', pass: 'canary smtp password 31f7'}});
  const metricsToken = 'canary-metrics-token-58b0';
  canaries.note('metrics token', metricsToken);
  const server = new Server({data: path.join(home, 'data'), program: inFolderOfItsOwn(home),
    settings: {tls_cert_file: certificates().cert, tls_key_file: certificates().key,
      extra_ca_file: certificates().ca, TMPDIR: home,
      ...box.settings({smtp_user: 'millrace', smtp_password_file: mailPassword}),
      metrics_token: metricsToken, ...settings}});
  server.init();
  const given = path.join(home, 'given.key');
  writeFileSync(given, 'canary-imported-secret-4f1c8e');
  canaries.note('imported secret', 'canary-imported-secret-4f1c8e');
  const imported = millrace(['secrets', 'import', '--data', server.data, '--name', 'given', given]);
  assert.equal(imported.status, 0, imported.stderr);
  canaries.note('master key', readFileSync(`${server.data}.key`, 'utf8').trim());
  const receiver = await Receiver.start();
  await server.serve();
  open.push(server, receiver, box);
  return {home, server, receiver, box};
}

const code = (seed, back) => execFileSync('oathtool', ['--totp', '-b', seed, '--now',
  new Date(Date.now() - back).toISOString().replace('T', ' ').replace(/\..*/, ' UTC')],
{encoding: 'utf8'}).trim();

// What people have: a link by mail, a password, a session, a second factor, links of other kinds.
async function usePeople({server, box}) {
  const email = 'person@example.com';
  const password = 'canary password of a person';
  const user = await server.must('POST', '/v1/users', {email, role: 'admin'});
  const token = linkIn((await box.next(email)).text);
  canaries.note('link token', `/links/${token}`);
  await server.request('GET', `/links/${token}`);
  const joined = await server.request('POST', `/v1/links/${token}`, {
    headers: {'content-type': 'application/json'}, body: JSON.stringify({password})});
  assert.equal(joined.status, 200, joined.text);
  const browser = await Browser.open(server, email, password);
  assert.equal((await new Browser(server).signIn(email, 'canary wrong password')).status, 401);
  const begun = await browser.call('POST', '/v1/profile/totp', {password});
  const confirmed = await browser.call('POST', '/v1/profile/totp/confirm',
    {code: code(begun.body.secret, 30000)});
  assert.equal(confirmed.status, 200, confirmed.text);
  const fresh = new Browser(server);
  const {body: {ticket}} = await fresh.signIn(email, password);
  const inside = await fresh.call('POST', '/v1/session/second-factor',
    {ticket, code: confirmed.body.recovery_codes[0]});
  assert.equal(inside.status, 201, inside.text);
  await browser.call('GET', '/v1/session');
  const next = 'canary password after the first';
  assert.equal((await browser.call('POST', '/v1/profile/password',
    {current_password: password, new_password: next})).status, 204);
  await server.must('POST', `/v1/users/${user.id}/reset-link`);
  const reset = await until('the link by mail', () => box.to(email).find((mail) =>
    mail.text.includes('/links/') && linkIn(mail.text) !== token));
  canaries.note('link token', `/links/${linkIn(reset.text)}`);
  const portal = await server.must('POST', '/v1/portal-links', {role: 'default'});
  assert.match(portal.url, /\/links\//);
  assert.equal((await browser.call('DELETE', '/v1/session')).status, 204);
  // What is under way is no trace of what was.
  await until('all mail to be sent', async () => {
    const sent = (await server.metrics())['millrace_mails_total{outcome="sent"}'];
    return sent === box.mails.length && sent >= 4;
  });
}

// Every kind of secret is made and used, over connections that stay open.
async function useSecrets(world) {
  const {server, receiver} = world;
  await usePeople(world);
  await server.secret('first');
  const second = await server.secret('second');
  const destination = await server.destination(`${receiver.url}/hook`, {
    headers: {'X-Api-Key': 'canary-extra-header-5c1f', Authorization: 'Bearer canary-bearer-77aa'},
    client_cert_pem: readFileSync(certificates().cert, 'utf8'),
    client_key_pem: readFileSync(certificates().key, 'utf8')});
  await server.rule(destination, 'com.example.test');
  await server.must('POST', `/v1/destinations/${destination.id}/signing-secret`, {});
  await server.must('PATCH', `/v1/destinations/${destination.id}`, {settings: {
    signatures: ['kore', 'standard-webhooks'], headers: {'X-Api-Key': 'canary-extra-header-2-9d0e'}}});
  await server.publish(event());
  await until('a delivery', () => receiver.requests.length > 0);
  await server.must('PATCH', `/v1/secrets/${second.id}`, {Status: 'active'});
  await server.publish(event());
  await until('another delivery', () => receiver.requests.length > 1);
  await server.must('POST', `/v1/destinations/${destination.id}/test`, {});
  await server.must('GET', `/v1/destinations/${destination.id}`);
  await server.must('GET', '/v1/destinations?page_size=10');
  await server.must('GET', '/v1/secrets?page_size=10');
  await server.metrics();
  const strange = await server.request('POST', '/api-services/v1/auth/token', {
    headers: {'content-type': 'application/x-www-form-urlencoded'},
    body: new URLSearchParams({grant_type: 'client_credentials', client_id: server.client_id,
      client_secret: 'canary-wrong-client-secret-00'}).toString()});
  assert.equal(strange.status, 401);
  await server.signIn();
  // On the same connection: its worker is done with what it sent before.
  await server.request('GET', '/healthz');
}

test('a server that used secrets of every kind leaves none in log, files and a copy of them',
  async () => {
    const world = await scene();
    const {home, server} = world;
    await useSecrets(world);
    const copy = path.join(home, 'copy');
    cpSync(server.data, copy, {recursive: true});
    const found = canaries.fresh();
    found.searchFiles(copy);
    found.search('the log', server.log);
    assert.deepEqual(found.found(), []);
    const kinds = [...new Set(canaries.known.values())].sort();
    assert.deepEqual(kinds, ['CSRF token', 'SMTP password', 'TOTP seed', 'access token', 'client key',
      'client secret', 'extra header', 'imported secret', 'link token', 'master key',
      'metrics token', 'password', 'recovery code', 'secret', 'session cookie', 'ticket']);
    assert.equal((await server.stop()).code, 0);
    found.searchFiles(home, /\.key$/);
    assert.deepEqual(found.found(), []);
    assert.equal(millrace(['check', '--data', copy]).status, 0);
  });

test('no core is written of a server', {skip: noCores() ?? false}, async () => {
  const {home, server} = await scene();
  assert.match(readFileSync(`/proc/${server.pid}/limits`, 'utf8'), /Max core file size +0 +0 /);
  assert.equal(await abort(server, home), undefined);
});

test('a core of a server under debug_core holds no secret that was used',
  {skip: noCores() ?? false}, async () => {
    const world = await scene({debug_core: 'true'});
    const {home, server} = world;
    await useSecrets(world);
    const core = await abort(server, home);
    assert.ok(core && existsSync(core), 'a core');
    const bytes = memoryOf(readFileSync(core));
    assert.ok(bytes.includes('com.example.test'), 'a core of this server');
    if (process.env.MR_CORE_WHERE) {
      explain(bytes);
    }
    assert.deepEqual(canaries.find(bytes), []);
  });

// A core without the registers of its threads (ELF: segments of type PT_NOTE): vector registers keep
// the last piece that a thread copied, until it copies another. docs/security.md says so.
function memoryOf(bytes) {
  const at = Number(bytes.readBigUInt64LE(32));
  for (let i = 0; i < bytes.readUInt16LE(56); i++) {
    const head = at + i * bytes.readUInt16LE(54);
    if (bytes.readUInt32LE(head) === 4) {
      const from = Number(bytes.readBigUInt64LE(head + 8));
      bytes.fill(0, from, from + Number(bytes.readBigUInt64LE(head + 32)));
    }
  }
  return bytes;
}

// For whoever looks for what is left: each place with what stands around it.
function explain(bytes) {
  const all = [...canaries.known].flatMap(([text, kind]) =>
    [text, ...decoded(text).map((one) => one.toString('latin1'))].map((one) => [one, kind]));
  for (const [text, kind] of all) {
    for (let at = bytes.indexOf(text, 0, 'latin1'); at >= 0;
      at = bytes.indexOf(text, at + 1, 'latin1')) {
      const around = bytes.subarray(Math.max(0, at - 64), at + text.length + 48).toString('latin1')
        .replaceAll(text, '<<<>>>').replace(/[^\x20-\x7e]/g, '.');
      console.log(`${kind} at ${at}: ${around}`);
    }
  }
}
