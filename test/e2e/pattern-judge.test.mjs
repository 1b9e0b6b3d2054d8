// Patterns against Amazon's event-ruler: what it makes of thousands of pairs from a seed is what we
// make of them, each operator at least a hundred times with each verdict. MR_TEST_SEED sets the
// seed; MR_TEST_LINES names our program.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import path from 'node:path';
import {test} from 'node:test';
import {cases, operators} from '../judges/pattern-cases.mjs';
import {root} from './harness.mjs';

const seed = Number(process.env.MR_TEST_SEED ?? 20260);
const ours = process.env.MR_TEST_LINES ?? path.join(root, 'build/release/test/judges/filter_lines');
const target = path.join(root, 'test/judges/ruler/target');

// Feeds all pairs to a program that answers line by line.
function ask(program, args, pairs) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {stdio: ['pipe', 'pipe', 'inherit']});
    let out = '';
    child.on('error', reject);
    child.stdin.on('error', reject);
    child.stdout.setEncoding('utf8').on('data', (piece) => { out += piece; });
    child.on('close', (code) => (code === 0 ? resolve(out.trimEnd().split('\n'))
      : reject(new Error(`${program} ended with ${code}`))));
    child.stdin.end(pairs.map(({pattern, event}) => `${JSON.stringify({pattern, event})}\n`)
      .join(''));
  });
}

async function verdicts(pairs) {
  const [we, they] = await Promise.all([ask(ours, [], pairs),
    ask('java', ['-Xshare:auto', '-cp', `${target}/classes:${target}/lib/*`, 'RulerLines'], pairs)]);
  assert.equal(we.length, pairs.length);
  assert.equal(they.length, pairs.length);
  return pairs.map((pair, i) => ({...pair, we: we[i], they: they[i]}));
}

test(`event-ruler gives every pair the verdict that we give (seed ${seed})`, async () => {
  const judged = await verdicts(cases(seed, 500));
  const counts = {};
  for (const {kind, they} of judged) {
    counts[`${kind} ${they}`] = (counts[`${kind} ${they}`] ?? 0) + 1;
  }
  const differing = judged.filter(({we, they}) => we !== they);
  assert.deepEqual(differing.slice(0, 5), [], `${differing.length} differ`);
  for (const kind of [...Object.keys(operators), 'arrays of objects', '$or']) {
    for (const verdict of ['true', 'false']) {
      assert.ok(counts[`${kind} ${verdict}`] >= 100,
        `${kind}: ${verdict} ${counts[`${kind} ${verdict}`] ?? 0} times`);
    }
  }
});

test('event-ruler refuses what we refuse', async () => {
  const wrong = ['{}', '[]', '{"data":{}}', '{"subject":"a"}', '{"subject":[]}', '{"subject":[[1]]}',
    '{"subject":[{}]}', '{"subject":[{"prefix":1}]}', '{"subject":[{"suffix":null}]}',
    '{"subject":[{"prefix":{"suffix":"a"}}]}', '{"subject":[{"prefix":"a","suffix":"b"}]}',
    '{"subject":[{"equals-ignore-case":1}]}', '{"subject":[{"anything-but":[]}]}',
    '{"subject":[{"anything-but":null}]}', '{"subject":[{"anything-but":["a",1]}]}',
    '{"subject":[{"anything-but":[["a"]]}]}', '{"subject":[{"anything-but":{"prefix":""}}]}',
    '{"subject":[{"anything-but":{"exists":true}}]}', '{"subject":[{"numeric":[]}]}',
    '{"subject":[{"numeric":["=="]}]}', '{"subject":[{"numeric":["=","1"]}]}',
    '{"subject":[{"numeric":["<",1,">",0]}]}', '{"subject":[{"numeric":[">",1,"<",0]}]}',
    '{"subject":[{"numeric":[">",1,"<",2,"<",3]}]}', '{"subject":[{"exists":"true"}]}',
    '{"subject":[{"exists":null}]}', '{"subject":[{"cidr":"10.0.0.0"}]}',
    '{"subject":[{"cidr":"10.0.0/8"}]}', '{"subject":[{"cidr":"10.0.0.0/33"}]}',
    '{"subject":[{"cidr":"2001:db8::/129"}]}', '{"subject":[{"cidr":"x/8"}]}',
    '{"subject":[{"wildcard":"a**b"}]}', '{"subject":[{"wildcard":"a\\\\b"}]}',
    '{"subject":[{"wildcard":"a\\\\"}]}', '{"subject":[{"wildcard":5}]}',
    '{"subject":[{"likes":"a"}]}', '{"subject":[1'];
  const judged = await verdicts(wrong.map((pattern) => ({pattern, event: '{"subject":"a"}'})));
  for (const {pattern, we, they} of judged) {
    assert.match(they, /^refused /, `event-ruler takes ${pattern}`);
    assert.match(we, /^refused /, `we take ${pattern}`);
  }
});
