// Judges a request's AWS signature by code that is not ours: signs it again with
// @smithy/signature-v4 over the very fields that it says it signed, and compares. What AWS answers
// to each fault is answered here too.
import {Sha256} from '@aws-crypto/sha256-js';
import {SignatureV4} from '@smithy/signature-v4';

const WINDOW_MS = 5 * 60 * 1000;

export class Refusal extends Error {
  constructor(code, message, status = 400) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

function parseAuthorization(text) {
  const match = /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/(\d{8})\/([^/,\s]+)\/([^/,\s]+)\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/
    .exec(text ?? '');
  if (!match) {
    throw new Refusal('IncompleteSignatureException', `Authorization is not well-formed: ${text}`);
  }
  const [, accessKey, day, region, service, names, signature] = match;
  return {accessKey, day, region, service, names: names.split(';'), signature};
}

function parseDate(text) {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text ?? '');
  if (!match) {
    throw new Refusal('IncompleteSignatureException', `x-amz-date is not a date: ${text}`);
  }
  const [, year, month, day, hour, minute, second] = match.map(Number);
  return new Date(Date.UTC(year, month - 1, day, hour, minute, second));
}

// The Authorization that another implementation gives for this request.
export async function signedBy({method, path, query = {}, headers, body, names, credentials, region,
  service, date}) {
  const signer = new SignatureV4({credentials, region, service, sha256: Sha256,
    applyChecksum: false});
  const signed = await signer.sign({method, protocol: 'http:', hostname: headers.host, path, query,
    headers: Object.fromEntries(Object.entries(headers).filter(([name]) => names.includes(name)
      && !['x-amz-date', 'x-amz-security-token'].includes(name))), body},
  {signingDate: date, signableHeaders: new Set(names),
    unsignableHeaders: new Set(Object.keys(headers).filter((name) => !names.includes(name)))});
  return signed.headers.authorization;
}

// request: {method, url, headers, body}; keys: (access key) → {secretAccessKey, sessionToken,
// expires}; now: the service's clock. Gives the keys' row, or throws a Refusal.
export async function judge(request, {service, region, keys, now}) {
  const {headers} = request;
  if (headers.authorization === undefined) {
    throw new Refusal('MissingAuthenticationTokenException', 'Request is missing Authentication Token');
  }
  const said = parseAuthorization(headers.authorization);
  const row = keys(said.accessKey);
  if (!row || (row.sessionToken ?? undefined) !== headers['x-amz-security-token']) {
    throw new Refusal(service === 'sts' ? 'InvalidClientTokenId' : 'UnrecognizedClientException',
      'The security token included in the request is invalid.', service === 'sts' ? 403 : 400);
  }
  const date = parseDate(headers['x-amz-date']);
  const scopeFault = said.region !== region ? `region ${said.region}` : said.service !== service
    ? `service ${said.service}` : !headers['x-amz-date'].startsWith(said.day) ? `day ${said.day}`
      : ['host', 'x-amz-date'].find((name) => !said.names.includes(name));
  const needed = Object.keys(headers).filter((name) => name.startsWith('x-amz-'));
  const unsigned = needed.find((name) => !said.names.includes(name));
  const code = service === 'sts' ? 'SignatureDoesNotMatch' : 'InvalidSignatureException';
  const status = service === 'sts' ? 403 : 400;
  if (scopeFault || unsigned) {
    throw new Refusal(code, `Credential should be scoped otherwise: ${scopeFault ?? unsigned}`, status);
  }
  if (Math.abs(date - now) > WINDOW_MS) {
    const [late, word] = date < now ? [new Date(now - WINDOW_MS), 'expired']
      : [new Date(now + WINDOW_MS), 'not yet current'];
    throw new Refusal(code, `Signature ${word}: ${headers['x-amz-date']} is now `
      + `${date < now ? 'earlier' : 'later'} than ${late.toISOString()}`, status);
  }
  const [path, search = ''] = request.url.split('?');
  const again = await signedBy({method: request.method, path,
    query: Object.fromEntries(new URLSearchParams(search)), headers, body: request.body,
    names: said.names, credentials: {accessKeyId: said.accessKey,
      secretAccessKey: row.secretAccessKey, sessionToken: row.sessionToken}, region, service, date});
  if (again !== headers.authorization) {
    throw new Refusal(code, 'The request signature we calculated does not match the signature you '
      + 'provided. Check your AWS Secret Access Key and signing method.', status);
  }
  if (row.expires !== undefined && row.expires <= now) {
    throw new Refusal(service === 'sts' ? 'ExpiredToken' : 'ExpiredTokenException',
      'The security token included in the request is expired', service === 'sts' ? 403 : 400);
  }
  return row;
}
