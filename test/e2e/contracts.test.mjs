// The judge of contracts is judged: answers that keep them pass, and each way to break one is seen.
import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {checkAnswer, contracts} from './contracts.mjs';

const ACCOUNT = `acct_${'0'.repeat(26)}`;
const SECRET = {id: `whs_${'0'.repeat(26)}`, name: 'n', status: 'active',
  last_modified: '2026-01-01T00:00:00.000Z'};
const PAGE = {count: 1, page_size: 50, page_number: 1, previous_page_url: '', next_page_url: ''};
const account = {id: ACCOUNT, parent_id: ACCOUNT, date_created: '2026-01-01T00:00:00.000Z',
  friendly_name: 'n', status: 'ACTIVE'};
const client = {client_id: `apiclient_${'0'.repeat(26)}`, account_id: ACCOUNT, name: 'n',
  client_owner: 'o@example.com', client_type: 'standard', locked: null,
  date_created: 'Fri, 05 Apr 2024 11:08:14 GMT'};
const error = (status, code) => ({status, code, message: 'm', info: `https://h/errors/${code}`,
  more_info: `https://h/errors/${code}`});
const clients = 40000; // a code of theirs is this and the status
const token = '/api-services/v1/auth/token';

// [method, target, status, body, paths of members that must be there]
const good = [
  ['POST', '/v1/accounts', 200, account, ['id', 'date_created', 'friendly_name', 'status']],
  ['GET', '/v1/accounts?account_id=x', 200, {accounts: [account]}, ['accounts', 'accounts.0.id']],
  ['GET', '/v1/accounts/x', 404, error(404, 20404), ['code', 'status', 'message', 'more_info']],
  ['PATCH', '/v1/accounts/x', 412, error(412, 20412), ['code']],
  ['GET', '/v1/platform_account_mappings', 200,
    {platforms: [{id: ACCOUNT, legacy_account_id: 'AC', platform: 'twilio'}]},
    ['platforms', 'platforms.0.id', 'platforms.0.platform', 'platforms.0.legacy_account_id']],
  ['GET', '/v1/clients', 200, {meta: PAGE, clients: [client]}, ['meta', 'clients', 'meta.count',
    ...Object.keys(client).map((name) => `clients.0.${name}`)]],
  ['GET', '/v1/clients/x', 200, {client}, ['client', 'client.locked']],
  ['POST', '/v1/clients', 201, {...client, message: 'm', client_secret: 'x'.repeat(32),
    date_created: '2026-01-01T00:00:00.000Z'}, ['client_secret', 'message', 'date_created']],
  ['POST', '/v1/clients', 403, error(403, clients + 403), ['code', 'info']],
  ['GET', '/v1/ping', 200, {status: 'ok'}, ['status']],
  ['POST', '/v1/secrets', 201, {...SECRET, secret: 'a'.repeat(64)}, ['secret', 'id', 'name',
    'status', 'last_modified']],
  ['GET', '/v1/secrets', 200, {data: [SECRET], meta_data: PAGE}, ['data', 'meta_data', 'data.0.id',
    ...Object.keys(PAGE).map((name) => `meta_data.${name}`)]],
  ['PATCH', '/v1/secrets/x', 403, error(403, 30010), ['code', 'status', 'message']],
  ['POST', token, 200, {access_token: 'a.b.c', expires_in: 3600, token_type: 'Bearer', scope: ''},
    ['access_token', 'expires_in', 'token_type', 'scope']],
  ['POST', token, 401, {error: 'unauthorized_client',
    error_description: 'Invalid client or Invalid client credentials'}, ['error', 'error_description']],
  ['POST', token, 400, {code: 400, message: 'm', error: 'invalid_request'}, ['code', 'message']],
  ['GET', '/v1/destinations', 404, error(404, 20404), ['code', 'info', 'more_info', 'message']],
];

const cors = {'access-control-allow-origin': '*'};
const check = (method, target, status, body, headers = cors, sent = {}) => checkAnswer(method, target,
  {status, body, headers, text: JSON.stringify(body)}, sent);

// A copy of body in which the member at the path is changed, or gone.
function changed(body, path, value) {
  const copy = structuredClone(body);
  const names = path.split('.');
  const last = names.pop();
  const holder = names.reduce((at, name) => at[name], copy);
  if (value === undefined) {
    delete holder[last];
  } else {
    holder[last] = value;
  }
  return copy;
}

describe('contracts', () => {
  for (const [method, target, status, body, paths] of good) {
    test(`${method} ${target} ${status}`, () => {
      check(method, target, status, body);
      for (const path of paths) {
        assert.throws(() => check(method, target, status, changed(body, path)), path);
        assert.throws(() => check(method, target, status, changed(body, path, {})), `${path}: {}`);
      }
      if (target !== '/v1/destinations') {
        assert.throws(() => check(method, target, 299, body), /not one of the contract/);
      }
      assert.throws(() => check(method, target, status, body, {}), /Allow-Origin/);
      assert.throws(() => check(method, target, status, body,
        {...cors, 'access-control-allow-credentials': 'true'}), /Credentials/);
    });
  }

  test('values that no contract knows, and codes of another family', () => {
    for (const [row, path, value] of [[0, 'status', 'active'], [0, 'id', 'account-1'], [0, 'x', 1],
      [0, 'parent_id', null], [0, 'date_created', 'yesterday'], [4, 'platforms.0.platform', 'acme'],
      [2, 'code', clients + 404], [8, 'code', 20006], [12, 'code', 20006], [7, 'client_secret', 'short'],
      [5, 'clients.0.client_secret', 'x'], [5, 'clients.0.date_created', '2026-01-01T00:00:00Z'],
      [10, 'secret', 'XYZ'], [11, 'data.0.secret', 'a'.repeat(64)], [13, 'expires_in', '3600'],
      [13, 'token_type', 'bearer'], [14, 'error', 'invalid_client'], [2, 'status', 400],
      [2, 'more_info', 'https://h/errors/1']]) {
      const [method, target, status, body] = good[row];
      assert.throws(() => check(method, target, status, changed(body, path, value)), path);
    }
  });

  test('a repeated creation shows no secret, and only then may it', () => {
    const again = {'idempotency-key': 'k'};
    check('POST', '/v1/secrets', 201, SECRET, cors, again);
    assert.throws(() => check('POST', '/v1/secrets', 201, SECRET));
  });

  test('every route of the four documents is there', () => {
    const all = contracts.flatMap((contract) => contract.routes).filter((route) => !route.ours)
      .map((route) => `${route.method} ${route.path}`);
    assert.deepEqual(all.sort(), ['GET /v1/accounts', 'GET /v1/clients', 'GET /v1/clients/{client_id}',
      'GET /v1/ping', 'GET /v1/platform_account_mappings', 'GET /v1/secrets', `OPTIONS ${token}`,
      'PATCH /v1/secrets/{id}', 'POST /v1/accounts', 'POST /v1/clients', 'POST /v1/secrets',
      `POST ${token}`].sort());
  });
});
