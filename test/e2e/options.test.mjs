// What a destination, a rule and the operator may choose, each seen at work: client certificates
// and private authorities as node's TLS judges them, extra headers, rates, sampling, versions,
// aliases, a proxy, the limits to the byte.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {createHash, randomUUID} from 'node:crypto';
import {readFileSync, writeFileSync} from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {after, before, describe, test} from 'node:test';
import {Receiver, Server, certificates, connectionData, event, folder, millrace, padding, remove, until}
  from './harness.mjs';

const SCHEMA = 'SuperSim.ConnectionEvent';
const started = (prefix) => `${prefix}.supersim.connection.data-session.started`;

// A CA of its own with a server's and a client's certificate.
function privateAuthority() {
  const dir = folder('private');
  process.on('exit', () => remove(dir));
  const at = (name) => path.join(dir, name);
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const openssl = (...args) => execFileSync('openssl', args, {stdio: 'pipe'});
  openssl('req', '-x509', ...fresh, '-subj', '/CN=Private CA', '-keyout', at('ca-key.pem'), '-out',
    at('ca.pem'));
  for (const [name, alt] of [['server', 'IP:127.0.0.1'], ['client', 'DNS:millrace.example']]) {
    openssl('req', '-x509', ...fresh, '-subj', `/CN=${name}`, '-addext', `subjectAltName=${alt}`,
      '-addext', 'basicConstraints=CA:FALSE', '-CA', at('ca.pem'), '-CAkey', at('ca-key.pem'),
      '-keyout', at(`${name}-key.pem`), '-out', at(`${name}.pem`));
  }
  const text = (name) => readFileSync(at(`${name}.pem`), 'utf8');
  return {ca: text('ca'), cert: text('server'), key: text('server-key'),
    clientCert: text('client'), clientKey: text('client-key')};
}

describe('destinations', () => {
  let server;
  let receiver;
  before(async () => {
    server = await Server.start({settings: {allow_http: 'true'}});
    receiver = await Receiver.start({tls: false});
    await server.secret();
  });
  after(async () => {
    await receiver?.end();
    await server?.end();
  });

  const at = (route) => receiver.requests.filter((note) => note.path === route);

  async function stream(settings = {}, url) {
    const route = `/${randomUUID()}`;
    const type = `com.example.${randomUUID()}`;
    const destination = await server.destination(url ?? receiver.url + route, settings);
    await server.rule(destination, type);
    return {route, type, destination};
  }

  async function first(route) {
    return until('delivery', () => at(route)[0]);
  }

  test('a receiver that asks for a client certificate, under a private authority', async () => {
    const own = privateAuthority();
    const heard = [];
    const peer = https.createServer({cert: own.cert, key: own.key, ca: own.ca, requestCert: true,
      rejectUnauthorized: true}, (request, response) => {
      heard.push(request.socket.getPeerCertificate().subject.CN);
      request.resume().on('end', () => response.end());
    });
    await new Promise((resolve) => peer.listen(0, '127.0.0.1', resolve));
    const url = `https://127.0.0.1:${peer.address().port}/`;
    try {
      const {type, destination} = await stream({ca_pem: own.ca}, url);
      const tested = () => server.must('POST', `/v1/destinations/${destination.id}/test`, {});
      const bare = await tested();
      assert.equal(bare.ok, false, 'without a client certificate');
      const half = await server.api('PATCH', `/v1/destinations/${destination.id}`,
        {settings: {client_cert_pem: own.clientCert}});
      assert.equal(half.status, 400);
      assert.equal(half.body.code, 20002);
      const changed = await server.must('PATCH', `/v1/destinations/${destination.id}`,
        {settings: {client_cert_pem: own.clientCert, client_key_pem: own.clientKey}});
      assert.equal(changed.settings.client_key_pem, '[redacted]');
      assert.ok(!JSON.stringify(changed).includes(own.clientKey.split('\n')[1]));
      const good = await tested();
      assert.equal(good.ok, true, JSON.stringify(good));
      assert.equal((await server.publish(event({type}))).status, 202);
      await until('delivery', async () => (await server.counters(destination)).delivered === 1);
      assert.deepEqual([...new Set(heard)], ['client']);
      await server.must('PATCH', `/v1/destinations/${destination.id}`, {settings: {ca_pem: null}});
      const strange = await tested();
      assert.equal(strange.steps.at(-1).step, 'tls', 'the authority is trusted no more');
      assert.equal(strange.ok, false);
    } finally {
      peer.closeAllConnections();
      peer.close();
    }
  });

  test('extra headers are sent and never shown; what HTTP or we set is refused', async () => {
    const {route, type, destination} = await stream({headers: {'X-Api-Key': 'geheim-1', 'x-b': 'b c'}});
    assert.equal(destination.settings.headers['X-Api-Key'], '[redacted]');
    assert.equal((await server.publish(event({type}))).status, 202);
    const note = await first(route);
    assert.equal(note.headers['x-api-key'], 'geheim-1');
    assert.equal(note.headers['x-b'], 'b c');
    const kept = await server.must('PATCH', `/v1/destinations/${destination.id}`,
      {settings: {headers: {'x-b': null, 'x-c': 'd'}}});
    assert.deepEqual(Object.keys(kept.settings.headers).sort(), ['X-Api-Key', 'x-c']);
    assert.equal((await server.publish(event({type}))).status, 202);
    await until('the second', () => at(route).length === 2);
    assert.equal(at(route)[1].headers['x-api-key'], 'geheim-1');
    assert.equal(at(route)[1].headers['x-b'], undefined);
    for (const [name, value] of [['Host', 'a'], ['content-length', '1'], ['Kore-Signature', 'a'],
      ['webhook-id', 'a'], ['Transfer-Encoding', 'a'], ['connection', 'a'], ['x y', 'a'], ['', 'a'],
      ['x', 'a\r\nb: c'], ['x', 'ü'], ['x', 1]]) {
      const answer = await server.api('POST', '/v1/destinations', {name: 'a', kind: 'webhook',
        settings: {url: receiver.url, headers: {[name]: value}}});
      assert.equal(answer.status, 400, `${name}: ${value}`);
    }
    assert.ok(!server.log.includes('geheim-1'));
    assert.ok(!readFileSync(`${server.data}/control.db`).includes('geheim-1'));
  });

  test('rate_per_second is kept, and batch_bytes_max', async () => {
    const {route, type} = await stream({rate_per_second: 5, batch_max: 1});
    assert.equal((await server.publish(Array.from({length: 12}, () => event({type})))).status, 202);
    await until('all twelve', () => at(route).length === 12);
    const [from, to] = [at(route)[0].at, at(route).at(-1).at];
    assert.ok(to - from > 1000, `12 in ${to - from} ms`);
    const small = await stream({batch_bytes_max: 65536});
    assert.equal((await server.publish(Array.from({length: 20},
      () => event({type: small.type}, {pad: padding(20000)})))).status, 202);
    await until('all of them', () => receiver.events(small.route).length === 20);
    assert.ok(at(small.route).every(({body}) => body.length <= 65536 + 2), 'bytes of a request');
  });

  test('never more requests in flight than concurrency_max', async () => {
    const {route, type} = await stream({concurrency_max: 2, batch_max: 1});
    let open = 0;
    let most = 0;
    receiver.modes.set(route, (request, response) => {
      most = Math.max(most, ++open);
      setTimeout(() => {
        open--;
        response.end();
      }, 5);
    });
    assert.equal((await server.publish(Array.from({length: 60}, () => event({type})))).status, 202);
    await until('all sixty', () => at(route).length === 60);
    assert.equal(most, 2);
  });

  test('a new URL and a new timeout are used by the next attempt of an open request', async () => {
    const {route, type, destination} = await stream({retry_policy: {delays_ms: [400, 400, 400]}});
    receiver.modes.set(route, 500);
    assert.equal((await server.publish(event({type}))).status, 202);
    const note = await first(route);
    const moved = `/${randomUUID()}`;
    await server.must('PATCH', `/v1/destinations/${destination.id}`,
      {settings: {url: receiver.url + moved, method: 'GET', format: 'ce-batch'}});
    const next = await first(moved);
    assert.equal(next.method, 'POST', 'the method is the request\'s');
    assert.equal(next.headers['kore-idempotency-token'], note.headers['kore-idempotency-token']);
    assert.deepEqual(next.body, note.body);
  });

  test('edge values of every option', async () => {
    const make = (settings) => server.api('POST', '/v1/destinations',
      {name: 'edge', kind: 'webhook', settings: {url: `${receiver.url}/edge`, ...settings}});
    for (const good of [{batch_max: 1}, {batch_max: 50}, {timeout_ms: 30000}, {linger_ms: 0},
      {retry_policy: 'standard'}, {retry_policy: {delays_ms: []}}, {signatures: ['kore']},
      {batch_max: null}]) {
      const answer = await make(good);
      assert.equal(answer.status, 201, `${JSON.stringify(good)} ${answer.text}`);
    }
    for (const bad of [{batch_max: 0}, {batch_max: 51}, {batch_max: 1.5}, {batch_max: '5'},
      {batch_max: 1e400}, {batch_max: -1}, {timeout_ms: 0}, {timeout_ms: 30001},
      {concurrency_max: 0}, {retry_policy: 'never'}, {retry_policy: {delays_ms: [-1]}},
      {retry_policy: {delays_ms: [1], more: 1}}, {signatures: []}, {signatures: ['none']},
      {signatures: ['standard-webhooks']}, {format: 'xml'}, {method: 'PUT'}, {method: 'post'},
      {escape_non_ascii: 'yes'}, {ca_pem: 'no certificate'}, {colour: 1}]) {
      const text = JSON.stringify({name: 'edge', kind: 'webhook',
        settings: {url: `${receiver.url}/edge`, ...bad}}).replace('null', '1e400');
      const answer = await server.api('POST', '/v1/destinations', text);
      assert.equal(answer.status, 400, `${text} ${answer.text}`);
    }
    for (const kind of ['kinesis', 'queue', 'Webhook', '', null, 1]) {
      const answer = await server.api('POST', '/v1/destinations',
        {name: 'edge', kind, settings: {url: receiver.url}});
      assert.equal(answer.status, 400, `${kind} ${answer.text}`);
    }
  });

  test('metadata: kept, merged, bounded', async () => {
    const {destination} = await stream();
    const change = (metadata) => server.api('PATCH', `/v1/destinations/${destination.id}`, {metadata});
    assert.deepEqual((await change({a: '1', b: '2'})).body.metadata, {a: '1', b: '2'});
    assert.deepEqual((await change({a: null, c: '3'})).body.metadata, {b: '2', c: '3'});
    assert.equal((await change({big: 'x'.repeat(1 << 19)})).status, 400);
    assert.equal((await change([])).status, 400);
  });

  test('GET of one, list and PATCH answer in one shape; etags change with the object', async () => {
    const {destination} = await stream();
    const got = await server.api('GET', `/v1/destinations/${destination.id}`);
    assert.deepEqual(Object.keys(got.body).sort(), ['account_id', 'counters', 'date_created',
      'date_updated', 'description', 'id', 'kind', 'last_test', 'metadata', 'name', 'rules',
      'settings', 'status']);
    assert.match(got.body.date_created, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const patch = await server.api('PATCH', `/v1/destinations/${destination.id}`, {name: 'n'},
      {'if-match': got.headers.etag});
    assert.equal(patch.status, 200);
    assert.notEqual(patch.headers.etag, got.headers.etag);
    const stale = await server.api('DELETE', `/v1/destinations/${destination.id}`, undefined,
      {'if-match': got.headers.etag});
    assert.equal(stale.status, 412);
    for (const member of ['id', 'account_id', 'counters', 'date_created', 'rules']) {
      const answer = await server.api('PATCH', `/v1/destinations/${destination.id}`, {[member]: 'x'});
      assert.equal(answer.status, 400, `${member} ${answer.text}`);
    }
  });
});

describe('rules', () => {
  let server;
  let receiver;
  before(async () => {
    server = await Server.start({settings: {allow_http: 'true', event_type_prefix: 'com.acme',
      public_url: 'https://events.acme.example/base', dataschema_aliases: 'https://old.example',
      strict_date: 'true'}});
    receiver = await Receiver.start({tls: false});
    await server.secret();
  });
  after(async () => {
    await receiver?.end();
    await server?.end();
  });

  const events = (route) => receiver.events(route);

  async function rule(body) {
    const route = `/${randomUUID()}`;
    const destination = await server.destination(receiver.url + route);
    const made = await server.must('POST', '/v1/streaming-rules',
      {name: 'r', destination_id: destination.id, ...body});
    return {route, destination, made};
  }

  test('* takes the product group\'s types and no others; the prefix is the operator\'s', async () => {
    const {route} = await rule({product_group: 'Connectivity', event_types: [{type: '*'}]});
    const data = connectionData('data-session.started');
    const mine = event({type: started('com.acme')}, data);
    for (const one of [event({type: started('com.kore.iot')}), event({type: 'com.acme.other'}),
      event({type: 'com.kore.eventstreams.test.event'}, {test_id: randomUUID()}), mine]) {
      assert.equal((await server.publish(one)).status, 202);
    }
    await until('the one', () => events(route).some(({id}) => id === mine.id));
    assert.equal(events(route).length, 1);
  });

  test('dataschema: relative, own, alias become ours; a foreign one stays; wrong ones are 400',
    async () => {
      const type = started('com.acme');
      const {route} = await rule({event_types: [{type}]});
      const ours = (version) => `https://events.acme.example/base/schemas/${SCHEMA}/${version}`;
      const cases = [[`/schemas/${SCHEMA}/1`, ours(1)], [ours(1), ours(1)],
        [`https://old.example/schemas/${SCHEMA}/2`, ours(2)], [undefined, ours(2)],
        ['https://foreign.example/s.json', 'https://foreign.example/s.json']];
      const data = connectionData('data-session.started');
      const only2 = ['upload', 'download', 'total'].map((end) => `data_session_data_${end}`);
      const dataOf = (dataschema) => (dataschema?.endsWith('/1')
        ? Object.fromEntries(Object.entries(data).filter(([name]) => !only2.includes(name))) : data);
      for (const [dataschema, wanted] of cases) {
        const one = event({type, dataschema}, dataOf(dataschema));
        const answer = await server.publish(one);
        assert.equal(answer.status, 202, answer.text);
        const got = await until('it', () => events(route).find(({id}) => id === one.id));
        assert.equal(got.dataschema, wanted);
      }
      for (const dataschema of ['/schemas/test/1', `/schemas/${SCHEMA}/3`, '/schemas/none/1']) {
        const answer = await server.publish(event({type, dataschema}));
        assert.equal(answer.status, 400, dataschema);
        assert.equal(answer.body.code, 31002);
      }
      const note = receiver.requests.find(({path: at}) => at === route);
      assert.match(note.headers.date, /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/, 'strict_date');
    });

  test('sampling takes one in N by the id, and any rule that takes it suffices', async () => {
    const type = `com.example.${randomUUID()}`;
    const {route, destination} = await rule({sampling: 4, event_types: [{type}]});
    const sent = Array.from({length: 800}, () => event({type}));
    assert.equal((await server.publish(sent)).status, 202);
    await until('delivery settles', async () => {
      const {delivered, pending} = await server.counters(destination);
      return delivered > 0 && pending === 0;
    });
    const count = events(route).length;
    assert.ok(count > 120 && count < 280, `${count} of 800`);
    await server.must('POST', '/v1/streaming-rules',
      {name: 'all', destination_id: destination.id, event_types: [{type}]});
    const more = Array.from({length: 100}, () => event({type}));
    assert.equal((await server.publish(more)).status, 202);
    await until('all of the second', () => events(route).length === count + 100);
    for (const sampling of [0, -1, 1.5, '2']) {
      const answer = await server.api('POST', '/v1/streaming-rules', {name: 'x', sampling,
        destination_id: destination.id, event_types: [{type}]});
      assert.equal(answer.status, 400, `${sampling} ${answer.text}`);
    }
  });

  test('a change of a rule moves nothing that is queued', async () => {
    const type = `com.example.${randomUUID()}`;
    const {route, made, destination} = await rule({event_types: [{type}]});
    const other = await server.destination(`${receiver.url}/other-${randomUUID()}`);
    receiver.modes.set(route, 503);
    await server.must('PATCH', `/v1/destinations/${destination.id}`, {status: 'disabled'});
    await server.must('PATCH', `/v1/destinations/${destination.id}`, {status: 'active'});
    const before = event({type});
    assert.equal((await server.publish(before)).status, 202);
    await until('an attempt', () => events(route).length > 0);
    await server.must('PATCH', `/v1/streaming-rules/${made.id}`, {destination_id: other.id});
    const later = event({type});
    assert.equal((await server.publish(later)).status, 202);
    receiver.modes.delete(route);
    const to = new URL(other.settings.url).pathname;
    await until('the later one at the other', () => events(to).length > 0);
    await until('the first at the first', async () =>
      (await server.counters(destination)).delivered === 1);
    assert.deepEqual(events(to).map(({id}) => id), [later.id]);
    assert.ok(events(route).every(({id}) => id === before.id));
  });

  test('rules that are wrong are refused with their reason', async () => {
    const {destination, made} = await rule({event_types: [{type: 'a'}]});
    const good = {name: 'r', destination_id: destination.id, event_types: [{type: 'a'}]};
    for (const bad of [{event_types: []}, {event_types: 'a'}, {event_types: [{}]},
      {event_types: [{type: ''}]}, {event_types: [{type: 'a', schema_version: 0}]},
      {event_types: [{type: 'a', colour: 1}]}, {status: 'on'}, {name: ''}, {filter: {pattern: {}}},
      {product_group: 'Nothing', event_types: [{type: '*'}]}, {destination_id: null},
      {destination_id: 'dst_1'}, {event_types: [{type: started('com.acme'), schema_version: 9}]}]) {
      const answer = await server.api('POST', '/v1/streaming-rules', {...good, ...bad});
      assert.equal(answer.status, 400, `${JSON.stringify(bad)} ${answer.text}`);
    }
    const off = await server.must('POST', '/v1/streaming-rules', {...good, status: 'disabled'});
    assert.equal(off.status, 'disabled');
    assert.equal(made.status, 'enabled');
  });
});

describe('limits, to the byte', () => {
  let server;
  before(async () => { server = await Server.start(); });
  after(() => server?.end());

  const LIMIT = 256 * 1024;
  const sized = (bytes) => {
    const one = event({id: randomUUID()}, '');
    return {...one, data: 'x'.repeat(bytes - JSON.stringify(one).length)};
  };

  test('an event of 256 KiB is taken, one byte more is 413', async () => {
    assert.equal((await server.publish(sized(LIMIT))).status, 202);
    assert.equal((await server.publish(sized(LIMIT + 1))).status, 413);
  });

  test('1,000 events are taken, 1,001 are 413; 8 MiB are taken, more is 413', async () => {
    const many = (n) => Array.from({length: n}, () => event());
    assert.equal((await server.publish(many(1000))).body.accepted, 1000);
    assert.equal((await server.publish(many(1001))).status, 413);
    const text = JSON.stringify(Array.from({length: 32}, () => sized(200 * 1024)));
    const type = {'content-type': 'application/cloudevents-batch+json'};
    const exact = text + ' '.repeat((8 << 20) - text.length);
    assert.equal((await server.api('POST', '/v1/events', exact, type)).status, 202);
    assert.equal((await server.api('POST', '/v1/events', `${exact} `, type)).status, 413);
  });

  test('64 extensions and 8 KiB of a value are taken, more is 400', async () => {
    const wide = (n) => event(Object.fromEntries(Array.from({length: n}, (_, i) => [`x${i}`, 'v'])));
    assert.equal((await server.publish(wide(64))).status, 202);
    assert.equal((await server.publish(wide(65))).status, 400);
    assert.equal((await server.publish(event({ext: 'v'.repeat(8192)}))).status, 202);
    assert.equal((await server.publish(event({ext: 'v'.repeat(8193)}))).status, 400);
    assert.equal((await server.publish(event({id: 'i'.repeat(8192)}))).status, 202);
    assert.equal((await server.publish(event({id: 'i'.repeat(8193)}))).status, 400);
  });

  test('a depth of 64 is taken, 65 is 400', async () => {
    const deep = (n) => `{"specversion":"1.0","id":"${randomUUID()}","source":"/a","type":"t","data":`
      + `${'['.repeat(n - 1)}${']'.repeat(n - 1)}}`;
    assert.equal((await server.api('POST', '/v1/events', deep(64))).status, 202);
    assert.equal((await server.api('POST', '/v1/events', deep(65))).status, 400);
  });

  test('at most 20 errors are told', async () => {
    const answer = await server.publish(Array.from({length: 50}, () => event({id: undefined})));
    assert.equal(answer.status, 400);
    assert.equal(answer.body.errors.length, 20);
    assert.deepEqual(answer.body.errors[19], {...answer.body.errors[0], index: 19,
      offset: answer.body.errors[19].offset});
  });

  test('the same content in other white space is the same event', async () => {
    const one = {specversion: '1.0', id: randomUUID(), source: '/a', type: 't', data: {a: [1, 2]}};
    assert.equal((await server.api('POST', '/v1/events', JSON.stringify(one))).body.accepted, 1);
    const again = await server.api('POST', '/v1/events', JSON.stringify(one, null, 3));
    assert.equal(again.body.duplicates, 1, again.text);
  });

  test('names and values that are odd but right', async () => {
    const type = 'com.example.odd';
    const text = '\u2028\ud7ff\ufffd\u{10ffff}';
    const answer = await server.publish(event({type, subject: 'a\u00a0b', source: 'urn:x:%20'},
      {'': 1, '__proto__': 2, 'a/b~c': [1e-400, -0, 1e400].map(String), text}));
    assert.equal(answer.status, 202, answer.text);
    const raw = (data) => server.api('POST', '/v1/events', `{"specversion":"1.0","id":"${randomUUID()}",`
      + `"source":"/a","type":"t","data":${data}}`);
    for (const good of ['-0', '1e400', '9007199254740993', '1.0E+2', '"\\ud83d\\ude00"', 'null']) {
      assert.equal((await raw(good)).status, 202, good);
    }
    for (const bad of ['+1', '.5', '1.', '0x1', 'NaN', '-', '1e', '"\\ud83d"', '"\\x"', '"\u0001"',
      'nul', '[1,]', '{"a":1,}', '\'a\'', '']) {
      assert.equal((await raw(bad)).status, 400, bad);
    }
    assert.equal((await server.api('POST', '/v1/events', Buffer.from(
      '{"specversion":"1.0","id":"\xff","source":"/a","type":"t"}', 'latin1'))).status, 400);
  });
});

// A CONNECT proxy of node's making: what it was asked for, by whom.
test('egress_proxy: tunnels to the judged address, TLS goes through to the receiver', async () => {
  const receiver = await Receiver.start();
  const asked = [];
  const proxy = http.createServer((request, response) => response.writeHead(500).end());
  proxy.on('connect', (request, socket) => {
    asked.push(request.url);
    const [host, port] = request.url.split(':');
    const far = net.connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      far.pipe(socket).pipe(far);
    });
    for (const one of [far, socket]) {
      one.on('error', () => { far.destroy(); socket.destroy(); });
    }
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const server = await Server.start({settings: {extra_ca_file: certificates().ca,
    egress_proxy: `http://127.0.0.1:${proxy.address().port}`}});
  try {
    const {secret} = await server.secret();
    const port = new URL(receiver.url).port;
    const destination = await server.destination(`https://localhost:${port}/hook`);
    await server.rule(destination, 'com.example.test');
    assert.equal((await server.publish(event())).status, 202);
    const note = await until('delivery', () => receiver.requests[0]);
    assert.ok(asked.every((one) => one === `127.0.0.1:${port}`), `${asked}`);
    assert.equal(note.headers.host, `localhost:${port}`);
    assert.equal(note.headers['kore-signature'], createHash('sha256')
      .update(`${secret}POSThttps://localhost:${port}/hook`).update(note.body).digest('hex'));
  } finally {
    await server.end();
    await receiver.end();
    proxy.closeAllConnections();
    proxy.close();
  }
});

test('proxy variables of the environment are ignored', async () => {
  const receiver = await Receiver.start({tls: false});
  const server = await Server.start({settings: {allow_http: 'true', HTTP_PROXY: 'http://127.0.0.1:9',
    HTTPS_PROXY: 'http://127.0.0.1:9', ALL_PROXY: 'http://127.0.0.1:9'}});
  try {
    const destination = await server.destination(`${receiver.url}/hook`);
    await server.rule(destination, 'com.example.test');
    assert.equal((await server.publish(event())).status, 202);
    const note = await until('delivery', () => receiver.requests[0]);
    assert.equal(note.headers['kore-signature'], '', 'no secret yet: there, and empty');
  } finally {
    await server.end();
    await receiver.end();
  }
});

test('a receiver at ::1', async () => {
  const peer = http.createServer((request, response) => request.resume().on('end', () => {
    response.end();
  }));
  await new Promise((resolve) => peer.listen(0, '::1', resolve));
  const {port} = peer.address();
  const server = await Server.start({settings: {allow_http: 'true'}});
  try {
    const made = await server.destination(`http://[::1]:${port}/`);
    const tested = await server.must('POST', `/v1/destinations/${made.id}/test`, {});
    assert.equal(tested.ok, true, JSON.stringify(tested));
  } finally {
    await server.end();
    peer.closeAllConnections();
    peer.close();
  }
});

test('a data folder of a newer format is refused in one line, exit 4', () => {
  const dir = folder('newer');
  const data = path.join(dir, 'data');
  try {
    assert.equal(millrace(['init', '--data', data, '--owner', 'a@example.com']).status, 0);
    const store = new DatabaseSync(path.join(data, 'control.db'));
    const [{user_version: now}] = store.prepare('PRAGMA user_version').all();
    store.exec(`PRAGMA user_version = ${now + 1}`);
    const refused = millrace(['serve', '--data', data, '--listen', '127.0.0.1:0']);
    assert.equal(refused.status, 4, refused.stderr);
    assert.match(refused.stderr, /^millrace: .*newer version.*\n$/);
    store.close();
  } finally {
    remove(dir);
  }
});

test('settings: file, line and key of what is wrong, exit 2', async () => {
  const dir = folder('config');
  try {
    const file = path.join(dir, 'c.yaml');
    for (const [text, about] of [['listen: 127.0.0.1:0\ncolour: red\n', /c\.yaml.*2.*colour/],
      ['workers: many\n', /c\.yaml.*1.*workers/], ['workers: 65\n', /workers/],
      ['workers: 1\nworkers: 2\n', /c\.yaml.*2.*workers/], ['workers: [1\n', /c\.yaml/],
      ['- a\n', /c\.yaml/], ['allow_http: perhaps\n', /allow_http/]]) {
      writeFileSync(file, text);
      const done = millrace(['config', '--config', file]);
      assert.equal(done.status, 2, text);
      assert.match(done.stderr, about);
      assert.equal(done.stderr.trim().split('\n').length, 1, done.stderr);
    }
    writeFileSync(file, 'workers: 3\nlog_level: warn\n');
    const order = millrace(['config', '--config', file, '--log-level', 'error'],
      {env: {workers: 2, log_level: 'debug'}});
    assert.equal(order.status, 0, order.stderr);
    assert.match(order.stdout, /^workers: 2$/m);
    assert.match(order.stdout, /^log_level: "error"$/m);
    assert.equal(millrace(['config', '--config', path.join(dir, 'none.yaml')]).status, 2);
  } finally {
    remove(dir);
  }
});
