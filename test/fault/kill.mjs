// kill -9 under load at random moments, then clean stops.  node kill.mjs [--rounds N] [--seed S]
// Every acknowledged event and callback must arrive; a duplicate is excused only where the program's death
// struck an attempt in flight or one that had just finished; a clean stop excuses none.
import assert from 'node:assert/strict';
import path from 'node:path';
import {parseArgs} from 'node:util';
import {Server, folder, millrace, remove, until} from '../e2e/harness.mjs';
import {Crowd, dice} from './crowd.mjs';
import {Disk} from './disk.mjs';
import {now} from './receiver.mjs';

const {values} = parseArgs({options: {
  rounds: {type: 'string', default: '20'}, stops: {type: 'string', default: '3'},
  events: {type: 'string', default: '5000'}, seed: {type: 'string'}}});
const seed = Number(values.seed ?? Date.now() % 1000000);
const random = dice(seed);
const events = Number(values.events);
console.log(`seed ${seed}`);

const home = folder('kill');
const disk = new Disk(path.join(home, 'state'));
const crowd = new Crowd(random);
await crowd.open();
const server = new Server({data: path.join(home, 'data'),
  settings: {allow_http: 'true', ...disk.environment(home)}});
process.on('exit', () => server.child?.kill('SIGKILL')); // where a judgement below fails
server.init();
await server.serve();
await crowd.configure(server);

async function judge(what) {
  const lost = await crowd.settle();
  const guilty = crowd.guilty();
  console.log(`${what}: ${crowd.acknowledged.size} acknowledged, ${lost.length} lost, `
    + `${crowd.duplicates.length} duplicates, ${guilty.length} of them not excused`);
  if (lost.length > 0) {
    const list = await server.must('GET', '/v1/destinations?page_size=100');
    list.data.forEach(({settings, status, counters}) =>
      console.log(settings.url.slice(-2), status, JSON.stringify(counters)));
    console.log(server.log.slice(-2000));
  }
  assert.deepEqual(lost.slice(0, 10).map((id) => [id, crowd.acknowledged.get(id)]), []);
  assert.deepEqual(guilty.slice(0, 3), [], `deaths ${JSON.stringify(crowd.deaths)}`);
}

for (let round = 1; round <= Number(values.rounds); round++) {
  disk.reset();
  const done = await crowd.load(server, events, random() * 400, async () => {
    const at = now();
    await server.kill();
    return at;
  });
  const longest = disk.longestSync(done.result);
  await crowd.died(done.result, longest);
  console.log(`round ${round}: killed after ${done.acknowledged} acknowledged events and `
    + `${done.callbacks} callbacks, longest sync `
    + `${longest.toFixed(1)} ms, ${crowd.duplicates.length} duplicates so far`);
  await server.serve();
}
await judge('kill');

for (let stop = 1; stop <= Number(values.stops); stop++) {
  const done = await crowd.load(server, 1000, random() * 200, () => server.stop());
  assert.deepEqual(done.result, {code: 0, signal: null}, `clean stop\n${server.log.slice(-2000)}`);
  await crowd.died(now());
  await server.serve();
}
await judge('stop');

// A second SIGTERM does not wait for the destination that hangs.
const hanging = await server.must('GET', '/v1/destinations?page_size=100');
const last = hanging.data.find(({settings}) => settings.url.endsWith('/d9'));
await server.must('PATCH', `/v1/destinations/${last.id}`, {settings: {timeout_ms: 30000}});
const held = crowd.hanging;
await server.publish({specversion: '1.0', id: 'last', source: '/test', type: 'com.example.d9'});
await until('the request that hangs', () => crowd.hanging > held, 70000);
const began = performance.now();
server.child.kill('SIGTERM');
await new Promise((resolve) => setTimeout(resolve, 200));
server.child.kill('SIGTERM');
await server.exited;
assert.ok(performance.now() - began < 3000, 'a second SIGTERM ends at once');

const check = millrace(['check', '--data', server.data, '--json']);
assert.equal(check.status, 0, `check: ${check.stdout} ${check.stderr}`);
const {callbacks} = JSON.parse(check.stdout);
console.log(`callbacks ${JSON.stringify(callbacks)}`);
assert.ok(callbacks.created > 0 && callbacks.pending === 0 && callbacks.failed === 0);
await crowd.end();
disk.end();
remove(home);
console.log('kill: all well');
process.exit(0);
