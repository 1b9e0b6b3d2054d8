// Clients behind a proxy that is trusted: whose attempts are slowed, what sessions and the audit log
// tell, and what counts as this machine.
import assert from 'node:assert/strict';
import {randomBytes} from 'node:crypto';
import {writeFileSync} from 'node:fs';
import path from 'node:path';
import {after, before, test} from 'node:test';

import {millrace, Server, until} from './harness.mjs';
import {addUser, Browser} from './people.mjs';

const password = `${randomBytes(9).toString('base64url')} and more`;
const via = (...addresses) => ({'x-forwarded-for': addresses.join(', ')});
let server;

before(async () => {
  server = new Server({settings: {trusted_proxies: '127.0.0.1/32,10.0.0.0/8',
    public_url: 'https://events.example.com'}});
  server.init();
  for (const who of ['a', 'b', 'c', 'd', 'e']) {
    addUser(server, `${who}@example.com`, 'admin', password);
  }
  await server.serve();
});
after(() => server?.end());

const enter = (email, secret, headers) => new Browser(server).call('POST', '/v1/session',
  {email, password: secret}, headers);
const ask = (client, secret, headers) => server.request('POST', '/api-services/v1/auth/token', {
  headers: {'content-type': 'application/x-www-form-urlencoded', ...headers},
  body: new URLSearchParams({grant_type: 'client_credentials', client_id: client.client_id,
    client_secret: secret}).toString()});

test('each client is slowed by its own address, and cannot choose it', async () => {
  const client = await server.must('POST', '/v1/clients',
    {name: 'x', locked: false, scopes: {products: ['Events']}});
  const wrong = [];
  for (let i = 0; i < 6; i++) {
    // What the client itself sent stands left of what the proxies appended.
    wrong.push((await ask(client, 'wrong', via(`192.0.2.${i}`, '198.51.100.1', '10.0.0.7'))).status);
  }
  assert.deepEqual(wrong, [401, 401, 401, 401, 401, 429]);
  assert.equal((await ask(client, client.client_secret, via('198.51.100.2', '10.0.0.7'))).status, 200,
    'another client of the same proxies');
  assert.equal((await ask(client, client.client_secret, via('198.51.100.1'))).status, 429);
});

test('sign-ins too', async () => {
  const wrong = [];
  for (let i = 0; i < 6; i++) {
    wrong.push((await enter('a@example.com', 'wrong', via(`192.0.2.${i}`, '198.51.100.3'))).status);
  }
  assert.deepEqual(wrong, [401, 401, 401, 401, 401, 429]);
  assert.equal((await enter('b@example.com', password, via('198.51.100.4'))).status, 201);
});

test('sessions and the audit log tell the client\'s address', async () => {
  const browser = new Browser(server);
  const answer = await browser.call('POST', '/v1/session', {email: 'c@example.com', password},
    via('203.0.113.77', '2001:db8::77', '10.1.2.3'));
  assert.equal(answer.status, 201, answer.text);
  browser.csrf = answer.body.csrf_token;
  const {data} = (await browser.call('GET', '/v1/sessions')).body;
  assert.equal(data.find(({current}) => current).address, '2001:db8::77');
  const made = await browser.call('POST', '/v1/clients',
    {name: 'made', locked: false, scopes: {products: ['Events']}}, via('[2001:db8::78]:443'));
  assert.equal(made.status, 201, made.text);
  const denied = await server.request('GET', '/v1/users',
    {headers: {authorization: 'Bearer e30.e30.e30', ...via('2001:db8::79')}});
  assert.equal(denied.status, 403, denied.text);
  const all = (await server.api('GET', '/v1/audit-log?page_size=50')).body.data;
  assert.ok(all.some(({action, actor}) => action === 'client.create' && actor.address === '2001:db8::78'),
    JSON.stringify(all.slice(0, 5)));
  assert.ok(all.some(({actor}) => actor.address === '2001:db8::79'), JSON.stringify(all.slice(0, 5)));
});

test('a sign-in refused because too many passwords wait is no attempt', async () => {
  let over = false;
  let n = 0;
  let full = 0;
  // Each from an address of its own, so that nobody is slowed.
  const lanes = Array.from({length: 120}, async () => {
    while (!over) {
      const serial = ++n;
      const answer = await enter(`nobody${serial}@example.net`, 'a wrong password',
        via(`198.18.${serial >> 8}.${serial & 255}`));
      assert.ok([401, 503].includes(answer.status), answer.text);
      full += answer.status === 503;
    }
  });
  await until('the queue is full', () => full > 0);
  const own = via('198.51.100.50');
  const statuses = [];
  for (let i = 0; i < 40 && statuses.filter((status) => status === 503).length < 12; i++) {
    const answer = await enter('d@example.com', 'a wrong password', own);
    statuses.push(answer.status);
    if (answer.status === 503) {
      assert.ok(Number(answer.headers['retry-after']) >= 1);
      assert.equal(answer.body.code, 20503);
    }
  }
  over = true;
  await Promise.all(lanes);
  assert.equal(statuses.filter((status) => status === 503).length, 12, String(statuses));
  // Fewer than five were looked at.
  assert.ok(statuses.filter((status) => status === 401).length < 5, String(statuses));
  assert.equal((await enter('d@example.com', password, own)).status, 201);
});

test('over plain HTTP only a client on this machine gets a session', async () => {
  const plain = new Server({settings: {trusted_proxies: '127.0.0.1'}});
  plain.init();
  addUser(plain, 'a@example.com', 'admin', password);
  await plain.serve();
  try {
    const status = async (headers) => (await new Browser(plain).call('POST', '/v1/session',
      {email: 'a@example.com', password}, headers)).status;
    assert.equal(await status({}), 201);
    assert.equal(await status(via('127.0.0.1')), 201);
    for (const headers of [via('198.51.100.1'), via('127.0.0.1', '198.51.100.1'), via('unknown'),
      {forwarded: 'for=198.51.100.1'}]) {
      assert.equal(await status(headers), 400, JSON.stringify(headers));
    }
    const browser = await Browser.open(plain, 'a@example.com', password);
    assert.equal((await browser.call('GET', '/v1/session')).status, 200);
    assert.equal((await browser.call('GET', '/v1/session', undefined, via('198.51.100.1'))).status, 403);
  } finally {
    await plain.end();
  }
});

test('a list with a wrong block is no setting', () => {
  for (const wrong of ['10.0.0.1/8', 'proxy.example', '10.0.0.0/33', '127.0.0.1:80']) {
    const file = path.join(server.home, 'wrong.yaml');
    writeFileSync(file, `trusted_proxies:\n- ${wrong}\n`);
    const done = millrace(['config', '--config', file]);
    assert.equal(done.status, 2, done.stdout);
    assert.match(done.stderr, /wrong\.yaml:2: trusted_proxies: .*CIDR/);
  }
});
