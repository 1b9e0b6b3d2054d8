// What an account's Owner alone does, and how an account comes to one: secrets of their own, handing
// over, links that would make another one an Owner; and that the audit log names who signed in.
import assert from 'node:assert/strict';
import {createHash, randomBytes} from 'node:crypto';
import {after, before, test} from 'node:test';
import {Server} from './harness.mjs';
import {Browser, addUser, setPassword, sql} from './people.mjs';

const OWNER = 'owner@example.com';
const password = `a good pass ${randomBytes(6).toString('hex')}`;
let server;
let owner;
let ids;

before(async () => {
  server = await Server.start();
  await server.stop();
  assert.equal(setPassword(server, OWNER, password).status, 0);
  ids = {};
  for (const role of ['admin', 'developer']) {
    ids[role] = addUser(server, `${role}@example.com`, role, password);
  }
  [[ids.owner]] = sql(server, `SELECT id FROM users WHERE role = 'owner'`);
  await server.serve();
  owner = await Browser.open(server, OWNER, password);
});

after(() => server?.end());

function refused(answer, status, code, pattern = /./) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.body.code, code, answer.text);
  assert.match(answer.body.message, pattern);
}

async function audit(action) {
  return (await server.must('GET', `/v1/audit-log?page_size=1000&action=${action}`)).data;
}

test('a webhook secret of their own is brought by the Owner, signed in, and by nobody else', async () => {
  const Secret = randomBytes(12).toString('hex');
  for (const role of ['admin', 'developer']) {
    const other = await Browser.open(server, `${role}@example.com`, password);
    refused(await other.call('POST', '/v1/secrets', {Name: 'own', Secret}), 403, 30010, /Only an Owner/);
  }
  refused(await server.api('POST', '/v1/secrets', {Name: 'own', Secret}), 403, 30010, /Only an Owner/);
  for (const bad of ['short', 'x'.repeat(15), 'x'.repeat(1025), 'has a space in the middle', 7]) {
    refused(await owner.call('POST', '/v1/secrets', {Name: 'own', Secret: bad}), 400, 20400, /[Ss]ecret/);
  }
  assert.deepEqual((await server.must('GET', '/v1/secrets')).data, []);

  const made = await owner.call('POST', '/v1/secrets', {Name: 'own', Secret},
    {'idempotency-key': 'own-1'});
  assert.equal(made.status, 201, made.text);
  assert.equal(made.body.status, 'active');
  assert.equal(made.body.secret, undefined);
  refused(await owner.call('PATCH', `/v1/secrets/${made.body.id}`, {Secret}), 400, 20001, /Secret/);
  const [row] = await audit('secret.create');
  assert.deepEqual([row.actor.id, row.object, row.detail.secret_shown],
    [ids.owner, made.body.id, undefined]);
  // What was sent is remembered for its key so that nobody finds the value by trying.
  await server.stop();
  const body = JSON.stringify({Name: 'own', Secret});
  const [[hash]] = sql(server, `SELECT hex(request_hash) FROM idempotency WHERE key = 'own-1'`);
  assert.notEqual(hash.toLowerCase(), createHash('sha256').update(body).digest('hex'));
  await server.serve();
  const again = await owner.call('POST', '/v1/secrets', {Name: 'own', Secret},
    {'idempotency-key': 'own-1'});
  assert.deepEqual([again.status, again.body.id], [201, made.body.id]);
  refused(await owner.call('POST', '/v1/secrets', {Name: 'else', Secret},
    {'idempotency-key': 'own-1'}), 409, 20409, /another request body/);
});

test('no client of the account makes a link for its Owner: an Admin could have made the client',
  async () => {
    const admin = await Browser.open(server, 'admin@example.com', password);
    const {scopes} = (await admin.call('GET', '/v1/session')).body;
    const made = await admin.call('POST', '/v1/clients',
      {name: 'every right', locked: null, client_type: 'admin', scopes});
    assert.equal(made.status, 201, made.text);
    const form = new URLSearchParams({grant_type: 'client_credentials',
      client_id: made.body.client_id, client_secret: made.body.client_secret}).toString();
    const {body} = await server.request('POST', '/api-services/v1/auth/token',
      {headers: {'content-type': 'application/x-www-form-urlencoded'}, body: form});
    refused(await server.api('POST', `/v1/users/${ids.owner}/reset-link`, {},
      {authorization: `Bearer ${body.access_token}`}), 403, 20006, /Owner of their own account/);
    assert.deepEqual(await audit('user.reset-link'), []);
  });

// A token of a new admin client of the root account.
async function tokenOf(globalResources, products = []) {
  const made = await server.must('POST', '/v1/clients', {name: 'few rights', locked: null,
    client_type: 'admin', scopes: {globalResources, products}});
  const form = new URLSearchParams({grant_type: 'client_credentials',
    client_id: made.client_id, client_secret: made.client_secret}).toString();
  const {body} = await server.request('POST', '/api-services/v1/auth/token',
    {headers: {'content-type': 'application/x-www-form-urlencoded'}, body: form});
  return {authorization: `Bearer ${body.access_token}`};
}

test('who may make accounts names an Owner only where they may invite users', async () => {
  const count = async () => (await server.must('GET', '/v1/accounts')).accounts.length;
  const before = await count();
  const accounts = {resourceName: 'Accounts', access: ['Write']};
  const owned = {friendly_name: 'owned', owner_email: 'theirs@example.com'};
  const few = await tokenOf([accounts]);
  refused(await server.api('POST', '/v1/accounts', owned, few), 403, 20006, /Write on Users/);
  for (const access of ['Read', 'Modify', 'Delete']) {
    refused(await server.api('POST', '/v1/accounts', owned,
      await tokenOf([accounts, {resourceName: 'Users', access: [access]}])), 403, 20006, /Write on Users/);
  }
  assert.equal(await count(), before);
  assert.equal((await server.api('POST', '/v1/accounts', {friendly_name: 'nobody\'s'}, few)).status, 200);
  const made = await server.api('POST', '/v1/accounts', owned,
    await tokenOf([accounts, {resourceName: 'Users', access: ['Write']}]));
  assert.equal(made.status, 200, made.text);
});

test('no client changes or removes a user who has more rights than it holds', async () => {
  const users = [{resourceName: 'Users', access: ['Read', 'Write', 'Modify', 'Delete']}];
  const few = await tokenOf(users);
  const invite = async (role, products) => (await server.must('POST', '/v1/users',
    {email: `u${randomBytes(4).toString('hex')}@example.com`, role, products})).id;
  const state = async (id) => (await server.must('GET', `/v1/users/${id}`));
  const invited = await invite('default');
  for (const id of [ids.admin, ids.developer, ids.owner, invited]) {
    const before = await state(id);
    for (const body of [{name: 'x'}, {role: 'default'}, {status: 'DISABLED'}, {products: ['Events']}]) {
      refused(await server.api('PATCH', `/v1/users/${id}`, body, few), 403, 20006, /more rights than it holds/);
    }
    refused(await server.api('DELETE', `/v1/users/${id}`, undefined, few), 403, 20006, /more rights than it holds/);
    refused(await server.api('POST', `/v1/users/${id}/invite`, {}, few), id === invited ? 403 : 409,
      id === invited ? 20006 : 20409);
    assert.deepEqual(await state(id), before);
  }
  // All that a user of the role Default may do with one product, and no more.
  const reads = (names) => names.map((resourceName) => ({resourceName, access: ['Read']}));
  const enough = await tokenOf([...users, ...reads(['API Clients', 'Accounts'])], reads(['Events']));
  const one = await invite('default', ['Events']);
  const changed = await server.api('PATCH', `/v1/users/${one}`, {name: 'One'}, enough);
  assert.equal(changed.status, 200, changed.text);
  refused(await server.api('PATCH', `/v1/users/${one}`, {products: ['Webhooks']}, enough), 403, 20006,
    /more rights than they hold/);
  refused(await server.api('PATCH', `/v1/users/${one}`, {role: 'admin'}, enough), 403, 20006,
    /more rights than they hold/);
  refused(await server.api('DELETE', `/v1/users/${invited}`, undefined, enough), 403, 20006);
  assert.equal((await server.api('DELETE', `/v1/users/${one}`, undefined, enough)).status, 204);
  assert.equal((await server.api('DELETE', `/v1/users/${invited}`)).status, 204);
});

test('an account whose Owner never came gets one from the Owner above', async () => {
  const none = await server.must('POST', '/v1/accounts', {friendly_name: 'none named'});
  const wrong = await server.must('POST', '/v1/accounts',
    {friendly_name: 'misspelt', owner_email: 'misspelt@example.com'});
  const link = wrong.owner_invite_url.split('/').at(-1);
  const join = async (account, email) => {
    const invited = await server.must('POST', `/v1/users?account_id=${account.id}`,
      {email, role: 'admin'});
    const used = await server.request('POST', `/v1/links/${invited.invite_url.split('/').at(-1)}`,
      {headers: {'content-type': 'application/json'}, body: JSON.stringify({password})});
    assert.equal(used.status, 200, used.text);
    return invited.id;
  };
  const admin = await Browser.open(server, 'admin@example.com', password);
  for (const [account, email] of [[none, 'first@example.com'], [wrong, 'second@example.com']]) {
    const user_id = await join(account, email);
    const to = `/v1/accounts/${account.id}/transfer-ownership`;
    const own = await Browser.open(server, email, password);
    for (const caller of [own, admin]) {
      refused(await caller.call('POST', to, {user_id}), 403, 20006, /Only the account's Owner/);
    }
    refused(await server.api('POST', to, {user_id}), 403, 20006, /Only the account's Owner/);
    const moved = await owner.call('POST', to, {user_id});
    assert.deepEqual([moved.status, moved.body.role], [200, 'owner'], moved.text);
    const shown = await server.must('GET', `/v1/accounts/${account.id}`);
    assert.equal(shown.owner_email, email);
    const users = (await server.must('GET', `/v1/users?account_id=${account.id}`)).data;
    assert.deepEqual(users.filter((user) => user.role === 'owner').map((user) => user.id), [user_id]);
    // There is one now: the Owner above has no say any more.
    refused(await owner.call('POST', to, {user_id}), 403, 20006, /Only the account's Owner/);
  }
  assert.equal((await server.request('GET', `/v1/links/${link}`)).status, 404);
  const left = (await server.must('GET', `/v1/users?account_id=${wrong.id}`)).data
    .find((user) => user.email === 'misspelt@example.com');
  assert.equal(left.role, 'admin');
  assert.equal((await owner.call('DELETE', `/v1/users/${left.id}?account_id=${wrong.id}`)).status, 204);
});

test('the audit log names who signed in and out', async () => {
  const someone = await Browser.open(server, 'developer@example.com', password);
  const {id} = (await someone.call('GET', '/v1/session')).body;
  assert.equal((await someone.call('DELETE', '/v1/session')).status, 204);
  for (const action of ['session.create', 'session.delete']) {
    const row = (await audit(action)).find((one) => one.object === id);
    assert.equal(row.actor.kind, 'user');
    assert.equal(row.actor.id, ids.developer);
    assert.equal(row.actor.address, '127.0.0.1');
  }
  const byWho = (await server.must('GET', `/v1/audit-log?actor=${ids.developer}`)).data;
  assert.ok(byWho.some((row) => row.action === 'session.create' && row.object === id));
});
