// Receivers that do what they should not: the attempt fails with its documented reason, or counts
// where the head was in time; the event waits as a dead letter and leaves when the receiver is well
// again; memory and descriptors come back to where they were.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {randomUUID} from 'node:crypto';
import {readFileSync, writeFileSync} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import {after, before, test} from 'node:test';
import tls from 'node:tls';
import {bounded, startOf} from './bounds.mjs';
import {Server, certificates, event, folder, padding, remove, until} from './harness.mjs';

const GIB = 1024 * 1024 * 1024;
const TIMEOUT_MS = 700;

let server;
let start;
let own; // certificates: {name: {cert, key}}
const peers = new Set();

before(async () => {
  own = makeCertificates();
  server = await Server.start({settings: {allow_http: 'true', extra_ca_file: own.bundle}});
  await server.secret();
  start = startOf(server);
});

after(async () => {
  for (const peer of peers) {
    peer.end();
  }
  await server?.end();
});

// A peer on a raw connection: behave(socket, peer) for each; once well it answers every request 200.
class Peer {
  static async start(behave, {certificate, options = {}} = {}) {
    const peer = new Peer();
    peer.isWell = false;
    peer.sockets = new Set();
    peer.connections = 0;
    peer.written = 0;
    const serve = (socket) => {
      peer.connections++;
      peer.sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        peer.written += socket.bytesWritten;
        peer.sockets.delete(socket);
      });
      if (peer.isWell) {
        answerOk(socket);
      } else {
        behave(socket, peer);
      }
    };
    peer.server = certificate
      ? tls.createServer({cert: readFileSync(certificate.cert), key: readFileSync(certificate.key)},
        serve)
      : net.createServer(options, serve);
    peer.server.on('tlsClientError', () => {});
    await new Promise((resolve) => peer.server.listen(0, '127.0.0.1', resolve));
    peer.port = peer.server.address().port;
    peers.add(peer);
    return peer;
  }

  end() {
    for (const socket of this.sockets) {
      socket.destroy();
    }
    this.server.close();
    peers.delete(this);
  }
}

function answerOk(socket) {
  let text = '';
  socket.resume();
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1');
    const head = text.indexOf('\r\n\r\n');
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
    if (head >= 0 && text.length >= head + 4 + length) {
      text = text.slice(head + 4 + length);
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    }
  });
}

// Waits for the request's head, then acts.
function onRequest(act) {
  return (socket, peer) => socket.once('data', () => act(socket, peer));
}

// Writes chunk for ever, as fast as the peer takes it.
function pour(socket, chunk, limit = Infinity) {
  let sent = 0;
  const more = () => {
    while (!socket.destroyed && sent < limit) {
      sent += chunk.length;
      if (!socket.write(chunk)) {
        socket.once('drain', more);
        return;
      }
    }
  };
  more();
}

// A destination for this URL, with a rule for a type of its own.
async function stream(url, settings = {}) {
  const type = `com.example.${randomUUID()}`;
  const destination = await server.destination(url,
    {timeout_ms: TIMEOUT_MS, retry_policy: {delays_ms: []}, ...settings});
  await server.rule(destination, type);
  return {type, destination};
}

const letters = async (destination) =>
  (await server.must('GET', `/v1/dead-letters?destination_id=${destination.id}`)).data;

// Publishes, waits for the dead letter with its reason; where the peer can be well, redrives it.
async function fails(url, reason, {peer, events = [{n: 1}], settings} = {}) {
  const {type, destination} = await stream(url, settings);
  const sent = events.map((data) => event({type}, data));
  const answer = await server.publish(sent);
  assert.equal(answer.status, 202, answer.text);
  const dead = await until(`a dead letter for ${reason}`, async () => {
    const found = await letters(destination);
    return found.length === sent.length && found;
  }, 20000);
  for (const letter of dead) {
    assert.match(letter.reason, reason);
  }
  if (peer) {
    peer.isWell = true;
    const redriven = await server.api('POST', '/v1/dead-letters/redrive',
      {destination_id: destination.id});
    assert.ok(redriven.status < 300, redriven.text);
    await until('delivery to the receiver that is well', async () => {
      const counters = await server.counters(destination);
      return counters.pending === 0 && counters.delivered === sent.length;
    }, 20000);
    peer.end();
  }
  await server.must('PATCH', `/v1/destinations/${destination.id}`, {status: 'disabled'});
  await bounded(server, start);
}

// One whose head is in time counts, whatever follows.
async function counts(behave) {
  const peer = await Peer.start(behave);
  const {type, destination} = await stream(`http://127.0.0.1:${peer.port}/`);
  assert.equal((await server.publish(event({type}))).status, 202);
  await until('delivery', async () => (await server.counters(destination)).delivered === 1);
  await until('the connection given up', () => peer.sockets.size === 0);
  assert.ok(peer.written < 64 * 1024 * 1024, `${peer.written} bytes taken`);
  peer.end();
  await bounded(server, start);
}

const HEAD = 'HTTP/1.1 200 OK\r\n';

const cases = {
  'hangs after the request': [onRequest(() => {}), /^timeout$/],
  'never reads and never answers': [(socket) => socket.pause(), /^timeout$/],
  'trickles its head': [onRequest((socket) => {
    let at = 0;
    const timer = setInterval(() => socket.write((HEAD + 'x: y\r\n'.repeat(1000))[at++]), 20);
    socket.on('close', () => clearInterval(timer));
  }), /^timeout$/],
  'resets': [onRequest((socket) => socket.resetAndDestroy()), /^response$/],
  'resets at once': [(socket) => socket.resetAndDestroy(), /^(response|reset|connect)$/],
  'closes': [onRequest((socket) => socket.destroy()), /^response$/],
  'closes within its head': [onRequest((socket) => socket.end('HTTP/1.1 200 O')), /^response$/],
  'answers garbage': [onRequest((socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n\r\n')),
    /^response$/],
  'answers bytes of no protocol': [onRequest((socket) => pour(socket, Buffer.alloc(65536, 0xff))),
    /^response$/],
  'answers HTTP/2': [onRequest((socket) => socket.write(Buffer.from('000006040000000000', 'hex'))),
    /^(response|timeout)$/],
  'storms with 1xx': [onRequest((socket) => pour(socket, Buffer.from(
    'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'.repeat(100)))), /^response$/],
  'switches protocols': [onRequest((socket) => socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n')), /^(response|timeout|status)$/],
  'sends endless header fields': [onRequest((socket) => {
    socket.write(HEAD);
    pour(socket, Buffer.from(`x-${'y'.repeat(50)}: ${'z'.repeat(50)}\r\n`.repeat(100)));
  }), /^response$/],
  'sends one endless header field': [onRequest((socket) => {
    socket.write(`${HEAD}x: `);
    pour(socket, Buffer.alloc(65536, 0x61));
  }), /^response$/],
  'names two lengths': [onRequest((socket) => socket.write(
    `${HEAD}content-length: 1\r\ncontent-length: 2\r\n\r\nab`)), /^response$/],
};

for (const [name, [behave, reason]] of Object.entries(cases)) {
  test(`a receiver that ${name}`, async () => {
    const peer = await Peer.start(behave);
    await fails(`http://127.0.0.1:${peer.port}/`, reason, {peer});
  });
}

test('a receiver that never reads a large request', async () => {
  const peer = await Peer.start((socket) => socket.pause(), {options: {pauseOnConnect: true}});
  await fails(`http://127.0.0.1:${peer.port}/`, /^timeout$/,
    {peer, events: Array.from({length: 16}, () => ({pad: padding(200 * 1024)}))});
});

test('many receivers that never read large requests, and one that does', async () => {
  const peer = await Peer.start((socket) => socket.pause(), {options: {pauseOnConnect: true}});
  const well = await Peer.start(answerOk);
  const made = [];
  for (let n = 0; n < 50; n++) {
    made.push(await stream(`http://127.0.0.1:${peer.port}/${n}`, {timeout_ms: 3000}));
  }
  const other = await stream(`http://127.0.0.1:${well.port}/`);
  const pad = padding(200 * 1024);
  for (const {type} of made) {
    const answer = await server.publish(Array.from({length: 8}, () => event({type}, {pad})));
    assert.equal(answer.status, 202, answer.text);
  }
  assert.equal((await server.publish(event({type: other.type}))).status, 202);
  await until('delivery to the one', async () =>
    (await server.counters(other.destination)).delivered === 1);
  await until('every event is a dead letter', async () => {
    const all = await Promise.all(made.map(({destination}) => server.counters(destination)));
    return all.every(({pending, dead}) => pending === 0 && dead === 8);
  }, 40000);
  peer.end();
  well.end();
  await bounded(server, start);
});

test('a receiver with a body of 10 GiB', () => counts(onRequest((socket) => {
  socket.write(`${HEAD}content-length: ${10 * GIB}\r\n\r\n`);
  pour(socket, Buffer.alloc(1024 * 1024), 10 * GIB);
})));

test('a receiver with an endless body in chunks', () => counts(onRequest((socket) => {
  socket.write(`${HEAD}transfer-encoding: chunked\r\n\r\n`);
  pour(socket, Buffer.from(`10000\r\n${'a'.repeat(65536)}\r\n`), 10 * GIB);
})));

test('a receiver with a body that trickles', () => counts(onRequest((socket) => {
  socket.write(`${HEAD}content-length: 1000\r\n\r\n`);
  const timer = setInterval(() => socket.write('a'), 50);
  socket.on('close', () => clearInterval(timer));
})));

test('nobody listens', async () => {
  const peer = await Peer.start(() => {});
  const {port} = peer;
  peer.end();
  await fails(`http://127.0.0.1:${port}/`, /^connect$/);
});

test('names that do not resolve', async () => {
  await fails('https://nobody.invalid:8443/', /^name$/, {settings: {timeout_ms: 5000}});
});

// ---- certificates

function makeCertificates() {
  const {ca} = certificates();
  const dir = folder('hostile-tls');
  process.on('exit', () => remove(dir));
  const at = (name) => path.join(dir, name);
  const openssl = (...args) => execFileSync('openssl', args, {stdio: 'pipe'});
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...key, '-days', '2', '-subj', '/CN=Second CA', '-keyout',
    at('ca-key.pem'), '-out', at('ca.pem'));
  openssl('req', '-x509', ...key, '-days', '2', '-subj', '/CN=127.0.0.1', '-addext',
    'subjectAltName=IP:127.0.0.1', '-keyout', at('self-key.pem'), '-out', at('self.pem'));
  writeFileSync(at('index'), '');
  writeFileSync(at('ca.cnf'), `[ca]\ndefault_ca=d\n[d]\ndatabase=${at('index')}\nnew_certs_dir=${dir}\n`
    + 'default_md=sha256\npolicy=p\nrand_serial=yes\nunique_subject=no\ncopy_extensions=copy\n'
    + '[p]\ncommonName=supplied\n');
  const sign = (name, alt, from, to) => {
    openssl('req', '-new', ...key, '-subj', '/CN=peer', '-addext', `subjectAltName=${alt}`,
      '-keyout', at(`${name}-key.pem`), '-out', at(`${name}.csr`));
    openssl('ca', '-batch', '-config', at('ca.cnf'), '-cert', at('ca.pem'), '-keyfile',
      at('ca-key.pem'), '-startdate', from, '-enddate', to, '-in', at(`${name}.csr`), '-out',
      at(`${name}.pem`));
    return {cert: at(`${name}.pem`), key: at(`${name}-key.pem`)};
  };
  const always = ['20200101000000Z', '20491231000000Z'];
  writeFileSync(at('bundle.pem'), readFileSync(ca, 'utf8') + readFileSync(at('ca.pem'), 'utf8'));
  return {
    bundle: at('bundle.pem'),
    'is good': {...sign('good', 'IP:127.0.0.1', ...always)},
    'is self-signed': {cert: at('self.pem'), key: at('self-key.pem')},
    'has expired': sign('expired', 'IP:127.0.0.1', '20200101000000Z', '20210101000000Z'),
    'is not valid yet': sign('early', 'IP:127.0.0.1', '20480101000000Z', '20491231000000Z'),
    'names another host': sign('other', 'DNS:other.example', ...always),
  };
}

const explained = {'is self-signed': /self-signed/, 'has expired': /expired/,
  'is not valid yet': /not valid before 2048/, 'names another host': /127\.0\.0\.1/};

for (const [name, text] of Object.entries(explained)) {
  test(`a certificate that ${name}`, async () => {
    const peer = await Peer.start(answerOk, {certificate: own[name]});
    await fails(`https://127.0.0.1:${peer.port}/`, /^tls$/);
    const {destination} = await stream(`https://127.0.0.1:${peer.port}/`);
    const tried = await server.must('POST', `/v1/destinations/${destination.id}/test`, {});
    assert.equal(tried.ok, false);
    assert.equal(tried.steps.at(-1).step, 'tls');
    assert.match(tried.steps.at(-1).detail, text);
    peer.end();
  });
}

test('the same authority serves where the certificate is good', async () => {
  const peer = await Peer.start(answerOk, {certificate: own['is good']});
  const {type, destination} = await stream(`https://127.0.0.1:${peer.port}/`);
  assert.equal((await server.publish(event({type}))).status, 202);
  await until('delivery', async () => (await server.counters(destination)).delivered === 1);
  peer.end();
});

test('a peer that hangs in the handshake, and one that speaks no TLS', async () => {
  const hanging = await Peer.start((socket) => socket.resume());
  await fails(`https://127.0.0.1:${hanging.port}/`, /^timeout$/);
  hanging.end();
  const plain = await Peer.start(onRequest((socket) => socket.end(`${HEAD}\r\n`)));
  await fails(`https://127.0.0.1:${plain.port}/`, /^tls$/);
  plain.end();
});

test('all of them at once, and nothing is kept', async () => {
  const made = [];
  for (const [behave] of Object.values(cases)) {
    const peer = await Peer.start(behave);
    made.push({peer, ...await stream(`http://127.0.0.1:${peer.port}/`)});
  }
  await Promise.all(made.map(async ({type}) => {
    const answer = await server.publish(Array.from({length: 200}, () => event({type})));
    assert.equal(answer.status, 202);
  }));
  await until('every event is a dead letter', async () => {
    const all = await Promise.all(made.map(({destination}) => server.counters(destination)));
    return all.every(({pending, dead}) => pending === 0 && dead === 200);
  }, 40000);
  made.forEach(({peer}) => peer.end());
  await bounded(server, start);
});
