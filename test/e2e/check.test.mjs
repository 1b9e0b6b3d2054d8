// `millrace check` reads every checksum there is: one flipped byte in each kind of file, one finding
// that names it and nothing else.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {randomUUID} from 'node:crypto';
import {cpSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {after, before, test} from 'node:test';
import {Receiver, Server, certificates, event, folder, millrace, remove, until}
  from './harness.mjs';

let server;
let receiver;

// A data folder at rest: events delivered and pending, two checkpoints, a file of remembered ids.
before(async () => {
  receiver = await Receiver.start();
  server = await Server.start({settings: {extra_ca_file: certificates().ca,
    dedupe_entries_max: 1024}});
  const destination = await server.destination(`${receiver.url}/hook`);
  await server.rule(destination, 'com.example.thing');
  const events = (n) => Array.from({length: n}, () => event({type: 'com.example.thing'}));
  for (let i = 0; i < 4; i++) {
    assert.equal((await server.publish(events(100))).status, 202);
  }
  await until('delivered', async () => (await server.counters(destination)).delivered === 400);
  await server.stop();
  await server.serve();
  assert.equal((await server.publish(event({type: 'com.example.thing', id: 'the-one'}))).status,
    202);
  await until('delivered', async () => (await server.counters(destination)).delivered === 401);
  await until('ids in files', () => list('dedupe').length > 0, 30000);
  await server.stop();
  await receiver.end();
});

after(async () => {
  await server?.end();
});

const list = (name, data = server.data) => readdirSync(path.join(data, name));

function check(data) {
  const json = millrace(['check', '--data', data, '--json']);
  assert.ok(json.stdout, json.stderr);
  const text = millrace(['check', '--data', data]);
  assert.equal(text.status, json.status);
  return {status: json.status, ...JSON.parse(json.stdout), text: text.stdout};
}

// A copy of the folder in which `change` has altered the bytes of a file.
function altered(name, change) {
  const home = folder('check');
  const data = path.join(home, 'data');
  cpSync(server.data, data, {recursive: true});
  const file = path.join(data, name);
  const bytes = readFileSync(file);
  change(bytes);
  writeFileSync(file, bytes);
  const result = check(data);
  remove(home);
  return result;
}

const flip = (at) => (bytes) => { bytes[at < 0 ? bytes.length + at : at] ^= 1; };

test('an untouched folder is sound', () => {
  const result = check(server.data);
  assert.equal(result.status, 0, JSON.stringify(result));
  assert.deepEqual(result.findings, []);
  assert.equal(result.not_compared, 0);
  assert.ok(result.checkpoints_compared >= 1);
  assert.ok(list('dedupe').length > 0 && list('checkpoints').length === 2);
});

test('a flipped byte in a journal record: the record, and only it', () => {
  const segment = list('journal').filter((name) => name.endsWith('.seg')).find((name) =>
    readFileSync(path.join(server.data, 'journal', name)).includes('the-one'));
  let at;
  const result = altered(`journal/${segment}`, (bytes) => {
    at = bytes.indexOf('the-one');
    bytes[at] ^= 1;
  });
  assert.equal(result.status, 1);
  assert.equal(result.n_findings, 1, result.text);
  const [finding] = result.findings;
  assert.equal(finding.kind, 'damage');
  assert.equal(finding.file, segment);
  assert.ok(finding.offset <= at && at - finding.offset < 1024);
  assert.ok(result.not_compared >= 1, 'it says that it could not compare');
  assert.match(result.text, /were not compared/);
});

test('a flipped byte in either checkpoint, wherever it lies', () => {
  for (const name of list('checkpoints')) {
    for (const at of [20, 63, 70, -1]) {
      const result = altered(`checkpoints/${name}`, flip(at));
      assert.equal(result.status, 1, `${name} ${at}`);
      assert.equal(result.n_findings, 1, result.text);
      assert.deepEqual(result.findings[0],
        {kind: 'checkpoint', folder: 'checkpoints', file: name, what: 'checksum'});
      assert.ok(result.text.includes(`checkpoints/${name}, checksum`), result.text);
    }
  }
});

test('a flipped byte in a file of remembered ids', () => {
  const [name] = list('dedupe');
  for (const at of [20, 63, 70, -1]) {
    const result = altered(`dedupe/${name}`, flip(at));
    assert.equal(result.status, 1, `${at}`);
    assert.equal(result.n_findings, 1, result.text);
    assert.deepEqual(result.findings[0],
      {kind: 'dedupe', folder: 'dedupe', file: name, what: 'checksum'});
  }
});

test('control.db: damaged pages, and a row that names one that is not there', () => {
  // A page of a tree: its header's kind and count make no sense any more.
  const pages = altered('control.db', (bytes) => bytes.fill(0xa5, 8192, 8200));
  assert.equal(pages.status, 1, pages.text);
  assert.ok(pages.findings.length >= 1);
  assert.ok(pages.findings.every(({kind, file}) => kind === 'control' && file === 'control.db'),
    pages.text);
  const head = altered('control.db', flip(3));
  assert.equal(head.status, 1, head.text);
  assert.match(head.findings[0].what, /not a database/);
  const home = folder('check');
  const data = path.join(home, 'data');
  cpSync(server.data, data, {recursive: true});
  execFileSync('python3', ['-c', 'import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as db:\n'
    + ' db.execute("UPDATE destinations SET account = 4711")', path.join(data, 'control.db')]);
  const result = check(data);
  remove(home);
  assert.equal(result.status, 1, result.text);
  assert.equal(result.n_findings, 1, result.text);
  assert.match(result.findings[0].what, /destinations names a row of accounts/);
});

test('a folder that is none, or of another kind, is told', () => {
  const home = folder('check');
  assert.equal(millrace(['check', '--data', home]).status, 2);
  assert.equal(millrace(['check', '--data', path.join(home, randomUUID())]).status, 2);
  remove(home);
});
