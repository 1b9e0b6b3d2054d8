// The demo that a newcomer runs first: its figures must agree.
import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import path from 'node:path';
import {test} from 'node:test';
import {root} from './harness.mjs';

test('script/run --events 5000 ends by itself, and all figures agree', () => {
  const done = spawnSync(path.join(root, 'script/run'), ['--events', '5000'],
    {encoding: 'utf8', timeout: 300000});
  assert.equal(done.status, 0, `${done.stdout}\n${done.stderr}`);
  assert.match(done.stdout, /accepted +5000/);
  assert.match(done.stdout, /duplicates +0/);
  assert.match(done.stdout, /bad signatures +0/);
  assert.match(done.stdout, /p50, p99 +\d+ ms, \d+ ms/);
  assert.match(done.stdout, /All figures agree/);
});
