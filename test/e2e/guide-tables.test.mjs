// The tables of docs/guides as their readers read them: each row is an example, and is run. A table is
// known by the words of its head; a cell holds one example per code span. So that a table is whole,
// what the program knows (it names all in a refusal) is looked for in it.
import assert from 'node:assert/strict';
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {after, before, describe, test} from 'node:test';
import {folder, millrace, remove, root} from './harness.mjs';

let dir;
before(() => { dir = folder('tables'); });
after(() => remove(dir));

const page = (name) => readFileSync(path.join(root, 'docs/guides', name), 'utf8');

// The rows of all tables of a page that have this head: each an array of cells.
function rows(name, ...head) {
  const found = [];
  let inside = false;
  for (const line of page(name).split('\n')) {
    const cells = line.startsWith('|')
      ? line.slice(1, -1).split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|')) : null;
    if (!cells) {
      inside = false;
    } else if (cells.join('|') === head.join('|')) {
      inside = true;
    } else if (inside && !/^-+$/.test(cells[0])) {
      found.push(cells);
    }
  }
  assert.ok(found.length > 0, `${name} has no table | ${head.join(' | ')} |`);
  return found;
}

// The examples of a cell; the word nothing is one too, as null.
const spans = (cell) => [...cell.matchAll(/`([^`]+)`|\bnothing\b/g)].map(([, code]) => code ?? null);
const only = (cell) => {
  const [first, ...more] = spans(cell);
  assert.deepEqual(more, [], `more than one example: ${cell}`);
  return first;
};

let files = 0;
function file(text) {
  const name = path.join(dir, `${files++}.json`);
  writeFileSync(name, text);
  return name;
}

// The fenced block of a guide that is a file of this name.
const block = (guide, name) =>
  new RegExp(`^\`\`\`\\w+ file=${name}\n(.*?)^\`\`\`$`, 'ms').exec(page(guide))[1];

describe('write-a-filter.md', () => {
  const guide = 'write-a-filter.md';

  test('patterns: every alternative takes what its row says', () => {
    for (const [what, alternatives, takes, leaves] of
      rows(guide, 'operator', 'alternatives of x', 'takes', 'does not take')) {
      const pattern = file(`{"data": {"x": ${only(alternatives)}}}`);
      const cases = [...spans(takes).map((x) => [x, true]), ...spans(leaves).map((x) => [x, false])];
      assert.ok(cases.length >= 2, what);
      const events = file(cases.map(([x]) => '{"specversion": "1.0", "id": "1", "source": "/s", '
        + `"type": "t", "data": {${x === null ? '' : `"x": ${x}`}}}\n`).join(''));
      const told = millrace(['filter', 'test', '--pattern', pattern, '--json', events]);
      assert.deepEqual(told.stdout.trim().split('\n').map((line) => JSON.parse(line).matches),
        cases.map(([, matches]) => matches), `${what}: ${told.stderr}`);
    }
  });

  test('patterns: the table has every operator', () => {
    const named = rows(guide, 'operator', 'alternatives of x', 'takes', 'does not take')
      .map(([operator]) => spans(operator).join(' '));
    const refused = (text) => {
      const told = millrace(['filter', 'test', '--pattern', file(text), file('{}')]);
      assert.equal(told.status, 2);
      return /expected (.*)/.exec(told.stderr)[1].split(/, | or /);
    };
    const operators = refused('{"data": {"x": [{"none": 1}]}}');
    const negated = refused('{"data": {"x": [{"anything-but": {"none": 1}}]}}');
    assert.ok(operators.length >= 8 && negated.length >= 4);
    for (const one of [...operators, ...negated.map((each) => `anything-but ${each}`)]) {
      assert.ok(named.includes(one), `${one} has no row`);
    }
  });

  const evaluate = (expression) => {
    const told = millrace(['filter', 'test', '--cesql', expression, '--json', file(block(guide,
      'reading.json'))]);
    assert.ok(told.status < 2, `${expression}: ${told.stderr}`);
    return JSON.parse(told.stdout);
  };

  test('CloudEvents SQL: every expression has the value of its row', () => {
    for (const [what, expression, value] of rows(guide, 'what', 'expression', 'value')) {
      const told = evaluate(only(expression));
      assert.deepEqual([told.value, told.errors], [JSON.parse(only(value)), []], what);
      assert.equal(told.matches, told.value === true);
    }
  });

  test('CloudEvents SQL: every error is of the kind of its row, and does not match', () => {
    for (const [why, expression, value, kind] of rows(guide, 'why', 'expression', 'value', 'error')) {
      const told = evaluate(only(expression));
      assert.deepEqual([told.value, told.errors.map((error) => error.kind), told.matches],
        [JSON.parse(only(value)), [only(kind)], false], why);
    }
  });

  test('CloudEvents SQL: the table has every operator and function', () => {
    const named = rows(guide, 'what', 'expression', 'value')
      .flatMap(([what]) => [...spans(what), what]);
    const told = millrace(['filter', 'test', '--cesql', 'NONE()', file('{}')]);
    const functions = /one of the functions (.*)/.exec(told.stderr)[1].split(', ');
    assert.ok(functions.length >= 15, told.stderr);
    for (const one of [...functions, 'AND', 'OR', 'XOR', 'NOT', '=', '!=', '<>', '<', '<=', '>', '>=',
      '+', '-', '`-` before a value', '*', '/', '%', 'LIKE', 'NOT LIKE', 'IN', 'NOT IN', 'EXISTS']) {
      assert.ok(named.includes(one), `${one} has no row`);
    }
  });
});

describe('publish-a-schema-version.md', () => {
  const guide = 'publish-a-schema-version.md';
  const check = (schema, ...values) => {
    const told = millrace(['schema', 'check', '--json', '--schema', file(schema),
      ...values.map((value) => file(value))]);
    return {...told, ...JSON.parse(told.stdout)};
  };
  // A row: each valid value is valid by the schema, each other one is not.
  const judge = (what, schema, valid, wrong) => {
    const cases = [...spans(valid).map((x) => [x, true]), ...spans(wrong).map((x) => [x, false])];
    const told = check(schema, ...cases.map(([x]) => x));
    assert.deepEqual([told.ignored, told.instances?.map((one) => one.valid)],
      [[], cases.map(([, is]) => is)], `${what}: ${told.stdout}`);
    assert.ok(valid && wrong, what);
  };

  test('keywords: every row takes and refuses what it says', () => {
    for (const [what, schema, valid, wrong] of rows(guide, 'keyword', 'schema', 'valid', 'not valid')) {
      judge(what, only(schema), valid, wrong);
    }
  });

  test('keywords that only tell something take everything, those unknown are named', () => {
    const values = ['1', '"a"', '{"a": [null]}', 'true'];
    for (const [what, schema] of rows(guide, 'keyword', 'schema')) {
      const told = check(only(schema), ...values);
      assert.deepEqual([told.status, told.ignored], [0, []], what);
    }
    for (const [what, schema] of rows(guide, 'what', 'schema')) {
      const told = check(only(schema), ...values);
      assert.deepEqual([told.status, told.ignored], [0, [`/${Object.keys(JSON.parse(only(schema)))[0]}`]],
        what);
    }
  });

  test('keywords: the tables have every one of draft-07', () => {
    const meta = JSON.parse(readFileSync(path.join(root, 'data/json-schema/draft-07.json'), 'utf8'));
    const named = [...rows(guide, 'keyword', 'schema', 'valid', 'not valid'),
      ...rows(guide, 'keyword', 'schema')].flatMap(([keywords]) => spans(keywords));
    for (const keyword of Object.keys(meta.properties)) {
      assert.ok(named.includes(keyword), `${keyword} has no row`);
    }
  });

  test('formats: every row takes and refuses what it says, and every one has a row', () => {
    const found = rows(guide, 'format', 'valid', 'not valid');
    for (const [format, valid, wrong] of found) {
      judge(format, `{"format": "${only(format)}"}`, valid, wrong);
    }
    const source = readFileSync(path.join(root, 'src/schema/format.c'), 'utf8');
    const known = [...source.matchAll(/^ +\{"([a-z0-9-]+)", \w+, "/gm)].map(([, name]) => name);
    assert.ok(known.length >= 12);
    assert.deepEqual(found.map(([format]) => only(format)).sort(), known.sort());
  });

  test('patterns: every row matches what it says', () => {
    for (const [what, pattern, matches, fails] of
      rows(guide, 'what', 'pattern', 'matches', 'does not match')) {
      judge(what, JSON.stringify({pattern: only(pattern)}), matches, fails);
    }
  });

  test('patterns: what is refused says what was expected', () => {
    for (const [pattern, expected] of rows(guide, 'pattern', 'refused: expected')) {
      const told = check(JSON.stringify({pattern: only(pattern)}));
      assert.deepEqual([told.status, told.refused.pointer], [2, '/pattern'], pattern);
      assert.ok(told.refused.expected.includes(only(expected)), `${pattern}: ${told.stdout}`);
    }
  });
});
