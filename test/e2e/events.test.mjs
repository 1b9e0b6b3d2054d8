// Events by type, schema version and content, through the API and on the wire: what a rule asks for
// is what arrives, byte for byte, and what breaks its schema does not get in.
import assert from 'node:assert/strict';
import {randomUUID} from 'node:crypto';
import {readFileSync} from 'node:fs';
import path from 'node:path';
import {after, afterEach, before, describe, test} from 'node:test';
import {Receiver, Server, event, root, until} from './harness.mjs';

const slow = Number(process.env.MR_TEST_SLOW ?? 1);
const ended = 'com.kore.iot.supersim.connection.data-session.ended';
const started = 'com.kore.iot.supersim.connection.data-session.started';
const example = (name) => JSON.parse(readFileSync(
  path.join(root, `data/schemas/supersim.connection.data-session.${name}.example.json`), 'utf8'));

let server;
let receiver;
before(async () => {
  receiver = await Receiver.start({tls: false});
  server = await Server.start({settings: {allow_http: true, workers: 2}});
});
after(async () => {
  await server?.end();
  await receiver?.end();
});

async function destination(settings = {}, mode = 'ok') {
  const at = `/${randomUUID()}`;
  receiver.modes.set(at, mode);
  return {...await server.destination(receiver.url + at, settings), at};
}

// types: {type: version}
const rule = (to, types, members = {}) => server.must('POST', '/v1/streaming-rules',
  {name: 'r', destination_id: to.id, event_types: Object.entries(types).map(
    ([type, version]) => ({type, schema_version: version})), ...members});
const bodies = (to) => receiver.requests.filter((one) => one.path === to.at)
  .map((one) => one.body.toString());
const arrived = (to, n = 1) => until(`${n} at ${to.at}`, () =>
  receiver.events(to.at).length >= n && receiver.events(to.at));
const publish = (...events) => server.must('POST', '/v1/events', events);
const letters = (to) => until('a dead letter', async () => {
  const {data} = await server.must('GET', `/v1/dead-letters?destination_id=${to.id}`);
  return data.length > 0 && data;
});

// What comes through a rule for all that is published behind: once it has come, nothing is on its way.
async function settled(to) {
  const fence = event({type: `com.example.fence.${randomUUID()}`});
  await rule(to, {[fence.type]: null});
  await publish(fence);
  await until('the fence', () => receiver.events(to.at).some((one) => one.id === fence.id));
  return receiver.events(to.at).filter((one) => one.id !== fence.id);
}

function refused(answer, code) {
  assert.deepEqual([answer.status, answer.body?.code], [400, code], answer.text);
  return answer.body.errors;
}

// A schema of the operator's and an event type by it.
async function type(...documents) {
  const schema = `E2e.${randomUUID()}`;
  const name = `com.example.${randomUUID()}`;
  for (const [i, [document, sample]] of documents.entries()) {
    const body = {document, examples: [sample]};
    await (i === 0 ? server.must('POST', '/v1/schemas', {name: schema, ...body})
      : server.must('POST', `/v1/schemas/${schema}/versions`, body));
  }
  await server.must('POST', '/v1/event-types', {name, product: 'P', product_group: 'G', schema});
  return {name, schema, url: (version) => `${server.url}/schemas/${schema}/${version}`};
}

const whole = {type: 'integer'};

describe('schema versions', () => {
  test('a rule on version 1 gets version 1 of the bytes, one on version 2 all of them', async () => {
    const [first, second, latest] = [await destination(), await destination(), await destination()];
    await rule(first, {[ended]: 1});
    await rule(second, {[ended]: 2});
    await rule(latest, {[ended]: null});
    const [head, tail] = ['{"event_sid":"EZ-1","event_type":"' + ended + '","account_sid":"AC-1",'
      + '"sim_sid":"HS-1","sim_iccid":"89883070000044236204","timestamp":"2025-11-26T09:14:02Z",'
      + '"data_total":1536.0', ',"unknown":{"data_session_data_total":1e2},"note":"\u00e9\\"/"}'];
    const added = ',"data_session_data_upload":10752,"data_session_data_download":41984,'
      + '"data_session_data_total":5.2736e4';
    const id = randomUUID();
    const before_ = `"id":"${id}","time":"2025-11-26T09:14:03.0000000+00:00","type":"${ended}",`
      + '"source":"/s"';
    const behind = '"specversion":"1.0","datacontenttype":"application/json","subject":"x","ext":7';
    const answer = await server.api('POST', '/v1/events', `{"specversion":"1.0","subject":"x",`
      + `"ext":7, "data": ${head}${added}${tail}, ${before_}}`,
    {'content-type': 'application/cloudevents+json'});
    assert.equal(answer.status, 202, answer.text);
    const wanted = (version, data) => `[{"data":${data},${before_},"dataschema":"${server.url}`
      + `/schemas/SuperSim.ConnectionEvent/${version}",${behind}}]`;
    for (const to of [first, second, latest]) {
      await arrived(to);
    }
    assert.deepEqual(bodies(first), [wanted(1, head + tail)]);
    assert.deepEqual(bodies(second), [wanted(2, head + added + tail)]);
    assert.deepEqual(bodies(latest), [wanted(2, head + added + tail)]);
  });

  test('types of one rule have versions of their own, a star has one for all others', async () => {
    const [named, star, both] = [await destination(), await destination(), await destination()];
    await rule(named, {[ended]: 1, [started]: 2});
    await rule(star, {[ended]: 2, '*': 1}, {product_group: 'Connectivity'});
    await rule(both, {[ended]: 1, '*': 2}, {product_group: 'Connectivity'});
    const events = [event({type: ended}, example('ended')),
      event({type: started}, {...example('started'), data_session_data_total: 0})];
    await publish(...events);
    for (const [to, versions] of [[named, [1, 2]], [star, [2, 1]], [both, [2, 2]]]) {
      const came = await arrived(to, 2);
      for (const [i, version] of versions.entries()) {
        const one = came.find((each) => each.id === events[i].id);
        assert.ok(one.dataschema.endsWith(`/SuperSim.ConnectionEvent/${version}`), one.dataschema);
        assert.equal('data_session_data_total' in one.data, version === 2);
      }
    }
  });

  const deep = (added) => ({
    type: 'object',
    required: ['id'],
    properties: {
      id: whole,
      doors: {type: 'array', items: {$ref: '#/definitions/door'}},
      pair: {type: 'array', items: [whole, {properties: {x: whole, ...added.pair}}]},
      site: {allOf: [{properties: {name: {type: 'string'}}}, {properties: {...added.site}}]},
      ...added.top,
    },
    definitions: {door: {type: 'object', properties: {n: whole,
      next: {$ref: '#/definitions/door'}, ...added.door}}},
  });
  const older = deep({});
  const newer = deep({top: {colour: {type: 'string'}}, door: {open: {type: 'boolean'}},
    pair: {y: whole}, site: {country: {type: 'string'}}});

  test('members are left out at every level of an operator\'s own schema', async () => {
    const made = await type([older, {id: 1}], [newer, {id: 1}]);
    const [one, two] = [await destination(), await destination()];
    await rule(one, {[made.name]: 1});
    await rule(two, {[made.name]: 2});
    const data = {colour: 'red', id: 1, colours: 1,
      doors: [{open: true, n: 1, next: {n: 2, open: false, next: {open: true}}, more: {open: 1}}, {}],
      pair: [1, {y: 2, x: 3}, {y: 4}], site: {country: 'DE', name: 'a', zip: '1'}};
    await publish(event({type: made.name, id: 'deep'}, data));
    const [v1] = await arrived(one);
    const [v2] = await arrived(two);
    assert.equal(JSON.stringify(v2.data), JSON.stringify(data));
    assert.equal(JSON.stringify(v1.data), JSON.stringify({id: 1, colours: 1,
      doors: [{n: 1, next: {n: 2, next: {}}, more: {open: 1}}, {}],
      pair: [1, {x: 3}, {y: 4}], site: {name: 'a', zip: '1'}}));
    assert.deepEqual([v1.dataschema, v2.dataschema], [made.url(1), made.url(2)]);
  });

  test('an older event goes to a rule on a newer version as it is', async () => {
    const made = await type([older, {id: 1}], [newer, {id: 1}]);
    const to = await destination();
    await rule(to, {[made.name]: 2});
    await publish(event({type: made.name, dataschema: `/schemas/${made.schema}/1`},
      {id: 1, colour: 'kept: version 1 does not know it'}));
    const [came] = await arrived(to);
    assert.equal(came.dataschema, made.url(1));
    assert.equal(came.data.colour, 'kept: version 1 does not know it');
  });

  test('a retry, a restart and a redrive send the version that was owed', async () => {
    const made = await type([older, {id: 1}], [newer, {id: 1}]);
    const own = await destination({retry_policy: {delays_ms: [10, 20, 600000]}}, 500);
    const dead = await destination({retry_policy: {delays_ms: []}}, 500);
    const owed = await rule(own, {[made.name]: 1});
    await rule(dead, {[made.name]: 1});
    await publish(event({type: made.name, time: '2025-11-26T09:14:03Z'}, {id: 1, colour: 'red'}));
    await until('three attempts', () => bodies(own).length >= 3);
    await letters(dead);
    await server.must('PATCH', `/v1/streaming-rules/${owed.id}`,
      {event_types: [{type: made.name, schema_version: 2}]});
    await server.stop();
    await server.serve();
    receiver.modes.set(dead.at, 'ok');
    const [letter] = await letters(dead);
    await server.must('POST', '/v1/dead-letters/redrive', {ids: [letter.id]});
    await until('the redriven', () => bodies(dead).length >= 2);
    for (const to of [own, dead]) {
      assert.equal(new Set(bodies(to)).size, 1, bodies(to).join('\n'));
      assert.match(bodies(to)[0], /^\[\{"data":\{"id":1\},.*"dataschema":"[^"]*\/1"/);
    }
  });

  test('other formats name the version delivered, too', async () => {
    const made = await type([older, {id: 1}], [newer, {id: 1}]);
    const binary = await destination({format: 'ce-binary'});
    const structured = await destination({format: 'ce-structured'});
    for (const to of [binary, structured]) {
      await rule(to, {[made.name]: 1});
    }
    await publish(event({type: made.name}, {colour: 'red', id: 1}));
    for (const to of [binary, structured]) {
      await until('it', () => bodies(to).length === 1);
    }
    const [head] = receiver.requests.filter((one) => one.path === binary.at);
    assert.deepEqual([head.headers['ce-dataschema'], bodies(binary)], [made.url(1), ['{"id":1}']]);
    const whole_ = JSON.parse(bodies(structured)[0]);
    assert.deepEqual([whole_.dataschema, whole_.data], [made.url(1), {id: 1}]);
  });
});

describe('rules', () => {
  test('two to one destination deliver once, by the newest version, and are both named', async () => {
    const to = await destination({retry_policy: {delays_ms: []}}, 500);
    const rules = [await rule(to, {[ended]: 1}), await rule(to, {[ended]: 2}),
      await rule(to, {[ended]: 1}, {status: 'disabled'})];
    const one = event({type: ended}, example('ended'));
    await publish(one);
    const found = await letters(to);
    assert.equal(found.length, 1);
    assert.deepEqual(found[0].rules.sort(), [rules[0].id, rules[1].id].sort());
    const [body, ...more] = bodies(to);
    assert.deepEqual(more, []);
    assert.match(JSON.parse(body)[0].dataschema, /\/2$/);
    assert.equal((await server.counters(to)).dead, 1);
  });

  test('a changed filter and a disabled rule take effect with their answer', async () => {
    const to = await destination();
    const made = await rule(to, {'com.example.seat': null}, {filter: {pattern: {data: {n: [1]}}}});
    const change = (members) => server.must('PATCH', `/v1/streaming-rules/${made.id}`, members);
    const send = (id, n, subject = 'none') =>
      publish(event({type: 'com.example.seat', id, subject}, {n}));
    const wanted = [];
    for (let round = 0; round < 20; round++) {
      await send(`a${round}`, 1);
      await send(`b${round}`, 2);
      await change({filter: {cesql: `subject = 's${round}'`}});
      await send(`c${round}`, 1);
      await send(`d${round}`, 2, `s${round}`);
      await change({status: 'disabled'});
      await send(`e${round}`, 1, `s${round}`);
      await change({status: 'enabled', filter: {pattern: {data: {n: [1]}}}});
      wanted.push(`a${round}`, `d${round}`);
    }
    assert.deepEqual((await settled(to)).map((one) => one.id).sort(), wanted.sort());
    assert.equal((await server.counters(to)).skipped, 0);
  });
});

describe('validation', () => {
  const account = (settings) => server.must('PATCH', `/v1/accounts/${server.account_id}`, {settings});
  afterEach(() => account({validate: 'reject', unknown_types: 'accept'}));

  test('reject: one wrong event refuses the call, with index, place and rule', async () => {
    const to = await destination();
    await rule(to, {[ended]: null});
    const good = event({type: ended}, example('ended'));
    const bad = event({type: ended}, {...example('ended'), timestamp: 'today', imsi: 7,
      location: {lat: 91}});
    const {invalid} = {invalid: (await server.metrics()).millrace_events_invalid_total};
    const answer = await server.api('POST', '/v1/events', [good, bad, {...good, id: 'third'}]);
    const errors = refused(answer, 31002);
    assert.deepEqual(errors.map((one) => [one.index, one.pointer, one.rule]).sort(), [
      [1, '/data/imsi', 'type'], [1, '/data/location/lat', 'maximum'],
      [1, '/data/timestamp', 'format']]);
    const text = JSON.stringify([good, bad, {...good, id: 'third'}]);
    for (const one of errors) {
      assert.ok(/^("today"|7|91)/.test(text.slice(one.offset)), `${one.offset} ${one.pointer}`);
      assert.ok(one.message.length > 10);
    }
    assert.equal((await server.metrics()).millrace_events_invalid_total, invalid + 1);
    await publish(good); // no duplicate: nothing of the call was stored
    assert.deepEqual((await settled(to)).map((one) => one.id), [good.id]);
  });

  test('20 errors at most are told, of one event and of many', async () => {
    const made = await type([{type: 'object', additionalProperties: whole}, {}]);
    const data = Object.fromEntries(Array.from({length: 50}, (_, i) => [`m${i}`, 'x']));
    assert.equal(refused(await server.publish(event({type: made.name}, data)), 31002).length, 20);
    const many = Array.from({length: 40}, () => event({type: made.name}, {a: 'x'}));
    const errors = refused(await server.publish(many), 31002);
    assert.deepEqual(errors.map((one) => one.index), Array.from({length: 20}, (_, i) => i));
  });

  test('the version that dataschema names judges, and it must be of the type\'s schema', async () => {
    const made = await type([{properties: {a: whole}}, {a: 1}],
      [{properties: {a: {type: ['integer', 'string']}}}, {a: 'x'}]);
    const send = (dataschema, data) => server.publish(
      event({type: made.name, ...(dataschema ? {dataschema} : {})}, data));
    assert.equal((await send(undefined, {a: 'x'})).status, 202);
    assert.equal((await send(made.url(2), {a: 'x'})).status, 202);
    refused(await send(made.url(1), {a: 'x'}), 31002);
    refused(await send(`/schemas/${made.schema}/1`, {a: 'x'}), 31002);
    assert.equal((await send('https://example.org/other', {a: []})).status, 202);
    for (const wrong of ['/schemas/test/1', `/schemas/${made.schema}/3`, '/schemas/None/1']) {
      const [error] = refused(await send(wrong, {a: 1}), 31002);
      assert.deepEqual([error.pointer, error.rule], ['/dataschema', 'dataschema'], wrong);
    }
  });

  test('binary form is judged; an event without JSON data keeps no contract of data', async () => {
    const made = await type([{properties: {a: whole}}, {a: 1}]);
    const send = (body, contentType = 'application/json') => server.api('POST', '/v1/events', body, {
      'content-type': contentType, 'ce-specversion': '1.0', 'ce-id': randomUUID(), 'ce-source': '/s',
      'ce-type': made.name});
    assert.equal((await send('{"a":1}')).status, 202);
    const [error] = refused(await send('{"a":"x"}'), 31002);
    assert.deepEqual([error.pointer, error.rule], ['/data/a', 'type']);
    refused(await send('\u0000', 'application/octet-stream'), 31002);
    const bare = event({type: made.name});
    delete bare.data;
    refused(await server.publish(bare), 31002);
  });

  test('warn takes and counts, off does not look', async () => {
    const to = await destination();
    await rule(to, {[ended]: 1});
    const count = async () => (await server.metrics()).millrace_events_invalid_total;
    const start = await count();
    const wrong = () => event({type: ended}, {data_total: 'many', data_session_data_total: 1});
    await account({validate: 'warn'});
    await publish(wrong());
    assert.equal(await count(), start + 1);
    await account({validate: 'off'});
    await publish(wrong());
    assert.equal(await count(), start + 1);
    const came = await arrived(to, 2);
    assert.deepEqual(came.map((one) => one.data), Array(2).fill({data_total: 'many'}));
    await account({validate: 'reject'});
    refused(await server.publish(wrong()), 31002);
  });

  test('unknown types are refused where the account says so', async () => {
    await account({unknown_types: 'refuse'});
    const [error] = refused(await server.publish([event({type: ended}, example('ended')), event()]),
      31003);
    assert.deepEqual([error.index, error.pointer], [1, '/type']);
    await publish(event({type: ended}, example('ended')));
    await account({unknown_types: 'accept'});
    await publish(event());
  });
});

describe('bounded work', () => {
  // How long the longest of other calls took while the work went on.
  async function beside(work) {
    let worst = 0;
    let done = false;
    const others = (async () => {
      while (!done) {
        const from = performance.now();
        await publish(event());
        worst = Math.max(worst, performance.now() - from);
      }
    })();
    const from = performance.now();
    const answers = await work().finally(() => { done = true; });
    const took = performance.now() - from;
    await others;
    return {answers, took, worst};
  }

  test('a pattern that backtracks without end makes an error, never a hang', async () => {
    const made = await type([{properties: {a: {type: 'string', pattern: '^(a+)+$'},
      b: {type: 'string', pattern: '^(.*?,){20}x$'}}}, {a: 'a'}]);
    const n = 8;
    const {answers, took, worst} = await beside(() => Promise.all(Array.from({length: n}, (_, i) =>
      server.publish(event({type: made.name}, i % 2
        ? {a: `${'a'.repeat(200000)}!`} : {b: `${'1,'.repeat(50000)}z`})))));
    for (const answer of answers) {
      const [error] = refused(answer, 31002);
      assert.match(error.pointer, /^\/data\/[ab]$/);
    }
    assert.ok(answers.some((answer) => answer.body.errors.some((one) =>
      one.rule === 'pattern' && !one.message.includes('must match'))), answers[1].text);
    assert.ok(took < 4000 * slow, `${n} events took ${took} ms`);
    assert.ok(worst < 2000 * slow, `others waited ${worst} ms`);
  });

  test('a filter that takes too much work does not match, is counted, and holds nobody up', async () => {
    const to = await destination();
    const name = 'com.example.heavy';
    await rule(to, {[name]: null}, {filter: {pattern: {data: {x: {y: Array.from({length: 60},
      (_, i) => ({wildcard: `${'*a'.repeat(31)}${i}b`}))}}}}});
    const before_ = (await server.metrics()).millrace_filter_errors_total;
    const n = 8;
    const {answers, took, worst} = await beside(() => Promise.all(Array.from({length: n}, () =>
      server.publish(event({type: name}, {x: Array.from({length: 40}, () => ({y: 'a'.repeat(5000)}))})))));
    assert.deepEqual(answers.map((one) => one.status), Array(n).fill(202));
    assert.ok((await server.metrics()).millrace_filter_errors_total >= before_ + n);
    assert.ok(took < 4000 * slow, `${n} events took ${took} ms`);
    assert.ok(worst < 2000 * slow, `others waited ${worst} ms`);
    assert.deepEqual(await settled(to), []);
  });
});
