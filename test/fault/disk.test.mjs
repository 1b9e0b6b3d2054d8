// The disk misbehaves: it is full, it fails a sync, its bytes change.
import assert from 'node:assert/strict';
import {closeSync, openSync, readFileSync, readdirSync, readSync, statSync, writeSync} from 'node:fs';
import path from 'node:path';
import {after, test} from 'node:test';
import {Receiver, Server, certificates, event, folder, millrace, padding, remove, until} from '../e2e/harness.mjs';
import {Disk} from './disk.mjs';

const homes = [];
const scenes = [];
after(async () => {
  await Promise.all(scenes.map((end) => end()));
  homes.forEach(remove);
});

async function scene(settings = {}) {
  const home = folder('disk');
  homes.push(home);
  const disk = new Disk(path.join(home, 'state'));
  const receiver = await Receiver.start();
  const server = new Server({data: path.join(home, 'data'), settings: {
    extra_ca_file: certificates().ca, ...disk.environment(path.join(home, 'data')), ...settings}});
  server.init();
  await server.serve();
  await server.secret();
  const destination = await server.destination(`${receiver.url}/hook`);
  await server.rule(destination, 'com.example.test');
  let ended = null;
  const end = () => {
    ended ??= (async () => {
      await server.end();
      await receiver.end();
      disk.end();
    })();
    return ended;
  };
  scenes.push(end);
  return {home, disk, receiver, server, destination, end};
}

function batch(prefix, count, bytes = 64) {
  return Array.from({length: count}, (_, n) => event({id: `${prefix}-${n}`}, {pad: padding(bytes)}));
}

// A callback whose body looks to the receiver like a delivery of one event.
const call = (server, receiver, id, bytes = 64) => server.api('POST', '/v1/callbacks',
  {url: `${receiver.url}/callback`, content_type: 'json', body: [{id, pad: padding(bytes)}]});

const ids = (receiver) => receiver.events().map(({id}) => id);

test('a_full_disk_answers_503_delivers_on_and_heals', async () => {
  const {disk, receiver, server, destination, end} = await scene({segment_bytes: 33554432});
  // Some wait for a retry while the disk fills.
  receiver.modes.set('/hook', 503);
  const first = batch('before', 20);
  assert.equal((await server.publish(first)).status, 202);
  await until('a failed attempt', () => receiver.requests.length > 0);
  const accepted = first.map(({id}) => id);
  disk.set('full', 1);
  let refusal = null;
  for (let round = 0; refusal === null && round < 400; round++) {
    const events = batch(`full-${round}`, 50, 8000);
    const answer = await server.publish(events);
    if (answer.status === 202) {
      accepted.push(...events.map(({id}) => id));
    } else {
      refusal = answer;
    }
  }
  assert.equal(refusal?.status, 503, refusal?.text);
  assert.equal(refusal.body.code, 31005);
  assert.ok(Number(refusal.headers['retry-after']) >= 1);
  let refused = null;
  for (let round = 0; refused === null && round < 400; round++) {
    const answer = await call(server, receiver, `call-${round}`, 60000);
    if (answer.status === 202) {
      accepted.push(`call-${round}`);
    } else {
      refused = answer;
    }
  }
  assert.deepEqual([refused?.status, refused?.body.code], [503, 31005], refused?.text);
  assert.ok(Number(refused.headers['retry-after']) >= 1);
  receiver.modes.set('/hook', 'ok');
  assert.ok(disk.get('fullFailures') > 0 || (await server.metrics()).millrace_journal_full === 1);
  await until('deliveries with a full disk', async () =>
    (await server.counters(destination)).pending === 0, 60000);
  assert.equal(server.child.exitCode, null);
  disk.set('full', 0);
  const healed = event({id: 'healed'});
  await until('the disk to be taken again', async () =>
    (await server.publish(healed)).status === 202, 60000);
  await until('the event after it', () => ids(receiver).includes('healed'));
  await until('the callback after it', async () =>
    (await call(server, receiver, 'called')).status === 202);
  accepted.push('called');
  await until('callbacks', async () =>
    (await server.metrics())['millrace_callbacks{state="pending"}'] === 0);
  const delivered = receiver.requests.filter(({mode}) => mode === 'ok')
    .flatMap(({body}) => JSON.parse(body)).map(({id}) => id);
  assert.deepEqual(delivered.sort(), [...accepted, 'healed'].sort());
  await end();
});

test('a_failed_sync_acknowledges_nothing_more_and_exits_3', async () => {
  const {disk, receiver, server, end} = await scene();
  const first = batch('before', 20);
  assert.equal((await server.publish(first)).status, 202);
  await until('delivery', () => ids(receiver).length === 20);
  disk.set('syncFailAt', disk.get('syncCalls') + 1);
  const answers = await Promise.all(Array.from({length: 8}, (_, n) =>
    (n < 4 ? server.publish(event({id: `failed-${n}`})) : call(server, receiver, `failed-${n}`))
      .then(({status}) => status, () => 0)));
  assert.ok(answers.every((status) => status === 503 || status === 0), answers.join(' '));
  const how = await server.exited;
  assert.deepEqual(how, {code: 3, signal: null}, server.log);
  const heard = new Set(ids(receiver));
  assert.ok(![...heard].some((id) => id.startsWith('failed-')), 'sent what was never on disk');
  disk.set('syncFailAt', 0);
  await server.serve();
  assert.equal((await server.publish(event({id: 'later'}))).status, 202);
  await until('delivery after the restart', () => ids(receiver).includes('later'));
  await server.stop();
  assert.equal(millrace(['check', '--data', server.data]).status, 0);
  await end();
});

function files(dir) {
  return readdirSync(dir, {withFileTypes: true}).flatMap((entry) => {
    const name = path.join(dir, entry.name);
    return entry.isDirectory() ? files(name) : [name];
  });
}

// The segment (by its ending) that holds the text, and where.
function find(data, text) {
  for (const name of files(data).filter((file) => file.endsWith('.seg'))) {
    const at = readFileSync(name).indexOf(text);
    if (at >= 0) {
      return {name, at};
    }
  }
  throw new Error(`no segment holds ${text}`);
}

function patch(name, at, change) {
  const fd = openSync(name, 'r+');
  const bytes = Buffer.alloc(64);
  const n = readSync(fd, bytes, 0, Math.min(64, statSync(name).size - at), at);
  writeSync(fd, change(bytes.subarray(0, n)), 0, n, at);
  closeSync(fd);
}

test('flipped_bytes_lose_only_their_own_record', async () => {
  const {receiver, server, destination, end} = await scene();
  receiver.modes.set('/hook', (request, response) => {
    response.writeHead(503, {'retry-after': '1', 'content-length': 0});
    response.end();
  });
  for (let n = 0; n < 10; n++) {
    assert.equal((await server.publish(event({id: `flip-${n}`}))).status, 202);
  }
  // A later group states that what lies before it is durable.
  await until('a witness group', async () => (await server.metrics()).millrace_journal_syncs_total > 11,
    5000).catch(() => {});
  await server.stop();
  assert.equal(millrace(['check', '--data', server.data]).status, 0);
  const place = find(server.data, 'flip-4');
  patch(place.name, place.at, (bytes) => { bytes[0] ^= 0x20; return bytes; });
  const check = millrace(['check', '--data', server.data, '--json']);
  assert.equal(check.status, 1, `${check.stdout} ${check.stderr}`);
  const damage = JSON.parse(check.stdout).findings.filter(({kind}) => kind === 'damage');
  assert.equal(damage.length, 1, check.stdout);
  assert.equal(damage[0].folder, 'journal');
  assert.equal(damage[0].file, path.basename(place.name));
  assert.ok(damage[0].offset <= place.at && place.at - damage[0].offset < 1024,
    `the record at ${place.at} is named, not ${damage[0].offset}`);
  const told = millrace(['check', '--data', server.data]);
  assert.ok(told.stdout.includes(`${damage[0].file} at byte ${damage[0].offset}`), told.stdout);
  receiver.modes.set('/hook', 'ok');
  await server.serve();
  const wanted = [0, 1, 2, 3, 5, 6, 7, 8, 9].map((n) => `flip-${n}`);
  await until('the others', () => wanted.every((id) => receiver.requests.some((note) =>
    note.mode === 'ok' && note.body.includes(`"${id}"`))), 30000);
  assert.ok(!receiver.requests.some((note) => note.mode === 'ok' && note.body.includes('flip-4')));
  const dead = await until('the dead letter', async () => {
    const list = await server.must('GET', `/v1/dead-letters?destination_id=${destination.id}`);
    return list.data.length > 0 && list.data;
  });
  assert.equal(dead.length, 1);
  assert.equal(dead[0].reason, 'unreadable');
  await until('nothing left to do', async () => {
    const {pending, delivered, dead: lost} = await server.counters(destination);
    return pending === 0 && delivered === 9 && lost === 1;
  });
  await server.stop();
  const again = millrace(['check', '--data', server.data, '--json']);
  assert.equal(again.status, 1, 'the damage stays named');
  assert.deepEqual(JSON.parse(again.stdout).findings.filter(({kind}) => kind === 'damage'), damage);
  await end();
});

test('a_torn_tail_is_cut_and_nothing_is_reported_lost', async () => {
  const {receiver, server, destination, end} = await scene();
  const made = Array.from({length: 10}, (_, n) => event({id: `tail-${n}`}));
  for (const one of made) {
    assert.equal((await server.publish(one)).status, 202);
  }
  await until('outcomes', async () => (await server.counters(destination)).delivered === 10);
  await server.kill();
  // Half of a group that was being written when the power went: garbage after the last byte.
  const {name} = find(server.data, 'tail-9');
  const content = readFileSync(name);
  let last = content.length - 1;
  while (last > 0 && content[last] === 0) {
    last--;
  }
  patch(name, (last + 8) & ~7, (bytes) => { bytes.fill(0xa5); return bytes; });
  await server.serve();
  const later = event({id: 'tail-after'});
  assert.equal((await server.publish(later)).status, 202);
  await until('delivery', () => ids(receiver).includes(later.id));
  for (const one of made) {
    const answer = await server.publish(one);
    assert.equal(answer.status, 202, answer.text);
    assert.equal(answer.body.duplicates, 1, `${one.id} is known still`);
  }
  await until('all delivered', async () => (await server.counters(destination)).delivered === 11);
  assert.deepEqual(ids(receiver).sort(), [...made.map(({id}) => id), later.id].sort(),
    'each once: what was delivered before the end was known after it');
  await server.stop();
  const check = millrace(['check', '--data', server.data]);
  assert.equal(check.status, 0, `${check.stdout} ${check.stderr}`);
  await end();
});

test('a_second_signal_ends_the_program_at_once_also_during_its_last_syncs', async () => {
  const {disk, receiver, server, end} = await scene();
  let tried = 0;
  for (let n = 1;; n *= 2) {
    const one = event({id: `signal-${n}`});
    assert.equal((await server.publish(one)).status, 202);
    await until('delivery', () => ids(receiver).includes(one.id));
    const ended = server.exited;
    let gone = false;
    ended.then(() => { gone = true; });
    const told = server.log.length;
    disk.set('syncDelayUs', 200000);
    server.kill('SIGTERM');
    await until('the stop', () => gone || server.log.slice(told).includes('stopping'));
    const before = disk.get('syncCalls');
    await until(`sync ${n} of the stop`, () => gone || disk.get('syncCalls') >= before + n, 60000);
    if (gone) {
      assert.deepEqual(await ended, {code: 0, signal: null}, server.log);
      break;
    }
    const during = disk.get('syncCalls');
    server.child.kill('SIGTERM');
    assert.deepEqual(await ended, {code: 1, signal: null}, `sync ${n}: ${server.log.slice(told)}`);
    assert.ok(disk.get('syncCalls') <= during + 1, 'it went on');
    tried++;
    disk.set('syncDelayUs', 0);
    disk.reset();
    await server.serve();
  }
  assert.ok(tried > 1, `a stop makes several syncs: ${tried}`);
  disk.set('syncDelayUs', 0);
  assert.equal(millrace(['check', '--data', server.data]).status, 0);
  await end();
});
