// Callbacks: one signed request outside event streams, durable like an event, sent at most twice.
// What arrives is judged by node's own URLSearchParams, crypto and JSON.
import assert from 'node:assert/strict';
import {createHash, randomUUID} from 'node:crypto';
import {after, before, describe, test} from 'node:test';
import {setTimeout as pause} from 'node:timers/promises';
import {Receiver, Server, certificates, event, millrace, padding, until} from './harness.mjs';

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

const sign = (note, url, key = secret) => createHash('sha256')
  .update(key + note.method + url.split(/[?#]/)[0]).update(note.body).digest('hex');
const at = (path, on = receiver) => on.requests.filter((note) => note.path === path);
const fresh = () => `/${randomUUID()}`;

async function send(body, on = server) {
  const answer = await on.api('POST', '/v1/callbacks', body);
  assert.equal(answer.status, 202, answer.text);
  return answer.body;
}

const read = (id, on = server) => on.must('GET', `/v1/callbacks/${id}`);
const over = (id, ms = 15000, on = server) => until(`the end of ${id}`, async () => {
  const callback = await read(id, on);
  return callback.status !== 'pending' && callback;
}, ms);

// ---- what goes over the wire

test('a form arrives as URLSearchParams reads it, signed, and is told as delivered', async () => {
  const path = fresh();
  const url = `${receiver.url}${path}?a=b&c=%20d#cbs=kore`;
  const parameters = {plain: 'x', 'a b': 'c+d&e=f', umlaut: 'Ä€😀', empty: '', 'q"': "'()!~*-._",
    lines: 'one\r\ntwo', number: 1.5, big: 12345678901234567890n, yes: true, no: false};
  const text = JSON.stringify({url, parameters: {...parameters, big: 0}, reference: 'ref ä 1'})
    .replace('"big":0', '"big":12345678901234567890');
  const made = await server.api('POST', '/v1/callbacks', text);
  assert.equal(made.status, 202, made.text);
  assert.match(made.body.id, /^cb_[0-9a-hjkmnp-tv-z]{26}$/);
  assert.equal(made.body.status, 'pending');
  assert.deepEqual(made.body.attempts, []);
  assert.equal(made.headers.location, `${server.url}/v1/callbacks/${made.body.id}`);
  const done = await over(made.body.id);
  const [note] = at(path);
  assert.equal(note.method, 'POST');
  assert.equal(note.url, `${path}?a=b&c=%20d`, 'its own query is sent, the fragment is not');
  assert.equal(note.headers['content-type'], 'application/x-www-form-urlencoded');
  const expected = new URLSearchParams(
    Object.entries(parameters).map(([name, value]) => [name, String(value)]));
  assert.equal(note.body.toString(), expected.toString(), 'the very bytes of URLSearchParams');
  assert.equal(note.headers['kore-signature'], sign(note, url));
  assert.equal(note.headers['user-agent'], 'KoreProxy/1.1');
  assert.match(note.headers.date, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.match(note.headers['kore-idempotency-token'],
    /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(done.status, 'delivered');
  assert.equal(done.url, url);
  assert.equal(done.reference, 'ref ä 1');
  assert.equal(done.content_type, 'form');
  assert.equal(done.attempts.length, 1);
  const [attempt] = done.attempts;
  assert.deepEqual([attempt.attempt, attempt.status, attempt.error], [1, 200, null]);
  assert.ok(attempt.duration_ms >= 0 && attempt.duration_ms < 15000);
  assert.ok(done.date_finished >= done.date_created && done.next_attempt === null);
  assert.equal(at(path).length, 1);
});

test('a GET has the parameters in the query behind its own, no body, a signature of no body',
  async () => {
    const cases = [['?x=1&y=%2F', '?x=1&y=%2F&a=1&b=%C3%A4+%26'], ['', '?a=1&b=%C3%A4+%26'],
      ['?', '?a=1&b=%C3%A4+%26'], ['?q#fragment', '?q&a=1&b=%C3%A4+%26']];
    for (const [suffix, query] of cases) {
      const path = fresh();
      const url = receiver.url + path + suffix;
      const made = await send({url, method: 'GET', parameters: {a: 1, b: 'ä &'}});
      assert.equal(made.content_type, null);
      await over(made.id);
      const [note] = at(path);
      assert.equal(note.method, 'GET');
      assert.equal(note.url, path + query);
      assert.equal(note.body.length, 0);
      assert.equal(note.headers['content-length'], undefined);
      assert.equal(note.headers['content-type'], undefined);
      assert.equal(note.headers['kore-signature'], sign(note, url));
    }
    const path = fresh();
    await over((await send({url: receiver.url + path, method: 'GET'})).id);
    assert.equal(at(path)[0].url, path);
  });

test('JSON arrives as it was given, minified, or made of the parameters', async () => {
  const bodies = [
    ['{"n":1.50,"big":123456789012345678901234567890,"b":{"z":1,"a":[true,null]}, "s":"ä\\u0041/"}',
      '{"n":1.50,"big":123456789012345678901234567890,"b":{"z":1,"a":[true,null]},"s":"äA/"}'],
    ['[1, 2]', '[1,2]'], ['"text"', '"text"'], ['false', 'false'], ['{}', '{}']];
  for (const [given, sent] of bodies) {
    const path = fresh();
    const url = receiver.url + path;
    const made = await server.api('POST', '/v1/callbacks',
      `{"url":"${url}","content_type":"json","body":${given}}`);
    assert.equal(made.status, 202, made.text);
    await over(made.body.id);
    const [note] = at(path);
    assert.equal(note.body.toString(), sent);
    assert.equal(note.headers['content-type'], 'application/json; charset=utf-8');
    assert.equal(note.headers['kore-signature'], sign(note, url));
  }
  const path = fresh();
  await over((await send({url: receiver.url + path, content_type: 'json',
    parameters: {a: 'b', n: 7, t: true}})).id);
  assert.equal(at(path)[0].body.toString(), '{"a":"b","n":7,"t":true}');
});

test('a form without parameters is an empty body', async () => {
  const path = fresh();
  await over((await send({url: receiver.url + path})).id);
  const [note] = at(path);
  assert.equal(note.body.length, 0);
  assert.equal(note.headers['content-length'], '0');
  assert.equal(note.headers['kore-signature'], sign(note, receiver.url + path));
});

test('redirects are not followed', async () => {
  const path = fresh();
  const other = fresh();
  receiver.modes.set(path, (request, response) => {
    response.writeHead(302, {location: receiver.url + other});
    response.end();
  });
  const done = await over((await send({url: receiver.url + path})).id);
  assert.equal(done.status, 'failed');
  assert.deepEqual(done.attempts.map((attempt) => attempt.status), [302]);
  assert.equal(at(other).length, 0);
});

test('without a secret the signature is there and empty; the active one signs at send time',
  async () => {
    const own = await Server.start({settings: {extra_ca_file: certificates().ca}});
    try {
      const path = fresh();
      await over((await send({url: receiver.url + path}, own)).id, 15000, own);
      assert.equal(at(path)[0].headers['kore-signature'], '');
      const first = await own.secret('first');
      const url = receiver.url + fresh();
      let answers = 0;
      receiver.modes.set(new URL(url).pathname, (request, response) => {
        response.writeHead(answers++ === 0 ? 503 : 200);
        response.end();
      });
      const made = await send({url, parameters: {a: 'b'}}, own);
      await until('the first attempt', () => at(new URL(url).pathname).length === 1);
      const second = await own.secret('second');
      await own.must('PATCH', `/v1/secrets/${second.id}`, {Status: 'active'});
      const begun = at(new URL(url).pathname).length;
      await over(made.id, 15000, own);
      const [one, two] = at(new URL(url).pathname);
      assert.equal(one.headers['kore-signature'], sign(one, url, first.secret));
      assert.equal(begun, 1, 'the second attempt came after the activation');
      assert.equal(two.headers['kore-signature'], sign(two, url, second.secret));
      assert.equal(one.headers['kore-idempotency-token'], two.headers['kore-idempotency-token']);
      assert.deepEqual(one.body, two.body);
    } finally {
      await own.end();
    }
  });

// ---- attempts

test('each answer is tried again exactly where KORE says so', async () => {
  const cases = [[200, 1], [204, 1], [299, 1], [400, 1], [401, 1], [404, 1], [407, 1], [408, 2],
    [409, 1], [410, 1], [422, 1], [423, 2], [424, 1], [429, 1], [499, 1], [500, 2], [501, 2],
    [502, 2], [503, 2], [504, 2], [599, 2]];
  await Promise.all(cases.map(async ([status, attempts]) => {
    const path = fresh();
    receiver.modes.set(path, status);
    const done = await over((await send({url: receiver.url + path, parameters: {status}})).id);
    assert.deepEqual(done.attempts.map((attempt) => attempt.status), Array(attempts).fill(status),
      `${status}`);
    assert.equal(done.status, status < 300 ? 'delivered' : 'failed', `${status}`);
    assert.equal(at(path).length, attempts, `${status}`);
    assert.deepEqual([...new Set(done.attempts.map((attempt) => attempt.error))],
      [status < 300 ? null : 'status']);
    if (attempts === 2) {
      const [one, two] = at(path);
      assert.ok(two.at - one.at >= 990, 'a second lies between');
      assert.equal(one.headers['kore-idempotency-token'], two.headers['kore-idempotency-token']);
      assert.deepEqual(one.body, two.body);
    }
  }));
});

test('a connection that dies or does not come about is tried once more, an answer that is none not', async () => {
  const dead = await Receiver.start();
  const refused = dead.url;
  await dead.end();
  const plain = await Receiver.start({tls: false});
  const cases = [['close', receiver.url, 'reset'],
    ['garbage', receiver.url, 'response', 1], ['', refused, 'connect'], ['', plain.url.replace('http:', 'https:'), 'tls'],
    ['', 'https://does-not-exist.invalid', 'name']];
  try {
    await Promise.all(cases.map(async ([mode, base, error, attempts = 2]) => {
      const path = fresh();
      receiver.modes.set(path, mode === 'garbage'
        ? (request) => request.socket.end('SMTP 220 hello\r\n\r\n') : mode);
      const done = await over((await send({url: base + path})).id, 30000);
      assert.equal(done.status, 'failed', error);
      const found = [...new Set(done.attempts.map((attempt) => attempt.error))];
      assert.equal(done.attempts.length, attempts, `${error}: ${JSON.stringify(done.attempts)}`);
      assert.deepEqual(found, [error]);
      assert.ok(done.attempts.every((attempt) => attempt.status === null));
    }));
  } finally {
    await plain.end();
  }
});

test('an answer after a failure counts', async () => {
  const path = fresh();
  let n = 0;
  receiver.modes.set(path, (request, response) => {
    response.writeHead(n++ === 0 ? 500 : 204);
    response.end();
  });
  const done = await over((await send({url: receiver.url + path})).id);
  assert.equal(done.status, 'delivered');
  assert.deepEqual(done.attempts.map((attempt) => attempt.status), [500, 204]);
});

describe('who hangs', {concurrency: true}, () => {
  test('has 15 seconds, twice, and costs nobody else anything', async () => {
    const hanging = await Receiver.start();
    hanging.behave = () => 'hang';
    try {
      const slow = await Promise.all(Array.from({length: 12}, () =>
        send({url: hanging.url + fresh(), parameters: {who: 'hangs'}})));
      await until('the first hangs', () => hanging.requests.length >= 1);
      const type = `com.example.${randomUUID()}`;
      const path = fresh();
      await server.rule(await server.destination(receiver.url + path), type);
      for (let i = 0; i < 20; i++) {
        const begun = performance.now();
        const one = fresh();
        await send({url: receiver.url + one});
        assert.equal((await server.publish(event({type}))).status, 202);
        await until('the callback of a healthy host', () => at(one).length === 1, 3000);
        await until('the delivery', () => receiver.events(path).length === i + 1, 3000);
        assert.ok(performance.now() - begun < 3000);
      }
      assert.equal(hanging.requests.length, 1, 'a host that nobody knows has one in flight');
      assert.equal((await read(slow[0].id)).status, 'pending');
      const first = await over(slow[0].id, 45000);
      assert.equal(first.status, 'failed');
      assert.deepEqual(first.attempts.map((attempt) => [attempt.status, attempt.error]),
        [[null, 'timeout'], [null, 'timeout']]);
      for (const {duration_ms: ms} of first.attempts) {
        assert.ok(ms >= 14900 && ms < 16500, `${ms}`);
      }
    } finally {
      await hanging.end();
    }
  });

  test('a stop waits for what flies, records it, and a start repeats nothing', async () => {
    const own = await Server.start({settings: {extra_ca_file: certificates().ca}});
    const slow = await Receiver.start();
    try {
      const path = fresh();
      let answer;
      slow.modes.set(path, (request, response) => {
        answer = () => response.writeHead(200).end();
      });
      const made = await send({url: slow.url + path}, own);
      await until('it flies', () => at(path, slow).length === 1);
      const rested = fresh();
      receiver.modes.set(rested, 500);
      const again = await send({url: receiver.url + rested}, own);
      await until('its first attempt', async () => (await read(again.id, own)).attempts.length === 1);
      const stopped = own.stop();
      let isOver = false;
      stopped.then(() => { isOver = true; });
      await pause(1500);
      assert.equal(isOver, false, 'a stop waits for what flies');
      answer();
      assert.equal((await stopped).code, 0);
      await own.serve();
      const done = await over(made.id, 15000, own);
      assert.equal(done.status, 'delivered');
      assert.equal(at(path, slow).length, 1, 'a clean stop makes no duplicate');
      assert.equal((await over(again.id, 15000, own)).attempts.length, 2);
      assert.equal(at(rested).length, 2, 'what was recorded is not repeated');
    } finally {
      await own.end();
      await slow.end();
    }
  });
});

// ---- durability

test('what was acknowledged is sent after kill -9, what was recorded is not sent again', async () => {
  const own = await Server.start({settings: {extra_ca_file: certificates().ca}});
  const target = await Receiver.start();
  try {
    const delivered = [];
    for (let i = 0; i < 20; i++) {
      delivered.push((await send({url: target.url + '/done', parameters: {i}}, own)).id);
    }
    await Promise.all(delivered.map((id) => over(id, 15000, own)));
    target.behave = () => 'hang';
    const pending = await Promise.all(Array.from({length: 40}, (_, i) =>
      send({url: `${target.url}/later`, parameters: {i}, reference: `p${i}`}, own)));
    await own.kill();
    target.behave = () => 'ok';
    await own.serve();
    for (const {id} of pending) {
      assert.equal((await over(id, 15000, own)).status, 'delivered');
    }
    const got = new Set(at('/later', target).map((note) => note.body.toString()));
    assert.equal(got.size, 40);
    assert.equal(at('/done', target).length, 20, 'no recorded one was repeated');
    for (const id of delivered) {
      assert.equal((await read(id, own)).status, 'delivered');
    }
    // The checkpoint of a clean stop holds them as the journal did.
    await own.stopWhole();
    const check = millrace(['check', '--data', own.data, '--json']);
    assert.equal(check.status, 0, check.stdout + check.stderr);
    const {callbacks} = JSON.parse(check.stdout);
    assert.deepEqual(callbacks,
      {created: 60, pending: 0, delivered: 60, failed: 0, failed_attempts: 0});
    await own.serve();
    assert.equal((await read(pending[7].id, own)).reference, 'p7');
    const metrics = await own.metrics();
    assert.equal(metrics['millrace_callbacks{state="delivered"}'], 60);
    assert.equal(metrics['millrace_callbacks{state="pending"}'], 0);
  } finally {
    await own.end();
    await target.end();
  }
});

test('pending ones outlive their segments: a checkpoint holds them whole', async () => {
  const own = await Server.start({settings: {extra_ca_file: certificates().ca}});
  const target = await Receiver.start();
  try {
    target.behave = () => 'hang';
    const body = {text: padding(60000)};
    const made = await Promise.all(Array.from({length: 5}, (_, i) => send(
      {url: `${target.url}/${i}`, content_type: 'json', body: {...body, i}}, own)));
    await own.stop(); // writes a checkpoint, ends with the hung request failed
    target.behave = () => 'ok';
    await own.serve();
    for (const {id} of made) {
      await over(id, 20000, own);
    }
    for (let i = 0; i < 5; i++) {
      const note = at(`/${i}`, target).at(-1);
      assert.deepEqual(JSON.parse(note.body), {...body, i});
    }
  } finally {
    await own.end();
    await target.end();
  }
});

test('where there is no room for more, nothing of it is stored and 429 says so', async () => {
  const own = await Server.start({settings: {extra_ca_file: certificates().ca}});
  const target = await Receiver.start();
  try {
    target.behave = () => 'hang';
    const text = padding(65000);
    let n = 0;
    let refused;
    while (!refused && n < 400) {
      const answers = await Promise.all(Array.from({length: 10}, () => own.api('POST',
        '/v1/callbacks', {url: `${target.url}/full`, content_type: 'json', body: text})));
      n += answers.filter((answer) => answer.status === 202).length;
      refused = answers.find((answer) => answer.status !== 202);
    }
    assert.equal(refused.status, 429, refused.text);
    assert.equal(refused.body.code, 20429);
    assert.ok(Number(refused.headers['retry-after']) >= 1);
    assert.ok(n >= 230 && n <= 260, `${n} of 65,000 bytes fit into 16 MiB`);
    const list = await own.must('GET', '/v1/callbacks?status=pending&page_size=1');
    assert.equal(list.meta_data.count, n);
    // Another account finds room, and a small one of this account does not slip past the bound.
    const account = await own.must('POST', '/v1/accounts', {friendly_name: 'other'});
    const other = await own.api('POST', `/v1/callbacks?account_id=${account.id}`,
      {url: receiver.url + fresh()});
    assert.equal(other.status, 202, other.text);
    target.behave = () => 'ok';
    await own.kill();
    await own.serve();
    await until('all are over', async () => (await own.metrics())[
      'millrace_callbacks{state="pending"}'] === 0, 60000);
    assert.equal((await own.metrics())['millrace_callbacks{state="delivered"}'], n + 1);
    await send({url: `${target.url}/again`}, own);
  } finally {
    await own.end();
    await target.end();
  }
});

// ---- the API

test('wrong input is refused with its place, and nothing is sent', async () => {
  const url = receiver.url + fresh();
  const cases = [
    [{}, 400, 20002, /url/],
    [{url: 7}, 400, 20400, /url/],
    [{url: ''}, 400, 20400, /url/],
    [{url: 'nonsense'}, 400, 20400, /url is not valid/],
    [{url: `https://${'a'.repeat(2050)}.example`}, 400, 20400, /url/],
    [{url: 'http://example.com/'}, 400, 31010, /url is refused/],
    [{url: 'https://user:pw@example.com/'}, 400, 31010, /url is refused/],
    [{url: 'https://example.com:22/'}, 400, 31010, /url is refused/],
    [{url: 'https://10.0.0.1/'}, 400, 31010, /url is refused/],
    [{url: 'https://169.254.169.254/latest'}, 400, 31010, /url is refused/],
    [{url: 'https://[::ffff:10.0.0.1]/'}, 400, 31010, /url is refused/],
    [{url: 'https://0x7f000001/'}, 400, 31010, /url is refused/],
    [{url, nonsense: 1}, 400, 20001, /nonsense/],
    [{url, method: 'PUT'}, 400, 20400, /method/],
    [{url, method: 'post'}, 400, 20400, /method/],
    [{url, content_type: 'xml'}, 400, 20400, /content_type/],
    [{url, parameters: []}, 400, 20400, /parameters/],
    [{url, parameters: 'a=b'}, 400, 20400, /parameters/],
    [{url, parameters: {a: {b: 1}}}, 400, 20001, /parameters\.a/],
    [{url, parameters: {a: [1]}}, 400, 20001, /parameters\.a/],
    [{url, parameters: {a: null}}, 400, 20400, /parameters\.a/],
    [{url, content_type: 'json', parameters: {a: {b: 1}}}, 400, 20001, /parameters\.a/],
    [{url, parameters: Object.fromEntries(Array.from({length: 257}, (_, i) => [`p${i}`, i]))},
      400, 20400, /256/],
    [{url, parameters: {a: padding(65536)}}, 413, 20413, /65536/],
    [{url, method: 'GET', parameters: {a: padding(4096)}}, 413, 20413, /4096/],
    [{url, content_type: 'json', body: padding(65536)}, 413, 20413, /65536/],
    [{url, body: {a: 1}}, 400, 20004, /content_type/],
    [{url, content_type: 'json', body: {a: 1}, parameters: {b: 2}}, 400, 20004, /not both/],
    [{url, content_type: 'json'}, 400, 20002, /body/],
    [{url, content_type: 'json', body: null}, 400, 20002, /body/],
    [{url, method: 'GET', content_type: 'json', parameters: {}}, 400, 20004, /GET/],
    [{url, method: 'GET', body: {}}, 400, 20004, /GET/],
    [{url, reference: 5}, 400, 20400, /reference/],
    [{url, reference: 'x'.repeat(257)}, 400, 20400, /reference/],
    [{url, reference: 'a\nb'}, 400, 20400, /reference/],
  ];
  for (const [body, status, code, message] of cases) {
    for (const target of ['/v1/callbacks', '/v1/callbacks/test']) {
      const answer = await server.api('POST', target, body);
      const what = `${target} ${JSON.stringify(body).slice(0, 90)}: ${answer.text}`;
      assert.deepEqual([answer.status, answer.body.code], [status, code], what);
      assert.match(answer.body.message, message, what);
    }
  }
  for (const [text, status, type] of [['', 400], ['[]', 400], ['{"url":', 400],
    [`{"url":"${url}","url":"${url}"}`, 400], [`{"url":"${url}"}`, 415, 'text/plain']]) {
    const answer = await server.api('POST', '/v1/callbacks', text,
      {'content-type': type ?? 'application/json'});
    assert.equal(answer.status, status, answer.text);
  }
  assert.equal((await server.api('POST', '/v1/callbacks?x=1', {url})).body.code, 20001);
  assert.equal(at(new URL(url).pathname).length, 0);
  for (const id of ['cb_', 'cb_00000000000000000000000000', 'x', `cb_${'z'.repeat(26)}`]) {
    assert.equal((await server.api('GET', `/v1/callbacks/${id}`)).status, 404, id);
  }
  for (const query of ['status=nonsense', 'from=yesterday', 'page_size=0', 'x=1', 'to=5']) {
    assert.equal((await server.api('GET', `/v1/callbacks?${query}`)).status, 400, query);
  }
  assert.equal((await server.api('DELETE', '/v1/callbacks/cb_x')).status, 405);
});

test('lists are paged, the newest first, by status, reference and time', async () => {
  const reference = randomUUID();
  const ids = [];
  for (let i = 0; i < 5; i++) {
    const path = fresh();
    receiver.modes.set(path, i === 2 ? 404 : 'ok');
    ids.unshift((await send({url: receiver.url + path, reference})).id);
  }
  await Promise.all(ids.map((id) => over(id)));
  const list = (query) => server.must('GET', `/v1/callbacks?reference=${reference}&${query}`);
  const all = await list('page_size=3');
  assert.deepEqual(all.data.map((row) => row.id), ids.slice(0, 3));
  assert.ok(all.meta_data.next_page_url);
  const rest = await list('page_size=3&page_number=2');
  assert.deepEqual(rest.data.map((row) => row.id), ids.slice(3));
  assert.deepEqual((await list('status=failed')).data.map((row) => row.id), [ids[2]]);
  assert.equal((await list('status=pending')).data.length, 0);
  const from = encodeURIComponent(all.data[0].date_created);
  assert.ok((await list(`from=${from}`)).data.some((row) => row.id === ids[0]));
  assert.ok(!(await list(`to=${from}`)).data.some((row) => row.id === ids[0]));
  assert.equal((await server.must('GET', '/v1/callbacks?reference=none')).data.length, 0);
});

test('a call repeated with its Idempotency-Key sends once and gets the first answer', async () => {
  const path = fresh();
  const body = {url: receiver.url + path, parameters: {a: 1}};
  const key = {'idempotency-key': randomUUID()};
  const first = await server.api('POST', '/v1/callbacks', body, key);
  const again = await server.api('POST', '/v1/callbacks', body, key);
  assert.deepEqual([first.status, again.status], [202, 202]);
  assert.equal(again.body.id, first.body.id);
  const other = await server.api('POST', '/v1/callbacks', {...body, parameters: {a: 2}}, key);
  assert.equal(other.status, 409);
  const refused = {'idempotency-key': randomUUID()};
  assert.equal((await server.api('POST', '/v1/callbacks', {url: 'x'}, refused)).status, 400);
  assert.equal((await server.api('POST', '/v1/callbacks', body, refused)).status, 202);
  await over(first.body.id);
  await until('both', () => at(path).length === 2);
  await pause(300);
  assert.equal(at(path).length, 2);
});

test('accounts never see each other, and each signs with its own secret', async () => {
  const make = async (name) => {
    const account = await server.must('POST', '/v1/accounts', {friendly_name: name});
    return account.id;
  };
  const [left, right] = [await make('left'), await make('right')];
  const made = {};
  for (const account of [left, right]) {
    const key = await server.must('POST', `/v1/secrets?account_id=${account}`, {Name: 'own'});
    const path = fresh();
    const answer = await server.api('POST', `/v1/callbacks?account_id=${account}`,
      {url: receiver.url + path, parameters: {account}});
    assert.equal(answer.status, 202, answer.text);
    await until('it', () => at(path).length === 1);
    const [note] = at(path);
    assert.equal(note.headers['kore-signature'], sign(note, receiver.url + path, key.secret));
    made[account] = answer.body.id;
  }
  for (const [mine, other] of [[left, right], [right, left]]) {
    const query = `?account_id=${mine}`;
    assert.equal((await server.api('GET', `/v1/callbacks/${made[mine]}${query}`)).status, 200);
    assert.equal((await server.api('GET', `/v1/callbacks/${made[other]}${query}`)).status, 404);
    assert.deepEqual((await server.must('GET', `/v1/callbacks${query}`)).data.map((row) => row.id),
      [made[mine]]);
  }
  assert.equal((await server.api('GET', `/v1/callbacks/${made[left]}`)).status, 404,
    'not the parent either, unless it names the account');
});

test('a test sends at once, tells step by step, and leaves nothing but its audit row', async () => {
  const path = fresh();
  const url = `${receiver.url}${path}?token=hidden`;
  const before = (await server.must('GET', '/v1/callbacks?page_size=1')).meta_data;
  const good = await server.must('POST', '/v1/callbacks/test', {url, parameters: {a: 'b c'}});
  assert.equal(good.ok, true);
  assert.deepEqual(good.steps.map((step) => step.step),
    ['address', 'connect', 'tls', 'request', 'response']);
  assert.equal(good.request.body, 'a=b+c');
  assert.equal(good.response.status, 200);
  const [note] = at(path);
  assert.equal(note.body.toString(), 'a=b+c');
  assert.equal(note.headers['kore-signature'], sign(note, url));
  assert.equal(note.headers['kore-idempotency-token'], good.request['kore-idempotency-token']);
  receiver.modes.set(path, 503);
  const bad = await server.must('POST', '/v1/callbacks/test', {url, method: 'GET',
    parameters: {x: 1}});
  assert.equal(bad.ok, false);
  assert.equal(bad.request.query, 'x=1');
  assert.equal(bad.response.status, 503);
  assert.match(bad.steps.at(-1).detail, /answered 503/);
  assert.equal(at(path).length, 2, 'once each');
  const dead = await server.must('POST', '/v1/callbacks/test',
    {url: 'https://does-not-exist.invalid/'});
  assert.equal(dead.ok, false);
  assert.equal(dead.response, null);
  assert.equal(dead.steps.at(-1).step, 'name');
  assert.deepEqual((await server.must('GET', '/v1/callbacks?page_size=1')).meta_data, before);
  const rows = (await server.must('GET', '/v1/audit-log?action=callback.test')).data;
  assert.equal(rows.length, 3);
  assert.ok(!JSON.stringify(rows).includes('hidden'), 'neither query nor parameters stand there');
  let last;
  for (let i = 0; i < 10; i++) {
    last = await server.api('POST', '/v1/callbacks/test', {url});
  }
  assert.equal(last.status, 429, last.text);
  assert.ok(Number(last.headers['retry-after']) >= 1);
});

test('a name that leads to a refused address fails without a connection', async () => {
  const own = await Server.start({settings: {extra_ca_file: certificates().ca, allow_networks: ''}});
  const target = await Receiver.start();
  try {
    const port = new URL(target.url).port;
    const done = await over((await send({url: `https://localhost:${port}/`}, own)).id, 15000, own);
    assert.equal(done.status, 'failed');
    assert.deepEqual(done.attempts.map((attempt) => [attempt.status, attempt.error]),
      [[null, 'address_refused']]);
    assert.equal(target.requests.length, 0);
    assert.equal(target.sockets.size, 0);
  } finally {
    await own.end();
    await target.end();
  }
});

test('many hosts of one account all get theirs', async () => {
  const hosts = await Promise.all(Array.from({length: 70}, () => Receiver.start({tls: false})));
  const own = await Server.start({settings: {allow_http: true}});
  try {
    const made = await Promise.all(hosts.flatMap((host) => [0, 1].map((i) =>
      send({url: `${host.url}/${i}`}, own))));
    for (const {id} of made) {
      assert.equal((await over(id, 30000, own)).status, 'delivered');
    }
    assert.ok(hosts.every((host) => host.requests.length === 2));
  } finally {
    await own.end();
    await Promise.all(hosts.map((host) => host.end()));
  }
});
