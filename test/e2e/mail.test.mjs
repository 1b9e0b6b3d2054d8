// Mail against a real SMTP server on loopback: STARTTLS, AUTH, smtps, answers of 4xx and 5xx, a
// server that is down, a restart with mail in the queue, and what people wrote in it.
import assert from 'node:assert/strict';
import {readFileSync, readdirSync, writeFileSync} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import {after, describe, test} from 'node:test';
import {Server, folder, millrace, remove, until} from './harness.mjs';
import {Mailbox, linkIn} from './mailbox.mjs';

const boxes = [];
const servers = [];
const dirs = [];

after(async () => {
  await Promise.all(servers.map((server) => server.end()));
  await Promise.all(boxes.map((box) => box.end()));
  dirs.forEach(remove);
});

async function mailbox(options) {
  const box = await Mailbox.start(options);
  boxes.push(box);
  return box;
}

async function serverFor(box, more) {
  const server = await Server.start({settings: box.settings(more)});
  servers.push(server);
  return server;
}

let serial = 0;
const address = () => `user${++serial}@example.org`;

async function invite(server, email = address(), more = {}) {
  const answer = await server.api('POST', '/v1/users', {email, role: 'developer', ...more});
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
}

async function counted(server, outcome) {
  return (await server.metrics())[`millrace_mails_total{outcome="${outcome}"}`];
}

test('an invite is mailed over STARTTLS, and the link is in the mail alone', async () => {
  const box = await mailbox();
  const server = await serverFor(box);
  const made = await invite(server);
  assert.equal(made.status, 'INVITED');
  assert.equal(made.invite_url, undefined);
  const mail = await box.next(made.email);
  assert.equal(mail.secure, true);
  assert.equal(mail.from.text, '"Millrace" <millrace@mail.example.com>');
  assert.equal(mail.sender, 'millrace@mail.example.com');
  assert.equal(mail.subject, 'You are invited to Millrace');
  assert.equal(mail.to.text, made.email);
  assert.deepEqual(mail.recipients, [made.email]);
  assert.ok(Math.abs(mail.date - Date.now()) < 60000, String(mail.date));
  assert.match(mail.messageId, /^<inst_[^@]+@mail\.example\.com>$/);
  assert.equal(mail.headers.get('auto-submitted'), 'auto-generated');
  assert.deepEqual(mail.headers.get('content-type'),
    {value: 'text/plain', params: {charset: 'utf-8'}});
  const token = linkIn(mail.text);
  assert.match(mail.text, new RegExp(`${server.url}/links/${token}`));
  const link = await server.request('GET', `/v1/links/${token}`);
  assert.equal(link.body.email, made.email);
  await until('counted', async () => await counted(server, 'sent') === 1);
  await server.stop();
  // No secret of a link, and no address, in log, answers and files.
  assert.ok(!server.log.includes(token) && !server.log.includes(made.email));
  for (const name of readdirSync(server.data, {recursive: true, withFileTypes: true})) {
    if (name.isFile()) {
      const bytes = readFileSync(path.join(name.parentPath ?? name.path, name.name));
      assert.ok(!bytes.includes(token), name.name);
    }
  }
});

test('what people wrote cannot add a field or a recipient', async () => {
  const box = await mailbox();
  const server = await serverFor(box);
  const name = 'Züri “Öl” 株式会社 😀';
  await server.must('PATCH', `/v1/accounts/${server.account_id}`, {friendly_name: name});
  for (const friendly_name of ['a\r\nBcc: x@example.com', 'a\u0000b']) {
    const answer = await server.api('PATCH', `/v1/accounts/${server.account_id}`, {friendly_name});
    assert.equal(answer.status, 400, answer.text);
  }
  for (const email of ['a@b.example\r\nRCPT TO:<x@y.example>', 'a@b.example>', '<a@b.example',
    'a b@c.example', 'a@b@c.example', '@b.example', 'a@', 'ä@b.example', 'a,b@c.example']) {
    const answer = await server.api('POST', '/v1/users', {email, role: 'default'});
    assert.equal(answer.status, 400, `${email}: ${answer.text}`);
    assert.equal(answer.body.code, 20400);
  }
  const made = await invite(server, address(), {name: '.\r'.slice(0, 1)});
  const mail = await box.next(made.email);
  assert.ok(mail.text.includes(name), mail.text);
  assert.equal(box.mails.length, 1);
  assert.ok([...mail.raw].every((c) => c.charCodeAt(0) < 0x80));
});

test('AUTH over TLS, and the password in no log, answer or process list', async () => {
  const dir = folder('mail');
  dirs.push(dir);
  const file = path.join(dir, 'password');
  writeFileSync(file, 'smtp pässword 7f3c\nnot this line\n', {mode: 0o600});
  const box = await mailbox({auth: {user: 'millrace', pass: 'smtp pässword 7f3c'}});
  const server = await serverFor(box, {smtp_user: 'millrace', smtp_password_file: file});
  const made = await invite(server);
  await box.next(made.email);
  assert.deepEqual(box.seen[0], {step: 'auth', secure: true, user: 'millrace'});
  assert.ok(!server.log.includes('7f3c'));
  for (const name of ['cmdline', 'environ']) {
    assert.ok(!readFileSync(`/proc/${server.pid}/${name}`).includes('7f3c'));
  }
});

test('a wrong password waits for the operator instead of dropping the mail', async () => {
  const dir = folder('mail');
  dirs.push(dir);
  const file = path.join(dir, 'password');
  writeFileSync(file, 'wrong');
  const box = await mailbox({auth: {user: 'u', pass: 'right'}});
  const server = await serverFor(box, {smtp_user: 'u', smtp_password_file: file});
  const made = await invite(server);
  await until('postponed', async () => await counted(server, 'retried') >= 1);
  assert.equal(await counted(server, 'dropped'), 0);
  writeFileSync(file, 'right');
  await server.stop();
  await server.serve();
  await box.next(made.email);
});

test('smtps', async () => {
  const box = await mailbox({tls: 'smtps'});
  const server = await serverFor(box);
  const made = await invite(server);
  assert.equal((await box.next(made.email)).secure, true);
});

test('a certificate of another authority is not trusted, offered by STARTTLS or smtps', async () => {
  for (const tls of ['starttls', 'smtps']) {
    const box = await mailbox({tls});
    const server = await serverFor(box, {smtp_ca_file: ''});
    const made = await invite(server);
    await until('postponed', async () => await counted(server, 'retried') >= 1);
    assert.match(server.log, /mail_postponed .*why=".*(certificate|SSL|TLS).*"/i);
    assert.equal(box.to(made.email).length, 0);
  }
});

test('on loopback alone a server without TLS is good enough', async () => {
  const box = await mailbox({tls: 'none'});
  const server = await serverFor(box);
  const made = await invite(server);
  assert.equal((await box.next(made.email)).secure, false);
});

test('elsewhere it is not: STARTTLS is needed, and nothing is sent without', async () => {
  // The same machine, but not by a spelling of loopback.
  const spelled = (box) => ({smtp_url: `smtp://[::ffff:127.0.0.1]:${box.port}`});
  const box = await mailbox({tls: 'none'});
  const server = await serverFor(box, spelled(box));
  await invite(server);
  await until('postponed', async () => await counted(server, 'retried') >= 1);
  assert.match(server.log, /mail_postponed .*why="Requested SSL level failed"/);
  assert.deepEqual(box.seen, []);
});

describe('answers of the server', () => {
  for (const step of ['from', 'to', 'data']) {
    test(`4xx at ${step}: the same mail again, later`, async () => {
      const box = await mailbox();
      const server = await serverFor(box);
      box.refuse[step] = [451];
      const made = await invite(server);
      const mail = await box.next(made.email);
      assert.equal(box.to(made.email).length, 1);
      assert.ok(linkIn(mail.text));
      assert.equal(await counted(server, 'retried'), 1);
      assert.match(server.log, /mail_postponed mail=\d+ why=\S+.* reply=451 for_ms=2000/);
    });

    test(`5xx at ${step}: dropped, with a line and a count; the next one goes`, async () => {
      const box = await mailbox();
      const server = await serverFor(box);
      box.refuse[step] = [550];
      const lost = await invite(server);
      await until('dropped', async () => await counted(server, 'dropped') === 1);
      assert.match(server.log, /mail_dropped mail=\d+ why=\S+.* reply=550/);
      const made = await invite(server);
      await box.next(made.email);
      assert.equal(box.to(lost.email).length, 0);
      assert.equal(await counted(server, 'retried'), 0);
    });
  }
});

test('a server that is down, kill -9 meanwhile, and the mail still arrives', async () => {
  const first = await Mailbox.start();
  const server = await serverFor(first);
  const port = first.port;
  await first.end();
  const made = await invite(server);
  const other = await invite(server);
  await until('postponed', async () => await counted(server, 'retried') >= 1);
  await server.kill();
  await server.serve();
  await until('postponed again', async () => await counted(server, 'retried') >= 1);
  const box = await mailbox({port});
  const mail = await box.next(made.email, 1, 60000);
  assert.ok(linkIn(mail.text));
  await box.next(other.email, 1, 60000);
  assert.equal(box.to(made.email).length, 1);
});

test('a stop does not wait for a server that answers nothing', async () => {
  const silent = net.createServer(() => {});
  await new Promise((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const server = await Server.start({settings: {smtp_url: `smtp://127.0.0.1:${silent.address().port}`,
    smtp_from: 'm@example.com'}});
  servers.push(server);
  await invite(server);
  await until('connected', () => new Promise((resolve) => {
    silent.getConnections((error, n) => resolve(n > 0));
  }));
  const begun = Date.now();
  assert.deepEqual(await server.stop(), {code: 0, signal: null});
  assert.ok(Date.now() - begun < 8000);
  silent.close();
});

test('settings of mail that are wrong', async () => {
  const ok = {smtp_url: 'smtp://127.0.0.1:25', smtp_from: 'm@example.com'};
  const dir = folder('mail');
  dirs.push(dir);
  writeFileSync(path.join(dir, 'empty'), '\n');
  const wrong = [
    [{...ok, smtp_url: 'http://127.0.0.1:25'}, /smtp_url.*must be smtp:\/\/host:port/i],
    [{...ok, smtp_url: 'smtp://127.0.0.1'}, /smtp_url/i],
    [{...ok, smtp_url: 'smtp://u:p@127.0.0.1:25'}, /smtp_url/i],
    [{...ok, smtp_url: 'smtp://127.0.0.1:25/path'}, /smtp_url/i],
    [{...ok, smtp_from: 'Name <m@example.com>'}, /smtp_from.*address alone/i],
    [{smtp_url: ok.smtp_url}, /smtp_from: must be set/],
    [{...ok, smtp_user: 'u'}, /smtp_user and smtp_password_file/],
    [{...ok, smtp_user: 'u', smtp_password_file: path.join(dir, 'none')},
      /could not read smtp_password_file/],
    [{...ok, smtp_user: 'u', smtp_password_file: path.join(dir, 'empty')}, /first line/],
    [{...ok, smtp_ca_file: path.join(dir, 'none')}, /could not read smtp_ca_file/],
  ];
  const data = path.join(dir, 'data');
  assert.equal(millrace(['init', '--data', data, '--owner', 'a@b.example']).status, 0);
  for (const [env, message] of wrong) {
    const done = millrace(['serve', '--data', data, '--listen', '127.0.0.1:0'], {env});
    assert.equal(done.status, 2, JSON.stringify(env) + done.stderr);
    assert.match(done.stderr, message);
  }
});
