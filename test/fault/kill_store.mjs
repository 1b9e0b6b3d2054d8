// kill -9 before any one change of the control store's files, or in the middle of a write: what was
// answered is there after a restart, and what was not is wholly there or wholly not.
//   node kill_store.mjs [--points N] [--seed S]     N of all places, evenly; 0: every one
import assert from 'node:assert/strict';
import path from 'node:path';
import {parseArgs} from 'node:util';
import {Server, canaries, folder, millrace, remove} from '../e2e/harness.mjs';
import {change, changes, difference, dump, prepare} from './control.mjs';
import {dice} from './crowd.mjs';
import {Disk} from './disk.mjs';

const {values} = parseArgs({options: {
  points: {type: 'string', default: '60'}, seed: {type: 'string'}}});
const seed = Number(values.seed ?? Date.now() % 1000000);
console.log(`seed ${seed}`);
const random = dice(seed);

const home = folder('kill-store');
const disk = new Disk(path.join(home, 'state'));
const server = new Server({data: path.join(home, 'data'),
  settings: {allow_http: 'true', segment_bytes: 33554432, ...disk.environment('/control.db')}});
process.on('exit', () => server.child?.kill('SIGKILL')); // where a judgement below fails
server.init();
await server.serve();
// Nobody listens there, and no event is published.
const ids = await prepare(server, 'http://127.0.0.1:19999');

// The same change has the same shape each time: how many rows of which tables are new, or, where
// none is, gone.
const shapeOf = (found) => JSON.stringify(Object.entries(found).map(([table, [gone, fresh]]) =>
  [table, fresh > 0 ? fresh : -gone]).sort());

// Runs the list until the program dies: {last: the dump after the last answer, step: what was under
// way}. Whole without a death.
async function flow(round, onDone = () => {}) {
  let last = dump(server);
  for (const one of changes(server, ids)) {
    const answer = await change(server, ids, one, `round ${round}`).catch(() => null);
    if (answer === null) {
      return {last, step: one[0]};
    }
    assert.ok(answer.status < 300, `${one[0]}: ${answer.status} ${answer.text}`);
    const now = dump(server);
    onDone(one[0], difference(last, now));
    last = now;
  }
  return {last, step: null};
}

const shapes = new Map();
let total = 0;
// The first time makes rows (of numbers) that later ones change.
for (const round of ['first', 'second']) {
  const before = disk.get('changes');
  await flow(round, (route, found) => shapes.set(route, shapeOf(found)));
  total = disk.get('changes') - before;
}
const step = Number(values.points) === 0 ? 1 : Math.max(1, Math.floor(total / Number(values.points)));
const places = [];
for (let at = 1 + Math.floor(random() * step); at <= total; at += step) {
  places.push(at);
}
const modes = Number(values.points) === 0 ? [0, 1] : [null];
console.log(`${total} changes of files in ${shapes.size} changes of the store`);

let whole = 0;
let nothing = 0;
for (const at of places) {
  for (const mode of modes) {
    const tears = mode ?? (random() < 0.5 ? 1 : 0);
    disk.set('killTears', tears);
    disk.set('killAt', disk.get('changes') + at);
    const {last, step: under} = await flow(`${at}-${tears}`);
    const place = `change ${at}${tears ? ', torn' : ''}, during ${under}`;
    if (under !== null) {
      assert.deepEqual(await server.exited, {code: null, signal: 'SIGKILL'}, place);
    }
    disk.set('killAt', 0);
    if (under === null) {
      // Not so many changes of files this time: the log of writes was folded in elsewhere.
      continue;
    }
    await server.serve();
    const found = difference(last, dump(server));
    if (Object.keys(found).length === 0) {
      nothing++;
    } else {
      assert.equal(shapeOf(found), shapes.get(under), place);
      whole++;
    }
  }
}
console.log(`${nothing + whole} deaths: ${nothing} times nothing was there, ${whole} times all`);
assert.ok(nothing > 0 && whole > 0, 'deaths on both sides of a commit');
assert.deepEqual(await server.stop(), {code: 0, signal: null});
const check = millrace(['check', '--data', server.data]);
assert.equal(check.status, 0, check.stdout + check.stderr);
server.searchTraces();
assert.deepEqual(canaries.found(), []);
disk.end();
remove(home);
console.log('kill_store: all well');
