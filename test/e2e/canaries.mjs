// Every secret that a test makes or is given is noted here, and searched for where none may stand:
// later answers, logs, metrics, files. A secret is found in any of the forms in which programs write
// bytes: as it is, hex, base64 (at any offset), base64url, percent-encoded, JSON-escaped; and what
// it encodes itself (hex, base32, base64) is searched for as well.
//
// What is found is told by its kind and place, never by its value.
import {readFileSync, readdirSync, statSync} from 'node:fs';
import path from 'node:path';

// Larger bodies are not taken apart.
const BODY_MAX = 1 << 20;
// Shorter ones stand in texts by chance.
const LENGTH_MIN = 8;
// Nor is "AAAAAAAA", or an e-mail that a test gives for a password, a secret.
const DISTINCT_MIN = 6;
const email = /^[^\s@]+@[^\s@]+\.[a-z]+$/;
const isTelling = (bytes) => new Set(bytes).size >= DISTINCT_MIN;
// Of a long secret its beginning: a place that holds half of it is one too many.
const LENGTH_SEARCHED = 32;

// Members and form fields that are secrets, in calls and answers. `code` is left out: six digits.
const members = {
  access_token: 'access token', client_secret: 'client secret', secret: 'secret',
  password: 'password', new_password: 'password', old_password: 'password',
  current_password: 'password', signing_secret: 'signing secret', csrf_token: 'CSRF token',
  recovery_codes: 'recovery code', recovery_code: 'recovery code', ticket: 'ticket',
  totp_secret: 'TOTP seed', seed: 'TOTP seed', otpauth_url: 'TOTP seed', uri: 'TOTP seed',
  link: 'link token', url: 'link token', invite_url: 'link token', reset_url: 'link token',
  client_key_pem: 'client key', smtp_password: 'SMTP password'};
const masked = '[redacted]';

// The part of a secret that is nobody else's.
function heart(kind, text) {
  if (kind === 'link token') {
    return /\/links\/([\w.~-]{16,})/.exec(text)?.[1];
  }
  if (kind === 'TOTP seed') {
    return /^otpauth:.*[?&]secret=([A-Z2-7]+)/.exec(text)?.[1] ?? /^[A-Z2-7]{16,}$/.exec(text)?.[0];
  }
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    // Its first line says only what kind of key it is.
    return text.slice(text.search(/-----BEGIN [A-Z ]*PRIVATE KEY-----/)).split(/\r?\n/)[2];
  }
  // Of a token its signature; what is cut or put together by a test has none, and is none.
  return /^eyJ/.test(text) ? /^[\w-]+\.[\w-]+\.([\w-]{32,})$/.exec(text)?.[1] : text;
}

function base32(text) {
  const bits = [...text].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c)
    .toString(2).padStart(5, '0')).join('');
  return Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
}

// What the text encodes, where it looks like an encoding.
export function decoded(text) {
  const found = [];
  if (/^([0-9a-f]{2}){16,}$/i.test(text)) {
    found.push(Buffer.from(text, 'hex'));
  }
  if (/^[A-Z2-7]{16,}$/.test(text)) {
    found.push(base32(text));
  }
  const base64 = text.replace(/^whsec_/, '');
  if (/^[\w+/-]{32,}=*$/.test(base64)) {
    found.push(Buffer.from(base64, 'base64'));
  }
  return found.filter(isTelling);
}

// Base64 of the bytes wherever they stand in a longer text: at each of the three offsets what does
// not hang on its neighbours.
function base64Anywhere(bytes) {
  return [0, 1, 2].map((offset) => {
    const whole = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64').replace(/=+$/, '');
    return whole.slice(Math.ceil(offset * 8 / 6), Math.floor((offset + bytes.length) * 8 / 6));
  });
}

const percent = (text, keep) => [...Buffer.from(text)].map((byte) =>
  keep.test(String.fromCharCode(byte)) ? String.fromCharCode(byte)
    : `%${byte.toString(16).padStart(2, '0')}`).join('');

function forms(text) {
  const list = [];
  const plain = Buffer.from(text).subarray(0, LENGTH_SEARCHED);
  for (const bytes of [plain, ...decoded(text).map((all) => all.subarray(0, LENGTH_SEARCHED))]) {
    const hex = bytes.toString('hex');
    const base64 = base64Anywhere(bytes);
    list.push(bytes.toString('latin1'), hex, hex.toUpperCase(), ...base64,
      ...base64.map((one) => one.replaceAll('+', '-').replaceAll('/', '_')));
  }
  const short = text.slice(0, LENGTH_SEARCHED);
  for (const keep of [/[\w.~-]/, /[\w.~!*'()-]/, /[\w.*-]/, /[A-Za-z0-9]/]) {
    const lower = percent(short, keep);
    for (const one of [lower, lower.replace(/%[0-9a-f]{2}/g, (code) => code.toUpperCase())]) {
      list.push(one, one.replaceAll('%20', '+'));
    }
  }
  const escaped = JSON.stringify(short).slice(1, -1);
  list.push(...[escaped, escaped.replaceAll('/', '\\/')].map((one) =>
    Buffer.from(one).toString('latin1')),
    escaped.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`));
  return [...new Set(list)].filter((one) => one.length >= LENGTH_MIN);
}

// Many texts at once: by the first four bytes of each, first two of them in a table.
class Needles {
  constructor() {
    this.first = new Uint8Array(65536);
    this.byStart = new Map();
  }

  add(text, kind) {
    const bytes = Buffer.from(text, 'latin1');
    const start = bytes.readUInt32LE(0);
    this.first[bytes.readUInt16LE(0)] = 1;
    this.byStart.set(start, [...this.byStart.get(start) ?? [], {bytes, kind}]);
  }

  // The kinds found.
  in(bytes) {
    const found = new Set();
    const {first, byStart} = this;
    for (let at = 0, end = bytes.length - LENGTH_MIN; at <= end; at++) {
      if (first[bytes[at] | bytes[at + 1] << 8] === 0) {
        continue;
      }
      for (const {bytes: wanted, kind} of byStart.get(bytes.readUInt32LE(at)) ?? []) {
        if (bytes.compare(wanted, 0, wanted.length, at, Math.min(at + wanted.length, bytes.length))
          === 0) {
          found.add(kind);
        }
      }
    }
    return found;
  }
}

const zeroes = Buffer.alloc(1 << 16);

// A segment is filled with zeroes before it is used: those hold nothing.
function withoutEnd(bytes) {
  let end = bytes.length;
  while (end >= zeroes.length && bytes.compare(zeroes, 0, zeroes.length, end - zeroes.length, end)
    === 0) {
    end -= zeroes.length;
  }
  return bytes.subarray(0, end);
}

export class Canaries {
  constructor() {
    this.known = new Map(); // text: kind
    this.needles = new Needles();
    this.violations = [];
  }

  // Another search for the same secrets.
  fresh() {
    return Object.assign(new Canaries(), {known: this.known, needles: this.needles});
  }

  note(kind, value) {
    const text = typeof value === 'string' ? heart(kind, value) : undefined;
    if (text === undefined || text.length < LENGTH_MIN || text === masked || email.test(text)
      || !isTelling(text) || this.known.has(text)) {
      return;
    }
    this.known.set(text, kind);
    for (const form of forms(text)) {
      this.needles.add(form, kind);
    }
  }

  // Notes what a body (JSON or a form) says of secrets.
  noteBody(body, type = '') {
    if ((body?.length ?? 0) > BODY_MAX) {
      return; // made to be large: taking it apart would hold up whoever sends it
    }
    const text = Buffer.isBuffer(body) ? body.toString() : body ?? '';
    if (/x-www-form-urlencoded/.test(type)) {
      this.noteMembers(Object.fromEntries(new URLSearchParams(text)));
    } else if (/json/.test(type) && !/cloudevents/.test(type)) {
      try {
        this.noteMembers(JSON.parse(text));
      } catch {
        // A test of what malformed bodies meet.
      }
    }
  }

  noteMembers(value) {
    if (value === null || typeof value !== 'object') {
      return;
    }
    for (const [name, member] of Object.entries(value)) {
      const isSeed = name === 'secret' && /^otpauth:/.test(value.url ?? '');
      const kind = isSeed ? 'TOTP seed' : members[name.toLowerCase()];
      if (kind !== undefined) {
        [member].flat().forEach((one) => this.note(kind, one));
      }
      if (name === 'headers' && member !== null && typeof member === 'object') {
        Object.values(member).forEach((one) => this.note('extra header', one));
      }
      this.noteMembers(member);
    }
  }

  noteHeaders(headers) {
    for (const [name, value] of Object.entries(headers)) {
      for (const text of [value].flat().map(String)) {
        if (/^cookie$|^set-cookie$/i.test(name)) {
          for (const [, cookie] of text.matchAll(/__Host-millrace=([^;\s]+)/g)) {
            this.note('session cookie', cookie);
          }
        } else if (/^authorization$/i.test(name)) {
          const token = text.replace(/^Bearer +/i, '');
          if (/^eyJ[^.]*\.[^.]+\.[^.]{16}/.test(token)) { // else what it begins with is every one's
            this.note('access token', token);
          }
        } else if (/^x-csrf-token$/i.test(name)) {
          this.note('CSRF token', text);
        }
      }
    }
  }

  // The kinds that stand in these bytes.
  find(bytes) {
    return this.known.size === 0 ? [] : [...this.needles.in(Buffer.from(bytes))];
  }

  // except: kinds that may stand there.
  search(where, bytes, except = []) {
    for (const kind of this.find(bytes)) {
      if (!except.includes(kind)) {
        this.violations.push(`${kind} in ${where}`);
      }
    }
  }

  // An answer to a call: GET of one's own session alone tells something twice.
  searchAnswer(method, target, {headers, text}) {
    const except = method === 'GET' && /^\/v1\/session(\?|$)/.test(target) ? ['CSRF token'] : [];
    this.search(`the answer to ${method} ${target.split('?')[0]}`,
      `${JSON.stringify(headers)}\n${text}`, except);
  }

  // All files below a folder, but those whose path matches except.
  searchFiles(dir, except = /^$/) {
    for (const entry of readdirSync(dir, {withFileTypes: true})) {
      const name = path.join(dir, entry.name);
      if (entry.isDirectory()) {
        this.searchFiles(name, except);
      } else if (entry.isFile() && !except.test(name) && statSync(name).size > 0) {
        this.search(`the file ${entry.name}`, withoutEnd(readFileSync(name)));
      }
    }
  }

  // What was found, once each.
  found() {
    return [...new Set(this.violations)];
  }
}
