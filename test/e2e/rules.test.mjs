// Streaming rules through the API and on the wire: filters, versions, sampling, and the preview.
import assert from 'node:assert/strict';
import path from 'node:path';
import {after, before, describe, test} from 'node:test';

import {connectionData, event, folder, millrace, Receiver, remove, Server, until, writeJson}
  from './harness.mjs';

const started = 'com.kore.iot.supersim.connection.data-session.started';
const ended = 'com.kore.iot.supersim.connection.data-session.ended';
const example = (name) => connectionData(`data-session.${name}`);

let server;
let receiver;
before(async () => {
  receiver = await Receiver.start({tls: false});
  server = await Server.start({settings: {allow_http: true, workers: 2}});
});
after(async () => {
  await server.end();
  await receiver.end();
});

let count = 0;
async function destination(mode = 'ok') {
  const at = `/rules-${++count}`;
  receiver.modes.set(at, mode);
  return {...await server.destination(receiver.url + at), at};
}
const rule = (to, members) => server.must('POST', '/v1/streaming-rules',
  {name: 'r', destination_id: to.id, event_types: [{type: 'com.example.test'}], ...members});
const patch = (made, change) => server.must('PATCH', `/v1/streaming-rules/${made.id}`, change);
const ids = (to) => receiver.events(to.at).map((one) => one.id);
const publish = (...events) => server.must('POST', '/v1/events', events);

// An event that the destination takes for sure, published behind the others: once it has come,
// whatever was owed before it has come too.
async function settle(to, type = 'com.example.fence') {
  const fence = event({type});
  await rule(to, {event_types: [{type}]});
  await publish(fence);
  await until('the fence', () => ids(to).includes(fence.id));
  return ids(to).filter((id) => id !== fence.id);
}

test('a filter lets through what it says, and a change takes effect at once', async () => {
  const to = await destination();
  const made = await rule(to, {filter: {pattern: {data: {site: ['a']}}}});
  assert.deepEqual(made.filter, {pattern: {data: {site: ['a']}}});
  const [a1, b1, a2, b2] = ['a', 'b', 'a', 'b'].map((site) => event({}, {site}));
  await publish(a1, b1);
  await patch(made, {filter: {cesql: 'EXISTS subject'}});
  await publish(a2, {...b2, subject: 's'});
  assert.deepEqual(await settle(to), [a1.id, b2.id]);
  const [listed] = (await server.must('GET', `/v1/streaming-rules?destination_id=${to.id}`)).data;
  assert.deepEqual(listed.filter, {cesql: 'EXISTS subject'});
});

test('a patch replaces a filter whole, null takes it away, silence leaves it', async () => {
  const to = await destination();
  const made = await rule(to, {filter: {pattern: {data: {site: ['a']}}}});
  assert.deepEqual((await patch(made, {name: 'n'})).filter, {pattern: {data: {site: ['a']}}});
  assert.deepEqual((await patch(made, {filter: {pattern: {subject: ['s']}}})).filter,
    {pattern: {subject: ['s']}});
  assert.equal((await patch(made, {filter: null})).filter, null);
  const any = event();
  await publish(any);
  assert.deepEqual(await settle(to), [any.id]);
});

test('a filter outlives a restart', async () => {
  const own = await Server.start({settings: {allow_http: true}});
  try {
    const to = await own.destination(`${receiver.url}/restart`);
    const made = await own.must('POST', '/v1/streaming-rules', {name: 'r', destination_id: to.id,
      event_types: [{type: 'com.example.test'}], filter: {cesql: "subject = 'yes'"}});
    await own.stop();
    await own.serve();
    const found = await own.must('GET', `/v1/streaming-rules/${made.id}`);
    assert.deepEqual(found.filter, {cesql: "subject = 'yes'"});
    const [no, yes] = [event({subject: 'no'}), event({subject: 'yes'})];
    await own.publish([no, yes]);
    await until('the delivery', () => receiver.events('/restart').length > 0);
    assert.deepEqual(receiver.events('/restart').map((one) => one.id), [yes.id]);
  } finally {
    await own.end();
  }
});

test('filters see the event complete: specversion, time, dataschema, content type', async () => {
  const to = await destination();
  await rule(to, {event_types: [{type: started}], filter: {cesql: "specversion = '1.0' AND "
    + "EXISTS time AND dataschema LIKE '%/schemas/SuperSim.ConnectionEvent/2' AND "
    + "datacontenttype = 'application/json' AND n = 7"}});
  const one = {specversion: '1.0', id: 'complete', source: '/s', type: started, n: 7,
    data: example('started')};
  await publish(one, {...one, id: 'other', n: 8});
  assert.deepEqual(await settle(to), ['complete']);
});

test('a failing filter does not match and is counted', async () => {
  const to = await destination();
  const before_ = (await server.metrics()).millrace_filter_errors_total;
  await rule(to, {event_types: [{type: 'com.example.bad'}], filter: {cesql: 'INT(subject) = 1'}});
  await publish(event({type: 'com.example.bad', subject: 'x'}),
    event({type: 'com.example.bad', subject: '1', id: 'right'}));
  assert.deepEqual(await settle(to), ['right']);
  assert.equal((await server.metrics()).millrace_filter_errors_total, before_ + 1);
});

test('a disabled rule stops at once', async () => {
  const to = await destination();
  const made = await rule(to, {});
  const [first, second, third] = [event(), event(), event()];
  await publish(first);
  await patch(made, {status: 'disabled'});
  await publish(second);
  await patch(made, {status: 'enabled'});
  await publish(third);
  assert.deepEqual(await settle(to), [first.id, third.id]);
});

test('two rules to one destination deliver once, and the delivery names both', async () => {
  const to = await destination();
  const type = 'com.example.both';
  const one = await rule(to, {event_types: [{type}], filter: {pattern: {data: {n: [1]}}}});
  const two = await rule(to, {event_types: [{type}]});
  const three = await rule(to, {event_types: [{type}], filter: {pattern: {data: {n: [2]}}}});
  const made = event({type});
  await publish(made);
  assert.deepEqual(await settle(to), [made.id]);
  receiver.modes.set(to.at, 400);
  await publish(event({type}));
  const letters = await until('a dead letter', async () => {
    const {data} = await server.must('GET', `/v1/dead-letters?destination_id=${to.id}`);
    return data.length > 0 && data;
  });
  assert.equal(letters.length, 1);
  assert.deepEqual(letters[0].rules.sort(), [one.id, two.id].sort());
  assert.ok(!letters[0].rules.includes(three.id));
});

test('a star takes types of its product group, later ones with it, none of others', async () => {
  const to = await destination();
  await rule(to, {product_group: 'Connectivity', event_types: [{type: '*'}],
    filter: {pattern: {data: {event_type: [{exists: true}]}}}});
  const [a, b] = [event({type: started}, example('started')), event({type: ended}, example('ended'))];
  await publish(a, b, event({type: 'com.example.unknown'}, {event_type: 'x'}));
  assert.deepEqual((await settle(to)).sort(), [a.id, b.id].sort());
});

test('sampling takes about one in N and the same ones again', async () => {
  const [to, again] = [await destination(), await destination()];
  for (const at of [to, again]) {
    await rule(at, {sampling: 10, event_types: [{type: 'com.example.sampled'}]});
  }
  const events = Array.from({length: 1000}, () => event({type: 'com.example.sampled'}));
  await publish(...events);
  const taken = await settle(to);
  assert.ok(taken.length > 50 && taken.length < 160, `${taken.length}`);
  assert.deepEqual((await settle(again)).sort(), taken.sort());
});

test('what is wrong with a filter is refused with its place', async () => {
  const to = await destination();
  const rows = [
    [{cesql: 'a ='}, /filter\.cesql: line 1, column \d+: expected /],
    [{cesql: 'a = 1 AND\n  b ~ 2'}, /filter\.cesql: line 2, column \d+: expected /],
    [{cesql: 7}, /filter\.cesql must be a string/],
    [{cesql: 'x'.repeat(9000)}, /filter\.cesql: .*8/],
    [{pattern: {data: {site: 'a'}}}, /filter\.pattern: at "\/data\/site": expected /],
    [{pattern: {data: {site: [{prefix: 1}]}}}, /filter\.pattern: at "\/data\/site\/0\/prefix"/],
    [{pattern: []}, /filter\.pattern must be an object/],
    [{pattern: {data: {site: ['a'.repeat(20000)]}}}, /filter\.pattern: .*16/],
    [{}, /one of the members pattern and cesql/],
    [{pattern: {}, cesql: 'true'}, /one of the members pattern and cesql/],
    ['true', /filter must be/],
  ];
  const body = {name: 'r', destination_id: to.id, event_types: [{type: 'a'}]};
  for (const [filter, message] of rows) {
    const answer = await server.api('POST', '/v1/streaming-rules', {...body, filter});
    assert.deepEqual([answer.status, answer.body.code], [400, 31020], JSON.stringify(filter));
    assert.match(answer.body.message, message);
    const draft = await server.api('POST', '/v1/streaming-rules/preview',
      {rule: {...body, filter}, events: []});
    assert.deepEqual([draft.status, draft.body.message], [400, answer.body.message]);
  }
  const unknown = await server.api('POST', '/v1/streaming-rules', {...body, filter: {sql: 'true'}});
  assert.deepEqual([unknown.status, unknown.body.code], [400, 20001]);
  assert.match(unknown.body.message, /filter\.sql/);
  const made = await rule(to, {filter: {cesql: 'true'}});
  const bad = await server.api('PATCH', `/v1/streaming-rules/${made.id}`, {filter: {cesql: '('}});
  assert.equal(bad.body.code, 31020);
  const kept = await server.must('GET', `/v1/streaming-rules/${made.id}`);
  assert.deepEqual(kept.filter, {cesql: 'true'});
});

describe('the preview', () => {
  const preview = (draft, events, to = server) => to.must('POST', '/v1/streaming-rules/preview',
    events === undefined ? {rule: draft} : {rule: draft, events});

  test('of more given events than a reader takes in one step judges all, in order', async () => {
    const to = await destination();
    const draft = {name: 'r', destination_id: to.id, event_types: [{type: 'com.example.test'}],
      filter: {pattern: {data: {n: [{numeric: ['<', 100]}]}}}};
    const given = Array.from({length: 200}, (_, n) => event({}, {n}));
    const answer = await preview(draft, given);
    assert.deepEqual([answer.events, answer.matched, answer.not_matched], [200, 100, 100]);
    assert.deepEqual(answer.matches.map((one) => one.id), given.slice(0, 100).map((one) => one.id));
    assert.deepEqual(answer.misses.map((one) => one.id), given.slice(100).map((one) => one.id));
  });

  test('of given events tells which match, and why not the others', async () => {
    const draft = {product_group: 'Connectivity', sampling: 1,
      event_types: [{type: 'com.example.test'}, {type: '*', schema_version: 1}],
      filter: {pattern: {subject: ['s']}}};
    const events = [event({subject: 's'}), event({subject: 't'}), event({type: 'com.example.no'}),
      event({type: started, subject: 's'}, example('started'))];
    const told = await preview(draft, events);
    assert.deepEqual([told.source, told.is_complete, told.events, told.matched, told.not_matched],
      ['given', true, 4, 2, 2]);
    assert.deepEqual(told.matches.map((one) => one.id), [events[0].id, events[3].id]);
    assert.deepEqual(told.matches[0].event, events[0]);
    assert.deepEqual(told.matches.map((one) => [one.schema_version, one.delivered_version]),
      [[null, null], [2, 1]]);
    assert.deepEqual(told.misses.map((one) => [one.id, one.reason]),
      [[events[1].id, 'filter'], [events[2].id, 'product_group']]);
    assert.match(told.misses[0].detail, /subject/);
    assert.deepEqual(told.reasons,
      {type: 0, product_group: 1, filter: 1, sampling: 0, disabled: 0});
  });

  test('tells types, sampling and a disabled rule as reasons', async () => {
    const events = Array.from({length: 50}, () => event());
    const type = await preview({event_types: [{type: 'com.example.other'}]}, events);
    assert.equal(type.reasons.type, 50);
    assert.match(type.misses[0].detail, /com\.example\.test/);
    const sampled = await preview({event_types: [{type: 'com.example.test'}], sampling: 5}, events);
    assert.equal(sampled.matched + sampled.reasons.sampling, 50);
    assert.ok(sampled.matched > 0 && sampled.reasons.sampling > 0);
    const off = await preview({event_types: [{type: 'com.example.test'}], status: 'disabled'},
      events);
    assert.deepEqual([off.matched, off.reasons.disabled], [0, 50]);
  });

  test('agrees with what is then delivered', async () => {
    const to = await destination();
    const members = {event_types: [{type: 'com.example.agree'}], sampling: 2,
      filter: {cesql: "LEFT(subject, 1) = 'a' OR n > 5"}};
    const events = Array.from({length: 60}, (_, i) => event(
      {type: 'com.example.agree', n: i % 10, ...(i % 3 ? {subject: 'ab'.charAt(i % 2)} : {})}));
    const given = await preview(members, events);
    await rule(to, members);
    await publish(...events);
    const stored = await preview(members);
    const delivered = await settle(to);
    const wanted = given.matches.map((one) => one.id).sort();
    assert.ok(wanted.length > 5 && wanted.length < 55);
    assert.deepEqual(delivered.sort(), wanted);
    assert.deepEqual(stored.matches.map((one) => one.id).sort(), wanted);
    assert.ok(given.filter_errors > 0);
  });

  test('of stored events takes the last 1,000 of the account, newest first', async () => {
    const own = await Server.start();
    try {
      const none = await preview({event_types: [{type: 'com.example.test'}]}, undefined, own);
      assert.deepEqual([none.events, none.source, none.is_complete], [0, 'stored', true]);
      for (let i = 0; i < 11; i++) {
        await own.must('POST', '/v1/events', Array.from({length: 100}, (_, k) =>
          event({id: `e-${i * 100 + k}`}, {n: i * 100 + k, text: '\u00e9"\\'})));
      }
      const draft = {event_types: [{type: 'com.example.test'}],
        filter: {pattern: {data: {n: [{numeric: ['>=', 1050]}]}}}};
      const told = await preview(draft, undefined, own);
      assert.deepEqual([told.events, told.matched, told.unreadable], [1000, 50, 0]);
      assert.equal(told.matches[0].id, 'e-1099');
      assert.equal(told.matches.filter((one) => one.event).length, 10);
      assert.deepEqual(told.matches[0].event.data, {n: 1099, text: '\u00e9"\\'});
      assert.equal(told.misses.at(-1).id, 'e-100');
      await own.stop();
      await own.serve();
      // The start has opened a new segment of the journal.
      await own.must('POST', '/v1/events', Array.from({length: 30}, (_, k) =>
        event({id: `e-${2000 + k}`}, {n: 2000 + k})));
      const later = await preview(draft, undefined, own);
      assert.deepEqual([later.events, later.matched, later.is_complete], [1000, 80, true]);
      assert.deepEqual([0, 29, 30, 79].map((i) => later.matches[i].id),
        ['e-2029', 'e-2000', 'e-1099', 'e-1050']);
    } finally {
      await own.end();
    }
  });

  test('refuses what is no draft and no event', async () => {
    const draft = {event_types: [{type: 'a'}]};
    const rows = [
      [{}, 20002, /rule/], [{rule: 7}, 20400, /object/], [{rule: {}}, 20002, /event_types/],
      [{rule: draft, events: {}}, 20400, /events/], [{rule: draft, more: 1}, 20001, /more/],
      [{rule: {...draft, colour: 1}}, 20001, /rule\.colour/],
      [{rule: {...draft, destination_id: 'dst_none'}}, 31020, /dst_none/],
      [{rule: draft, events: [event(), {...event(), source: undefined}]}, 31001, /number 1.*source/],
      [{rule: draft, events: [event({type: started, dataschema: '/schemas/none/1'})]}, 31002,
        /dataschema/],
      [{rule: draft, events: Array.from({length: 1001}, () => event())}, 31001, /1,?000/],
    ];
    for (const [body, code, message] of rows) {
      const answer = await server.api('POST', '/v1/streaming-rules/preview', body);
      assert.deepEqual([answer.status >= 400, answer.body.code], [true, code], answer.text);
      assert.match(answer.body.message, message);
    }
  });

  test('many at once are bounded and the server goes on', async () => {
    const draft = {event_types: [{type: 'com.example.test'}]};
    const answers = await Promise.all(Array.from({length: 40}, () =>
      server.api('POST', '/v1/streaming-rules/preview', {rule: draft})));
    const kinds = new Set(answers.map((one) => one.status));
    kinds.delete(200);
    kinds.delete(429);
    assert.equal(kinds.size, 0);
    assert.ok(answers.some((one) => one.status === 200));
    assert.equal((await server.api('POST', '/v1/streaming-rules/preview', {rule: draft})).status,
      200);
  });

  test('is a command', async () => {
    const dir = folder('preview');
    try {
      const env = {MILLRACE_URL: server.url, MILLRACE_CLIENT_ID: server.client_id,
        MILLRACE_CLIENT_SECRET: server.client_secret};
      const draft = writeJson(path.join(dir, 'rule.json'), {event_types: [{type: 'a.b'}]});
      const one = writeJson(path.join(dir, 'event.json'), event({type: 'a.b'}));
      const two = writeJson(path.join(dir, 'events.json'), [event({type: 'a.b'}), event()]);
      const told = (...args) => {
        const done = millrace(['rules', 'preview', draft, ...args], {env});
        assert.equal(done.status, 0, done.stderr);
        return JSON.parse(done.stdout);
      };
      assert.equal(told('--events', one).matched, 1);
      assert.deepEqual([told('--events', two).events, told('--events', two).matched], [2, 1]);
      assert.equal(told().source, 'stored');
      assert.equal(millrace(['rules', 'preview', draft, '--events'], {env}).status, 2);
      writeJson(draft, {event_types: []});
      const bad = millrace(['rules', 'preview', draft], {env});
      assert.equal(bad.status, 1);
      assert.match(bad.stderr, /event_types/);
    } finally {
      remove(dir);
    }
  });
});
