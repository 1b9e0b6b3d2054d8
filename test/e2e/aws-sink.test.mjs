// The product's Kinesis sink alone (build: kinesis-put) against the rig: every request's signature
// is judged by @smithy/signature-v4, what was written is read back by AWS's SDK, and everything that
// AWS can answer is answered.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {createHash} from 'node:crypto';
import path from 'node:path';
import readline from 'node:readline';
import {after, afterEach, before, test} from 'node:test';
import {Rig} from './aws/rig.mjs';
import {Sts} from './aws/sts.mjs';
import {binary} from './harness.mjs';

const OK = 0, RETRY = 1, THROTTLED = 2, PERMANENT = 3;
const REASON = {none: 0, throttled: 14, rejected: 15, missing: 16, denied: 17, kms: 18,
  credentials: 19, tooLarge: 20, internal: 21};
const program = path.join(path.dirname(binary), 'kinesis-put');

let rig;
before(async () => { rig = await Rig.start(); });
after(() => rig.end());

let open = [];
afterEach(async () => {
  rig.kinesis.clear();
  rig.sts.clear();
  rig.skew(0);
  rig.sts.lifetimeMs = 3600000;
  await Promise.all(open.map((put) => put.end()));
  open = [];
});

let serial = 0;
// An envelope as the product stores it.
function envelope({id = `id-${++serial}`, data = {n: 1}} = {}) {
  return `{"data":${JSON.stringify(data)},"id":${JSON.stringify(id)},`
    + '"time":"2026-01-01T00:00:00.0000000+00:00","type":"com.kore.iot.a","source":"kore-events",'
    + '"dataschema":"/schemas/a/1","specversion":"1.0","datacontenttype":"application/json"}';
}

class Put {
  constructor(options = {}, env = {}) {
    const given = {stream: rig.arn(), role: rig.role, 'external-id': rig.externalId,
      kinesis: rig.kinesis.url, sts: rig.sts.url, ...options};
    const {AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY} = rig.settings;
    this.child = spawn(program, Object.entries(given).filter(([, value]) => value !== undefined)
      .flatMap(([key, value]) => [`--${key}`, String(value)]), {
      env: {...(env === null ? {} : {AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...env})},
      stdio: ['pipe', 'pipe', 'inherit']});
    this.exited = new Promise((resolve) => { this.child.on('exit', resolve); });
    this.lines = readline.createInterface({input: this.child.stdout})[Symbol.asyncIterator]();
    open.push(this);
  }

  async result() {
    const {value, done} = await this.lines.next();
    assert.ok(!done, `kinesis-put ended with ${this.child.exitCode}`);
    return JSON.parse(value);
  }

  async send(envelopes = [envelope()], atOnce = 0) {
    this.child.stdin.write(`${envelopes.join('\n')}\n${atOnce ? `x${atOnce}` : ''}\n`);
    if (!atOnce) {
      return this.result();
    }
    const results = [];
    for (let i = 0; i < atOnce; i++) {
      results.push(await this.result());
    }
    return results;
  }

  // Its code: 0, or what a sanitizer made of it.
  async end() {
    this.child.stdin.end();
    assert.equal(await this.exited, 0);
  }
}

const kinds = ({items}) => items.map(([kind]) => kind);
const refusals = (since) => rig.refusals().slice(since);

test('records arrive one event each, under the id, with a signature that others accept', async () => {
  const before = refusals(0).length;
  const put = new Put();
  const sent = [envelope({data: {text: 'ü "quoted" \\ \u2028'}}), envelope({id: 'schlüssel'}),
    envelope()];
  const result = await put.send(sent);
  assert.deepEqual([result.outcome, result.status, kinds(result)], ['answered', 200, [OK, OK, OK]]);
  assert.deepEqual(result.steps, [{step: 'assume_role', ok: true}, {step: 'put_record', ok: true}]);
  assert.deepEqual(refusals(before), []);
  const read = (await rig.read()).filter(({data}) => sent.includes(data));
  assert.deepEqual(read.map(({data}) => data).sort(), [...sent].sort());
  for (const {key, event} of read) {
    assert.equal(key, event.id);
  }
  assert.equal(rig.sts.assumed.at(-1).session, 'millrace');
});

test('credentials are fetched once for many requests at once, and kept', async () => {
  const before = rig.sts.log.length;
  const put = new Put();
  rig.sts.delay(200);
  const results = await put.send([envelope()], 8);
  assert.ok(results.every(({outcome, items}) => outcome === 'answered' && items[0][0] === OK));
  await put.send();
  assert.equal(rig.sts.log.length, before + 1);
});

test('the partition key: by pointer, missing to the id, long ones hashed', async () => {
  const put = new Put({'partition-key': '/data/sim'});
  const long = 'x'.repeat(257);
  const edge = 'ü'.repeat(256);
  const sent = [{sim: 'HS1'}, {sim: 42}, {sim: true}, {sim: null}, {sim: {a: 1}}, {other: 1},
    {sim: long}, {sim: edge}, {sim: 'a"b\\c\n'}, {sim: ''}].map((data) => envelope({data}));
  assert.deepEqual(new Set(kinds(await put.send(sent))), new Set([OK]));
  const byData = new Map((await rig.read()).map(({data, key}) => [data, key]));
  const id = (text) => JSON.parse(text).id;
  const sha = createHash('sha256').update(long).digest('hex');
  assert.deepEqual(sent.map((text) => byData.get(text)), ['HS1', '42', 'true', id(sent[3]),
    id(sent[4]), id(sent[5]), sha, edge, 'a"b\\c\n', id(sent[9])]);
  const ids = new Put();
  const longId = envelope({id: `${'ü'.repeat(300)}`});
  await ids.send([longId]);
  assert.equal((await rig.read()).find(({data}) => data === longId).key,
    createHash('sha256').update('ü'.repeat(300)).digest('hex'));
});

test('a record that is too large is told so and the rest goes on', async () => {
  const put = new Put();
  const big = envelope({data: 'x'.repeat(1024 * 1024)});
  const result = await put.send([envelope(), big, envelope()]);
  assert.deepEqual(result.items, [[OK, 0], [PERMANENT, REASON.tooLarge], [OK, 0]]);
  const alone = await put.send([big]);
  assert.deepEqual(alone.items, [[PERMANENT, REASON.tooLarge]]);
  assert.equal(alone.outcome, 'answered');
  const edge = envelope({id: 'k', data: ''});
  const fits = envelope({id: 'k', data: 'y'.repeat(1024 * 1024 - edge.length - 1)});
  assert.equal(fits.length + 1, 1024 * 1024);
  assert.deepEqual((await put.send([fits])).items, [[OK, 0]]);
});

test('a request holds 500 records and 5 MiB at most', async () => {
  const put = new Put();
  const many = await put.send(Array.from({length: 510}, () => envelope()));
  assert.equal(many.used, 500);
  assert.equal(many.items.length, 500);
  const large = await put.send(Array.from({length: 8}, () => envelope({data: 'z'.repeat(900000)})));
  assert.equal(large.used, 5);
  assert.ok(rig.kinesis.puts.at(-1).bytes <= 5 * 1024 * 1024);
});

test('results belong to records by their place', async () => {
  const put = new Put();
  const sent = Array.from({length: 7}, () => envelope());
  const codes = {1: 'ProvisionedThroughputExceededException', 3: 'InternalFailure',
    4: 'KMSDisabledException', 5: 'SomethingNew'};
  rig.kinesis.failRecords((record, i) => codes[i] && {ErrorCode: codes[i], ErrorMessage: 'no'}, 1);
  const result = await put.send(sent);
  assert.deepEqual(result.items, [[OK, 0], [THROTTLED, REASON.throttled], [OK, 0],
    [RETRY, REASON.internal], [RETRY, REASON.kms], [RETRY, REASON.rejected], [OK, 0]]);
  assert.match(result.detail, /4 of 7 records.*ProvisionedThroughputExceededException/);
  const read = new Set((await rig.read()).map(({data}) => data));
  assert.deepEqual(sent.map((text) => read.has(text)), [true, false, true, false, false, false, true]);
});

test('200 with all failed is no success', async () => {
  const put = new Put();
  rig.kinesis.failRecords(() => ({ErrorCode: 'InternalFailure', ErrorMessage: 'x'}), 1);
  assert.deepEqual(kinds(await put.send([envelope(), envelope()])), [RETRY, RETRY]);
});

test('errors of the whole call are told for each event', async () => {
  const put = new Put();
  for (const [code, status, kind, reason] of [
    ['ProvisionedThroughputExceededException', 400, THROTTLED, REASON.throttled],
    ['LimitExceededException', 400, THROTTLED, REASON.throttled],
    ['ThrottlingException', 400, THROTTLED, REASON.throttled],
    ['com.amazonaws.kinesis.v20131202#ResourceNotFoundException', 400, RETRY, REASON.missing],
    ['AccessDeniedException', 400, RETRY, REASON.denied],
    ['KMSAccessDeniedException', 400, RETRY, REASON.kms],
    ['KMSThrottlingException', 400, THROTTLED, REASON.throttled],
    ['InternalFailure', 500, RETRY, REASON.internal],
    ['ServiceUnavailable', 503, RETRY, REASON.internal],
    ['Whatever', 502, RETRY, REASON.internal]]) {
    rig.kinesis.refuse(code, 'because', {status});
    const result = await put.send([envelope(), envelope()]);
    assert.deepEqual(result.items, [[kind, reason], [kind, reason]], code);
    assert.equal(result.status, status);
    assert.match(result.detail, /because/);
  }
  rig.kinesis.refuse('ValidationException', 'bad');
  const whole = await put.send([envelope(), envelope()]);
  assert.deepEqual([whole.items, whole.outcome, whole.status], [[], 'answered', 400]);
});

test('a stream that is not there', async () => {
  const put = new Put({stream: rig.arn('nothing')});
  assert.deepEqual((await put.send()).items, [[RETRY, REASON.missing]]);
});

test('answers that say nothing leave the outcome unknown', async () => {
  const put = new Put();
  const ok = {SequenceNumber: '1', ShardId: 's'};
  for (const body of ['', 'no JSON', '[]', '{}', '{"Records":[]}', '{"Records":{}}',
    JSON.stringify({FailedRecordCount: 0, Records: [ok]}),
    JSON.stringify({FailedRecordCount: 0, Records: [ok, ok, ok]}),
    JSON.stringify({FailedRecordCount: 1, Records: [ok, ok]}),
    JSON.stringify({FailedRecordCount: 0, Records: [ok, {ErrorCode: 'InternalFailure'}]}),
    JSON.stringify({FailedRecordCount: 0, Records: [ok, {}]}),
    JSON.stringify({FailedRecordCount: 0, Records: [ok, null]}),
    JSON.stringify({FailedRecordCount: 'x', Records: [ok, ok]}),
    JSON.stringify({FailedRecordCount: 1, Records: [ok, {...ok, ErrorCode: 'X'}]}),
    `${JSON.stringify({FailedRecordCount: 0, Records: [ok, ok]})}}`]) {
    rig.kinesis.reply(200, body, {after: true});
    const result = await put.send([envelope(), envelope()]);
    assert.deepEqual([result.outcome, result.items], ['response', []], body);
  }
  rig.kinesis.reply(200, ' '.repeat(3 << 20));
  assert.equal((await put.send()).outcome, 'response');
  assert.deepEqual((await put.send()).items, [[OK, 0]]);
});

test('no answer: reset before and after, silence, an answer cut off', async () => {
  const put = new Put({timeout: 400});
  await put.send();
  rig.kinesis.reset({after: true, times: 2}); // a re-used connection that dies is tried once more
  const reset = await put.send();
  assert.deepEqual([['response', 'reset'].includes(reset.outcome), reset.items], [true, []]);
  rig.kinesis.clear();
  rig.kinesis.hang();
  const hung = await put.send();
  assert.deepEqual([hung.outcome, hung.items], ['timeout', []]);
  rig.kinesis.clear();
  rig.kinesis.bend(async ({response}) => {
    response.writeHead(200, {'content-length': 100000});
    response.write('{"FailedRecordCount":0,"Records":[');
    return true;
  });
  const cut = await put.send();
  assert.deepEqual([cut.outcome, cut.items], ['response', []]);
  assert.deepEqual((await put.send()).items, [[OK, 0]]);
});

test('an expired token is renewed and the request sent again, once', async () => {
  const put = new Put();
  await put.send();
  const before = rig.sts.assumed.length;
  rig.sts.expireAll();
  assert.deepEqual((await put.send()).items, [[OK, 0]]);
  rig.sts.forgetAll();
  assert.deepEqual((await put.send()).items, [[OK, 0]]);
  assert.equal(rig.sts.assumed.length, before + 2);
  rig.kinesis.refuse('ExpiredTokenException', 'again', {times: 2});
  assert.deepEqual((await put.send()).items, [[RETRY, REASON.credentials]]);
  assert.deepEqual((await put.send()).items, [[OK, 0]]);
});

test('credentials about to end are not used any more', async () => {
  rig.sts.lifetimeMs = 12000; // the last 10 s of them do not count
  const put = new Put();
  const refused = refusals(0).length;
  const before = rig.sts.assumed.length;
  await put.send();
  rig.sts.lifetimeMs = 3600000;
  await new Promise((resolve) => { setTimeout(resolve, 2200); });
  await put.send();
  assert.equal(rig.sts.assumed.length, before + 2);
  assert.deepEqual(refusals(refused), []);
});

for (const ms of [3600000, -3600000]) {
  test(`a clock that is ${ms / 60000} minutes off is corrected`, async () => {
    rig.skew(ms);
    const put = new Put();
    const before = rig.refusals().length;
    assert.deepEqual((await put.send()).items, [[OK, 0]]);
    assert.deepEqual((await put.send()).items, [[OK, 0]]);
    assert.deepEqual(refusals(before).map(({service, code}) => [service, code]),
      [['sts', 'SignatureDoesNotMatch']]);
    rig.skew(0);
    assert.deepEqual((await put.send()).items, [[OK, 0]]);
    assert.equal(refusals(before).at(-1).code, 'InvalidSignatureException');
  });
}

test('a wrong secret of the caller is no wrong clock', async () => {
  const put = new Put({}, {AWS_SECRET_ACCESS_KEY: 'wrong'});
  const before = rig.sts.log.length;
  const result = await put.send();
  assert.deepEqual(result.items, [[RETRY, REASON.credentials]]);
  assert.match(result.detail, /STS answered SignatureDoesNotMatch/);
  assert.deepEqual(result.steps, [{step: 'assume_role', ok: false}]);
  await put.send();
  assert.equal(rig.sts.log.length, before + 1, 'a refusal is remembered for a while');
});

test('a role that cannot be assumed, a wrong external id, no caller', async () => {
  for (const options of [{role: `arn:aws:iam::${rig.account}:role/other`},
    {'external-id': 'wrong'}, {'external-id': undefined}]) {
    const result = await new Put(options).send();
    assert.deepEqual(result.items, [[RETRY, REASON.credentials]]);
    assert.match(result.detail, /STS answered AccessDenied: .* not authorized to perform/);
  }
  const nobody = await new Put({}, null).send();
  assert.deepEqual(nobody.items, [[RETRY, REASON.credentials]]);
  assert.match(nobody.detail, /the server has no AWS credentials/);
});

test('STS out of order: slow, garbage, throttled, gone', async () => {
  rig.sts.hang();
  const late = await new Put({timeout: 300}).send();
  assert.deepEqual(late.items, [[RETRY, REASON.credentials]]);
  assert.match(late.detail, /within the destination's timeout/);
  rig.sts.clear();
  for (const [status, body] of [[200, 'no XML'], [200, '<a>'], [500, ''], [200, '<AssumeRoleResponse/>']]) {
    rig.sts.reply(status, body);
    assert.deepEqual((await new Put().send()).items, [[RETRY, REASON.credentials]], body);
  }
  rig.sts.reply(400, '<ErrorResponse><Error><Code>Throttling</Code><Message>slow</Message></Error>'
    + '</ErrorResponse>');
  assert.deepEqual((await new Put().send()).items, [[THROTTLED, REASON.throttled]]);
  const gone = await new Sts({}).listen();
  await gone.close();
  const result = await new Put({sts: gone.url}).send();
  assert.deepEqual(result.items, [[RETRY, REASON.credentials]]);
  assert.match(result.detail, /STS could not be asked: .*refused/);
});

test('wrong region: STS of another is not asked, Kinesis refuses the scope', async () => {
  const put = new Put({stream: rig.arn().replace('eu-central-1', 'eu-west-1')});
  const result = await put.send();
  assert.deepEqual(result.items, [[RETRY, REASON.credentials]]);
});

test('the caller from the container and from the instance', async () => {
  const token = 'Basic dG9rZW4=';
  const uri = await rig.container(token);
  const env = {AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined};
  const contained = new Put({container: uri}, {...env, AWS_CONTAINER_AUTHORIZATION_TOKEN: token});
  assert.deepEqual((await contained.send()).items, [[OK, 0]]);
  const refused = await new Put({container: uri}, env).send();
  assert.match(refused.detail, /container's credentials could not be read: 127.0.0.1 answered 403/);
  const metadata = await rig.metadata();
  const instance = new Put({metadata}, env);
  assert.deepEqual((await instance.send([envelope()], 4)).map(kinds), [[OK], [OK], [OK], [OK]]);
  assert.deepEqual(rig.instance.log.map(({method}) => method), ['PUT', 'GET', 'GET']);
  rig.instance.reply(403, '');
  assert.match((await new Put({metadata}, env).send()).detail, /answered 403/);
});
