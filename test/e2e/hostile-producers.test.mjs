// Producers that do what they should not: the documented refusal or a closed connection, nothing of
// a refused request stored, the others served meanwhile, memory and descriptors back at their start.
import assert from 'node:assert/strict';
import net from 'node:net';
import {after, before, test} from 'node:test';
import {bounded, extra, startOf} from './bounds.mjs';
import {Server, event, until} from './harness.mjs';

const PER_ADDRESS = 60;

let server;
let start;
const open = new Set();

before(async () => {
  server = await Server.start({settings: {workers: 1, header_timeout_ms: 700, body_timeout_ms: 700,
    body_rate_min: 20000, idle_timeout_ms: 1500, connections_per_address_max: PER_ADDRESS}});
  start = startOf(server);
});

after(async () => {
  open.forEach((client) => client.socket.destroy());
  await server?.end();
});

// A raw connection; text: all that came back.
class Client {
  constructor() {
    const {hostname, port} = new URL(server.url);
    this.text = '';
    this.isClosed = false;
    this.socket = net.connect(port, hostname);
    this.socket.on('data', (bytes) => { this.text += bytes.toString('latin1'); });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.isClosed = true;
      clearInterval(this.timer);
      open.delete(this);
    });
    open.add(this);
  }

  // One byte of it every few ms.
  trickle(text, ms = 30) {
    let at = 0;
    this.timer = setInterval(() => this.socket.write(text[at++ % text.length]), ms);
  }

  get statuses() {
    return [...this.text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));
  }
}

const authorized = () => `authorization: Bearer ${server.token}\r\n`;

function post(body, fields = '') {
  return `POST /v1/events HTTP/1.1\r\nhost: a\r\n${authorized()}`
    + `content-type: application/cloudevents+json\r\n${fields}`
    + `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

async function served() {
  const answer = await server.publish(event());
  assert.equal(answer.status, 202, answer.text);
}

const closed = (clients) => until('every connection closed by the server', () =>
  clients.every(({isClosed}) => isClosed), 20000);

// Stored: published again it is a duplicate.
async function isStored(made) {
  const answer = await server.publish(made);
  assert.equal(answer.status, 202, answer.text);
  return answer.body.duplicates === 1;
}

test('heads that trickle', async () => {
  const clients = Array.from({length: 40}, () => new Client());
  clients.forEach((client) => client.trickle('GET /healthz HTTP/1.1\r\nhost: a\r\nx: '));
  await served();
  await closed(clients);
  for (const client of clients) {
    assert.deepEqual(client.statuses, [408], client.text);
    assert.match(client.text, /"code":20408/);
  }
  await bounded(server, start);
});

test('connections that say nothing', async () => {
  const clients = Array.from({length: 40}, () => new Client());
  await served();
  await closed(clients);
  await bounded(server, start);
});

test('bodies that trickle', async () => {
  const made = event();
  const body = JSON.stringify({...made, data: 'x'.repeat(100000)});
  const clients = Array.from({length: 40}, () => new Client());
  for (const client of clients) {
    client.socket.write(post(body).slice(0, -body.length));
    client.trickle(body);
  }
  await served();
  await closed(clients);
  for (const client of clients) {
    assert.deepEqual(client.statuses, [408], client.text);
  }
  assert.equal(await isStored(made), false);
  await bounded(server, start);
});

test('a connection lost within its body stores nothing', async () => {
  const made = event();
  const text = post(JSON.stringify(made));
  for (const cut of [10, Math.floor(text.length / 2), text.length - 1]) {
    const client = new Client();
    client.socket.write(text.slice(0, cut), () => client.socket.resetAndDestroy());
  }
  await bounded(server, start);
  assert.equal(await isStored(made), false);
  await bounded(server, start);
});

test('more connections than an address may have', async () => {
  const clients = Array.from({length: 3 * PER_ADDRESS}, () => new Client());
  clients.forEach((client) => client.socket.write('GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n'));
  await until('an answer or an end for each', () =>
    clients.every(({isClosed, statuses}) => isClosed || statuses.length > 0), 20000);
  const answered = clients.filter(({statuses}) => statuses[0] === 200).length;
  assert.ok(answered >= PER_ADDRESS && answered < clients.length, `${answered} answered`);
  assert.ok(extra(server, start) <= PER_ADDRESS + 2);
  clients.forEach(({socket}) => socket.destroy());
  await until('service again', async () => {
    server.agent.destroy();
    return (await server.publish(event()).catch(() => ({}))).status === 202;
  });
  await bounded(server, start);
});

test('pipelined requests are answered in order, each event once', async () => {
  const made = Array.from({length: 60}, (_, n) => event({id: `pipelined-${n}`}));
  const client = new Client();
  client.socket.write(made.map((one) => post(JSON.stringify(one))).join(''));
  await until('all answers', () => client.statuses.length >= made.length || client.isClosed, 20000);
  assert.deepEqual(client.statuses, made.map(() => 202));
  const ids = [...client.text.matchAll(/"id":"(pipelined-\d+)"/g)].map(([, id]) => id);
  assert.deepEqual(ids, made.map(({id}) => id));
  client.socket.destroy();
  await bounded(server, start);
});

test('answers that nobody reads', async () => {
  const clients = Array.from({length: 20}, () => new Client());
  const asks = 'GET /metrics HTTP/1.1\r\nhost: a\r\n\r\nGET /errors/20404 HTTP/1.1\r\nhost: a\r\n\r\n'
    .repeat(15000);
  for (const client of clients) {
    client.socket.pause();
    client.socket.write(asks);
  }
  await served();
  await until('their connections given up', () =>
    extra(server, start) <= 2, 30000);
  clients.forEach(({socket}) => socket.destroy());
  await bounded(server, start);
});

test('bodies that are larger than they may be, told or not', async () => {
  const told = new Client();
  told.socket.write(`POST /v1/events HTTP/1.1\r\nhost: a\r\n${authorized()}`
    + 'content-type: application/cloudevents+json\r\ncontent-length: 99999999999\r\n\r\n');
  const chunked = new Client();
  chunked.socket.write(`POST /v1/events HTTP/1.1\r\nhost: a\r\n${authorized()}`
    + 'content-type: application/cloudevents+json\r\ntransfer-encoding: chunked\r\n\r\n');
  const chunk = `40000\r\n${'a'.repeat(0x40000)}\r\n`;
  const more = () => {
    while (!chunked.isClosed && chunked.text === '' && chunked.socket.write(chunk));
  };
  chunked.socket.on('drain', more);
  more();
  await closed([told, chunked]);
  assert.deepEqual(told.statuses, [413]);
  assert.deepEqual(chunked.statuses, [413]);
  await bounded(server, start);
});

test('large bodies that stop before their end', async () => {
  const made = event();
  const body = JSON.stringify({...made, data: 'x'.repeat(8 << 20)}).slice(0, 8 << 20);
  const clients = Array.from({length: 40}, () => new Client());
  clients.forEach(({socket}) => socket.write(post(body).slice(0, -1024)));
  await closed(clients);
  for (const client of clients) {
    assert.ok([408, 503].includes(client.statuses[0]) || client.statuses.length === 0,
      client.text.slice(0, 200));
  }
  assert.ok(clients.some(({statuses}) => statuses[0] === 503), 'some are told that it is too much');
  assert.equal(await isStored(made), false);
  await bounded(server, start);
});

test('JSON made to cost', async () => {
  const bodies = {
    deep: '['.repeat(4 << 20), objects: '{"a":'.repeat(1 << 20),
    commas: `[${'0,'.repeat(2 << 20)}0]`, names: `{${Array.from({length: 200000}, (_, n) =>
      `"${n}":0`).join(',')}}`, quotes: '"\\u0000'.repeat(1 << 20)};
  for (const [name, body] of Object.entries(bodies)) {
    for (const type of ['application/cloudevents+json', 'application/cloudevents-batch+json',
      'application/json']) {
      const answer = await server.api('POST', '/v1/events', body, {'content-type': type})
        .catch((error) => ({status: error.code}));
      assert.ok([400, 413].includes(answer.status), `${name} ${type}: ${answer.status}`);
    }
  }
  await served();
  await bounded(server, start);
});
