// schemathesis, which knows nothing of us but /openapi.json, calls everything that stands there with
// what is right and what is wrong, and judges each answer. The seed is fixed and can be set with
// MR_TEST_SEED. Addresses lie on loopback: others are refused before anything is dialled.
//
// Two runs: a client calls everything, then a signed-in user what is a user's own. Left out: the live
// view, whose answer does not end, what would end the caller's own token or session, and positive_data_acceptance, because what is
// right by its form may still be refused for what there is (a destination that no rule may name, an
// address that is not allowed, a filter that does not compile).
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import path from 'node:path';
import {after, before, test} from 'node:test';
import {Receiver, Server, root} from '../e2e/harness.mjs';
import {addUser, Browser} from '../e2e/people.mjs';

const seed = process.env.MR_TEST_SEED ?? '20261128';
const examples = process.env.MR_TEST_EXAMPLES ?? '40';
let server;
let receiver;
let browser;
const word = 'a contract is kept by both';

before(async () => {
  receiver = await Receiver.start();
  server = new Server();
  server.init();
  addUser(server, 'contract@example.com', 'admin', word);
  await server.serve();
  browser = await Browser.open(server, 'contract@example.com', word);
  const client = await server.must('POST', '/v1/clients', {name: 'contract', locked: false,
    scopes: {globalResources: [], products: ['SuperSIM']}});
  const user = await server.must('POST', '/v1/users', {email: 'known@example.com', role: 'default'});
  const token = new URL(user.invite_url).pathname.split('/').at(-1);
  const destination = await server.destination(`${receiver.url}/hook`);
  const rule = await server.rule(destination, 'com.example.contract');
  await server.secret();
  const pending = await server.secret();
  await server.must('POST', '/v1/schemas', {name: 'own', document: {}, examples: [{}]});
  await server.must('POST', '/v1/event-types', {name: 'com.example.own', product: 'P', schema: 'own'});
  // Objects that are there, for calls that would else meet 404 alone. Rules are deleted under ids
  // that schemathesis made itself.
  const known = [
    ['destinationGet destinationPatch destinationDelete destinationTest destinationDiscard ' +
      'destinationSigningSecret destinationMetrics', {id: destination.id}],
    ['ruleGet rulePatch', {id: rule.id}],
    ['secretPatch', {id: pending.id}],
    ['schemaOverview schemaVersionsList schemaVersionsCreate', {name: 'own'}],
    ['eventTypeGet eventTypePatch', {type: 'com.example.own'}],
    ['accountGet accountPatch ownershipTransfer', {id: server.account_id}],
    ['clientGet clientPatch clientRotateSecret clientRevokeTokens', {client_id: client.client_id}],
    ['userGet userPatch userResetLink', {id: user.id}],
    ['linkGet linkPage', {token}],
  ];
  // A wrong body with an If-Match that does not hold is refused for the latter, too.
  const expected = '[checks.negative_data_rejection]\nexpected-statuses = ["400", "401", "403", ' +
    '"404", "405", "409", "412", "413", "415", "429"]\n\n';
  writeFileSync(path.join(server.home, 'schemathesis.toml'), expected + known.map(([names, parameters]) =>
    `[[operations]]\ninclude-operation-id = ${JSON.stringify(names.split(' '))}\n` +
    `parameters = {${Object.entries(parameters).map(([name, value]) =>
      `"path.${name}" = ${JSON.stringify(value)}`)}}\n`).join('\n'));
});

after(async () => {
  await server.end();
  await receiver.end?.();
});

// Runs the program to its end: {status, output}.
function run(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {cwd: server.home, stdio: ['ignore', 'pipe', 'pipe']});
    let output = '';
    child.stdout.on('data', (bytes) => { output += bytes; });
    child.stderr.on('data', (bytes) => { output += bytes; });
    child.on('error', reject);
    child.on('exit', (status) => resolve({status, output}));
  });
}

async function judge(fields, scope) {
  const done = await run(path.join(root, '.venv/bin/schemathesis'), ['run',
    `${server.url}/openapi.json`, ...fields.flatMap((field) => ['--header', field]),
    '--checks', 'all', '--exclude-checks', 'positive_data_acceptance', ...scope,
    '--max-examples', examples, '--seed', seed,
    '--generation-deterministic', '--continue-on-failure',
    '--suppress-health-check', 'all', '--request-timeout', '20', '--warnings', 'off', '--no-color']);
  process.stdout.write(done.output.slice(-20000));
  assert.equal(done.status, 0, 'schemathesis found faults; they stand above');
  assert.ok(server.child.exitCode === null, 'the server still runs');
}

test('schemathesis finds no server error and no breach of /openapi.json', () =>
  judge([`Authorization: Bearer ${server.token}`],
    ['--exclude-path', '/v1/tail', '--exclude-path', '/v1/signing-keys/rotate', '--exclude-tag', 'Session']));

test('nor in what is for signed-in users', () =>
  judge([`Cookie: __Host-millrace=${browser.cookie}`, `X-CSRF-Token: ${browser.csrf}`],
    ['--include-tag', 'Session', '--exclude-operation-id', 'sessionDelete']));
