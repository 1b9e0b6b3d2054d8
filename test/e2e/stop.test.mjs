// A stop waits for what is under way, and for who asked for it only as long as it must.
import assert from 'node:assert/strict';
import http from 'node:http';
import {test} from 'node:test';
import {Receiver, Server, certificates, event, until} from './harness.mjs';
import {setPassword} from './people.mjs';

test('a_test_event_is_seen_to_its_end_also_where_its_client_has_left', async () => {
  const receiver = await Receiver.start();
  const server = new Server({settings: {extra_ca_file: certificates().ca}});
  try {
    server.init();
    await server.serve();
    await server.secret();
    const destination = await server.destination(`${receiver.url}/hang`, {timeout_ms: 1500});
    receiver.modes.set('/hang', 'hang');
    // Several at once, on connections of their own, so that every worker has some.
    const calls = Array.from({length: 8}, () => {
      const call = http.request(`${server.url}/v1/destinations/${destination.id}/test`,
        {method: 'POST', agent: false, headers: {authorization: `Bearer ${server.token}`,
          'content-type': 'application/json', 'content-length': 2}});
      call.on('error', () => {});
      call.end('{}');
      return call;
    });
    await until('the test events', () => receiver.requests.length === calls.length);
    calls.forEach((call) => call.socket?.resetAndDestroy()); // the server sees that they left
    const at = performance.now();
    assert.deepEqual(await server.stop(), {code: 0, signal: null}, server.log);
    assert.ok(performance.now() - at > 500, 'the tests were waited for');
    await server.serve();
    const {last_test: told} = await server.must('GET', `/v1/destinations/${destination.id}`);
    assert.equal(told?.ok, false, JSON.stringify(told));
    assert.match(told.detail, /no response came within 1500 ms/);
  } finally {
    await server.end();
    await receiver.end();
  }
});

test('questions_whose_clients_left_do_not_hinder_a_stop', async () => {
  const receiver = await Receiver.start();
  const server = new Server({settings: {extra_ca_file: certificates().ca}});
  try {
    server.init();
    await server.serve();
    await server.secret();
    const destination = await server.destination(`${receiver.url}/gone`,
      {retry_policy: {delays_ms: []}});
    await server.rule(destination, 'com.example.test');
    receiver.modes.set('/gone', 400);
    const owed = Array.from({length: 40}, (_, n) => event({id: `gone-${n}`}));
    assert.equal((await server.publish(owed)).status, 202);
    await until('dead letters', async () => (await server.counters(destination)).dead > 0, 30000);
    const targets = ['/v1/dead-letters', `/v1/destinations/${destination.id}`,
      `/v1/destinations/${destination.id}/metrics`, '/v1/streaming-rules'];
    const calls = Array.from({length: 200}, (_, n) => {
      const call = http.request(server.url + targets[n % targets.length],
        {agent: false, headers: {authorization: `Bearer ${server.token}`}});
      call.on('error', () => {});
      call.end();
      return call;
    });
    await Promise.race(calls.map((call) => new Promise((resolve) => {
      call.on('response', resolve);
      call.on('close', resolve);
    })));
    calls.forEach((call) => call.socket?.resetAndDestroy()); // the server sees that they left
    assert.deepEqual(await server.stop(), {code: 0, signal: null}, server.log);
  } finally {
    await server.end();
    await receiver.end();
  }
});

test('sign_ins_that_wait_for_their_passwords_are_answered_before_a_stop', async () => {
  const password = 'a stop in the middle of it';
  const server = new Server({settings: {
    smtp_url: 'smtp://127.0.0.1:1', smtp_from: 'millrace@example.com'}}); // nobody listens there
  try {
    server.init();
    assert.equal(setPassword(server, 'owner@example.com', password).status, 0);
    await server.serve();
    assert.equal((await server.api('POST', '/v1/users',
      {email: 'new@example.com', role: 'default'})).status, 201); // a mail that waits
    const statuses = [];
    let sent = 0;
    const calls = Array.from({length: 40}, (_, n) => new Promise((resolve) => {
      const body = JSON.stringify(n % 4 === 3 ? {email: 1} : {email: 'owner@example.com', password});
      const call = http.request(`${server.url}/v1/session`, {method: 'POST', agent: false,
        headers: {'content-type': 'application/json', 'content-length': body.length}});
      call.on('response', (answer) => {
        statuses.push(answer.statusCode);
        answer.on('end', resolve).on('error', resolve).resume();
      });
      call.on('error', resolve);
      call.on('finish', () => {
        sent += 1;
        if (n % 4 === 2) {
          call.destroy(); // the computation outlasts who asked for it
        }
      });
      call.end(body);
    }));
    await until('the first answers', () => sent === calls.length && statuses.includes(201));
    assert.deepEqual(await server.stop(), {code: 0, signal: null}, server.log);
    await Promise.all(calls);
    assert.ok(statuses.filter((status) => status === 201).length > 1, `${statuses}`);
    assert.deepEqual(statuses.filter((status) => ![201, 400, 429, 503].includes(status)), []);
  } finally {
    await server.end();
  }
});
