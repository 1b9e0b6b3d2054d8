// A small STS: checks signature, form, role, external id, session name and duration, and issues
// credentials that expire. And the two other places where a program on AWS finds credentials: the
// container's URI and the instance's metadata (IMDSv2 alone).
import {randomBytes} from 'node:crypto';
import {BentServer} from './faults.mjs';
import {judge, Refusal} from './signature.mjs';

const escape = (text) => text.replace(/[<>&'"]/g, (c) => `&#${c.charCodeAt(0)};`);

function xmlError({code, message}) {
  return `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error>
    <Type>Sender</Type>
    <Code>${code}</Code>
    <Message>${escape(message)}</Message>
  </Error>
  <RequestId>0a8b9e2c-1d2f-4f2e-9a51-2f3b8b6f7c11</RequestId>
</ErrorResponse>
`;
}

function xmlAnswer(role, session, {accessKeyId, secretAccessKey, sessionToken, expires}) {
  return `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <AssumedRoleId>AROA3XFRBF535PLBIFPI4:${session}</AssumedRoleId>
      <Arn>${role.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/')}/${session}</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>${accessKeyId}</AccessKeyId>
      <SecretAccessKey>${escape(secretAccessKey)}</SecretAccessKey>
      <SessionToken>${escape(sessionToken)}</SessionToken>
      <Expiration>${new Date(expires).toISOString().replace(/\.\d+/, '')}</Expiration>
    </Credentials>
  </AssumeRoleResult>
  <ResponseMetadata>
    <RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>
  </ResponseMetadata>
</AssumeRoleResponse>
`;
}

export class Sts extends BentServer {
  // roles: Map of role ARN → external id; keys: Map of access key → row, where issued ones go.
  constructor({region, roles, keys, clock}) {
    super((exchange) => this.serve(exchange));
    Object.assign(this, {region, roles, keys, clock, lifetimeMs: 3600000, assumed: []});
  }

  issue(fields = {}) {
    const row = {accessKeyId: `ASIA${randomBytes(8).toString('hex').toUpperCase()}`,
      secretAccessKey: randomBytes(30).toString('base64'),
      sessionToken: `${randomBytes(180).toString('base64')}&<"'>=`.replace(/[&<"'>]/g, '/'),
      expires: this.clock() + this.lifetimeMs, ...fields};
    this.keys.set(row.accessKeyId, row);
    return row;
  }

  // All that were issued end now.
  expireAll() {
    for (const row of this.keys.values()) {
      if (row.sessionToken !== undefined) {
        row.expires = this.clock() - 1000;
      }
    }
  }

  // Issued keys are not known any more.
  forgetAll() {
    for (const [key, row] of this.keys) {
      if (row.sessionToken !== undefined) {
        this.keys.delete(key);
      }
    }
  }

  async serve(exchange) {
    const {headers, body} = exchange;
    try {
      const caller = await judge(exchange, {service: 'sts', region: this.region,
        keys: (key) => this.keys.get(key), now: this.clock()});
      const form = new URLSearchParams(body.toString());
      const wrong = (what) => new Refusal('ValidationError', what);
      if (exchange.method !== 'POST' || exchange.url !== '/'
        || !/^application\/x-www-form-urlencoded(; ?charset=utf-8)?$/.test(headers['content-type'])) {
        throw wrong(`${exchange.method} ${exchange.url} ${headers['content-type']}`);
      }
      if (form.get('Action') !== 'AssumeRole' || form.get('Version') !== '2011-06-15') {
        throw wrong(`Action and Version: ${body}`);
      }
      const unknown = [...form.keys()].find((key) => !['Action', 'Version', 'RoleArn', 'ExternalId',
        'RoleSessionName', 'DurationSeconds'].includes(key));
      const session = form.get('RoleSessionName') ?? '';
      const duration = Number(form.get('DurationSeconds') ?? 3600);
      if (unknown || !/^[\w+=,.@-]{2,64}$/.test(session) || !(duration >= 900 && duration <= 43200)) {
        throw wrong(`${unknown} ${session} ${duration}`);
      }
      const role = form.get('RoleArn');
      if (!this.roles.has(role) || this.roles.get(role) !== (form.get('ExternalId') ?? undefined)) {
        throw new Refusal('AccessDenied', `User: arn:aws:iam::999900001111:user/${caller.name ?? 'caller'}`
          + ` is not authorized to perform: sts:AssumeRole on resource: ${role}`, 403);
      }
      const row = this.issue({role});
      this.assumed.push({role, session, at: Date.now(), accessKeyId: row.accessKeyId});
      this.send(exchange, 200, xmlAnswer(role, session, row));
    } catch (error) {
      if (!(error instanceof Refusal)) {
        throw error;
      }
      exchange.refusal = error;
      this.send(exchange, error.status, xmlError(error));
    }
  }

  send(exchange, status, text) {
    exchange.status = status;
    exchange.response.writeHead(status, {'content-type': 'text/xml',
      date: new Date(this.clock()).toUTCString()});
    exchange.response.end(text);
  }
}

const asJson = (row, more = {}) => JSON.stringify({...more, AccessKeyId: row.accessKeyId,
  SecretAccessKey: row.secretAccessKey, Token: row.sessionToken,
  Expiration: new Date(row.expires).toISOString().replace(/\.\d+/, '')});

// ECS and EKS: one GET, perhaps with a token.
export class Container extends BentServer {
  constructor(sts, token) {
    super(async (exchange) => {
      const allowed = exchange.url === '/v2/credentials/one'
        && exchange.headers.authorization === token && exchange.method === 'GET';
      exchange.response.writeHead(allowed ? 200 : 403, {'content-type': 'application/json'});
      exchange.response.end(allowed ? asJson(sts.issue()) : '{"message":"no"}');
    });
  }
}

export class Metadata extends BentServer {
  constructor(sts, role = 'web-role') {
    const tokens = new Set();
    super(async (exchange) => {
      const {method, url, headers, response} = exchange;
      const send = (status, text) => {
        exchange.status = status;
        response.writeHead(status, {'content-type': 'text/plain'});
        response.end(text);
      };
      if (url === '/latest/api/token') {
        const seconds = headers['x-aws-ec2-metadata-token-ttl-seconds'];
        if (method !== 'PUT' || !/^\d+$/.test(seconds) || headers['x-forwarded-for']) {
          send(400, '');
          return;
        }
        const token = randomBytes(40).toString('base64');
        tokens.add(token);
        send(200, token);
      } else if (!tokens.has(headers['x-aws-ec2-metadata-token'])) {
        send(401, '');
      } else if (url === '/latest/meta-data/iam/security-credentials/') {
        send(200, role);
      } else if (url === `/latest/meta-data/iam/security-credentials/${role}`) {
        send(200, asJson(sts.issue(), {Code: 'Success', Type: 'AWS-HMAC'}));
      } else {
        send(404, '');
      }
    });
  }
}
