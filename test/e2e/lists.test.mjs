// Long lists by cursor: each row once, though rows come meanwhile; a changed cursor is refused.
import assert from 'node:assert/strict';
import {randomUUID} from 'node:crypto';
import {after, before, test} from 'node:test';
import {Receiver, Server, certificates, event, until} from './harness.mjs';

let server;
let receiver;

before(async () => {
  server = await Server.start({settings: {extra_ca_file: certificates().ca}});
  receiver = await Receiver.start();
});

after(async () => {
  await server?.end();
  await receiver?.end();
});

// Pages one after the other; between them is called before the next one is asked for.
async function walk(target, between) {
  const pages = [];
  for (let next = target; next;) {
    const page = await server.must('GET', next);
    pages.push(page);
    const {next_page_url: url, page_number: number} = page.meta_data;
    assert.equal(number, pages.length);
    assert.match(url, /^$|[?&]cursor=[0-9a-f]+$/);
    next = url && url.slice(server.url.length);
    await between?.(page);
  }
  return pages;
}

// A destination of its own with n dead letters.
async function dead(n) {
  const path = `/${randomUUID()}`;
  const type = `com.example.${randomUUID()}`;
  const destination = await server.destination(receiver.url + path,
    {retry_policy: {delays_ms: []}, batch_max: 1});
  await server.rule(destination, type);
  receiver.modes.set(path, 500);
  const kill = async (more) => {
    const was = (await server.counters(destination)).dead;
    const sent = Array.from({length: more}, () => event({type}));
    assert.equal((await server.publish(sent)).status, 202);
    await until('dead', async () => (await server.counters(destination)).dead === was + more);
  };
  await kill(n);
  return {destination, kill};
}

test('audit log: rows that come meanwhile shift nothing', async () => {
  for (let i = 0; i < 20; i++) {
    await server.destination(`${receiver.url}/walk/${i}`);
  }
  const all = (await server.must('GET', '/v1/audit-log?page_size=1000')).data;
  assert.ok(all.length > 20);
  const pages = await walk('/v1/audit-log?page_size=7&action=destination.create', () =>
    server.secret(`between ${randomUUID()}`));
  const wanted = all.filter(({action}) => action === 'destination.create').map(({number}) => number);
  assert.deepEqual(pages.flatMap(({data}) => data.map(({number}) => number)), wanted);
  for (const page of pages) {
    assert.equal(page.meta_data.count, wanted.length);
  }
  const [first, second] = pages;
  assert.equal(first.meta_data.previous_page_url, '');
  assert.equal(second.meta_data.previous_page_url, '', 'it was reached by a cursor');
  const numbered = await server.must('GET',
    '/v1/audit-log?page_size=7&action=destination.create&page_number=2');
  assert.deepEqual(numbered.data.map(({number}) => number), second.data.map(({number}) => number));
  assert.match(numbered.meta_data.previous_page_url, /page_size=7&page_number=1$/);
  assert.match(numbered.meta_data.next_page_url, /page_size=7&cursor=/);
});

test('dead letters: newest first, those that come or go meanwhile shift nothing', async () => {
  const {destination, kill} = await dead(9);
  const target = `/v1/dead-letters?destination_id=${destination.id}`;
  const all = (await server.must('GET', target)).data;
  assert.equal(all.length, 9);
  assert.deepEqual(all.map(({id}) => id), all.map(({id}) => id).sort().reverse());
  let turn = 0;
  const pages = await walk(`${target}&page_size=2`, async ({data}) => {
    if (turn++ < 2) { // one more comes, and the one that the next page begins behind goes
      await kill(1);
      await server.must('POST', '/v1/dead-letters/redrive', {ids: [data.at(-1).id]});
    }
  });
  assert.deepEqual(pages.flatMap(({data}) => data.map(({id}) => id)), all.map(({id}) => id));
  const third = await server.must('GET', `${target}&page_size=2&page_number=3`);
  assert.equal(third.data.length, 2);
  assert.equal(third.meta_data.page_number, 3);
  assert.match(third.meta_data.previous_page_url, /page_number=2$/);
});

test('a cursor that was changed, or is of another list, is refused', async () => {
  const {meta_data: {next_page_url: url}} = await server.must('GET', '/v1/audit-log?page_size=1');
  const cursor = url.split('cursor=')[1];
  const turned = (cursor[30] === '0' ? '1' : '0');
  const other = cursor.slice(0, 30) + turned + cursor.slice(31);
  const bad = [['audit-log', `cursor=${other}`, 20001], ['audit-log', 'cursor=', 20001],
    ['audit-log', 'cursor=%00', 20001], ['dead-letters', `cursor=${cursor}`, 20001],
    ['audit-log', `cursor=${cursor}&page_number=2`, 20004],
    ['audit-log', `cursor=${cursor}&cursor=${cursor}`, 20400]];
  const child = await server.must('POST', '/v1/accounts', {friendly_name: 'Child'});
  bad.push(['audit-log', `cursor=${cursor}&account_id=${child.id}`, 20001]);
  for (const [list, query, code] of bad) {
    const answer = await server.api('GET', `/v1/${list}?${query}`);
    assert.equal(answer.status, 400, query);
    assert.equal(answer.body.code, code, `${query}: ${answer.text}`);
    assert.match(answer.body.message, /cursor/, query);
  }
  assert.equal((await server.api('GET', `/v1/audit-log?cursor=${cursor}`)).status, 200);
});
