// The API's answers to what is right and, more, to what is wrong.
import assert from 'node:assert/strict';
import {writeFileSync} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import {after, before, test} from 'node:test';
import {createRemoteJWKSet, decodeProtectedHeader, jwtVerify} from 'jose';
import {Server, event, folder, millrace, remove, until} from './harness.mjs';

let server;

before(async () => {
  server = await Server.start({settings: {allow_http: 'true', metrics_token: 'x'.repeat(20)}});
});

after(() => server?.end());

function wrong(answer, status, code) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.body.status, status);
  assert.equal(answer.body.code, code, answer.text);
  assert.equal(typeof answer.body.message, 'string');
  assert.equal(answer.body.info, answer.body.more_info);
  assert.equal(answer.body.info, `${server.url}/errors/${code}`);
}

test('the token is a JWT that jose verifies by the published keys', async () => {
  const keys = createRemoteJWKSet(new URL(`${server.url}/.well-known/jwks.json`));
  const {payload} = await jwtVerify(server.token, keys, {algorithms: ['RS256'], audience: 'millrace'});
  assert.equal(payload.aud, 'millrace'); // alone: it is for nobody else
  assert.match(payload.iss, /^urn:millrace:./); // of this installation
  assert.equal(decodeProtectedHeader(server.token).alg, 'RS256');
  assert.equal(payload['account-id'], server.account_id);
  assert.equal(payload.client_id, server.client_id);
  assert.equal(payload['client-type'], 'admin');
  assert.ok(payload.scopes.globalResources.length > 0);
  for (const claim of ['iss', 'aud', 'sub', 'exp', 'iat', 'jti']) {
    assert.ok(payload[claim] !== undefined, claim);
  }
});

test('wrong credentials, grants and forms get the token endpoint\'s errors', async () => {
  const ask = (form, type = 'application/x-www-form-urlencoded') => server.request('POST',
    '/api-services/v1/auth/token', {headers: {'content-type': type}, body: form});
  const bad = await ask(`grant_type=client_credentials&client_id=${server.client_id}&client_secret=no`);
  assert.equal(bad.status, 401);
  assert.deepEqual(bad.body, {error: 'unauthorized_client',
    error_description: 'Invalid client or Invalid client credentials'});
  for (const [form, error] of [['', 'invalid_request'], ['grant_type=client_credentials', 'invalid_request'],
    ['grant_type=password&client_id=a&client_secret=b', 'unsupported_grant_type'],
    ['grant_type=a&grant_type=b&client_id=a&client_secret=b', 'invalid_request']]) {
    const answer = await ask(form);
    assert.equal(answer.status, 400, form);
    assert.equal(answer.body.error, error);
    assert.ok(answer.body.code && answer.body.message);
  }
  assert.equal((await ask('{}', 'application/json')).status, 400);
  assert.equal((await server.request('OPTIONS', '/api-services/v1/auth/token')).status, 200);
});

test('no token is 401, a wrong one 403, on every route that asks for one', async () => {
  for (const [method, path] of [['GET', '/v1/destinations'], ['POST', '/v1/events'],
    ['GET', '/v1/streaming-rules'], ['GET', '/v1/dead-letters'], ['GET', '/v1/tail']]) {
    const none = await server.request(method, path);
    wrong(none, 401, 20401);
    assert.equal(none.headers['www-authenticate'], 'Bearer');
    const bad = await server.request(method, path, {headers: {authorization: 'Bearer a.b.c'}});
    wrong(bad, 403, 20006);
    assert.equal(bad.body.error, 'Invalid or expired token');
    assert.equal(bad.body.message,
      'User is not authorized to access this resource with an explicit deny');
  }
  const secrets = await server.request('GET', '/v1/secrets', {headers: {authorization: 'Bearer x'}});
  wrong(secrets, 403, 30010);
});

test('404, 405, 413, 415 have the shape of errors', async () => {
  wrong(await server.api('GET', '/nothing'), 404, 20404);
  wrong(await server.api('GET', '/v1/destinations/dst_00000000000000000000000000'), 404, 20404);
  const method = await server.api('PUT', '/v1/destinations');
  wrong(method, 405, 20004);
  assert.match(method.headers.allow, /GET/);
  wrong(await server.api('POST', '/v1/events', 'x', {'content-type': 'text/plain'}), 415, 20415);
  wrong(await server.api('POST', '/v1/destinations', 'x', {'content-type': 'text/plain'}), 415, 20415);
  wrong(await server.publish(event({}, {s: 'x'.repeat(300 * 1024)})), 413, 20413);
});

test('what the HTTP engine refuses is answered in JSON too', async () => {
  const raw = (text) => new Promise((resolve, reject) => {
    const {hostname, port} = new URL(server.url);
    const socket = net.connect(Number(port), hostname, () => socket.end(text));
    let out = '';
    socket.on('data', (bytes) => { out += bytes; });
    socket.on('close', () => resolve(out));
    socket.on('error', reject);
  });
  for (const [text, status, code] of [['GET / HTTP/1.1\r\n\r\n', 400, 20400],
    ['GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400, 20400],
    ['POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400, 20400],
    ['GET /healthz HTTP/1.1\nHost: a\n\n', 400, 20400],
    ['GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n', 400, 20400],
    [`GET /healthz HTTP/1.1\r\nHost: a\r\nX: ${'y'.repeat(20000)}\r\n\r\n`, 431, 20431],
    ['POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n', 501, 20501],
    ['GET /healthz HTTP/3.0\r\nHost: a\r\n\r\n', 505, 20505]]) {
    const answer = await raw(text);
    assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), JSON.stringify(text.slice(0, 60)));
    const body = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4));
    assert.equal(body.status, status);
    assert.equal(body.code, code);
  }
});

test('a request that never comes whole is answered 408', async () => {
  const own = await Server.start({settings: {header_timeout_ms: '300'}});
  try {
    const {hostname, port} = new URL(own.url);
    const answer = await new Promise((resolve, reject) => {
      let out = '';
      const socket = net.connect(Number(port), hostname, () => socket.write('GET / HTTP/1.1\r\nHo'));
      socket.on('data', (bytes) => { out += bytes; });
      socket.on('close', () => resolve(out));
      socket.on('error', reject);
    });
    assert.match(answer, /^HTTP\/1.1 408 /);
    assert.equal(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)).code, 20408);
  } finally {
    await own.end();
  }
});

test('clients\' routes answer with codes of their own; tests are limited', async () => {
  wrong(await server.api('POST', '/v1/ping'), 405, 40405);
  const destination = await server.destination('https://127.0.0.1:1024/');
  let last;
  for (let i = 0; i < 11; i++) {
    last = await server.api('POST', `/v1/destinations/${destination.id}/test`, {});
  }
  wrong(last, 429, 20429);
  assert.ok(Number(last.headers['retry-after']) > 1);
});

test('every code that errors name has its page', async () => {
  for (const code of [20001, 20002, 20004, 20006, 20400, 20401, 20404, 20413, 20415, 20503, 30010,
    31001, 31006, 31010, 31011, 31020, 40404]) {
    const page = await server.request('GET', `/errors/${code}`);
    assert.equal(page.status, 200, String(code));
    assert.match(page.headers['content-type'], /text\/html/);
    assert.ok(page.text.includes(String(code)));
  }
  assert.equal((await server.request('GET', '/errors/12')).status, 404);
});

test('events that are wrong are refused whole, naming index and rule', async () => {
  const cases = [
    ['not JSON', '{', 31001], ['not an event', '[1]', 31001],
    ['no id', JSON.stringify(event({id: undefined})), 31001],
    ['wrong version', JSON.stringify(event({specversion: '0.3'})), 31001],
    ['lone surrogate', '{"specversion":"1.0","id":"a","source":"/a","type":"t","data":"\\ud800"}', 31001],
    ['duplicate member', '{"specversion":"1.0","id":"a","id":"b","source":"/a","type":"t"}', 31001],
    ['too deep', `{"specversion":"1.0","id":"a","source":"/a","type":"t","data":${'['.repeat(70)}${']'.repeat(70)}}`, 31001],
    ['bad time', JSON.stringify(event({time: 'yesterday'})), 31001],
    ['bad number', '{"specversion":"1.0","id":"a","source":"/a","type":"t","data":01}', 31001],
  ];
  for (const [name, body, code] of cases) {
    const answer = await server.api('POST', '/v1/events', body);
    wrong(answer, 400, code);
    assert.ok(answer.body.errors.length > 0, name);
    assert.equal(answer.body.errors[0].index, 0, name);
    assert.ok(answer.body.errors[0].rule, name);
  }
  const batch = [event(), event({id: undefined}), event()];
  const answer = await server.publish(batch);
  assert.equal(answer.body.errors[0].index, 1);
  const again = await server.publish(batch[0]);
  assert.equal(again.body.duplicates, 0, 'nothing of the refused call was stored');
  const schema = await server.publish(event({type: 'com.kore.eventstreams.test.event',
    dataschema: '/schemas/SuperSim.ConnectionEvent/2'}));
  wrong(schema, 400, 31002);
});

test('duplicates are told, with the original\'s sequence; other content is a conflict', async () => {
  const one = event();
  const first = await server.publish(one);
  const second = await server.publish(one);
  assert.equal(second.status, 202);
  assert.equal(second.body.duplicates, 1);
  assert.equal(second.body.accepted, 0);
  assert.equal(second.body.events[0].duplicate, true);
  assert.equal(second.body.events[0].sequence, first.body.events[0].sequence);
  const fresh = event();
  const conflict = await server.publish([fresh, {...one, data: {n: 2}}]);
  wrong(conflict, 409, 31006);
  assert.equal(conflict.body.errors[0].index, 1);
  assert.equal((await server.publish(fresh)).body.duplicates, 0);
  const twice = await server.publish([{...fresh, id: 'x1'}, {...fresh, id: 'x1'}]);
  assert.equal(twice.body.accepted, 1);
  assert.equal(twice.body.duplicates, 1);
  assert.equal(twice.body.events[0].sequence, twice.body.events[1].sequence);
});

test('the query of a call of events names the own account or nothing', async () => {
  const body = JSON.stringify(event());
  const own = await server.api('POST', `/v1/events?account_id=${server.account_id}`, body);
  assert.equal(own.status, 202, own.text);
  wrong(await server.api('POST', '/v1/events?account_id=acct_other', body), 404, 20404);
  wrong(await server.api('POST', '/v1/events?colour=red', body), 400, 20001);
});

test('the binary form and an empty batch are taken', async () => {
  const binary = await server.api('POST', '/v1/events', '{"a":1}', {'ce-specversion': '1.0',
    'ce-id': 'b1', 'ce-source': '/b', 'ce-type': 'b', 'content-type': 'application/json'});
  assert.equal(binary.status, 202, binary.text);
  const empty = await server.publish([]);
  assert.equal(empty.status, 202);
  assert.equal(empty.body.accepted, 0);
});

test('destinations and rules: what is wrong is named', async () => {
  const make = (body) => server.api('POST', '/v1/destinations', body);
  const good = {name: 'a', kind: 'webhook', settings: {url: 'https://example.com/'}};
  wrong(await make({...good, colour: 1}), 400, 20001);
  wrong(await make({kind: 'webhook', settings: good.settings}), 400, 20002);
  wrong(await make({...good, settings: {}}), 400, 20002);
  wrong(await make({...good, settings: {...good.settings, batch_max: 51}}), 400, 20400);
  wrong(await make({...good, settings: {...good.settings, timeout_ms: 30001}}), 400, 20400);
  wrong(await make({...good, settings: {...good.settings, headers: {host: 'x'}}}), 400, 20400);
  wrong(await make('{'), 400, 20400);
  const created = await make(good);
  assert.equal(created.status, 201, created.text);
  assert.match(created.body.id, /^dst_[0-9a-z]{26}$/);
  assert.equal(created.body.status, 'active');
  assert.ok(created.headers.location.endsWith(created.body.id));
  const rule = (body) => server.api('POST', '/v1/streaming-rules', body);
  const fine = {name: 'r', destination_id: created.body.id, event_types: [{type: 'a.b'}]};
  wrong(await rule({...fine, destination_id: 'dst_00000000000000000000000000'}), 400, 31020);
  wrong(await rule({...fine, event_types: [{type: '*'}]}), 400, 31020);
  wrong(await rule({name: 'r', event_types: []}), 400, 20002);
  const made = await rule(fine);
  assert.equal(made.status, 201, made.text);
  assert.deepEqual(made.body.event_types, [{type: 'a.b', schema_version: null}]);
  assert.equal(made.body.filter, null);
  const {headers} = await server.api('GET', `/v1/streaming-rules/${made.body.id}`);
  const stale = await server.api('PATCH', `/v1/streaming-rules/${made.body.id}`, {name: 's'},
    {'if-match': '"v99"'});
  wrong(stale, 412, 20412);
  const changed = await server.api('PATCH', `/v1/streaming-rules/${made.body.id}`, {name: 's'},
    {'if-match': headers.etag});
  assert.equal(changed.status, 200);
  assert.equal((await server.api('DELETE', `/v1/streaming-rules/${made.body.id}`)).status, 204);
  assert.equal((await server.api('DELETE', `/v1/destinations/${created.body.id}`)).status, 204);
  wrong(await server.api('GET', `/v1/destinations/${created.body.id}`), 404, 20404);
});

test('lists are paged; wrong parameters are refused', async () => {
  for (let i = 0; i < 3; i++) {
    await server.destination(`https://example.com/${i}`);
  }
  const page = await server.must('GET', '/v1/destinations?page_size=2&page_number=1');
  assert.equal(page.data.length, 2);
  assert.equal(page.meta_data.page_size, 2);
  assert.equal(page.meta_data.previous_page_url, '');
  assert.match(page.meta_data.next_page_url, /page_number=2/);
  wrong(await server.api('GET', '/v1/destinations?page_size=0'), 400, 20400);
  wrong(await server.api('GET', '/v1/destinations?page_size=1001'), 400, 20400);
  wrong(await server.api('GET', '/v1/destinations?colour=red'), 400, 20001);
  wrong(await server.api('GET', '/v1/destinations?page_size=1&page_size=2'), 400, 20400);
});

test('a signing secret is made by an empty call alone', async () => {
  const made = await server.destination('https://example.com/signing');
  const target = `/v1/destinations/${made.id}/signing-secret`;
  wrong(await server.api('POST', target, '{'), 400, 20400);
  wrong(await server.api('POST', target, []), 400, 20400);
  wrong(await server.api('POST', target, {a: 1}), 400, 20001);
  wrong(await server.api('POST', target, 'x', {'content-type': 'text/plain'}), 415, 20415);
  assert.equal((await server.api('POST', target, {})).status, 201);
  assert.equal((await server.api('POST', target)).status, 201);
});

test('Idempotency-Key: the second call gets the first answer, without the secret', async () => {
  const headers = {'idempotency-key': 'k1'};
  const body = {Name: 'idem'};
  const first = await server.api('POST', '/v1/secrets', body, headers);
  assert.equal(first.status, 201, first.text);
  assert.ok(first.body.secret);
  const second = await server.api('POST', '/v1/secrets', body, headers);
  assert.equal(second.status, 201);
  assert.equal(second.body.id, first.body.id);
  assert.equal(second.body.secret, undefined);
  wrong(await server.api('POST', '/v1/secrets', {Name: 'other'}, headers), 409, 20409);
});

test('webhook secrets: forms and JSON, one active, one pending', async () => {
  const form = await server.api('POST', '/v1/secrets', 'Name=from+form',
    {'content-type': 'application/x-www-form-urlencoded'});
  assert.equal(form.status, 201, form.text);
  assert.equal(form.body.name, 'from form');
  assert.match(form.body.id, /^whs_.{26}$/);
  assert.match(form.body.secret, /^[0-9a-f]{32,}$/);
  const list = await server.must('GET', '/v1/secrets');
  assert.equal(list.data.filter((row) => row.status === 'active').length, 1);
  assert.ok(list.data.every((row) => row.secret === undefined));
  const active = list.data.find((row) => row.status === 'active');
  const back = await server.api('PATCH', `/v1/secrets/${active.id}`, {Status: 'pending'});
  assert.equal(back.status, 400, back.text);
  wrong(await server.api('POST', '/v1/secrets', {name: 'lower'}), 400, 20001);
  wrong(await server.api('POST', '/v1/secrets', {}), 400, 20002);
});

test('parameters that are not known are named, also where no token is asked for', async () => {
  for (const target of ['/v1/ping', '/healthz', '/readyz', '/errors/20001', '/.well-known/jwks.json',
    '/schemas/SuperSim.ConnectionEvent/1']) {
    assert.equal((await server.request('GET', target)).status, 200, target);
    const refused = await server.request('GET', `${target}?colour=red&size=2`);
    wrong(refused, 400, 20001);
    assert.match(refused.body.message, /unknown parameters: colour, size$/, target);
    wrong(await server.request('GET', `${target}?account_id=${server.account_id}`), 400, 20001);
    wrong(await server.request('GET', `${target}?a=%zz`), 400,
      target === '/v1/ping' ? 40400 : 20400); // of KORE's client document
  }
  wrong(await server.request('GET', '/metrics?colour=red',
    {headers: {authorization: `Bearer ${'x'.repeat(20)}`}}), 400, 20001);
  const two = await server.api('GET', '/v1/destinations?colour=red&page_size=1&size=2');
  wrong(two, 400, 20001);
  assert.match(two.body.message, /colour, size$/);
  const many = await server.api('GET', `/v1/destinations?${Array(200).fill('parameter=1').join('&')}`);
  wrong(many, 400, 20001);
});

test('a token call may carry more than the token endpoint knows', async () => {
  const answer = await server.request('POST', '/api-services/v1/auth/token?audience=x', {
    headers: {'content-type': 'application/x-www-form-urlencoded'},
    body: new URLSearchParams({grant_type: 'client_credentials', client_id: server.client_id,
      client_secret: server.client_secret, audience: 'x', scope: 'email'}).toString()});
  assert.equal(answer.status, 200, answer.text);
  // The members of KORE's token document, and none beside them.
  assert.deepEqual(Object.keys(answer.body), ['access_token', 'expires_in', 'token_type', 'scope']);
  assert.equal(typeof answer.body.expires_in, 'number');
  assert.equal(answer.body.token_type, 'Bearer');
  assert.equal(typeof answer.body.scope, 'string');
});

test('a body\'s unknown members are named, all of them', async () => {
  const made = await server.destination('https://example.com/members');
  for (const action of ['test', 'discard', 'signing-secret']) {
    const target = `/v1/destinations/${made.id}/${action}`;
    const refused = await server.api('POST', target, {colour: 'red', size: 2});
    wrong(refused, 400, 20001);
    assert.match(refused.body.message, /^Unknown members: colour, size\.$/, action);
    wrong(await server.api('POST', target, '[]'), 400, 20400);
    wrong(await server.api('POST', target, '{'), 400, 20400);
  }
  wrong(await server.api('POST', '/v1/dead-letters/redrive', {colour: 'red'}), 400, 20001);
  wrong(await server.api('POST', '/v1/dead-letters/redrive', ''), 400, 20400);
  wrong(await server.api('POST', '/v1/dead-letters/redrive', {dry_run: 1}), 400, 20400);
});

test('a secret is changed by JSON, a merge patch or a form; its members are KORE\'s', async () => {
  const made = await server.api('POST', '/v1/secrets', {Name: 'members'});
  assert.equal(made.status, 201, made.text);
  assert.deepEqual(Object.keys(made.body), ['id', 'name', 'secret', 'status', 'last_modified']);
  assert.equal(made.body.id.length, 30);
  const target = `/v1/secrets/${made.body.id}`;
  for (const [type, body, name] of [['application/merge-patch+json', '{"Name":"merged"}', 'merged'],
    ['application/merge-patch+json; charset=utf-8', '{}', 'merged'],
    ['application/json', '{"Name":"json"}', 'json'],
    ['application/x-www-form-urlencoded', 'Name=form', 'form']]) {
    const changed = await server.api('PATCH', target, body, {'content-type': type});
    assert.equal(changed.status, 200, `${type}: ${changed.text}`);
    assert.equal(changed.body.name, name);
    assert.deepEqual(Object.keys(changed.body), ['id', 'name', 'status', 'last_modified']);
    assert.match(changed.body.last_modified, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  }
  wrong(await server.api('PATCH', target, 'x', {'content-type': 'text/plain'}), 415, 20415);
  wrong(await server.api('POST', '/v1/secrets', '{"Name":"x"}',
    {'content-type': 'application/merge-patch+json'}), 415, 20415);
  wrong(await server.api('PATCH', target, {Status: 'old'}), 400, 20400);
  wrong(await server.api('PATCH', target, {Status: 1}), 400, 20400);
  wrong(await server.api('PATCH', target, 'Colour=red', {'content-type':
    'application/x-www-form-urlencoded'}), 400, 20001);
  wrong(await server.api('PUT', target, {Name: 'x'}), 405, 20004);
  wrong(await server.api('PATCH', `/v1/secrets/whs_${'0'.repeat(26)}`, {}), 404, 20404);
  const list = await server.must('GET', '/v1/secrets?status=pending&page_number=1&page_size=10');
  assert.deepEqual(Object.keys(list), ['data', 'meta_data']);
  assert.deepEqual(Object.keys(list.meta_data),
    ['count', 'page_size', 'page_number', 'previous_page_url', 'next_page_url']);
  assert.ok(list.data.every((row) => row.status === 'pending'));
  wrong(await server.api('GET', '/v1/secrets?status=old'), 400, 20400);
});

test('CORS, request ids, health, readiness, metrics', async () => {
  const options = await server.request('OPTIONS', '/v1/destinations');
  assert.equal(options.status, 204);
  assert.match(options.headers['access-control-allow-methods'], /POST/);
  const ping = await server.request('GET', '/v1/ping', {headers: {'x-request-id': 'abc-1'}});
  assert.equal(ping.status, 200);
  assert.deepEqual(ping.body, {status: 'ok'});
  assert.equal(ping.headers['x-request-id'], 'abc-1');
  assert.equal(ping.headers['access-control-allow-origin'], '*');
  assert.equal((await server.request('GET', '/healthz')).status, 200);
  assert.equal((await server.request('GET', '/readyz')).status, 200);
  assert.equal((await server.request('GET', '/metrics')).status, 401);
  assert.equal((await server.request('GET', '/metrics',
    {headers: {authorization: 'Bearer wrong'}})).status, 403);
  const metrics = await server.request('GET', '/metrics',
    {headers: {authorization: `Bearer ${'x'.repeat(20)}`}});
  assert.equal(metrics.status, 200);
  assert.match(metrics.text, /^millrace_events_accepted_total \d+$/m);
  assert.equal((await server.metrics())['millrace_journal_failed'], 0);
});

test('serve says in one line what is wrong', async () => {
  const dir = folder('empty');
  try {
    writeFileSync(path.join(dir, 'notes.txt'), 'somebody else\'s');
    const foreign = millrace(['serve', '--data', dir, '--listen', '127.0.0.1:0']);
    assert.equal(foreign.status, 2, foreign.stderr);
    assert.equal(foreign.stderr.trim().split('\n').length, 1);
    assert.ok(foreign.stderr.includes(dir), foreign.stderr);
    const setting = millrace(['serve', '--data', server.data], {env: {MILLRACE_COLOUR: 'red'}});
    assert.equal(setting.status, 2);
    assert.match(setting.stderr, /MILLRACE_COLOUR/);
    const second = millrace(['serve', '--data', server.data, '--listen', '127.0.0.1:0']);
    assert.equal(second.status, 4, second.stderr);
    assert.equal(second.stderr.trim().split('\n').length, 1);
    assert.equal(millrace(['config', '--listen']).status, 2);
    assert.equal(millrace(['nonsense']).status, 2);
  } finally {
    remove(dir);
  }
});

test('a restart keeps tokens, destinations, de-duplication', async () => {
  const own = await Server.start({settings: {allow_http: 'true'}});
  try {
    const destination = await own.destination('https://example.com/x');
    const one = event();
    const first = await own.publish(one);
    const {token} = own;
    assert.deepEqual(await own.stop(), {code: 0, signal: null});
    await own.serve();
    own.token = token;
    assert.equal((await own.api('GET', `/v1/destinations/${destination.id}`)).status, 200);
    const again = await own.publish(one);
    assert.equal(again.body.duplicates, 1);
    assert.equal(again.body.events[0].sequence, first.body.events[0].sequence);
    await own.kill();
    await own.serve();
    assert.equal((await own.publish(one)).body.duplicates, 1);
  } finally {
    await own.end();
  }
});

test('the per-account rate is kept', async () => {
  const own = await Server.start({settings: {account_events_per_second: '5'}});
  try {
    const answers = [];
    for (let i = 0; i < 12; i++) {
      answers.push(await own.publish(event()));
    }
    const refused = answers.filter((answer) => answer.status === 429);
    assert.ok(refused.length > 0);
    assert.equal(refused[0].body.code, 31004);
    assert.ok(Number(refused[0].headers['retry-after']) >= 1);
    await until('room again', async () => (await own.publish(event())).status === 202);
  } finally {
    await own.end();
  }
});
