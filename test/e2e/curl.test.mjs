// curl as the client, and Python's own HTTP server as the receiver: peers that know nothing of us.
// What curl prints is what a producer's terminal would show; it is never told what to expect.
import assert from 'node:assert/strict';
import {execFile, spawn} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {after, before, describe, test} from 'node:test';
import {createHash, randomUUID} from 'node:crypto';
import {Receiver, Server, certificates, event, folder, padding, remove, until} from './harness.mjs';

const PYTHON = '/usr/bin/python3';
const patience = 60 * Number(process.env.MR_TEST_SLOW ?? 1);

let server;
let receiver;
let dir;
let secret;

before(async () => {
  const {ca, cert, key} = certificates();
  dir = folder('curl');
  server = await Server.start({settings: {extra_ca_file: ca, tls_cert_file: cert,
    tls_key_file: key}});
  receiver = await Receiver.start();
  secret = (await server.secret()).secret;
});

after(async () => {
  await receiver?.end();
  await server?.end();
  remove(dir);
});

// Runs curl: {code, out, log}; nothing of the user's own configuration counts.
function run(args) {
  return new Promise((resolve) => {
    execFile('curl', ['-q', '-sS', '--noproxy', '*', '--max-time', String(patience), ...args],
      {encoding: 'utf8', maxBuffer: 1 << 26}, (error, out, log) =>
        resolve({code: error ? error.code : 0, out, log}));
  });
}

// One call: the last head's status and fields, the body, interim statuses, and curl's own log.
async function curl(target, args = [], {token = server.token, ca = true, url = server.url} = {}) {
  const base = [...(ca ? ['--cacert', certificates().ca] : []),
    ...(token ? ['-H', `authorization: Bearer ${token}`] : [])];
  const head = path.join(dir, `head-${randomUUID()}`);
  const {code, out, log} = await run([...base, '-v', '-D', head, ...args, url + target]);
  const heads = code === 0 || code === 18 ? readFileSync(head, 'latin1').split('\r\n\r\n')
    .filter(Boolean) : [];
  const lines = (heads.at(-1) ?? '').split('\r\n');
  const headers = Object.fromEntries(lines.slice(1).map((line) =>
    [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
  const statuses = heads.map((text) => Number(/^HTTP\/1\.1 (\d+)/.exec(text)[1]));
  const json = /\bjson\b/.test(headers['content-type'] ?? '') && /^[[{]/.test(out);
  return {code, log, text: out, headers, status: statuses.at(-1), interim: statuses.slice(0, -1),
    body: json ? JSON.parse(out) : undefined};
}

function file(content) {
  const name = path.join(dir, `body-${randomUUID()}`);
  writeFileSync(name, typeof content === 'string' ? content : JSON.stringify(content));
  return name;
}

const CLOUD_EVENT = ['-H', 'content-type: application/cloudevents+json'];
const BATCH = ['-H', 'content-type: application/cloudevents-batch+json'];

const publish = (events, args = []) => curl('/v1/events',
  [...(Array.isArray(events) ? BATCH : CLOUD_EVENT), '--data-binary', `@${file(events)}`, ...args]);

function wrong(answer, status, code) {
  assert.equal(answer.status, status, `${answer.text}\n${answer.log}`);
  assert.equal(answer.body.status, status);
  assert.equal(answer.body.code, code, answer.text);
  assert.equal(answer.body.info, `${server.url}/errors/${code}`);
}

describe('TLS', () => {
  test('curl verifies chain and name by the CA; without it, it refuses us', async () => {
    const good = await curl('/healthz', [], {token: null});
    assert.equal(good.status, 200, good.log);
    assert.match(good.log, /SSL certificate verify ok/);
    assert.match(good.log, /TLSv1\.3/);
    const named = await curl('/healthz', [], {url: server.url.replace('127.0.0.1', 'localhost')});
    assert.equal(named.status, 200, named.log);
    const stranger = await curl('/healthz', [], {ca: false, token: null});
    assert.equal(stranger.code, 60, stranger.log);
  });

  test('TLS 1.2 is the oldest that is spoken', async () => {
    const older = await curl('/healthz', ['--tlsv1.2', '--tls-max', '1.2']);
    assert.equal(older.status, 200, older.log);
    const old = await curl('/healthz', ['--tlsv1.0', '--tls-max', '1.1', '--ciphers',
      'DEFAULT:@SECLEVEL=0']);
    assert.equal(old.code, 35, old.log);
    const plain = await curl('/healthz', [], {url: server.url.replace('https', 'http')});
    assert.notEqual(plain.code, 0, 'plain HTTP to the TLS port');
    assert.equal((await curl('/healthz')).status, 200);
  });

  test('HTTP/2 is offered by curl and HTTP/1.1 is what is agreed', async () => {
    const answer = await curl('/healthz', ['--http2']);
    assert.equal(answer.status, 200, answer.log);
    assert.match(answer.log, /ALPN: server accepted http\/1\.1|ALPN: server did not agree/);
  });
});

describe('the token', () => {
  const ask = (...form) => curl('/api-services/v1/auth/token',
    form.flatMap((one) => ['--data-urlencode', one]), {token: null});

  test('from a form, as KORE\'s documents show it, and it is good at once', async () => {
    const made = await ask('grant_type=client_credentials', `client_id=${server.client_id}`,
      `client_secret=${server.client_secret}`);
    assert.equal(made.status, 200, made.text);
    assert.equal(made.body.token_type, 'Bearer');
    assert.equal(typeof made.body.expires_in, 'number');
    assert.equal(made.headers['cache-control'], 'no-store');
    const list = await curl('/v1/destinations', [], {token: made.body.access_token});
    assert.equal(list.status, 200, list.text);
    const oauth = await curl('/v1/destinations', ['--oauth2-bearer', made.body.access_token],
      {token: null});
    assert.equal(oauth.status, 200, oauth.text);
  });

  test('wrong credentials and wrong forms', async () => {
    const bad = await ask('grant_type=client_credentials', `client_id=${server.client_id}`,
      'client_secret=ü&=+%');
    assert.equal(bad.status, 401);
    assert.equal(bad.body.error, 'unauthorized_client');
    assert.equal((await ask('grant_type=client_credentials')).status, 400);
    const multipart = await curl('/api-services/v1/auth/token', ['-F', 'grant_type=x'],
      {token: null});
    assert.equal(multipart.status, 400, multipart.text);
    assert.ok(multipart.body.code && multipart.body.message && multipart.body.error);
  });

  test('none, a malformed and a wrong one', async () => {
    const none = await curl('/v1/destinations', [], {token: null});
    wrong(none, 401, 20401);
    assert.equal(none.headers['www-authenticate'], 'Bearer');
    wrong(await curl('/v1/destinations', ['-u', 'user:password'], {token: null}), 401, 20401);
    wrong(await curl('/v1/destinations', [], {token: `${server.token}x`}), 403, 20006);
    wrong(await curl('/v1/secrets', [], {token: 'a.b.c'}), 403, 30010);
  });
});

describe('bodies', () => {
  test('many requests on one connection', async () => {
    const one = `${server.url}/v1/ping`;
    const done = await run(['--cacert', certificates().ca, '-w',
      '%{http_code} %{num_connects}\n', '-o', '/dev/null', one, '-o', '/dev/null', one,
      '-o', '/dev/null', one, '-o', '/dev/null', `${server.url}/nothing`, '-o', '/dev/null', one]);
    assert.equal(done.code, 0, done.log);
    assert.deepEqual(done.out.trim().split('\n'), ['200 1', '200 0', '200 0', '404 0', '200 0']);
  });

  test('a large batch with Expect: 100-continue is asked for, then taken', async () => {
    const events = Array.from({length: 40}, () => event({}, {pad: padding(100000)}));
    const answer = await publish(events, ['-H', 'expect: 100-continue', '--expect100-timeout', '60']);
    assert.deepEqual(answer.interim, [100], answer.log);
    assert.equal(answer.status, 202, answer.text);
    assert.equal(answer.body.accepted, 40);
  });

  test('what will be refused is not asked for: no 100 without token, path or room', async () => {
    const big = `@${file('x'.repeat(9 << 20))}`;
    const expect = ['-H', 'expect: 100-continue', '--expect100-timeout', '60', '--data-binary', big];
    for (const [target, fields, options, status] of [
      ['/v1/events', CLOUD_EVENT, {token: null}, 401],
      ['/v1/events', CLOUD_EVENT, {token: 'a.b.c'}, 403],
      ['/v1/events', CLOUD_EVENT, {}, 413], ['/v1/destinations', [], {}, 413],
      ['/nothing', [], {}, 404]]) {
      const answer = await curl(target, [...fields, ...expect], options);
      assert.deepEqual(answer.interim, [], `${target} ${answer.log}`);
      assert.equal(answer.status, status, answer.text);
      assert.doesNotMatch(answer.log, /We are completely uploaded/);
    }
  });

  test('a large body without Expect that is refused early: curl reads the answer', async () => {
    const name = file('x'.repeat(9 << 20));
    const answer = await curl('/v1/events', [...CLOUD_EVENT, '-H', 'expect:', '--data-binary',
      `@${name}`]);
    wrong(answer, 413, 20413);
  });

  test('chunks from a pipe, in bits and pieces', async () => {
    const events = Array.from({length: 20}, () => event({}, {pad: padding(9000)}));
    const answer = await curl('/v1/events', [...BATCH, '-X', 'POST', '-H',
      'transfer-encoding: chunked', '--limit-rate', '300k', '-T', file(events)]);
    assert.equal(answer.status, 202, `${answer.text} ${answer.log}`);
    assert.match(answer.log, /transfer-encoding: chunked/i);
    assert.equal(answer.body.accepted, 20);
  });

  test('--compressed is offered, and answered plainly', async () => {
    const answer = await curl('/v1/destinations', ['--compressed']);
    assert.match(answer.log, /accept-encoding: .*gzip/i);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-encoding'], undefined);
    assert.ok(Array.isArray(answer.body.data));
  });

  test('a body that is compressed is refused, not stored as noise', async () => {
    const answer = await publish(event(), ['-H', 'content-encoding: gzip']);
    wrong(answer, 415, 20415);
  });

  test('binary form: percent-encoded attributes, text and bytes', async () => {
    const type = `com.example.${randomUUID()}`;
    const route = `/${randomUUID()}`;
    await server.rule(await server.destination(receiver.url + route), type);
    const fields = (id) => ['ce-specversion: 1.0', `ce-id: ${id}`, 'ce-source: /curl',
      `ce-type: ${type}`, 'ce-subject: Euro%20%E2%82%AC%20%F0%9F%98%80'].flatMap((one) => ['-H', one]);
    const bytes = path.join(dir, 'bytes');
    writeFileSync(bytes, Buffer.from([0, 255, 254, 10, 13, 0]));
    const send = (id, contentType, name) => curl('/v1/events', [...fields(id), '-H',
      `content-type: ${contentType}`, '--data-binary', `@${name}`]);
    for (const [id, contentType, name] of [['json', 'application/json', file('{"a": 1.50}')],
      ['text', 'text/plain; charset=utf-8', file('grüße\n')],
      ['bytes', 'application/octet-stream', bytes]]) {
      const answer = await send(id, contentType, name);
      assert.equal(answer.status, 202, answer.text);
    }
    await until('all three', () => receiver.events(route).length === 3);
    const got = Object.fromEntries(receiver.events(route).map((one) => [one.id, one]));
    assert.equal(got.json.subject, 'Euro € 😀');
    assert.deepEqual(got.json.data, {a: 1.5});
    assert.equal(got.text.data, 'grüße\n');
    assert.equal(got.bytes.data, undefined);
    assert.equal(got.bytes.data_base64, Buffer.from([0, 255, 254, 10, 13, 0]).toString('base64'));
  });
});

describe('methods', () => {
  test('HEAD has the fields of GET and no body', async () => {
    for (const target of ['/healthz', '/v1/destinations', '/schemas/test/1', '/errors/20404',
      '/v1/ping', '/nothing']) {
      const got = await curl(target);
      const head = await curl(target, ['-I']);
      assert.equal(head.code, 0, head.log);
      assert.equal(head.status, got.status, target);
      for (const name of ['content-type', 'content-length', 'cache-control']) {
        assert.equal(head.headers[name], got.headers[name], `${target} ${name}`);
      }
    }
  });

  test('a preflight as browsers send it, and what a page may read', async () => {
    for (const [target, method] of [['/v1/events', 'POST'], ['/v1/destinations', 'POST'],
      ['/v1/secrets/whs_00000000000000000000000000', 'PATCH']]) {
      const asked = await curl(target, ['-X', 'OPTIONS', '-H', 'origin: https://app.example', '-H',
        `access-control-request-method: ${method}`, '-H',
        'access-control-request-headers: authorization,content-type,ce-traceparent'], {token: null});
      assert.equal(asked.status, 204, asked.text);
      assert.equal(asked.headers['access-control-allow-origin'], '*');
      assert.equal(asked.headers['access-control-allow-credentials'], undefined);
      assert.ok(asked.headers['access-control-allow-methods'].split(', ').includes(method));
      const allowed = asked.headers['access-control-allow-headers'].split(', ');
      assert.ok(allowed.includes('authorization'), 'a * does not stand for authorization');
      assert.ok(allowed.includes('*'), 'any ce-… field may be sent');
    }
    for (const target of ['/v1/destinations', '/v1/ping', '/nothing']) {
      const got = await curl(target, ['-H', 'origin: https://app.example']);
      assert.equal(got.headers['access-control-allow-origin'], '*', target);
      assert.match(got.headers['access-control-expose-headers'], /\betag\b.*\blocation\b/, target);
    }
    const accepted = await publish(event(), ['-H', 'origin: https://app.example']);
    assert.equal(accepted.headers['access-control-allow-origin'], '*');
    assert.match(accepted.headers['access-control-expose-headers'], /x-request-id/);
    const refused = await publish('{', ['-H', 'origin: https://app.example']);
    assert.equal(refused.status, 400);
    assert.equal(refused.headers['access-control-allow-origin'], '*');
    assert.match(refused.headers['access-control-expose-headers'], /x-request-id/);
  });

  test('methods that are not there', async () => {
    for (const method of ['PUT', 'TRACE', 'CONNECT', 'BREW']) {
      const answer = await curl('/v1/destinations', ['-X', method]);
      assert.ok([400, 405, 501].includes(answer.status), `${method} ${answer.status}`);
      assert.equal(answer.body.status, answer.status, `${method} is refused in JSON`);
    }
    const put = await curl('/v1/destinations', ['-X', 'PUT', '-d', '{}']);
    wrong(put, 405, 20004);
    assert.equal(put.headers.allow, 'GET, HEAD, POST');
  });
});

describe('bad input', () => {
  const destination = (body, fields = ['-H', 'content-type: application/json']) =>
    curl('/v1/destinations', [...fields, '--data-binary', `@${file(body)}`]);

  test('bodies', async () => {
    wrong(await destination('{'), 400, 20400);
    wrong(await destination('\ufeff{"name":"a"}'), 400, 20400);
    wrong(await destination(''), 400, 20400);
    wrong(await destination('[]'), 400, 20400);
    wrong(await destination('{"name":"a","name":"b"}'), 400, 20400);
    wrong(await destination('{"name":"a","kind":"webhook","settings":{"url":"https://a.example/"},'
      + '"colour":1}'), 400, 20001);
    wrong(await destination('{"name":"\\u0000","kind":"webhook","settings":{"url":'
      + '"https://a.example/"}}'), 400, 20400);
    wrong(await destination('{}', ['-H', 'content-type: application/xml']), 415, 20415);
    wrong(await destination('{}', ['-H', 'content-type:']), 400, 20002);
    wrong(await destination('{}', ['-H', 'content-type: application/json', '-H',
      'content-encoding: gzip']), 415, 20415);
    for (const [kind, url] of [['webhook', ''], ['webhook', 'ftp://a.example/'],
      ['webhook', 'https://user:pw@a.example/'], ['webhook', 'https://a.example:22/'],
      ['webhook', 'https://a.example./'], ['webhook', 'https://a%2eexample/'],
      ['webhook', 'https://0x7f.1/'], ['webhook', 'https://ä.example/'],
      ['webhook', 'https://a.example/ x'], ['webhook', '//a.example/']]) {
      const answer = await destination({name: 'a', kind, settings: {url}});
      assert.equal(answer.status, 400, `${url} ${answer.text}`);
      assert.ok([20400, 31010].includes(answer.body.code), `${url} ${answer.text}`);
    }
  });

  test('targets and fields', async () => {
    wrong(await curl('/v1/destinations?page_size=1%00'), 400, 20400);
    wrong(await curl('/v1/destinations?page_size=%zz'), 400, 20400);
    wrong(await curl('/v1/destinations?page_number=99999999999999999999'), 400, 20400);
    wrong(await curl('/v1/destinations?page_number=-1'), 400, 20400);
    wrong(await curl('/v1/destinations/../../etc/passwd', ['--path-as-is']), 404, 20404);
    wrong(await curl('/v1/destinations/%2e%2e'), 404, 20404);
    wrong(await curl(`/v1/destinations/${'a'.repeat(3000)}`), 404, 20404);
    const long = await curl(`/v1/${'a'.repeat(40000)}`);
    assert.ok([414, 431].includes(long.status), long.text);
    assert.equal(long.body.status, long.status);
    wrong(await curl('/v1/ping', ['-H', `x-a: ${'b'.repeat(40000)}`]), 431, 20431);
    wrong(await curl('/v1/ping', Array.from({length: 500}, (_, n) => ['-H', `x-${n}: 1`]).flat()),
      431, 20431);
    wrong(await curl('/v1/ping', ['-H', 'host: a b']), 400, 20400);
    const ask = await curl('/v1/ping', ['-H', 'x-request-id: a b']);
    assert.notEqual(ask.headers['x-request-id'], 'a b');
    const old = await curl('/v1/ping', ['--http1.0', '--no-alpn']);
    assert.equal(old.status, 200, old.log);
    assert.match(old.log, /Closing connection/);
  });

  test('events: nothing of what is refused is stored', async () => {
    const good = event();
    wrong(await publish([good, {...event(), id: ''}]), 400, 31001);
    wrong(await publish(`[${JSON.stringify(good)},]`), 400, 31001);
    wrong(await publish(event({}, padding(300 * 1024))), 413, 20413);
    wrong(await publish(Array.from({length: 1001}, () => event())), 413, 20413);
    const stored = await publish([good]);
    assert.equal(stored.body.duplicates, 0, stored.text);
  });
});

// ---- Python's server, which is nobody of ours, as the receiver

const PROGRAM = `
import hashlib, http.server, json, ssl, sys
cert, key, secret, protocol = sys.argv[1:5]
class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = protocol
    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        url = 'https://127.0.0.1:%d%s' % (self.server.server_port, self.path.split('?')[0])
        text = secret + self.command + url + body.decode('utf-8')
        events = json.loads(body)
        print(json.dumps({
            'good': hashlib.sha256(text.encode('utf-8')).hexdigest() == self.headers['kore-signature'],
            'same': json.dumps(events, ensure_ascii=False, separators=(',', ':')) == body.decode(),
            'ids': [one['id'] for one in events], 'token': self.headers['kore-idempotency-token'],
            'peer': self.client_address[1]}), flush=True)
        self.send_response(204 if self.path.endswith('204') else 200)
        if not self.path.endswith('204'):
            self.send_header('content-length', '2')
        self.end_headers()
        if not self.path.endswith('204'):
            self.wfile.write(b'ok')
    do_GET = do_POST
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
`;

for (const protocol of ['HTTP/1.1', 'HTTP/1.0']) {
  test(`Python's server speaking ${protocol} gets every event once, and finds the signatures good`,
    async () => {
      const {cert, key} = certificates();
      const child = spawn(PYTHON, ['-c', PROGRAM, cert, key, secret, protocol],
        {stdio: ['ignore', 'pipe', 'inherit']});
      try {
        let out = '';
        child.stdout.on('data', (bytes) => { out += bytes; });
        await until('its port', () => out.includes('\n'));
        const port = Number(out.split('\n')[0]);
        const lines = () => out.split('\n').slice(1, -1).map((line) => JSON.parse(line));
        const sent = [];
        for (const [suffix, settings] of [['?a=b', {}], ['204', {}], ['', {method: 'GET'}]]) {
          const type = `com.example.${randomUUID()}`;
          const made = await server.destination(`https://127.0.0.1:${port}/hook${suffix}`, settings);
          await server.rule(made, type);
          for (let n = 0; n < 10; n++) {
            const events = Array.from({length: 7}, () => event({type}, {n, text: 'Ä "€" 😀\n'}));
            sent.push(...events.map(({id}) => id));
            const answer = await publish(events);
            assert.equal(answer.status, 202, answer.text);
          }
        }
        await until('every event', () => lines().flatMap(({ids}) => ids).length >= sent.length);
        const notes = lines();
        assert.deepEqual(notes.flatMap(({ids}) => ids).sort(), sent.sort());
        assert.ok(notes.every(({good}) => good), 'signatures');
        assert.ok(notes.every(({same}) => same), 'bytes as Python writes them');
        assert.equal(new Set(notes.map(({token}) => token)).size, notes.length);
        const connections = new Set(notes.map(({peer}) => peer)).size;
        assert.ok(protocol === 'HTTP/1.0' ? connections === notes.length
          : connections < notes.length, `${connections} connections for ${notes.length} requests`);
      } finally {
        child.kill();
      }
    });
}
