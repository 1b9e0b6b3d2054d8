// Users and browsers for the tests: people put into a data folder, and a client that keeps a cookie
// and sends what a browser on the portal's page would.
import {execFileSync} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {millrace} from './harness.mjs';

// Runs SQL in a folder that is not served; gives the rows.
export function sql(server, text, ...values) {
  const program = `import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA foreign_keys=ON")
print(json.dumps(db.execute(sys.argv[2], json.loads(sys.argv[3])).fetchall()))`;
  return JSON.parse(execFileSync('/usr/bin/python3', ['-c', program,
    path.join(server.data, 'control.db'), text, JSON.stringify(values)], {encoding: 'utf8'}));
}

export function setPassword(server, email, password, more = []) {
  const file = path.join(server.home, `password-${randomBytes(4).toString('hex')}`);
  writeFileSync(file, `${password}\n`, {mode: 0o600});
  return millrace(['users', 'set-password', '--data', server.data, '--email', email,
    '--password-file', file, ...more]);
}

let serial = 0;
// A user with a password, in a folder that is not served; gives the id.
export function addUser(server, email, role, password, {account = 1, products = null} = {}) {
  const id = `user_${String(++serial).padStart(26, '0')}`;
  sql(server, `INSERT INTO users(number, id, account, email, role, status, products, created_ms)
    SELECT coalesce(max(number), 0) + 1, ?, ?, ?, ?, 'ACTIVE', ?, 1 FROM users`,
  id, account, email, role, products && JSON.stringify(products));
  sql(server, `UPDATE numbers SET next = (SELECT max(number) FROM users) + 1 WHERE kind = 'user'`);
  if (password) {
    const set = setPassword(server, email, password,
      ['--account', sql(server, 'SELECT id FROM accounts WHERE number = ?', account)[0][0]]);
    if (set.status !== 0) {
      throw new Error(set.stderr);
    }
  }
  return id;
}

export class Browser {
  constructor(server) {
    this.server = server;
    this.cookie = null;
    this.csrf = null;
  }

  // A call as fetch() of the portal's page makes it; `headers` with null leave one out.
  async call(method, target, body, headers = {}) {
    const all = {'sec-fetch-site': 'same-origin', 'user-agent': 'Test/1.0',
      ...(method === 'GET' ? {} : {origin: this.server.url}),
      ...(this.cookie ? {cookie: `__Host-millrace=${this.cookie}`} : {}),
      ...(this.csrf && method !== 'GET' ? {'x-csrf-token': this.csrf} : {}),
      ...(body === undefined ? {} : {'content-type': 'application/json'}), ...headers};
    const answer = await this.server.request(method, target, {
      body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
      headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null))});
    for (const set of answer.headers['set-cookie'] ?? []) {
      const [, value] = /^__Host-millrace=([^;]*)/.exec(set);
      this.cookie = value === '' ? null : value;
    }
    return answer;
  }

  async signIn(email, password, more = {}) {
    const answer = await this.call('POST', '/v1/session', {email, password, ...more});
    this.csrf = answer.body?.csrf_token ?? null;
    return answer;
  }

  static async open(server, email, password, more) {
    const browser = new Browser(server);
    const answer = await browser.signIn(email, password, more);
    if (answer.status !== 201) {
      throw new Error(`sign-in of ${email}: ${answer.status} ${answer.text}`);
    }
    return browser;
  }
}
