// The guides as their readers follow them: every fenced block of docs/guides is run, as it stands,
// in one terminal and one folder. What a block is says the word behind its language:
//   sh set       exports that name addresses; 127.0.0.1:PORT is the one thing that is replaced
//   sh run       run by bash, in order; the first command that fails ends the guide
//   sh run last  only at the end of a guide that is followed for its own sake
//   … file=NAME  the content of a file
//   … needs=P    left out, and said so, where the program P is not installed
//   … output     what the block before has printed; … stands for anything within a line
// `<!-- rig: aws -->` asks for the rig of test/e2e/aws; `<!-- after: GUIDE -->` names the guide that comes before. The README is run in the same way, but
// its plain blocks are not. And the reference pages and the table of rooms are current.
import assert from 'node:assert/strict';
import {spawn, spawnSync} from 'node:child_process';
import {existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import {describe, test} from 'node:test';
import {binary, folder, millrace, remove, root} from './harness.mjs';

const slow = Number(process.env.MR_TEST_SLOW ?? 1);
const patience = 120000 * slow;
const guides = path.join(root, 'docs/guides');
const mark = '\u001e';

// The fenced blocks of a page: {language, words, text, line}.
function blocks(file) {
  const found = [];
  let open = null;
  readFileSync(file, 'utf8').split('\n').forEach((line, at) => {
    const fence = /^```(.*)$/.exec(line);
    if (open && line === '```') {
      found.push(open);
      open = null;
    } else if (open) {
      open.text += `${line}\n`;
    } else if (fence) {
      const [language, ...words] = fence[1].split(' ');
      open = {language, words, text: '', line: at + 1, file};
    }
  });
  assert.equal(open, null, `${file}: a block is not closed`);
  return found;
}

const word = (block, name) => block.words.find((one) => one.startsWith(`${name}=`))
  ?.slice(name.length + 1);

const place = (block) => `${path.relative(root, block.file)}:${block.line}`;

// Everything that a reader of this guide does, guides before it included.
function followed(file) {
  const before = /<!-- after: (\S+) -->/.exec(readFileSync(file, 'utf8'));
  const earlier = before ? followed(path.join(path.dirname(file), before[1])) : [];
  return [...earlier.filter((block) => !block.words.includes('last')), ...blocks(file)];
}

function isThere(program) {
  return spawnSync('/bin/sh', ['-c', `command -v ${program}`], {env: environment()}).status === 0;
}

// `<!-- rig: aws -->`: AWS on this machine, for the program and for the command line `aws`.
async function startRig(file) {
  if (!/<!-- rig: aws -->/.test(readFileSync(file, 'utf8'))) {
    return {env: {}, check: () => {}, end: () => {}};
  }
  const {Rig} = await import('./aws/rig.mjs');
  const {Iam} = await import('./aws/iam.mjs');
  const rig = await Rig.start({streams: []});
  const iam = await new Iam(rig).listen();
  return {
    env: {MILLRACE_KINESIS_ENDPOINT: rig.kinesis.url, MILLRACE_STS_ENDPOINT: rig.sts.url,
      MILLRACE_ALLOW_HTTP: 'true', MILLRACE_ALLOW_NETWORKS: '127.0.0.0/8',
      AWS_ACCESS_KEY_ID: rig.caller.accessKeyId, AWS_SECRET_ACCESS_KEY: rig.caller.secretAccessKey,
      AWS_ENDPOINT_URL_KINESIS: rig.storeUrl, AWS_ENDPOINT_URL_IAM: iam.url,
      AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null', AWS_PAGER: '',
      AWS_EC2_METADATA_DISABLED: 'true'},
    // What the guide has made is what a stream needs, and no more.
    check() {
      const [[name, policy]] = [...iam.policies];
      assert.deepEqual(policy.Action, ['kinesis:PutRecord', 'kinesis:PutRecords']);
      assert.match(policy.Resource, /:stream\/events$/);
      assert.match(iam.trusts.get(name).Condition.StringEquals['sts:ExternalId'], /^[0-9a-f]{80}$/);
      assert.deepEqual(rig.refusals(), []);
    },
    async end() {
      await iam.close();
      await rig.end();
    },
  };
}

function environment() {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([key]) => !/^(MILLRACE_|RECEIVER)/.test(key)));
  const paths = [path.dirname(binary), path.dirname(process.execPath), env.PATH];
  return {...env, PATH: paths.join(':')};
}

// A port that is free now, below those that the system gives to outgoing connections.
async function freePort() {
  for (;;) {
    const port = 10000 + Math.floor(Math.random() * 20000);
    const server = net.createServer();
    const free = await new Promise((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (free) {
      await new Promise((resolve) => server.close(resolve));
      return port;
    }
  }
}

async function withPorts(block, ports) {
  for (const [address] of block.text.matchAll(/127\.0\.0\.1:\d+/g)) {
    if (!ports.has(address)) {
      ports.set(address, `127.0.0.1:${await freePort()}`);
    }
  }
  return block.text.replace(/127\.0\.0\.1:\d+/g, (address) => ports.get(address));
}

// One shell script of all that is run: each block between two marks on standard output.
async function scriptOf(list, dir, lacking) {
  const ports = new Map();
  let script = 'set -euo pipefail\n';
  for (const [n, block] of list.entries()) {
    const file = word(block, 'file');
    if (lacking.includes(word(block, 'needs'))) {
      continue;
    }
    if (file) {
      assert.match(file, /^[\w.-]+$/);
      const copy = path.join(dir, `.block-${n}`);
      writeFileSync(copy, block.text);
      script += `cp '${copy}' '${file}'\n`;
    } else if (block.language === 'sh' && block.words.length > 0) {
      const text = block.words[0] === 'set' ? await withPorts(block, ports) : block.text;
      script += `printf '${mark}%d\\n' ${n}\n${text}\n`;
    }
  }
  return `${script}printf '${mark}%d\\n' ${list.length}\n`;
}

// Runs it in a process group of its own, which is ended whole. {code, out, err, outputs by block}
async function run(script, dir, more = {}) {
  writeFileSync(path.join(dir, '.script'), script);
  const child = spawn('bash', [path.join(dir, '.script')],
    {cwd: dir, env: {...environment(), ...more}, detached: true, stdio: ['ignore', 'pipe', 'pipe']});
  let out = '';
  let err = '';
  child.stdout.on('data', (bytes) => { out += bytes; });
  child.stderr.on('data', (bytes) => { err += bytes; });
  const timer = setTimeout(() => {
    err += `\nnot over within ${patience} ms`;
    process.kill(-child.pid, 'SIGKILL');
  }, patience);
  const code = await new Promise((resolve) => child.on('exit', resolve));
  clearTimeout(timer);
  try {
    process.kill(-child.pid, 'SIGKILL'); // what the guide has left running
  } catch (error) {
    assert.equal(error.code, 'ESRCH');
  }
  const outputs = new Map(out.split(mark).slice(1).map((part) => {
    const end = part.indexOf('\n');
    return [Number(part.slice(0, end)), part.slice(end + 1)];
  }));
  return {code, err, outputs};
}

function expectation(text) {
  const escaped = text.trim().replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('…', '[^\\n]*');
  return new RegExp(`^${escaped}$`);
}

// What a failed guide has left: its logs.
function logs(dir) {
  return readdirSync(dir).filter((name) => /\.(out|log)$/.test(name)).map((name) =>
    `-- ${name}\n${readFileSync(path.join(dir, name), 'utf8').split('\n').slice(-8).join('\n')}`)
    .join('\n');
}

async function follow(t, file) {
  const list = followed(file);
  const programs = [...new Set(list.map((block) => word(block, 'needs')).filter(Boolean))];
  const lacking = programs.filter((program) => !isThere(program));
  for (const program of lacking) {
    await t.test(`the sample that needs ${program}`, {skip: `${program} is not installed`}, () => {});
  }
  const dir = folder('guide');
  const rig = await startRig(file);
  try {
    const {code, err, outputs} = await run(await scriptOf(list, dir, lacking), dir, rig.env);
    const last = Math.max(...outputs.keys());
    if (last !== list.length || code !== 0) {
      assert.fail(`${place(list[last])} failed (${code}):\n${list[last].text}\n${outputs.get(last)}`
        + `\n-- standard error\n${err.split('\n').slice(-15).join('\n')}\n${logs(dir)}`);
    }
    for (const [n, block] of list.entries()) {
      if (block.words.includes('output') && !lacking.includes(word(list[n - 1], 'needs'))) {
        const shown = outputs.get(n - 1);
        assert.match(shown.trim(), expectation(block.text), `${place(block)}: not what is printed`);
      }
    }
    if (lacking.length === 0) {
      rig.check();
    }
  } finally {
    await rig.end();
    remove(dir);
  }
}

describe('guides', {concurrency: 1}, () => {
  for (const name of readdirSync(guides).filter((one) => one.endsWith('.md')).sort()) {
    const file = path.join(guides, name);
    test(`${name}: every block is run`, () => {
      for (const block of blocks(file)) {
        const known = word(block, 'file') || block.words.includes('output')
          || (block.language === 'sh' && ['run', 'set'].includes(block.words[0]));
        assert.ok(known, `${place(block)}: a block that no test runs`);
      }
    });
    if (followed(file).some((block) => block.language === 'sh')) {
      test(`${name}: works as it stands`, (t) => follow(t, file));
    }
  }
  test('README.md: the tour works as it stands', (t) => follow(t, path.join(root, 'README.md')));
});

// Links between pages lead somewhere.
test('links lead to files', () => {
  const pages = ['docs', 'docs/guides', 'docs/reference'].flatMap((dir) =>
    readdirSync(path.join(root, dir)).filter((one) => one.endsWith('.md'))
      .map((one) => path.join(root, dir, one)));
  for (const page of [...pages, path.join(root, 'README.md')]) {
    for (const [, target] of readFileSync(page, 'utf8').matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (!/^[a-z]+:/.test(target)) {
        assert.doesNotThrow(() => readFileSync(path.resolve(path.dirname(page), target)),
          `${path.relative(root, page)} leads to ${target}`);
      }
    }
  }
});

test('the files that docs/architecture.md names are there', () => {
  const page = readFileSync(path.join(root, 'docs/architecture.md'), 'utf8');
  const tops = ['test', 'tools', 'bench', 'docs'];
  let found = 0;
  for (const [, name] of page.matchAll(/`([a-z0-9_]+\/[a-z0-9_.\/]*[a-z0-9_])[ `]/g)) {
    const top = name.split('/')[0];
    if (tops.includes(top) || existsSync(path.join(root, 'src', top))) {
      const at = path.join(root, tops.includes(top) ? '' : 'src', name);
      assert.ok(['', '.c', '.h'].some((end) => existsSync(at + end)), `${name} is not there`);
      found++;
    }
  }
  assert.ok(found > 30, `${found} names`);
});

test('the reference pages are current', () => {
  const dir = folder('reference');
  try {
    mkdirSync(path.join(dir, 'out'));
    const made = spawnSync('bash', [path.join(root, 'tools/reference'), '--binary', binary,
      '--out', path.join(dir, 'out'), '--man', path.join(dir, 'millrace.1')], {encoding: 'utf8'});
    assert.equal(made.status, 0, made.stderr);
    assert.equal(readFileSync(path.join(root, 'docs/man/millrace.1'), 'utf8'),
      readFileSync(path.join(dir, 'millrace.1'), 'utf8'), 'docs/man/millrace.1 is not current');
    const names = readdirSync(path.join(dir, 'out')).sort();
    const byHand = ['patterns.md', 'versions.md'];
    assert.deepEqual([...names, ...byHand].sort(),
      readdirSync(path.join(root, 'docs/reference')).sort());
    for (const name of names) {
      assert.equal(readFileSync(path.join(root, 'docs/reference', name), 'utf8'),
        readFileSync(path.join(dir, 'out', name), 'utf8'),
        `docs/reference/${name} is not what tools/reference writes`);
    }
  } finally {
    remove(dir);
  }
});

test('every command of the reference is known to the program', () => {
  const page = readFileSync(path.join(root, 'docs/reference/commands.md'), 'utf8');
  const names = [...page.matchAll(/^## (\S+)$/gm)].map(([, name]) => name);
  assert.ok(names.length > 10);
  for (const name of names) {
    const {status, stderr} = millrace([name, '--no-such-option=1']);
    assert.ok(status !== 0 && !stderr.includes('unknown command'), `${name}: ${stderr}`);
  }
});

test('the table of rooms in docs/architecture.md is that of tools/layers', () => {
  const layers = readFileSync(path.join(root, 'tools/layers'), 'utf8');
  const table = /^ROOMS = \{$(.*?)^\}$/ms.exec(layers)[1];
  const rooms = new Map();
  for (const [, room, row] of table.matchAll(/"(\w+)":\s*((?:"[^"]*"\s*)+),/g)) {
    rooms.set(room, row.replace(/"\s*"/g, '').replaceAll('"', '').trim());
  }
  const page = readFileSync(path.join(root, 'docs/architecture.md'), 'utf8').split('## Rooms')[1];
  const shown = new Map([...page.matchAll(/^\| `(\w+)\/` \|[^|]*\| ?([^|]*?) ?\|$/gm)]
    .map(([, room, row]) => [room, row.trim()]));
  assert.ok(rooms.size > 20);
  assert.deepEqual(new Map([...shown].sort()), new Map([...rooms].sort()));
});
