// JSON Schema draft-07 judged by others: thousands of generated pairs of schema and instance, every
// keyword at least 100 times with each verdict, against ajv; where ajv departs from draft-07
// (siblings of $ref mean something to it) or sees doubles only, against Python's jsonschema, which
// reads numbers as Decimal. MR_TEST_SEED sets the seed, which is printed.
import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import path from 'node:path';
import {test} from 'node:test';
import {isDeepStrictEqual} from 'node:util';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import {folder, millrace, remove, root} from './harness.mjs';

const lines = process.env.MR_TEST_SCHEMA_LINES ?? path.join(root, 'build/release/schema_lines');
const python = process.env.MR_TEST_PYTHON ?? path.join(root, '.venv/bin/python');
const seed = Number(process.env.MR_TEST_SEED ?? Date.now() % 1e9);
const PER_VERDICT = 100;

// mulberry32
function generator(state) {
  const next = () => {
    state = (state + 0x6D2B79F5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(next() * n);
  return {below, chance: (p) => next() < p, pick: (list) => list[below(list.length)],
    some: (n, make) => Array.from({length: below(n + 1)}, make)};
}

const strings = ['', 'a', 'b', 'ab', 'abc', 'a\nb', 'é', '💩', '💩💩', '1', 'true', 'foo', 'x y', 'A1', 'ba'];
const names = ['a', 'b', 'c', 'ab', 'foo', 'a/b', 'm~n', '💩'];
const numbers = [0, 1, -1, 2, 3, 5, 10, 0.5, 1.5, 2.5, -2.5, 100, 7, 0.25, 1e3];
const patterns = ['a', '^a', 'b$', '^[a-z]+$', '^.$', '^\\d', '\\w{2}', '^(a|b)*$', '^\\p{L}', '\\s', '^[^a]',
  '^(?!a)', '(.)b', '^\\u{1F4A9}', '\\n', '^$', '[\\d\\s]', '^(?:foo|ab)', '(?<=a)b', 'a{1,2}?b'];
const formats = {
  'date-time': ['2025-11-26T09:11:44Z', '2025-02-29T00:00:00Z', '2024-02-29T23:59:59.5+01:00', '2025-11-26', '2025-13-01T00:00:00Z', '2025-11-26T24:00:00Z'],
  date: ['2024-02-29', '2023-02-29', '2023-1-01', '2023-12-31', '2023-04-31'],
  time: ['09:11:44Z', '23:59:60Z', '09:11:44', '09:11:44.25+02:00', '25:00:00Z', '09:60:00Z'],
  email: ['a@example.com', 'a.b+c@example.com', 'a', '@example.com', 'a@', 'a@b@c', 'a b@example.com'],
  hostname: ['example.com', 'a', '-a.com', 'a-.com', 'a..b', 'xn--a.example', 'a_b.com', `${'a'.repeat(64)}.com`],
  ipv4: ['127.0.0.1', '256.0.0.1', '1.2.3', '1.2.3.4.5', '0.0.0.0', '1.2.3.a'],
  ipv6: ['::1', '::', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7', '::ffff:1.2.3.4', ':::', '12345::', 'g::', '1::2::3', 'fe80::1'],
  uri: ['http://example.com/a?b#c', 'urn:a:b', '/a', 'a', 'http://[::1]:80/', 'http://a b', 'mailto:a@example.com'],
  'uri-reference': ['/a', '#a', '', 'http://example.com', 'a b', '\\a', '//a/b', 'a%zz'],
  'json-pointer': ['', '/a', '/a~0b', '/a~2', 'a', '/~', '/a/0'],
  regex: ['a', '(', '[a-z]+', 'a**', '\\d', '^(a|b)$', '[', '\\Z', '(?=a)'],
  uuid: ['2eb8aa08-aa98-11ea-b4aa-73b441d16380', '2EB8AA08-AA98-11EA-B4AA-73B441D16380', '2eb8aa08', '2eb8aa08-aa98-11ea-b4aa-73b441d1638g', '2eb8aa08aa9811eab4aa73b441d16380'],
};
const all = ['null', 'boolean', 'integer', 'number', 'string', 'array', 'object'];

function values(r) {
  const any = (depth) => {
    switch (r.below(depth > 0 ? 9 : 6)) {
      case 0: return null;
      case 1: return r.chance(0.5);
      case 2: case 3: return r.pick(numbers);
      case 4: case 5: return r.pick(strings);
      case 6: case 7: return object(depth - 1);
      default: return array(depth - 1);
    }
  };
  const array = (depth) => r.some(4, () => any(depth));
  const object = (depth) => Object.fromEntries(r.some(4, () => [r.pick(names), any(depth)]));
  return {any, array, object};
}

const unique = (list) => [...new Set(list)];
// ajv wants the values of enum all different, which draft-07 only advises.
const different = (list) => list.filter((one, i) => !list.slice(0, i).some((other) => isDeepStrictEqual(one, other)));

// One schema that uses `keyword`, with what else it needs; and what to try on it.
function makers(r) {
  const {any, array, object} = values(r);
  const number = () => r.pick(numbers);
  const string = () => r.pick(strings);
  const small = () => r.below(4);
  const leaf = () => r.pick([
    () => true, () => false, () => ({}), () => ({type: r.pick(all)}), () => ({minimum: r.pick(numbers)}),
    () => ({const: any(1)}), () => ({minLength: small()}), () => ({pattern: r.pick(patterns)}),
    () => ({enum: different([any(0), any(0), any(0)])}), () => ({maxItems: small()}),
  ])();
  const schema = (depth = 1) => depth === 0 || r.chance(0.6) ? leaf() : {
    ...leaf2(), ...(r.chance(0.3) ? {type: r.pick(all)} : {}),
    ...r.pick([() => ({not: leaf()}), () => ({anyOf: [leaf(), leaf()]}), () => ({items: leaf()}),
      () => ({properties: {a: leaf(), b: leaf()}}), () => ({required: [r.pick(names)]})])()};
  const leaf2 = () => { const s = leaf(); return typeof s === 'boolean' ? {} : s; };
  const list = () => [schema(), ...r.some(2, schema)];
  const map = (keys) => Object.fromEntries([[r.pick(keys), schema()], ...r.some(2, () => [r.pick(keys), schema()])]);
  const keys = () => unique([r.pick(names), ...r.some(2, () => r.pick(names))]);
  const of = (make, ...tries) => ({make, instance: () => r.chance(0.8) ? r.pick(tries)() : any(2)});
  const inNumbers = (keyword) => of(() => ({[keyword]: number()}), number);
  const table = {
    type: of(() => ({type: r.chance(0.5) ? r.pick(all) : unique([r.pick(all), r.pick(all)])}), () => any(1)),
    enum: of(() => ({enum: different([any(1), ...r.some(4, () => any(1))])}), () => any(1)),
    const: of(() => ({const: r.pick([0, 1, 'a', null, true, [], {}, [1], {a: 1}])}),
      () => r.pick([0, 1, 'a', null, true, [], {}, [1], {a: 1}])),
    multipleOf: of(() => ({multipleOf: r.pick([1, 2, 0.5, 3, 0.25, 5])}), number),
    maximum: inNumbers('maximum'), minimum: inNumbers('minimum'),
    exclusiveMaximum: inNumbers('exclusiveMaximum'), exclusiveMinimum: inNumbers('exclusiveMinimum'),
    maxLength: of(() => ({maxLength: small()}), string),
    minLength: of(() => ({minLength: small()}), string),
    pattern: of(() => ({pattern: r.pick(patterns)}), string),
    items: of(() => ({items: r.chance(0.5) ? schema() : list()}), () => array(1)),
    additionalItems: of(() => ({items: list(), additionalItems: schema()}), () => array(1)),
    maxItems: of(() => ({maxItems: small()}), () => array(0)),
    minItems: of(() => ({minItems: small()}), () => array(0)),
    uniqueItems: of(() => ({uniqueItems: r.chance(0.9)}), () => r.some(4, () => r.pick([0, 1, '1', true, [1], [1], {a: 1, b: 2}, {b: 2, a: 1}]))),
    contains: of(() => ({contains: schema()}), () => array(1)),
    maxProperties: of(() => ({maxProperties: small()}), () => object(0)),
    minProperties: of(() => ({minProperties: small()}), () => object(0)),
    required: of(() => ({required: keys()}), () => object(0)),
    properties: of(() => ({properties: map(names)}), () => object(1)),
    patternProperties: of(() => ({patternProperties: map(patterns)}), () => object(1)),
    additionalProperties: of(() => ({...(r.chance(0.6) ? {properties: map(names)} : {}), ...(r.chance(0.4) ? {patternProperties: map(patterns)} : {}), additionalProperties: schema()}), () => object(1)),
    dependencies: of(() => ({dependencies: Object.fromEntries(keys().map((key) => [key, r.chance(0.5) ? keys() : schema()]))}), () => object(1)),
    propertyNames: of(() => ({propertyNames: r.pick([{pattern: r.pick(patterns)}, {maxLength: small()}, {enum: keys()}, {minLength: small()}, false])}), () => object(0)),
    allOf: of(() => ({allOf: list()}), () => any(1)),
    anyOf: of(() => ({anyOf: list()}), () => any(1)),
    oneOf: of(() => ({oneOf: list()}), () => any(1)),
    not: of(() => ({not: schema()}), () => any(1)),
    if: of(() => ({if: schema(), ...(r.chance(0.8) ? {then: schema()} : {}), ...(r.chance(0.8) ? {else: schema()} : {})}), () => any(1)),
    $ref: of(() => ({definitions: {'a/b': schema(), c: {$id: '#c', ...leaf2()}, d: {properties: {a: {$ref: '#'}, b: {$ref: '#c'}}}},
      allOf: [{$ref: r.pick(['#/definitions/a~1b', '#c', '#/definitions/c', '#/definitions/d'])}]}), () => any(2)),
    $id: of(() => ({$id: 'http://example.com/root.json', definitions: {x: {$id: 'sub/x.json', definitions: {y: schema()}, items: {$ref: '#/definitions/y'}}},
      properties: {a: {$ref: 'sub/x.json'}, b: {$ref: 'http://example.com/sub/x.json#/definitions/y'}}}), () => ({a: r.chance(0.7) ? array(1) : any(1), b: any(1)})),
    // Without enum: draft-07's own schema takes an empty one, ajv's copy of it does not.
    meta: of(() => ({$ref: 'http://json-schema.org/draft-07/schema#'}),
      () => ({[r.pick(['type', 'minLength', 'required', 'items', 'not', 'pattern'])]: any(1)}), schema),
  };
  // Then and else are seen at work where the condition leads to them.
  table.then = of(() => ({if: true, then: schema()}), () => any(1));
  table.else = of(() => ({if: false, else: schema()}), () => any(1));
  for (const [format, texts] of Object.entries(formats)) {
    table[`format ${format}`] = of(() => ({format}), () => r.pick(texts));
  }
  table.boolean = of(() => r.chance(0.5), () => any(1));
  table.mixed = of(() => ({...leaf2(), ...leaf2(), properties: map(names), additionalProperties: schema(), allOf: list(), if: schema(), then: schema()}), () => any(2));
  return table;
}

// Feeds schema_lines; answers, one per line.
function judgeOurs(inputs) {
  const done = spawnSync(lines, [], {input: `${inputs.join('\n')}\n`, encoding: 'utf8', maxBuffer: 1 << 28});
  assert.equal(done.status, 0, done.stderr);
  return done.stdout.trimEnd().split('\n');
}

function newAjv() {
  const ajv = new Ajv({strict: false, allErrors: false, unicodeRegExp: true, logger: false, validateFormats: true});
  addFormats(ajv);
  ajv.addFormat('regex', (text) => { // its own reads without the flag u and takes \Z
    try {
      return Boolean(new RegExp(text, 'u'));
    } catch {
      return false;
    }
  });
  return ajv;
}

test('ajv gives the same verdict on thousands of pairs', () => {
  console.log(`# seed ${seed}`);
  const r = generator(seed);
  const counts = {};
  const differ = [];
  let pairs = 0;
  for (let round = 0; round < 40; round++) {
    const batch = [];
    for (const [keyword, maker] of Object.entries(makers(r))) {
      const count = (counts[keyword] ??= [0, 0]);
      for (let i = 0; i < 25 && (round < 6 || Math.min(...count) < PER_VERDICT); i++) {
        batch.push({keyword, schema: maker.make(), instances: Array.from({length: 6}, maker.instance)});
      }
    }
    if (batch.length === 0) {
      break;
    }
    const answers = judgeOurs(batch.map(({schema, instances}) => JSON.stringify({schema, instances})));
    batch.forEach(({keyword, schema, instances}, i) => {
      const validate = newAjvCached(schema);
      instances.forEach((instance, k) => {
        const expected = validate(instance);
        counts[keyword][Number(expected)]++;
        pairs++;
        if (answers[i][k] !== (expected ? '1' : '0')) {
          differ.push(JSON.stringify({keyword, schema, instance, ajv: expected, ours: answers[i]}));
        }
      });
    });
  }
  console.log(`# ${pairs} pairs`);
  assert.deepEqual(differ.slice(0, 20), [], `${differ.length} of ${pairs} differ, seed ${seed}`);
  for (const [keyword, [invalid, valid]] of Object.entries(counts)) {
    assert.ok(invalid >= PER_VERDICT && valid >= PER_VERDICT, `${keyword}: ${invalid} invalid, ${valid} valid`);
  }
});

let shared;
// One ajv for all schemas without a name of their own; those with one get a fresh one.
function newAjvCached(schema) {
  if (typeof schema === 'object' && schema.$id) {
    return newAjv().compile(schema);
  }
  shared ??= newAjv();
  const validate = shared.compile(schema);
  return validate;
}

// Where ajv cannot judge: numbers as texts, siblings of $ref.
const judge = `
import sys, json
from decimal import Decimal, getcontext
import decimal
getcontext().prec = 2000
getcontext().traps[decimal.Inexact] = True
from jsonschema import Draft7Validator
from jsonschema.validators import extend
types = Draft7Validator.TYPE_CHECKER.redefine_many({
  'number': lambda c, v: isinstance(v, (int, Decimal)) and not isinstance(v, bool),
  'integer': lambda c, v: (isinstance(v, int) and not isinstance(v, bool)) or (isinstance(v, Decimal) and v == v.to_integral_value()),
})
def multiple(validator, by, instance, schema):
    if validator.is_type(instance, 'number') and Decimal(instance) % Decimal(by) != 0:
        from jsonschema import ValidationError
        yield ValidationError('not a multiple')
V = extend(Draft7Validator, validators={'multipleOf': multiple}, type_checker=types)
for line in sys.stdin:
    row = json.loads(line, parse_float=Decimal)
    v = V(row['schema'])
    print(''.join('1' if v.is_valid(i) else '0' for i in row['instances']), flush=True)
`;

test('jsonschema gives the same verdict on numbers beyond doubles and siblings of $ref', () => {
  console.log(`# seed ${seed}`);
  const r = generator(seed + 1);
  const texts = ['0', '-0', '0.0', '1', '1.0', '10e-1', '9007199254740992', '9007199254740993', '9007199254740993.0',
    '-9007199254740993', '1e400', '10e399', '1e401', '-1e400', '1e-400', '0.01', '0.010', '19.99', '0.075', '1e2',
    '123456789012345678901234567890', '123456789012345678901234567891', '0.1', '0.3', '1.1', '2.20',
    '3.0000000000000000000000001', '1e308', '2e308', '5e-324', '2e-324'];
  const divisors = ['0.01', '0.1', '1', '3', '7', '0.3', '1e-10', '1.1', '9007199254740993', '1e300', '2.5', '0.0001'];
  const number = () => r.pick(texts);
  const inputs = [];
  for (let i = 0; i < 3000; i++) {
    const instances = Array.from({length: 8}, number);
    const keyword = r.pick(['maximum', 'minimum', 'exclusiveMaximum', 'exclusiveMinimum', 'multipleOf', 'const', 'enum', 'type', 'uniqueItems', 'sibling']);
    let schema;
    let list = instances;
    if (keyword === 'multipleOf') {
      schema = `{"multipleOf":${r.pick(divisors)}}`;
    } else if (keyword === 'enum') {
      schema = `{"enum":[${number()},${number()},"x"]}`;
    } else if (keyword === 'type') {
      schema = '{"type":"integer"}';
    } else if (keyword === 'uniqueItems') {
      schema = '{"uniqueItems":true}';
      list = instances.map((one) => `[${one},${number()},${number()}]`);
    } else if (keyword === 'sibling') {
      schema = `{"definitions":{"a":{"minimum":${number()}}},"properties":{"p":{"$ref":"#/definitions/a","maximum":${number()},"type":"string","$id":"http://x.example/y"}}}`;
      list = instances.map((one) => `{"p":${one}}`);
    } else {
      schema = `{"${keyword}":${number()}}`;
    }
    inputs.push(`{"schema":${schema},"instances":[${list.join(',')}]}`);
  }
  const ours = judgeOurs(inputs);
  const done = spawnSync(python, ['-c', judge], {input: `${inputs.join('\n')}\n`, encoding: 'utf8', maxBuffer: 1 << 28});
  assert.equal(done.status, 0, done.stderr);
  const theirs = done.stdout.trimEnd().split('\n');
  assert.equal(theirs.length, inputs.length);
  const differ = inputs.filter((input, i) => ours[i] !== theirs[i]).map((input) => input);
  assert.deepEqual(differ.slice(0, 10), [], `${differ.length} of ${inputs.length} differ, seed ${seed}`);
});

test('schema check tells valid, invalid and refused apart', () => {
  const dir = folder('schema');
  const write = (name, value) => {
    writeFileSync(path.join(dir, name), JSON.stringify(value));
    return path.join(dir, name);
  };
  const schema = write('schema', {properties: {a: {type: 'null'}}, x: 1});
  const good = write('good', {a: null});
  const bad = write('bad', {a: 1});
  try {
    assert.equal(millrace(['schema', 'check', '--schema', schema, good]).status, 0);
    const told = millrace(['schema', 'check', '--schema', schema, good, bad]);
    assert.equal(told.status, 1);
    assert.match(told.stdout, /good: valid\n.*bad: invalid\n {2}#\/a: .*type null \(rule #\/properties\/a\/type\)\n$/);
    const json = millrace(['schema', 'check', '--json', '--schema', schema, bad]);
    assert.equal(json.status, 1);
    assert.deepEqual(JSON.parse(json.stdout).ignored, ['/x']);
    assert.equal(JSON.parse(json.stdout).instances[0].errors[0].instance, '/a');
    const refused = millrace(['schema', 'check', '--schema', write('wrong', {not: {type: 'x'}}), good]);
    assert.equal(refused.status, 2);
    assert.match(refused.stderr, /refused at #\/not\/type: expected /);
    assert.equal(millrace(['schema', 'check', good]).status, 2);
  } finally {
    remove(dir);
  }
});
