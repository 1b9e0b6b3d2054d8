// API clients, their tokens and the keys that sign them: as KORE's client document has them, what
// Millrace adds, and everything that can be wrong about a call.
import assert from 'node:assert/strict';
import {randomUUID} from 'node:crypto';
import {readFileSync} from 'node:fs';
import path from 'node:path';
import {after, before, describe, test} from 'node:test';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import {createLocalJWKSet, createRemoteJWKSet, decodeProtectedHeader, jwtVerify} from 'jose';
import {Server, event, root, until} from './harness.mjs';

const contract = JSON.parse(readFileSync(path.join(root, 'test/e2e/contracts/clients.json'), 'utf8'));
const ajv = addFormats(new Ajv({allErrors: true, strict: false}));
ajv.addSchema(contract, 'clients');

let server;

before(async () => {
  server = await Server.start({settings: {workers: '2'}});
});

after(() => server?.end());

// The answer keeps the contract of that name.
function keeps(name, body) {
  const validate = ajv.getSchema(`clients#/$defs/${name}`);
  assert.ok(validate(body), `${name}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(body)}`);
}

function wrong(answer, status, code, part = '') {
  assert.equal(answer.status, status, answer.text);
  keeps('Error', answer.body);
  assert.equal(answer.body.code, code, answer.text);
  assert.ok(answer.body.message.includes(part), answer.text);
}

const ask = (client, secret = client.client_secret, url = server) => url.request('POST',
  '/api-services/v1/auth/token', {headers: {'content-type': 'application/x-www-form-urlencoded'},
    body: new URLSearchParams({grant_type: 'client_credentials', client_id: client.client_id,
      client_secret: secret}).toString()});

async function tokenOf(client, url = server) {
  const answer = await ask(client, client.client_secret, url);
  assert.equal(answer.status, 200, answer.text);
  keeps('Token', answer.body);
  return answer.body.access_token;
}

const as = (token, method, target, body, headers = {}, url = server) => url.request(method, target, {
  body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
  headers: {authorization: `Bearer ${token}`,
    ...(body === undefined ? {} : {'content-type': 'application/json'}), ...headers}});

const everything = {products: ['Events', 'Event Streams', 'Webhooks', 'SuperSIM']};

async function make(body = {}) {
  const made = await server.api('POST', '/v1/clients',
    {name: 'test', locked: false, scopes: everything, ...body});
  assert.equal(made.status, 201, made.text);
  return made.body;
}

const list = async (query = '') =>
  (await server.must('GET', `/v1/clients?page_size=1000&page_number=1${query}`));

describe('as KORE has it', () => {
  test('a client is made as KORE\'s document shows, and its secret is shown once', async () => {
    const made = await server.api('POST', '/v1/clients', {account_id: server.account_id,
      name: 'Example Client', locked: false, scopes: {products: ['SuperSIM']}});
    assert.equal(made.status, 201, made.text);
    keeps('Created', made.body);
    assert.equal(made.body.client_type, 'standard');
    assert.equal(made.body.account_id, server.account_id);
    assert.equal(made.body.client_owner, 'owner@example.com');
    assert.equal(made.body.locked, false);
    assert.match(made.body.client_secret, /^[A-Za-z0-9_-]{43}$/);
    assert.match(made.body.date_created, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.equal(made.headers.location, `${server.url}/v1/clients/${made.body.client_id}`);
    const got = await server.api('GET', `/v1/clients/${made.body.client_id}`);
    assert.equal(got.status, 200);
    keeps('One', got.body);
    assert.match(got.body.client.date_created, /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/);
    assert.ok(!got.text.includes(made.body.client_secret));
    const all = await list();
    keeps('List', all);
    assert.ok(all.clients.some((client) => client.client_id === made.body.client_id));
    assert.ok(!JSON.stringify(all).includes(made.body.client_secret));
    assert.ok(!server.log.includes(made.body.client_secret));
    const token = await tokenOf(made.body);
    assert.equal((await as(token, 'GET', '/v1/destinations')).status, 200);
    assert.equal((await as(token, 'GET', '/v1/secrets')).status, 200);
    wrong(await as(token, 'POST', '/v1/events', event()), 403, 20006);
    wrong(await as(token, 'GET', '/v1/clients?page_size=1&page_number=1'), 403, 40403,
      'explicit deny');
  });

  test('both page parameters are required, and judged', async () => {
    for (const [query, code, part] of [['', 20002, 'page_size'], ['?page_size=10', 20002, 'page_number'],
      ['?page_number=1', 20002, 'page_size'], ['?page_size=0&page_number=1', 40400, 'page_size'],
      ['?page_size=-1&page_number=1', 40400, 'page_size'], ['?page_size=&page_number=1', 40400, 'page_size'],
      ['?page_size=1001&page_number=1', 40400, 'page_size'],
      ['?page_size=99999999999999999999&page_number=1', 40400, 'page_size'],
      ['?page_size=1.5&page_number=1', 40400, 'page_size'],
      ['?page_size=10&page_number=0', 40400, 'page_number'],
      ['?page_size=10&page_number=x', 40400, 'page_number'],
      ['?page_size=10&page_size=10&page_number=1', 40400, 'twice'],
      ['?page_size=10&page_number=1&client_type=Admin', 40400, 'client_type'],
      ['?page_size=10&page_number=1&Client_Type=admin', 20001, 'Client_Type'],
      ['?page_size=10&page_number=1&account_id=acct_x', 404, 'account']]) {
      const answer = await server.api('GET', `/v1/clients${query}`);
      wrong(answer, code === 404 ? 404 : 400, code === 404 ? 40404 : code, part);
    }
  });

  test('pages follow each other, and the type filters', async () => {
    for (let i = 0; i < 3; i++) {
      await make({name: `page ${i}`});
    }
    const seen = [];
    let url = `${server.url}/v1/clients?client_type=standard&page_size=2&page_number=1`;
    while (url !== '') {
      const answer = await server.must('GET', url.slice(server.url.length));
      keeps('List', answer);
      assert.ok(answer.clients.every((client) => client.client_type === 'standard'));
      seen.push(...answer.clients.map((client) => client.client_id));
      url = answer.meta.next_page_url;
    }
    assert.equal(new Set(seen).size, seen.length);
    assert.equal(seen.length, (await list('&client_type=standard')).meta.count);
    assert.equal((await list('&client_type=admin')).clients[0].client_id, server.client_id);
    const past = await server.must('GET', '/v1/clients?page_size=10&page_number=1000');
    assert.deepEqual(past.clients, []);
    assert.equal(past.meta.next_page_url, '');
  });

  test('ping and the methods of the paths', async () => {
    assert.deepEqual((await server.request('GET', '/v1/ping')).body, {status: 'ok'});
    const answer = await server.api('PUT', '/v1/clients', '{}');
    wrong(answer, 405, 40405);
    assert.equal(answer.headers.allow, 'GET, HEAD, POST');
    const none = await server.request('GET', '/v1/clients?page_size=1&page_number=1');
    wrong(none, 401, 40401);
    assert.equal(none.headers['www-authenticate'], 'Bearer');
    assert.equal(none.headers['access-control-allow-origin'], '*');
    wrong(await as('a.b.c', 'GET', '/v1/clients/x'), 403, 40403, 'explicit deny');
    assert.equal((await server.request('OPTIONS', '/v1/clients')).status, 204);
  });
});

describe('wrong input', () => {
  const good = {name: 'x', locked: false, scopes: {products: ['Events']}};
  const cases = [
    ['no JSON', '{', 40400, ''], ['nothing', '', 40400, ''], ['an array', '[]', 40400, ''],
    ['a member twice', '{"name":"a","name":"b","locked":true,"scopes":{}}', 40400, ''],
    ['Name for name', {...good, name: undefined, Name: 'x'}, 20001, 'Name'],
    ['an unknown member', {...good, secret: 'mine'}, 20001, 'secret'],
    ['a secret of one\'s own', {...good, client_secret: 'x'.repeat(43)}, 20001, 'client_secret'],
    ['no name', {...good, name: undefined}, 20002, 'name'],
    ['no locked', {...good, locked: undefined}, 20002, 'locked'],
    ['no scopes', {...good, scopes: undefined}, 20002, 'scopes'],
    ['an empty name', {...good, name: ''}, 40400, 'name'],
    ['a long name', {...good, name: 'x'.repeat(256)}, 40400, 'name'],
    ['a name with a line break', {...good, name: 'a\r\nb'}, 40400, 'name'],
    ['a number for a name', {...good, name: 7}, 40400, 'name'],
    ['text for locked', {...good, locked: 'true'}, 40400, 'locked must be true, false or null'],
    ['text for scopes', {...good, scopes: 'Events'}, 40400, 'scopes'],
    ['Products for products', {...good, scopes: {Products: []}}, 20001, 'scopes.Products'],
    ['lower-case product', {...good, scopes: {products: ['events']}}, 40400, 'unknown product'],
    ['upper-case access', {...good, scopes: {products: [{resourceName: 'Events', access: ['WRITE']}]}},
      40400, 'access'],
    ['an object without access', {...good, scopes: {products: [{resourceName: 'Events'}]}}, 40400, 'access'],
    ['a global resource as a product', {...good, scopes: {products: ['Accounts']}}, 40400, 'unknown product'],
    ['a product as a global resource', {...good, client_type: 'admin',
      scopes: {globalResources: [{resourceName: 'Events', access: ['Read']}]}}, 40400, 'resourceName'],
    ['global resources of a standard client', {...good,
      scopes: {globalResources: [{resourceName: 'Users', access: ['Read']}]}}, 40400, 'global'],
    ['an unknown type', {...good, client_type: 'Standard'}, 40400, 'client_type'],
    ['an unknown expiry', {...good, token_expiry: '1 Hour'}, 40400, 'token_expiry'],
    ['an owner that is no address', {...good, client_owner: 'me'}, 40400, 'client_owner'],
    ['enabled at creation', {...good, enabled: false}, 20001, 'enabled'],
  ];
  for (const [name, body, code, part] of cases) {
    test(`${name} is refused, and nothing is made`, async () => {
      const before = (await list()).meta.count;
      wrong(await server.api('POST', '/v1/clients', typeof body === 'string' ? body
        : JSON.stringify(body), {'content-type': 'application/json'}), 400, code, part);
      assert.equal((await list()).meta.count, before);
    });
  }

  test('another content type, an account that is not there, ids of another kind', async () => {
    wrong(await server.api('POST', '/v1/clients', 'name=x', {'content-type':
      'application/x-www-form-urlencoded'}), 415, 20415);
    wrong(await server.api('POST', '/v1/clients', {...good, account_id: 'acct_none'}), 404, 40404);
    wrong(await server.api('POST', '/v1/clients', {...good, account_id: server.client_id}), 404, 40404);
    const destination = await server.destination('https://127.0.0.1:1024/');
    for (const id of [destination.id, server.account_id, 'apiclient_', 'x', '%00',
      server.client_id.toUpperCase(), 'apiclient_01jf8c4889ehtbzt0n9mzk1prc']) {
      for (const [method, target, body] of [['GET', ''], ['PATCH', '', {name: 'x'}], ['DELETE', ''],
        ['POST', '/rotate-secret', {}], ['POST', '/revoke-tokens', {}]]) {
        wrong(await server.api(method, `/v1/clients/${id}${target}`, body), 404, 40404);
      }
    }
  });

  test('wrong changes leave the client as it is', async () => {
    const client = await make({name: 'stays'});
    const target = `/v1/clients/${client.client_id}`;
    const first = await server.api('GET', target);
    for (const [body, code, part] of [[{Name: 'x'}, 20001, 'Name'], [{account_id: server.account_id}, 20001, 'account_id'],
      [{client_id: 'x'}, 20001, 'client_id'], [{name: null}, 40400, 'name'], [{scopes: null}, 40400, 'scopes'],
      [{enabled: 'no'}, 40400, 'enabled'], [{name: 'y', token_expiry: 'never'}, 40400, 'token_expiry'],
      [{name: 'y', scopes: {products: ['x']}}, 40400, 'product'], ['[]', 40400, ''], ['', 40400, '']]) {
      wrong(await server.api('PATCH', target, typeof body === 'string' ? body : JSON.stringify(body),
        {'content-type': 'application/merge-patch+json'}), 400, code, part);
    }
    wrong(await server.api('PATCH', target, {name: 'y'}, {'if-match': '"v9"'}), 412, 20412);
    wrong(await server.api('DELETE', target, undefined, {'if-match': '"v9"'}), 412, 20412);
    wrong(await server.api('POST', `${target}/rotate-secret`, {Revoke: true}), 400, 20001, 'Revoke');
    wrong(await server.api('POST', `${target}/revoke-tokens`, {all: true}), 400, 20001, 'all');
    const last = await server.api('GET', target);
    assert.deepEqual(last.body, first.body);
    assert.equal(last.headers.etag, first.headers.etag);
  });
});

describe('changes', () => {
  test('scopes and expiry bind new tokens only; the patch merges', async () => {
    const client = await make({scopes: {products: ['Events']}});
    const old = await tokenOf(client);
    const changed = await server.api('PATCH', `/v1/clients/${client.client_id}`,
      {scopes: {products: [{resourceName: 'Webhooks', access: ['Read']}]}, token_expiry: '1 day',
        name: 'renamed'});
    assert.equal(changed.status, 200, changed.text);
    keeps('One', changed.body);
    assert.deepEqual(changed.body.client.scopes,
      {globalResources: [], products: [{resourceName: 'Webhooks', access: ['Read']}]});
    assert.equal(changed.body.client.token_expiry, '1 day');
    assert.equal(changed.body.client.locked, false);
    assert.notEqual(changed.headers.etag, '"v1"');
    assert.equal((await as(old, 'POST', '/v1/events', event())).status, 202);
    const answer = await ask(client);
    assert.equal(answer.body.expires_in, 86400);
    const fresh = answer.body.access_token;
    wrong(await as(fresh, 'POST', '/v1/events', event()), 403, 20006);
    assert.equal((await as(fresh, 'GET', '/v1/secrets')).status, 200);
    wrong(await as(fresh, 'POST', '/v1/secrets', {Name: 'x'}), 403, 30010);
  });

  test('the four expiries are those of the tokens', async () => {
    for (const [words, seconds] of [['1 hour', 3600], ['1 day', 86400], ['30 days', 2592000],
      ['24 months', 63072000]]) {
      const answer = await ask(await make({token_expiry: words}));
      assert.equal(answer.body.expires_in, seconds);
      const {exp, iat} = JSON.parse(Buffer.from(answer.body.access_token.split('.')[1], 'base64url'));
      assert.equal(exp - iat, seconds);
    }
    assert.equal((await ask(await make())).body.expires_in, 3600);
  });

  test('a new secret: the old one is wrong at once, tokens end only where asked', async () => {
    const client = await make();
    const token = await tokenOf(client);
    const target = `/v1/clients/${client.client_id}/rotate-secret`;
    const rotated = await server.api('POST', target);
    assert.equal(rotated.status, 200, rotated.text);
    assert.match(rotated.body.client_secret, /^[A-Za-z0-9_-]{43}$/);
    assert.notEqual(rotated.body.client_secret, client.client_secret);
    assert.equal((await ask(client)).status, 401);
    assert.equal((await as(token, 'GET', '/v1/destinations')).status, 200);
    const again = await server.api('POST', target, {revoke_tokens: true}, {'idempotency-key': 'rotate'});
    assert.equal((await ask(client, rotated.body.client_secret)).status, 401);
    wrong(await as(token, 'GET', '/v1/destinations'), 403, 20006);
    await tokenOf({...client, client_secret: again.body.client_secret});
    const repeated = await server.api('POST', target, {revoke_tokens: true}, {'idempotency-key': 'rotate'});
    assert.equal(repeated.status, 200);
    assert.deepEqual(repeated.body, {client_id: client.client_id}, 'shown once');
    await tokenOf({...client, client_secret: again.body.client_secret});
  });

  test('a deleted client is gone, with its tokens', async () => {
    const client = await make();
    const token = await tokenOf(client);
    const gone = await server.api('DELETE', `/v1/clients/${client.client_id}`);
    assert.equal(gone.status, 204, gone.text);
    assert.equal(gone.text, '');
    wrong(await as(token, 'GET', '/v1/destinations'), 403, 20006);
    assert.equal((await ask(client)).status, 401);
    wrong(await server.api('GET', `/v1/clients/${client.client_id}`), 404, 40404);
    wrong(await server.api('DELETE', `/v1/clients/${client.client_id}`), 404, 40404);
  });

  test('locked is true, false or null, and an admin client may change a locked one', async () => {
    for (const locked of [true, false, null]) {
      const client = await make({locked});
      assert.equal(client.locked, locked);
      const target = `/v1/clients/${client.client_id}`;
      assert.equal((await server.must('GET', target)).client.locked, locked);
      for (const next of [true, null, false]) {
        assert.equal((await server.must('PATCH', target, {locked: next})).client.locked, next);
      }
    }
  });

  test('nobody gives rights that they do not hold', async () => {
    const small = await make({client_type: 'admin', scopes: {
      globalResources: [{resourceName: 'API Clients', access: ['Read', 'Write', 'Modify']}],
      products: [{resourceName: 'Events', access: ['Write']}]}});
    assert.equal(small.client_type, 'admin');
    const token = await tokenOf(small);
    const body = {name: 'x', locked: false, scopes: {products: ['Events']}};
    wrong(await as(token, 'POST', '/v1/clients', body), 403, 40403, 'Events');
    const fine = await as(token, 'POST', '/v1/clients', {...body,
      scopes: {products: [{resourceName: 'Events', access: ['Write']}]}});
    assert.equal(fine.status, 201, fine.text);
    wrong(await as(token, 'PATCH', `/v1/clients/${fine.body.client_id}`,
      {scopes: {products: ['Webhooks']}}), 403, 40403, 'Webhooks');
    wrong(await as(token, 'POST', `/v1/clients/${server.client_id}/rotate-secret`), 403, 40403);
    await tokenOf(server);
    wrong(await as(token, 'DELETE', `/v1/clients/${fine.body.client_id}`), 403, 40403);
  });

  test('a locked client is changed by an admin client that holds all its rights, and no other', async () => {
    const global = (access) => ({globalResources: [{resourceName: 'API Clients', access}]});
    const small = await make({client_type: 'admin', scopes: global(['Read', 'Write', 'Modify', 'Delete'])});
    const token = await tokenOf(small);
    const target = ({client_id: id}) => `/v1/clients/${id}`;
    const mighty = await make({locked: true});
    const version = (await server.api('GET', target(mighty))).headers.etag;
    for (const [method, end, body] of [['PATCH', '', {locked: false}], ['PATCH', '', {name: 'n'}],
      ['PATCH', '', {enabled: false}], ['DELETE', ''], ['POST', '/rotate-secret', {}],
      ['POST', '/revoke-tokens', {}]]) {
      wrong(await as(token, method, target(mighty) + end, body), 403, 40403, 'locked');
    }
    assert.equal((await server.api('GET', target(mighty))).headers.etag, version);
    await tokenOf(mighty);
    const equal = await make({locked: true, client_type: 'admin', scopes: global(['Read', 'Modify'])});
    for (const locked of [false, true]) {
      const changed = await as(token, 'PATCH', target(equal), {locked});
      assert.equal(changed.status, 200, changed.text);
    }
    assert.equal((await as(token, 'DELETE', target(equal))).status, 204);
    const open = await make({locked: false});
    assert.equal((await as(token, 'PATCH', target(open), {name: 'another'})).status, 200);

    // No admin any more; the token is as old as its scopes.
    const poor = await make({locked: true, scopes: {}});
    await server.must('PATCH', target(small), {client_type: 'standard', scopes: {globalResources: null}});
    wrong(await as(token, 'PATCH', target(poor), {name: 'n'}), 403, 40403, 'locked');
    wrong(await as(token, 'POST', '/v1/clients', {name: 'x', locked: null, client_type: 'admin', scopes: {}}),
      403, 40403, 'admin clients');
  });

  test('of twenty calls at once with one key one client is made', async () => {
    const name = `once ${randomUUID()}`;
    const body = {name, locked: false, scopes: everything};
    const answers = await Promise.all(Array.from({length: 20}, () =>
      server.api('POST', '/v1/clients', body, {'idempotency-key': 'make-one'})));
    assert.ok(answers.every((answer) => answer.status === 201));
    assert.equal(new Set(answers.map((answer) => answer.body.client_id)).size, 1);
    assert.equal(answers.filter((answer) => answer.body.client_secret).length, 1, 'shown once');
    assert.equal((await list()).clients.filter((client) => client.name === name).length, 1);
    wrong(await server.api('POST', '/v1/clients', {...body, locked: true},
      {'idempotency-key': 'make-one'}), 409, 20409);
  });
});

// Calls with the token go on from twenty connections while `end` is made. Not one that began after
// the answer left may succeed.
async function nothingPasses(token, end) {
  let over = Infinity;
  let stop = false;
  let before = 0;
  const late = [];
  const hammer = async () => {
    while (!stop) {
      const began = performance.now();
      const answer = await as(token, 'GET', '/v1/destinations?page_size=1');
      if (answer.status === 200) {
        before++;
        if (began > over) {
          late.push(began - over);
        }
      } else {
        assert.equal(answer.status, 403, answer.text);
      }
    }
  };
  const hammers = Array.from({length: 20}, hammer);
  await until('some calls pass', () => before > 100);
  const answer = await end();
  over = performance.now();
  assert.ok(answer.status < 300, answer.text);
  const passed = before;
  for (let i = 0; i < 20; i++) {
    await as(token, 'GET', '/v1/destinations?page_size=1');
  }
  stop = true;
  await Promise.all(hammers);
  assert.ok(passed > 100);
  assert.deepEqual(late, []);
}

describe('takes effect on every worker before the answer leaves', () => {
  const ways = {
    disabling: (id) => server.api('PATCH', `/v1/clients/${id}`, {enabled: false}),
    deleting: (id) => server.api('DELETE', `/v1/clients/${id}`),
    revoking: (id) => server.api('POST', `/v1/clients/${id}/revoke-tokens`),
    'a new secret with revocation': (id) =>
      server.api('POST', `/v1/clients/${id}/rotate-secret`, {revoke_tokens: true}),
  };
  for (const [name, way] of Object.entries(ways)) {
    test(name, async () => {
      const client = await make();
      await nothingPasses(await tokenOf(client), () => way(client.client_id));
    });
  }

  test('disabled gets no token, enabled gets one that works at once', async () => {
    const client = await make();
    const target = `/v1/clients/${client.client_id}`;
    for (let i = 0; i < 20; i++) {
      const old = await tokenOf(client);
      await server.must('PATCH', target, {enabled: false});
      assert.equal((await ask(client)).status, 401);
      await server.must('PATCH', target, {enabled: true});
      wrong(await as(old, 'GET', '/v1/destinations'), 403, 20006);
      const calls = await Promise.all(Array.from({length: 8}, async () => {
        // Revocation and a fresh token at the same time: whoever has the token may use it.
        const [, token] = await Promise.all([server.must('PATCH', target, {name: `n${i}`}), tokenOf(client)]);
        return as(token, 'GET', '/v1/destinations');
      }));
      assert.ok(calls.every((answer) => answer.status === 200));
    }
  });
});

describe('signing keys', () => {
  let own;
  before(async () => {
    own = await Server.start({settings: {workers: '2'}});
  });
  after(() => own?.end());

  const keys = async () => (await own.must('GET', '/v1/signing-keys')).data;
  const jwks = async () => (await own.request('GET', '/.well-known/jwks.json')).body;

  test('a rotated key is published, and signs later; jose verifies throughout', async () => {
    const verify = createRemoteJWKSet(new URL(`${own.url}/.well-known/jwks.json`), {cooldownDuration: 0});
    const kept = createLocalJWKSet(await jwks());
    const made = await own.api('POST', '/v1/signing-keys/rotate');
    assert.equal(made.status, 201, made.text);
    assert.equal(made.body.status, 'pending');
    assert.equal(made.body.algorithm, 'RS256');
    const lead = Date.parse(made.body.sign_from) - Date.parse(made.body.date_created);
    assert.ok(lead > 300000 && lead < 600000, `${lead} ms, more than the JWKS may be kept`);
    assert.ok((await jwks()).keys.some((key) => key.kid === made.body.kid), 'published at once');
    const token = await tokenOf(own, own);
    assert.notEqual(decodeProtectedHeader(token).kid, made.body.kid);
    await jwtVerify(token, kept, {algorithms: ['RS256']}); // who has the old document is fine
    const now = await own.api('POST', '/v1/signing-keys/rotate', {now: true});
    assert.equal(now.body.status, 'signing');
    const fresh = await tokenOf(own, own);
    assert.equal(decodeProtectedHeader(fresh).kid, now.body.kid);
    for (const one of [token, fresh]) {
      await jwtVerify(one, verify, {algorithms: ['RS256'], audience: 'millrace'});
      assert.equal((await as(one, 'GET', '/v1/destinations', undefined, {}, own)).status, 200);
    }
    const rows = await keys();
    assert.deepEqual(rows.map((key) => key.status), ['retired', 'signing'], 'the pending one gave way');
    const left = Date.parse(rows[0].verify_until) - Date.now();
    assert.ok(left > 3500000 && left <= 3600000, 'until its last token expires');
    assert.equal(rows[1].verify_until, null);
  });

  test('tokens of a key that has just come work on every worker', async () => {
    for (let i = 0; i < 5; i++) {
      const [rotated, ...answers] = await Promise.all([
        own.api('POST', '/v1/signing-keys/rotate', {now: true}),
        ...Array.from({length: 10}, async () =>
          as(await tokenOf(own, own), 'GET', '/v1/destinations', undefined, {}, own))]);
      assert.equal(rotated.status, 201, rotated.text);
      assert.ok(answers.every((answer) => answer.status === 200),
        answers.map((answer) => answer.status).join(' '));
    }
  });

  test('revoking ends every token on every worker, and new ones work', async () => {
    const token = await tokenOf(own, own);
    const old = await jwks();
    const made = await own.api('POST', '/v1/signing-keys/rotate', {revoke: true});
    assert.equal(made.status, 201, made.text);
    const calls = await Promise.all(Array.from({length: 40}, () =>
      as(token, 'GET', '/v1/destinations', undefined, {}, own)));
    assert.ok(calls.every((answer) => answer.status === 403));
    assert.deepEqual((await jwks()).keys.map((key) => key.kid), [made.body.kid]);
    assert.ok(old.keys.every((key) => key.kid !== made.body.kid));
    await own.signIn();
    assert.equal((await keys()).length, 1);
    await own.kill();
    await own.serve();
    wrong2(await as(token, 'GET', '/v1/destinations', undefined, {}, own));
    assert.equal((await keys()).length, 1);
  });

  function wrong2(answer) {
    assert.equal(answer.status, 403, answer.text);
  }

  test('wrong rotations change nothing', async () => {
    const rows = await keys();
    for (const [body, code, part] of [[{Now: true}, 20001, 'Now'], [{now: 'yes'}, 40400, 'now'],
      ['[]', 40400, ''], ['{', 40400, '']]) {
      const answer = await own.api('POST', '/v1/signing-keys/rotate',
        typeof body === 'string' ? body : JSON.stringify(body), {'content-type': 'application/json'});
      assert.equal(answer.status, 400, answer.text);
      assert.equal(answer.body.code, code, answer.text);
      assert.ok(answer.body.message.includes(part));
    }
    const page = await own.api('GET', '/v1/signing-keys?page_size=0');
    assert.equal(page.body.code, 40400, page.text);
    const weak = await own.must('POST', '/v1/clients', {name: 'w', locked: null, scopes: {products: ['Events']}});
    const token = await tokenOf(weak, own);
    assert.equal((await as(token, 'POST', '/v1/signing-keys/rotate', {}, {}, own)).body.code, 40403);
    assert.deepEqual(await keys(), rows);
    assert.ok(!JSON.stringify(rows).includes('private'));
  });
});

describe('wrong credentials', () => {
  let own;
  before(async () => {
    own = await Server.start();
  });
  after(() => own?.end());

  test('tokens that were tampered with are refused, remembered or not', async () => {
    const token = own.token;
    assert.equal((await as(token, 'GET', '/v1/destinations', undefined, {}, own)).status, 200);
    const [head, body, signature] = token.split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url'));
    const header = JSON.parse(Buffer.from(head, 'base64url'));
    const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const changed = [
      `${head}.${encode({...claims, exp: claims.exp + 1})}.${signature}`,
      `${head}.${body}.${signature.slice(0, -2)}AA`, `${head}.${body}.`, `${head}.${body}`,
      `${head}.${body}.${signature}.x`, `${head}.${body}.${signature}=`, `.${body}.${signature}`,
      ...[{alg: 'none'}, {alg: 'HS256'}, {kid: '../../etc/passwd'}, {kid: "' OR 1=1 --"}, {crit: ['x']},
        {jku: `${own.url}/x`}, {jwk: {}}, {kid: 'x'.repeat(4000)}]
        .map((change) => `${encode({...header, ...change})}.${body}.${signature}`),
      `${encode({...header, alg: 'none'})}.${body}.`, `${'x'.repeat(8000)}.${body}.${signature}`];
    for (const one of changed) {
      const answer = await as(one, 'GET', '/v1/destinations', undefined, {}, own);
      assert.ok([403, 431].includes(answer.status), `${one.slice(0, 80)}: ${answer.status}`);
    }
  });

  test('wrong secrets are slowed after the fifth, others are not, and Retry-After tells', async () => {
    const [one, other] = await Promise.all([1, 2].map(() => own.must('POST', '/v1/clients',
      {name: 'x', locked: false, scopes: {products: ['Events']}})));
    const known = [];
    for (let i = 0; i < 5; i++) {
      known.push(await ask(one, 'wrong', own));
    }
    for (const answer of known) {
      assert.equal(answer.status, 401);
      keeps('TokenRefusal', answer.body);
      assert.deepEqual(answer.body, {error: 'unauthorized_client',
        error_description: 'Invalid client or Invalid client credentials'});
    }
    const slowed = await ask(one, one.client_secret, own);
    assert.equal(slowed.status, 429, slowed.text);
    keeps('TokenError', slowed.body);
    assert.equal(slowed.headers['retry-after'], '1');
    assert.equal((await ask(other, other.client_secret, own)).status, 200);
    await until('the wait is over', async () =>
      (await ask(one, one.client_secret, own)).status === 200, 5000);
    const unknown = {client_id: 'apiclient_00000000000000000000000000', client_secret: 'x'};
    const answers = [];
    for (let i = 0; i < 6; i++) {
      answers.push(await ask(unknown, 'x', own));
    }
    assert.deepEqual(answers.map((answer) => answer.status), [401, 401, 401, 401, 401, 429],
      'a client that is not there is treated like one that is');
    assert.equal(answers[0].text, known[0].text);
    const metrics = await own.metrics();
    assert.equal(metrics['millrace_credentials_refused_total{reason="wrong"}'], 10);
    assert.ok(metrics['millrace_credentials_refused_total{reason="slowed"}'] >= 2);
  });

  test('a token call that is too large or has no form is refused', async () => {
    const send = (body, type = 'application/x-www-form-urlencoded') => own.request('POST',
      '/api-services/v1/auth/token', {headers: {'content-type': type}, body});
    assert.equal((await send(`client_secret=${'x'.repeat(20000)}`)).status, 413);
    for (const [body, error] of [['grant_type=client_credentials&client_id=%zz&client_secret=x', 'invalid_request'],
      ['grant_type=client_credentials&client_id=a&client_id=b&client_secret=x', 'invalid_request'],
      ['grant_type=client_credentials&client_id=&client_secret=', 'unauthorized_client'],
      ['Grant_Type=client_credentials&client_id=a&client_secret=b', 'invalid_request'],
      ['grant_type=CLIENT_CREDENTIALS&client_id=a&client_secret=b', 'unsupported_grant_type']]) {
      const answer = await send(body);
      assert.equal(answer.body.error, error, answer.text);
      if (answer.status === 400) {
        keeps('TokenError', answer.body);
      }
    }
    const fine = await send(`grant_type=client_credentials&client_id=${own.client_id}&client_secret=${
      own.client_secret}&scope=email&extra=1`, 'application/x-www-form-urlencoded; charset=utf-8');
    assert.equal(fine.status, 200, fine.text);
    assert.equal(fine.headers['cache-control'], 'no-store');
    keeps('Token', fine.body);
    for (const name of ['access-control-allow-origin']) {
      assert.equal(fine.headers[name], '*');
    }
  });
});
