// Patterns with events, made from a seed, for comparing our matcher with Amazon's event-ruler. The
// two promise the same over what is made here. What is left out, because they differ on purpose:
//   - networks of one address (/32, /128): the ruler refuses them;
//   - numbers beyond ±5·10^9 or finer than 10^-6: the ruler rounds, we compare exactly;
//   - plain strings that are internet addresses: the ruler compares them as addresses;
//   - member names with a dot: the ruler takes a.b for b inside a;
//   - letters outside ASCII where case is ignored: we fold ASCII alone;
//   - exists:false beside other conditions inside arrays of objects: the ruler's answer depends on
//     the order of the names; ours is for the item that the others hold for;
//   - one name both inside and outside of a $or: the ruler keeps one of the two, we ask for both.
// Data below is a tree of a few names, so that both verdicts come up often.

export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  // Below n (mulberry32).
  below(n) {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  chance(percent) {
    return this.below(100) < percent;
  }

  // One to n picks.
  some(n, make) {
    return Array.from({length: 1 + this.below(n)}, make);
  }
}

// JSON text, so that a number's spelling survives.
const text = (s) => JSON.stringify(s);
const list = (items) => `[${items.join(',')}]`;
const object = (members) =>
  `{${Object.entries(members).map(([name, value]) => `${text(name)}:${value}`).join(',')}}`;

const letters = ['a', 'b', 'A', 'B'];
const words = (r) => Array.from({length: r.below(5)}, () => r.pick(letters)).join('');
const odd = ['', '*', 'a*b', 'a\\b', '"', 'ä', '日本', '\u{1F600}x', 'true', 'null', '5', ' a ', 'a\nb',
  '{"a":1}'];
const string = (r) => text(r.chance(80) ? words(r) : r.pick(odd));
const numbers = ['0', '-0', '1', '1.0', '1e0', '10e-1', '2', '2.5', '25e-1', '-1', '-1.50', '-1.5',
  '300', '300.0', '3.0e2', '3E+2', '0.000001', '1e-6', '4999999999.999999', '5000000000',
  '-5000000000', '-5e9', '999999.999999', '123456'];
const number = (r) => r.pick(numbers);
const amount = (n) => Number(n);
const word = (r) => text(words(r) || 'a');

function scalar(r) {
  return r.pick([string, string, number, () => 'true', () => 'false', () => 'null'])(r);
}

const v4 = (r) => `10.${r.below(2)}.${r.below(3)}.${r.pick([0, 1, 127, 128, 255])}`;
const v6 = (r) => r.pick(['2001:db8::', '2001:db8:0:1::', '2001:DB8::8000:', 'fe80::']) +
  r.pick(['1', 'ff', '0', '7fff']);
const v4net = (r) => `10.${r.below(2)}.${r.below(3)}.0/${r.pick([8, 15, 16, 23, 24, 25, 31])}`;
const v6net = (r) => `${r.pick(['2001:db8::', 'fe80::'])}/${r.pick([16, 32, 64, 112, 121, 127])}`;

function wildcard(r) {
  let s = r.pick(letters);
  let afterStar = false;
  for (let i = r.below(6); i >= 0; i--) {
    const piece = r.pick(['a', 'b', 'A', '\\*', '\\\\', ...(afterStar ? [] : ['*', '*', '*'])]);
    s += piece;
    afterStar = piece === '*';
  }
  return r.chance(50) ? s : s.slice(1);
}

// Text that a wildcard may match: its stars filled in, sometimes spoilt.
function filled(r, pattern) {
  let s = '';
  for (let i = 0; i < pattern.length; i++) {
    s += pattern[i] === '*' ? words(r) : pattern[i] === '\\' ? pattern[++i] : pattern[i];
  }
  return r.chance(70) ? s : s + r.pick(letters);
}

function range(r) {
  if (r.chance(40)) {
    return list([text(r.pick(['=', '<', '<=', '>', '>='])), number(r)]);
  }
  const bounds = [number(r), number(r)].sort((a, b) => amount(a) - amount(b));
  return amount(bounds[0]) === amount(bounds[1]) ? list([text('='), bounds[0]])
    : list([text(r.pick(['>', '>='])), bounds[0], text(r.pick(['<', '<='])), bounds[1]]);
}

const but = (value) => object({'anything-but': value});

// Each gives an alternative, and a value that it is likely to be asked about.
export const operators = {
  'exact string': (r) => {
    const s = string(r);
    return [s, r.chance(40) ? s : scalar(r)];
  },
  'exact number': (r) => {
    const n = number(r);
    return [n, r.chance(30) ? `${n}${/[.eE]/.test(n) ? '' : r.pick(['.0', 'e0', '.00'])}`
      : scalar(r)];
  },
  'exact true': (r) => ['true', r.pick(['true', 'false', '"true"'])],
  'exact false': (r) => ['false', r.pick(['true', 'false', 'null', '0'])],
  'exact null': (r) => ['null', r.pick(['null', '"null"', '0', 'null'])],
  'several exact': (r) => [r.some(4, () => scalar(r)).join(','), scalar(r)],
  prefix: (r) => {
    const s = words(r);
    return [object({prefix: text(s)}), r.chance(40) ? text(s + words(r)) : scalar(r)];
  },
  'prefix ignoring case': (r) => {
    const s = words(r) || 'a';
    return [object({prefix: object({'equals-ignore-case': text(s)})}),
      r.chance(40) ? text(s.toUpperCase() + words(r)) : scalar(r)];
  },
  suffix: (r) => {
    const s = words(r);
    return [object({suffix: text(s)}), r.chance(40) ? text(words(r) + s) : scalar(r)];
  },
  'suffix ignoring case': (r) => {
    const s = words(r) || 'a';
    return [object({suffix: object({'equals-ignore-case': text(s)})}),
      r.chance(40) ? text(words(r) + s.toLowerCase()) : scalar(r)];
  },
  'equals-ignore-case': (r) => {
    const s = words(r).slice(0, 2);
    return [object({'equals-ignore-case': text(s)}),
      r.chance(60) ? text(r.chance(50) ? s.toUpperCase() : s.toLowerCase()) : scalar(r)];
  },
  'anything-but string': (r) => {
    const s = string(r);
    return [but(s), r.chance(50) ? s : scalar(r)];
  },
  'anything-but number': (r) => {
    const n = number(r);
    return [but(n), r.chance(50) ? n : scalar(r)];
  },
  'anything-but strings': (r) => {
    const all = r.some(4, () => string(r));
    return [but(list(all)), r.chance(50) ? r.pick(all) : scalar(r)];
  },
  'anything-but numbers': (r) => {
    const all = r.some(4, () => number(r));
    return [but(list(all)), r.chance(50) ? r.pick(all) : scalar(r)];
  },
  'anything-but prefix': (r) => {
    const all = r.some(3, () => words(r) || 'a');
    return [but(object({prefix: r.chance(50) ? text(all[0]) : list(all.map(text))})),
      r.chance(60) ? text(all[0] + words(r)) : scalar(r)];
  },
  'anything-but suffix': (r) => {
    const all = r.some(3, () => words(r) || 'a');
    return [but(object({suffix: r.chance(50) ? text(all[0]) : list(all.map(text))})),
      r.chance(60) ? text(words(r) + all[0]) : scalar(r)];
  },
  'anything-but ignoring case': (r) => {
    const all = r.some(3, () => word(r));
    const value = r.chance(50) ? r.pick(all) : scalar(r);
    return [but(object({'equals-ignore-case': r.chance(50) ? all[0] : list(all)})),
      r.chance(50) && /^"[a-z]*"$/i.test(value) ? value.toUpperCase() : value];
  },
  'anything-but wildcard': (r) => {
    const all = r.some(3, () => wildcard(r));
    return [but(object({wildcard: r.chance(50) ? text(all[0]) : list(all.map(text))})),
      r.chance(50) ? text(filled(r, all[0])) : scalar(r)];
  },
  'numeric': (r) => [object({numeric: range(r)}), r.chance(90) ? number(r) : scalar(r)],
  'exists true': (r) => [object({exists: 'true'}), r.chance(50) ? scalar(r)
    : r.pick([null, '{}', '{"b":1}', '[]', '[[]]'])],
  'exists false': (r) => [object({exists: 'false'}), r.chance(50) ? scalar(r)
    : r.pick([null, '{}', '{"b":1}', '[]', '[[]]'])],
  'cidr of IPv4': (r) => [object({cidr: text(v4net(r))}), r.chance(90) ? text(v4(r)) : scalar(r)],
  'cidr of IPv6': (r) => [object({cidr: text(v6net(r))}), r.chance(90) ? text(v6(r)) : scalar(r)],
  wildcard: (r) => {
    const pattern = wildcard(r);
    return [object({wildcard: text(pattern)}), r.chance(70) ? text(filled(r, pattern)) : scalar(r)];
  },
};

// The value, or an array that may hold it.
function arrayed(r, value) {
  if (value === null || r.chance(75)) {
    return value;
  }
  const items = [value, ...r.some(2, () => scalar(r))];
  return list(r.chance(50) ? items : [list(items), r.pick(['{}', '[]', 'null'])]);
}

// One operator at one leaf: {kind, pattern, event}.
export function single(r, kind) {
  const [alternative, value] = operators[kind](r);
  const found = arrayed(r, value);
  const asAttribute = r.chance(20) && found !== null && !/^[[{n]/.test(found);
  if (asAttribute) {
    return {kind, pattern: object({subject: list([alternative])}),
      event: object({id: text('1'), subject: found})};
  }
  const path = r.pick([['a'], ['a', 'b'], ['c', 'a', 'b']]);
  let pattern = list([alternative]);
  let event = found;
  for (const name of [...path].reverse()) {
    pattern = object({[name]: pattern});
    event = event === null ? '{}' : object({[name]: event, z: scalar(r)});
  }
  return {kind, pattern: object({data: pattern}), event: object({id: text('1'), data: event})};
}

const plain = Object.keys(operators).filter((kind) => !kind.startsWith('exists'));

// A value of the kind that the operator is asked about.
function value(r) {
  return operators[r.pick(plain)](r)[1] ?? 'null';
}

function leaf(r) {
  return list(r.some(3, () => operators[r.pick(r.chance(50) ? ['several exact'] : plain)](r)[0]));
}

// Several members, and objects in arrays: which items hold together.
export function nested(r) {
  const names = ['a', 'b', 'c'];
  const small = () => r.pick(['1', '2', '"x"']);
  const item = (depth) => {
    if (depth === 0) {
      return small();
    }
    const members = Object.fromEntries(names.slice(0, 1 + r.below(3)).map((name) =>
      [name, name === 'c' ? level(depth - 1) : r.chance(20) ? list([small(), small()]) : small()]));
    return object(members);
  };
  const level = (depth) => r.chance(60) ? list(r.some(3, () => r.chance(15)
    ? list([item(depth)]) : item(depth))) : item(depth);
  const asked = (depth) => object(Object.fromEntries([
    ...(r.chance(80) ? [['a', list(r.some(2, small))]] : []),
    ['b', list(r.some(2, small))],
    ...(depth > 0 && r.chance(60) ? [['c', asked(depth - 1)]] : [])]));
  return {kind: 'arrays of objects', pattern: object({data: object({c: asked(1)})}),
    event: object({id: text('1'), data: object({c: level(2)})})};
}

// Members that hold together, $or among them.
export function combined(r) {
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const event = object(Object.fromEntries(names.filter(() => r.chance(80)).map((name) =>
    [name, arrayed(r, r.chance(60) ? scalar(r) : value(r))])));
  let next = 0;
  const one = () => [names[next++ % names.length], r.chance(25)
    ? list([object({exists: r.pick(['true', 'false'])})]) : leaf(r)];
  const many = (n) => object(Object.fromEntries(r.some(n, one)));
  const members = r.chance(60) ? Object.fromEntries([one()]) : {};
  members.$or = list([many(2), many(1), ...(r.chance(40) ? [many(2)] : [])]);
  const pattern = r.chance(70) ? object({data: object(members)})
    : object({$or: list([object({data: many(1)}), object({subject: leaf(r), data: many(1)})])});
  return {kind: '$or', pattern, event: object({id: text('1'), subject: string(r), data: event})};
}

// Everything from one seed; `each` per operator, and as many times ten of the mixtures.
export function cases(seed, each) {
  const r = new Random(seed);
  const all = [];
  for (const kind of Object.keys(operators)) {
    for (let i = 0; i < each; i++) {
      all.push(single(r, kind));
    }
  }
  for (let i = 0; i < 4 * each; i++) {
    all.push(nested(r), combined(r));
  }
  return all;
}
