// AWS on this machine, for tests: kinesalite behind a proxy of ours that verifies every signature
// with other people's code and misbehaves on request, and a STS that issues credentials.
//
//   const rig = await Rig.start();
//   const server = await Server.start({settings: {...rig.settings, …}});
//   … create a destination with rig.destination() as settings …
//   rig.kinesis.throttle(3); rig.kinesis.failRecords((record, i) => i === 0 && {ErrorCode: …});
//   rig.sts.expireAll(); rig.kinesis.delay(500); rig.kinesis.reset({after: true});
//   rig.kinesis.reply(200, 'no JSON'); rig.skew(-3600000);
//   const records = await rig.read();     // [{key, id, event, data}]
//   rig.refusals()                        // what was refused, and why
//   await rig.end();
import {CreateStreamCommand, DescribeStreamSummaryCommand, GetRecordsCommand,
  GetShardIteratorCommand, KinesisClient, ListShardsCommand} from '@aws-sdk/client-kinesis';
import {NodeHttpHandler} from '@smithy/node-http-handler';
import kinesalite from 'kinesalite';
import {randomBytes} from 'node:crypto';
import {BentServer} from './faults.mjs';
import {judge, Refusal} from './signature.mjs';
import {Container, Metadata, Sts} from './sts.mjs';

const TARGET = 'Kinesis_20131202.';

class KinesisProxy extends BentServer {
  constructor(rig) {
    super((exchange) => this.serve(exchange));
    this.rig = rig;
    this.recordFaults = [];
    this.puts = []; // {at, n, keys, failed} per PutRecords that reached a stream
  }

  // Records for which choose(record, index, body) gives {ErrorCode, ErrorMessage} fail; the rest of
  // the request goes to the stream. Each of the next `times` requests.
  failRecords(choose, times = Infinity) {
    this.recordFaults.push({choose, times});
  }

  clear() {
    super.clear();
    this.recordFaults = [];
  }

  refuse(code, message = code, options = {}) {
    this.reply(options.status ?? 400, JSON.stringify({__type: code, message}),
      {headers: {'content-type': 'application/x-amz-json-1.1'}, ...options});
  }

  // Whole requests.
  throttle(times = 1) {
    this.refuse('ProvisionedThroughputExceededException', 'Rate exceeded', {times});
  }

  // The first n records of each request are taken, the others throttled: a shard's limit.
  throttleAfter(n, times = Infinity) {
    this.failRecords((record, i) => i >= n && {
      ErrorCode: 'ProvisionedThroughputExceededException',
      ErrorMessage: 'Rate exceeded for shard shardId-000000000000 in stream events under account '
        + this.rig.account}, times);
  }

  send(exchange, status, body) {
    exchange.status = status;
    exchange.response.writeHead(status, {'content-type': 'application/x-amz-json-1.1',
      date: new Date(this.rig.clock()).toUTCString()});
    exchange.response.end(typeof body === 'string' ? body : JSON.stringify(body));
  }

  async serve(exchange) {
    try {
      const row = await judge(exchange, {service: 'kinesis', region: this.rig.region,
        keys: (key) => this.rig.keys.get(key), now: this.rig.clock()});
      const {headers} = exchange;
      const action = headers['x-amz-target']?.slice(TARGET.length);
      if (exchange.method !== 'POST' || exchange.url !== '/'
        || headers['content-type'] !== 'application/x-amz-json-1.1'
        || !headers['x-amz-target']?.startsWith(TARGET)) {
        throw new Refusal('UnknownOperationException', `${exchange.method} ${exchange.url}`);
      }
      if (action !== 'PutRecords' && action !== 'PutRecord') {
        throw new Refusal('AccessDeniedException', `${row.role} may not perform kinesis:${action}`);
      }
      exchange.action = action;
      await this.put(exchange, JSON.parse(exchange.body.toString()));
    } catch (error) {
      if (!(error instanceof Refusal)) {
        throw error;
      }
      exchange.refusal = error;
      this.send(exchange, error.status, {__type: error.code, message: error.message});
    }
  }

  async put(exchange, body) {
    const prefix = `arn:aws:kinesis:${this.rig.region}:${this.rig.account}:stream/`;
    if (!body.StreamARN?.startsWith(prefix) || body.StreamName !== undefined) {
      throw new Refusal('ValidationException', `StreamARN: ${body.StreamARN}`);
    }
    const stream = body.StreamARN.slice(prefix.length);
    const fault = this.recordFaults[0];
    const results = body.Records.map((record, i) => fault?.choose(record, i, body) || null);
    if (fault && --fault.times === 0) {
      this.recordFaults.shift();
    }
    const kept = body.Records.filter((record, i) => results[i] === null);
    if (kept.length > 0) {
      const answer = await this.rig.forward({StreamName: stream, Records: kept});
      if (answer.status !== 200) {
        const why = JSON.parse(answer.text);
        throw new Refusal(why.__type, why.message ?? why.Message, answer.status);
      }
      const taken = JSON.parse(answer.text).Records;
      body.Records.forEach((record, i) => { results[i] ??= taken.shift(); });
    }
    exchange.records = body.Records;
    this.puts.push({at: exchange.at, n: body.Records.length,
      bytes: body.Records.reduce((sum, {Data, PartitionKey}) => sum
        + Buffer.from(Data, 'base64').length + Buffer.byteLength(PartitionKey), 0),
      keys: body.Records.map((record) => record.PartitionKey),
      failed: results.filter(({ErrorCode}) => ErrorCode).length});
    this.send(exchange, 200, {
      FailedRecordCount: results.filter(({ErrorCode}) => ErrorCode).length, Records: results});
  }
}

export class Rig {
  constructor({account = '111122223333', region = 'eu-central-1', externalId, role} = {}) {
    this.account = account;
    this.region = region;
    this.role = role ?? `arn:aws:iam::${account}:role/millrace`;
    this.externalId = externalId ?? randomBytes(40).toString('hex');
    this.clockOffset = 0;
    this.caller = {name: 'caller', accessKeyId: 'AKIAMILLRACETEST0001',
      secretAccessKey: randomBytes(30).toString('base64')};
    this.keys = new Map([[this.caller.accessKeyId, this.caller]]);
  }

  // streams: names; shards: of each.
  static async start({streams = ['events'], shards = 2, ...options} = {}) {
    const rig = new Rig(options);
    rig.store = kinesalite({createStreamMs: 0, deleteStreamMs: 0, shardLimit: 100});
    await new Promise((resolve) => { rig.store.listen(0, '127.0.0.1', resolve); });
    rig.storeUrl = `http://127.0.0.1:${rig.store.address().port}`;
    rig.client = new KinesisClient({endpoint: rig.storeUrl, region: rig.region,
      credentials: {accessKeyId: 'any', secretAccessKey: 'any'},
      requestHandler: new NodeHttpHandler()});
    rig.sts = await new Sts({region: rig.region, roles: new Map([[rig.role, rig.externalId]]),
      keys: rig.keys, clock: () => rig.clock()}).listen();
    rig.kinesis = await new KinesisProxy(rig).listen();
    for (const name of streams) {
      await rig.create(name, shards);
    }
    return rig;
  }

  // What the server is given (keys of its configuration, and the caller's environment).
  get settings() {
    return {kinesis_endpoint: this.kinesis.url, sts_endpoint: this.sts.url,
      AWS_ACCESS_KEY_ID: this.caller.accessKeyId,
      AWS_SECRET_ACCESS_KEY: this.caller.secretAccessKey};
  }

  arn(stream = 'events') {
    return `arn:aws:kinesis:${this.region}:${this.account}:stream/${stream}`;
  }

  // The settings of a destination for that stream.
  destination(stream = 'events', more = {}) {
    return {stream_arn: this.arn(stream), role_arn: this.role, external_id: this.externalId, ...more};
  }

  // The clock of the service stands so far before (or behind) this machine's.
  skew(ms) {
    this.clockOffset = ms;
  }

  clock() {
    return Date.now() + this.clockOffset;
  }

  async container(token) {
    this.containers = await new Container(this.sts, token).listen();
    return `${this.containers.url}/v2/credentials/one`;
  }

  async metadata() {
    this.instance = await new Metadata(this.sts).listen();
    return this.instance.url;
  }

  async create(stream, shards = 1) {
    await this.client.send(new CreateStreamCommand({StreamName: stream, ShardCount: shards}));
    for (;;) {
      const {StreamDescriptionSummary: {StreamStatus: status}} = await this.client.send(
        new DescribeStreamSummaryCommand({StreamName: stream}));
      if (status === 'ACTIVE') {
        return;
      }
      await new Promise((resolve) => { setTimeout(resolve, 5); });
    }
  }

  // To the emulator, which wants some signature but checks none.
  async forward(body) {
    const answer = await fetch(this.storeUrl, {method: 'POST', body: JSON.stringify(body), headers: {
      'content-type': 'application/x-amz-json-1.1', 'x-amz-target': `${TARGET}PutRecords`,
      'x-amz-date': '20260101T000000Z',
      authorization: 'AWS4-HMAC-SHA256 Credential=any/20260101/eu-central-1/kinesis/aws4_request, '
        + 'SignedHeaders=host;x-amz-date, Signature=0'}});
    return {status: answer.status, text: await answer.text()};
  }

  // Everything in the stream, shard by shard: {key, data (text), event (parsed; an object)}.
  async read(stream = 'events') {
    const found = [];
    const {Shards: shards} = await this.client.send(new ListShardsCommand({StreamName: stream}));
    for (const {ShardId} of shards) {
      let {ShardIterator: iterator} = await this.client.send(new GetShardIteratorCommand({
        StreamName: stream, ShardId, ShardIteratorType: 'TRIM_HORIZON'}));
      for (;;) {
        const page = await this.client.send(new GetRecordsCommand({ShardIterator: iterator,
          Limit: 10000}));
        for (const record of page.Records) {
          const data = Buffer.from(record.Data).toString();
          found.push({key: record.PartitionKey, shard: ShardId, data, event: JSON.parse(data)});
        }
        if (page.Records.length === 0 || !page.NextShardIterator) {
          break;
        }
        iterator = page.NextShardIterator;
      }
    }
    return found;
  }

  // Of both services, oldest first: {at, service, code, message}.
  refusals() {
    return [['sts', this.sts], ['kinesis', this.kinesis]].flatMap(([service, {log}]) => log
      .filter(({refusal}) => refusal)
      .map(({at, refusal: {code, message}}) => ({at, service, code, message})))
      .sort((a, b) => a.at - b.at);
  }

  async end() {
    this.client.destroy();
    await Promise.all([this.sts, this.kinesis, this.containers, this.instance]
      .map((server) => server?.close()));
    await new Promise((resolve) => {
      this.store.closeAllConnections();
      this.store.close(resolve);
    });
  }
}
