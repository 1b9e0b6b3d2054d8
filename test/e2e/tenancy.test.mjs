// An operator publishes for two customers who never see each other: accounts, then everything that
// an account has, each time for both customers and one account below the first.
import assert from 'node:assert/strict';
import {randomUUID} from 'node:crypto';
import {writeFileSync} from 'node:fs';
import http from 'node:http';
import {cpus} from 'node:os';
import path from 'node:path';
import {after, before, describe, test} from 'node:test';
import {contracts, met} from './contracts.mjs';
import {Receiver, Server, certificates, event, millrace, until} from './harness.mjs';
import {Mint} from './tokens.mjs';

const TYPE = 'com.example.test';

let server;
let receiver;
let mint;
let north;
let south;
let below; // of north

// What the operator does for an account.
const For = (account) => ({
  account,
  at: (target) => `${target}${target.includes('?') ? '&' : '?'}account_id=${account.id}`,
  api(method, target, body, headers) {
    return server.api(method, this.at(target), body, headers);
  },
  must(method, target, body) {
    return server.must(method, this.at(target), body);
  },
  publish(...events) {
    return this.must('POST', '/v1/events', JSON.stringify(events));
  },
});

// What an account's own client does; options as of request.
function as(name, method, target, body) {
  return server.request(method, target, {
    headers: {authorization: `Bearer ${mint.token(name)}`, 'content-type': 'application/json'},
    ...(body === undefined ? {} : {body: JSON.stringify(body)})});
}

function wrong(answer, status, code, words = /./) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.body.code, code, answer.text);
  assert.match(answer.body.message, words);
}

before(async () => {
  receiver = await Receiver.start();
  server = await Server.start({settings: {extra_ca_file: certificates().ca}});
  const made = async (name, target = '/v1/accounts') =>
    For(await server.must('POST', target, {friendly_name: name}));
  north = await made('North');
  south = await made('South');
  below = await made('Below', `/v1/accounts?account_id=${north.account.id}`);
  const clients = {north: north.account.id, south: south.account.id, below: below.account.id};
  mint = await Mint.open(server, clients);
  for (const [name, one] of Object.entries({north, south, below})) {
    one.name = name;
    one.destination = await one.must('POST', '/v1/destinations', {name: 'd', kind: 'webhook',
      settings: {url: `${receiver.url}/${name}`, retry_policy: {delays_ms: [10]}, linger_ms: 0}});
    one.rule = await one.must('POST', '/v1/streaming-rules', {name: 'r',
      destination_id: one.destination.id, event_types: [{type: TYPE, schema_version: null}]});
    one.secret = (await one.must('POST', '/v1/secrets', {Name: name})).secret;
  }
});

after(async () => {
  await server?.end();
  await receiver?.end();
});

describe('accounts', () => {
  test('a child is made with status 200, for the caller or for one below', async () => {
    const answer = await server.api('POST', '/v1/accounts', {friendly_name: 'Été & Söhne',
      description: 'a customer', owner_email: 'owner@example.net',
      settings: {validate: 'warn', events_per_second: 5, second_factor: 'required'}});
    assert.equal(answer.status, 200, answer.text);
    const account = answer.body;
    assert.deepEqual(Object.keys(account).slice(0, 5),
      ['id', 'parent_id', 'date_created', 'friendly_name', 'status']);
    assert.equal(account.parent_id, server.account_id);
    assert.equal(account.status, 'ACTIVE');
    assert.equal(account.owner_email, 'owner@example.net');
    assert.deepEqual(account.settings, {validate: 'warn', unknown_types: 'accept',
      events_per_second: 5, second_factor: 'required'});
    assert.ok(Math.abs(Date.now() - Date.parse(account.date_created)) < 60000);
    const got = await server.api('GET', `/v1/accounts/${account.id}`);
    const {owner_invite_url: link, ...rest} = account; // shown this once
    assert.match(link, /\/links\/[\w-]{43}$/);
    assert.deepEqual(got.body, rest);
    assert.equal(got.headers.etag, answer.headers.etag);
    assert.equal(below.account.parent_id, north.account.id);
    const own = await as('north', 'POST', '/v1/accounts', {friendly_name: 'made by itself'});
    assert.equal(own.body.parent_id, north.account.id);
    wrong(await as('north', 'POST', south.at('/v1/accounts'), {friendly_name: 'x'}), 404, 20404);
  });

  test('a change is of the own account or one below, and of its present version', async () => {
    const target = `/v1/accounts/${below.account.id}`;
    const now = await server.api('GET', target);
    const changed = await as('north', 'PATCH', target, {friendly_name: 'Below 2', description: 'd'});
    assert.equal(changed.status, 200, changed.text);
    assert.deepEqual(changed.body, {...now.body, friendly_name: 'Below 2', description: 'd'});
    const stale = await server.api('PATCH', target, {friendly_name: 'x'},
      {'if-match': now.headers.etag});
    wrong(stale, 412, 20412);
    assert.equal((await as('below', 'PATCH', target, {description: null})).body.description, null);
    for (const [who, one] of [['below', north], ['north', south], ['south', below]]) {
      wrong(await as(who, 'PATCH', `/v1/accounts/${one.account.id}`, {friendly_name: 'x'}), 404, 20404);
    }
    wrong(await as('north', 'PATCH', `/v1/accounts/${server.account_id}`, {}), 404, 20404);
    wrong(await as('north', 'GET', `/v1/accounts/${south.account.id}`), 404, 20404);
    wrong(await server.api('PATCH', target, {owner_email: 'a@example.com'}), 400, 20001, /owner_email/);
    assert.equal((await server.must('GET', target)).friendly_name, 'Below 2');
  });

  test('what is wrong in a body is named, and makes nothing', async () => {
    const count = async () => (await server.must('GET', '/v1/accounts')).accounts.length;
    const now = await count();
    for (const [body, code, words] of [[{}, 20002, /friendly_name/], [{friendly_name: ''}, 20400, /./],
      [{friendly_name: 'x'.repeat(256)}, 20400, /friendly_name/], [{name: 'x'}, 20001, /name/],
      [{friendly_name: 'x', status: 'ACTIVE', id: 'acct_1'}, 20001, /status, id/],
      [{friendly_name: 'x', owner_email: 'none'}, 20400, /owner_email/],
      [{friendly_name: 'x', settings: {validate: 'never'}}, 20400, /settings\.validate/],
      ['{"friendly_name":"x"', 20400, /JSON/], ['', 20400, /./], ['[]', 20400, /object/]]) {
      wrong(await server.api('POST', '/v1/accounts', body, {'content-type': 'application/json'}),
        400, code, words);
    }
    wrong(await server.api('POST', '/v1/accounts', 'friendly_name=x',
      {'content-type': 'application/x-www-form-urlencoded'}), 415, 20415);
    wrong(await server.api('POST', '/v1/accounts?colour=red', {friendly_name: 'x'}), 400, 20001);
    wrong(await server.api('DELETE', '/v1/accounts'), 405, 20004);
    assert.equal(await count(), now);
  });

  test('of creations at the same time each makes one; of the same key, all make one', async () => {
    const many = await Promise.all(Array.from({length: 20}, () => south.api('POST', '/v1/accounts',
      {friendly_name: 'many'})));
    assert.equal(new Set(many.map((answer) => answer.body.id)).size, 20);
    const key = {'idempotency-key': randomUUID()};
    const same = await Promise.all(Array.from({length: 10}, () => south.api('POST', '/v1/accounts',
      {friendly_name: 'one'}, key)));
    assert.equal(new Set(same.map((answer) => answer.text)).size, 1, 'one account, ten answers');
    wrong(await south.api('POST', '/v1/accounts', {friendly_name: 'two'}, key), 409, 20409);
    const {accounts} = (await as('south', 'GET', '/v1/accounts')).body;
    assert.equal(accounts.length, 22);
    // The key is the account's: elsewhere it is another one.
    const elsewhere = await north.must('POST', '/v1/accounts', {friendly_name: 'one'}, key);
    assert.equal(elsewhere.parent_id, north.account.id);
  });

  test('a list holds the account and all below it; the filter, one alone', async () => {
    const ids = (answer) => answer.body.accounts.map((account) => account.id);
    const all = ids(await server.api('GET', '/v1/accounts'));
    assert.equal(all[0], server.account_id);
    for (const {account} of [north, south, below]) {
      assert.ok(all.includes(account.id));
    }
    const norths = ids(await as('north', 'GET', '/v1/accounts'));
    assert.equal(norths[0], north.account.id);
    assert.ok(norths.includes(below.account.id));
    assert.ok(!norths.includes(south.account.id) && !norths.includes(server.account_id));
    assert.deepEqual(ids(await as('below', 'GET', '/v1/accounts')), [below.account.id]);
    assert.deepEqual(ids(await north.api('GET', '/v1/accounts')), [north.account.id]);
    wrong(await as('north', 'GET', `/v1/accounts?account_id=${south.account.id}`), 404, 20404);
    assert.equal((await server.must('GET', '/v1/accounts')).accounts[0].parent_id, undefined);
  });

  test('mappings are set by a change and listed like accounts', async () => {
    const map = (one, id) => server.must('PATCH', `/v1/accounts/${one.account.id}`,
      {platforms: [{platform: 'twilio', legacy_account_id: id}]});
    await map(below, 'AC-below');
    await map(south, 'AC-south');
    const row = (one, id) => ({id: one.account.id, legacy_account_id: id, platform: 'twilio'});
    const list = async (...args) => (await as(...args)).body.platforms;
    const target = '/v1/platform_account_mappings';
    assert.deepEqual((await server.must('GET', target)).platforms,
      [row(south, 'AC-south'), row(below, 'AC-below')]);
    assert.deepEqual(await list('north', 'GET', target), [row(below, 'AC-below')]);
    assert.deepEqual(await list('north', 'GET', north.at(target)), []);
    assert.deepEqual(await list('north', 'GET', below.at(target)), [row(below, 'AC-below')]);
    wrong(await as('north', 'GET', south.at(target)), 404, 20404);
    await server.must('PATCH', `/v1/accounts/${below.account.id}`, {platforms: null});
    assert.deepEqual(await list('north', 'GET', target), []);
    wrong(await server.api('PATCH', `/v1/accounts/${below.account.id}`,
      {platforms: [{platform: 'acme', legacy_account_id: 'x'}]}), 400, 20400, /platform/);
  });

  test('the tree is 8 levels deep', async () => {
    let parent = below.account.id; // the third level
    for (let level = 4; level <= 8; level++) {
      parent = (await server.must('POST', `/v1/accounts?account_id=${parent}`,
        {friendly_name: `level ${level}`})).id;
    }
    wrong(await server.api('POST', `/v1/accounts?account_id=${parent}`, {friendly_name: 'x'}), 409,
      20409, /level 8/);
    assert.equal((await server.api('GET', `/v1/accounts/${parent}`)).status, 200);
  });
});

describe('two customers', () => {
  const everyone = () => [north, south, below];

  test('the same source and id is each account\'s own event', async () => {
    const id = randomUUID();
    for (const one of everyone()) {
      const answer = await one.publish(event({id}, {of: one.name}));
      assert.equal(answer.accepted, 1);
      assert.equal(answer.duplicates, 0);
      assert.equal((await one.publish(event({id}, {of: one.name}))).duplicates, 1);
    }
    for (const one of everyone()) {
      const [got] = await until(`${one.name}'s delivery`, () => {
        const events = receiver.events(`/${one.name}`);
        return events.length > 0 && events;
      });
      assert.deepEqual(got.data, {of: one.name});
    }
    const own = await server.publish(event({id}));
    assert.equal(own.body.duplicates, 0, 'the operator\'s own account is another one too');
  });

  test('deliveries go to the account\'s destinations alone, signed with its secret', async () => {
    for (const one of everyone()) {
      await one.publish(event({}, {of: one.name}), event({}, {of: one.name}));
    }
    for (const one of everyone()) {
      await until(`${one.name}'s deliveries`, () => receiver.events(`/${one.name}`).length >= 3);
      for (const got of receiver.events(`/${one.name}`)) {
        assert.deepEqual(got.data, {of: one.name});
      }
      const {headers, body} = receiver.requests.find((note) => note.path === `/${one.name}`);
      for (const other of everyone()) {
        const [key, file] = ['secret', 'body'].map((name) => path.join(server.home, name));
        writeFileSync(key, other.secret);
        writeFileSync(file, body);
        const told = millrace(['verify', '--secret-file', key, '--method', 'POST', '--url',
          `${receiver.url}/${one.name}`, '--signature', headers['kore-signature'], file]);
        assert.equal(told.status, other === one ? 0 : 1, `${one.name} by ${other.name}`);
      }
      assert.equal((await one.must('GET', `/v1/destinations/${one.destination.id}`))
        .counters.delivered, 3);
    }
  });

  test('lists hold the account\'s own objects; the next page is the account\'s too', async () => {
    for (const [target, id] of [['/v1/destinations', (one) => one.destination.id],
      ['/v1/streaming-rules', (one) => one.rule.id]]) {
      for (const one of everyone()) {
        const seen = (await as(one.name, 'GET', target)).body.data.map((row) => row.id);
        assert.deepEqual(seen, [id(one)]);
        assert.deepEqual((await one.must('GET', target)).data.map((row) => row.id), [id(one)]);
      }
    }
    const extra = await below.must('POST', '/v1/destinations', {name: 'second', kind: 'webhook',
      settings: {url: `${receiver.url}/second`}});
    const first = await below.must('GET', '/v1/destinations?page_size=1');
    const next = new URL(first.meta_data.next_page_url);
    assert.equal(next.searchParams.get('account_id'), below.account.id);
    const second = await server.must('GET', `${next.pathname}${next.search}`);
    assert.deepEqual(second.data.map((row) => row.id), [extra.id]);
    const back = new URL(second.meta_data.previous_page_url);
    assert.equal(back.searchParams.get('account_id'), below.account.id);
    await below.must('DELETE', `/v1/destinations/${extra.id}`);
  });

  test('a rule leads to a destination of its own account only', async () => {
    for (const [one, other] of [[north, south], [north, below], [below, north]]) {
      const body = {name: 'x', destination_id: other.destination.id,
        event_types: [{type: TYPE, schema_version: null}]};
      const made = await one.api('POST', '/v1/streaming-rules', body);
      assert.equal(made.status, 400, made.text);
      const none = await one.api('POST', '/v1/streaming-rules',
        {...body, destination_id: `dst_${'0'.repeat(26)}`});
      assert.equal(made.body.message.replaceAll(other.destination.id, ''),
        none.body.message.replaceAll(`dst_${'0'.repeat(26)}`, ''));
      const moved = await one.api('PATCH', `/v1/streaming-rules/${one.rule.id}`,
        {destination_id: other.destination.id});
      assert.equal(moved.status, 400, moved.text);
    }
    const filtered = await as('north', 'GET',
      `/v1/streaming-rules?destination_id=${south.destination.id}`);
    assert.equal(filtered.body.data?.length ?? 0, 0);
  });

  test('the live view, dead letters, metrics and previews are the account\'s', async () => {
    const open = (name) => new Promise((resolve, reject) => {
      http.get(`${server.url}/v1/tail`, {headers: {authorization: `Bearer ${mint.token(name)}`}},
        (response) => {
          const view = {text: '', response};
          response.on('data', (bytes) => { view.text += bytes; });
          response.on('error', () => {});
          resolve(view);
        }).on('error', reject);
    });
    const views = {north: await open('north'), south: await open('south'), below: await open('below')};
    const sent = {};
    receiver.behave = () => 500;
    for (const one of everyone()) {
      sent[one.name] = event();
      await one.publish(sent[one.name]);
    }
    for (const one of everyone()) {
      await until(`${one.name}'s live view`, () => /event: attempt/.test(views[one.name].text));
      const dead = await until(`${one.name}'s dead letter`, async () => {
        const {data} = (await as(one.name, 'GET', '/v1/dead-letters')).body;
        return data.length > 0 && data;
      });
      assert.deepEqual(dead.map((letter) => letter.event.id), [sent[one.name].id]);
      one.letter = dead[0];
      const metrics = await as(one.name, 'GET', `/v1/destinations/${one.destination.id}/metrics`);
      assert.equal(metrics.body.counters.dead, 1);
    }
    receiver.behave = () => 'ok';
    for (const one of everyone()) {
      for (const other of everyone().filter((row) => row !== one)) {
        assert.ok(!views[one.name].text.includes(sent[other.name].id));
        assert.ok(!views[one.name].text.includes(other.destination.id));
        wrong(await as(one.name, 'GET', `/v1/tail?destination_id=${other.destination.id}`), 404, 20404);
        wrong(await as(one.name, 'GET', `/v1/dead-letters/${other.letter.id}`), 404, 20404);
        wrong(await as(one.name, 'GET', `/v1/dead-letters?destination_id=${other.destination.id}`),
          404, 20404);
        wrong(await as(one.name, 'GET', `/v1/destinations/${other.destination.id}/metrics`), 404,
          20404);
        const redrive = (body) => as(one.name, 'POST', '/v1/dead-letters/redrive', body);
        wrong(await redrive({destination_id: other.destination.id}), 404, 20404);
        const foreign = await redrive({ids: [other.letter.id]});
        const unknown = await redrive({ids: [`dl_${'0'.repeat(26)}`]});
        assert.deepEqual(foreign.body, {redriven: 0});
        assert.deepEqual([foreign.status, foreign.text], [unknown.status, unknown.text]);
      }
      const seen = await as(one.name, 'POST', '/v1/streaming-rules/preview',
        {rule: {event_types: [{type: TYPE, schema_version: null}]}});
      assert.equal(seen.status, 200, seen.text);
      assert.ok(seen.text.includes(sent[one.name].id));
      for (const other of everyone().filter((row) => row !== one)) {
        assert.ok(!seen.text.includes(sent[other.name].id));
      }
      views[one.name].response.destroy();
    }
    const redriven = await north.must('POST', '/v1/dead-letters/redrive', {});
    assert.equal(redriven.redriven, 1, 'a redrive of all is of the account\'s all');
    assert.equal((await south.must('GET', '/v1/dead-letters')).data.length, 1);
  });

  test('one account\'s live views do not shut out another\'s', async () => {
    const views = [];
    const open = (name) => new Promise((resolve, reject) => {
      http.get(`${server.url}/v1/tail`, {headers: {authorization: `Bearer ${mint.token(name)}`},
        agent: false}, (response) => {
        response.on('error', () => {});
        views.push(response.resume());
        resolve(response.statusCode);
      }).on('error', reject);
    });
    const statuses = [];
    while (!statuses.includes(503)) {
      assert.ok(statuses.length <= 64 * cpus().length, 'an account is refused at last');
      statuses.push(await open('north'));
    }
    assert.ok(statuses.length > 64);
    for (let i = 0; i < 20; i++) {
      assert.equal(await open('south'), 200);
    }
    views.forEach((response) => response.destroy());
  });

  test('settings and rates are the account\'s', async () => {
    const set = (one, settings) => server.must('PATCH', `/v1/accounts/${one.account.id}`, {settings});
    await set(north, {unknown_types: 'refuse', events_per_second: 2});
    const unknown = () => event({type: `com.unknown.${randomUUID()}`});
    wrong(await north.api('POST', '/v1/events', JSON.stringify(unknown())), 400, 31003);
    assert.equal((await south.publish(unknown())).accepted, 1);
    assert.equal((await below.publish(unknown())).accepted, 1, 'nothing is inherited');
    await set(north, {unknown_types: 'accept'});
    const burst = JSON.stringify(Array.from({length: 3}, () => event()));
    const first = await north.api('POST', '/v1/events', burst);
    const second = await north.api('POST', '/v1/events', burst);
    assert.ok([first, second].some((answer) => answer.status === 429), second.text);
    for (const one of [south, below]) {
      assert.equal((await one.api('POST', '/v1/events', burst)).status, 202);
    }
    await set(north, {events_per_second: null});
    assert.equal((await north.api('POST', '/v1/events', burst)).status, 202);
  });

  test('an idempotency key is the account\'s', async () => {
    const key = {'idempotency-key': randomUUID()};
    const body = {name: 'keyed', kind: 'webhook', settings: {url: `${receiver.url}/keyed`}};
    const made = [];
    for (const one of everyone()) {
      const answer = await one.api('POST', '/v1/destinations', body, key);
      assert.equal(answer.status, 201, answer.text);
      assert.equal(answer.body.account_id, one.account.id);
      assert.equal((await one.api('POST', '/v1/destinations', body, key)).text, answer.text);
      made.push(answer.body.id);
      await one.must('DELETE', `/v1/destinations/${answer.body.id}`);
    }
    assert.equal(new Set(made).size, 3);
  });

  test('secrets are the account\'s, also when one is activated', async () => {
    for (const one of everyone()) {
      const pending = await one.must('POST', '/v1/secrets', {Name: 'next'});
      for (const other of everyone().filter((row) => row !== one)) {
        wrong(await as(other.name, 'PATCH', `/v1/secrets/${pending.id}`, {Status: 'active'}), 404,
          20404);
      }
      const {data} = (await as(one.name, 'GET', '/v1/secrets')).body;
      assert.deepEqual(data.map((row) => row.name), [one.name, 'next']);
    }
    await as('north', 'PATCH', `/v1/secrets/${(await north.must('GET', '/v1/secrets?status=pending'))
      .data[0].id}`, {Status: 'active'});
    assert.equal((await south.must('GET', '/v1/secrets')).data.length, 2);
  });

  test('publishing for another is 404, upwards too, and stores nothing', async () => {
    const before_ = receiver.requests.length;
    for (const [who, target] of [['north', south], ['south', north], ['south', below], ['below', north],
      ['below', For({id: server.account_id})], ['north', For({id: 'acct_none'})]]) {
      wrong(await as(who, 'POST', target.at('/v1/events'), event()), 404, 20404);
    }
    const mine = await as('north', 'POST', below.at('/v1/events'), event({}, {of: 'north'}));
    assert.equal(mine.status, 202, mine.text);
    await until('the one delivery', () => receiver.requests.length > before_);
    assert.equal(receiver.requests.length, before_ + 1);
    assert.equal(receiver.requests.at(-1).path, '/below');
  });
});

test('a preflight of a browser is answered, and no credentials are ever allowed', async () => {
  for (const target of ['/v1/accounts', `/v1/accounts/${north.account.id}`, '/v1/events',
    '/v1/platform_account_mappings', '/v1/secrets', '/api-services/v1/auth/token']) {
    const answer = await server.request('OPTIONS', target, {headers: {origin: 'https://app.example',
      'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization'}});
    assert.equal(answer.status, target.startsWith('/api-services') ? 200 : 204);
    assert.equal(answer.headers['access-control-allow-origin'], '*');
    assert.match(answer.headers['access-control-allow-headers'], /authorization/);
    assert.match(answer.headers['access-control-allow-methods'], /POST|GET/);
    assert.equal(answer.headers['access-control-allow-credentials'], undefined);
  }
  // Where the HTTP engine refuses, too.
  const refused = await new Promise((resolve, reject) => {
    http.get(`${server.url}/${'x'.repeat(9000)}`, (response) => resolve(response.resume()))
      .on('error', reject);
  });
  assert.equal(refused.statusCode, 414);
  assert.equal(refused.headers['access-control-allow-origin'], '*');
});

test('the harness held answers to the contract of accounts', () => {
  const iam = contracts.find((contract) => contract.name === 'iam.json');
  for (const route of iam.routes) {
    for (const status of [200, 404]) {
      assert.ok(met().has(`${route.method} ${route.path} ${status}`), `${route.path} ${status}`);
    }
  }
});
