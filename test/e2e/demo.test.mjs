// The demo that a newcomer runs first: its figures must agree, and nothing of it stays behind.
import assert from 'node:assert/strict';
import {spawn, spawnSync} from 'node:child_process';
import {readFileSync, readdirSync} from 'node:fs';
import path from 'node:path';
import {test} from 'node:test';
import {root, until} from './harness.mjs';

const demo = path.join(root, 'script/run');

test('script/run --events 5000 ends by itself, and all figures agree', () => {
  const done = spawnSync(demo, ['--events', '5000'], {encoding: 'utf8', timeout: 300000});
  assert.equal(done.status, 0, `${done.stdout}\n${done.stderr}`);
  assert.match(done.stdout, /accepted +5000/);
  assert.match(done.stdout, /duplicates +0/);
  assert.match(done.stdout, /bad signatures +0/);
  assert.match(done.stdout, /p50, p99 +\d+ ms, \d+ ms/);
  assert.match(done.stdout, /All figures agree/);
});

// Processes of a group, by what they are called.
function members(group) {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return Number(fields[2]) === group && fields[0] !== 'Z'
        ? [readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')] : [];
    } catch {
      return []; // gone meanwhile
    }
  });
}

// What a terminal does at Ctrl-C: the whole group gets SIGINT. And kill: one process gets SIGTERM.
for (const [what, stop] of [['Ctrl-C', (pid) => process.kill(-pid, 'SIGINT')],
  ['SIGTERM', (pid) => process.kill(pid, 'SIGTERM')]]) {
  test(`script/run ends at ${what}, and leaves no process`, async () => {
    const child = spawn(demo, [], {detached: true, stdio: ['ignore', 'pipe', 'pipe']});
    try {
      let out = '';
      child.stdout.on('data', (bytes) => { out += bytes; });
      child.stderr.on('data', (bytes) => { out += bytes; });
      const exited = new Promise((resolve) => {
        child.on('exit', (code, signal) => resolve({code, signal}));
      });
      await until('events that flow', () => /delivered [1-9]/.test(out), 120000);
      assert.ok(members(child.pid).length >= 4, 'the demo, server, receiver, simulator');
      stop(child.pid);
      assert.deepEqual(await exited, {code: 130, signal: null}, out);
      assert.deepEqual(members(child.pid), [], out);
      assert.doesNotMatch(out, /script\/run: /);
    } finally {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // nothing was left
      }
    }
  });
}
