// A mail server on loopback (npm smtp-server) that keeps what it gets, read by mailparser, and
// misbehaves on request.
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {certificates, until} from './harness.mjs';

const require = createRequire(import.meta.url);
const {SMTPServer} = require('smtp-server');
const {simpleParser} = require('mailparser');

function reply(code, text) {
  return Object.assign(new Error(text), {responseCode: code});
}

export class Mailbox {
  // tls: 'starttls', 'smtps' or 'none'. auth: {user, pass} or null. port: 0 picks one.
  static async start({tls = 'starttls', auth = null, port = 0, own = null} = {}) {
    const box = new Mailbox();
    Object.assign(box, {mails: [], seen: [], refuse: {}, sessions: 0, auth, tls});
    const made = certificates();
    box.server = new SMTPServer({
      secure: tls === 'smtps', cert: readFileSync(own?.cert ?? made.cert),
      key: readFileSync(own?.key ?? made.key), logger: false, disableReverseLookup: true,
      authOptional: !auth, hideSTARTTLS: tls !== 'starttls',
      disabledCommands: [...(auth ? [] : ['AUTH']), ...(tls === 'starttls' ? [] : ['STARTTLS'])],
      authMethods: ['PLAIN', 'LOGIN'],
      onConnect: (session, done) => { box.sessions += 1; done(); },
      onAuth: (given, session, done) => {
        box.seen.push({step: 'auth', secure: session.secure, user: given.username});
        done(given.username === auth.user && given.password === auth.pass
          ? null : reply(535, 'wrong'), {user: given.username});
      },
      onMailFrom: (address, session, done) => done(box.answer('from')),
      onRcptTo: (address, session, done) => done(box.answer('to')),
      onData: (stream, session, done) => {
        const parts = [];
        stream.on('data', (part) => parts.push(part));
        stream.on('end', async () => {
          const wrong = box.answer('data');
          if (!wrong) {
            const raw = Buffer.concat(parts).toString('latin1');
            box.mails.push({...await simpleParser(Buffer.concat(parts)), raw,
              secure: session.secure, sender: session.envelope.mailFrom.address,
              recipients: session.envelope.rcptTo.map((one) => one.address)});
          }
          done(wrong);
        });
      }});
    box.server.on('error', () => {});
    await new Promise((resolve, reject) => {
      box.server.server.once('error', reject);
      box.server.listen(port, '127.0.0.1', resolve);
    });
    box.port = box.server.server.address().port;
    box.url = `${tls === 'smtps' ? 'smtps' : 'smtp'}://127.0.0.1:${box.port}`;
    return box;
  }

  // refuse[step] is a list of codes, each used once; 0 lets one pass.
  answer(step) {
    const code = this.refuse[step]?.shift() ?? 0;
    this.seen.push({step, code});
    return code ? reply(code, `told to at ${step}`) : null;
  }

  // The nth mail to that address, 1 for the first.
  async next(to, n = 1, ms = 20000) {
    await until(`mail ${n} to ${to}`, () => this.to(to).length >= n, ms);
    return this.to(to)[n - 1];
  }

  to(address) {
    return this.mails.filter((mail) => mail.recipients.includes(address));
  }

  settings(more = {}) {
    return {smtp_url: this.url, smtp_from: 'millrace@mail.example.com',
      smtp_ca_file: certificates().ca, ...more};
  }

  end() {
    return new Promise((resolve) => this.server.close(resolve));
  }
}

export function linkIn(text) {
  return /https?:\/\/\S+\/links\/([A-Za-z0-9_-]{43})\b/.exec(text)?.[1];
}
