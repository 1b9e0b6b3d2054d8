// Signatures of ours against @smithy/signature-v4's over generated requests: methods, paths, queries,
// fields, bodies and credentials of every awkward kind. The seed is printed; MR_TEST_SEED sets it.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import path from 'node:path';
import {test} from 'node:test';
import {Sha256} from '@aws-crypto/sha256-js';
import {SignatureV4} from '@smithy/signature-v4';
import {binary} from './harness.mjs';

const program = path.join(path.dirname(binary), 'sigv4-sign');
const N = Number(process.env.MR_TEST_SIGNATURES ?? 2000);
const seed = Number(process.env.MR_TEST_SEED ?? Date.now() % 2 ** 31);

function generator(from) {
  let state = from >>> 0;
  return (below) => { // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const UNRESERVED = 'abcXYZ019-._~';

class Maker {
  constructor(random) {
    this.random = random;
  }

  pick(list) {
    return list[this.random(list.length)];
  }

  text(alphabet, most, least = 0) {
    return Array.from({length: least + this.random(most - least + 1)},
      () => this.pick(alphabet)).join('');
  }

  // As it is sent: percent-encoded where it must be.
  path() {
    if (this.random(4) === 0) {
      return '/';
    }
    return `/${Array.from({length: 1 + this.random(4)},
      () => encodeURIComponent(this.text([...UNRESERVED, ' ', 'ü', '€', '+', '=', '&', ':', '@', ',',
        '%', '/'], 8, 1))).join('/')}${this.pick(['', '/'])}`;
  }

  query() {
    return Array.from({length: this.random(5)}, () => [
      this.text([...UNRESERVED, ' ', 'ü', '+', '/', '&', '='], 5, 1),
      this.text([...UNRESERVED, ' ', '€', '+', '/', '&', '=', '%'], 8)]);
  }

  request() {
    const names = new Set(Array.from({length: this.random(5)},
      () => `x-${this.text([...'abcdef-'], 6, 1)}z`));
    const headers = {host: this.pick(['kinesis.eu-central-1.amazonaws.com', '127.0.0.1:4567'])};
    for (const name of names) {
      headers[name] = this.text([...'aZ09 ,;="(ü', '  '], 12, 1).trim() || 'v';
    }
    const pairs = this.query();
    return {method: this.pick(['GET', 'POST', 'PUT', 'DELETE']), path: this.path(),
      // One value a name: the judge takes an object.
      query: Object.fromEntries(pairs), headers,
      body: this.text([...'{}":,abc \nü'], 200),
      region: this.pick(['eu-central-1', 'us-gov-west-1', 'cn-north-1']),
      service: this.pick(['kinesis', 'sts', 'iam']),
      credentials: {accessKeyId: this.text([...'ABCDEF0189'], 20, 16),
        secretAccessKey: this.text([...'abcXYZ019/+='], 40, 1),
        sessionToken: this.pick([undefined, this.text([...'abcXYZ019/+='], 400, 1)])},
      date: new Date(Date.UTC(2000 + this.random(60), this.random(12), 1 + this.random(28),
        this.random(24), this.random(60), this.random(60)))};
  }
}

const encode = (text) => encodeURIComponent(text)
  .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

function ours(request) {
  const {credentials: {accessKeyId, secretAccessKey, sessionToken}} = request;
  const query = Object.entries(request.query).map(([k, v]) => `${encode(k)}=${encode(v)}`).join('&');
  const raw = `${request.method} ${request.path}${query ? `?${query}` : ''} HTTP/1.1\n${
    Object.entries(request.headers).map(([k, v]) => `${k}: ${v}\n`).join('')}\n${request.body}`;
  return new Promise((resolve, reject) => {
    const child = spawn(program, ['--region', request.region, '--service', request.service,
      '--access-key', accessKeyId, '--secret-key', secretAccessKey,
      ...(sessionToken === undefined ? [] : ['--token', sessionToken]), '--normalize', 'yes',
      '--date', request.date.toISOString().replace(/\.\d+/, '')]);
    let out = '';
    child.stdout.on('data', (bytes) => { out += bytes; });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(out.trimEnd().split('\n').at(-1))
      : reject(new Error(`sigv4-sign ended with ${code}\n${raw}`))));
    child.stdin.on('error', () => {});
    child.stdin.end(raw);
  });
}

async function theirs(request) {
  const signer = new SignatureV4({credentials: request.credentials, region: request.region,
    service: request.service, sha256: Sha256, applyChecksum: false});
  const signed = await signer.sign({method: request.method, protocol: 'https:',
    hostname: request.headers.host, path: request.path, query: request.query,
    headers: request.headers, body: request.body}, {signingDate: request.date});
  return signed.headers.authorization;
}

test(`${N} generated requests are signed as others sign them (seed ${seed})`, async () => {
  const maker = new Maker(generator(seed));
  const requests = Array.from({length: N}, () => maker.request());
  let at = 0;
  await Promise.all(Array.from({length: 4}, async () => {
    while (at < requests.length) {
      const request = requests[at++];
      const [mine, judged] = await Promise.all([ours(request), theirs(request)]);
      assert.equal(mine, judged, JSON.stringify(request));
    }
  }));
});

test('one changed byte changes the signature', async () => {
  const request = new Maker(generator(seed + 1)).request();
  const first = await ours(request);
  for (const change of [{body: `${request.body}x`}, {path: `${request.path}x`},
    {query: {...request.query, extra: '1'}}, {headers: {...request.headers, 'x-more': '1'}},
    {region: 'eu-west-1'}, {service: 'other'}, {date: new Date(request.date.getTime() + 1000)},
    {credentials: {...request.credentials, secretAccessKey: 'other'}}]) {
    assert.notEqual(await ours({...request, ...change}), first);
  }
});
