// Idempotency-Key on every POST that has one: the same key with the same body gets the first answer
// and does nothing twice, also when the calls come at the same time or the server stops in between.
import assert from 'node:assert/strict';
import {randomUUID} from 'node:crypto';
import {after, before, test} from 'node:test';
import {Receiver, Server, certificates, event, until} from './harness.mjs';

let server;
let receiver;

before(async () => {
  server = await Server.start({settings: {extra_ca_file: certificates().ca}});
  receiver = await Receiver.start();
});

after(async () => {
  await server?.end();
  await receiver?.end();
});

async function stream(settings = {}) {
  const path = `/${randomUUID()}`;
  const type = `com.example.${randomUUID()}`;
  const destination = await server.destination(receiver.url + path, settings);
  const rule = await server.rule(destination, type);
  return {path, type, destination, rule};
}

function wrong(answer, status, code) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.body.code, code, answer.text);
}

// A destination that fails everything, with n events waiting for their next attempt.
async function waiting(n) {
  const made = await stream({retry_policy: {delays_ms: [60000]}});
  receiver.modes.set(made.path, 500);
  assert.equal((await server.publish(Array.from({length: n}, () => event({type: made.type})))).status,
    202);
  await until('failed once', async () =>
    (await server.counters(made.destination)).failed_attempts >= 1);
  return made;
}

// A destination with n dead letters, well again.
async function dead(n) {
  const made = await stream({retry_policy: {delays_ms: []}, batch_max: 1});
  receiver.modes.set(made.path, 500);
  assert.equal((await server.publish(Array.from({length: n}, () => event({type: made.type})))).status,
    202);
  await until('dead', async () => (await server.counters(made.destination)).dead === n);
  receiver.modes.delete(made.path);
  return made;
}

// Twenty calls at once: what each came to.
async function atOnce(target, body, key) {
  return Promise.all(Array.from({length: 20}, () =>
    server.api('POST', target, body, {'idempotency-key': key})));
}

function oneEffect(answers, status) {
  const done = answers.filter((answer) => answer.status === status);
  assert.ok(done.length >= 1, answers.map((answer) => answer.text).join('\n'));
  for (const answer of done) {
    assert.equal(answer.text, done[0].text);
  }
  for (const answer of answers.filter((one) => one.status !== status)) {
    wrong(answer, 409, 20409);
    assert.match(answer.body.message, /has begun/);
    assert.ok(Number(answer.headers['retry-after']) >= 1);
  }
  return done[0].body;
}

test('discard: the first answer again, another body refused, nothing given up twice', async () => {
  const {type, destination} = await waiting(3);
  const target = `/v1/destinations/${destination.id}/discard`;
  const headers = {'idempotency-key': 'discard-1'};
  const first = await server.api('POST', target, {}, headers);
  assert.equal(first.status, 202, first.text);
  assert.deepEqual(first.body, {discarded: 3});
  assert.equal((await server.publish([event({type}), event({type})])).status, 202);
  await until('two wait', async () => (await server.counters(destination)).pending === 2);
  const second = await server.api('POST', target, {}, headers);
  assert.equal(second.status, 202, second.text);
  assert.equal(second.text, first.text);
  wrong(await server.api('POST', target, {types: [type]}, headers), 409, 20409);
  const counters = await server.counters(destination);
  assert.equal(counters.discarded, 3);
  assert.equal(counters.pending, 2);
  const other = await server.api('POST', target, {}, {'idempotency-key': 'discard-2'});
  assert.deepEqual(other.body, {discarded: 2});
});

test('discard: of calls at the same time one takes effect', async () => {
  const {destination} = await waiting(3);
  const answers = await atOnce(`/v1/destinations/${destination.id}/discard`, {}, 'discard-all');
  assert.deepEqual(oneEffect(answers, 202), {discarded: 3});
});

test('redrive: the first answer again, another body refused', async () => {
  const {destination, path} = await dead(2);
  const headers = {'idempotency-key': 'redrive-1'};
  const body = {destination_id: destination.id};
  const first = await server.api('POST', '/v1/dead-letters/redrive', body, headers);
  assert.equal(first.status, 202, first.text);
  assert.deepEqual(first.body, {redriven: 2});
  const second = await server.api('POST', '/v1/dead-letters/redrive', body, headers);
  assert.equal(second.status, 202, second.text);
  assert.equal(second.text, first.text);
  wrong(await server.api('POST', '/v1/dead-letters/redrive', {...body, dry_run: true}, headers),
    409, 20409);
  await until('delivered', async () => (await server.counters(destination)).delivered === 2);
  assert.equal(receiver.requests.filter((note) => note.path === path).length, 4);
  const fresh = await server.api('POST', '/v1/dead-letters/redrive', body);
  assert.deepEqual(fresh.body, {redriven: 0}, 'without the key it is another call');
});

test('redrive: of calls at the same time one takes effect', async () => {
  const {destination} = await dead(5);
  const answers = await atOnce('/v1/dead-letters/redrive', {destination_id: destination.id},
    'redrive-all');
  assert.deepEqual(oneEffect(answers, 202), {redriven: 5});
});

test('a refused call leaves its key free', async () => {
  const {destination} = await dead(1);
  const headers = {'idempotency-key': 'refused'};
  wrong(await server.api('POST', '/v1/dead-letters/redrive', {ids: 'x'}, headers), 400, 20400);
  wrong(await server.api('POST', '/v1/dead-letters/redrive', '{', headers), 400, 20400);
  const good = await server.api('POST', '/v1/dead-letters/redrive',
    {destination_id: destination.id}, headers);
  assert.deepEqual(good.body, {redriven: 1});
});

test('destinations, rules, secrets: one effect of calls at the same time', async () => {
  const name = `d-${randomUUID()}`;
  const settings = {url: `${receiver.url}/x`};
  const destination = oneEffect(
    await atOnce('/v1/destinations', {name, kind: 'webhook', settings}, 'd'), 201);
  const all = (await server.must('GET', '/v1/destinations?page_size=1000')).data;
  assert.equal(all.filter((row) => row.name === name).length, 1);
  const rule = {name, destination_id: destination.id, event_types: [{type: 'a.b'}]};
  oneEffect(await atOnce('/v1/streaming-rules', rule, 'r'), 201);
  const rules = (await server.must('GET', '/v1/streaming-rules?page_size=1000')).data;
  assert.equal(rules.filter((row) => row.name === name).length, 1);
  const made = await atOnce(`/v1/destinations/${destination.id}/signing-secret`, {}, 's');
  assert.equal(made.filter((answer) => answer.body.secret).length, 1, 'shown once');
  assert.equal(new Set(made.map((answer) => answer.body.public_key)).size, 1);
  const secrets = await atOnce('/v1/secrets', {Name: 'one'}, 'w');
  assert.equal(secrets.filter((answer) => answer.body.secret).length, 1, 'shown once');
  assert.equal(new Set(secrets.map((answer) => answer.body.id)).size, 1);
});

test('an answer is kept over a restart, and a key is refused where it is no key', async () => {
  const {destination} = await dead(1);
  const body = {destination_id: destination.id};
  const headers = {'idempotency-key': 'over a restart'};
  const first = await server.api('POST', '/v1/dead-letters/redrive', body, headers);
  assert.deepEqual(first.body, {redriven: 1});
  await server.kill();
  await server.serve();
  const second = await server.api('POST', '/v1/dead-letters/redrive', body, headers);
  assert.equal(second.text, first.text);
  for (const key of ['', 'x'.repeat(256)]) {
    wrong(await server.api('POST', '/v1/dead-letters/redrive', body, {'idempotency-key': key}),
      400, 20400);
  }
});
