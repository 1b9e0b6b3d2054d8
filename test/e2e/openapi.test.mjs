// What holds for every call of the API: this walks /openapi.json, so a new route is in it from the
// day that it is there. What needs an object finds it in `objects`; a route without one fails.
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import path from 'node:path';
import {after, before, describe, test} from 'node:test';
import {millrace, Receiver, root, Server, until} from './harness.mjs';
import {addUser, Browser} from './people.mjs';

let server;
let receiver;
let browser; // of a signed-in user
let document;
let objects; // by path: () => URL of an object that is there
const operations = []; // {path, method, operation}

// Stands where {…} does; the segment before says of what.
const fill = (template) => {
  const found = objects[template.replace(
    /\/(test|discard|metrics|signing-secret|versions|rotate-secret|revoke-tokens|transfer-ownership|invite|reset-link)$/,
    '')];
  assert.ok(found || !template.includes('{'), `${template}: the test has no object for it`);
  return found ? template.replace(/^.*\}/, found) : template;
};

before(async () => {
  receiver = await Receiver.start();
  server = new Server();
  server.init();
  addUser(server, 'walker@example.com', 'admin', 'a walker walks along');
  await server.serve();
  browser = await Browser.open(server, 'walker@example.com', 'a walker walks along');
  document = (await server.request('GET', '/openapi.json')).body;
  for (const [template, item] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      operations.push({path: template, method, operation});
    }
  }
  const destination = await server.destination(`${receiver.url}/gone`, {retry_policy: {delays_ms: []}});
  const rule = await server.rule(destination, 'com.example.walk');
  const secret = await server.secret();
  await server.must('POST', '/v1/schemas', {name: 'walk', document: {type: 'object'}, examples: [{}]});
  await server.must('POST', '/v1/event-types', {name: 'com.example.own', product: 'P', schema: 'walk'});
  receiver.modes.set('/gone', 500);
  await server.publish({id: '1', source: 's', type: 'com.example.walk', specversion: '1.0', data: {}});
  const letter = await until('a dead letter', async () =>
    (await server.must('GET', '/v1/dead-letters')).data[0]);
  const callback = await server.must('POST', '/v1/callbacks', {url: `${receiver.url}/callback`});
  const client = await server.must('POST', '/v1/clients', {name: 'walk', locked: false,
    scopes: {globalResources: [], products: ['SuperSIM']}});
  const invited = await server.must('POST', '/v1/users', {email: 'walked@example.com', role: 'default'});
  const link = new URL(invited.invite_url).pathname;
  const session = (await browser.call('GET', '/v1/session')).body;
  objects = {
    '/v1/clients/{client_id}': `/v1/clients/${client.client_id}`,
    '/v1/users/{id}': `/v1/users/${invited.id}`,
    '/v1/sessions/{id}': `/v1/sessions/${session.id}`,
    '/v1/links/{token}': `/v1${link}`,
    '/links/{token}': link,
    '/v1/destinations/{id}': `/v1/destinations/${destination.id}`,
    '/v1/streaming-rules/{id}': `/v1/streaming-rules/${rule.id}`,
    '/v1/secrets/{id}': `/v1/secrets/${secret.id}`,
    '/v1/schemas/{name}': '/v1/schemas/walk',
    '/v1/schemas/{name}/versions/{n}': '/v1/schemas/walk/versions/1',
    '/v1/event-types/{type}': '/v1/event-types/com.example.own',
    '/v1/accounts/{id}': `/v1/accounts/${server.account_id}`,
    '/v1/callbacks/{id}': `/v1/callbacks/${callback.id}`,
    '/v1/dead-letters/{id}': `/v1/dead-letters/${letter.id}`,
    '/schemas/{name}/{version}': '/schemas/walk/1',
    '/errors/{code}': '/errors/20400',
  };
});

after(async () => {
  await server.end();
  await receiver.end?.();
});

// As who may make the call: a client, or where it is a user's own thing, the user.
const call = (one, target, body, headers = {}) => one.operation.security.some(({bearer}) => bearer) ||
  !needsToken(one) ? server.api(one.method.toUpperCase(), target, body, headers)
  : browser.call(one.method.toUpperCase(), target, body, headers);
const form = ({operation}) => operation.requestBody?.content['application/x-www-form-urlencoded'];
const needsToken = ({operation}) => operation.security.length > 0;
const body = ({operation}) => operation.requestBody?.content['application/json'];

describe('every call', () => {
  test('stands in the table of routes, and the table in the document', () => {
    const rows = [...millrace(['reference', 'api']).stdout.matchAll(/^\| ([A-Z]+) \| `([^`]+)` \|/gm)]
      .map(([, method, template]) => `${method.toLowerCase()} ${template}`);
    assert.deepEqual(operations.map((one) => `${one.method} ${one.path}`).sort(), rows.sort());
    assert.equal(new Set(operations.map((one) => one.operation.operationId)).size, operations.length);
  });

  test('refuses an unknown parameter and names it', async () => {
    for (const one of operations) {
      const open = ['tokenOptions', 'token', 'metrics'].includes(one.operation.operationId);
      if (open || one.method === 'options') {
        continue;
      }
      const json = one.operation.requestBody ? {} : undefined;
      const answer = await call(one, `${fill(one.path)}?colour=red`, json,
        one.operation.operationId === 'eventsPublish' ? {'content-type': 'application/json'} : {});
      assert.equal(answer.body?.code, 20001, `${one.method} ${one.path}: ${answer.text}`);
      assert.match(answer.body.message, /colour|unknown parameter/, one.path);
    }
  });

  test('refuses an unknown member, at every level, and names it', async () => {
    for (const one of operations.filter(body)) {
      if (one.operation.operationId === 'eventsPublish') {
        continue;
      }
      const answer = await call(one, fill(one.path), {colour: 'red'});
      assert.equal(answer.body?.code, 20001, `${one.method} ${one.path}: ${answer.text}`);
      assert.match(answer.body.message, /colour/, one.path);
    }
    const at = objects['/v1/destinations/{id}'];
    for (const settings of [{colour: 'red'}, {colour: null}]) {
      const answer = await server.api('PATCH', at, {settings});
      assert.equal(answer.body.code, 20001);
      assert.match(answer.body.message, /settings\.colour/);
    }
  });

  test('cuts no character where it names what is long', async () => {
    for (const n of [97, 98, 99, 100]) {
      const name = 'x'.repeat(n) + encodeURIComponent('\u{1d401}'.repeat(4));
      const answer = await server.api('GET', `/v1/destinations?${name}=1`);
      assert.equal(answer.body.code, 20001);
      assert.doesNotMatch(answer.text, /\ufffd/);
    }
  });

  test('echoes a request id, and makes one', async () => {
    for (const one of operations.filter(({path: at}) => at !== '/v1/tail')) {
      const named = await call(one, `${fill(one.path)}?colour=red`,
        one.operation.requestBody ? '{}' : undefined, {'x-request-id': 'mine-7'});
      assert.equal(named.headers['x-request-id'], 'mine-7', one.path);
    }
  });

  test('refuses a content type that is not documented', async () => {
    for (const one of operations.filter((each) => (body(each) || form(each)) &&
      each.operation.operationId !== 'token')) { // RFC 6749 has 400 there
      const answer = await call(one, fill(one.path), 'x',
        {'content-type': 'text/csv'});
      assert.equal(answer.status, 415, `${one.method} ${one.path}: ${answer.text}`);
    }
  });

  test('asks for a token where it is documented, and only there', async () => {
    for (const one of operations) {
      const answer = await server.request(one.method.toUpperCase(), fill(one.path),
        {headers: {'content-type': 'application/json'}, body: one.operation.requestBody && '{}'});
      assert.equal(answer.status === 401 && answer.body?.code !== undefined, needsToken(one),
        `${one.method} ${one.path}: ${answer.status}`);
    }
  });
});

describe('objects', () => {
  test('each GET of one has an ETag, which each change honours', async () => {
    for (const one of operations.filter(({method}) => method === 'get')) {
      const isObject = /\}$/.test(one.path) && needsToken(one);
      if (isObject) {
        const answer = await call(one, fill(one.path));
        assert.match(answer.headers.etag ?? '', /^"v\d+"$/, one.path);
        assert.ok(one.operation.responses[200].headers.ETag, one.path);
      }
    }
    const changes = operations.filter(({method, operation}) =>
      ['patch', 'delete'].includes(method) && operation.responses[412]);
    assert.ok(changes.length >= 12);
    for (const one of changes) {
      const answer = await call(one, fill(one.path),
        one.method === 'patch' ? {} : undefined, {'if-match': '"v4000000"'});
      assert.deepEqual([answer.status, answer.body?.code % 1000], [412, 412],
        `${one.method} ${one.path}: ${answer.text}`);
      assert.ok(one.operation.parameters.some(({name}) => name === 'If-Match'), one.path);
    }
  });

  test('a change with the present ETag gives the next one', async () => {
    for (const one of operations.filter(({method}) => method === 'patch')) {
      const at = fill(one.path);
      const before = document.paths[one.path].get ? (await call({...one, method: 'get'}, at)).headers.etag : '*';
      const answer = await call(one, at, {}, {'if-match': before});
      assert.equal(answer.status, 200, `${one.path}: ${answer.text}`);
      assert.match(answer.headers.etag, /^"v\d+"$/, one.path);
    }
  });
});

describe('pages of error codes', () => {
  const codes = () => [...new Set(Object.entries(document.components.schemas)
    .filter(([name]) => name.startsWith('Refusal'))
    .flatMap(([, schema]) => schema.properties.code.enum))];

  test('each code has one, with cause, remedy and an example, and the index names them all', async () => {
    const index = await server.request('GET', '/errors');
    assert.ok(codes().length >= 38);
    for (const code of codes()) {
      const page = await server.request('GET', `/errors/${code}`);
      assert.equal(page.status, 200, code);
      for (const part of ['<h2>Why</h2>', '<h2>What to do</h2>', 'An answer with this code',
        `&quot;code&quot;:${code}`, 'width=device-width', 'color-scheme:light dark']) {
        assert.ok(page.text.includes(part), `${code}: ${part}`);
      }
      assert.doesNotMatch(page.text, /<script|https?:(?!\/\/127\.0\.0\.1)/);
      assert.ok(index.text.includes(`href="/errors/${code}"`), code);
    }
    assert.equal((await server.request('GET', '/errors/1')).status, 404);
    assert.equal((await server.request('GET', '/errors/x')).status, 404);
  });

  test('its style is the one that its policy allows', async () => {
    const page = await server.request('GET', '/errors/20400');
    const style = /<style>(.*)<\/style>/.exec(page.text)[1];
    const {createHash} = await import('node:crypto');
    const hash = createHash('sha256').update(style).digest('base64');
    assert.ok(page.headers['content-security-policy'].includes(`'sha256-${hash}'`));
  });

  test('info and more_info of a refusal lead there', async () => {
    const refused = await server.api('GET', '/v1/destinations?page_size=0');
    assert.equal(refused.body.info, refused.body.more_info);
    const page = await server.request('GET', new URL(refused.body.info).pathname);
    assert.match(page.text, /Malformed request/);
  });

  test('every code in the sources is in the table', () => {
    const known = new Set(codes());
    for (const name of ['ingest', 'api', 'query', 'catalogue', 'dead_letters', 'public', 'preview']) {
      const text = readFileSync(path.join(root, `src/api/${name}.c`), 'utf8');
      for (const [, code] of text.matchAll(/\b((?:20|30|31|40)\d{3})\b[,;)]/g)) {
        assert.ok(known.has(Number(code)), `src/api/${name}.c: ${code}`);
      }
    }
  });
});
