// No set of filters and no schema makes a call take a worker for long: what one event, and one call,
// may cost is bounded, and the answer says so.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {event, Receiver, Server, until} from './harness.mjs';

let server;
let receiver;
before(async () => {
  receiver = await Receiver.start({tls: false});
  server = await Server.start({settings: {allow_http: true, workers: 1}});
});
after(async () => {
  await server?.end();
  await receiver?.end();
});

const many = (n, make) => Array.from({length: n}, (_, i) => make(i));

test('filters that take too long match nothing, are counted, and refuse a call of many', async () => {
  const to = await server.destination(`${receiver.url}/bombs`);
  const type = 'com.example.bombs';
  const bombs = [{pattern: {data: {s: [{wildcard: `*${'a'.repeat(7000)}b*`}]}}},
    ...many(40, (i) => ({cesql: `subject LIKE '%${'a'.repeat(1000)}b${i}%'`}))];
  for (const filter of bombs) {
    await server.must('POST', '/v1/streaming-rules',
      {name: 'bomb', destination_id: to.id, event_types: [{type}], filter});
  }
  const bomb = () => event({type, subject: 'a'.repeat(8000)}, {s: 'a'.repeat(200000)});
  const errors = async () => (await server.metrics()).millrace_filter_errors_total ?? 0;
  const began = await errors();
  const one = await server.publish([bomb()]);
  assert.equal(one.status, 202, one.text);
  await until('errors counted', async () => await errors() > began);
  const refused = await server.publish(many(30, bomb));
  assert.deepEqual([refused.status, refused.body.code], [413, 20413]);
  assert.match(refused.body.message, /filters too much work; send fewer/);
  const next = await server.publish([event({type: 'com.example.other'})]);
  assert.equal(next.status, 202);
});

test('a schema that takes too long refuses an event, and a call of many', async () => {
  const web = (name) => ({definitions: {d0: {type: 'string'}, ...Object.fromEntries(many(20, (i) =>
    [`d${i + 1}`, {[name]: many(2, () => ({$ref: `#/definitions/d${i}`}))}]))},
  properties: {v: {$ref: '#/definitions/d20'}, w: {$ref: '#/definitions/d16'}}});
  const names = {allOf: 'com.example.heavy', anyOf: 'com.example.web'};
  for (const [keyword, name] of Object.entries(names)) {
    await server.must('POST', '/v1/schemas',
      {name: keyword, document: web(keyword), examples: [{}]});
    await server.must('POST', '/v1/event-types', {name, product: 'P', schema: keyword});
  }
  const hopeless = await server.publish([event({type: names.anyOf}, {v: 1})]);
  assert.deepEqual([hopeless.status, hopeless.body.code], [400, 31002]);
  assert.deepEqual(hopeless.body.errors.map((error) => error.rule), ['limit']);
  // Some 200,000 steps each: one is fine, a hundred are not.
  const heavy = (n) => server.publish(many(n, () => event({type: names.allOf}, {w: 'x'})));
  const one = await heavy(1);
  assert.equal(one.status, 202, one.text);
  const refused = await heavy(100);
  assert.deepEqual([refused.status, refused.body.code], [413, 20413]);
  assert.match(refused.body.message, /schemas too much work; send fewer/);
  const settings = (validate) => server.must('PATCH', `/v1/accounts/${server.account_id}`,
    {settings: {validate}});
  await settings('warn');
  const warned = await heavy(100);
  assert.deepEqual([warned.status, warned.body.accepted], [202, 100], warned.text);
  await settings('reject');
});

test('a version whose data cannot be taken back within bounds is refused, and nothing is stuck', async () => {
  // Each step down `a` or `b` doubles what may hold there: 2^22 places.
  const depth = 22;
  const ref = (name) => ({$ref: `#/definitions/${name}`});
  const tangle = (last) => ({...ref('s'), definitions: {
    s: {properties: {a: {allOf: [ref('s'), ref('q1')]}, b: ref('s')}},
    ...Object.fromEntries(many(depth, (i) => [`q${i + 1}`, {properties: i + 1 < depth
      ? {a: ref(`q${i + 2}`), b: ref(`q${i + 2}`)} : last}]))}});
  const examples = [{}];
  await server.must('POST', '/v1/schemas', {name: 'Tangle', document: tangle({x: {}}), examples});
  const refused = await server.api('POST', '/v1/schemas/Tangle/versions',
    {document: tangle({x: {}, y: {}}), examples, allow_breaking: true});
  assert.deepEqual([refused.status, refused.body.code], [400, 31021], refused.text);
  assert.match(refused.body.message, /projection_steps_max/);
  await server.must('POST', '/v1/schemas', {name: 'Next', document: {}, examples});
  await server.kill();
  await server.serve();
  assert.equal((await server.must('GET', '/v1/schemas/Next/versions/1')).version, 1);
});
