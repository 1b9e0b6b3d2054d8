// Ten destinations under load: eight healthy, one that fails, one that hangs; and callbacks to the
// addresses of the healthy ones. Who was acknowledged, what arrived, and which of the duplicates a
// death of the program excuses.
import http from 'node:http';
import {Worker} from 'node:worker_threads';
import {event, until} from '../e2e/harness.mjs';

export const HEALTHY = 8;
const DESTINATIONS = 10;
const EXCUSED_MS = 50;

// A small generator with a seed, for moments and mixtures (mulberry32).
export function dice(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export class Crowd {
  constructor(random) {
    this.random = random;
    this.acknowledged = new Map(); // id → destination
    this.unknown = new Map(); // id → destination: sent, never answered
    this.arrivals = Array.from({length: DESTINATIONS}, () => new Map()); // id → its last request
    this.requests = new Map(); // number → {at, life, answered}, those not yet answered
    this.duplicates = []; // {id, before, after}: two requests
    this.deaths = []; // of each life: {at, isClean, excusedMs}
    this.number = 0;
    this.refused = 0;
    this.hanging = 0; // requests that hang, so far
  }

  async open() {
    this.receiver = new Worker(new URL('receiver.mjs', import.meta.url));
    this.receiver.on('error', (error) => { throw error; });
    this.receiver.on('message', ({told, port, silent}) => {
      for (const what of told) {
        this.hear(what);
      }
      this.url = port === undefined ? this.url : `http://127.0.0.1:${port}`;
      if (silent) {
        this.onSilent();
      }
    });
    await until('the receiver', () => this.url);
  }

  async configure(server) {
    await server.secret();
    for (let i = 0; i < DESTINATIONS; i++) {
      const made = await server.destination(`${this.url}/d${i}`,
        {timeout_ms: i < HEALTHY ? 10000 : 1000});
      await server.rule(made, `com.example.d${i}`);
    }
  }

  hear({note, path, at, ids, answered}) {
    if (answered !== undefined) {
      const request = this.requests.get(note);
      if (request) {
        request.answered = answered;
        this.requests.delete(note);
      }
      return;
    }
    const destination = Number(path.slice(2));
    this.hanging += destination === 9 ? 1 : 0;
    if (destination >= HEALTHY) {
      return;
    }
    const request = {at, life: this.deaths.length, answered: null};
    this.requests.set(note, request);
    const seen = this.arrivals[destination];
    for (const id of ids) {
      const before = seen.get(id);
      if (before) {
        this.duplicates.push({id, before, after: request});
      }
      seen.set(id, request);
    }
  }

  make() {
    const destination = Math.floor(this.random() * DESTINATIONS);
    const id = `e-${this.number++}`;
    return {destination, made: event({id, type: `com.example.d${destination}`},
      {number: this.number, text: 'ä€😀 '.repeat(8)})};
  }

  // A callback whose body looks to the receiver like a delivery of one event.
  makeCallback() {
    const destination = Math.floor(this.random() * HEALTHY);
    const made = {id: `c-${this.number++}`, text: 'ä€😀 '.repeat(8)};
    return {destination, made, call: {url: `${this.url}/d${destination}`, content_type: 'json',
      body: [made], reference: made.id}};
  }

  // One connection that sends callbacks until told to stop.
  async caller(server, control) {
    const agent = new http.Agent({keepAlive: true, maxSockets: 1});
    while (!control.stop) {
      const {destination, made, call} = this.makeCallback();
      const status = await this.post(agent, server, call, '/v1/callbacks');
      if (status === 202) {
        this.acknowledged.set(made.id, destination);
        control.callbacks++;
      } else {
        this.refused++;
        if (status === 0 && control.dying) {
          break;
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    agent.destroy();
  }

  // One connection that publishes until told to stop.
  async publisher(server, batch, control) {
    const agent = new http.Agent({keepAlive: true, maxSockets: 1});
    while (!control.stop) {
      const events = Array.from({length: batch}, () => this.make());
      for (const {made, destination} of events) {
        this.unknown.set(made.id, destination);
      }
      const status = await this.post(agent, server, batch === 1 ? events[0].made
        : events.map(({made}) => made));
      if (status === 202) {
        for (const {made, destination} of events) {
          this.acknowledged.set(made.id, destination);
        }
        control.count += events.length;
      }
      if (status !== 0) {
        for (const {made} of events) {
          this.unknown.delete(made.id);
        }
      }
      if (status !== 202) {
        this.refused++;
        if (status === 0 && control.dying) {
          break;
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    agent.destroy();
  }

  // The status, 0 where no answer came.
  post(agent, server, body, path = '/v1/events') {
    return new Promise((resolve) => {
      const call = http.request(server.url + path, {method: 'POST', agent, headers: {
        authorization: `Bearer ${server.token}`,
        'content-type': path !== '/v1/events' ? 'application/json' : Array.isArray(body) ? 'application/cloudevents-batch+json'
          : 'application/cloudevents+json'}}, (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode));
        response.on('error', () => resolve(0));
      });
      call.on('error', () => resolve(0));
      call.end(JSON.stringify(body));
    });
  }

  // Singles and batches until `count` are acknowledged and `extraMs` more have passed.
  // `then` ends the program while the load goes on.
  async load(server, count, extraMs, then) {
    const control = {stop: false, dying: false, count: 0, callbacks: 0};
    const publishers = [];
    for (let i = 0; i < 12; i++) {
      publishers.push(this.publisher(server, i < 6 ? 1 : 50, control));
    }
    publishers.push(this.caller(server, control), this.caller(server, control));
    await until(`${count} acknowledged events`, () => control.count >= count, 60000);
    await new Promise((resolve) => setTimeout(resolve, extraMs));
    control.dying = true;
    const result = await then();
    control.stop = true;
    await Promise.all(publishers);
    return {acknowledged: control.count, callbacks: control.callbacks, result};
  }

  // The program is dead since `at` (now() of receiver.mjs). What it sent belongs to its life: heard
  // to the end before the next one begins. A clean stop gives no longestSyncMs: it excuses nothing.
  async died(at, longestSyncMs) {
    await new Promise((resolve) => {
      this.onSilent = resolve;
      this.receiver.postMessage('tell when silent');
    });
    this.requests.clear();
    this.deaths.push({at, isClean: longestSyncMs === undefined,
      excusedMs: Math.max(EXCUSED_MS, longestSyncMs ?? 0)});
  }

  // Duplicates that no death excuses. Two requests of one life never are; one of an earlier life is
  // where it was in flight when that life was killed, or was answered shortly before.
  guilty() {
    return this.duplicates.filter(({before, after}) => {
      const death = this.deaths[before.life];
      return before.life === after.life || death.isClean
        || !(before.answered === null || before.answered >= death.at - death.excusedMs);
    });
  }

  missing() {
    const lost = [];
    for (const [id, destination] of this.acknowledged) {
      if (destination < HEALTHY && !this.arrivals[destination].has(id)) {
        lost.push(id);
      }
    }
    return lost;
  }

  // Until nothing acknowledged is missing, or nothing has moved for long: what is missing then.
  async settle(patienceMs = 20000) {
    let missing = this.missing();
    let moved = Date.now();
    while (missing.length > 0 && Date.now() - moved < patienceMs) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const now = this.missing();
      if (now.length !== missing.length) {
        moved = Date.now();
      }
      missing = now;
    }
    return missing;
  }

  end() {
    return this.receiver.terminate();
  }
}
