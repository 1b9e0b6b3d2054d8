// What a test of the control store needs: every change that the API knows, and the whole store as
// rows. A route that changes something and has no call here fails the tests that walk the table.
import path from 'node:path';
import {readFileSync} from 'node:fs';
import {DatabaseSync} from 'node:sqlite';
import {root} from '../e2e/harness.mjs';

export const database = (server) => path.join(server.data, 'control.db');

// The harness signs in at each start, and has its row for that some time later.
const isOfAChange = (row) => !/^sign-in/.test(row.action ?? '');

// table: the rows as text, in order.
export function dump(server) {
  const db = new DatabaseSync(database(server), {readOnly: true});
  try {
    const tables = db.prepare('SELECT name FROM sqlite_schema WHERE type = \'table\'').all();
    return Object.fromEntries(tables.map(({name}) => [name,
      db.prepare(`SELECT * FROM "${name}"`).all().filter(isOfAChange).map((row) => JSON.stringify(row, (_, value) =>
        value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value)).sort()]));
  } finally {
    db.close();
  }
}

// {table: [rows gone, rows new]} where something differs.
export function difference(before, after) {
  const result = {};
  for (const table of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const was = new Set(before[table]);
    const is = new Set(after[table]);
    const gone = [...was].filter((row) => !is.has(row)).length;
    const fresh = [...is].filter((row) => !was.has(row)).length;
    if (gone + fresh > 0) {
      result[table] = [gone, fresh];
    }
  }
  return result;
}

// The routes of the table (auth/rights.h) that change something.
export function changingRoutes() {
  const table = readFileSync(path.join(root, 'src/auth/rights.h'), 'utf8');
  return [...table.matchAll(/X\((\w+), "(POST|PATCH|DELETE|PUT)",\s+"([^"]+)"/g)]
    .map(([, , method, where]) => `${method} ${where}`);
}

// Routes whose effect does not lie in the control store, or that have none.
export const elsewhere = new Set(['POST /v1/events', 'POST /api-services/v1/auth/token',
  'POST /v1/destinations/{id}/test', 'POST /v1/destinations/{id}/discard',
  'POST /v1/streaming-rules/preview', 'POST /v1/dead-letters/redrive',
  // Stored in the journal; the test tells the audit log first, as that of a destination does.
  'POST /v1/callbacks', 'POST /v1/callbacks/test',
  // Answered before it is known whether there is such a user, and does nothing without mail.
  'POST /v1/password-resets']);
// Changes by people, whose sessions and links the other list has no place for.
export const byPeople = new Set(['POST /v1/session', 'POST /v1/session/second-factor',
  'DELETE /v1/session', 'DELETE /v1/sessions/{id}', 'PATCH /v1/profile', 'POST /v1/profile/password',
  'POST /v1/profile/totp', 'POST /v1/profile/totp/confirm', 'POST /v1/profile/totp/remove',
  'POST /v1/profile/recovery-codes', 'POST /v1/accounts/{id}/transfer-ownership',
  'POST /v1/links/{token}', 'POST /links/{token}']);


const object = (members) => ({$schema: 'http://json-schema.org/draft-07/schema#', type: 'object',
  properties: Object.fromEntries(members.map((name) => [name, {type: 'integer'}]))});

const scopes = {products: ['Events']};

export const password = 'seven quiet rivers in spring';

// Objects for the changes to work on.
export async function prepare(server, url) {
  await server.secret('first');
  const destination = await server.destination(`${url}/hook`);
  const rule = await server.rule(destination, 'com.example.test');
  const spare = await server.destination(`${url}/spare`);
  const spareRule = await server.rule(spare, 'com.example.spare');
  const lonely = await server.destination(`${url}/lonely`);
  await server.must('POST', '/v1/schemas', {name: 'Thing', document: object(['a']),
    examples: [{a: 1}]});
  await server.must('POST', '/v1/event-types', {name: 'com.example.thing', product: 'P',
    schema: 'Thing'});
  const user = await server.must('POST', '/v1/users', {email: 'first@example.org', role: 'default'});
  await server.request('POST', `/v1/links/${user.invite_url.split('/').at(-1)}`, {
    headers: {'content-type': 'application/json'}, body: JSON.stringify({password})});
  const client = await server.must('POST', '/v1/clients', {name: 'first', locked: false, scopes});
  const invited = await server.must('POST', '/v1/users', {email: 'asked@example.org', role: 'default'});
  return {user, invited, client, gone: client, url, destination, rule, spareRule, lonely, schema: 'Thing', serial: 0};
}

// [route, target, body] of every change, in an order in which all succeed. Each call makes names that
// were not there; deletions come last.
export function changes(server, ids) {
  const n = ++ids.serial;
  const webhook = (name) => ({name: `${name} ${n}`, kind: 'webhook',
    settings: {url: `${ids.url}/other`, headers: {'X-Key': `canary-header-${n}`}}});
  const rule = {name: `rule ${n}`, destination_id: ids.destination.id,
    event_types: [{type: `com.example.n${n}`, schema_version: null}]};
  return [
    ['POST /v1/destinations', '/v1/destinations', webhook('made')],
    ['PATCH /v1/destinations/{id}', `/v1/destinations/${ids.destination.id}`,
      {description: `changed ${n}`, settings: {headers: {'X-Key': `canary-header-b${n}`}}}],
    ['POST /v1/destinations/{id}/signing-secret',
      `/v1/destinations/${ids.destination.id}/signing-secret`, {}],
    ['POST /v1/streaming-rules', '/v1/streaming-rules', rule],
    ['PATCH /v1/streaming-rules/{id}', `/v1/streaming-rules/${ids.rule.id}`, {name: `r ${n}`}],
    ['POST /v1/secrets', '/v1/secrets', {Name: `secret ${n}`}],
    ['PATCH /v1/secrets/{id}', () => `/v1/secrets/${ids.pending.id}`, {Status: 'active'}],
    ['POST /v1/schemas', '/v1/schemas', {name: `Thing${n}`, document: object(['a']),
      examples: [{a: 2}]}],
    ['POST /v1/schemas/{name}/versions', () => `/v1/schemas/${ids.schema}/versions`,
      {document: object(['a', `c${n}`]), examples: [{a: 1}]}],
    ['POST /v1/event-types', '/v1/event-types', {name: `com.example.t${n}`, product: 'P',
      schema: 'Thing'}],
    ['PATCH /v1/event-types/{type}', '/v1/event-types/com.example.thing',
      {description: `changed ${n}`}],
    ['PATCH /v1/accounts/{id}', `/v1/accounts/${server.account_id}`,
      {settings: {validate: n % 2 === 0 ? 'off' : 'warn'}}],
    ['POST /v1/users', '/v1/users', {email: `user${n}@example.org`, role: 'developer'}],
    ['PATCH /v1/users/{id}', () => `/v1/users/${ids.user.id}`, {name: `name ${n}`}],
    ['POST /v1/users/{id}/invite', () => `/v1/users/${ids.invited.id}/invite`],
    ['POST /v1/users/{id}/reset-link', () => `/v1/users/${ids.user.id}/reset-link`],
    ['POST /v1/portal-links', '/v1/portal-links', {role: 'default'}],
    ['DELETE /v1/users/{id}', () => `/v1/users/${ids.invited.id}`],
    ['POST /v1/clients', '/v1/clients', {name: `client ${n}`, locked: false, scopes}],
    ['PATCH /v1/clients/{client_id}', () => `/v1/clients/${ids.client.client_id}`,
      {name: `client again ${n}`}],
    ['POST /v1/clients/{client_id}/rotate-secret',
      () => `/v1/clients/${ids.client.client_id}/rotate-secret`, {}],
    ['POST /v1/clients/{client_id}/revoke-tokens',
      () => `/v1/clients/${ids.client.client_id}/revoke-tokens`, {}],
    ['DELETE /v1/clients/{client_id}', () => `/v1/clients/${ids.gone.client_id}`],
    ['POST /v1/accounts', '/v1/accounts', {friendly_name: `child ${n}`}],
    ['DELETE /v1/streaming-rules/{id}', () => `/v1/streaming-rules/${ids.spareRule.id}`],
    ['DELETE /v1/destinations/{id}', () => `/v1/destinations/${ids.lonely.id}`],
    ['POST /v1/signing-keys/rotate', '/v1/signing-keys/rotate', {revoke: true}],
  ];
}

// What the answers to creations are called that later changes of the list work on.
const used = {'POST /v1/secrets': 'pending', 'POST /v1/destinations': 'lonely',
  'POST /v1/streaming-rules': 'spareRule', 'POST /v1/users': 'invited',
  'POST /v1/clients': 'gone'};

// Sends one of the changes, under a key of its own where it is a creation.
export async function change(server, ids, [route, target, body], key) {
  const method = route.split(' ')[0];
  const answer = await server.api(method, typeof target === 'function' ? target() : target, body,
    method === 'POST' ? {'idempotency-key': `${key} ${route}`} : {});
  if (answer.status < 300 && used[route]) {
    ids[used[route]] = answer.body;
  } else if (answer.status < 300 && route === 'POST /v1/schemas') {
    ids.schema = body.name;
  } else if (answer.status < 300 && route === 'POST /v1/signing-keys/rotate') {
    await server.signIn(); // all tokens ended with the old keys
  }
  return answer;
}
