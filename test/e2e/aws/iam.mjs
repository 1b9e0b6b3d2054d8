// As much of IAM as the script of docs/guides/get-started-kinesis.md needs: it checks signature and
// documents as AWS would, and a role that it makes can be assumed at the STS beside it.
import {BentServer} from './faults.mjs';
import {judge, Refusal} from './signature.mjs';

const xml = (action, text) => `<${action}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/">
  <${action}Result>${text}</${action}Result>
  <ResponseMetadata><RequestId>7a62c49f-347e-4fc4-9331-6e8eEXAMPLE</RequestId></ResponseMetadata>
</${action}Response>`;

function document(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal('MalformedPolicyDocument', text);
  }
}

export class Iam extends BentServer {
  constructor(rig) {
    super((exchange) => this.serve(exchange));
    this.rig = rig;
    // By the role's name, also of roles that are gone again: permissions, trust.
    this.policies = new Map();
    this.trusts = new Map();
    this.roles = new Map(); // those that are there → whether they have a policy
  }

  arn(name) {
    return `arn:aws:iam::${this.rig.account}:role/${name}`;
  }

  trust(name, text) {
    const {Version: version, Statement: [statement, ...more]} = document(text);
    const id = statement.Condition?.StringEquals?.['sts:ExternalId'];
    if (version !== '2012-10-17' || more.length > 0 || statement.Effect !== 'Allow'
      || statement.Action !== 'sts:AssumeRole' || !/^arn:aws:iam::\d{12}:/.test(statement.Principal?.AWS)
      || !/^[\w+=,.@:/-]{2,1224}$/.test(id)) {
      throw new Refusal('MalformedPolicyDocument', text);
    }
    this.trusts.set(name, statement);
    this.rig.sts.roles.set(this.arn(name), id);
  }

  permit(name, text) {
    const {Version: version, Statement: [statement, ...more]} = document(text);
    if (version !== '2012-10-17' || more.length > 0 || statement.Effect !== 'Allow'
      || !/^arn:aws:kinesis:[a-z0-9-]+:\d{12}:stream\/[\w.-]+$/.test(statement.Resource)
      || !Array.isArray(statement.Action)) {
      throw new Refusal('MalformedPolicyDocument', text);
    }
    this.policies.set(name, statement);
    this.roles.set(name, true);
  }

  act(form) {
    const action = form.get('Action');
    const name = form.get('RoleName');
    const role = `<Role><Path>/</Path><RoleName>${name}</RoleName><RoleId>AROA1</RoleId>`
      + `<Arn>${this.arn(name)}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>`;
    if (action !== 'CreateRole' && !this.roles.has(name)) {
      throw new Refusal('NoSuchEntity', `The role with name ${name} cannot be found.`, 404);
    }
    switch (action) {
      case 'CreateRole':
        this.trust(name, form.get('AssumeRolePolicyDocument'));
        this.roles.set(name, false);
        return xml(action, role);
      case 'GetRole':
        return xml(action, role);
      case 'UpdateAssumeRolePolicy':
        this.trust(name, form.get('PolicyDocument'));
        return xml(action, '');
      case 'PutRolePolicy':
        this.permit(name, form.get('PolicyDocument'));
        return xml(action, '');
      case 'DeleteRolePolicy':
        this.roles.set(name, false);
        return xml(action, '');
      case 'DeleteRole':
        if (this.roles.get(name)) {
          throw new Refusal('DeleteConflict', 'Cannot delete entity, must delete policies first.', 409);
        }
        this.roles.delete(name);
        this.rig.sts.roles.delete(this.arn(name));
        return xml(action, '');
      default:
        throw new Refusal('InvalidAction', action);
    }
  }

  async serve(exchange) {
    try {
      // IAM has one region; a client that was given an endpoint signs for its own.
      const [, region] = /Credential=[^/]+\/\d+\/([^/]+)\//
        .exec(exchange.headers.authorization) ?? [];
      await judge(exchange, {service: 'iam',
        region: region === this.rig.region ? region : 'us-east-1', keys: (key) => this.rig.keys.get(key), now: this.rig.clock()});
      this.send(exchange, 200, this.act(new URLSearchParams(exchange.body.toString())));
    } catch (error) {
      if (!(error instanceof Refusal)) {
        throw error;
      }
      exchange.refusal = error;
      this.send(exchange, error.status, '<ErrorResponse><Error><Type>Sender</Type>'
        + `<Code>${error.code}</Code><Message>${error.message.replace(/[<&]/g, ' ')}</Message></Error></ErrorResponse>`);
    }
  }

  send(exchange, status, text) {
    exchange.status = status;
    exchange.response.writeHead(status, {'content-type': 'text/xml'});
    exchange.response.end(text);
  }
}
