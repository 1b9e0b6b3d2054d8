// The data folder is its owner's alone, whatever the umask, and also where it was wider before.
import assert from 'node:assert/strict';
import {chmodSync, readdirSync, statSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {after, test} from 'node:test';
import {Receiver, Server, binary, certificates, event, folder, remove, until} from './harness.mjs';

const home = folder('folder');
after(() => remove(home));

const all = (dir) => [dir, ...readdirSync(dir, {recursive: true}).map((name) => path.join(dir, name))];
const wide = (dir) => all(dir).filter((file) => (statSync(file).mode & 0o077) !== 0);

async function work(server, receiver) {
  await server.serve();
  const name = `/${Math.random()}`;
  const destination = await server.destination(receiver.url + name, {retry_policy: {delays_ms: []}});
  await server.rule(destination, `com.example${name.replace('/', '')}`);
  receiver.modes.set(name, 500);
  assert.equal((await server.publish(event({type: `com.example${name.replace('/', '')}`}))).status, 202);
  await until('dead', async () => (await server.counters(destination)).dead === 1);
}

test('no file of it can be read by others, with any umask', async () => {
  const receiver = await Receiver.start();
  const program = path.join(home, 'open-handed');
  writeFileSync(program, `#!/bin/sh\numask 000\nexec ${binary} "$@"\n`, {mode: 0o755});
  const server = new Server({program, data: path.join(home, 'data'),
    settings: {extra_ca_file: certificates().ca}});
  try {
    server.init();
    assert.deepEqual(wide(server.data), [], 'after init');
    await work(server, receiver);
    assert.ok(all(server.data).some((file) => file.endsWith('control.db-wal')));
    assert.deepEqual(wide(server.data), [], 'while it is served');
    await server.stop();
    assert.deepEqual(wide(server.data), [], 'when it was stopped');
    for (const file of all(server.data)) {
      chmodSync(file, statSync(file).isDirectory() ? 0o755 : 0o644);
    }
    await work(server, receiver);
    assert.deepEqual(wide(server.data), [], 'what was wider was narrowed');
    assert.match(server.log, /data_folder_narrowed/);
  } finally {
    await server.end();
    await receiver.end();
  }
});
