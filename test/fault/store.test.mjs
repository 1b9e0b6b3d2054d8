// The control store cannot be written: another process holds it, the disk is full, or takes no
// writes. Every change is answered with 503 and leaves nothing behind, reading and deliveries go on,
// and when the cause is gone everything works again without help.
import assert from 'node:assert/strict';
import path from 'node:path';
import {after, test} from 'node:test';
import {execFileSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import {DatabaseSync} from 'node:sqlite';
import {Receiver, Server, certificates, event, folder, millrace, remove, until} from '../e2e/harness.mjs';
import {byPeople, change, changes, changingRoutes, database, difference, dump, elsewhere, password,
  prepare}
  from './control.mjs';
import {Browser} from '../e2e/people.mjs';
import {Disk} from './disk.mjs';

const oneTime = (seed) => execFileSync('oathtool', ['--totp', '-b', seed], {encoding: 'utf8'}).trim();
const tried = new Set(); // routes of people, under a fault
const open = [];
after(async () => {
  for (const end of open.reverse()) {
    await end();
  }
});

async function scene() {
  const home = folder('store');
  const disk = new Disk(path.join(home, 'state'));
  const receiver = await Receiver.start();
  const server = new Server({data: path.join(home, 'data'), settings: {
    extra_ca_file: certificates().ca, ...disk.environment('/control.db')}});
  open.push(async () => {
    await server.end();
    await receiver.end();
    disk.end();
    remove(home);
  });
  server.init();
  writeFileSync(path.join(home, 'password'), `${password}\n`, {mode: 0o600});
  assert.equal(millrace(['users', 'set-password', '--data', server.data, '--email',
    'owner@example.com', '--password-file', path.join(home, 'password')]).status, 0);
  await server.serve();
  return {disk, receiver, server, ids: await prepare(server, receiver.url)};
}

test('every change of the table of routes has a call here', () => {
  const known = changes({}, {url: 'https://x', destination: {}, rule: {}, lonely: {}, spareRule: {}, user: {},
    invited: {}, client: {}, gone: {},
    serial: 0}).map(([route]) => route);
  assert.deepEqual(changingRoutes().filter((route) => !known.includes(route) && !elsewhere.has(route)
    && !byPeople.has(route)), []);
});

async function delivers({server, receiver}) {
  const one = event();
  assert.equal((await server.publish(one)).status, 202);
  await until('a delivery', () => receiver.events('/hook').some(({id}) => id === one.id));
}

// While nothing can be written.
async function refusesAll(world) {
  const {server, ids} = world;
  const before = dump(server);
  for (const one of changes(server, ids)) {
    const [route] = one;
    const answer = await change(server, ids, one, 'key');
    assert.equal(answer.status, 503, `${route}: ${answer.text}`);
    assert.ok(answer.body.code % 1000 === 503, `${route}: ${answer.text}`);
    assert.ok(Number(answer.headers['retry-after']) >= 1, route);
    assert.doesNotMatch(answer.text, /sqlite|select |insert |\.c:\d|control\.db|errno/i, route);
    assert.ok(!answer.text.includes(server.data), route);
    assert.deepEqual(difference(before, dump(server)), {}, route);
  }
  for (const target of ['/v1/destinations', '/v1/streaming-rules', '/v1/secrets', '/v1/schemas',
    `/v1/accounts/${server.account_id}`, `/v1/destinations/${ids.destination.id}`]) {
    const answer = await server.api('GET', target);
    assert.equal(answer.status, 200, `${target}: ${answer.text}`);
  }
  await server.signIn();
  await delivers(world);
  await refusesPeople(world);
  await refusesFactors(world);
  assert.deepEqual([...byPeople].filter((route) => !tried.has(route)), []);
  assert.deepEqual(difference(before, dump(server)), {});
}

// What people change, from signing in on: no session, nothing of theirs changed, no link used up.
async function refusesPeople({server, ids, browser, link}) {
  const before = dump(server);
  const {session} = ids;
  for (const [route, target, body] of [
    ['POST /v1/session', '/v1/session', {email: ids.user.email, password}],
    ['PATCH /v1/profile', '/v1/profile', {name: 'another'}],
    ['POST /v1/profile/password', '/v1/profile/password',
      {current_password: password, new_password: `${password} again`}],
    ['POST /v1/profile/totp', '/v1/profile/totp', {password}],
    ['DELETE /v1/sessions/{id}', `/v1/sessions/${session}`],
    ['DELETE /v1/session', '/v1/session'],
    ['POST /v1/links/{token}', `/v1/links/${link}`, {password}],
    ['POST /links/{token}', `/links/${link}`, new URLSearchParams({password}).toString()]]) {
    tried.add(route);
    const answer = await browser.call(route.split(' ')[0], target, body, typeof body === 'string'
      ? {'content-type': 'application/x-www-form-urlencoded'} : {});
    assert.equal(answer.status, 503, `${route}: ${answer.text}`);
    assert.ok(Number(answer.headers['retry-after']) >= 1, route);
    assert.equal(answer.headers['set-cookie'], undefined, route);
    assert.deepEqual(difference(before, dump(server)), {}, route);
  }
  assert.equal((await browser.call('GET', '/v1/session')).status, 200, 'still signed in');
  // What ends so was no attempt, however wrong: nobody is made to wait for it.
  const wrong = `${password} not`;
  for (let n = 0; n < 7; n++) {
    const answer = await browser.call('POST', '/v1/session', {email: ids.user.email, password: wrong});
    assert.equal(answer.status, 503, answer.text);
    const again = await browser.call('POST', '/v1/profile/totp', {password: wrong});
    assert.equal(again.status, 503, again.text);
  }
}

// What needs a second factor, a ticket or the Owner: {name, browser, target, body} each.
async function factors({server, ids}) {
  const joined = async (email) => {
    const user = await server.must('POST', '/v1/users', {email, role: 'default'});
    const link = user.invite_url.split('/').at(-1);
    const answer = await server.request('POST', `/v1/links/${link}`, {
      headers: {'content-type': 'application/json'}, body: JSON.stringify({password})});
    assert.equal(answer.status, 200, answer.text);
    return Browser.open(server, email, password);
  };
  const begin = async (email) => {
    const browser = await joined(email);
    const {status, body, text} = await browser.call('POST', '/v1/profile/totp', {password});
    assert.equal(status, 200, text);
    return {browser, seed: body.secret};
  };
  const enabled = async (email) => {
    const {browser, seed} = await begin(email);
    const {status, body, text} = await browser.call('POST', '/v1/profile/totp/confirm',
      {code: oneTime(seed)});
    assert.equal(status, 200, text);
    return {browser, code: body.recovery_codes[0]};
  };
  const begun = await begin('begins@example.org');
  const sure = await enabled('sure@example.org');
  const again = await enabled('again@example.org');
  const entering = new Browser(server);
  const {body: {ticket}} = await entering.signIn('sure@example.org', password);
  assert.ok(ticket);
  const owner = await Browser.open(server, 'owner@example.com', password);
  return () => [
    ['POST /v1/session/second-factor', entering, {ticket, code: sure.code}],
    ['POST /v1/profile/totp/confirm', begun.browser, {code: oneTime(begun.seed)}],
    ['POST /v1/profile/recovery-codes', again.browser, {password}],
    ['POST /v1/profile/totp/remove', again.browser, {password}],
    ['POST /v1/accounts/{id}/transfer-ownership', owner, {user_id: ids.user.id},
      `/v1/accounts/${server.account_id}/transfer-ownership`]];
}

async function refusesFactors({server, factor}) {
  const before = dump(server);
  for (const [route, browser, body, target = route.split(' ')[1]] of factor()) {
    tried.add(route);
    const answer = await browser.call('POST', target, body);
    assert.equal(answer.status, 503, `${route}: ${answer.text}`);
    assert.ok(Number(answer.headers['retry-after']) >= 1, route);
    assert.equal(answer.headers['set-cookie'], undefined, route);
    assert.deepEqual(difference(before, dump(server)), {}, route);
  }
}

async function takesFactors({factor}) {
  for (const [route, browser, body, target = route.split(' ')[1]] of factor()) {
    const answer = await browser.call('POST', target, body);
    assert.ok(answer.status < 300, `${route}: ${answer.status} ${answer.text}`);
  }
}

// When the cause is gone: the same calls, under the keys that were refused.
async function takesAll(world) {
  const {server, ids} = world;
  for (const one of changes(server, ids)) {
    const answer = await change(server, ids, one, 'key');
    assert.ok(answer.status < 300, `${one[0]}: ${answer.status} ${answer.text}`);
  }
  await delivers(world);
  assert.equal((await world.browser.call('PATCH', '/v1/profile', {name: 'another'})).status, 200);
  await takesFactors(world);
  const joined = await world.browser.call('POST', `/v1/links/${world.link}`, {password});
  assert.equal(joined.status, 200, joined.text);
  assert.equal((await server.stop()).code, 0);
  const check = millrace(['check', '--data', server.data]);
  assert.equal(check.status, 0, check.stdout + check.stderr);
  await server.serve();
  await delivers(world);
}

async function pending(world) {
  const {server, ids} = world;
  ids.pending = await server.secret('pending');
  world.browser = await Browser.open(server, ids.user.email, password);
  ids.session = (await world.browser.call('GET', '/v1/session')).body.id;
  const waiting = await server.must('POST', '/v1/users', {email: 'waits@example.org', role: 'default'});
  world.link = waiting.invite_url.split('/').at(-1);
  world.factor = await factors(world);
}

test('another process holds the write lock', async () => {
  const world = await scene();
  await pending(world);
  const other = new DatabaseSync(database(world.server));
  other.exec('BEGIN IMMEDIATE');
  await refusesAll(world);
  other.exec('ROLLBACK');
  other.close();
  await takesAll(world);
});

test('the disk is full', async () => {
  const world = await scene();
  await pending(world);
  // The log of writes begins anew, so that the first byte makes it grow.
  const other = new DatabaseSync(database(world.server));
  assert.equal(other.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get().busy, 0);
  other.close();
  world.disk.set('full', 1);
  await refusesAll(world);
  assert.ok(world.disk.get('fullFailures') > 0);
  world.disk.set('full', 0);
  await takesAll(world);
});

test('the file system became read-only', async () => {
  const world = await scene();
  await pending(world);
  world.disk.set('readOnly', 1);
  await refusesAll(world);
  world.disk.set('readOnly', 0);
  await takesAll(world);
});

test('a sync of the store fails', async () => {
  const world = await scene();
  await pending(world);
  world.disk.set('syncFailAt', 1);
  await refusesAll(world);
  assert.ok(world.disk.get('syncFailures') > 0);
  world.disk.set('syncFailAt', 0);
  await takesAll(world);
});
