// The event catalogue through the API and the command line: publish, browse, breaking changes,
// calls at the same time, rights, what a restart keeps, the account's settings at ingest.
import assert from 'node:assert/strict';
import {randomUUID} from 'node:crypto';
import {writeFileSync} from 'node:fs';
import path from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {after, before, test} from 'node:test';
import {Receiver, Server, certificates, event, millrace, until} from './harness.mjs';

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

function wrong(answer, status, code, words = /./) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.body.code, code, answer.text);
  assert.match(answer.body.message, words);
  return answer.body;
}

const fresh = (name = 'Demo') => `${name}.${randomUUID()}`;
const object = (properties, required = []) => ({type: 'object', properties, required});
const whole = {type: 'integer'};

async function published(name, document = object({a: whole}), examples = [{a: 1}]) {
  return server.must('POST', '/v1/schemas', {name, document, examples});
}

test('a schema is published, browsed and served to everyone as it came', async () => {
  const name = fresh();
  const text = '{ "type":"object",\n "properties":{"a":{"type":"integer","x-unit":"s"}} }';
  const made = await server.api('POST', '/v1/schemas',
    `{"name":"${name}","document":${text},"examples":[{"a":1}]}`);
  assert.equal(made.status, 201, made.text);
  assert.equal(made.headers.location, `${server.url}/v1/schemas/${name}/versions/1`);
  assert.deepEqual(made.body.ignored, ['/properties/a/x-unit']);
  assert.equal(made.body.shipped, false);
  const open = await server.request('GET', `/schemas/${name}/1`);
  assert.equal(open.status, 200);
  assert.equal(open.text, text);
  assert.match(open.headers['content-type'], /^application\/schema\+json/);
  assert.match(open.headers['cache-control'], /immutable/);
  const version = await server.must('GET', `/v1/schemas/${name}/versions/1`);
  assert.deepEqual(version.document, JSON.parse(text));
  assert.deepEqual(version.examples, [{a: 1}]);
  assert.equal(version.url, `${server.url}/schemas/${name}/1`);
  const overview = await server.api('GET', `/v1/schemas/${name}`);
  assert.equal(overview.headers.etag, '"v1"');
  assert.equal(overview.body.versions.length, 1);
  assert.match(overview.body.date_created, /^\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z$/);
  wrong(await server.api('GET', `/v1/schemas/${name}/versions/2`), 404, 20404);
  wrong(await server.api('GET', `/v1/schemas/${name}/versions/01`), 404, 20404);
  wrong(await server.api('GET', '/v1/schemas/absent'), 404, 20404);
  wrong(await server.api('GET', '/v1/schemas/absent/versions'), 404, 20404);
  wrong(await server.request('GET', `/schemas/${name}/2`), 404, 20404);
});

test('lists have pages, filters and what is shipped', async () => {
  await published(fresh());
  const all = await server.must('GET', '/v1/schemas?page_size=1000');
  assert.ok(all.data.some((row) => row.name === 'SuperSim.ConnectionEvent' && row.shipped
    && row.latest_version === 2 && row.date_created === null));
  const page = await server.must('GET', '/v1/schemas?page_size=1&page_number=2');
  assert.equal(page.data.length, 1);
  assert.equal(page.data[0].name, all.data[1].name);
  assert.equal(page.meta_data.count, all.data.length);
  assert.match(page.meta_data.previous_page_url, /page_number=1/);
  const far = await server.must('GET', '/v1/schemas?page_number=99');
  assert.deepEqual(far.data, []);
  const versions = await server.must('GET', '/v1/schemas/SuperSim.ConnectionEvent/versions');
  assert.deepEqual(versions.data.map((row) => row.version), [1, 2]);
  const types = await server.must('GET', '/v1/event-types?product_group=Connectivity');
  assert.equal(types.meta_data.count, 7);
  assert.ok(types.data.every((row) => row.schema === 'SuperSim.ConnectionEvent'));
  const none = await server.must('GET', '/v1/event-types?product_group=Connectivity&product=none');
  assert.equal(none.meta_data.count, 0);
  wrong(await server.api('GET', '/v1/event-types?status=new'), 400, 20400, /status/);
  wrong(await server.api('GET', '/v1/event-types?color=red'), 400, 20001, /color/);
  wrong(await server.api('GET', '/v1/schemas?page_size=0'), 400, 20400);
});

test('what breaks is listed with its path, and taken when it is allowed', async () => {
  const name = fresh();
  await published(name, object({a: whole, b: {type: 'string'}}, ['a']));
  const body = {document: object({a: {type: 'string'}}, ['a', 'c']), examples: [{a: '1', c: 2}]};
  const refused = wrong(await server.api('POST', `/v1/schemas/${name}/versions`, body), 400, 31021,
    /allow_breaking/);
  const pointers = refused.breaking.map((row) => row.pointer);
  assert.ok(pointers.some((pointer) => pointer.startsWith('/properties/a')), pointers.join());
  assert.ok(pointers.some((pointer) => pointer.startsWith('/properties/b')), pointers.join());
  assert.ok(pointers.some((pointer) => pointer.startsWith('/required')), pointers.join());
  assert.equal((await server.must('GET', `/v1/schemas/${name}`)).latest_version, 1);
  const taken = await server.api('POST', `/v1/schemas/${name}/versions`,
    {...body, allow_breaking: true});
  assert.equal(taken.status, 201, taken.text);
  assert.deepEqual(taken.body.breaking, refused.breaking);
  assert.equal(taken.headers.etag, '"v2"');
});

test('a document or an example that is wrong is refused with its place', async () => {
  const name = fresh();
  const document = await server.api('POST', '/v1/schemas',
    {name, document: {properties: {a: {type: 'int'}}}, examples: [{}]});
  assert.equal(wrong(document, 400, 31021, /\/properties\/a\/type/).errors[0].pointer,
    '/properties/a/type');
  const example = await server.api('POST', '/v1/schemas',
    {name, document: object({a: whole}), examples: [{a: 1}, {a: 'x'}]});
  const errors = wrong(example, 400, 31021, /number 1/).errors;
  assert.equal(errors[0].example, 1);
  assert.equal(errors[0].instance, '/a');
  assert.equal(errors[0].rule, 'type');
  wrong(await server.api('POST', '/v1/schemas', {name, document: true}), 400, 20002, /examples/);
  wrong(await server.api('POST', '/v1/schemas',
    {name, document: true, examples: [1], what: 1}), 400, 20001, /what/);
  wrong(await server.api('POST', '/v1/schemas',
    {name, document: {description: 'x'.repeat(262144)}, examples: [1]}), 400, 31021, /262144/);
  wrong(await server.api('POST', '/v1/schemas', {name, document: true, examples:
    ['x'.repeat(70000)]}), 400, 31021, /65536/);
  wrong(await server.api('POST', '/v1/schemas', {name: 'test', document: true, examples: [1]}),
    409, 20409);
  wrong(await server.api('POST', '/v1/schemas/test/versions', {document: true, examples: [1]}),
    409, 20409);
});

test('of publications at the same time one wins, and numbers have no gaps', async () => {
  const name = fresh();
  await published(name);
  const same = {document: object({a: whole, b: whole}), examples: [{a: 1}]};
  const twins = await Promise.all(Array.from({length: 12}, () =>
    server.api('POST', `/v1/schemas/${name}/versions`, same)));
  assert.deepEqual(twins.map((one) => one.status).sort(), [201, ...Array(11).fill(409)]);
  const guarded = await Promise.all(Array.from({length: 12}, (_, i) =>
    server.api('POST', `/v1/schemas/${name}/versions`,
      {document: object({a: whole, b: whole, [`c${i}`]: whole}), examples: [{a: 1}],
        allow_breaking: true}, {'if-match': '"v2"'})));
  assert.deepEqual(guarded.map((one) => one.status).sort(), [201, ...Array(11).fill(412)]);
  const free = await Promise.all(Array.from({length: 12}, (_, i) =>
    server.api('POST', `/v1/schemas/${name}/versions`,
      {document: object({a: whole, [`d${i}`]: whole}), examples: [{a: 1}], allow_breaking: true})));
  assert.deepEqual(free.map((one) => one.body.version).sort((a, b) => a - b),
    Array.from({length: 12}, (_, i) => i + 4));
  const names = fresh();
  const schemas = await Promise.all(Array.from({length: 8}, () =>
    server.api('POST', '/v1/schemas', {name: names, document: true, examples: [1]})));
  assert.deepEqual(schemas.map((one) => one.status).sort(), [201, ...Array(7).fill(409)]);
});

test('a repeated publication with its key gets the first answer', async () => {
  const name = fresh();
  const body = {name, document: object({a: whole}), examples: [{a: 1}]};
  const headers = {'idempotency-key': randomUUID()};
  const first = await server.api('POST', '/v1/schemas', body, headers);
  assert.equal(first.status, 201, first.text);
  const second = await server.api('POST', '/v1/schemas', body, headers);
  assert.equal(second.status, 201, second.text);
  assert.equal(second.text, first.text);
});

test('an event type is made, changed and used by the next event', async () => {
  const schema = fresh();
  const type = `com.example.${randomUUID()}`;
  await published(schema);
  const made = await server.api('POST', '/v1/event-types', {name: type, product: 'Meters',
    product_group: 'Things', schema});
  assert.equal(made.status, 201, made.text);
  assert.equal(made.headers.location, `${server.url}/v1/event-types/${type}`);
  assert.deepEqual(made.body.example, {a: 1});
  const got = await server.api('GET', `/v1/event-types/${type}`);
  assert.equal(got.headers.etag, '"v1"');
  assert.deepEqual(got.body, made.body);
  const hook = `/${randomUUID()}`;
  const destination = await server.destination(receiver.url + hook);
  await server.must('POST', '/v1/streaming-rules', {name: 'all things', product_group: 'Things',
    destination_id: destination.id, event_types: [{type: '*'}]});
  assert.equal((await server.publish(event({type}, {a: 1}))).status, 202);
  await until('delivered', () => receiver.events(hook).length === 1);
  assert.equal(receiver.events(hook)[0].dataschema, `${server.url}/schemas/${schema}/1`);
  await server.must('POST', `/v1/schemas/${schema}/versions`,
    {document: object({a: whole, b: whole}), examples: [{a: 1, b: 2}]});
  assert.equal((await server.publish(event({type}, {a: 2, b: 3}))).status, 202);
  await until('delivered', () => receiver.events(hook).length === 2);
  assert.equal(receiver.events(hook)[1].dataschema, `${server.url}/schemas/${schema}/2`);
  const changed = await server.api('PATCH', `/v1/event-types/${type}`,
    {status: 'deprecated', product_group: null}, {'if-match': '"v1"'});
  assert.equal(changed.status, 200, changed.text);
  assert.equal(changed.body.status, 'deprecated');
  assert.equal(changed.body.schema_version, 2);
  assert.deepEqual((await server.must('GET', `/v1/event-types/${type}`)), changed.body);
  wrong(await server.api('PATCH', `/v1/event-types/${type}`, {}, {'if-match': '"v1"'}), 412, 20412);
  wrong(await server.api('PATCH', `/v1/event-types/${type}`, {schema: 'test'}), 400, 20400);
  wrong(await server.api('POST', '/v1/event-types', {name: type, product: 'x', schema}), 409,
    20409);
  wrong(await server.api('GET', '/v1/event-types/com.absent'), 404, 20404);
  const shipped = '/v1/event-types/com.kore.iot.supersim.connection.data-session.ended';
  wrong(await server.api('PATCH', shipped, {product: 'Mine'}), 400, 20400, /program/);
  assert.equal((await server.must('PATCH', shipped, {status: 'restricted'})).status, 'restricted');
});

test('the account says what becomes of unknown types, at once', async () => {
  const own = await Server.start();
  try {
    const target = `/v1/accounts/${own.account_id}`;
    const got = await own.api('GET', target);
    assert.equal(got.status, 200, got.text);
    assert.deepEqual(Object.keys(got.body), ['id', 'date_created', 'friendly_name', 'status',
      'description', 'owner_email', 'settings', 'platforms']);
    assert.equal(got.body.settings.validate, 'reject');
    const unknown = () => own.publish(event({type: `com.unknown.${randomUUID()}`}));
    assert.equal((await unknown()).status, 202);
    const changed = await own.api('PATCH', target,
      {settings: {validate: 'warn', unknown_types: 'refuse'}}, {'if-match': got.headers.etag});
    assert.equal(changed.status, 200, changed.text);
    assert.equal(changed.body.settings.unknown_types, 'refuse');
    assert.equal(changed.body.settings.validate, 'warn');
    assert.notEqual(changed.headers.etag, got.headers.etag);
    wrong(await unknown(), 400, 31003);
    wrong(await own.api('PATCH', target, {settings: {validate: 'off'}},
      {'if-match': got.headers.etag}), 412, 20412);
    wrong(await own.api('PATCH', target, {settings: {validate: 'no'}}), 400, 20400, /validate/);
    wrong(await own.api('PATCH', target, {settings: {zzz: 1}}), 400, 20001, /zzz/);
    wrong(await own.api('PATCH', target, {status: 'ACTIVE'}), 400, 20001, /status/);
    wrong(await own.api('GET', '/v1/accounts/acct_other'), 404, 20404);
    wrong(await own.api('PATCH', '/v1/accounts/acct_other', {}), 404, 20404);
    await own.must('PATCH', target, {settings: {unknown_types: 'accept'}});
    assert.equal((await unknown()).status, 202);
  } finally {
    await own.end();
  }
});

test('a restart keeps the catalogue, and another account reads it only', async () => {
  const own = await Server.start();
  try {
    await own.must('POST', '/v1/schemas', {name: 'Kept', document: object({a: whole}),
      examples: [{a: 1}]});
    await own.must('POST', '/v1/event-types', {name: 'com.kept', product: 'P', schema: 'Kept'});
    const version = await own.must('GET', '/v1/schemas/Kept/versions/1');
    const type = await own.must('GET', '/v1/event-types/com.kept');
    const {id} = await own.must('POST', '/v1/accounts', {friendly_name: 'Child'});
    await own.stop();
    const db = new DatabaseSync(path.join(own.data, 'control.db'));
    db.prepare('UPDATE clients SET account = (SELECT number FROM accounts WHERE id = ?)').run(id);
    db.close();
    await own.serve();
    const here = (row) => JSON.parse(JSON.stringify(row).replaceAll(/http:\/\/127.0.0.1:\d+/g, ''));
    assert.deepEqual(here(await own.must('GET', '/v1/schemas/Kept/versions/1')), here(version));
    assert.deepEqual(here(await own.must('GET', '/v1/event-types/com.kept')), here(type));
    wrong(await own.api('POST', '/v1/schemas', {name: 'X', document: true, examples: [1]}), 403,
      20006, /root account/);
    wrong(await own.api('POST', '/v1/schemas/Kept/versions', {document: true, examples: [1]}), 403,
      20006);
    wrong(await own.api('POST', '/v1/event-types', {name: 'x', product: 'P', schema: 'Kept'}), 403,
      20006);
    wrong(await own.api('PATCH', '/v1/event-types/com.kept', {status: 'restricted'}), 403, 20006);
  } finally {
    await own.end();
  }
});

test('no token, no catalogue', async () => {
  for (const target of ['/v1/schemas', '/v1/schemas/test', '/v1/event-types', '/v1/accounts/x']) {
    wrong(await server.request('GET', target), 401, 20401);
  }
});

test('the command line publishes, lists and gets', async () => {
  const env = {MILLRACE_URL: server.url, MILLRACE_CLIENT_ID: server.client_id,
    MILLRACE_CLIENT_SECRET: server.client_secret};
  const file = (name, value) => {
    const at = path.join(server.home, name);
    writeFileSync(at, typeof value === 'string' ? value : JSON.stringify(value));
    return at;
  };
  const name = fresh('Cli');
  const run = (...args) => millrace(args, {env});
  const first = file('1.json', object({a: whole}));
  const example = file('example.json', {a: 1});
  let done = run('schema', 'publish', name, first, '--example', example);
  assert.equal(done.status, 0, done.stderr);
  assert.equal(JSON.parse(done.stdout).version, 1);
  const second = file('2.json', object({}, ['a']));
  done = run('schema', 'publish', name, second, `--example=${example}`);
  assert.equal(done.status, 1, done.stdout);
  assert.match(done.stderr, /\/properties\/a/);
  done = run('schema', 'publish', name, second, '--example', example, '--allow-breaking');
  assert.equal(done.status, 0, done.stderr);
  assert.equal(JSON.parse(done.stdout).version, 2);
  assert.equal(JSON.parse(run('schema', 'get', name).stdout).latest_version, 2);
  assert.deepEqual(JSON.parse(run('schema', 'get', name, '1').stdout).document,
    object({a: whole}));
  assert.ok(JSON.parse(run('schema', 'list').stdout).data.some((row) => row.name === name));
  const type = `com.cli.${randomUUID()}`;
  done = run('event-types', 'create', file('type.json', {name: type, product: 'P', schema: name}));
  assert.equal(done.status, 0, done.stderr);
  done = run('event-types', 'update', type, file('patch.json', {status: 'discontinued'}));
  assert.equal(JSON.parse(done.stdout).status, 'discontinued');
  assert.equal(JSON.parse(run('event-types', 'get', type).stdout).status, 'discontinued');
  assert.ok(JSON.parse(run('event-types', 'list').stdout).data.some((row) => row.name === type));
  assert.equal(run('schema', 'publish', name, file('bad.json', '{'), '--example', example).status,
    2);
  for (const args of [['publish', name, first], ['publish', name], ['get'], ['get', '../x'], [],
    ['publish', name, first, '--example', example, '--what']]) {
    assert.equal(run('schema', ...args).status, 2, args.join(' '));
  }
  assert.equal(run('event-types', 'get', '../x').status, 2);
});
