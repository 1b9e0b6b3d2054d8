// CloudEvents SQL against the Java SDK: what it makes of thousands of expressions from a seed is what
// we make of them, each operator and function at least a hundred times with each verdict. Where the
// SDK departs from the specification, both are held to what is written down. MR_TEST_SEED sets the
// seed; MR_TEST_CESQL_LINES names our program.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import path from 'node:path';
import {test} from 'node:test';
import {cases, departures, event, kinds} from '../judges/cesql-cases.mjs';
import {root} from './harness.mjs';

const seed = Number(process.env.MR_TEST_SEED ?? 20260);
const ours = process.env.MR_TEST_CESQL_LINES ??
  path.join(root, 'build/release/test/judges/cesql_lines');
const target = path.join(root, 'test/judges/cesql/target');

// Feeds all lines to a program that answers line by line.
function ask(program, args, asked) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {stdio: ['pipe', 'pipe', 'inherit']});
    let out = '';
    child.on('error', reject);
    child.stdin.on('error', reject);
    child.stdout.setEncoding('utf8').on('data', (piece) => { out += piece; });
    child.on('close', (code) => (code === 0 ? resolve(out.trimEnd().split('\n').map(JSON.parse))
      : reject(new Error(`${program} ended with ${code}`))));
    child.stdin.end(asked.map(({expression, event: attributes}) =>
      `${JSON.stringify({expression, event: attributes})}\n`).join(''));
  });
}

// {value, errors: kinds, each once} or {refused}.
function verdict(answer) {
  return answer.refused ? {refused: true}
    : {value: answer.value, errors: [...new Set(answer.errors.map(({kind}) => kind ?? ''))].sort()};
}

async function judge(asked) {
  const [we, they] = await Promise.all([ask(ours, [], asked),
    ask('java', ['-Xshare:auto', '-cp', `${target}/classes:${target}/lib/*`, 'CesqlLines'], asked)]);
  assert.equal(we.length, asked.length);
  assert.equal(they.length, asked.length);
  return asked.map((line, i) => ({...line, answer: we[i], we: verdict(we[i]), they: they[i]}));
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const overflows = ({answer}) =>
  (answer.errors ?? []).some(({message}) => message.includes('beyond 32 bits'));

test(`the Java SDK makes of every expression what we make of it (seed ${seed})`, async () => {
  const judged = await judge(cases(seed, 1100));
  const sound = judged.filter((line) => !overflows(line)); // a departure, see cesql-cases.mjs
  assert.ok(sound.length > judged.length * 0.98, `${judged.length - sound.length} overflow`);
  const differing = sound.filter(({we, they}) => !same(we, they));
  assert.deepEqual(differing.slice(0, 5).map(({expression, we, they}) => ({expression, we, they})), [],
    `${differing.length} of ${sound.length} differ`);
  const counts = {};
  for (const {kind, they} of sound) {
    assert.ok(!they.refused, kind);
    const came = they.errors.length > 0 ? 'error' : typeof they.value === 'boolean' ? they.value : 'value';
    counts[`${kind}: ${came}`] = (counts[`${kind}: ${came}`] ?? 0) + 1;
  }
  for (const [kind, {type, fails}] of Object.entries(kinds)) {
    for (const came of [...(type === 'boolean' ? [true, false] : ['value']), ...(fails ? ['error'] : [])]) {
      assert.ok(counts[`${kind}: ${came}`] >= 100, `${kind}: ${came} ${counts[`${kind}: ${came}`] ?? 0} times`);
    }
  }
});

test('an expression matches where it is true without errors, and then its key holds', async () => {
  const asked = cases(seed + 1, 300);
  const answers = await ask(ours, [], asked);
  let matching = 0;
  answers.forEach((answer, i) => {
    const {expression} = asked[i];
    assert.equal(answer.matches, answer.value === true && answer.errors.length === 0, expression);
    assert.ok(answer.key_holds || !answer.matches, expression);
    matching += answer.matches ? 1 : 0;
  });
  assert.ok(matching > 1000, `${matching} match`);
});

test('where the SDK departs from the specification, both do what is written down', async () => {
  const judged = await judge(departures.map(([, expression]) => ({expression, event})));
  judged.forEach(({expression, we, they}, i) => {
    const [sentence, , specified, sdk] = departures[i];
    assert.deepEqual(we, specified, `${expression}: ${sentence}`);
    assert.deepEqual(they, sdk, `${expression}: the SDK no longer departs: move it to the cases`);
  });
});

test('the Java SDK refuses what we refuse', async () => {
  const wrong = ['', '(', ')', '()', '1 +', '* 1', '1 2', "'a", '"a', "a LIKE b", 'a LIKE', "LIKE 'a'",
    'a IN', 'a IN ()', 'a IN (1', 'a IN 1', 'EXISTS', 'EXISTS 1', "EXISTS 'a'", 'NOT', 'a NOT', 'a NOT 1',
    'a AND', 'AND a', 'a = = b', 'LENGTH(', "LENGTH('a',)", "LENGTH(,'a')", '2147483648',
    '-2147483649', 'true false', '(1))', 'a_b', 'a = 1 OR', 'IN (1)', "'a' 'b'", 'A_B', '1a(2)'];
  const judged = await judge(wrong.map((expression) => ({expression, event})));
  for (const {expression, we, they} of judged) {
    assert.ok(they.refused, `the SDK takes ${expression}`);
    assert.ok(we.refused, `we take ${expression}`);
  }
});
