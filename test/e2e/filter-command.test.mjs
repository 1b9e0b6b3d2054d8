// `millrace filter test`: exit codes, what it prints, and that it reads events as the server does.
import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {after, test} from 'node:test';
import {binary} from './harness.mjs';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'millrace-filter-'));
after(() => fs.rmSync(dir, {recursive: true}));

const file = (name, text) => {
  fs.writeFileSync(path.join(dir, name), text);
  return path.join(dir, name);
};
const envelope = (members) => JSON.stringify({specversion: '1.0', id: 'a', source: '/s', type: 't', ...members});
const lines = file('lines', `${envelope({n: 10, subject: 'x'})}\n\n${envelope({id: 'b', data: {k: 1}})}\n`);
const one = file('one', envelope({n: 10, yes: true}));

function run(...args) {
  const {status, stdout, stderr} = spawnSync(binary, ['filter', ...args], {encoding: 'utf8'});
  return {status, stdout, stderr};
}

test('an expression is tried on every event of every file', () => {
  const all = run('test', '--cesql', "EXISTS id AND source = '/s'", lines, one);
  assert.deepEqual(all, {status: 0, stderr: '', stdout:
    `${lines}:1: matches\n${lines}:3: matches\n${one}: matches\n`});
  const some = run('test', '--cesql', 'n = 10', lines);
  assert.equal(some.status, 1);
  assert.equal(some.stdout, `${lines}:1: matches\n${lines}:3: does not match: ` +
    'line 1, column 1: the event has no attribute n\n');
});

test('--json tells value, type and errors', () => {
  const {status, stdout} = run('test', '--json', '--cesql', 'n + yes', lines, one);
  assert.equal(status, 1);
  assert.deepEqual(stdout.trimEnd().split('\n').map((line) => JSON.parse(line)), [
    {event: lines, line: 1, matches: false, value: 0, type: 'Integer', errors: [
      {kind: 'missing_attribute', message: 'line 1, column 5: the event has no attribute yes'}]},
    {event: lines, line: 3, matches: false, value: 0, type: 'Integer', errors: [
      {kind: 'missing_attribute', message: 'line 1, column 1: the event has no attribute n'},
      {kind: 'missing_attribute', message: 'line 1, column 5: the event has no attribute yes'}]},
    {event: one, line: null, matches: false, value: 11, type: 'Integer', errors: []},
  ]);
});

test('a pattern sees data too', () => {
  const pattern = file('pattern', '{"data":{"k":[1]}}');
  const {status, stdout} = run('test', '--pattern', pattern, lines);
  assert.equal(status, 1);
  assert.match(stdout, /:1: does not match: .*\n.*:3: matches\n$/);
});

test('what is wrong ends with 2 and says where', () => {
  const refused = run('test', '--cesql', 'id =', one);
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /refused at line 1, column 5: expected a value/);
  const pattern = run('test', '--pattern', file('bad', '{"id":"a"}'), one);
  assert.equal(pattern.status, 2);
  assert.match(pattern.stderr, /refused at "\/id": expected /);
  const event = run('test', '--cesql', 'true', file('wrong', `${envelope({})}\n${envelope({id: 5})}\n`));
  assert.equal(event.status, 2);
  assert.match(event.stderr, /wrong:2: \/id: /);
  assert.equal(run('test', '--cesql', 'true', path.join(dir, 'nosuch')).status, 2);
  for (const args of [[], ['test'], ['test', one], ['test', '--cesql', 'true'],
    ['test', '--cesql', 'true', '--pattern', pattern, one]]) {
    assert.match(run(...args).stderr, /usage: millrace filter test/);
  }
});
