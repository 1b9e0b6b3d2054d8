// The scripts of `millrace completion`, asked by the shells themselves; and the manual page, judged
// by mandoc.
import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import path from 'node:path';
import {after, before, describe, test} from 'node:test';
import {folder, millrace, remove} from './harness.mjs';

const isThere = (program) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
let dir;

before(() => {
  dir = folder('completion');
  for (const shell of ['bash', 'zsh', 'fish']) {
    writeFileSync(path.join(dir, shell), millrace(['completion', shell]).stdout);
  }
  writeFileSync(path.join(dir, 'a-file'), '');
});

after(() => remove(dir));

function run(program, args, input) {
  const done = spawnSync(program, args, {cwd: dir, input, encoding: 'utf8', env: {PATH: process.env.PATH,
    HOME: dir}});
  assert.equal(done.status, 0, done.stderr);
  assert.equal(done.stderr, '');
  return done.stdout.trim().split('\n').filter((line) => line !== '');
}

// What is offered for the last word.
const shells = {
  bash: (words) => run('bash', ['--norc', '-c',
    `source ./bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _millrace; printf '%s\\n' "\${COMPREPLY[@]}"`,
    'bash', ...words]),
  // Outside of its line editor zsh has no compadd: it prints what it is given, and the test matches.
  zsh: (words) => run('zsh', ['-f', '-c', `compdef() { : }
    source ./zsh
    compadd() { shift; print -rl -- $@ }
    _describe() { print -rl -- \${\${(P)2}%%:*} }
    _files() { print -rl -- *(N) }
    words=("$@"); CURRENT=$#; _millrace`, 'zsh', ...words])
    .filter((one) => one.startsWith(words.at(-1))),
  fish: (words) => run('fish', ['--no-config', '-c', 'source ./fish; complete -C (string join " " -- $argv)',
    '--', ...words]).map((line) => line.split('\t')[0]),
};

const commands = [...millrace(['reference', 'commands']).stdout.matchAll(/^## (.+)$/gm)]
  .map(([, name]) => name);

for (const [shell, offered] of Object.entries(shells)) {
  describe(shell, {skip: !isThere(shell) && `${shell} is not installed`}, () => {
    test('commands', () => {
      assert.deepEqual(offered(['millrace', '']).sort(), [...commands, 'help'].sort());
      assert.deepEqual(offered(['millrace', 'help', 'exp']), ['export']);
    });
    test('actions of a command', () => {
      assert.deepEqual(offered(['millrace', 'secrets', '']).sort(),
        ['activate', 'create', 'import', 'list', 'rotate', 'update']);
      assert.deepEqual(offered(['millrace', 'completion', 'f']), ['fish']);
      assert.deepEqual(offered(['millrace', 'filter', 't']), ['test']);
    });
    test('options of a form, and no others', () => {
      assert.deepEqual(offered(['millrace', 'secrets', 'rotate', '--']).sort(),
        ['--account', '--name', '--yes']);
      assert.deepEqual(offered(['millrace', 'secrets', 'import', '--']).sort(), ['--data', '--name']);
      assert.deepEqual(offered(['millrace', 'test', '--']).sort(), ['--account', '--event-type', '--json']);
      assert.deepEqual(offered(['millrace', 'serve', '--metrics-']).sort(),
        ['--metrics-listen', '--metrics-token']);
    });
    test('files where files are wanted', () => {
      assert.deepEqual(offered(['millrace', 'apply', 'a-']), ['a-file']);
      assert.deepEqual(offered(['millrace', 'export', '--output', 'a-']), ['a-file']);
      assert.ok(!offered(['millrace', 'tail', '--type', '']).includes('a-file'));
    });
  });
}

test('the manual page is well formed and names every command and form',
  {skip: !isThere('mandoc') && 'mandoc is not installed'}, () => {
    const page = millrace(['reference', 'man']).stdout;
    const lint = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning'], {input: page, encoding: 'utf8'});
    assert.deepEqual(lint.stdout.split('\n').filter((line) => line && !line.includes('missing date')), []);
    const shown = spawnSync('mandoc', ['-T', 'utf8', '-O', 'width=200'], {input: page, encoding: 'utf8'})
      .stdout.replace(/.\x08/g, '');
    for (const name of commands) {
      assert.match(shown, new RegExp(`^   ${name}$`, 'm'), name);
    }
    assert.match(shown, /millrace secrets activate ID$/m);
    assert.match(shown, /MILLRACE_ACCOUNT_ID/);
  });
