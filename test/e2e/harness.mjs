// The real program as the tests see it: a server with its own data folder, a receiver that notes
// everything and misbehaves on request, a CA made on the spot. No fixed ports, no sleeps: what is
// waited for is a condition. MR_TEST_BIN names the program, MR_TEST_SLOW multiplies every patience;
// with MR_TEST_STOP=yes every server is stopped in order at its end, where sanitizers look for leaks.
import {execFileSync, spawn, spawnSync} from 'node:child_process';
import {randomBytes, randomUUID} from 'node:crypto';
import {existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import {setTimeout as pause} from 'node:timers/promises';
import {fileURLToPath} from 'node:url';
import {checkAnswer} from './contracts.mjs';
import {Canaries} from './canaries.mjs';
import {Contract, mustFit} from './openapi.mjs';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const binary = process.env.MR_TEST_BIN ?? path.join(root, 'build/release/millrace');
const slow = Number(process.env.MR_TEST_SLOW ?? 1);

// Kept on disk, not in memory: the journal's syncs shall be real ones.
const base = path.join(root, 'build/test-data');
mkdirSync(base, {recursive: true});

export function folder(name = 'test') {
  return mkdtempSync(path.join(base, `${name}-`));
}

export function remove(dir) {
  rmSync(dir, {recursive: true, force: true});
}

// Waits until the condition gives something truthy, and returns that.
export async function until(what, condition, ms = 15000) {
  const end = Date.now() + ms * slow;
  for (;;) {
    const result = await condition();
    if (result) {
      return result;
    }
    if (Date.now() > end) {
      throw new Error(`${what}: not within ${ms * slow} ms`);
    }
    await pause(10);
  }
}

// Every secret of every server of this file of tests; searched for in all answers and at each
// server's end. Told when the file ends: a hook that threw would leave the rest of its cleaning undone.
export const canaries = new Canaries();
process.on('exit', () => {
  const found = canaries.found();
  if (found.length > 0) {
    console.error(`secrets stand where none may: ${found.join('; ')}`);
    process.exitCode = 1;
  }
});

let authority;
// A CA and a certificate of it for 127.0.0.1 and localhost: {ca, cert, key} as paths.
export function certificates() {
  if (!authority) {
    const dir = folder('tls');
    process.on('exit', () => remove(dir));
    const at = (name) => path.join(dir, name);
    const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
    const openssl = (...args) => execFileSync('openssl', args, {stdio: 'pipe'});
    openssl('req', '-x509', ...fresh, '-subj', '/CN=Test CA', '-keyout', at('ca-key.pem'), '-out',
      at('ca.pem'));
    openssl('req', '-x509', ...fresh, '-subj', '/CN=127.0.0.1', '-addext',
      'subjectAltName=IP:127.0.0.1,DNS:localhost', '-addext', 'basicConstraints=CA:FALSE', '-CA',
      at('ca.pem'), '-CAkey', at('ca-key.pem'), '-keyout', at('key.pem'), '-out', at('cert.pem'));
    authority = {ca: at('ca.pem'), cert: at('cert.pem'), key: at('key.pem')};
  }
  return authority;
}

function cleanEnvironment(settings) {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([key]) => !key.startsWith('MILLRACE_')));
  for (const [key, value] of Object.entries(settings)) {
    env[/^[a-z]/.test(key) ? `MILLRACE_${key.toUpperCase()}` : key] = String(value);
  }
  return env;
}

// Runs a command to its end: {status, stdout, stderr}.
export function millrace(args, {input, env = {}} = {}) {
  const done = spawnSync(binary, args,
    {input, env: cleanEnvironment(env), encoding: 'utf8', maxBuffer: 1 << 28});
  // A program may end before it has read its input.
  if (done.error && !(done.error.code === 'EPIPE' && done.status !== null)) {
    throw done.error;
  }
  canaries.search(`what ${args[0]} says`, done.stderr);
  canaries.noteBody(done.stdout, 'application/json');
  return {status: done.status, stdout: done.stdout, stderr: done.stderr};
}

let contract; // of the program under test

export class Server {
  // settings: keys of the configuration in lower case; names in upper case go to the environment.
  // program: what is run in place of the binary, with the same arguments.
  constructor({settings = {}, data, program = binary} = {}) {
    this.program = program;
    this.home = data ? null : folder('server');
    this.data = data ?? path.join(this.home, 'data');
    this.temporary = this.home ? path.join(this.home, 'tmp') : null;
    this.settings = {
      allow_networks: '127.0.0.0/8,::1/128', metrics_listen: '127.0.0.1:0',
      ...(this.home ? {TMPDIR: this.temporary} : {}), ...settings};
    this.log = '';
  }

  static async start(options) {
    const server = new Server(options);
    server.init();
    await server.serve();
    return server;
  }

  init() {
    const made = millrace(['init', '--data', this.data, '--owner', 'owner@example.com', '--json']);
    if (made.status !== 0) {
      throw new Error(`init: ${made.status} ${made.stderr}`);
    }
    Object.assign(this, JSON.parse(made.stdout));
  }

  async serve() {
    if (this.temporary) {
      mkdirSync(this.temporary, {recursive: true});
    }
    const child = spawn(this.program, ['serve', '--data', this.data, '--listen', '127.0.0.1:0'],
      {env: cleanEnvironment(this.settings), stdio: ['ignore', 'pipe', 'pipe']});
    this.child = child;
    this.exited = new Promise((resolve) => {
      child.on('exit', (code, signal) => resolve({code, signal}));
    });
    let gone = null;
    this.exited.then((how) => { gone = how; });
    child.stderr.on('data', (bytes) => { this.log += bytes; });
    let out = '';
    child.stdout.on('data', (bytes) => { out += bytes; });
    const line = await until('the ready line', () => {
      if (gone) {
        throw new Error(`serve ended: ${JSON.stringify(gone)}\n${this.log}`);
      }
      return out.includes('\n') && out;
    }, 30000);
    const words = Object.fromEntries(line.trim().split(' ').slice(1)
      .map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]));
    this.url = words.url.replace(/\/$/, '');
    this.metricsUrl = words.metrics;
    this.agent = this.url.startsWith('https')
      ? new https.Agent({keepAlive: true, ca: readFileSync(certificates().ca)})
      : new http.Agent({keepAlive: true});
    await this.signIn();
  }

  get pid() {
    return this.child.pid;
  }

  // {status, headers, text, body}: body is the parsed JSON where it is JSON. Rejects where the answer
  // breaks a contract, or is none that the server's own description foresees. Secrets on both sides
  // are noted; none that was shown before may stand in the answer.
  async request(method, target, options = {}) {
    const {body, headers = {}} = options;
    const typeOf = (fields) => fields['content-type'] ?? '';
    canaries.noteHeaders(headers);
    canaries.noteBody(body, typeOf(headers));
    const answer = await this.send(method, target, options);
    canaries.searchAnswer(method, target, answer);
    canaries.noteHeaders(answer.headers);
    if (target !== '/openapi.json') { // it names members that hold secrets, with what they are
      canaries.noteBody(answer.text, typeOf(answer.headers));
    }
    if ((options.url ?? this.url) === this.url) {
      contract ??= new Contract((await this.send('GET', '/openapi.json')).body);
      mustFit(contract, method, target, answer);
    }
    return answer;
  }

  send(method, target, {body, headers = {}, url = this.url} = {}) {
    const mod = url.startsWith('https') ? https : http;
    return new Promise((resolve, reject) => {
      const call = mod.request(url + target, {method, headers, agent: url === this.url
        ? this.agent : undefined}, (response) => {
        const parts = [];
        response.on('data', (part) => parts.push(part));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(parts).toString();
          const json = /\bjson\b/.test(response.headers['content-type'] ?? '') && text !== '';
          const answer = {status: response.statusCode, headers: response.headers, text,
            body: json ? JSON.parse(text) : undefined};
          try {
            if (url === this.url) {
              checkAnswer(method, target, answer, headers);
            }
            resolve(answer);
          } catch (error) {
            reject(error);
          }
        });
      });
      call.on('error', reject);
      call.end(body);
    });
  }

  async signIn() {
    const answer = await this.request('POST', '/api-services/v1/auth/token', {
      headers: {'content-type': 'application/x-www-form-urlencoded'},
      body: new URLSearchParams({grant_type: 'client_credentials', client_id: this.client_id,
        client_secret: this.client_secret}).toString()});
    if (answer.status !== 200) {
      throw new Error(`token: ${answer.status} ${answer.text}`);
    }
    this.token = answer.body.access_token;
  }

  // With a token; a body that is not text is sent as JSON.
  api(method, target, body, headers = {}) {
    const json = body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body);
    return this.request(method, target, {
      body: json ? JSON.stringify(body) : body,
      headers: {authorization: `Bearer ${this.token}`,
        ...(body === undefined ? {} : {'content-type': 'application/json'}), ...headers}});
  }

  async must(method, target, body) {
    const answer = await this.api(method, target, body);
    if (answer.status >= 300) {
      throw new Error(`${method} ${target}: ${answer.status} ${answer.text}`);
    }
    return answer.body;
  }

  destination(url, settings = {}) {
    return this.must('POST', '/v1/destinations',
      {name: `to ${new URL(url).pathname}`, kind: 'webhook', settings: {url, ...settings}});
  }

  rule(destination, ...types) {
    return this.must('POST', '/v1/streaming-rules', {name: types[0],
      destination_id: destination.id ?? destination,
      event_types: types.map((type) => ({type, schema_version: null}))});
  }

  async secret(name = 'test') {
    const made = await this.must('POST', '/v1/secrets', {Name: name});
    return made;
  }

  publish(events) {
    return this.api('POST', '/v1/events', JSON.stringify(events), {
      'content-type': Array.isArray(events)
        ? 'application/cloudevents-batch+json' : 'application/cloudevents+json'});
  }

  async counters(destination) {
    return (await this.must('GET', `/v1/destinations/${destination.id ?? destination}`)).counters;
  }

  async metrics() {
    const url = new URL(this.metricsUrl.startsWith('http') ? this.metricsUrl
      : `http://${this.metricsUrl}`);
    const answer = await this.request('GET', '/metrics', {url: url.origin});
    const found = {};
    for (const [, name, value] of answer.text.matchAll(/^([a-z_]+(?:\{[^}]*\})?) (\S+)$/gm)) {
      found[name] = Number(value);
    }
    return found;
  }

  kill(signal = 'SIGKILL') {
    this.child.kill(signal);
    this.agent?.destroy();
    return this.exited;
  }

  // SIGTERM; gives {code, signal}.
  stop() {
    return this.kill('SIGTERM');
  }

  async stopWhole() {
    const {code, signal} = await this.stop();
    if (code !== 0) {
      throw new Error(`stop: ${code ?? signal}\n${this.log.slice(-8000)}`);
    }
  }

  // Looks for secrets in what the server leaves behind.
  async end() {
    if (this.child && this.child.exitCode === null && this.child.signalCode === null) {
      if (this.metricsUrl) {
        await this.metrics().catch(() => {}); // searched as every answer is
      }
      await (process.env.MR_TEST_STOP === 'yes' ? this.stopWhole() : this.kill());
    }
    this.searchTraces();
    if (this.home) {
      remove(this.home);
    }
  }

  searchTraces() {
    canaries.search('the log', this.log);
    for (const dir of [this.data, this.temporary]) {
      if (dir && existsSync(dir)) {
        canaries.searchFiles(dir);
      }
    }
  }

  // VmRSS in MiB and the number of open descriptors.
  footprint() {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    const fds = execFileSync('ls', [`/proc/${this.pid}/fd`], {encoding: 'utf8'});
    return {rss: Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024,
      descriptors: fds.trim().split('\n').length};
  }
}

// Notes every request. What a path meets is behave(path) or modes.get(path): ok, a status number,
// hang, reset, close, or a function (request, response, note).
export class Receiver {
  static async start({tls = true, keep = true} = {}) {
    const receiver = new Receiver();
    receiver.requests = [];
    receiver.keep = keep;
    receiver.modes = new Map();
    receiver.behave = () => 'ok';
    receiver.on = () => {};
    receiver.sockets = new Set();
    const serve = (request, response) => receiver.take(request, response);
    receiver.server = tls
      ? https.createServer({cert: readFileSync(certificates().cert),
        key: readFileSync(certificates().key), keepAliveTimeout: 60000}, serve)
      : http.createServer({keepAliveTimeout: 60000}, serve);
    receiver.server.on(tls ? 'secureConnection' : 'connection', (socket) => {
      receiver.sockets.add(socket);
      socket.on('close', () => receiver.sockets.delete(socket));
    });
    await new Promise((resolve) => receiver.server.listen(0, '127.0.0.1', resolve));
    receiver.url = `${tls ? 'https' : 'http'}://127.0.0.1:${receiver.server.address().port}`;
    return receiver;
  }

  take(request, response) {
    const parts = [];
    request.on('error', () => {});
    response.on('error', () => {});
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      const note = {method: request.method, url: request.url, path: request.url.split('?')[0],
        headers: request.headers, body: Buffer.concat(parts), at: performance.now(), answered: null};
      if (this.keep) {
        this.requests.push(note);
      }
      const mode = this.modes.get(note.path) ?? this.behave(note.path, note);
      note.mode = mode;
      this.on(note);
      if (typeof mode === 'function') {
        mode(request, response, note);
      } else if (mode === 'reset') {
        request.socket.resetAndDestroy?.() ?? request.socket.destroy();
      } else if (mode === 'close') {
        request.socket.destroy();
      } else if (mode !== 'hang') {
        response.on('finish', () => { note.answered = performance.now(); });
        response.writeHead(mode === 'ok' ? 200 : mode, {'content-length': 0});
        response.end();
      }
    });
  }

  // The events of all requests to a path, in order of arrival.
  events(wanted) {
    return this.requests.filter((note) => !wanted || note.path === wanted)
      .flatMap((note) => JSON.parse(note.body));
  }

  end() {
    for (const socket of this.sockets) {
      socket.destroy();
    }
    return new Promise((resolve) => this.server.close(resolve));
  }
}

// An event as a producer would send it.
export function event(attributes = {}, data = {n: 1}) {
  return {specversion: '1.0', id: randomUUID(), source: '/test', type: 'com.example.test',
    datacontenttype: 'application/json', ...attributes, data};
}

// `data` of a connection event that keeps its contract: data-session.started and so on.
export function connectionData(name) {
  return JSON.parse(readFileSync(
    path.join(root, `data/schemas/supersim.connection.${name}.example.json`), 'utf8'));
}

export function padding(bytes) {
  return randomBytes(Math.ceil(bytes / 2)).toString('hex').slice(0, bytes);
}

export function writeJson(name, value) {
  writeFileSync(name, JSON.stringify(value));
  return name;
}
