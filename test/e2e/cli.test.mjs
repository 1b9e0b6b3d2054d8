// Every command with wrong input: one line that says what failed, the documented exit code, nothing
// on standard output. A usage error adds the line that shows how the command is called.
import assert from 'node:assert/strict';
import {mkdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {after, before, test} from 'node:test';
import {Server, folder, millrace, remove, until} from './harness.mjs';

const NO = 1;
const USAGE = 2;
const IN_USE = 4;
const COMMANDS = [...millrace(['reference', 'commands']).stdout.matchAll(/^## (.+)$/gm)]
  .map(([, name]) => name);
const covered = new Set();

let dir;
let server;
let environment;
const at = (name) => path.join(dir, name);

before(async () => {
  dir = folder('cli');
  writeFileSync(at('bad.json'), '{bad');
  writeFileSync(at('object.json'), '{"Nane":"x"}');
  writeFileSync(at('event.json'), '{"id":"1"}');
  writeFileSync(at('empty'), '');
  writeFileSync(at('short'), 'short\n');
  writeFileSync(at('secret'), `${'s'.repeat(40)}\n`);
  mkdirSync(at('folder'));
  server = await Server.start();
  environment = {MILLRACE_URL: server.url, MILLRACE_CLIENT_ID: server.client_id,
    MILLRACE_CLIENT_SECRET: server.client_secret};
});

after(async () => {
  await server?.end();
  remove(dir);
});

// Runs it and holds the answer against the form of all problems. `more` is for lines behind.
function wrong(args, status, about, {env = {}, input, more = 0} = {}) {
  const done = millrace(args, {env, input: input ?? ''});
  const what = `millrace ${args.join(' ')}\n[${done.status}] ${done.stderr}`;
  assert.equal(done.status, status, what);
  assert.match(done.stderr, about, what);
  const lines = done.stderr.replace(/\n$/, '').split('\n');
  assert.match(lines[0], new RegExp(`^millrace( ${args[0]})?: .`), what);
  if (/^usage: millrace /.test(lines[1] ?? '')) {
    assert.equal(status, USAGE, what);
    lines.splice(1, 1);
  }
  assert.equal(lines.length, 1 + more, what);
  assert.equal(done.stdout, '', what);
  covered.add(args[0]);
}

test('an unknown option is named, with the usage', () => {
  for (const name of COMMANDS) {
    const args = {json: ['check', '--nope'], version: ['--nope'], reference: ['--nope'],
      destinations: ['--nope'], rules: ['--nope'], secrets: ['--nope'],
      serve: ['--data', server.data, '--nope=1'], config: ['--nope=1'], filter: ['test', '--nope'],
      audit: ['list', '--nope'], callbacks: ['send', '--nope']}[name]
      ?? ['--nope'];
    const about = name === 'json' ? /could not read --nope/
      : name === 'version' ? /takes no arguments/
        : name === 'reference' ? /name one table/
          : name === 'completion' ? /name one shell/ : /--nope/;
    wrong([name, ...args], USAGE, about);
  }
});

test('an option without its value, or an empty one, is named', () => {
  for (const [name, option] of [['init', 'data'], ['tail', 'type'], ['test', 'event-type'],
    ['simulate', 'devices'], ['receive', 'listen'], ['sign', 'url'], ['verify', 'signature'],
    ['check-address', 'allow-networks'], ['check', 'data'], ['serve', 'data'],
    ['config', 'listen'], ['export', 'output'], ['export', 'only'], ['apply', 'secrets-out'],
    ['publish', 'account'], ['rules', 'account'], ['clients', 'account'], ['callbacks', 'account']]) {
    wrong([name, `--${option}`], USAGE, new RegExp(`--${option} needs a value`));
    if (name !== 'config') {
      wrong([name, `--${option}`, ''], USAGE, new RegExp(`--${option} (needs a value|is needed)`));
    }
  }
});

test('arguments that lack, or are too many', () => {
  const sign = ['--secret-file', at('secret'), '--method', 'POST'];
  for (const [args, about] of [
    [['init'], /--data and --owner/], [['init', '--data', at('new')], /--data and --owner/],
    [['init', '--data', at('new'), '--owner', 'a@b.example', 'x'], /too many: "x"/],
    [['serve'], /--data is needed/], [['serve', '--data', server.data, 'x'], /argument "x"/],
    [['config', 'x'], /argument "x"/], [['check'], /--data is needed/],
    [['check', '--data', server.data, 'x'], /too many: "x"/],
    [['publish', 'a', 'b'], /too many: "b"/], [['tail', 'x'], /too many: "x"/],
    [['test'], /the id of a destination/], [['test', 'a/b'], /the id of a destination/],
    [['simulate', 'x'], /too many: "x"/], [['receive', 'x'], /too many: "x"/],
    [['sign'], /--secret-file is needed/], [['sign', ...sign], /--url is needed/],
    [['sign', ...sign, '--url', 'https://a.example'], /file with the body/],
    [['verify', ...sign, '--url', 'https://a.example', at('secret')], /--signature is needed/],
    [['json'], /json check FILE/], [['json', 'check'], /json check FILE/],
    [['json', 'check', 'a', 'b'], /json check FILE/], [['check-address'], /URL is needed/],
    [['check-address', 'a', 'b'], /too many: "b"/], [['reference'], /name one table/],
    [['reference', 'nope'], /name one table/], [['version', 'x'], /no arguments/],
    [['help', 'a', 'b'], /one command at a time/], [['help', 'nope'], /no command "nope"/],
    [['nope'], /no command "nope".*millrace help/], [['schema'], /say what to do/],
    [['schema', 'get'], /"get" with these/], [['schema', 'check'], /--schema is needed/],
    [['event-types'], /say what to do/], [['event-types', 'get'], /"get" alone/],
    [['event-types', 'nope', 'x'], /"nope" with these/], [['filter'], /filter test|say what|test/],
    [['filter', 'test'], /--pattern|--cesql/], [['filter', 'test', '--cesql', 'TRUE'], /EVENT|file/],
    [['audit'], /list, export or verify/], [['audit', 'nope'], /list, export or verify/],
    [['audit', 'list', 'x'], /too many: "x"/], [['audit', 'export', 'x'], /too many: "x"/],
    [['audit', 'verify'], /needs the exported file/], [['audit', 'verify', 'a', 'b'], /too many: "b"/],
    [['users'], /say what to do/], [['users', 'nope'], /unknown action "nope"/],
    [['users', 'set-password'], /needs --data, --email and --password-file/],
    [['users', 'set-password', '--data', at('x'), '--email', 'a@b.example'], /--password-file/],
    [['users', 'set-password', '--data', at('x'), '--email', 'a@b.example', '--password-file',
      at('secret'), 'x'], /too many: "x"/],
    [['rotate-master-key'], /--data is needed/],
    [['rotate-master-key', '--data', at('none'), 'x'], /too many: "x"/],
    [['callbacks'], /say what to do/], [['callbacks', 'nope'], /unknown action "nope"/],
    [['callbacks', 'list', 'x'], /too many: "x"/], [['callbacks', 'list', '--nope'], /unknown option --nope/],
    [['callbacks', 'list', '--status'], /--status needs a value/],
    [['callbacks', 'get'], /get takes one id/], [['callbacks', 'get', 'a/b'], /"a\/b" is no id/],
    [['callbacks', 'send'], /send takes either one file or --url/],
    [['callbacks', 'send', 'a', 'b'], /send takes either one file or --url/],
    [['callbacks', 'send', 'a', '--method', 'GET'], /send takes either one file or --url/],
    [['callbacks', 'send', 'a', '--reference', 'r'], /send takes either one file or --url/],
    [['callbacks', 'send', '--url'], /--url needs a value/],
    [['callbacks', 'send', '--url', 'https://a.example', 'x'], /"x" is no NAME=VALUE/],
    [['callbacks', 'send', '--url', 'https://a.example', '=x'], /"=x" is no NAME=VALUE/],
    [['callbacks', 'send', 'a', '--json'], /unknown option --json/],
    [['callbacks', 'test'], /test takes either one file or --url/],
    [['callbacks', 'test', 'a', '--content-type', 'json'], /test takes either one file or --url/],
    [['callbacks', 'test', '--url', 'https://a.example', '--reference', 'r'], /unknown option --reference/],
    [['secrets', 'import'], /import needs --data, --name/],
    [['secrets', 'get', 'whs_1'], /unknown action "get"/],
    [['secrets', 'delete', 'whs_1'], /unknown action "delete"/],
    [['secrets', 'activate'], /activate takes one id/], [['users', 'list', 'x'], /list takes nothing more/],
    [['users', 'get'], /get takes one id/], [['users', 'get', 'a/b'], /"a\/b" is no id/],
    [['users', 'update', 'user_1'], /update takes an id and a file/],
    [['users', 'delete', 'user_1', 'x'], /delete takes one id/],
    [['users', 'reset-link'], /reset-link takes one id/],
    [['users', 'invite-again'], /invite-again takes one id/],
    [['users', 'invite'], /invite needs an e-mail and --role/],
    [['users', 'invite', 'a@b.example'], /invite needs an e-mail and --role/],
    [['users', 'invite', 'a@b.example', 'x', '--role', 'admin'], /too many: "x"/],
    [['secrets', 'rotate', 'x'], /too many: "x"/], [['secrets', 'rotate', '--nope'], /unknown option --nope/],
    [['accounts'], /say what to do/], [['accounts', 'delete', 'a'], /unknown action "delete"/],
    [['accounts', 'create'], /either one file or --name/],
    [['accounts', 'create', at('object.json'), '--name', 'n'], /either one file or --name/],
    [['accounts', 'update', 'acct_1'], /update takes an id and a file/],
    [['keys'], /say what to do/], [['keys', 'nope'], /unknown action "nope"/],
    [['keys', 'list', 'x'], /list takes nothing more/], [['keys', 'rotate', 'x'], /too many: "x"/],
    [['keys', 'rotate', '--nope'], /unknown option --nope/],
    [['export', 'x'], /too many: "x"/], [['apply'], /the file is needed/],
    [['apply', 'a', 'b'], /too many: "b"/], [['completion'], /name one shell/],
    [['completion', 'bash', 'zsh'], /name one shell/], [['completion', 'tcsh'], /name one shell/]]) {
    wrong(args, USAGE, about);
  }
  for (const action of ['rotate-secret', 'revoke-tokens', 'lock', 'unlock', 'enable', 'disable']) {
    wrong(['clients', action], USAGE, new RegExp(`${action} takes one id`));
    wrong(['clients', action, 'apiclient_1', 'x'], USAGE, new RegExp(`${action} takes one id`));
    wrong(['clients', action, 'a b'], USAGE, /"a b" is no id/);
  }
  for (const args of [['secrets', 'import', '--data', at('none'), '--name', 'n', at('secret')],
    ['schema', 'check', '--schema', at('object.json')]]) {
    wrong([...args, '--account', 'acct_1'], USAGE, /unknown option --account/);
  }
  for (const account of ['a b', 'A', 'x'.repeat(65), '../x']) {
    wrong(['destinations', 'list', '--account', account], USAGE, /--account: ".*" is no id/);
    wrong(['clients', `--account=${account}`, 'list'], USAGE, /--account: ".*" is no id/);
  }
  for (const name of ['destinations', 'rules', 'clients']) {
    wrong([name], USAGE, /say what to do/);
    wrong([name, 'nope'], USAGE, /unknown action "nope"/);
    wrong([name, 'list', 'x'], USAGE, /list takes nothing more/);
    wrong([name, 'get'], USAGE, /get takes one id/);
    wrong([name, 'create'], USAGE, /create takes one file/);
    wrong([name, 'update', 'a'], USAGE, /update takes an id and a file/);
    wrong([name, 'delete', 'a', 'b'], USAGE, /delete takes one id/);
    wrong([name, 'get', '../x'], USAGE, /"\.\.\/x" is no id/);
    wrong([name, 'get', 'x'.repeat(65)], USAGE, /is no id/);
  }
});

test('values that cannot be', () => {
  const sign = ['--secret-file', at('secret'), '--method', 'POST'];
  for (const [args, about] of [
    [['init', '--data', at('new'), '--owner', 'nobody'], /e-mail address/],
    [['serve', '--data', server.data, '--listen', 'x'], /--listen: must be an address and port/],
    [['serve', '--data', server.data, '--workers', '99'], /--workers/],
    [['config', '--listen', 'x'], /--listen: must be an address and port/],
    [['simulate', '--devices', '0'], /--devices takes a whole number from 1/],
    [['simulate', '--events', 'x'], /--events takes a whole number/],
    [['simulate', '--prefix', 'A B'], /--prefix takes/],
    [['receive', '--listen', 'x'], /--listen takes an address and port/],
    [['receive', '--listen', '192.0.2.1:1'], /could not listen on 192\.0\.2\.1:1/],
    [['receive', '--status', '99'], /--status takes a whole number from 200/],
    [['receive', '--hang', '--reset'], /only one of/],
    [['receive', '--tls-cert', at('secret')], /belong together/],
    [['receive', '--url', 'https://a.example'], /--secret-file is needed/],
    [['receive', '--tls-cert', at('secret'), '--tls-key', at('secret')], /certificate of --tls-cert/],
    [['sign', ...sign, '--url', 'a.example', at('secret')], /--url takes the URL/],
    [['verify', ...sign, '--url', 'x', '--signature', 'a', at('secret')], /--url takes the URL/],
    [['check-address', 'https://a.example', '--allow-networks', 'x'], /"x" is no CIDR block/]]) {
    wrong(args, USAGE, about);
  }
});

test('files that are absent, empty, folders or not JSON', () => {
  const none = at('none');
  const signed = ['--method', 'POST', '--url', 'https://a.example/'];
  for (const [args, about] of [
    [['publish', none], /could not read .*none: No such file/],
    [['publish', at('folder')], /could not read .*folder: Is a directory/],
    [['destinations', 'create', none], /could not read .*none: No such file/],
    [['callbacks', 'send', none], /could not read .*none: No such file/],
    [['callbacks', 'test', at('folder')], /could not read .*folder: Is a directory/],
    [['rules', 'update', 'rule_1', none], /could not read .*none: No such file/],
    [['secrets', 'create', at('folder')], /could not read .*folder: Is a directory/],
    [['secrets', 'import', '--data', server.data, '--name', 'n', none], /could not read .*none/],
    [['secrets', 'import', '--data', server.data, '--name', 'n', at('empty')], /is empty/],
    [['sign', '--secret-file', none, ...signed, at('secret')], /could not read .*none/],
    [['sign', '--secret-file', at('empty'), ...signed, at('secret')], /is empty; it must hold/],
    [['sign', '--secret-file', at('secret'), ...signed, none], /could not read .*none/],
    [['verify', '--secret-file', none, ...signed, '--signature', 'a', none], /could not read/],
    [['receive', '--secret-file', none, '--url', 'https://a.example'], /could not read .*none/],
    [['receive', '--secret-file', at('empty')], /is empty/],
    [['receive', '--tls-cert', none, '--tls-key', none], /could not read .*none/],
    [['json', 'check', none], /could not read .*none/],
    [['json', 'check', at('folder')], /Is a directory/],
    [['config', '--config', none], /could not read .*none/],
    [['config', '--config', at('bad.json')], /bad\.json:1:/],
    [['serve', '--data', server.data, '--config', none], /could not read .*none/]]) {
    wrong(args, USAGE, about, {env: environment});
  }
  for (const [args, about, input] of [
    [['publish', at('bad.json')], /bad\.json: not valid JSON at byte 1/],
    [['publish'], /standard input holds no event/, ''],
    [['publish', '-'], /line 2 is not valid JSON/, '{"id":"1"}\n{\n']]) {
    wrong(args, NO, about, {env: environment, input});
  }
  for (const name of ['destinations', 'rules', 'secrets']) {
    wrong([name, 'create', at('bad.json')], NO, /not valid JSON: at byte 1.*code 20400/,
      {env: environment});
  }
  const json = millrace(['json', 'check', at('bad.json')]);
  assert.equal(json.status, NO);
  assert.match(json.stderr, /^.*bad\.json: not valid at byte 1: .*\n$/);
});

test('the answer no: signatures, addresses, the server\'s refusals', () => {
  const right = millrace(['verify', '--secret-file', at('secret'), '--method', 'POST', '--url',
    'https://a.example/', '--signature', '0'.repeat(64), at('secret')]);
  assert.equal(right.status, NO);
  assert.match(right.stderr, /^the signature is wrong: compare .*\n$/);
  for (const [url, about] of [['nourl', /must begin with https/], ['https://127.0.0.1', /machine/],
    ['http://192.0.2.1', /allow_http/]]) {
    const refused = millrace(['check-address', url]);
    assert.equal(refused.status, NO, refused.stderr);
    assert.match(refused.stderr, /^refused: .*\n$/);
    assert.match(refused.stderr, about);
  }
  const env = environment;
  for (const [args, about] of [
    [['destinations', 'get', 'dst_1'], /refused: There is no such destination\. \(status 404, code 20404, http.*errors\/20404\)/],
    [['destinations', 'create', at('object.json')], /Unknown member: Nane.*code 20001/],
    [['destinations', 'update', 'dst_1', at('object.json')], /code 20404/],
    [['destinations', 'delete', 'dst_1'], /code 20404/],
    [['rules', 'get', 'rule_1'], /code 20404/], [['rules', 'create', at('object.json')], /Nane/],
    [['secrets', 'activate', 'whs_1'], /code 20404/],
    [['clients', 'get', 'apiclient_1'], /code 40404/],
    [['clients', 'create', at('object.json')], /Nane.*code 20001/],
    [['clients', 'update', 'apiclient_1', at('object.json')], /Nane.*code 20001|code 40404/],
    [['clients', 'delete', 'apiclient_1'], /code 40404/],
    [['clients', 'lock', 'apiclient_1'], /code 40404/],
    [['clients', 'disable', 'apiclient_1'], /code 40404/],
    [['clients', 'rotate-secret', 'apiclient_1'], /code 40404/],
    [['clients', 'revoke-tokens', 'apiclient_1'], /code 40404/],
    [['accounts', 'get', 'acct_1'], /code 20404/],
    [['accounts', 'create', at('object.json')], /Nane.*code 20001/],
    [['accounts', 'update', 'acct_1', at('object.json')], /code 20404/],
    [['destinations', 'list', '--account', 'acct_1'], /code 20404/],
    [['secrets', 'rotate', '--account', 'acct_1'], /code 20404/],
    [['export', '--account', 'acct_1'], /code 20404/],
    [['secrets', 'create', at('object.json')], /Unknown member: Nane.*code 20001/],
    [['test', 'dst_1'], /refused: .*code 20404/],
    [['test', 'dst_1', '--event-type', 'nope'], /refused: .*code 31003/],
    [['callbacks', 'get', 'cb_1'], /code 20404/],
    [['callbacks', 'list', '--status', 'nope'], /status.*code 2/],
    [['callbacks', 'send', at('object.json')], /Nane.*code 20001/],
    [['callbacks', 'send', at('bad.json')], /not valid JSON/],
    [['callbacks', 'send', '--url', 'nonsense'], /url is not valid.*code 20400/],
    [['callbacks', 'send', '--url', 'https://a.example', '--method', 'PUT'], /method.*code 20400/],
    [['callbacks', 'send', '--url', 'https://a.example', '--content-type', 'xml'], /content_type.*code 20400/],
    [['callbacks', 'send', '--url', 'https://192.168.1.1'], /url is refused.*code 31010/],
    [['callbacks', 'send', '--url', 'https://a.example', 'a=1', 'a=2'], /code 20400/],
    [['callbacks', 'test', '--url', 'nonsense'], /url is not valid.*code 20400/],
    [['users', 'get', 'user_1'], /code 20404/], [['users', 'delete', 'user_1'], /code 20404/],
    [['users', 'reset-link', 'user_1'], /code 20404/],
    [['users', 'invite-again', 'user_1'], /code 20404/],
    [['users', 'update', 'user_1', at('object.json')], /code 20404|Nane/],
    [['users', 'invite', 'nobody', '--role', 'admin'], /email.*code 20400/],
    [['users', 'invite', 'a@b.example', '--role', 'owner'], /role.*code 20400/],
    [['users', 'invite', 'a@b.example', '--role', 'admin', '--products', 'Fax'], /products.*code 20400/],
    [['tail', '--destination', 'dst_1'], /refused: .*code 20404/]]) {
    wrong(args, NO, about, {env});
  }
  wrong(['publish', at('event.json')], NO,
    /refused: .*code 31001[^]*\n {2}event 0, \/specversion: ./, {env, more: 3});
});

// The commands that call the server, each with what it needs.
const CALLS = [['publish', '-'], ['tail'], ['test', 'dst_1'], ['destinations', 'list'],
  ['rules', 'list'], ['users', 'list'], ['secrets', 'list'], ['secrets', 'activate', 'whs_1'], ['secrets', 'rotate'],
  ['clients', 'list'], ['accounts', 'list'], ['accounts', 'create', '--name', 'n'], ['keys', 'list'],
  ['keys', 'rotate'], ['export'], ['callbacks', 'list'], ['callbacks', 'get', 'cb_1'],
  ['callbacks', 'send', '--url', 'https://a.example'], ['callbacks', 'test', '--url', 'https://a.example']];

test('no server, a wrong secret, an environment that lacks or cannot be', () => {
  const input = '{"id":"1"}';
  for (const args of CALLS) {
    for (const key of Object.keys(environment)) {
      const env = {...environment};
      delete env[key];
      wrong(args, USAGE, new RegExp(`${key} is not set`), {env, input});
    }
    wrong(args, USAGE, /cannot use MILLRACE_URL "nonsense"/,
      {env: {...environment, MILLRACE_URL: 'nonsense'}, input});
    wrong(args, NO, /could not reach http:\/\/127\.0\.0\.1:1: .*is the server running/,
      {env: {...environment, MILLRACE_URL: 'http://127.0.0.1:1'}, input});
    // A name of its own each: the fifth wrong secret of one would have to wait.
    wrong(args, NO, /could not get an access token: .*check both/, {env: {...environment,
      MILLRACE_CLIENT_ID: `apiclient_${args[0]}`, MILLRACE_CLIENT_SECRET: 'wrong'}, input});
    wrong(args, NO, /could not get an access token: .*check both/,
      {env: {...environment, MILLRACE_CLIENT_ID: args.join('-'), MILLRACE_CLIENT_SECRET: 'wrong'}, input});
  }
  wrong(['destinations', 'list'], USAGE, /could not read .*none.*\n.*MILLRACE_CA_FILE/,
    {env: {...environment, MILLRACE_CA_FILE: at('none')}, more: 1});
});

test('callbacks: what they do', async () => {
  // Nobody listens there, so what is sent fails, and what is tested too.
  const closed = net.createServer();
  await new Promise((resolve) => { closed.listen(0, '127.0.0.1', resolve); });
  const url = `https://127.0.0.1:${closed.address().port}/hook`;
  await new Promise((resolve) => { closed.close(resolve); });
  const run = (args, {input, status = 0} = {}) => {
    const done = millrace(['callbacks', ...args], {env: environment, input});
    assert.equal(done.status, status, done.stdout + done.stderr);
    return done.stdout;
  };
  const text = JSON.stringify({url, content_type: 'json', body: {n: 1.50}, reference: 'by file'});
  writeFileSync(at('callback.json'), text);
  const made = [JSON.parse(run(['send', at('callback.json')])),
    JSON.parse(run(['send', '-'], {input: text.replace('by file', 'by input')})),
    JSON.parse(run(['send', '--url', url, '--reference', 'by ä & "q"', 'a=1', 'b=x=y', 'c='])),
    JSON.parse(run(['send', '--url', url, '--method', 'GET']))];
  assert.deepEqual(made.map(({method, content_type: type, reference}) => [method, type, reference]),
    [['POST', 'json', 'by file'], ['POST', 'json', 'by input'], ['POST', 'form', 'by ä & "q"'],
      ['GET', null, null]]);
  for (const {id} of made) {
    await until('both attempts', () => JSON.parse(run(['get', id])).status === 'failed');
  }
  const listed = JSON.parse(run(['list', '--reference', 'by ä & "q"', '--status', 'failed']));
  assert.deepEqual(listed.data.map(({id, attempts}) => [id, attempts.length]), [[made[2].id, 2]]);
  assert.equal(JSON.parse(run(['list', '--status', 'delivered'])).data.length, 0);
  assert.ok(JSON.parse(run(['list'])).data.length >= 4);
  const shown = run(['test', '--url', url, 'a=1'], {status: NO});
  assert.match(shown, /^address +ok .*\nconnect +FAILED .*\nThe test failed\.\n$/);
  assert.match(run(['test', at('callback.json')], {status: NO}), /connect +FAILED/);
  const told = JSON.parse(run(['test', '--json', '--url', url, '--method', 'GET', 'a=ä'], {status: NO}));
  assert.deepEqual([told.ok, told.request.method, told.request.query], [false, 'GET', 'a=%C3%A4']);
});

test('accounts, clients and keys: what they do', async () => {
  const env = environment;
  const run = (...args) => {
    const done = millrace(args, {env});
    assert.equal(done.status, 0, done.stderr);
    return done.stdout === '' ? null : JSON.parse(done.stdout);
  };
  const child = run('accounts', 'create', '--name', 'Ch\u00efld "1"');
  assert.equal(child.friendly_name, 'Ch\u00efld "1"');
  assert.ok(run('accounts', 'list').accounts.some((one) => one.id === child.id));
  writeFileSync(at('named.json'), '{"friendly_name":"renamed"}');
  assert.equal(run('accounts', 'update', child.id, at('named.json')).friendly_name, 'renamed');
  assert.equal(run('accounts', 'get', child.id).friendly_name, 'renamed');
  writeFileSync(at('client.json'), '{"name":"c","locked":null,"scopes":{"products":["Webhooks"]}}');
  const made = run('clients', 'create', at('client.json'), '--account', child.id);
  assert.equal(made.account_id, child.id);
  const get = () => run('clients', 'get', made.client_id, '--account', child.id).client;
  const act = (action) => run('clients', action, made.client_id, `--account=${child.id}`);
  for (const [action, member, value] of [['lock', 'locked', true], ['unlock', 'locked', false],
    ['disable', 'enabled', false], ['enable', 'enabled', true]]) {
    act(action);
    assert.equal(get()[member], value, action);
  }
  const rotated = act('rotate-secret');
  assert.match(rotated.client_secret, /^[\w-]{32,}$/);
  assert.notEqual(rotated.client_secret, made.client_secret);
  act('revoke-tokens');
  assert.deepEqual(run('clients', 'list', '--account', child.id).clients.map((one) => one.client_id),
    [made.client_id]);
  assert.ok(!run('clients', 'list').clients.some((one) => one.client_id === made.client_id));
  act('delete');
  assert.deepEqual(run('clients', 'list', '--account', child.id).clients, []);
  const keys = () => run('keys', 'list').data.length;
  const before = keys();
  run('keys', 'rotate', '--now');
  assert.equal(keys(), before + 1);
  // By the environment as by the option, which comes first.
  const byVariable = millrace(['clients', 'list'], {env: {...env, MILLRACE_ACCOUNT_ID: child.id}});
  assert.deepEqual(JSON.parse(byVariable.stdout).clients, []);
  const both = millrace(['clients', 'list', '--account', server.account_id],
    {env: {...env, MILLRACE_ACCOUNT_ID: child.id}});
  assert.notDeepEqual(JSON.parse(both.stdout).clients, []);
});

test('a data folder that is absent, a file, empty, in use or newer', () => {
  const owner = ['--owner', 'a@b.example'];
  const importing = (data) => ['secrets', 'import', '--data', data, '--name', 'n', at('secret')];
  wrong(['serve', '--data', at('empty')], USAGE, /could not open the data folder .*Not a directory/);
  wrong(['serve', '--data', at('none/deeper')], USAGE,
    /Could not make the data folder .*: No such file or directory; name one/);
  mkdirSync(at('foreign'));
  writeFileSync(at('foreign/notes.txt'), 'x');
  wrong(['serve', '--data', at('foreign')], USAGE, /not empty and holds no data.*notes\.txt/);
  for (const data of [at('none'), at('empty'), at('folder')]) {
    wrong(['check', '--data', data], USAGE, /is no data folder/);
    wrong(importing(data), USAGE, data === at('empty')
      ? /Could not use the data folder .*: Not a directory/ : /holds no data.*millrace init/);
  }
  wrong(['init', '--data', at('empty'), ...owner], USAGE, /Could not use the data folder .*Not a directory/);
  wrong(['init', '--data', at('none/deeper'), ...owner], USAGE,
    /Could not make the data folder .*: No such file or directory; name one/);
  wrong(['serve', '--data', server.data, '--listen', '127.0.0.1:0'], IN_USE, /in use/);
  wrong(['check', '--data', server.data], IN_USE, /in use; stop the server/);
  wrong(importing(server.data), IN_USE, /in use by another process; stop the server/);
  wrong(['rotate-master-key', '--data', server.data], IN_USE, /in use by another process; stop the server/);
  wrong(['init', '--data', server.data, ...owner], IN_USE, /in use by another process/);

  const data = at('newer');
  assert.equal(millrace(['init', '--data', data, ...owner]).status, 0);
  wrong(['init', '--data', data, ...owner], NO, /holds data of Millrace already/);
  wrong(['secrets', 'import', '--data', data, '--name', 'n', at('short')], NO, /16 to 1024/);
  const store = new DatabaseSync(path.join(data, 'control.db'));
  const [{user_version: now}] = store.prepare('PRAGMA user_version').all();
  store.exec(`PRAGMA user_version = ${now + 1}`);
  store.close();
  wrong(['serve', '--data', data, '--listen', '127.0.0.1:0'], IN_USE, /newer version/);
  wrong(['check', '--data', data], IN_USE, /newer/);
  wrong(importing(data), IN_USE, /newer version/);
  wrong(['rotate-master-key', '--data', data], IN_USE, /newer version/);
  wrong(['init', '--data', data, ...owner], IN_USE, /newer version/);
  rmSync(data, {recursive: true});
});

test('every command was given something wrong', () => {
  assert.ok(COMMANDS.length > 15);
  assert.deepEqual(COMMANDS.filter((name) => !covered.has(name)), []);
  // And the codes are those that the page tells.
  const page = readFileSync(new URL('../../docs/reference/commands.md', import.meta.url), 'utf8');
  assert.match(page, /0 done; 1 the answer is no; 2 usage or settings; 3 the journal FAILED; 4 the data\nfolder is in use/);
});
