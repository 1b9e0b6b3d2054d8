// Faults that a review found: each of these once failed.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import {after, before, describe, test} from 'node:test';

import {Server, until} from './harness.mjs';

const type = 'com.example.review';
const event = (id, source) => ({specversion: '1.0', id, source, type, data: {}});

describe('the live view', () => {
  let server;
  before(async () => { server = await Server.start({settings: {workers: 1}}); });
  after(() => server.stop());

  test('a reader that does not read costs another reader no event', async () => {
    const address = new URL(server.url);
    const stuck = net.connect(Number(address.port), address.hostname);
    stuck.pause();
    stuck.write(`GET /v1/tail HTTP/1.1\r\nhost: ${address.host}\r\n`
      + `authorization: Bearer ${server.token}\r\n\r\n`);
    let text = '';
    const reader = http.get(`${server.url}/v1/tail`,
      {headers: {authorization: `Bearer ${server.token}`}}, (response) => {
        response.setEncoding('utf8');
        response.on('data', (part) => { text += part; });
      });
    reader.on('error', () => {});
    await until('the view is open', () => text.includes(': reading'));
    const total = 3000;
    for (let i = 0; i < total; i += 10) {
      const batch = Array.from({length: 10}, (_, k) => event(`r-${i + k}`, 's'.repeat(4000)));
      await server.must('POST', '/v1/events', batch);
    }
    await until('the last event is seen', () => text.includes(`"r-${total - 1}"`)
      || text.includes('event: missed'));
    assert.ok(!text.includes('event: missed'));
    assert.equal(text.split('event: accepted').length - 1, total);
    stuck.destroy();
    reader.destroy();
  });

  test('HEAD of the live view ends', async () => {
    const answer = await server.api('HEAD', '/v1/tail');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'], 'text/event-stream');
    assert.equal((await server.api('GET', '/v1/destinations')).status, 200);
  });
});
