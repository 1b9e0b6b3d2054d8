// Every route of the table asks for what the table says: the walk takes its rows from the program
// itself (`reference api --json`), so that a new route cannot escape it. A route whose path holds
// an id has to be told of in `objects` (an account's own) or `shared` (everybody's), else it fails.
import assert from 'node:assert/strict';
import {after, before, describe, test} from 'node:test';
import {Receiver, Server, certificates, event, millrace, until} from './harness.mjs';
import {Mint, only, without} from './tokens.mjs';

const routes = JSON.parse(millrace(['reference', 'api', '--json']).stdout);
const asking = routes.filter((route) => route.scope !== null);
const codes = {
  plain: {400: 20400, 401: 20401, 403: 20006, 404: 20404},
  clients: Object.fromEntries([400, 401, 403, 404].map((status) => [status, 40000 + status])),
  secrets: {400: 20400, 401: 20401, 403: 30010, 404: 20404},
};
// Ids that mean the same to every account.
const shared = {
  '/v1/schemas/{name}': {name: 'SuperSim.ConnectionEvent'},
  '/v1/schemas/{name}/versions': {name: 'SuperSim.ConnectionEvent'},
  '/v1/schemas/{name}/versions/{n}': {name: 'SuperSim.ConnectionEvent', n: '1'},
  '/v1/event-types/{type}': {type: 'com.kore.eventstreams.test.event'},
  '/schemas/{name}/{version}': {name: 'SuperSim.ConnectionEvent', version: '1'},
  '/errors/{code}': {code: '20404'},
  '/v1/sessions/{id}': {id: 'of-users-alone'},
};
// Bodies but {}.
const bodies = {'/v1/dead-letters/redrive': {dry_run: true}};
// A route whose right call is more than its scope: what it answers then.
const rootOnly = new Set(['/v1/schemas', '/v1/schemas/{name}/versions', '/v1/event-types',
  '/v1/event-types/{type}', '/v1/signing-keys', '/v1/signing-keys/rotate']);

let server;
let serial = 0;
let receiver;
let mint;
let tree; // {own, child, beside, root}: ids of accounts; a client of the first three is in mint
let letters; // a dead letter of each
let every; // all scopes, without KORE's products: they bring others with them

// Makes an object of the account: its id. A new one for each call that may end it.
const objects = {
  '/v1/destinations/{id}': async (account) => (await destination(account)).id,
  '/v1/streaming-rules/{id}': async (account) => (await rule(account)).id,
  '/v1/secrets/{id}': async (account) => (await server.must('POST',
    `/v1/secrets?account_id=${account}`, {Name: 'pending'})).id,
  '/v1/dead-letters/{id}': async (account) => letters[account],
  '/v1/callbacks/{id}': async (account) => (await server.must('POST',
    `/v1/callbacks?account_id=${account}`, {url: `${receiver.url}/ok`})).id,
  '/v1/users/{id}': async (account) => (await server.must('POST',
    `/v1/users?account_id=${account}`, {email: `u${++serial}@example.com`, role: 'default'})).id,
  '/v1/accounts/{id}': async (account) => account,
  '/v1/clients/{client_id}': async (account) => (await server.must('POST',
    `/v1/clients?account_id=${account}`, {name: 'c', locked: null, scopes: {}})).client_id,
};

function destination(account, url = `${receiver.url}/ok`, settings = {}) {
  return server.must('POST', `/v1/destinations?account_id=${account}`,
    {name: 'd', kind: 'webhook', settings: {url, ...settings}});
}

async function rule(account, to) {
  return server.must('POST', `/v1/streaming-rules?account_id=${account}`, {name: 'r',
    destination_id: to ?? (await destination(account)).id,
    event_types: [{type: 'com.example.test', schema_version: null}]});
}

async function deadLetter(account) {
  const {id} = await destination(account, `${receiver.url}/dead`, {retry_policy: {delays_ms: [10]}});
  const made = await rule(account, id);
  await server.must('POST', `/v1/events?account_id=${account}`, event());
  const {data: [letter]} = await until('a dead letter', async () => {
    const list = await server.must('GET', `/v1/dead-letters?account_id=${account}`);
    return list.data.length > 0 && list;
  });
  await server.must('DELETE', `/v1/streaming-rules/${made.id}?account_id=${account}`);
  return letter.id;
}

before(async () => {
  receiver = await Receiver.start();
  receiver.modes.set('/dead', 500);
  server = await Server.start({settings: {extra_ca_file: certificates().ca}});
  const make = async (name, above) => (await server.must('POST',
    `/v1/accounts${above ? `?account_id=${above}` : ''}`, {friendly_name: name})).id;
  const own = await make('own');
  tree = {root: server.account_id, own, child: await make('child', own), beside: await make('beside')};
  mint = await Mint.open(server, {own, child: tree.child, beside: tree.beside, ended: own, root: null},
    {ended: {enabled: 0}});
  const bring = ['SuperSIM', 'ProgrammableWireless'];
  every = {...mint.claims.scopes,
    products: mint.claims.scopes.products.filter((row) => !bring.includes(row.resourceName))};
  letters = {};
  for (const account of [tree.own, tree.child, tree.beside]) {
    letters[account] = await deadLetter(account);
    await server.must('POST', `/v1/secrets?account_id=${account}`, {Name: 'active'});
  }
});

after(async () => {
  await server?.end();
  await receiver?.end();
});

const family = (path) => Object.keys(objects).find((prefix) => path.startsWith(prefix));

// The route's address with an object of the account in it.
async function address(route, account) {
  if (!route.path.includes('{')) {
    return route.path;
  }
  const known = shared[route.path];
  if (known) {
    return route.path.replace(/\{(\w+)\}/g, (_, name) => known[name]);
  }
  const prefix = family(route.path);
  assert.ok(prefix, `tell rights.test.mjs whose object ${route.path} names`);
  return route.path.replace(/\{\w+\}/, await objects[prefix](account));
}

function call(route, target, authorization) {
  const sends = !['GET', 'DELETE'].includes(route.method);
  // The live view's answer has no end.
  const method = target.startsWith('/v1/tail') && authorization?.startsWith('Bearer ey') ? 'HEAD'
    : route.method;
  const body = JSON.stringify(route.path === '/v1/events' ? event() : bodies[route.path] ?? {});
  return server.request(method, target, {...(sends ? {body} : {}),
    headers: {...(authorization === undefined ? {} : {authorization}),
      ...(sends ? {'content-type': 'application/json'} : {})}});
}

function refused(route, answer, status, what) {
  assert.equal(answer.status, status, told(what, answer));
  if (answer.body === undefined) {
    return; // HEAD
  }
  assert.equal(answer.body.code, codes[route.errors][status], told(what, answer));
  if (status === 403) {
    assert.equal(answer.body.error, 'Invalid or expired token', what);
    assert.equal(answer.body.message,
      'User is not authorized to access this resource with an explicit deny', what);
  }
}

const told = (what, answer) => `${what}: ${answer.status} ${answer.text.slice(0, 300)}`;
const bearer = (token) => `Bearer ${token}`;
const isUsersOwn = (route) => route.scope === 'Session';

// Not refused for who calls: the body may be one that the route takes or not.
function allowed(route, answer, what) {
  if (isUsersOwn(route)) {
    return refused(route, answer, 403, `${what}: of users alone`);
  }
  assert.ok(![401, 404].includes(answer.status) && answer.status < 500,
    told(what, answer));
  if (answer.status === 403 && route.scope === 'Users') {
    // Letting somebody in, changing and removing them asks for all that they may do, beside the right
    // to do it.
    assert.match(answer.body.message, /more rights than/, what);
    return;
  }
  if (answer.status === 403) { // a right of the root account alone, judged behind the table's
    assert.ok(rootOnly.has(route.path) && (route.method !== 'GET'
      || route.path === '/v1/signing-keys'), told(what, answer));
    assert.match(answer.body.message, /root account/, what);
  }
}

test('the table is whole: every scope and access in it is one that a token can hold', () => {
  assert.ok(routes.length > 40);
  const access = {GET: 'Read', POST: 'Write', PATCH: 'Modify', DELETE: 'Delete'};
  for (const route of asking.filter((row) => !isUsersOwn(row))) {
    assert.ok(mint.claims.scopes.globalResources.concat(mint.claims.scopes.products)
      .some((row) => row.resourceName === route.scope), route.path);
    assert.ok(access[route.method] === route.access || route.route.includes('TRANSFER'),
      `${route.method} ${route.path}`);
  }
});

describe('a route that asks for no token does not look at one', () => {
  for (const route of routes.filter((row) => row.scope === null && row.path !== '/metrics'
    && !row.path.includes('{token}'))) {
    test(`${route.method} ${route.path}`, async () => {
      const target = await address(route);
      const bare = await call(route, target);
      const other = await call(route, target, 'Bearer nonsense');
      assert.equal(other.status, bare.status);
      assert.notEqual(bare.status, 403, bare.text);
    });
  }
});

describe('without a valid token', () => {
  for (const route of asking) {
    test(`${route.method} ${route.path}`, async () => {
      const target = await address(route, tree.own);
      for (const header of [undefined, '', 'Bearer', 'Bearer ', 'Basic YTpi', 'Bearer a b',
        'Bearer a,b', mint.token('own')]) {
        const answer = await call(route, target, header);
        refused(route, answer, 401, JSON.stringify(header));
        assert.equal(answer.headers['www-authenticate'], 'Bearer');
      }
      const wrong = {...mint.wrong('own'), 'a disabled client': mint.token('ended')};
      for (const [what, token] of Object.entries(wrong)) {
        refused(route, await call(route, target, bearer(token)), 403, what);
      }
    });
  }
});

describe('with too little scope, and with just enough', () => {
  for (const route of asking) {
    test(`${route.method} ${route.path}`, async () => {
      const target = await address(route, tree.own);
      const cut = mint.token('own', {scopes: isUsersOwn(route) ? every
        : without(every, route.scope, route.access)});
      refused(route, await call(route, target, bearer(cut)), 403, 'all but this access');
      const none = mint.token('own', {scopes: {globalResources: [], products: []}});
      refused(route, await call(route, target, bearer(none)), 403, 'no access at all');
      if (isUsersOwn(route)) {
        return;
      }
      for (const access of ['Read', 'Write', 'Modify', 'Delete']) {
        const token = mint.token('own', {scopes: only(every, route.scope, access)});
        const answer = await call(route, access === route.access
          ? await address(route, tree.own) : target, bearer(token));
        if (access === route.access) {
          allowed(route, answer, 'this access alone');
        } else {
          refused(route, answer, 403, `${access} in place of ${route.access}`);
        }
      }
    });
  }
});

describe('the account that a call is about', () => {
  for (const route of asking.filter((row) => !isUsersOwn(row))) {
    test(`${route.method} ${route.path}`, async () => {
      const ask = async (who, named, owner = named ?? tree[who]) => call(route,
        `${await address(route, owner)}${named === null ? '' : `?account_id=${named}`}`,
        bearer(mint.token(who)));
      for (const [who, named] of [['own', tree.own], ['own', tree.child], ['child', tree.child],
        ['root', tree.child], ['root', tree.beside]]) {
        allowed(route, await ask(who, named), `${who} for ${named}`);
      }
      allowed(route, await ask('own', null, tree.own), 'its own by itself');
      for (const [who, named] of [['own', tree.root], ['own', tree.beside], ['child', tree.own],
        ['child', tree.root], ['child', tree.beside], ['beside', tree.own], ['beside', tree.child],
        ['root', 'acct_00000000000000000000000000'], ['root', ''], ['root', 'x'.repeat(500)]]) {
        // The object is one of the caller's own: the account alone is what is wrong.
        const answer = await ask(who, named, tree[who === 'root' ? 'own' : who]);
        refused(route, answer, 404, `${who} for ${named}`);
      }
      const target = await address(route, tree.own);
      for (const query of [`account_id=${tree.own}&account_id=${tree.own}`, 'account_id=%zz',
        `account_id=${tree.own}&account%5Fid=${tree.child}`]) {
        refused(route, await call(route, `${target}?${query}`, bearer(mint.token('own'))), 400, query);
      }
      const escaped = `account%5Fid=${tree.own.replace('_', '%5f')}`;
      allowed(route, await call(route, `${await address(route, tree.own)}?${escaped}`,
        bearer(mint.token('own'))), escaped);
    });
  }
});

describe('an object of another account is not there', () => {
  for (const route of asking.filter((row) => family(row.path))) {
    test(`${route.method} ${route.path}`, async () => {
      const isAccount = family(route.path) === '/v1/accounts/{id}';
      const cases = [['beside', null, tree.own], ['child', null, tree.own], // another's, the parent's
        ['own', tree.child, tree.own], // the parent's, for one who reaches it otherwise
        ['root', tree.beside, tree.own], ['own', null, tree.beside]];
      if (!isAccount) { // a child's: by ?account_id= alone
        cases.push(['own', null, tree.child], ['root', null, tree.own], ['own', tree.own, tree.child]);
      }
      for (const [who, named, owner] of cases) {
        const target = await address(route, owner);
        const answer = await call(route, `${target}${named ? `?account_id=${named}` : ''}`,
          bearer(mint.token(who)));
        refused(route, answer, 404, `${who} for ${named}, object of ${owner}`);
        const none = await call(route, target.replace(/(_)[0-9a-z]{26}/, `$1${'0'.repeat(26)}`),
          bearer(mint.token(who)));
        refused(route, none, 404, 'an id of no object');
        assert.equal(none.body.message, answer.body.message, 'nothing tells whether it is there');
      }
      if (isAccount) {
        allowed(route, await call(route, await address(route, tree.child), bearer(mint.token('own'))),
          'a child by its path');
      }
    });
  }

  test('what was refused changed nothing', async () => {
    const before_ = await server.must('GET', `/v1/accounts/${tree.own}`);
    const {id} = await destination(tree.own);
    const made = await server.api('GET', `/v1/destinations/${id}?account_id=${tree.own}`);
    for (const [method, body] of [['PATCH', {name: 'theirs'}], ['DELETE']]) {
      const answer = await server.request(method, `/v1/destinations/${id}`, {
        headers: {authorization: bearer(mint.token('beside')), 'content-type': 'application/json'},
        ...(body ? {body: JSON.stringify(body)} : {})});
      assert.equal(answer.status, 404);
    }
    const patch = await server.request('PATCH', `/v1/accounts/${tree.own}`, {
      headers: {authorization: bearer(mint.token('child')), 'content-type': 'application/json'},
      body: '{"friendly_name":"theirs"}'});
    assert.equal(patch.status, 404);
    const again = await server.api('GET', `/v1/destinations/${id}?account_id=${tree.own}`);
    assert.deepEqual(again.body, made.body);
    assert.deepEqual(await server.must('GET', `/v1/accounts/${tree.own}`), before_);
  });
});
