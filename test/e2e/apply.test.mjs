// export and apply: the account becomes what the file says, and nothing else; what is wrong with a
// file is told with its place before anything is asked of the server.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {existsSync, readFileSync, readdirSync, statSync, writeFileSync} from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import {after, before, test} from 'node:test';
import {Server, binary, folder, millrace, remove} from './harness.mjs';

let dir;
let server;
const at = (name) => path.join(dir, name);
const environment = (of) => ({MILLRACE_URL: of.url, MILLRACE_CLIENT_ID: of.client_id,
  MILLRACE_CLIENT_SECRET: of.client_secret, BILLING_TOKEN: 'token-of-billing'});

before(async () => {
  dir = folder('apply');
  server = await Server.start();
  writeFileSync(at('key'), 'key-of-billing\n');
  writeFileSync(at('point.json'), '{"type": "object", "properties": {"x": {"type": "number"}}}\n');
});

after(async () => {
  await server?.end();
  remove(dir);
});

function write(name, text) {
  writeFileSync(at(name), text);
  return at(name);
}

function apply(text, args = [], {on = server, env = {}, input = ''} = {}) {
  return millrace(['apply', write('file.yaml', text), ...args],
    {env: {...environment(on), ...env}, input});
}

function applied(text, args, options) {
  const done = apply(text, args, options);
  assert.equal(done.status, 0, done.stderr + done.stdout);
  return done.stdout;
}

function exported(on = server, args = []) {
  const done = millrace(['export', ...args], {env: environment(on)});
  assert.equal(done.status, 0, done.stderr);
  return done.stdout;
}

const WHOLE = `millrace: 1
schemas:
  - name: Apply.Outer
    versions:
      - version: 1
        document: {type: object, properties: {at: {$ref: /schemas/Apply.Point/1}}}
        examples: [{at: {x: 1}}]
  - name: Apply.Point
    versions:
      - version: 1
        document: !json point.json
        examples:
          - {x: 1.50}
      - version: 2
        allow_breaking: true
        document: {type: object, properties: {x: {type: integer}}, required: [x]}
        examples: [{x: 2}]
event_types:
  - name: com.example.apply
    product: Applying
    product_group: Applied
    schema: Apply.Point
    description: "line one\\nline two"
destinations:
  - name: Billing
    kind: webhook
    settings:
      url: https://billing.example/hook#cbs=kore
      headers: {X-Token: !env BILLING_TOKEN, X-Key: !file key}
      rate_per_second: 100
      retry_policy: {delays_ms: [1000, 2000]}
    metadata:
      "yes": "no"
      odd: "\\u2028\\x85é 😀 \\" ' # : - {"
      deep: {list: [1, null, {a: 1e2}], "": 12345678901234567890}
  - name: Standard
    kind: webhook
    status: disabled
    description: |
      two
      lines
    settings: {url: "https://standard.example/", signatures: [kore, standard-webhooks]}
rules:
  - name: all
    destination: Billing
    product_group: Applied
    event_types: [{type: "*"}]
    filter: {pattern: {data: {x: [{numeric: [">", 1.5]}]}}}
  - name: old
    status: disabled
    destination: Standard
    event_types: [{type: com.example.apply, schema_version: 1}, {type: com.example.other}]
    filter: {cesql: "subject LIKE 'a%'"}
    sampling: 10
clients:
  - name: reader
    locked: null
    enabled: false
    token_expiry: 30 days
    scopes: {products: [SuperSIM, {resourceName: Events, access: [Write]}]}
  - name: builder
    client_type: admin
    locked: true
    scopes: {globalResources: [{resourceName: API Clients, access: [Read]}], products: [Webhooks]}
`;

test('a dry run tells the difference and changes nothing', async () => {
  const before = exported();
  const dry = apply(WHOLE, ['--dry-run']);
  assert.equal(dry.status, 1, dry.stderr);
  assert.equal(dry.stderr, '');
  assert.match(dry.stdout, /^schema Apply\.Outer: create\n {2}version 1: publish\n/);
  assert.match(dry.stdout, /^destination Billing: create$/m);
  assert.match(dry.stdout, /^client reader: create$/m);
  assert.match(dry.stdout, /\n9 to create, 0 to change, 0 to delete, 0 unchanged, 0 not in the file\n$/);
  assert.equal(exported(), before);
});

test('apply makes what the file says; a second time it changes nothing', async () => {
  const out = applied(WHOLE);
  // Apply.Outer refers to Apply.Point, which stands behind it.
  assert.match(out, /^schema Apply\.Point: version 1 published\n/);
  assert.match(out, /^schema Apply\.Outer: version 1 published$/m);
  assert.match(out, /^destination Standard: created dst_\w{26}\n {2}its secret, shown this once: whsec_\S+$/m);
  assert.match(out, /^client reader: created apiclient_\w+\n {2}its secret, shown this once: [\w-]{32,}$/m);
  assert.match(out, /\n9 created, 0 changed, 0 deleted, 0 unchanged, 0 not in the file\n$/);
  assert.ok(!out.includes('token-of-billing') && !out.includes('key-of-billing'));
  const text = exported();
  assert.equal(applied(WHOLE), '0 created, 0 changed, 0 deleted, 9 unchanged, 0 not in the file\n');
  const dry = apply(WHOLE, ['--dry-run', '--json']);
  assert.equal(dry.status, 0, dry.stdout);
  assert.ok(JSON.parse(dry.stdout).objects.every((one) => one.action === 'unchanged'));
  assert.equal(exported(), text);
  const {data: destinations} = await server.must('GET', '/v1/destinations');
  const billing = destinations.find((one) => one.name === 'Billing');
  assert.deepEqual(billing.metadata, {yes: 'no', odd: '\u2028\u0085é 😀 " \' # : - {',
    deep: {list: [1, null, {a: 100}], '': 12345678901234567890}});
  assert.deepEqual(billing.settings.retry_policy, {delays_ms: [1000, 2000]});
  const {data: rules} = await server.must('GET', '/v1/streaming-rules');
  assert.equal(rules.find((one) => one.name === 'all').destination_id, billing.id);
  const {data: versions} = await server.must('GET', '/v1/schemas/Apply.Point/versions');
  assert.deepEqual(versions.map((one) => one.version), [1, 2]);
});

test('the export of an account, applied to an empty one, is its export too', async () => {
  const other = await Server.start();
  try {
    const text = exported();
    const [hidden] = [...text.matchAll(/X-Token: "\[redacted\]"/g)];
    assert.ok(hidden);
    const bare = apply(text, [], {on: other});
    assert.equal(bare.status, 1);
    assert.match(bare.stderr, /file\.yaml:\d+:\d+: settings\.headers\.X-Token is "\[redacted\]".*!env NAME or !file PATH\n$/);
    const filled = text.replace('X-Token: "[redacted]"', 'X-Token: !env BILLING_TOKEN')
      .replace('X-Key: "[redacted]"', 'X-Key: !file key');
    applied(filled, ['--secrets-out', at('secrets')], {on: other});
    assert.equal(exported(other), text);
    const files = readdirSync(at('secrets')).sort();
    assert.equal(files.length, 3, files.join());
    assert.equal(statSync(at('secrets')).mode & 0o77, 0);
    for (const name of files) {
      assert.equal(statSync(path.join(at('secrets'), name)).mode & 0o777, 0o600);
    }
    const client = JSON.parse(readFileSync(path.join(at('secrets'),
      files.find((name) => name.startsWith('apiclient_'))), 'utf8'));
    assert.match(client.client_secret, /^[\w-]{32,}$/);
    assert.ok(['reader', 'builder'].includes(client.name));
  } finally {
    await other.end();
  }
});

test('what is shown as changed is changed, member by member, and nothing else', async () => {
  const {data: [before]} = await server.must('GET', '/v1/destinations?page_size=1');
  await server.must('PATCH', `/v1/destinations/${before.id}`, {description: 'by hand'});
  const text = `millrace: 1
destinations:
  - name: Billing
    kind: webhook
    settings: {url: https://billing.example/v2, headers: {X-Token: "[redacted]", X-New: fresh}}
    metadata: {odd: plain, deep: {more: true}}
rules:
  - {name: all, destination: Standard, event_types: [{type: com.example.apply}], sampling: 2}
`;
  const dry = apply(text, ['--dry-run']);
  assert.equal(dry.status, 1, dry.stderr);
  for (const line of [
    '  settings.url: "https://billing.example/hook#cbs=kore" → "https://billing.example/v2"',
    '  settings.headers.X-New: (none) → [given]', '  settings.headers.X-Key: [redacted] → (none)',
    '  metadata.deep.more: (none) → true', '  metadata.deep.list: [1,null,{"a":1e2}] → (none)',
    '  metadata.yes: "no" → (none)', '  destination: Billing → Standard', '  sampling: 1 → 2',
    '  event_types: [{"type":"*","schema_version":null}] → [{"type":"com.example.apply"}]',
    'destination Standard: not in the file', 'rule old: not in the file']) {
    assert.ok(dry.stdout.split('\n').includes(line), `${line}\n${dry.stdout}`);
  }
  assert.ok(!dry.stdout.includes('fresh'));
  assert.match(dry.stdout, /\n0 to create, 2 to change, 0 to delete, 0 unchanged, 2 not in the file\n$/);
  applied(text);
  const after = await server.must('GET', `/v1/destinations/${before.id}`);
  assert.equal(after.description, 'by hand');
  assert.deepEqual(after.metadata, {odd: 'plain', deep: {more: true}});
  assert.deepEqual(after.settings.headers, {'X-Token': '[redacted]', 'X-New': '[redacted]'});
  assert.equal(after.settings.rate_per_second, 100);
  assert.equal(applied(text), '0 created, 0 changed, 0 deleted, 2 unchanged, 2 not in the file\n');
  // A hidden value is written again only where that is asked for.
  const again = apply(text, ['--dry-run', '--rewrite']);
  assert.match(again.stdout, /^ {2}settings\.headers\.X-New: \[redacted\] → \[given\]$/m);
  applied(WHOLE);
});

test('--prune deletes what the file lacks, after a word; never otherwise', async () => {
  const text = `millrace: 1
destinations:
  - {name: Billing, kind: webhook, settings: {url: "https://billing.example/hook#cbs=kore"}}
rules: []
clients:
  - {name: reader, locked: null, scopes: {products: [SuperSIM, {resourceName: Events, access: [Write]}]}}
`;
  const names = async () => {
    const lists = await Promise.all(['/v1/destinations', '/v1/streaming-rules',
      '/v1/clients?page_size=100&page_number=1'].map((one) => server.must('GET', one)));
    return lists.flatMap((list) => (list.data ?? list.clients).map((one) => one.name)).sort();
  };
  const all = await names();
  assert.equal(applied(text), '0 created, 0 changed, 0 deleted, 2 unchanged, 4 not in the file\n');
  const dry = apply(text, ['--dry-run', '--prune']);
  assert.equal(dry.status, 1);
  assert.match(dry.stdout, /^destination Standard: delete$/m);
  for (const input of ['', 'no\n', 'YES\n']) {
    const asked = apply(text, ['--prune'], {input});
    assert.equal(asked.status, 1);
    assert.match(asked.stderr, /to delete: rule all \(rul_\w+\)\n[^]*Delete 4 that the file does not name/);
    assert.match(asked.stderr, /nothing was changed/);
  }
  assert.deepEqual(await names(), all);
  const out = applied(text, ['--prune'], {input: 'yes\n'});
  assert.match(out, /^client builder: deleted apiclient_\w+\nrule old: deleted [^]*destination Standard: deleted/);
  // The client that the command runs with is not in the file, and stays.
  const left = await names();
  assert.deepEqual(left, all.filter((one) => !['Standard', 'all', 'old', 'builder'].includes(one)));
  assert.ok(left.length > 2);
  const needed = `millrace: 1
destinations: []
rules: [{name: r, destination: Billing, event_types: [{type: a}]}]
`;
  const refused = apply(needed, ['--prune', '--yes']);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /:3:\d+: the rule needs the destination "Billing", which the file lacks and --prune would delete/);
  assert.match(applied('millrace: 1\ndestinations: []\n', ['--prune', '--yes']), /1 deleted/);
  applied(WHOLE);
});

test('the first refusal ends it: what was done, what was not; and the file can be applied again', async () => {
  const text = (url) => `millrace: 1
destinations:
  - {name: First, kind: webhook, settings: {url: "https://first.example/"}}
  - name: Second
    kind: webhook
    settings: {url: "${url}"}
  - {name: Third, kind: webhook, settings: {url: "https://third.example/"}}
rules:
  - {name: third, destination: Third, event_types: [{type: a}]}
`;
  const done = apply(text('https://10.0.0.1/'));
  assert.equal(done.status, 1);
  assert.match(done.stdout, /^destination First: created dst_\w+\n$/);
  assert.match(done.stderr, new RegExp('^millrace: refused: .*code 31010.*\n'
    + 'millrace: .*file\\.yaml:4:5: that is the answer to the destination "Second"\n'
    + ' {2}not done: destination Second: create\n {2}not done: destination Third: create\n'
    + ' {2}not done: rule third: create\nWhat was done stays; apply the file again.*\n$'));
  assert.match(applied(text('https://second.example/')), /\n3 created, 0 changed, 0 deleted, 1 unchanged/);
  applied(WHOLE, ['--prune', '--yes']);
});

// Lets a call of the command through only after somebody else's.
async function between(target, meanwhile) {
  const proxy = http.createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', async () => {
      if (request.method === 'PATCH' && target.test(request.url)) {
        await meanwhile();
      }
      const {host, connection, ...headers} = request.headers;
      const answer = await server.request(request.method, request.url,
        {body: Buffer.concat(parts), headers});
      const {'transfer-encoding': chunked, connection: kept, ...kind} = answer.headers;
      response.writeHead(answer.status, {...kind, 'content-length': Buffer.byteLength(answer.text)});
      response.end(answer.text);
    });
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  return proxy;
}

test('what another writes meanwhile is not overwritten', async () => {
  const {data} = await server.must('GET', '/v1/destinations');
  const billing = data.find((one) => one.name === 'Billing');
  const proxy = await between(/destinations/, () =>
    server.must('PATCH', `/v1/destinations/${billing.id}`, {metadata: {by: 'another'}}));
  const text = `millrace: 1
destinations:
  - {name: Billing, kind: webhook, settings: {url: "https://billing.example/v3"}}
`;
  const child = spawn(binary, ['apply', write('file.yaml', text)], {env: {...process.env,
    ...environment(server), MILLRACE_URL: `http://127.0.0.1:${proxy.address().port}`}});
  let err = '';
  child.stderr.on('data', (bytes) => { err += bytes; });
  const code = await new Promise((resolve) => child.on('close', resolve));
  await new Promise((resolve) => proxy.close(resolve));
  assert.equal(code, 1, err);
  assert.match(err, /status 412[^]*somebody else changed it meanwhile[^]*not done: destination Billing: change/);
  const now = await server.must('GET', `/v1/destinations/${billing.id}`);
  assert.equal(now.settings.url, billing.settings.url);
  assert.equal(now.metadata.by, 'another');
  applied(WHOLE);
});

test('schemas: only the next version is published, a published one never changes', async () => {
  const schema = (version, document, examples = '[{x: 1}]') => `millrace: 1
schemas:
  - name: Apply.Point
    versions:
      - version: ${version}
        document: ${document}
        examples: ${examples}
`;
  for (const [text, about] of [
    [schema(1, '{type: string}'), /:6:19: version 1 of schema "Apply\.Point" is published with other content/],
    [schema(1, '!json point.json', '[{x: 2}]'), /:7:19: version 1 .* with other examples/],
    [schema(4, '{}'), /:5:18: the account has 2 versions of schema "Apply\.Point", so the next is 3/],
    [schema(0, '{}'), /:5:18: versions are whole numbers from 1/],
    ['millrace: 1\nschemas: [{name: a, versions: []}]\n', /:2:11: a schema needs at least version 1/]]) {
    const done = apply(text);
    assert.equal(done.status, 1, done.stdout);
    assert.match(done.stderr, about);
  }
  const breaking = apply(schema(3, '{type: object, properties: {x: {type: string}}}', '[{x: a}]'));
  assert.equal(breaking.status, 1);
  assert.match(breaking.stderr, /code 31021[^]*not done: schema Apply\.Point: change/);
  const {data: versions} = await server.must('GET', '/v1/schemas/Apply.Point/versions');
  assert.equal(versions.length, 2);
});

test('names: twice in the account, links that lead nowhere, the client of the command', async () => {
  const url = 'https://twice.example/';
  const made = [];
  for (let i = 0; i < 2; i++) {
    made.push(await server.must('POST', '/v1/destinations',
      {name: 'Twice', kind: 'webhook', settings: {url}}));
  }
  for (const done of [apply('millrace: 1\ndestinations: []\n'),
    millrace(['export'], {env: environment(server)})]) {
    assert.equal(done.status, 1);
    assert.match(done.stderr, /two destinations of the account are named "Twice" \(dst_\w+, dst_\w+\)/);
  }
  // Event types and their schemas know nothing of it.
  exported(server, ['--only', 'event_types,schemas']);
  for (const one of made) {
    await server.must('DELETE', `/v1/destinations/${one.id}`);
  }
  const lost = apply('millrace: 1\nrules:\n  - {name: r, destination: Nowhere, event_types: [{type: a}]}\n');
  assert.equal(lost.status, 1);
  assert.match(lost.stderr, /:3:28: there is no destination "Nowhere" in the account/);
  const {client} = await server.must('GET', `/v1/clients/${server.client_id}`);
  const own = applied(`millrace: 1\nclients: [{name: ${JSON.stringify(client.name)}, locked: true, scopes: {}}]\n`);
  assert.match(own, /^0 created, 0 changed/);
});

test('clients and rules of one name: export tells them apart by id, apply finds each again', async () => {
  const from = await Server.start();
  const to = await Server.start();
  try {
    const make = (name, access) => from.must('POST', '/v1/clients',
      {name, locked: true, scopes: {products: [{resourceName: 'Events', access: [access]}]}});
    const twins = [];
    for (const access of ['Read', 'Write']) {
      twins.push((await make('Twin', access)).client_id);
    }
    const alone = (await make('Alone', 'Read')).client_id;
    const destination = (await from.must('POST', '/v1/destinations',
      {name: 'D', kind: 'webhook', settings: {url: 'https://twin.example/'}})).id;
    const rules = [];
    for (const type of ['com.example.b', 'com.example.a']) {
      rules.push((await from.must('POST', '/v1/streaming-rules',
        {name: 'Rule', destination_id: destination, event_types: [{type}]})).id);
    }
    const text = exported(from);
    for (const [i, id] of twins.entries()) {
      assert.match(text, new RegExp(`- name: Twin\\n    client_id: ${id}\\n[^-]*[^]*${['Read', 'Write'][i]}`));
    }
    assert.ok(!text.includes(alone), 'a name that tells is enough');
    assert.ok(!text.includes(destination));
    assert.match(text, new RegExp(`- name: Rule\\n    id: ${rules[0]}\\n[^]*- name: Rule\\n    id: ${rules[1]}\\n`));
    assert.match(applied(text, ['--prune', '--yes'], {on: from}), /^0 created, 0 changed, 0 deleted/m);
    // The other way round, each is still itself; a new name is a change of it.
    const items = text.slice(text.indexOf('  - name: Twin'));
    const second = items.indexOf('  - name: Twin', 1);
    const turned = `millrace: 1\nclients:\n${items.slice(second)}${items.slice(0, second).replace('Twin', 'Was Twin')}`;
    const shown = apply(turned, ['--dry-run'], {on: from});
    assert.match(shown.stdout, /client Was Twin[^\n]*: change\n  name: "?Twin"? → "?Was Twin"?\n/, shown.stdout);
    assert.match(applied(turned, [], {on: from}), /0 created, 1 changed/);
    const {client} = await from.must('GET', `/v1/clients/${twins[0]}`);
    assert.equal(client.name, 'Was Twin');
    // Elsewhere the ids say nothing: made by name, in the file's order, and found again.
    assert.match(applied(text, [], {on: to}), /^6 created, 0 changed/m);
    assert.match(applied(text, [], {on: to}), /^0 created, 0 changed/m);
    const there = (await to.must('GET', '/v1/clients?page_size=100&page_number=1')).clients.filter(({name}) => name === 'Twin');
    assert.equal(there.length, 2);
    const [one] = there;
    // One item of that name could mean either.
    const vague = apply('millrace: 1\nclients: [{name: Twin, locked: true, scopes: {}}]\n', ['--prune', '--yes'], {on: to});
    assert.equal(vague.status, 1, vague.stdout);
    assert.match(vague.stderr, /:2:18: the account has 2 clients of this name: give the client_id/);
    const meant = apply(`millrace: 1\nclients: [{name: Twin, client_id: ${one.client_id}, locked: false, scopes: {}}]\n`,
      ['--dry-run', '--prune'], {on: to}).stdout;
    assert.match(meant, new RegExp(`client Twin \\(${one.client_id}\\): change\\n`));
    assert.match(meant, new RegExp(`client Twin \\(${there[1].client_id}\\): delete\\n`));
  } finally {
    await from.end();
    await to.end();
  }
});

test('a file that is wrong: where, and nothing is asked of the server', () => {
  const nowhere = {MILLRACE_URL: 'http://127.0.0.1:1'};
  const dst = (settings) => `millrace: 1\ndestinations:\n  - {name: a, kind: webhook, settings: ${settings}}\n`;
  for (const [text, place, about] of [
    ['', '1:1', /holds nothing/], ['- 1\n', '1:1', /one mapping/], ['a: 1\n', '1:1', /unknown key "a"/],
    ['rules: []\n', '1:1', /needs "millrace: 1"/], ['millrace: 2\n', '1:11', /needs "millrace: 1"/],
    ['millrace: 1\nrules: {}\n', '2:8', /rules must be a list/],
    ['millrace: 1\nrules: [a]\n', '2:9', /must hold mappings/],
    ['millrace: 1\nrules: [{nane: x}]\n', '2:10', /unknown key "nane" in rule/],
    ['millrace: 1\nrules: [{name: x}]\n', '2:9', /rule needs the key "destination"/],
    ['millrace: 1\nmillrace: 1\n', '2:1', /this key stands twice/],
    [dst('{url: a, url: b}'), '3:49', /this key stands twice/],
    [dst('{url: 5}'), '3:46', /settings\.url must be a text/],
    [dst('{url: a, batch_max: "5"}'), '3:60', /settings\.batch_max must be a number/],
    [dst('{url: a, escape_non_ascii: yes}'), '3:67', /readers of YAML disagree on what yes is/],
    [dst('{url: a, retry_policy: {delay_ms: []}}'), '3:64', /unknown key "delay_ms" in destination\.settings\.retry_policy/],
    [dst('{url: a, headers: {b: 1}}'), '3:62', /values of destination\.settings\.headers must be texts/],
    [dst('{url: a, headers: {b: !env NO_SUCH}}'), '3:62', /environment has no variable NO_SUCH/],
    [dst('{url: a}, metadata: {a: {b: null}}'), '3:68', /metadata cannot hold null/],
    [dst('{url: !file none}'), '3:46', /the file that is named here is needed/],
    [dst('{url: !json file.yaml}'), '3:46', /is not JSON: at byte 0/],
    [dst('!json point.json'), '3:40', /unknown key "type"/],
    [dst('{url: !!str a}'), '3:46', /the tag tag:yaml\.org,2002:str is not known/],
    [dst('!env {url: a}'), '3:40', /the tag !env is not known here/],
    [dst('&a {url: a}'), '3:40', /anchors are not supported/],
    [dst('*a'), '3:40', /aliases are not supported/],
    [dst('{<<: {url: a}}'), '3:41', /merge keys are not supported/],
    [dst('{? [a] : b}'), '3:43', /a key must be a text/],
    [dst('{!file a: b}'), '3:41', /a key takes no tag/],
    ['millrace: 1\n--- \nmillrace: 1\n', '2:1', /one document/],
    ['millrace: [\n', '2:1', /not YAML/], ['millrace: 1\n\ta: 1\n', '2:1', /not YAML/],
    [`millrace: ${'['.repeat(100)}`, '1:70', /nested deeper than 60/],
    ['millrace: 1\nrules: [{name: "", destination: a, event_types: []}]\n', '2:16', /must not be empty/],
    ['millrace: 1\nevent_types:\n  - {name: a, product: p, schema: s}\n  - {name: a, product: p, schema: s}\n',
      '4:12', /two event types are named "a"/],
    ['millrace: 1\nclients:\n  - {name: a, locked: true, scopes: {}}\n  - {name: a, client_id: x, locked: true, scopes: {}}\n',
      '4:12', /two clients are named "a": names must differ, or each have its own client_id/],
    ['millrace: 1\nclients:\n  - {name: a, client_id: x, locked: true, scopes: {}}\n  - {name: b, client_id: x, locked: true, scopes: {}}\n',
      '4:26', /two clients have the client_id "x"/],
    ['millrace: 1\nclients: [{name: a, client_id: 5, locked: true, scopes: {}}]\n', '2:32', /client_id must be a text/],
    ['millrace: 1\nclients: [{name: a, locked: 1, scopes: {}}]\n', '2:29', /locked must be true or false or null/]]) {
    const done = apply(text, [], {env: nowhere});
    const what = `${text}\n[${done.status}] ${done.stderr}`;
    assert.equal(done.status, 2, what);
    assert.match(done.stderr, about, what);
    assert.ok(done.stderr.split('\n').some((line) => line.startsWith(`millrace: ${at('file.yaml')}:${place}: `)), what);
    assert.equal(done.stdout, '');
  }
  for (const word of ['No', 'ON', 'Null', '~x: 1', '0x1F', '1_000', '0777', '1:30', '2024-01-01', '+1', '.5', '.inf', '1.', 'TRUE', 'n']) {
    const done = apply(`millrace: 1\ndestinations: [{name: ${word}, kind: a, settings: {url: a}}]\n`, [], {env: nowhere});
    assert.equal(done.status, 2, word + done.stderr);
    assert.match(done.stderr, /:2:23: |not YAML|unknown key/, word + done.stderr);
  }
  const big = apply(`millrace: 1\nrules: [${'{name: a, destination: b, event_types: []},'.repeat(5001)}]\n`, [], {env: nowhere});
  assert.equal(big.status, 2);
  assert.match(big.stderr, /at most 5000 rules/);
});

test('options: what cannot be, a folder that cannot be written, no server', () => {
  for (const [args, status, about] of [
    [['apply'], 2, /the file is needed/], [['apply', 'a', 'b'], 2, /too many: "b"/],
    [['apply', at('none')], 2, /could not read .*none/],
    [['export', 'x'], 2, /too many: "x"/], [['export', '--only', 'rules,nope'], 2, /"nope" is none of them/],
    [['export', '--output', at('none/file')], 2, /could not write .*none\/file: No such file/],
    [['export', '--output', `${dir}/`], 2, /is no path of a file/]]) {
    const done = millrace(args, {env: environment(server)});
    assert.equal(done.status, status, done.stderr);
    assert.match(done.stderr, about);
  }
  const file = 'millrace: 1\nclients: [{name: late, locked: null, scopes: {products: [Events]}}]\n';
  const done = apply(file, ['--secrets-out', at('key')]);
  assert.equal(done.status, 1);
  assert.match(done.stderr, /could not (make|write to) the folder .*key: Not a directory/);
  assert.ok(!exported().includes('name: late'), 'no client whose secret nobody has');
  assert.equal(apply(file, [], {env: {MILLRACE_URL: 'http://127.0.0.1:1'}}).status, 1);
  const out = at('out.yaml');
  assert.equal(millrace(['export', '--output', out], {env: environment(server)}).status, 0);
  assert.equal(readFileSync(out, 'utf8'), exported());
  const piped = millrace(['apply', '-', '--dry-run'], {env: environment(server), input: readFileSync(out, 'utf8')});
  assert.equal(piped.status, 0, piped.stderr + piped.stdout);
  assert.ok(existsSync(out));
});

test('--account: a descendant is exported and applied to, beside the own account', async () => {
  const child = await server.must('POST', '/v1/accounts', {friendly_name: 'Child'});
  const text = `millrace: 1
destinations:
  - {name: Childs, kind: webhook, settings: {url: "https://child.example/"}}
`;
  const before = exported();
  applied(text, ['--account', child.id]);
  assert.match(exported(server, ['--account', child.id, '--only', 'destinations']), /name: Childs/);
  assert.equal(exported(), before);
  const wrong = apply(text, ['--account', 'acct_1']);
  assert.equal(wrong.status, 1);
  assert.match(wrong.stderr, /code 20404/);
  const {data} = await server.must('GET', `/v1/destinations?account_id=${child.id}`);
  assert.deepEqual(data.map((one) => one.name), ['Childs']);
});
