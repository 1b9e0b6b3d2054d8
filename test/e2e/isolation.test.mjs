// A fifth of the destinations hang, reset or trickle: the others get everything, and not later than
// before. In miniature and on any machine, so latencies are compared with a generous factor; what
// they are in truth, at load, is measured in bench/. And what is owed after a restart leaves by
// itself.
import assert from 'node:assert/strict';
import {setTimeout as pause} from 'node:timers/promises';
import {after, before, test} from 'node:test';
import {Receiver, Server, event, until} from './harness.mjs';

const DESTINATIONS = 100;
const BAD = 20;
const ROUNDS = 80; // of one event for each of 10 destinations
const PAUSE_MS = 25;
const FACTOR = 3; // generous: shared machines stall
const FLOOR_MS = 50; // linger_ms: what a request in flight to the same destination may cost anyway

let server;
let receiver;
let modes; // by destination, where it is bad
const arrived = new Map(); // id → when
const timers = new Set();

function trickle(request, response) {
  const socket = request.socket;
  const timer = setInterval(() => (socket.destroyed ? clearInterval(timer) : socket.write('H')), 100);
  timers.add(timer);
}

const kinds = {hang: 'hang', reset: 'reset', trickle};

before(async () => {
  server = await Server.start({settings: {allow_http: 'true'}});
  receiver = await Receiver.start({tls: false, keep: false});
  receiver.behave = (path) => modes?.(Number(path.slice(2))) ?? 'ok';
  receiver.on = (note) => {
    if (note.mode === 'ok') {
      JSON.parse(note.body).forEach(({id}) => arrived.set(id, note.at));
    }
  };
  await server.secret();
  for (let i = 0; i < DESTINATIONS; i++) {
    const made = await server.destination(`${receiver.url}/d${i}`, {timeout_ms: 2000});
    await server.rule(made, `com.example.d${i}`);
  }
});

after(async () => {
  timers.forEach(clearInterval);
  await server?.end();
  await receiver?.end();
});

// Publishes to all in turn; the latencies in ms of the healthy ones, all of which must arrive.
async function load(name) {
  const sent = new Map();
  const answers = [];
  for (let round = 0; round < ROUNDS; round++) {
    const events = Array.from({length: 10}, (_, k) => {
      const destination = (round * 10 + k * 11) % DESTINATIONS;
      const made = event({id: `${name}-${round}-${k}`, type: `com.example.d${destination}`});
      if (destination >= BAD) {
        sent.set(made.id, performance.now());
      }
      return made;
    });
    answers.push(server.publish(events));
    await pause(PAUSE_MS);
  }
  for (const answer of await Promise.all(answers)) {
    assert.equal(answer.status, 202, answer.text);
  }
  await until(`all of ${name} at the healthy`, () => [...sent.keys()].every((id) => arrived.has(id)));
  const times = [...sent].map(([id, at]) => arrived.get(id) - at).sort((a, b) => a - b);
  return {median: times[times.length >> 1], p99: times[Math.floor(times.length * 0.99)]};
}

function compare(calm, now, what) {
  for (const of of ['median', 'p99']) {
    assert.ok(now[of] <= FACTOR * Math.max(calm[of], FLOOR_MS),
      `${what}: ${of} ${now[of].toFixed(1)} ms, ${calm[of].toFixed(1)} ms without`);
  }
}

test('the healthy do not wait for those that hang, reset and trickle', async (t) => {
  await load('warm');
  const calm = await load('calm');
  for (const [kind, mode] of Object.entries(kinds)) {
    modes = (number) => (number < BAD ? mode : null);
    const now = await load(kind);
    t.diagnostic(`${kind}: median ${now.median.toFixed(1)} ms, p99 ${now.p99.toFixed(1)} ms; without `
      + `${calm.median.toFixed(1)} and ${calm.p99.toFixed(1)} ms`);
    compare(calm, now, kind);
  }
  modes = (number) => (number < BAD ? Object.values(kinds)[number % 3] : null);
  compare(calm, await load('mixed'), 'all kinds');
  const {rss} = server.footprint();
  assert.ok(rss <= 256, `${rss} MiB`);
});

test('what is owed after a restart leaves though nothing comes in', async () => {
  modes = () => 503;
  const made = Array.from({length: DESTINATIONS}, (_, i) =>
    event({id: `owed-${i}`, type: `com.example.d${i}`}));
  assert.equal((await server.publish(made)).status, 202);
  await server.kill();
  modes = null;
  await server.serve();
  await until('all of them', () => made.every(({id}) => arrived.has(id)), 10000);
});
