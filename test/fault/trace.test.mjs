// Acknowledged is on disk: seen in the system calls that the real program makes under load, and
// seen red where the sync is taken out or the answer goes first.
import assert from 'node:assert/strict';
import {chmodSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {test} from 'node:test';
import {Receiver, Server, binary, certificates, event, folder, remove, until} from '../e2e/harness.mjs';
import {Disk} from './disk.mjs';
import {calls, judge} from './trace.mjs';

// Publishes singles, batches and duplicates, and sends callbacks, over several connections under strace.
// The mutation is a wish of the shim's: 'syncSkip', 'syncLate', or none.
async function record(mutation) {
  const home = folder('trace');
  const disk = new Disk(path.join(home, 'state'));
  if (mutation) {
    disk.set(mutation, 1);
  }
  const wrapper = path.join(home, 'traced');
  const file = path.join(home, 'calls');
  // Left out: the zeros that spare segments are filled with, hundreds of megabytes in this spelling.
  const zeros = '\\\\0'.repeat(16);
  writeFileSync(wrapper, `#!/bin/sh\nexec strace -D -f -ttt -y -s 1000000 `
    + `-o '|exec grep -avF "\\"${zeros}" >${file}' `
    + '-e trace=pwrite64,pwritev,pwritev2,fdatasync,fsync,write,writev,sendto,sendmsg '
    + `'${binary}' "$@"\n`);
  chmodSync(wrapper, 0o755);
  const receiver = await Receiver.start();
  const server = new Server({data: path.join(home, 'data'), program: wrapper, settings: {
    debug_core: 'true', extra_ca_file: certificates().ca,
    ...disk.environment(path.join(home, 'data'))}});
  server.init();
  await server.serve();
  const destination = await server.destination(`${receiver.url}/hook`);
  await server.rule(destination, 'com.example.test');
  const ids = [];
  const callbacks = [];
  const publish = async (worker) => {
    for (let n = 0; n < 8; n++) {
      const made = Array.from({length: n % 2 === 0 ? 1 : 20}, (_, k) =>
        event({id: `trace-${worker}-${n}-${k}`}));
      ids.push(...made.map(({id}) => id));
      const body = made.length === 1 ? made[0] : made;
      assert.equal((await server.publish(body)).status, 202);
      const again = await server.publish(body);
      assert.equal(again.body.duplicates, made.length);
      // Its id stands in the record, its reference in the answer.
      const id = `callback-${worker}-${n}`;
      callbacks.push(id);
      assert.equal((await server.api('POST', '/v1/callbacks', {url: `${receiver.url}/callback`,
        content_type: 'json', body: {id}, reference: id})).status, 202);
    }
  };
  await Promise.all(Array.from({length: 6}, (_, worker) => publish(worker)));
  const {pid} = server;
  await server.stop();
  // The tracer is a process of its own that may still be writing.
  await until('the end of the trace', () =>
    new RegExp(`^${pid} .*\\+\\+\\+ (exited|killed)`, 'm').test(readFileSync(file, 'utf8')));
  await server.end();
  await receiver.end();
  disk.end();
  const trace = readFileSync(file, 'utf8');
  remove(home);
  return {trace, ids, callbacks};
}

test('every_202_follows_a_sync_that_covers_its_events', async () => {
  const {trace, ids, callbacks} = await record();
  const {judged, faults} = judge(trace, ids);
  assert.deepEqual(faults, []);
  assert.equal(judged, 2 * ids.length, 'each event is named by one 202, and once more as a duplicate');
  assert.deepEqual(judge(trace, callbacks), {judged: callbacks.length, faults: []});
  assert.ok(calls(trace).some(({name}) => name === 'fdatasync'));
});

// A late sync covers what happens to be written meanwhile, so how many answers it leaves uncovered
// is a matter of the machine's pace; one is a breach.
for (const [mutation, what, least] of [
  ['syncSkip', 'the_sync_is_taken_out', (ids, callbacks) => 2 * ids.length + callbacks.length],
  ['syncLate', 'the_answer_goes_before_the_sync', () => 1]]) {
  test(`the_same_judge_is_red_when_${what}`, async () => {
    const {trace, ids, callbacks} = await record(mutation);
    const {judged, faults} = judge(trace, [...ids, ...callbacks]);
    assert.equal(judged, 2 * ids.length + callbacks.length);
    assert.ok(faults.length >= least(ids, callbacks), `${faults.length} faults`);
    assert.ok(faults.every((text) => text.endsWith('without a sync that covers it')));
  });
}
