// The rig of the AWS tests, judged itself: AWS's own client is let through, and each thing that the
// rig is to catch or to do is caught or done. A judge that cannot say no proves nothing.
import {PutRecordsCommand, KinesisClient} from '@aws-sdk/client-kinesis';
import {NodeHttpHandler} from '@smithy/node-http-handler';
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {Rig} from './aws/rig.mjs';
import {judge, Refusal, signedBy} from './aws/signature.mjs';

let rig;
before(async () => { rig = await Rig.start(); });
after(() => rig.end());

// As our server calls it, but with the SDK.
function put(row, {endpoint = rig.kinesis.url, n = 2, region = rig.region} = {}) {
  const client = new KinesisClient({endpoint, region, maxAttempts: 1, requestHandler: new NodeHttpHandler(),
    credentials: {accessKeyId: row.accessKeyId, secretAccessKey: row.secretAccessKey,
      sessionToken: row.sessionToken}});
  return client.send(new PutRecordsCommand({StreamARN: rig.arn(),
    Records: Array.from({length: n}, (_, i) => ({Data: Buffer.from(`{"id":"${i}"}`),
      PartitionKey: `k${i}`}))}));
}

test('the SDK with issued credentials is let through and can be read back', async () => {
  const answer = await put(rig.sts.issue());
  assert.equal(answer.FailedRecordCount, 0);
  assert.deepEqual((await rig.read()).map(({key}) => key).sort(), ['k0', 'k1']);
  assert.deepEqual(rig.refusals(), []);
});

test('wrong secret, wrong region, unknown key and expired token are told apart', async () => {
  const row = rig.sts.issue();
  await assert.rejects(put({...row, secretAccessKey: 'other'}), {name: 'InvalidSignatureException'});
  await assert.rejects(put(row, {region: 'eu-west-1'}), {name: 'InvalidSignatureException'});
  await assert.rejects(put({...row, accessKeyId: 'ASIANOBODY'}), {name: 'UnrecognizedClientException'});
  await assert.rejects(put({...row, sessionToken: 'x'}), {name: 'UnrecognizedClientException'});
  rig.sts.expireAll();
  await assert.rejects(put(row), {name: 'ExpiredTokenException'});
  assert.equal(rig.refusals().length, 5);
});

test('a changed byte of body or of a signed field is a wrong signature', async () => {
  const row = rig.sts.issue();
  const date = new Date('2026-03-01T10:00:00Z');
  const base = {method: 'POST', path: '/', body: '{"a":1}', names: ['host', 'x-amz-date',
    'x-amz-security-token', 'x-amz-target'], region: 'eu-central-1', service: 'kinesis', date,
  headers: {host: 'kinesis.example', 'x-amz-date': '20260301T100000Z',
    'x-amz-security-token': row.sessionToken, 'x-amz-target': 'Kinesis_20131202.PutRecords'}};
  const authorization = await signedBy({...base, credentials: row});
  const ask = (change = {}, more = {}) => judge({method: 'POST', url: '/', body: base.body, ...more,
    headers: {...base.headers, authorization, ...change}}, {service: 'kinesis',
    region: 'eu-central-1', keys: () => row, now: date.getTime()});
  assert.equal(await ask(), row);
  const refused = (change, more) => assert.rejects(ask(change, more), Refusal);
  await refused({}, {body: '{"a":2}'});
  await refused({}, {url: '/x'});
  await refused({'x-amz-target': 'Kinesis_20131202.PutRecord'});
  await refused({'x-amz-extra': 'unsigned'});
  await refused({authorization: authorization.replace(/.$/, (c) => (c === '0' ? '1' : '0'))});
  await refused({authorization: undefined});
});

test('faults: throttled, chosen records, garbage, reset after the deed', async () => {
  const row = rig.sts.issue();
  rig.kinesis.throttle(1);
  await assert.rejects(put(row), {name: 'ProvisionedThroughputExceededException'});
  rig.kinesis.failRecords((record) => record.PartitionKey === 'k1'
    && {ErrorCode: 'InternalFailure', ErrorMessage: 'Internal Service Failure'}, 1);
  const answer = await put(row, {n: 3});
  assert.equal(answer.FailedRecordCount, 1);
  assert.deepEqual(answer.Records.map(({ErrorCode}) => ErrorCode),
    [undefined, 'InternalFailure', undefined]);
  rig.kinesis.reply(200, 'no JSON');
  await assert.rejects(put(row));
  const before = (await rig.read()).length;
  rig.kinesis.reset({after: true});
  await assert.rejects(put(row));
  assert.equal((await rig.read()).length, before + 2);
  assert.equal((await put(row)).FailedRecordCount, 0);
});

test('a clock that stands wrong is told by the signature error', async () => {
  const row = rig.sts.issue({expires: Date.now() + 1e8});
  rig.skew(3600000);
  try {
    await assert.rejects(judge({method: 'POST', url: '/', body: '', headers: {host: 'a',
      'x-amz-date': new Date().toISOString().replace(/[-:]|\.\d+/g, ''),
      'x-amz-security-token': row.sessionToken, authorization: 'AWS4-HMAC-SHA256 Credential='
        + `${row.accessKeyId}/${new Date().toISOString().slice(0, 10).replaceAll('-', '')}`
        + '/eu-central-1/kinesis/aws4_request, '
        + `SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=${'0'.repeat(64)}`}},
    {service: 'kinesis', region: 'eu-central-1', keys: () => row, now: rig.clock()}),
    /Signature expired/);
  } finally {
    rig.skew(0);
  }
});
