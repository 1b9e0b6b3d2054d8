// The audit log: a row for everything that changes something, nothing secret in it, a chain that
// anybody can compute again, and no way to cut it unseen.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import {cpSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {after, before, test} from 'node:test';
import {Receiver, Server, certificates, event, folder, millrace, remove, until}
  from './harness.mjs';
import {Browser, setPassword} from './people.mjs';

const ownerWord = 'nine lives of an old lantern';
const email = 'a@example.org';

let server;
let receiver;

before(async () => {
  receiver = await Receiver.start();
  server = new Server({settings: {extra_ca_file: certificates().ca}});
  server.init();
  assert.equal(setPassword(server, 'owner@example.com', ownerWord).status, 0);
  await server.serve();
});

after(async () => {
  await server?.end();
  await receiver?.end();
});

// All rows, oldest first, by pages of the export.
async function rows(of = server, query = 'accounts=all') {
  const all = [];
  let target = `/v1/audit-log/export?rows=7&${query}`;
  while (target) {
    const answer = await of.api('GET', target);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.headers['content-type'], 'application/x-ndjson');
    all.push(...answer.text.split('\n').filter((line) => line).map((line) => JSON.parse(line)));
    const next = /^<([^>]+)>; rel="next"$/.exec(answer.headers.link ?? '');
    target = next && next[1].slice(of.url.length);
  }
  return all;
}

const newest = async () => (await rows()).at(-1);

// ---- a row for every change ----

const routes = millrace(['reference', 'api']).stdout.split('\n')
  .map((line) => /^\| (\w+) \| `([^`]+)` \| ([^|]+) \|/.exec(line)).filter((match) => match)
  .map(([, method, target, scope]) => ({name: `${method} ${target}`, method, scope: scope.trim()}));

// What changes nothing, or is told otherwise.
const without = {
  'POST /v1/events': 'events have a journal of their own',
  'POST /v1/callbacks': 'and callbacks lie in it too',
  'POST /v1/streaming-rules/preview': 'looks only',
};

const contract = {$schema: 'http://json-schema.org/draft-07/schema#', type: 'object',
  properties: {n: {type: 'integer'}}};
const example = event({type: 'com.example.audited'}, {n: 1});

// Each makes one successful call of its route and gives what the row must say; in this order, each
// on what those before made.
const made = {word: 'nine lives of a green lantern'};
const password = made.word;

// The invited user joins and signs in.
async function signedIn() {
  const joined = await server.request('POST', `/v1/links/${made.link}`, {
    headers: {'content-type': 'application/json'}, body: JSON.stringify({password})});
  assert.equal(joined.status, 200, joined.text);
  made.browser = await Browser.open(server, email, password);
}

function oneTime(seed) {
  return execFileSync('oathtool', ['--totp', '-b', seed], {encoding: 'utf8'}).trim();
}
const calls = {
  'POST /v1/callbacks/test': async () => {
    await server.must('POST', '/v1/callbacks/test',
      {url: `${receiver.url}/callback?x=1`, parameters: {word: 'not told'}});
    return {action: 'callback.test', object: '',
      detail: {method: 'POST', url: `${receiver.url}/callback`}};
  },
  'POST /v1/destinations': async () => {
    made.destination = await server.destination(`${receiver.url}/hook`);
    return {action: 'destination.create', object: made.destination.id};
  },
  'PATCH /v1/destinations/{id}': async () => {
    await server.must('PATCH', `/v1/destinations/${made.destination.id}`, {name: 'renamed'});
    return {action: 'destination.change', object: made.destination.id, detail: {changed: {
      name: {from: 'to /hook', to: 'renamed'}}}};
  },
  'POST /v1/destinations/{id}/test': async () => {
    await server.must('POST', `/v1/destinations/${made.destination.id}/test`, {});
    return {action: 'destination.test', object: made.destination.id, detail: {asked: {}}};
  },
  'POST /v1/destinations/{id}/discard': async () => {
    await server.must('POST', `/v1/destinations/${made.destination.id}/discard`,
      {types: ['a.b']});
    return {action: 'destination.discard', object: made.destination.id,
      detail: {asked: {types: ['a.b']}}};
  },
  'POST /v1/destinations/{id}/signing-secret': async () => {
    await server.must('POST', `/v1/destinations/${made.destination.id}/signing-secret`, {});
    return {action: 'destination.signing-secret', object: made.destination.id,
      detail: {secret_shown: true}};
  },
  'POST /v1/streaming-rules': async () => {
    made.rule = await server.rule(made.destination, 'com.example.audited');
    return {action: 'rule.create', object: made.rule.id};
  },
  'PATCH /v1/streaming-rules/{id}': async () => {
    await server.must('PATCH', `/v1/streaming-rules/${made.rule.id}`, {sampling: 50});
    return {action: 'rule.change', object: made.rule.id, detail: {changed: {
      sampling: {from: 1, to: 50}}}};
  },
  'DELETE /v1/streaming-rules/{id}': async () => {
    await server.must('DELETE', `/v1/streaming-rules/${made.rule.id}`);
    return {action: 'rule.delete', object: made.rule.id, detail: {changed: {
      name: {from: 'com.example.audited'}}}};
  },
  'DELETE /v1/destinations/{id}': async () => {
    const {id} = await server.destination(`${receiver.url}/gone`);
    await server.must('DELETE', `/v1/destinations/${id}`);
    return {action: 'destination.delete', object: id};
  },
  'POST /v1/secrets': async () => {
    await server.secret('one');
    made.secret = await server.secret('two');
    return {action: 'secret.create', object: made.secret.id, detail: {secret_shown: true, changed: {
      name: {to: 'two'}, status: {to: 'pending'}}}};
  },
  'PATCH /v1/secrets/{id}': async () => {
    await server.must('PATCH', `/v1/secrets/${made.secret.id}`, {Status: 'active'});
    return {action: 'secret.activate', object: made.secret.id, detail: {changed: {
      status: {from: 'pending', to: 'active'}}}};
  },
  'POST /v1/schemas': async () => {
    await server.must('POST', '/v1/schemas',
      {name: 'audited', document: contract, examples: [example]});
    return {action: 'schema.publish', object: 'audited', detail: {version: 1}};
  },
  'POST /v1/schemas/{name}/versions': async () => {
    await server.must('POST', '/v1/schemas/audited/versions', {document: {...contract,
      properties: {n: {type: 'integer'}, m: {type: 'string'}}}, examples: [example]});
    return {action: 'schema.publish', object: 'audited', detail: {version: 2}};
  },
  'POST /v1/event-types': async () => {
    await server.must('POST', '/v1/event-types', {name: 'com.example.audited', product: 'Test',
      description: 'd', status: 'available', schema: 'audited'});
    return {action: 'event-type.create', object: 'com.example.audited'};
  },
  'PATCH /v1/event-types/{type}': async () => {
    await server.must('PATCH', '/v1/event-types/com.example.audited', {status: 'deprecated'});
    return {action: 'event-type.change', object: 'com.example.audited', detail: {changed: {
      status: {from: 'available', to: 'deprecated'}}}};
  },
  'PATCH /v1/accounts/{id}': async () => {
    await server.must('PATCH', `/v1/accounts/${server.account_id}`,
      {settings: {validate: 'warn'}});
    return {action: 'account.change', object: server.account_id, detail: {changed: {
      'settings.validate': {from: 'reject', to: 'warn'}}}};
  },
  'POST /v1/dead-letters/redrive': async () => {
    await server.must('POST', '/v1/dead-letters/redrive', {reason: 'timeout'});
    return {action: 'dead-letter.redrive', object: '', detail: {asked: {reason: 'timeout'}}};
  },
  'POST /v1/clients': async () => {
    made.client = await server.must('POST', '/v1/clients',
      {name: 'audited', locked: null, scopes: {products: ['SuperSIM']}});
    const all = {to: 'Read Write Modify Delete'};
    return {action: 'client.create', object: made.client.client_id, detail: {secret_shown: true,
      changed: {name: {to: 'audited'}, client_owner: {to: 'owner@example.com'},
        client_type: {to: 'standard'}, locked: {to: null}, enabled: {to: true},
        token_expiry_s: {to: 3600}, 'scopes.SuperSIM': all, 'scopes.Event Streams': all,
        'scopes.Webhooks': all}}};
  },
  'PATCH /v1/clients/{client_id}': async () => {
    const read = {resourceName: 'Events', access: ['Read']};
    await server.must('PATCH', `/v1/clients/${made.client.client_id}`,
      {name: 'renamed', scopes: {products: ['SuperSIM', read]}});
    return {action: 'client.change', object: made.client.client_id, detail: {changed: {
      name: {from: 'audited', to: 'renamed'}, 'scopes.Events': {to: 'Read'}}}};
  },
  'POST /v1/clients/{client_id}/rotate-secret': async () => {
    await server.must('POST', `/v1/clients/${made.client.client_id}/rotate-secret`, {});
    return {action: 'client.rotate-secret', object: made.client.client_id};
  },
  'POST /v1/clients/{client_id}/revoke-tokens': async () => {
    await server.must('POST', `/v1/clients/${made.client.client_id}/revoke-tokens`, {});
    return {action: 'client.revoke-tokens', object: made.client.client_id};
  },
  'DELETE /v1/clients/{client_id}': async () => {
    await server.must('DELETE', `/v1/clients/${made.client.client_id}`);
    return {action: 'client.delete', object: made.client.client_id};
  },
  'POST /v1/signing-keys/rotate': async () => {
    const {kid} = await server.must('POST', '/v1/signing-keys/rotate', {});
    return {action: 'signing-key.rotate', object: kid};
  },
  'POST /v1/accounts': async () => {
    const {id} = await server.must('POST', '/v1/accounts', {friendly_name: 'Child'});
    return {action: 'account.create', object: id};
  },
  'POST /v1/users': async () => {
    made.user = await server.must('POST', '/v1/users', {email, role: 'developer'});
    return {action: 'user.invite', object: made.user.id};
  },
  'POST /v1/users/{id}/invite': async () => {
    const {invite_url: url} = await server.must('POST', `/v1/users/${made.user.id}/invite`, {});
    made.link = url.slice(url.lastIndexOf('/') + 1);
    return {action: 'user.invite-again', object: made.user.id};
  },
  'PATCH /v1/users/{id}': async () => {
    await server.must('PATCH', `/v1/users/${made.user.id}`, {name: 'Renamed'});
    return {action: 'user.change', object: made.user.id};
  },
  'POST /v1/portal-links': async () => {
    await server.must('POST', '/v1/portal-links', {});
    return {action: 'portal-link.create', detail: {role: 'developer'}};
  },
  'PATCH /v1/profile': async () => {
    await signedIn();
    await made.browser.call('PATCH', '/v1/profile', {name: 'Me'});
    return {action: 'profile.change', object: made.user.id, actor: made.user.id};
  },
  'POST /v1/profile/password': async () => {
    const {status} = await made.browser.call('POST', '/v1/profile/password',
      {current_password: password, new_password: `${password} anew`});
    assert.equal(status, 204);
    made.word = `${password} anew`;
    return {action: 'profile.password', object: made.user.id, actor: made.user.id};
  },
  'POST /v1/profile/totp': async () => {
    const begun = await made.browser.call('POST', '/v1/profile/totp', {password: made.word});
    made.seed = begun.body.secret;
    return {action: 'second-factor.begin', object: made.user.id, actor: made.user.id};
  },
  'POST /v1/profile/totp/confirm': async () => {
    const {status, text} = await made.browser.call('POST', '/v1/profile/totp/confirm',
      {code: oneTime(made.seed)});
    assert.equal(status, 200, text);
    return {action: 'second-factor.enable', object: made.user.id, actor: made.user.id};
  },
  'POST /v1/profile/recovery-codes': async () => {
    await made.browser.call('POST', '/v1/profile/recovery-codes', {password: made.word});
    return {action: 'second-factor.recovery-codes', object: made.user.id, actor: made.user.id};
  },
  'POST /v1/profile/totp/remove': async () => {
    await made.browser.call('POST', '/v1/profile/totp/remove', {password: made.word});
    return {action: 'second-factor.remove', object: made.user.id, actor: made.user.id};
  },
  'DELETE /v1/sessions/{id}': async () => {
    await Browser.open(server, email, made.word);
    const {body} = await made.browser.call('GET', '/v1/sessions');
    const {id} = body.data.find(({current}) => !current);
    assert.equal((await made.browser.call('DELETE', `/v1/sessions/${id}`)).status, 204);
    return {action: 'session.delete', object: id, actor: made.user.id};
  },
  'DELETE /v1/session': async () => {
    const {id} = (await made.browser.call('GET', '/v1/sessions')).body.data[0];
    assert.equal((await made.browser.call('DELETE', '/v1/session')).status, 204);
    return {action: 'session.delete', object: id, actor: made.user.id};
  },
  'POST /v1/users/{id}/reset-link': async () => {
    await server.must('POST', `/v1/users/${made.user.id}/reset-link`, {});
    return {action: 'user.reset-link', object: made.user.id};
  },
  'POST /v1/accounts/{id}/transfer-ownership': async () => {
    const owner = await Browser.open(server, 'owner@example.com', 'nine lives of an old lantern');
    const {status, text} = await owner.call('POST',
      `/v1/accounts/${server.account_id}/transfer-ownership`, {user_id: made.user.id});
    assert.ok(status < 300, text);
    return {action: 'account.transfer-ownership', object: made.user.id,
      actor: (await owner.call('GET', '/v1/profile')).body.id};
  },
  'DELETE /v1/users/{id}': async () => {
    const {id} = await server.must('POST', '/v1/users', {email: 'b@example.org', role: 'default'});
    await server.must('DELETE', `/v1/users/${id}`);
    return {action: 'user.delete', object: id};
  },
};

test('every route that changes something leaves a row in the name of its caller', async () => {
  const changing = routes.filter(({method, scope}) =>
    method !== 'GET' && method !== 'OPTIONS' && scope !== 'none').map(({name}) => name);
  assert.ok(changing.length >= 19);
  assert.deepEqual(changing.filter((name) => !(name in calls) && !(name in without)), [],
    'each of these needs a row of the audit log, and its call here');
  for (const name of Object.keys(calls)) {
    assert.ok(changing.includes(name), `${name} is no route`);
    const n = (await newest()).number;
    const expected = await calls[name]();
    const row = (await rows()).filter(({number}) => number > n).at(-1);
    assert.ok(row, `${name} left no row`);
    assert.equal(row.action, expected.action, name);
    if (expected.object !== undefined) {
      assert.equal(row.object, expected.object, name);
    }
    assert.equal(row.actor_kind, expected.actor ? 'user' : 'client', name);
    assert.equal(row.actor, expected.actor ?? server.client_id, name);
    assert.equal(row.address, '127.0.0.1');
    assert.match(row.request_id, /^req_/);
    assert.equal(row.account_id, server.account_id);
    if (expected.detail) {
      assert.deepEqual(JSON.parse(row.detail), expected.detail, name);
    }
  }
});

test('what is refused or goes wrong leaves no row of a change', async () => {
  const {number} = await newest();
  for (const [method, target, body] of [['POST', '/v1/destinations', {name: 'x'}],
    ['PATCH', '/v1/destinations/dst_none', {name: 'x'}], ['DELETE', '/v1/streaming-rules/rul_x'],
    ['POST', '/v1/secrets', {name: 'x'}], ['POST', '/v1/dead-letters/redrive', {ids: []}]]) {
    assert.ok((await server.api(method, target, body)).status >= 400);
  }
  assert.equal((await newest()).number, number);
});

// ---- reading ----

test('the list: newest first, filters, pages, a cursor, wrong parameters', async () => {
  const all = await rows();
  const list = (query) => server.must('GET', `/v1/audit-log?${query}`);
  const page = await list('page_size=3');
  assert.deepEqual(page.data.map(({number}) => number), all.slice(-3).map((row) => row.number)
    .reverse());
  assert.equal(page.meta_data.count, all.length);
  assert.match(page.meta_data.next_page_url, /\/v1\/audit-log\?page_size=3&cursor=[0-9a-f]+$/);
  const [row] = page.data;
  assert.deepEqual(Object.keys(row), ['number', 'date', 'account_id', 'actor', 'action', 'object',
    'detail', 'request_id', 'hash']);
  const before = await list(`page_size=2&before=${all.at(-2).number}`);
  assert.equal(before.data[0].number, all.at(-3).number);
  const only = async (query, match) => {
    const {data, meta_data: {count}} = await list(`page_size=100&${query}`);
    assert.equal(count, all.filter(match).length, query);
    assert.ok(data.length > 0 && data.length === count);
  };
  await only(`actor=${server.client_id}`, ({actor}) => actor === server.client_id);
  await only('action=secret.create', ({action}) => action === 'secret.create');
  await only('action=destination.', ({action}) => action.startsWith('destination.'));
  await only(`object=${made.rule.id}`, ({object}) => object === made.rule.id);
  const middle = all[6];
  await only(`from=${middle.date}`, ({at_ms: at}) => at >= middle.at_ms);
  await only(`to=${middle.date}`, ({at_ms: at}) => at < middle.at_ms);
  for (const [query, code] of [['from=yesterday', 20400], ['before=0', 20400],
    ['before=x', 20400], ['page_size=0', 20400], ['page_size=100&page_number=1001', 20400],
    ['actor=a&actor=b', 20400], ['who=me', 20001], ['account_id=acct_other', 20404]]) {
    const answer = await server.api('GET', `/v1/audit-log?${query}`);
    assert.equal(answer.body.code, code, `${query}: ${answer.text}`);
  }
  for (const query of ['rows=0', 'rows=10001', 'after=-1', 'accounts=some']) {
    assert.equal((await server.api('GET', `/v1/audit-log/export?${query}`)).body.code, 20400);
  }
  assert.equal((await server.request('GET', '/v1/audit-log')).status, 401);
});

test('an export without rows has its type all the same', async () => {
  const answer = await server.api('GET', '/v1/audit-log/export?after=9000000');
  assert.equal(answer.text, '');
  assert.equal(answer.headers['content-type'], 'application/x-ndjson');
});

// ---- the chain ----

// The form of docs/guides/audit-log.md, by other code than the program's.
function hashOf(row) {
  const fields = [row.previous_hash, row.number, row.at_ms, row.account, row.actor_kind, row.actor,
    row.action, row.object, row.detail, row.address, row.request_id]
    .map((field) => Buffer.from(String(field)));
  const hash = createHash('sha256').update('millrace-audit-1,');
  for (const field of fields) {
    hash.update(`${field.length}:`).update(field).update(',');
  }
  return hash.digest('hex');
}

test('an export is a chain that anybody can compute again', async () => {
  const all = await rows();
  let previous = '0'.repeat(64);
  all.forEach((row, i) => {
    assert.equal(row.number, i + 1);
    assert.equal(row.previous_hash, previous);
    assert.equal(row.hash, hashOf(row));
    previous = row.hash;
  });
});

// ---- commands ----

const environment = () => ({MILLRACE_URL: server.url, MILLRACE_CLIENT_ID: server.client_id,
  MILLRACE_CLIENT_SECRET: server.client_secret});

test('millrace audit lists, exports and verifies', async () => {
  const listed = millrace(['audit', 'list', '--action', 'rule.'], {env: environment()});
  assert.equal(listed.status, 0, listed.stderr);
  assert.deepEqual(listed.stdout.trim().split('\n').map((line) => line.split('  ')[4]),
    ['rule.delete', 'rule.change', 'rule.create']);
  const json = millrace(['audit', 'list', '--json', '--object', made.rule.id],
    {env: environment()});
  assert.equal(JSON.parse(json.stdout).data.length, 3);
  const exported = millrace(['audit', 'export', '--all'], {env: environment()});
  assert.equal(exported.status, 0, exported.stderr);
  const lines = exported.stdout.trim().split('\n');
  const last = JSON.parse(lines.at(-1));
  const verify = (input) => millrace(['audit', 'verify', '-'], {input});
  const sound = verify(exported.stdout);
  assert.equal(sound.status, 0, sound.stdout);
  assert.equal(sound.stdout, `rows 1 to ${lines.length}, ${lines.length} of them, 0 gaps; head ` +
    `${lines.length} ${last.hash}\nsound\n`);
  const changed = (at, change) => lines.map((line, i) => i === at ? change(line) : line).join('\n');
  for (const [input, about] of [
    [changed(4, (line) => line.replace('127.0.0.1', '127.0.0.2')), /line 5: .*was changed/],
    [changed(4, (line) => line.replace(/"previous_hash":"../, '"previous_hash":"zz')), /line 5/],
    [changed(4, () => 'no row'), /line 5: this is not JSON/],
    [changed(4, () => '{}'), /line 5: this is no row/],
    [changed(4, () => lines[3]), /line 5: the rows are not in their order/]]) {
    const result = verify(input);
    assert.equal(result.status, 1, result.stdout);
    assert.match(result.stdout, about);
    assert.match(result.stdout, /\nnot sound\n$/);
  }
  const gap = verify(lines.filter((line, i) => i !== 4).join('\n'));
  assert.match(gap.stdout, / 1 gaps;/);
  // A row made anew with a right hash of its own, but on another one before it.
  const forged = JSON.parse(lines[4]);
  forged.previous_hash = 'a'.repeat(64);
  forged.hash = hashOf(forged);
  assert.match(verify(changed(4, () => JSON.stringify(forged))).stdout,
    /line 5: the row does not follow/);
});

test('what changes nothing leaves no row; what is never shown leaves one that says so', async () => {
  const url = `${receiver.url}/still`;
  const destination = await server.destination(url, {headers: {'x-key': 'first value of it'}});
  const rule = await server.rule(destination, 'com.example.still');
  const client = await server.must('POST', '/v1/clients', {name: 'still', locked: null,
    scopes: {products: ['SuperSIM']}});
  const user = await server.must('POST', '/v1/users', {email: 'still@example.org', role: 'default'});
  const {number} = await newest();
  for (const [target, body] of [
    [`/v1/destinations/${destination.id}`, {name: destination.name, settings: {url}}],
    [`/v1/streaming-rules/${rule.id}`, {name: rule.name, status: 'enabled'}],
    [`/v1/clients/${client.client_id}`, {name: 'still', locked: null}],
    [`/v1/accounts/${server.account_id}`, {}], [`/v1/users/${user.id}`, {role: 'default'}],
    [`/v1/destinations/${destination.id}`,
      {settings: {headers: {'x-key': 'first value of it'}}}]]) {
    await server.must('PATCH', target, body);
    assert.equal((await newest()).number, number, `PATCH ${target} left a row`);
  }
  await server.must('PATCH', `/v1/destinations/${destination.id}`,
    {settings: {headers: {'x-key': 'another value of it'}}});
  const row = await newest();
  assert.equal(row.action, 'destination.change');
  assert.deepEqual(JSON.parse(row.detail), {changed: {}, hidden_changed: true});
});

test('who comes by a link is its user; an unknown e-mail is told by a keyed hash', async () => {
  const mail = 'link@example.org';
  const user = await server.must('POST', '/v1/users', {email: mail, role: 'default'});
  const {invite_url: url} = await server.must('POST', `/v1/users/${user.id}/invite`, {});
  const link = url.slice(url.lastIndexOf('/') + 1);
  const json = (body) => ({headers: {'content-type': 'application/json'},
    body: JSON.stringify(body)});
  assert.equal((await server.request('POST', `/v1/links/${link}`, json({password}))).status, 200);
  const joined = (await rows()).findLast(({action}) => action === 'user.join');
  assert.deepEqual([joined.actor_kind, joined.actor, joined.object, joined.detail],
    ['user', user.id, user.id, '{"by":"link"}']);
  const tries = ['my word for the e-mail field', 'My Word for the e-mail field', 'another one'];
  const objects = [];
  for (const typed of tries) {
    const wrong = await new Browser(server).signIn(typed, 'whatever this may be');
    assert.equal(wrong.status, 401, wrong.text);
    const row = (await rows()).findLast(({action}) => action === 'session.refused');
    assert.match(row.object, /^unknown-[0-9a-f]{16}$/);
    assert.equal(row.actor_kind, 'nobody');
    objects.push(row.object);
  }
  assert.equal(objects[0], objects[1], 'the same but for its letters is the same e-mail');
  assert.notEqual(objects[0], objects[2]);
  assert.ok(!JSON.stringify(await rows()).includes('word for the e-mail'));
});

// ---- refusals ----

// Runs with other scopes for the one client there is; `then` is told the token of before.
async function withScopes(scopes, run) {
  const database = () => new DatabaseSync(path.join(server.data, 'control.db'));
  await server.stop();
  const before = database();
  const {scopes: old} = before.prepare('SELECT scopes FROM clients').get();
  before.prepare('UPDATE clients SET scopes = ?').run(JSON.stringify(scopes));
  before.close();
  await server.serve();
  await run();
  await server.stop();
  const then = database();
  then.prepare('UPDATE clients SET scopes = ?').run(old);
  then.close();
  await server.serve();
}

const countOf = (list) => list.reduce((sum, {detail}) => sum + JSON.parse(detail).count, 0);

test('refusals and sign-ins: the first at once, the others counted, none lost', async () => {
  const from = (await newest()).number;
  const fresh = async (match) => (await rows()).filter((row) => row.number > from && match(row));
  const forged = {authorization: 'Bearer a.b.c'};
  assert.equal((await server.request('GET', '/v1/secrets', {headers: forged})).status, 403);
  const first = await until('the first row', async () =>
    (await fresh(({action}) => action === 'access.refuse'))[0]);
  assert.equal(first.actor_kind, 'nobody');
  assert.equal(first.address, '127.0.0.1');
  assert.equal(first.object, 'GET /v1/secrets');
  assert.deepEqual(JSON.parse(first.detail), {why: 'token', count: 1});
  // No right was asked for without a token.
  assert.equal((await server.request('GET', '/v1/rules')).status, 404);
  assert.equal((await server.request('GET', '/v1/secrets')).status, 401);
  const n = 400;
  await Promise.all(Array.from({length: n}, () => server.request('POST', '/v1/events',
    {headers: {...forged, 'content-type': 'application/json'}, body: '[]'})));
  for (let i = 0; i < 3; i++) {
    await server.request('POST', '/api-services/v1/auth/token', {
      headers: {'content-type': 'application/x-www-form-urlencoded'},
      body: `grant_type=client_credentials&client_id=${server.client_id}&client_secret=no`});
  }
  await withScopes({globalResources: [], products: [
    {resourceName: 'Event Streams', access: ['Read']}]}, async () => {
    for (let i = 0; i < 3; i++) {
      assert.equal((await server.api('POST', '/v1/destinations', {})).status, 403);
    }
    assert.equal((await server.api('GET', '/v1/audit-log')).status, 403);
  });
  const refused = await fresh(({action}) => action === 'access.refuse');
  const of = (object) => refused.filter((row) => row.object === object);
  assert.equal(countOf(of('POST /v1/events')), n);
  assert.ok(of('POST /v1/events').length <= 2 * 8, 'rows are few, however many were refused');
  assert.equal(countOf(of('POST /v1/destinations')), 3);
  assert.ok(of('POST /v1/destinations').every(({actor, detail}) => actor === server.client_id &&
    JSON.parse(detail).why === 'scope'));
  assert.equal(countOf(of('GET /v1/audit-log')), 1);
  assert.equal(countOf(of('GET /v1/secrets')), 1);
  const signIns = await fresh(({action}) => action === 'sign-in.refuse');
  assert.equal(countOf(signIns), 3);
  assert.ok(signIns.every(({actor, account_id: account}) => actor === server.client_id &&
    account === server.account_id));
});

test('each sign-in is counted: the first at once, the rest at the latest when it stops', async () => {
  const other = await Server.start(); // signs in
  for (let i = 0; i < 4; i++) {
    await other.signIn();
  }
  const signIns = async () => (await rows(other)).filter(({action}) => action === 'sign-in');
  const [first] = await signIns();
  assert.deepEqual([first.actor, first.actor_kind, first.detail],
    [other.client_id, 'client', '{"count":1}']);
  await other.stop();
  await other.serve(); // and again
  await until('the last one', async () => countOf(await signIns()) === 6);
  assert.ok((await signIns()).length <= 5);
  await other.end();
});

test('a stranger\'s words do not get into the log', async () => {
  const word = 'stranger-canary';
  await server.request('POST', '/api-services/v1/auth/token', {
    headers: {'content-type': 'application/x-www-form-urlencoded'},
    body: `grant_type=client_credentials&client_id=${word}&client_secret=${word}`});
  await server.request('GET', `/v1/destinations/${word}`,
    {headers: {authorization: `Bearer ${word}`}});
  await until('both rows', async () => {
    const text = JSON.stringify((await rows()).slice(-4));
    return text.includes('sign-in.refuse') && text.includes('GET /v1/destinations/{id}');
  });
  assert.ok(!JSON.stringify(await rows()).includes(word));
});

// ---- secrets ----

test('no secret is in any row', async () => {
  const canary = (name) => `canary-${name}-${'x'.repeat(24)}`;
  const destination = await server.must('POST', '/v1/destinations', {name: 'canaries',
    kind: 'webhook', settings: {url: `${receiver.url}/hook?key=${canary('query')}`,
      headers: {'X-Key': canary('header')}}});
  await server.must('PATCH', `/v1/destinations/${destination.id}`, {settings: {
    url: `${receiver.url}/other?key=${canary('later')}`, headers: {'X-Key': canary('changed')}}});
  const signing = await server.must('POST', `/v1/destinations/${destination.id}/signing-secret`);
  const webhook = await server.secret('canary');
  const text = (await rows()).map((row) => JSON.stringify(row)).join('\n');
  assert.match(text, /other\?…/);
  for (const secret of [canary('query'), canary('header'), canary('later'), canary('changed'),
    signing.secret, signing.secret.replace(/^whsec_/, ''), webhook.secret, server.client_secret,
    server.token]) {
    assert.ok(secret.length > 20 && !text.includes(secret), secret);
  }
});

test('values that are long are told by their length, and there is a bound', async () => {
  const metadata = Object.fromEntries(Array.from({length: 60}, (_, i) =>
    [`member${i}`, 'v'.repeat(200)]));
  const destination = await server.destination(`${receiver.url}/long`);
  await server.must('PATCH', `/v1/destinations/${destination.id}`,
    {description: 'd'.repeat(1000), metadata});
  const {detail} = await newest();
  assert.ok(detail.length <= 4096);
  const told = JSON.parse(detail);
  assert.deepEqual(told.changed.description.to, {bytes: 1002});
  assert.ok(told.left_out > 30);
});

// ---- check ----

// A copy of the folder at rest, its database altered by `change` once its triggers are gone.
function altered(change, {of = server.data} = {}) {
  const home = folder('audit');
  const data = path.join(home, 'data');
  cpSync(of, data, {recursive: true});
  if (change) {
    const database = new DatabaseSync(path.join(data, 'control.db'));
    database.exec('DROP TRIGGER audit_rows_stay; DROP TRIGGER audit_rows_never_change;');
    change(database);
    database.close();
  }
  const json = millrace(['check', '--data', data, '--json']);
  remove(home);
  assert.ok(json.stdout, json.stderr);
  return {status: json.status, ...JSON.parse(json.stdout)};
}

function isFound(result, ...about) {
  assert.equal(result.status, 1);
  assert.equal(result.n_findings, about.length, JSON.stringify(result.findings));
  result.findings.forEach(({kind, file, what}, i) => {
    assert.equal(kind, 'audit');
    assert.equal(file, 'control.db');
    assert.match(what, about[i]);
  });
}

test('check finds what was changed, cut off, put in, or replaced', async () => {
  const n = (await newest()).number;
  await server.stop();
  const sound = altered();
  assert.equal(sound.status, 0, JSON.stringify(sound.findings));
  assert.equal(sound.audit_rows, n + 0);
  assert.ok(sound.audit_heads_compared > 2);
  assert.equal(altered(() => {}).status, 0, 'the triggers alone are not what it is about');
  isFound(altered((db) => db.exec(`DELETE FROM audit WHERE number > ${n - 3}`)),
    new RegExp(`lacks its row ${n}, which the journal names`));
  isFound(altered((db) => db.exec(`DELETE FROM audit WHERE number = ${n}`)),
    new RegExp(`lacks its row ${n}, which`));
  for (const set of ['actor = \'me\'', 'at_ms = at_ms + 1', 'detail = \'{}\'', 'object = \'x\'',
    'account = 2', 'address = \'::1\'', 'request_id = \'r\'', 'action = \'a.b\'',
    'actor_kind = \'user\'']) {
    isFound(altered((db) => db.exec(`UPDATE audit SET ${set} WHERE number = 12`)),
      /row 12 of the audit log is not what its hash says/);
  }
  isFound(altered((db) => db.exec('DELETE FROM audit WHERE number = 9')),
    /row 9 of the audit log is missing/);
  isFound(altered((db) => db.exec('DELETE FROM audit WHERE number IN (9, 10)')),
    /rows 9 to 10 of the audit log are missing/);
  // Room is made, and a copy of the row put into it.
  const put = altered((db) => {
    db.exec('UPDATE audit SET number = -number WHERE number > 9');
    db.exec('UPDATE audit SET number = 1 - number WHERE number < 0');
    db.exec('INSERT INTO audit SELECT 10, account, actor_kind, actor, action, object, detail,' +
      ' at_ms, address, request_id, hash FROM audit WHERE number = 9');
  });
  assert.equal(put.status, 1);
  assert.ok(put.findings.some(({what}) => /row 10 of/.test(what)), JSON.stringify(put));
  // Everything behind the row that was changed is hashed anew: the journal knows better.
  const anew = altered((db) => {
    db.exec('UPDATE audit SET actor = \'me\' WHERE number = 8');
    let previous = '0'.repeat(64);
    for (const row of db.prepare('SELECT * FROM audit ORDER BY number').all()) {
      previous = hashOf({...row, previous_hash: previous});
      db.prepare('UPDATE audit SET hash = ? WHERE number = ?')
        .run(Buffer.from(previous, 'hex'), row.number);
    }
  });
  isFound(anew, /is another than the journal names/);
  await server.serve();
});

test('an older copy of control.db is found, and the server says so in the log itself', async () => {
  const old = path.join(folder('audit'), 'control.db');
  await server.stop();
  cpSync(path.join(server.data, 'control.db'), old);
  await server.serve();
  await server.must('PATCH', `/v1/accounts/${server.account_id}`, {friendly_name: 'Later'});
  const {number} = await newest();
  await server.stop();
  assert.equal(altered().status, 0);
  cpSync(old, path.join(server.data, 'control.db'));
  for (const suffix of ['-wal', '-shm']) {
    rmSync(path.join(server.data, `control.db${suffix}`), {force: true});
  }
  rmSync(path.dirname(old), {recursive: true});
  isFound(altered(), new RegExp(`lacks its row ${number}`));
  await server.serve();
  assert.match(server.log, /audit_log_broken/);
  const told = (await rows()).find(({action}) => action === 'audit.broken');
  assert.equal(JSON.parse(told.detail).journal_number, number);
  // The log grows past that number: the journal's rows are still others.
  for (let i = 0; i < 4; i++) {
    await server.must('PATCH', `/v1/accounts/${server.account_id}`, {friendly_name: `Again ${i}`});
  }
  await server.stop();
  const {status, findings} = altered();
  assert.equal(status, 1);
  assert.ok(findings.some(({what}) => /is another than the journal names/.test(what)),
    JSON.stringify(findings));
  await server.serve();
});

test('without control.db the journal says that there was a log', async () => {
  await server.stop();
  const home = folder('audit');
  const data = path.join(home, 'data');
  cpSync(server.data, data, {recursive: true});
  for (const suffix of ['', '-wal', '-shm']) {
    rmSync(path.join(data, `control.db${suffix}`), {force: true});
  }
  const done = millrace(['check', '--data', data]);
  remove(home);
  assert.equal(done.status, 1);
  assert.match(done.stdout, /audit: control.db, .* is missing/);
  await server.serve();
});

test('kill -9 between commit and head: the head may lag, the log is sound', async () => {
  const other = await Server.start();
  for (let i = 0; i < 5; i++) {
    for (let k = 0; k <= i * 2; k++) {
      await other.must('PATCH', `/v1/accounts/${other.account_id}`, {friendly_name: `${i} ${k}`});
    }
    await other.kill();
    const result = altered(null, {of: other.data});
    assert.equal(result.status, 0, JSON.stringify(result.findings));
    await other.serve();
    const all = await rows(other);
    assert.ok(all.length >= (i + 1) * (i + 1), 'no answered change is without its row');
  }
  await other.end();
});

test('rows cannot be changed or deleted through SQLite as they stand', () => {
  const file = path.join(folder('audit'), 'control.db');
  writeFileSync(file, readFileSync(path.join(server.data, 'control.db')));
  const database = new DatabaseSync(file);
  assert.throws(() => database.exec('DELETE FROM audit'), /only added to/);
  assert.throws(() => database.exec('UPDATE audit SET actor = \'me\''), /only added to/);
  database.close();
  remove(path.dirname(file));
});
