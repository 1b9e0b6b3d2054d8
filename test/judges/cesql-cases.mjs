// CloudEvents SQL expressions with events, made from a seed, for comparing our evaluation with the
// Java SDK's (io.cloudevents:cloudevents-sql). What is made here, both must see alike: value and
// kinds of errors. Where the SDK departs from the specification (version 1.0.0) stands in
// `departures`, with the specification's sentence, and is not made here.
import {Random} from './pattern-cases.mjs';

export {Random};

export const event = {
  specversion: '1.0', id: 'myId', source: 'https://example.com/source', type: 'com.example.error',
  subject: 'a_b%c', one: 1, seven: 7, minus: -3, yes: true, no: false, five: '5', word: 'true',
  upper: 'FALSE', empty: '', text: 'Sakila', umlaut: 'Straße äÖ', plus: '+08',
};

// A node: its text, how tight it binds (as the specification's 3.6), its type.
const TIGHT = 9, UNARY = 8, POSTFIX = 7;
const part = (text, type, binds = TIGHT) => ({text, type, binds});

const strings = ['', 'a', 'abc', 'ABC', 'a b', ' x  ', 'Sakila', 'myId', 'ä', 'ÄÖÜ', 'ß', 'ŉ', '日本語',
  'true', 'FALSE', '5', '-3', '+7', '0', '007', '2147483648', 'a_b', 'a%b', 'a.b', '[x]', 'a\\b', '"', "'",
  '\t', 'truE ', '1e1'];
const quote = (s, q) => q + s.replaceAll(q, `\\${q}`) + q;
const string = (r, s = r.pick(strings)) => part(quote(s, r.pick(['\'', '"'])), 'string');
const integer = (r, n = r.below(19) - 9) => part(String(n), 'integer');
const boolean = (r) => part(r.pick(['true', 'TRUE', 'False', 'false']), 'boolean');
const attributes = {
  string: ['id', 'source', 'type', 'subject', 'five', 'word', 'upper', 'empty', 'text', 'umlaut', 'plus'],
  integer: ['one', 'seven', 'minus'],
  boolean: ['yes', 'no'],
};
const types = Object.keys(attributes);

function leaf(r, type) {
  return r.chance(35) ? part(r.pick(attributes[type]), type)
    : {string, integer, boolean}[type](r);
}

// In parentheses where it binds less tightly than asked for, or now and then anyway.
const within = (r, node, binds) =>
  (node.binds < binds || r.chance(15) ? `(${node.text})` : node.text);
const word = (r, w) => (r.chance(30) ? w.toLowerCase() : w);

// An operand of that type, or a leaf of another: a cast that fails loses the SDK the errors of what
// it casts (see departures), a leaf has none. clean: without any error.
function operand(r, type, depth, {clean = false, missing = false} = {}) {
  if (!clean && missing && r.chance(6)) {
    return part(r.pick(['missing', 'nothere', 'a1']), type);
  }
  if (!clean && r.chance(18)) {
    return leaf(r, r.pick(types));
  }
  if (depth <= 0 || r.chance(25)) {
    return leaf(r, type);
  }
  const kind = r.pick(Object.keys(kinds).filter((name) => kinds[name].type === type &&
    !(clean && kinds[name].fails)));
  return kinds[kind].make(r, depth - 1, clean);
}

const binary = (sign, type, of, binds, options) => ({
  type,
  fails: true,
  make(r, depth) {
    const left = operand(r, of, depth, options);
    const right = operand(r, of, depth, options);
    const tight = type === 'boolean' && of === 'boolean' ? binds + 1 : binds;
    return part(`${within(r, left, tight)} ${word(r, sign)} ${within(r, right, binds + 1)}`, type, binds);
  },
});

// Both sides of one type, or a leaf of another on the left, which is cast.
const equality = (sign) => ({
  type: 'boolean',
  fails: true,
  make(r, depth) {
    const of = r.pick(types);
    const right = r.chance(6) ? part('missing', of) : r.chance(50) ? leaf(r, of) : operand(r, of, depth);
    const left = r.chance(35) ? right
      : r.chance(40) ? leaf(r, r.pick(types)) : operand(r, right.type, depth, {missing: true});
    return part(`${within(r, left, 3)} ${sign} ${within(r, right, 4)}`, 'boolean', 3);
  },
});

const pieces = ['a', 'b', '%', '_', '\\%', '\\_', 'Sakila', 'S', '.', '5', 'true', '%e', 'ä', 'my', '\\b'];
const like = (negated) => ({
  type: 'boolean',
  fails: true,
  make(r, depth) {
    const pattern = Array.from({length: r.below(4)}, () => r.pick(pieces)).join('') + r.pick(['', '%', '%', '_']);
    const left = operand(r, r.pick(types), depth);
    return part(`${within(r, left, POSTFIX)} ${negated ? word(r, 'NOT ') : ''}${word(r, 'LIKE')} ` +
      quote(pattern, r.pick(['\'', '"'])), 'boolean', POSTFIX);
  },
});
const among = (negated) => ({
  type: 'boolean',
  fails: true,
  make(r, depth) {
    const of = r.pick(types);
    const left = operand(r, of, depth);
    const items = r.some(4, () => (r.chance(30) && left.binds === TIGHT ? left
      : r.chance(60) ? leaf(r, r.pick(types)) : operand(r, left.type, depth)).text);
    return part(`${within(r, left, POSTFIX)} ${negated ? word(r, 'NOT ') : ''}${word(r, 'IN')} ` +
      `(${items.join(', ')})`, 'boolean', POSTFIX);
  },
});
// Arguments are of the function's types; an argument of any type is a leaf or sound.
const call = (name, type, of, n = () => of.length) => ({
  type,
  fails: true,
  make(r, depth) {
    const args = Array.from({length: n(r)}, (_, i) => {
      const wanted = of[Math.min(i, of.length - 1)];
      const chosen = wanted === 'any' ? r.pick(types) : wanted;
      const at = of.length > 1 && r.chance(80) && chosen === 'integer' ? integer(r) : operand(r, chosen, depth);
      return at.text;
    });
    return part(`${word(r, name)}${r.pick(['', '', ' '])}(${args.join(r.pick([',', ', ']))})`, type);
  },
});

export const kinds = {
  '-': {
    type: 'integer',
    fails: true,
    make: (r, depth) => {
      const of = operand(r, 'integer', depth, {missing: true});
      return part(`-${within(r, of, UNARY)}`, 'integer', UNARY);
    },
  },
  NOT: {
    type: 'boolean',
    fails: true,
    make: (r, depth) => {
      const of = operand(r, 'boolean', depth, {missing: true});
      return part(`${word(r, 'NOT')} ${within(r, of, UNARY)}`, 'boolean', UNARY);
    },
  },
  EXISTS: {
    type: 'boolean',
    make: (r) => part(`${word(r, 'EXISTS')} ` + (r.chance(50) ? r.pick(['missing', 'data', 'time'])
      : r.pick(['id', 'subject', 'one', 'yes', 'empty'])), 'boolean', TIGHT),
  },
  '*': binary('*', 'integer', 'integer', 5, {missing: true}),
  '/': binary('/', 'integer', 'integer', 5, {missing: true}),
  '%': binary('%', 'integer', 'integer', 5, {missing: true}),
  '+': binary('+', 'integer', 'integer', 4, {missing: true}),
  ' - ': binary('-', 'integer', 'integer', 4, {missing: true}),
  '<': binary('<', 'boolean', 'integer', 3, {missing: true}),
  '<=': binary('<=', 'boolean', 'integer', 3, {missing: true}),
  '>': binary('>', 'boolean', 'integer', 3, {missing: true}),
  '>=': binary('>=', 'boolean', 'integer', 3, {missing: true}),
  '=': equality('='),
  '!=': equality('!='),
  '<>': equality('<>'),
  AND: binary('AND', 'boolean', 'boolean', 1),
  XOR: binary('XOR', 'boolean', 'boolean', 1),
  OR: {
    type: 'boolean',
    fails: true,
    make(r, depth) { // its left operand's errors are lost: none there
      const left = operand(r, 'boolean', depth, {clean: true});
      const right = r.chance(40) ? leaf(r, 'string') : operand(r, 'boolean', depth);
      return part(`${within(r, left, 2)} ${word(r, 'OR')} ${within(r, right, 2)}`, 'boolean', 1);
    },
  },
  LIKE: like(false),
  'NOT LIKE': like(true),
  IN: among(false),
  'NOT IN': among(true),
  INT: call('INT', 'integer', ['any']),
  BOOL: call('BOOL', 'boolean', ['any']),
  STRING: call('STRING', 'string', ['any']),
  IS_INT: call('IS_INT', 'boolean', ['any']),
  IS_BOOL: call('IS_BOOL', 'boolean', ['any']),
  LENGTH: call('LENGTH', 'integer', ['string']),
  CONCAT: call('CONCAT', 'string', ['string'], (r) => r.below(5)),
  CONCAT_WS: call('CONCAT_WS', 'string', ['string'], (r) => 1 + r.below(4)),
  LOWER: call('LOWER', 'string', ['string']),
  UPPER: call('UPPER', 'string', ['string']),
  TRIM: call('TRIM', 'string', ['string']),
  LEFT: call('LEFT', 'string', ['string', 'integer']),
  RIGHT: call('RIGHT', 'string', ['string', 'integer']),
  SUBSTRING: call('SUBSTRING', 'string', ['string', 'integer']),
  'SUBSTRING of a length': {
    type: 'string',
    fails: true,
    make(r, depth) { // position 0 with a negative length is a departure
      const at = r.pick([-7, -4, -2, -1, 0, 1, 2, 3, 6, 9]);
      const length = at === 0 ? r.below(5) : r.below(12) - 3;
      return part(`${word(r, 'SUBSTRING')}(${operand(r, 'string', depth).text}, ` +
        `${r.chance(30) ? `'${at}'` : at}, ${r.chance(20) ? `'${length}'` : length})`, 'string');
    },
  },
  ABS: call('ABS', 'integer', ['integer']),
};

// n expressions of each kind.
export function cases(seed, n) {
  const r = new Random(seed);
  return Object.entries(kinds).flatMap(([kind, {make}]) =>
    Array.from({length: n}, () => ({kind, expression: make(r, r.chance(90) ? 1 + r.below(3) : 0).text, event})));
}

const MISSING = 'the subexpression referencing the missing attribute MUST evaluate to the zero value for ' +
  'the return type of the subexpression';
const LIST = 'in case an error arises, the evaluator collects a list of errors';
const CHARACTERS = 'String: Sequence of Unicode characters';
const EQUAL = 'MUST be evaluated left to right when the precedence is equal';
const BINARY = 'binary-operation ::= expression (binary-comparison-operator | ' +
  'binary-numeric-arithmetic-operator | binary-logic-operator) expression';
const LITERAL = 'string-literal ::= ( "\'" ( [^\'] | "\\\'" )* "\'" ) | ( \'"\' ( [^"] | \'\\"\' )* \'"\')';
const ANY = '% represents zero, one, or multiple characters';
const RANGE = 'Integer: A whole number in the range -2,147,483,648 to +2,147,483,647 inclusive';
const TRIM = 'leading and trailing whitespaces (as defined by unicode) trimmed. This does not remove any ' +
  'characters which are not unicode whitespace characters, such as control characters';
const NAMES = 'value-identifier ::= ( lowercase-char | digit )+';
const EARLY = 'Whenever possible, some error checks SHOULD be done at compile time';

const is = (value, ...errors) => ({value, errors});
const refused = {refused: true};
// [the specification's sentence, expression, what it says, what the SDK makes of it].
export const departures = [
  [EQUAL, 'false AND true OR true', is(true), is(false)],
  [EQUAL, 'true OR false AND false', is(false), is(true)],
  [EQUAL, 'false AND true XOR true', is(true), is(false)],
  [MISSING, 'LENGTH(missing)', is(0, 'missing_attribute'), is(5, 'missing_attribute')],
  [MISSING, "CONCAT('a', missing)", is('', 'missing_attribute'), is('afalse', 'missing_attribute')],
  [MISSING, 'STRING(missing)', is('', 'missing_attribute'), is('false', 'missing_attribute')],
  [MISSING, 'IS_BOOL(missing)', is(false, 'missing_attribute'), is(true, 'missing_attribute')],
  [MISSING, "missing LIKE 'f%'", is(false, 'missing_attribute'), is(true, 'missing_attribute')],
  [MISSING, "missing NOT LIKE 'a'", is(false, 'missing_attribute'), is(true, 'missing_attribute')],
  [MISSING, 'missing IN (false)', is(false, 'missing_attribute'), is(true, 'missing_attribute')],
  [MISSING, "'a' IN (missing, 'a')", is(false, 'missing_attribute'), is(true, 'missing_attribute')],
  [MISSING, 'missing XOR true', is(false, 'missing_attribute'), is(true, 'missing_attribute')],
  [MISSING, 'missing OR true', is(false, 'missing_attribute'), is(true)],
  [MISSING, '(true AND missing) + 1', is(1, 'missing_attribute'), is(0, 'missing_attribute')],
  [LIST, "'abc' OR true", is(true, 'cast'), is(true)],
  [LIST, '(1 / 0 = 1) OR true', is(true, 'math'), is(true)],
  [LIST, "LEFT('abc', -2) + 1", is(1, 'cast', 'function_evaluation'), is(1, 'cast')],
  [RANGE, '2147483647 + 1', is(0, 'math'), is(-2147483648)],
  [RANGE, '-2147483648 - 1', is(0, 'math'), is(2147483647)],
  [RANGE, '65536 * 65536', is(0, 'math'), is(0)],
  [RANGE, '-2147483648 / -1', is(0, 'math'), is(-2147483648)],
  [RANGE, '-(-2147483648)', is(0, 'math'), is(-2147483648)],
  [CHARACTERS, "LENGTH('\u{1F600}')", is(1), is(2)],
  [CHARACTERS, "LEFT('\u{1F600}b', 2)", is('\u{1F600}b'), is('\u{1F600}')],
  [ANY, "'a\nb' LIKE 'a%'", is(true), is(false)],
  [ANY, "'a\\Eb' LIKE 'a\\Eb'", is(true), refused],
  [TRIM, "TRIM('\u00a0a\u3000')", is('a'), is('\u00a0a\u3000')],
  [TRIM, "TRIM('\u0001a')", is('\u0001a'), is('a')],
  ['If `len` is greater than the maximum substring starting at `pos`, then return the maximum substring',
    "SUBSTRING('abc', 2, 2147483647)", is('bc'), is('', 'function_evaluation')],
  ['Returns the empty string and a _FunctionEvaluationError_ if `pos > LENGTH(x) OR pos < -LENGTH(x)` or if ' +
    '`len` is negative', "SUBSTRING('abc', 0, -1)", is('', 'function_evaluation'), is('')],
  [BINARY, '4-1', is(3), refused],
  [BINARY, '4 -1', is(3), refused],
  [BINARY, '-1a', is(0, 'missing_attribute'), refused],
  [BINARY, 'id ! = id', refused, is(true)],
  [BINARY, 'id # = id', refused, is(true)],
  [LITERAL, "'a''b'", refused, is("a''b")],
  [NAMES, 'mySubject = 1', refused, is(false, 'missing_attribute')],
  [NAMES, 'EXISTS Subject', refused, is(true)],
  [EARLY, "NOSUCH('a')", refused, is(false, 'missing_function')],
  [EARLY, 'CONCAT_WS()', refused, is(false, 'missing_function')],
  [EARLY, "LENGTH('a', 'b')", refused, is(false, 'missing_function')],
];
