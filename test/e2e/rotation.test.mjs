// Webhook secrets are rotated while deliveries run, on two workers: no request is signed with the
// old secret once the answer to the activation is here. What a receiver sees cannot tell when a
// request was signed, but these could only be signed after the answer:
//   - an event whose publishing began after it,
//   - the retry of a request whose failure the receiver told after it,
//   - a request on a connection whose last response the receiver sent after it.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {createHash} from 'node:crypto';
import {after, before, test} from 'node:test';
import {Receiver, Server, binary, certificates, event, millrace, until} from './harness.mjs';

const rounds = 12;
const type = 'com.example.rotation';
let server;
let receiver;
let environment;

const sign = (secret, note) => createHash('sha256')
  .update(secret + note.method + receiver.url + note.path).update(note.body).digest('hex');

before(async () => {
  receiver = await Receiver.start();
  server = await Server.start({settings: {workers: 2, extra_ca_file: certificates().ca,
    account_events_per_second: 0}});
  environment = {MILLRACE_URL: server.url, MILLRACE_CLIENT_ID: server.client_id,
    MILLRACE_CLIENT_SECRET: server.client_secret};
});

after(async () => {
  await server?.end();
  await receiver?.end();
});

// Every third request of /flaky fails, so that there are retries at all times.
function observe() {
  const sockets = new Map(); // socket → when its last response was sent
  const failures = new Map(); // token → when the receiver told its last failure
  let n = 0;
  receiver.behave = () => (request, response, note) => {
    const token = note.headers['kore-idempotency-token'];
    const status = note.path === '/flaky' && n++ % 3 === 0 ? 500 : 200;
    note.afterOnConnection = sockets.get(request.socket) ?? -Infinity;
    note.afterFailure = failures.get(token) ?? -Infinity;
    note.ids = JSON.parse(note.body).map((one) => one.id);
    const now = performance.now();
    sockets.set(request.socket, now);
    if (status !== 200) {
      failures.set(token, now);
    }
    response.writeHead(status, {'content-length': 0});
    response.end();
  };
}

test('not one delivery is signed with the old secret after the activation was answered', async () => {
  observe();
  for (const path of ['/a', '/b', '/c', '/flaky']) {
    const destination = await server.destination(receiver.url + path,
      {retry_policy: {delays_ms: Array(8).fill(40)}});
    await server.rule(destination, type);
  }
  const secrets = [await server.secret('first')];
  const answered = [-Infinity]; // when the answer to the activation of each secret was here
  const published = new Map(); // id → when its publishing began
  let stops = false;
  let taken = 0; // events that /a has seen
  receiver.on = (note) => { taken += note.path === '/a' ? JSON.parse(note.body).length : 0; };
  const publishing = Promise.all([0, 1].map(async () => {
    while (!stops) {
      await until('the receiver keeps up', () => stops || published.size - taken < 1000);
      const events = Array.from({length: 100}, () => event({type}));
      const now = performance.now();
      events.forEach((one) => published.set(one.id, now));
      const answer = await server.publish(events);
      assert.equal(answer.status, 202, answer.text);
    }
  }));
  for (let round = 0; round < rounds; round++) {
    const next = await server.must('POST', '/v1/secrets', {Name: `round ${round}`});
    const seen = receiver.requests.length;
    await until('requests under the present secret', () => receiver.requests.length > seen + 60);
    const activated = await server.api('PATCH', `/v1/secrets/${next.id}`, {Status: 'active'});
    answered.push(performance.now());
    assert.equal(activated.status, 200, activated.text);
    secrets.push(next);
  }
  const seen = receiver.requests.length;
  await until('requests under the last secret', () => receiver.requests.length > seen + 60);
  stops = true;
  await publishing;

  const judged = {published: 0, failure: 0, connection: 0};
  const bySecret = secrets.map(() => 0);
  for (const note of receiver.requests) {
    const signature = note.headers['kore-signature'];
    const used = secrets.findIndex((one) => sign(one.secret, note) === signature);
    assert.ok(used >= 0, `a signature of no secret: ${signature}`);
    bySecret[used]++;
    const starts = {published: Math.min(...note.ids.map((id) => published.get(id))),
      failure: note.afterFailure, connection: note.afterOnConnection};
    for (const [how, start] of Object.entries(starts)) {
      // The newest secret that was answered before the request could begin.
      const due = answered.findLastIndex((at) => at < start);
      judged[how] += due > 0;
      assert.ok(used >= due, `signed with secret ${used}, though ${due} was active (${how})`);
    }
  }
  assert.ok(bySecret.every((n) => n > 0), `requests by secret: ${bySecret}`);
  for (const [how, n] of Object.entries(judged)) {
    assert.ok(n > 20, `${how}: only ${n} requests to judge`);
  }
});

// Runs `secrets rotate`; gives what it printed once a condition holds, and how it ends.
function rotate(...args) {
  const env = {...process.env, ...environment};
  const child = spawn(binary, ['secrets', 'rotate', ...args], {env});
  const run = {child, out: '', err: ''};
  child.stdout.on('data', (bytes) => { run.out += bytes; });
  child.stderr.on('data', (bytes) => { run.err += bytes; });
  run.ended = new Promise((resolve) => { child.on('close', resolve); });
  return run;
}

async function active() {
  return (await server.must('GET', '/v1/secrets?status=active')).data[0];
}

test('secrets rotate shows the new secret, waits, and activates it on yes alone', async () => {
  const old = await active();
  for (const answer of ['no\n', '\n', 'yess\n', 'y\n', '']) {
    const run = rotate();
    await until('the question', () => run.err.includes('Type yes to activate: '));
    assert.match(run.out, /^[0-9a-f]{32,}\n$/);
    assert.equal((await active()).id, old.id);
    run.child.stdin.end(answer);
    assert.equal(await run.ended, 1);
    assert.match(run.err, /Not activated.*`millrace secrets activate whs_/);
    assert.equal((await active()).id, old.id);
  }
  const run = rotate('--name', 'new one');
  await until('the question', () => run.err.includes('Type yes to activate: '));
  run.child.stdin.end('yes\n');
  assert.equal(await run.ended, 0);
  const now = await active();
  assert.notEqual(now.id, old.id);
  assert.equal(now.name, 'new one');
  const seen = receiver.requests.length;
  const answer = await server.publish(event({type}));
  assert.equal(answer.status, 202);
  const note = await until('the delivery', () => receiver.requests[seen]);
  assert.equal(note.headers['kore-signature'], sign(run.out.trim(), note));
  assert.doesNotMatch(run.err, new RegExp(run.out.trim()));
});

test('secrets rotate --yes asks nothing; a first secret is active at once', async () => {
  const done = millrace(['secrets', 'rotate', '--yes'], {env: environment});
  assert.equal(done.status, 0, done.stderr);
  assert.match(done.stdout, /^[0-9a-f]{32,}\n$/);
  assert.doesNotMatch(done.stderr, /Type yes/);
  const other = await Server.start();
  try {
    const first = millrace(['secrets', 'rotate'], {env: {MILLRACE_URL: other.url,
      MILLRACE_CLIENT_ID: other.client_id, MILLRACE_CLIENT_SECRET: other.client_secret}});
    assert.equal(first.status, 0, first.stderr);
    assert.match(first.stderr, /first secret, whs_\w+: it is active at once/);
  } finally {
    await other.end();
  }
});
