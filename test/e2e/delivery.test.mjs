// Events in, signed webhooks out: judged by node's own crypto and other people's libraries.
import assert from 'node:assert/strict';
import {createHash, randomUUID} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {after, before, test} from 'node:test';
import {HTTP} from 'cloudevents';
import {Webhook} from 'standardwebhooks';
import {Webhook as SvixWebhook} from 'svix';
import {Receiver, Server, certificates, connectionData, event, until} from './harness.mjs';

let server;
let receiver;
let secret;

before(async () => {
  server = await Server.start({settings: {extra_ca_file: certificates().ca}});
  receiver = await Receiver.start();
  secret = (await server.secret()).secret;
});

after(async () => {
  await server?.end();
  await receiver?.end();
});

const signature = (note, url) => createHash('sha256')
  .update(secret + note.method + url.split(/[?#]/)[0]).update(note.body).digest('hex');

const at = (path) => receiver.requests.filter((note) => note.path === path);

// A destination with a rule of its own for a type of its own.
async function stream(settings = {}, suffix = '') {
  const path = `/${randomUUID()}`;
  const type = `com.example.${randomUUID()}`;
  const url = receiver.url + path + suffix;
  const destination = await server.destination(url, settings);
  const rule = await server.rule(destination, type);
  return {path, type, url, destination, rule};
}

test('one event arrives as an array of one, in KORE form, signed', async () => {
  const {path, type, url} = await stream({}, '?a=b#cbs=kore');
  const sent = event({type, time: '2024-09-25T19:09:48.5842087+00:00', subject: 's', ext1: 'x'},
    {text: 'Ä "q" \\ / \u2028 \u0001 €', n: 1.50});
  const answer = await server.publish(sent);
  assert.equal(answer.status, 202, answer.text);
  assert.equal(answer.body.accepted, 1);
  assert.equal(answer.body.events[0].id, sent.id);
  const [note] = await until('delivery', () => at(path).length > 0 && at(path));
  assert.equal(note.method, 'POST');
  assert.equal(note.url, `${path}?a=b`);
  const text = note.body.toString();
  assert.equal(text[0], '[');
  const [got] = JSON.parse(text);
  assert.deepEqual(Object.keys(got),
    ['data', 'id', 'time', 'type', 'source', 'specversion', 'datacontenttype', 'subject', 'ext1']);
  assert.equal(got.time, sent.time);
  assert.deepEqual(got.data, sent.data);
  assert.equal(JSON.stringify(JSON.parse(text)), text, 'a receiver that re-serialises agrees');
  assert.equal(note.headers['kore-signature'], signature(note, url));
  assert.match(note.headers['kore-idempotency-token'],
    /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(note.headers['user-agent'], 'KoreProxy/1.1');
  assert.equal(note.headers['content-type'], 'application/json; charset=utf-8');
  assert.match(note.headers.date, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});

test('a known type gets the latest dataschema, absolute', async () => {
  const path = `/${randomUUID()}`;
  const destination = await server.destination(receiver.url + path);
  const type = 'com.kore.iot.supersim.connection.data-session.started';
  await server.rule(destination, type);
  const sent = event({type}, connectionData('data-session.started'));
  assert.equal((await server.publish(sent)).status, 202);
  await until('delivery', () => at(path).length > 0);
  const [got] = receiver.events(path);
  assert.equal(got.dataschema, `${server.url}/schemas/SuperSim.ConnectionEvent/2`);
  assert.match(got.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00$/);
  const schema = await server.request('GET', '/schemas/SuperSim.ConnectionEvent/2');
  assert.equal((await server.request('GET', '/schemas/SuperSim.ConnectionEvent/02')).status, 404);
  assert.equal(schema.status, 200);
  assert.equal(schema.headers['content-type'], 'application/schema+json');
  assert.match(schema.headers['cache-control'], /immutable/);
});

test('Standard Webhooks signatures are right by two libraries', async () => {
  const {path, type, destination} = await stream();
  const early = await server.api('PATCH', `/v1/destinations/${destination.id}`,
    {settings: {signatures: ['kore', 'standard-webhooks']}});
  assert.equal(early.status, 400, 'chosen before a signing secret was made');
  const made = await server.must('POST', `/v1/destinations/${destination.id}/signing-secret`, {});
  assert.match(made.secret, /^whsec_/);
  assert.match(made.public_key, /^whpk_/);
  await server.must('PATCH', `/v1/destinations/${destination.id}`,
    {settings: {signatures: ['kore', 'standard-webhooks', 'standard-webhooks-ed25519']}});
  assert.equal((await server.publish(event({type}))).status, 202);
  const [note] = await until('delivery', () => at(path).length > 0 && at(path));
  assert.equal(note.headers['webhook-id'], note.headers['kore-idempotency-token']);
  assert.match(note.headers['webhook-signature'], /v1,.* v1a,/);
  new Webhook(made.secret).verify(note.body.toString(), note.headers);
  new SvixWebhook(made.secret).verify(note.body.toString(), note.headers);
  assert.throws(() => new Webhook(made.secret).verify(`${note.body} `, note.headers));
});

test('CloudEvents forms are read by the CloudEvents SDK', async () => {
  for (const format of ['ce-structured', 'ce-binary', 'ce-batch']) {
    const {path, type} = await stream({format});
    const sent = event({type, subject: 'a b%ü', ext1: 'z'}, {n: 1, s: 'ü'});
    assert.equal((await server.publish(sent)).status, 202);
    const [note] = await until('delivery', () => at(path).length > 0 && at(path));
    if (format === 'ce-binary') {
      assert.equal(note.headers['ce-id'], sent.id);
      assert.equal(decodeURIComponent(note.headers['ce-subject']), sent.subject);
      assert.deepEqual(JSON.parse(note.body), sent.data);
      continue;
    }
    let got = HTTP.toEvent({headers: note.headers, body: note.body.toString()});
    got = Array.isArray(got) ? got[0] : got;
    assert.equal(got.id, sent.id);
    assert.equal(got.ext1, 'z');
    assert.deepEqual(got.data, sent.data);
  }
});

test('GET sends the same body, and is signed as GET', async () => {
  const {path, type, url} = await stream({method: 'GET'});
  assert.equal((await server.publish(event({type}))).status, 202);
  const [note] = await until('delivery', () => at(path).length > 0 && at(path));
  assert.equal(note.method, 'GET');
  assert.equal(JSON.parse(note.body).length, 1);
  assert.equal(note.headers['kore-signature'], signature(note, url));
});

test('non-ASCII is escaped as Python does where asked', async () => {
  const {path, type, url} = await stream({escape_non_ascii: true});
  assert.equal((await server.publish(event({type}, {s: 'Ä€😀'}))).status, 202);
  const [note] = await until('delivery', () => at(path).length > 0 && at(path));
  assert.ok(note.body.includes('\\u00c4\\u20ac\\ud83d\\ude00'));
  assert.equal(note.headers['kore-signature'], signature(note, url));
});

test('a thousand events of two types leave in few requests, never mixed, never above 50', async () => {
  const path = `/${randomUUID()}`;
  const destination = await server.destination(receiver.url + path);
  const types = [`com.example.${randomUUID()}`, `com.example.${randomUUID()}`];
  await server.rule(destination, ...types);
  const events = Array.from({length: 1000}, (_, i) => event({type: types[i % 2]}, {i}));
  const answer = await server.publish(events);
  assert.equal(answer.status, 202, answer.text);
  await until('all events', () => receiver.events(path).length >= 1000);
  const notes = at(path);
  assert.ok(notes.length <= 60, `${notes.length} requests`);
  for (const note of notes) {
    const batch = JSON.parse(note.body);
    assert.ok(batch.length <= 50);
    assert.equal(new Set(batch.map((one) => one.type)).size, 1);
  }
  assert.equal(new Set(receiver.events(path).map((one) => one.id)).size, 1000);
  await until('counted', async () => (await server.counters(destination)).delivered === 1000);
});

test('a failed request is sent again with the same token and body', async () => {
  const {path, type, destination} = await stream({retry_policy: {delays_ms: [50, 50, 50]}});
  let n = 0;
  receiver.modes.set(path, (request, response) => {
    response.writeHead(++n < 3 ? 500 : 204);
    response.end();
  });
  assert.equal((await server.publish(event({type}))).status, 202);
  await until('third attempt', () => at(path).length === 3);
  const notes = at(path);
  assert.equal(new Set(notes.map((note) => note.headers['kore-idempotency-token'])).size, 1);
  assert.equal(new Set(notes.map((note) => note.body.toString())).size, 1);
  const counters = await until('delivered', async () => {
    const now = await server.counters(destination);
    return now.delivered === 1 && now;
  });
  assert.equal(counters.failed_attempts, 2);
});

test('after the last attempt there is a dead letter, and redrive delivers it', async () => {
  const {path, type, destination, rule} = await stream({retry_policy: {delays_ms: [20]}});
  receiver.modes.set(path, 500);
  const sent = event({type});
  assert.equal((await server.publish(sent)).status, 202);
  await until('dead', async () => (await server.counters(destination)).dead === 1);
  const list = await server.must('GET', `/v1/dead-letters?destination_id=${destination.id}`);
  assert.equal(list.data.length, 1);
  assert.equal(list.meta_data.count, 1);
  const [letter] = list.data;
  assert.match(letter.id, /^dl_[0-9a-z]{26}$/);
  assert.equal(letter.destination_id, destination.id);
  assert.deepEqual(letter.rules, [rule.id]);
  assert.equal(letter.event.id, sent.id);
  assert.equal(letter.reason, 'status');
  assert.equal(letter.last_status, 500);
  assert.equal(letter.attempts, 2);
  const same = await server.must('GET', `/v1/dead-letters/${letter.id}`);
  assert.deepEqual(same, letter);
  const dry = await server.api('POST', '/v1/dead-letters/redrive',
    {destination_id: destination.id, dry_run: true});
  assert.equal(dry.status, 202);
  assert.equal(dry.body.redriven, 1);
  receiver.modes.delete(path);
  const redriven = await server.api('POST', '/v1/dead-letters/redrive', {ids: [letter.id]});
  assert.equal(redriven.status, 202, redriven.text);
  assert.equal(redriven.body.redriven, 1);
  const counters = await until('delivered', async () => {
    const now = await server.counters(destination);
    return now.delivered === 1 && now;
  });
  assert.equal(counters.dead, 1, 'the letter counts as dead still');
  assert.equal(counters.pending, 0);
});

test('one bad event among fifty: the others arrive, one dead letter', async () => {
  const {path, type, destination} = await stream({retry_policy: {delays_ms: [20]}});
  const events = Array.from({length: 50}, (_, i) => event({type}, {i, bad: i === 17}));
  const good = new Set();
  receiver.modes.set(path, (request, response, note) => {
    const batch = JSON.parse(note.body);
    const bad = batch.some((one) => one.data.bad);
    if (!bad) {
      batch.forEach((one) => good.add(one.id));
    }
    response.writeHead(bad ? 400 : 200);
    response.end();
  });
  assert.equal((await server.publish(events)).status, 202);
  await until('49 good ones and a letter', async () =>
    good.size === 49 && (await server.counters(destination)).dead === 1, 90000);
});

test('a receiver that refuses every batch of two gets all its events', async () => {
  const {path, type, destination} = await stream({batch_max: 4, concurrency_max: 1});
  receiver.modes.set(path, (request, response, note) => {
    response.writeHead(JSON.parse(note.body).length > 1 ? 400 : 200);
    response.end();
  });
  const events = Array.from({length: 40}, (_, i) => event({type}, {i}));
  assert.equal((await server.publish(events)).status, 202);
  const counters = await until('all', async () => {
    const now = await server.counters(destination);
    return now.delivered === 40 && now;
  }, 120000);
  assert.equal(counters.dead, 0);
});

test('410 disables the destination; enabling resumes and tells the gap', async () => {
  const {path, type, destination} = await stream({retry_policy: {delays_ms: []}});
  receiver.modes.set(path, 410);
  assert.equal((await server.publish(event({type}))).status, 202);
  await until('disabled', async () =>
    (await server.must('GET', `/v1/destinations/${destination.id}`)).status === 'disabled');
  // The workers learn it a moment after the store: an event in between still waits.
  const skipped = await until('skipped', async () => {
    assert.equal((await server.publish(event({type}))).status, 202);
    return (await server.counters(destination)).skipped;
  });
  receiver.modes.delete(path);
  const enabled = await server.must('PATCH', `/v1/destinations/${destination.id}`,
    {status: 'active'});
  assert.equal(enabled.status, 'active');
  assert.ok(enabled.gap.events >= skipped);
  assert.equal((await server.publish(event({type}))).status, 202);
  await until('delivery', async () => (await server.counters(destination)).delivered >= 1);
});

test('disabled by PATCH: nothing is sent, pending stay, enabling sends them', async () => {
  const {path, type, destination} = await stream({retry_policy: {delays_ms: [300, 300, 300]}});
  receiver.modes.set(path, 500);
  assert.equal((await server.publish(event({type}))).status, 202);
  await until('first attempt', () => at(path).length === 1);
  await server.must('PATCH', `/v1/destinations/${destination.id}`, {status: 'disabled'});
  receiver.modes.delete(path);
  assert.equal((await server.counters(destination)).pending, 1);
  await server.must('PATCH', `/v1/destinations/${destination.id}`, {status: 'active'});
  await until('delivered', async () => (await server.counters(destination)).delivered === 1);
});

test('Retry-After holds the destination back and spends no attempt', async () => {
  const {path, type, destination} = await stream({retry_policy: {delays_ms: []}});
  let n = 0;
  receiver.modes.set(path, (request, response) => {
    n++;
    response.writeHead(n === 1 ? 503 : 200, n === 1 ? {'retry-after': '1'} : {});
    response.end();
  });
  assert.equal((await server.publish(event({type}))).status, 202);
  await until('delivered', async () => (await server.counters(destination)).delivered === 1);
  assert.equal(n, 2);
  const [first, second] = at(path);
  assert.ok(second.at - first.at >= 950, `${second.at - first.at} ms`);
});

test('a test event shows its steps; failures name the step', async () => {
  const {path, destination} = await stream();
  const good = await server.must('POST', `/v1/destinations/${destination.id}/test`, {});
  assert.equal(good.ok, true, JSON.stringify(good));
  assert.deepEqual(good.steps.map((step) => step.step),
    ['address', 'connect', 'tls', 'request', 'response']);
  const [note] = at(path);
  const [sent] = JSON.parse(note.body);
  assert.deepEqual(Object.keys(sent), ['data', 'id', 'time', 'type', 'source', 'dataschema',
    'specversion', 'datacontenttype']);
  assert.equal(sent.type, 'com.kore.eventstreams.test.event');
  assert.equal(sent.dataschema, '/schemas/test/1');
  assert.equal(sent.source, 'kore-events');
  assert.equal(sent.id, good.event_id);
  receiver.modes.set(path, 500);
  const refused = await server.must('POST', `/v1/destinations/${destination.id}/test`, {});
  assert.equal(refused.ok, false);
  assert.equal(refused.steps.at(-1).step, 'response');
  assert.match(refused.steps.at(-1).detail, /500/);
  const shown = await server.must('GET', `/v1/destinations/${destination.id}`);
  assert.equal(shown.last_test.ok, false);
  assert.equal(shown.counters.dead, 0, 'a test is no delivery');
});

test('self-signed certificates and refused addresses fail with their reason', async () => {
  const other = await Server.start({});
  try {
    const destination = await other.destination(receiver.url);
    const failed = await other.must('POST', `/v1/destinations/${destination.id}/test`, {});
    assert.equal(failed.ok, false);
    assert.equal(failed.steps.at(-1).step, 'tls');
  } finally {
    await other.end();
  }
  const guarded = await Server.start({settings: {allow_networks: ''}});
  try {
    for (const url of ['https://127.0.0.1:8443/', 'https://[::1]:8443/', 'https://10.0.0.1/',
      'https://169.254.169.254/', 'http://example.com/', 'https://2130706433/',
      'https://127.1:8443/', 'https://example.com:25/']) {
      const answer = await guarded.api('POST', '/v1/destinations',
        {name: 'x', kind: 'webhook', settings: {url}});
      assert.equal(answer.status, 400, url);
      assert.equal(answer.body.code, 31010, `${url} ${answer.text}`);
    }
    const named = await guarded.destination('https://localhost:8443/');
    const failed = await guarded.must('POST', `/v1/destinations/${named.id}/test`, {});
    assert.equal(failed.steps.at(-1).step, 'address', JSON.stringify(failed.steps));
  } finally {
    await guarded.end();
  }
});

test('a changed secret signs at once', async () => {
  const {path, type, url} = await stream();
  const made = await server.must('POST', '/v1/secrets', {Name: 'second'});
  assert.equal(made.status, 'pending');
  assert.equal((await server.publish(event({type}))).status, 202);
  const [before] = await until('delivery', () => at(path).length > 0 && at(path));
  assert.equal(before.headers['kore-signature'], signature(before, url));
  await server.must('PATCH', `/v1/secrets/${made.id}`, {Status: 'active'});
  secret = made.secret;
  assert.equal((await server.publish(event({type}))).status, 202);
  const [, now] = await until('second delivery', () => at(path).length > 1 && at(path));
  assert.equal(now.headers['kore-signature'], signature(now, url));
});

test('two rules to one destination deliver once; a disabled rule stops', async () => {
  const {path, type, destination, rule} = await stream();
  const second = await server.rule(destination, type);
  assert.equal((await server.publish(event({type}))).status, 202);
  await until('delivery', () => at(path).length > 0);
  await server.must('PATCH', `/v1/streaming-rules/${rule.id}`, {status: 'disabled'});
  await server.must('PATCH', `/v1/streaming-rules/${second.id}`, {status: 'disabled'});
  assert.equal((await server.publish(event({type}))).status, 202);
  await until('counted', async () => (await server.counters(destination)).delivered === 1);
  assert.equal(receiver.events(path).length, 1);
  const inUse = await server.api('DELETE', `/v1/destinations/${destination.id}`);
  assert.equal(inUse.status, 409);
  assert.equal(inUse.body.code, 31011);
  assert.ok(inUse.body.message.includes(rule.id));
});

test('discard gives up what waits', async () => {
  const {path, type, destination} = await stream({retry_policy: {delays_ms: [60000]}});
  receiver.modes.set(path, 500);
  assert.equal((await server.publish([event({type}), event({type}), event({type})])).status, 202);
  await until('failed once', () => at(path).length >= 1);
  const answer = await server.api('POST', `/v1/destinations/${destination.id}/discard`, {});
  assert.equal(answer.status, 202, answer.text);
  await until('discarded', async () => {
    const now = await server.counters(destination);
    return now.discarded === 3 && now.pending === 0;
  });
});

test('the live view tells accepted and attempted events', async () => {
  const {type, destination} = await stream();
  const response = await fetch(`${server.url}/v1/tail?type=${type}`,
    {headers: {authorization: `Bearer ${server.token}`}});
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  const reader = response.body.getReader();
  const sent = event({type});
  let text = '';
  await server.publish(sent);
  while (!/event: attempt[\s\S]*\n\n/.test(text)) {
    const {value, done} = await reader.read();
    assert.ok(!done);
    text += Buffer.from(value).toString();
  }
  await reader.cancel();
  const data = Object.fromEntries([...text.matchAll(/event: (\w+)\ndata: (.*)\n/g)]
    .map(([, name, json]) => [name, JSON.parse(json)]));
  assert.equal(data.accepted.id, sent.id);
  assert.deepEqual(data.accepted.destinations, [destination.id]);
  assert.equal(data.attempt.destination_id, destination.id);
  assert.deepEqual(data.attempt.events, [sent.id]);
  assert.equal(data.attempt.status, 200);
  assert.equal(data.attempt.outcome, 'delivered');
});

test('the live view tells each change of status once, whoever makes it', async () => {
  const {path, type, destination} = await stream();
  const response = await fetch(`${server.url}/v1/tail?destination_id=${destination.id}`,
    {headers: {authorization: `Bearer ${server.token}`}});
  const reader = response.body.getReader();
  const set = async (status) => {
    const answer = await server.api('PATCH', `/v1/destinations/${destination.id}`, {status});
    assert.equal(answer.status, 200, answer.text);
  };
  await set('disabled');
  await set('active');
  receiver.modes.set(path, 410);
  assert.equal((await server.publish(event({type}))).status, 202);
  const states = [];
  let text = '';
  while (states.length < 3) {
    const {value, done} = await reader.read();
    assert.ok(!done);
    text += Buffer.from(value).toString();
    states.splice(0, states.length, ...[...text.matchAll(/event: state\ndata: (.*)\n\n/g)]
      .map(([, json]) => JSON.parse(json)));
  }
  await reader.cancel();
  assert.deepEqual(states, ['disabled', 'active', 'disabled']
    .map((status) => ({destination_id: destination.id, status})));
});

test('no secret stands in the log or in the files of the store', () => {
  assert.ok(!server.log.includes(secret));
  assert.ok(!server.log.includes(server.client_secret));
  const bytes = readFileSync(`${server.data}/control.db`);
  assert.ok(!bytes.includes(secret));
  assert.ok(!bytes.includes(server.client_secret));
});
