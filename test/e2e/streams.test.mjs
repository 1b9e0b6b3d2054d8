// Destinations of kind kinesis, end to end: the real server against the rig of test/e2e/aws, which
// verifies every signature with other people's code; what was written is read back by AWS's SDK.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {randomUUID} from 'node:crypto';
import path from 'node:path';
import {after, afterEach, before, describe, test} from 'node:test';
import {Rig} from './aws/rig.mjs';
import {Receiver, Server, binary, certificates, event, millrace, padding, until, writeJson}
  from './harness.mjs';

const many = process.env.MR_TEST_ALL ? 100000 : 20000;
const INTERNAL = {ErrorCode: 'InternalFailure', ErrorMessage: 'Internal service failure.'};

let rig;
let server;
let receiver;
before(async () => {
  rig = await Rig.start({streams: [], shards: 2});
  receiver = await Receiver.start();
  server = await Server.start({settings: {...rig.settings, extra_ca_file: certificates().ca,
    event_bytes_max: 1048576}});
});
after(async () => {
  await server?.end();
  await receiver?.end();
  await rig?.end();
});
afterEach(() => {
  rig.kinesis.clear();
  rig.sts.clear();
});

const quick = {retry_policy: {delays_ms: [20, 20, 20]}};

// A stream of its own, a destination and a rule for types of its own.
async function stream(settings = {}, {types = 1, on = server, made = true} = {}) {
  const name = `s-${randomUUID()}`;
  if (made) {
    await rig.create(name, 2);
  }
  const destination = await on.must('POST', '/v1/destinations', {name, kind: 'kinesis',
    settings: rig.destination(name, {...quick, ...settings})});
  const all = Array.from({length: types}, (_, i) => `com.example.${name}.t${i}`);
  await on.rule(destination, ...all);
  return {name, destination, types: all, type: all[0],
    puts: () => rig.kinesis.log.filter(({records, body}) => records
      && JSON.parse(body.toString()).StreamARN === rig.arn(name))};
}

async function publish(events, on = server) {
  for (let i = 0; i < events.length; i += 500) {
    const answer = await on.publish(events.slice(i, i + 500));
    assert.equal(answer.status, 202, answer.text);
  }
}

const settled = (one, n, on = server) => until(`${n} settled`, async () => {
  const counters = await on.counters(one.destination);
  return counters.pending === 0 && counters.delivered + counters.dead >= n && counters;
}, 60000);

const letters = async (one, on = server) => (await on.must('GET',
  `/v1/dead-letters?destination_id=${one.destination.id}`)).data;

const ids = (records) => records.map(({event: {id}}) => id).sort();

test('types share a request; a record is one event, minified, under its id', async () => {
  const one = await stream({linger_ms: 2000, concurrency_max: 1}, {types: 20});
  // The first alone; while it is answered the others gather.
  rig.kinesis.delay(400);
  await publish([event({type: one.type}, {n: 0})]);
  const events = one.types.flatMap((type) => [event({type}, {text: 'Ä "q" €', n: 1.5}),
    event({type, subject: 's'})]);
  await publish(events);
  await settled(one, 41);
  const puts = one.puts();
  assert.equal(puts.length, 2);
  assert.equal(puts[1].records.length, 40);
  assert.deepEqual(new Set(puts[1].records.map(({Data}) =>
    JSON.parse(Buffer.from(Data, 'base64')).type)), new Set(one.types));
  const records = await rig.read(one.name);
  assert.equal(records.length, 41);
  for (const {key, data, event: got} of records) {
    assert.equal(key, got.id);
    assert.equal(data, JSON.stringify(got));
    assert.ok(!Array.isArray(got));
  }
  assert.deepEqual(ids(records).filter((id) => events.some((sent) => sent.id === id)),
    events.map(({id}) => id).sort());
  assert.deepEqual(rig.refusals(), []);
});

test('a partition key by pointer, by id where it is missing', async () => {
  const one = await stream({partition_key: '/data/iccid'});
  const plain = event({type: one.type}, {n: 1});
  await publish([event({type: one.type}, {iccid: '8988303'}), plain,
    event({type: one.type}, {iccid: 'x'.repeat(300)})]);
  await settled(one, 3);
  const keys = (await rig.read(one.name)).map(({key}) => key);
  assert.ok(keys.includes('8988303') && keys.includes(plain.id));
  assert.ok(keys.some((key) => /^[0-9a-f]{64}$/.test(key)));
});

test('failed records go again alone, in their order; the others are delivered', async () => {
  const one = await stream({concurrency_max: 1});
  const events = Array.from({length: 60}, () => event({type: one.type}));
  const bad = new Set([events[3], events[17], events[40]].map(({id}) => id));
  rig.kinesis.failRecords(({PartitionKey}) => bad.has(PartitionKey) && INTERNAL, 2);
  await publish(events);
  const counters = await settled(one, 60);
  assert.equal(counters.delivered, 60);
  assert.equal(counters.dead, 0);
  const again = one.puts().map(({records}) => records.map(({PartitionKey}) => PartitionKey))
    .filter((keys) => keys.every((key) => bad.has(key)));
  assert.ok(again.length >= 1);
  for (const keys of again) {
    assert.deepEqual(keys, events.map(({id}) => id).filter((id) => keys.includes(id)));
  }
  assert.deepEqual(ids(await rig.read(one.name)), events.map(({id}) => id).sort());
});

test('what became of each record is counted, and requests taken in part', async () => {
  const names = ['attempts_partial_total', ...['taken', 'failed', 'throttled', 'refused']
    .map((outcome) => `records_total{outcome="${outcome}"}`)];
  const metrics = async () => {
    const all = await server.metrics();
    return names.map((name) => all[`millrace_${name}`]);
  };
  const one = await stream({concurrency_max: 1, linger_ms: 1000, retry_policy: {delays_ms: [10, 10]}});
  const first = await metrics();
  const events = Array.from({length: 20}, () => event({type: one.type}));
  const throttled = {ErrorCode: 'ProvisionedThroughputExceededException', ErrorMessage: 'Rate'};
  rig.kinesis.delay(300); // of the first event alone, while the others gather
  rig.kinesis.failRecords(({PartitionKey: key}) => (key === events[3].id && INTERNAL)
    || ([events[5].id, events[6].id].includes(key) && throttled), 2);
  await publish(events.slice(0, 1));
  await until('a request in flight', () => one.puts().length > 0
    || rig.kinesis.log.some(({body}) => body.includes(one.name)));
  await publish(events.slice(1));
  assert.equal((await settled(one, 20)).delivered, 20);
  const last = await metrics();
  assert.deepEqual(last.map((n, i) => n - first[i]), [1, 20, 1, 2, 0]);
});

test('an event that fails each time dies alone, with its reason', async () => {
  const one = await stream({retry_policy: {delays_ms: [10]}});
  const events = Array.from({length: 10}, () => event({type: one.type}));
  rig.kinesis.failRecords(({PartitionKey}) => PartitionKey === events[5].id && INTERNAL);
  await publish(events);
  const counters = await settled(one, 10);
  assert.equal(counters.delivered, 9);
  assert.equal(counters.dead, 1);
  const [letter] = await letters(one);
  assert.equal(letter.reason, 'internal');
  assert.equal(letter.attempts, 2);
  assert.equal(letter.last_status, 200);
  assert.equal(letter.event.id, events[5].id);
});

test('a record that is too large is a dead letter at once; the rest goes on', async () => {
  const one = await stream();
  const head = event({type: one.type, id: 'x'.repeat(250)}, {text: ''});
  const room = 1048576 - JSON.stringify(head).length - 100;
  const large = event({type: one.type, id: 'x'.repeat(250)}, {text: padding(room)});
  await publish([event({type: one.type}), event({type: one.type})]);
  assert.equal((await server.publish(large)).status, 202);
  await publish([event({type: one.type})]);
  const counters = await settled(one, 4);
  assert.equal(counters.delivered, 3);
  const [letter] = await letters(one);
  assert.equal(letter.reason, 'record_too_large');
  assert.equal(letter.attempts, 1);
});

describe('whole requests', () => {
  for (const [what, bend] of [
    ['an answer that is no JSON', () => rig.kinesis.reply(200, 'no JSON')],
    ['an answer with fewer results than records', () => rig.kinesis.reply(200,
      JSON.stringify({FailedRecordCount: 0, Records: [{SequenceNumber: '1', ShardId: 's'}]}))],
    ['an answer with more results than records', () => rig.kinesis.reply(200,
      JSON.stringify({FailedRecordCount: 0,
        Records: Array(501).fill({SequenceNumber: '1', ShardId: 's'})}))],
    ['a reset after the request was taken', () => rig.kinesis.reset({after: true})],
    ['200 with all failed', () => rig.kinesis.failRecords(() => INTERNAL, 1)],
    ['an expired token', () => rig.sts.expireAll()],
  ]) {
    test(`${what}: retried whole, nothing lost`, async () => {
      const one = await stream();
      const events = Array.from({length: 3}, () => event({type: one.type}));
      bend();
      await publish(events);
      const counters = await settled(one, 3);
      assert.equal(counters.delivered, 3);
      assert.deepEqual([...new Set(ids(await rig.read(one.name)))], events.map(({id}) => id).sort());
    });
  }

  for (const [what, reason, settings, options] of [
    ['a stream that is missing', 'stream_missing', {}, {made: false}],
    ['another external id', 'credentials', {external_id: 'not-the-one'}, {}],
    ['a role that nobody may assume', 'credentials',
      {role_arn: 'arn:aws:iam::111122223333:role/other'}, {}],
    ['another region', 'credentials',
      {stream_arn: 'arn:aws:kinesis:eu-west-1:111122223333:stream/events'}, {}],
  ]) {
    test(`${what}: dead letters, reason ${reason}; the test says what to do`, async () => {
      const one = await stream({retry_policy: {delays_ms: []}, ...settings}, options);
      await publish([event({type: one.type})]);
      await until('a dead letter', async () => (await server.counters(one.destination)).dead === 1);
      const [letter] = await letters(one);
      assert.equal(letter.reason, reason);
      const report = await server.must('POST', `/v1/destinations/${one.destination.id}/test`, {});
      assert.equal(report.ok, false);
      const names = reason === 'credentials' ? ['assume_role'] : ['assume_role', 'put_record'];
      assert.deepEqual(report.steps.map(({step}) => step), names);
      assert.equal(report.steps.at(-1).ok, false);
      assert.match(report.steps.at(-1).detail, /What to do: /);
      assert.match(report.steps.at(-1).detail,
        reason === 'credentials' ? /trust policy.*external id/ : /stream_arn/);
    });
  }

  test('no permission to write', async () => {
    const one = await stream({retry_policy: {delays_ms: []}});
    rig.kinesis.refuse('AccessDeniedException', 'no identity-based policy allows it',
      {times: Infinity});
    await publish([event({type: one.type}), event({type: one.type})]);
    await until('dead letters', async () => (await server.counters(one.destination)).dead === 2);
    for (const letter of await letters(one)) {
      assert.equal(letter.reason, 'access_denied');
    }
    const report = await server.must('POST', `/v1/destinations/${one.destination.id}/test`, {});
    assert.match(report.steps[1].detail, /kinesis:PutRecord and kinesis:PutRecords/);
  });
});

test('the test event: two steps, and the reminder', async () => {
  const one = await stream();
  const report = await server.must('POST', `/v1/destinations/${one.destination.id}/test`, {});
  assert.equal(report.ok, true, JSON.stringify(report));
  assert.deepEqual(report.steps.map(({step, ok}) => [step, ok]),
    [['assume_role', true], ['put_record', true]]);
  assert.match(report.steps[1].detail, /Connection established, test event sent.*shards.*keeps/);
  const [record] = await rig.read(one.name);
  assert.equal(record.event.type, 'com.kore.eventstreams.test.event');
  assert.equal(record.event.id, report.event_id);
  const shown = await server.must('GET', `/v1/destinations/${one.destination.id}`);
  assert.equal(shown.last_test.ok, true);
  assert.equal(shown.last_test.step, 'put_record');
  const calls = rig.kinesis.log.map(({headers}) => headers['x-amz-target']);
  assert.deepEqual([...new Set(calls)].filter((call) => !/\.PutRecords?$/.test(call)), []);
});

test('a throttled stream slows itself, spends no attempt, and leaves a webhook alone', async () => {
  const one = await stream({retry_policy: {delays_ms: []}});
  const hook = await server.destination(`${receiver.url}/beside`);
  await server.rule(hook, one.type);
  let room = 0;
  const timer = setInterval(() => { room = 20; }, 100);
  rig.kinesis.failRecords(() => {
    room -= 1;
    return room < 0 && {ErrorCode: 'ProvisionedThroughputExceededException',
      ErrorMessage: 'Rate exceeded for shard'};
  });
  const events = Array.from({length: 1500}, () => event({type: one.type}));
  const began = performance.now();
  await publish(events);
  await until('the webhook to have all', () => receiver.events('/beside').length === 1500);
  assert.ok(performance.now() - began < 5000, `${performance.now() - began} ms`);
  const slow = await server.counters(one.destination);
  assert.ok(slow.pending > 1000, `${slow.pending} pending`);
  assert.equal(slow.dead, 0);
  const before = one.puts().length;
  await new Promise((resolve) => { setTimeout(resolve, 2000); });
  const rate = (one.puts().length - before) / 2;
  assert.ok(rate < 12, `${rate} requests a second at a throttled stream`);
  clearInterval(timer);
  rig.kinesis.clear();
  const counters = await settled(one, 1500);
  assert.equal(counters.delivered, 1500);
  assert.deepEqual(ids(await rig.read(one.name)), events.map(({id}) => id).sort());
});

test(`1 % of the records fail for ${many} events: each arrives, once`, async () => {
  const one = await stream({retry_policy: {delays_ms: Array(16).fill(50)}});
  let n = 0;
  rig.kinesis.failRecords(() => n++ % 100 === 37 && (n % 200 < 100 ? INTERNAL
    : {ErrorCode: 'ProvisionedThroughputExceededException', ErrorMessage: 'Rate exceeded'}));
  const sent = [];
  for (let i = 0; i < many; i += 500) {
    const events = Array.from({length: 500}, (_, k) => event({type: one.type, id: `e-${i + k}`}));
    sent.push(...events.map(({id}) => id));
    await publish(events);
  }
  const counters = await settled(one, many);
  assert.equal(counters.delivered, many);
  assert.equal(counters.dead, 0);
  assert.ok(counters.failed_attempts > many / 1000, `${counters.failed_attempts} failed attempts`);
  // No outcome was unknown, so nothing came twice.
  assert.deepEqual(ids(await rig.read(one.name)), sent.sort());
});

test('kill -9 during PutRecords: nothing is lost', async () => {
  const own = await Server.start({settings: rig.settings});
  try {
    // With a tenth failing, four attempts would be too few for one of 1,200 in every eighth run.
    const one = await stream({retry_policy: {delays_ms: Array(10).fill(500)}}, {types: 3, on: own});
    const sent = [];
    let n = 0;
    rig.kinesis.failRecords(() => n++ % 10 === 3 && INTERNAL);
    for (let round = 0; round < 6; round++) {
      const events = Array.from({length: 200}, (_, i) => event({type: one.types[i % 3]}));
      rig.kinesis.delay(30 + 10 * round, {times: 2});
      await publish(events, own);
      sent.push(...events.map(({id}) => id));
      await until('requests in flight', () => one.puts().length > round);
      await own.kill();
      await own.serve();
    }
    rig.kinesis.clear();
    const counters = await settled(one, sent.length, own);
    assert.equal(counters.delivered, sent.length);
    assert.equal(counters.dead, 0);
    const got = new Set(ids(await rig.read(one.name)));
    assert.deepEqual(sent.filter((id) => !got.has(id)), []);
    await own.stop();
    const checked = millrace(['check', '--data', own.data]);
    assert.equal(checked.status, 0, checked.stdout + checked.stderr);
  } finally {
    await own.end();
  }
});

test('events that are in memory no more are read from the journal, 500 to a request', async () => {
  const own = await Server.start({settings: rig.settings});
  try {
    const one = await stream({concurrency_max: 1, linger_ms: 500}, {on: own});
    rig.kinesis.hang({times: Infinity});
    const events = Array.from({length: 1501}, (_, n) => event({type: one.type},
      {n, text: padding(n % 700)}));
    await publish(events.slice(0, 1), own);
    await until('a request in flight', () => rig.kinesis.log.some(({body}) =>
      body.includes(one.name)));
    await publish(events.slice(1), own);
    await own.kill();
    rig.kinesis.clear();
    await own.serve();
    assert.equal((await settled(one, 1501, own)).delivered, 1501);
    const most = Math.max(...one.puts().map(({records}) => records.length));
    assert.equal(most, 500);
    const got = new Map((await rig.read(one.name)).map(({event: {id, data}}) => [id, data]));
    assert.equal(got.size, 1501);
    for (const {id, data} of events) {
      assert.deepEqual(got.get(id), data);
    }
  } finally {
    await own.end();
  }
});

test('discard by type finds it among mixed types', async () => {
  const one = await stream({concurrency_max: 1, retry_policy: {delays_ms: [1000]}}, {types: 2});
  rig.kinesis.delay(1500, {times: 1});
  await publish([event({type: one.types[0]})]);
  await until('a request in flight', () => rig.kinesis.log.some(({body}) =>
    body.includes(one.name)));
  await publish(Array.from({length: 20}, (_, i) => event({type: one.types[i % 2]})));
  const {discarded} = await server.must('POST', `/v1/destinations/${one.destination.id}/discard`,
    {types: [one.types[1]]});
  assert.equal(discarded, 10);
  rig.kinesis.clear();
  const counters = await settled(one, 11);
  assert.equal(counters.discarded, 10);
  const kinds = new Set((await rig.read(one.name)).map(({event: {type}}) => type));
  assert.deepEqual([...kinds], [one.types[0]]);
});

describe('settings', () => {
  const arns = () => ({stream_arn: rig.arn('events'), role_arn: rig.role});
  const create = (settings, more = {}) => server.api('POST', '/v1/destinations',
    {name: 'settings', kind: 'kinesis', settings, ...more});

  test('defaults; a random external id; nothing is hidden', async () => {
    const {status, body} = await create(arns());
    assert.equal(status, 201);
    assert.match(body.settings.external_id, /^[0-9a-f]{80}$/);
    assert.deepEqual({...body.settings, external_id: ''}, {...arns(), external_id: '',
      partition_key: 'id', batch_max: 500, batch_bytes_max: 5242880, linger_ms: 50,
      timeout_ms: 5000, retry_policy: 'kore', rate_per_second: null, concurrency_max: 32});
    const listed = await server.must('GET', '/v1/destinations?kind=kinesis');
    assert.ok(listed.data.some(({id}) => id === body.id));
  });

  test('wrong ones are refused by name', async () => {
    for (const [bad, code, place] of [
      [{stream_arn: 'events'}, 20400, 'settings.stream_arn'],
      [{stream_arn: rig.arn('events').replace('eu-central-1', 'moon-1')}, 20400,
        'settings.stream_arn'],
      [{role_arn: rig.arn('events')}, 20400, 'settings.role_arn'],
      [{role_arn: undefined}, 20002, 'settings.role_arn'],
      [{external_id: 'a b'}, 20400, 'settings.external_id'],
      [{external_id: 'x'}, 20400, 'settings.external_id'],
      [{partition_key: 'iccid'}, 20400, 'settings.partition_key'],
      [{batch_max: 501}, 20400, 'settings.batch_max'],
      [{url: 'https://x.test/'}, 20001, 'settings.url'],
    ]) {
      const {status, body, text} = await create({...arns(), ...bad});
      assert.equal(status, 400, text);
      assert.equal(body.code, code, text);
      assert.ok(text.includes(place), text);
    }
  });

  test('the kind stays, and a stream signs nothing', async () => {
    const {body: {id}} = await create(arns());
    const change = await server.api('PATCH', `/v1/destinations/${id}`, {kind: 'webhook'});
    assert.equal(change.status, 400);
    assert.match(change.text, /kind cannot be changed/);
    const secret = await server.api('POST', `/v1/destinations/${id}/signing-secret`);
    assert.equal(secret.status, 400, secret.text);
  });

  test('an external id belongs to one account', async () => {
    const {body: {settings: {external_id: externalId}}} = await create(arns());
    const {id: account} = await server.must('POST', '/v1/accounts', {friendly_name: 'Other'});
    const theirs = await server.api('POST', `/v1/destinations?account_id=${account}`,
      {name: 'theirs', kind: 'kinesis', settings: {...arns(), external_id: externalId}});
    assert.equal(theirs.status, 409, theirs.text);
    assert.equal(theirs.body.code, 20409);
    assert.ok(!theirs.text.includes(externalId));
  });

  test('the command line takes it as it is', async () => {
    const env = {MILLRACE_URL: server.url, MILLRACE_CLIENT_ID: server.client_id,
      MILLRACE_CLIENT_SECRET: server.client_secret};
    const file = writeJson(path.join(server.home, 'stream.json'),
      {name: 'by command', kind: 'kinesis', settings: rig.destination('events')});
    const made = millrace(['destinations', 'create', file], {env});
    assert.equal(made.status, 0, made.stderr);
    const {id, kind} = JSON.parse(made.stdout);
    assert.equal(kind, 'kinesis');
    // Not in this process: the rig has to answer meanwhile.
    const child = spawn(binary, ['test', id], {env: {...process.env, ...env}});
    let out = '';
    child.stdout.on('data', (bytes) => { out += bytes; });
    const status = await new Promise((resolve) => { child.on('exit', resolve); });
    assert.equal(status, 1, out);
    assert.match(out, /assume_role +ok/);
    assert.match(out, /put_record +FAILED.*What to do: check name, region and account/);
  });
});
