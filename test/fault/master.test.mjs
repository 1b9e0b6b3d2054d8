// The master key is rotated and the command dies before any one change of a file, or in the middle
// of a write: what is sealed opens with one key alone, that key is found by the next start without
// help, and the other one opens nothing.
import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import {cpSync, existsSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {after, before, test} from 'node:test';
import {DatabaseSync} from 'node:sqlite';
import {Server, binary, folder, millrace, remove} from '../e2e/harness.mjs';
import {prepare} from './control.mjs';
import {Disk} from './disk.mjs';

let home;
let disk;
let server;
let ids;

before(async () => {
  home = folder('master');
  disk = new Disk(path.join(home, 'state'));
  server = new Server({data: path.join(home, 'data'), settings: {allow_http: 'true'}});
  server.init();
  await server.serve();
  ids = await prepare(server, 'http://127.0.0.1:19999');
  await server.must('PATCH', `/v1/destinations/${ids.destination.id}`,
    {settings: {headers: {'X-Key': 'canary-header-master'}}});
  await server.must('POST', `/v1/destinations/${ids.destination.id}/signing-secret`, {});
  await server.stop();
  cpSync(server.data, path.join(home, 'first'), {recursive: true});
  cpSync(`${server.data}.key`, path.join(home, 'first.key'));
});

after(async () => {
  await server?.end();
  disk?.end();
  remove(home);
});

// As before any rotation, at the same place.
function anew() {
  for (const name of ['data', 'data.key', 'data.key.new', 'named']) {
    rmSync(path.join(home, name), {recursive: true, force: true});
  }
  cpSync(path.join(home, 'first'), server.data, {recursive: true});
  cpSync(path.join(home, 'first.key'), `${server.data}.key`);
}

function rotate(more = [], part = 'data') {
  return spawnSync(binary, ['rotate-master-key', '--data', server.data, ...more],
    {encoding: 'utf8', env: {...process.env, ...disk.environment(path.join(home, part))}});
}

const key = () => readFileSync(`${server.data}.key`, 'utf8');

// The ids of the keys that the boxes in the database name.
function sealedWith() {
  const db = new DatabaseSync(path.join(server.data, 'control.db'));
  try {
    const boxes = ['SELECT value AS box FROM meta WHERE key <> \'installation_id\'',
      'SELECT private_sealed AS box FROM signing_keys', 'SELECT value_sealed AS box FROM secrets',
      'SELECT private_sealed AS box FROM destinations', 'SELECT signing_sealed AS box FROM destinations']
      .flatMap((sql) => {
        const rows = db.prepare(sql).all().filter(({box}) => box !== null);
        assert.ok(rows.length > 0, sql);
        return rows;
      });
    return [...new Set(boxes.map(({box}) => Buffer.from(box).subarray(1, 9).toString('hex')))];
  } finally {
    db.close();
  }
}

// Opens it as every command does.
const opens = () => millrace(['users', 'set-password', '--data', server.data, '--email',
  'nobody@example.org', '--password-file', path.join(home, 'first.key')]);

test('before and behind the commit both keys are found, and the start finishes what was begun', () => {
  anew();
  const [oldId] = sealedWith();
  const oldKey = key();
  const begin = disk.get('changes');
  assert.equal(rotate().status, 0);
  const total = disk.get('changes') - begin;
  assert.ok(total > 20, `${total} changes of files`);
  const seen = {old: 0, fresh: 0, finished: 0};
  for (let at = 1; at <= total; at++) {
    for (const tears of [0, 1]) {
      const place = `change ${at} of ${total}${tears ? ', torn' : ''}`;
      anew();
      disk.set('killTears', tears);
      disk.set('killAt', disk.get('changes') + at);
      const died = rotate();
      assert.equal(died.signal, 'SIGKILL', place + died.stderr);
      disk.set('killAt', 0);
      const wasMoved = key() !== oldKey;
      const started = opens();
      assert.match(started.stderr, /there is no such user/, place);
      const sealed = sealedWith();
      assert.equal(sealed.length, 1, place);
      if (sealed[0] === oldId) {
        assert.equal(key(), oldKey, place);
        seen.old++;
      } else {
        assert.notEqual(key(), oldKey, place);
        assert.ok(!existsSync(`${server.data}.key.new`), place);
        seen.fresh++;
        seen.finished += wasMoved ? 0 : 1;
      }
      // Whatever was left behind is in nobody's way.
      assert.equal(rotate().status, 0, place);
    }
  }
  assert.ok(seen.old > 0 && seen.fresh > 0 && seen.finished > 0, JSON.stringify(seen));
});

test('the old key opens nothing, and nothing that it sealed is left in any file', async () => {
  anew();
  const [oldId] = sealedWith();
  const oldKey = key();
  const done = rotate();
  assert.equal(done.status, 0, done.stderr);
  assert.ok(!done.stdout.includes(key().trim()) && !done.stdout.includes(oldKey.trim()));
  for (const name of ['control.db', 'control.db-wal']) {
    const file = path.join(server.data, name);
    assert.ok(!existsSync(file) || !readFileSync(file).includes(Buffer.from(oldId, 'hex')), name);
  }
  const newKey = key();
  writeFileSync(`${server.data}.key`, oldKey);
  const refused = opens();
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /not the one that the data folder/);
  writeFileSync(`${server.data}.key`, newKey);
  // Clients' secrets, tokens, webhook secrets and destinations are what they were.
  await server.serve();
  const found = await server.must('GET', `/v1/destinations/${ids.destination.id}`);
  assert.equal(found.id, ids.destination.id);
  assert.equal(rotate().status, 4, 'the folder is served');
  assert.deepEqual(await server.stop(), {code: 0, signal: null});
  const check = millrace(['check', '--data', server.data]);
  assert.equal(check.status, 0, check.stdout + check.stderr);
});

test('a value that does not open stops it, and nothing is changed', () => {
  anew();
  const [oldId] = sealedWith();
  const db = new DatabaseSync(path.join(server.data, 'control.db'));
  const {id, value_sealed: box} = db.prepare('SELECT id, value_sealed FROM secrets').get();
  box[box.length - 1] ^= 1;
  db.prepare('UPDATE secrets SET value_sealed = ? WHERE id = ?').run(box, id);
  db.close();
  const oldKey = key();
  const refused = rotate();
  assert.notEqual(refused.status, 0);
  assert.deepEqual(sealedWith(), [oldId]);
  assert.equal(key(), oldKey);
});

test('a key in a file of its own: made or taken, and both stay', () => {
  anew();
  const oldKey = key();
  const named = path.join(home, 'named');
  assert.equal(rotate(['--new-key-file', named]).status, 0);
  assert.equal(key(), oldKey);
  assert.equal(opens().status, 2);
  const env = {MILLRACE_MASTER_KEY_FILE: named};
  const again = (file) => millrace(['rotate-master-key', '--data', server.data, '--new-key-file', file], {env});
  assert.match(again(named).stderr, /present master key/);
  writeFileSync(path.join(home, 'bad'), 'no key\n');
  const bad = again(path.join(home, 'bad'));
  assert.equal(bad.status, 2);
  assert.match(bad.stderr, /holds no master key/);
  assert.equal(again(path.join(home, 'nowhere', 'key')).status, 2);
  assert.equal(again(`${server.data}.key`).status, 0, 'back to the old one');
  assert.match(opens().stderr, /there is no such user/);
});

test('where the new key cannot lie beside the old one, it says what to do', () => {
  anew();
  disk.set('readOnly', 1);
  const refused = rotate([], 'data.key');
  disk.set('readOnly', 0);
  assert.equal(refused.status, 2, refused.stderr);
  assert.match(refused.stderr, /--new-key-file/);
  assert.match(opens().stderr, /there is no such user/);
});
