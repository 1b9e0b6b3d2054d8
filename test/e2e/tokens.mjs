// Access tokens as no server issues them: expired, of another issuer, of any scope. The public half
// of a key pair made here is put into the folder's store, so that what it signs is checked like the
// server's own; clients of other accounts are put there too. The server must not run meanwhile.
import {createHmac, createPublicKey, createSign, generateKeyPairSync, randomUUID} from 'node:crypto';
import path from 'node:path';
import {DatabaseSync} from 'node:sqlite';

const KID = 'key_test';
const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
  .toString('base64url');

// {"resourceName": …} of every resource in a token's scopes, with the list it stands in.
export function resourcesOf(scopes) {
  return Object.fromEntries(['globalResources', 'products'].flatMap((list) =>
    scopes[list].map((row) => [row.resourceName, list])));
}

// The scopes without one access to one resource.
export function without(scopes, resource, access) {
  const cut = (row) => (row.resourceName !== resource ? row
    : {...row, access: row.access.filter((word) => word !== access)});
  return {globalResources: scopes.globalResources.map(cut), products: scopes.products.map(cut)};
}

// One access to one resource.
export function only(scopes, resource, access) {
  const list = resourcesOf(scopes)[resource];
  return {globalResources: [], products: [], [list]: [{resourceName: resource, access: [access]}]};
}

export class Mint {
  // Stops the server, changes its store, serves again. clients: {name: account id or null for the
  // root's}; each gets a client of its own, `changes` sets columns of its row.
  static async open(server, clients = {}, changes = {}) {
    const mint = new Mint();
    const pair = generateKeyPairSync('rsa', {modulusLength: 2048});
    mint.private = pair.privateKey;
    mint.stranger = generateKeyPairSync('rsa', {modulusLength: 2048}).privateKey;
    mint.publicPem = pair.publicKey.export({type: 'spki', format: 'pem'});
    mint.claims = JSON.parse(Buffer.from(server.token.split('.')[1], 'base64url'));
    mint.clients = {};
    await server.stop();
    const db = new DatabaseSync(path.join(server.data, 'control.db'));
    db.prepare('INSERT INTO signing_keys(kid, public_der, private_sealed, sign_from_s,'
      + ' verify_until_s, created_ms) VALUES(?, ?, NULL, 0, ?, 0)')
      .run(KID, pair.publicKey.export({type: 'spki', format: 'der'}), mint.claims.iat + 86400);
    const row = db.prepare('SELECT * FROM clients WHERE id = ?').get(server.client_id);
    const insert = db.prepare(`INSERT INTO clients(${Object.keys(row)})`
      + ` VALUES(${Object.keys(row).map(() => '?')})`);
    for (const [index, [name, account]] of Object.entries(clients).entries()) {
      const id = account ?? server.account_id;
      const {number} = db.prepare('SELECT number FROM accounts WHERE id = ?').get(id);
      const own = {...row, number: 1000 + index, account: number,
        id: `apiclient_${randomUUID().replaceAll('-', '').slice(0, 26)}`, ...changes[name]};
      insert.run(...Object.values(own));
      mint.clients[name] = {client_id: own.id, sub: own.id, 'account-id': id, 'client-type': 'admin'};
    }
    db.close();
    await server.serve();
    const {body} = await server.request('GET', '/.well-known/jwks.json');
    mint.serverPem = createPublicKey({format: 'jwk', key: body.keys.find((key) => key.kid !== KID)})
      .export({type: 'spki', format: 'pem'});
    return mint;
  }

  // A token of the named client; claims replace or, undefined, take away the usual ones.
  token(name, claims = {}, {header = {}, sign = (text) => this.sign(text)} = {}) {
    const now = Math.floor(Date.now() / 1000);
    const all = {...this.claims, iat: now, exp: now + 3600, jti: randomUUID(),
      ...this.clients[name], ...claims};
    const text = `${encode({alg: 'RS256', typ: 'JWT', kid: KID, ...header})}.${encode(all)}`;
    return `${text}.${sign(text)}`;
  }

  sign(text, key = this.private, hash = 'RSA-SHA256') {
    return createSign(hash).update(text).sign(key, 'base64url');
  }

  // {what is wrong: token} of a client that has every right.
  wrong(name) {
    const now = Math.floor(Date.now() / 1000);
    const hmac = (pem) => (text) => createHmac('sha256', pem).update(text).digest('base64url');
    const good = this.token(name);
    const [head, payload, signature] = good.split('.');
    const swapped = encode({...JSON.parse(Buffer.from(payload, 'base64url')), jti: 'other'});
    const bad = {
      'not a token': 'a.b.c',
      'two parts': `${head}.${payload}`,
      'no signature': `${head}.${payload}.`,
      'other claims under the signature': `${head}.${swapped}.${signature}`,
      'alg none': this.token(name, {}, {header: {alg: 'none'}, sign: () => ''}),
      'alg none, signed': this.token(name, {}, {header: {alg: 'none'}}),
      'HS256 with the public key': this.token(name, {},
        {header: {alg: 'HS256'}, sign: hmac(this.publicPem)}),
      'HS256 with the server\'s public key': this.token(name, {},
        {header: {alg: 'HS256'}, sign: hmac(this.serverPem)}),
      'RS256 said, HMAC done': this.token(name, {}, {sign: hmac(this.publicPem)}),
      RS512: this.token(name, {}, {header: {alg: 'RS512'},
        sign: (text) => this.sign(text, this.private, 'RSA-SHA512')}),
      'another key': this.token(name, {}, {sign: (text) => this.sign(text, this.stranger)}),
      'unknown kid': this.token(name, {}, {header: {kid: 'key_none'}}),
      'own key in the header': this.token(name, {}, {header: {jwk: {}, jku: 'http://127.0.0.1/'},
        sign: (text) => this.sign(text, this.stranger)}),
      expired: this.token(name, {iat: now - 7200, exp: now - 1}),
      'not yet': this.token(name, {iat: now + 600}),
      'another issuer': this.token(name, {iss: 'urn:other'}),
      'another audience': this.token(name, {aud: 'other'}),
      'another subject': this.token(name, {sub: 'apiclient_other'}),
      'another account': this.token(name, {'account-id': 'acct_other'}),
      'no such client': this.token(name, {client_id: 'apiclient_none', sub: 'apiclient_none'}),
      'revoked generation': this.token(name, {gen: this.claims.gen + 1}),
    };
    for (const claim of Object.keys(this.claims)) {
      bad[`without ${claim}`] = this.token(name, {[claim]: undefined});
    }
    return bad;
  }
}
