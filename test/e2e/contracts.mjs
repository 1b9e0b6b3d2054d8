// KORE's contracts (test/contracts, written from their four documents), and what holds for every
// answer of the API. The harness asks here about each answer it reads, whatever a test is about.
//
// A contract has `routes` (answers: status to the name of a schema, null for no body; repeated: the
// same for an answer found under an Idempotency-Key, which shows no secret; other: the schema of
// statuses that are Millrace's, "error" if it is not told; ours: the route is not in the document),
// `family` (which codes an error of that status may have) and `schemas`.
import {readFileSync, readdirSync} from 'node:fs';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const folder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../contracts');
// Statuses that HTTP and the specification of Millrace add to what a document lists.
const ours = new Set([405, 408, 409, 412, 413, 415, 429, 431, 501, 503, 505]);
const codes = new Set(); // method, path, status of contracts that were met in this process

const ajv = new Ajv({allErrors: true, strict: true, allowUnionTypes: true});
addFormats(ajv);

export const contracts = readdirSync(folder).filter((name) => name.endsWith('.json')).sort()
  .map((name) => {
    const contract = JSON.parse(readFileSync(path.join(folder, name), 'utf8'));
    ajv.addSchema({$id: name, $defs: contract.schemas});
    for (const route of contract.routes) {
      route.pattern = new RegExp(`^${route.path.replace(/\{\w+\}/g, '[^/]+')}$`);
    }
    return {...contract, name};
  });

const plain = ajv.compile({
  type: 'object',
  required: ['status', 'code', 'message', 'info', 'more_info'],
  properties: {
    status: {type: 'integer'},
    code: {type: 'integer'},
    message: {type: 'string', minLength: 1},
    info: {type: 'string'},
    more_info: {type: 'string'},
  },
});

function demand(name, schema, body) {
  if (!schema(body)) {
    throw new Error(`${name}: ${ajv.errorsText(schema.errors)}\n${JSON.stringify(body)}`);
  }
}

function contractOf(method, target) {
  const [at] = target.split('?');
  for (const contract of contracts) {
    const route = contract.routes.find((row) => row.method === method && row.pattern.test(at));
    if (route) {
      return {contract, route};
    }
  }
  return null;
}

// Which schema of a contract an answer must keep; null: no body.
function schemaOf(route, answer, headers) {
  const {status, body} = answer;
  const repeated = route.repeated?.[status];
  if (repeated && headers['idempotency-key'] && !body?.secret && !body?.client_secret) {
    return repeated;
  }
  if (status in route.answers) {
    return route.answers[status];
  }
  if (!ours.has(status)) {
    throw new Error('this status is not one of the contract');
  }
  return route.other ?? 'error';
}

function checkContract(method, {contract, route}, answer, headers) {
  const schema = schemaOf(route, answer, headers);
  codes.add(`${method} ${route.path} ${answer.status}`);
  if (schema === null) {
    return;
  }
  demand(`${contract.name} ${schema}`, ajv.getSchema(`${contract.name}#/$defs/${schema}`),
    answer.body);
  const family = contract.family[answer.status];
  if (family && !family.includes(answer.body.code)) {
    throw new Error(`${contract.name}: code ${answer.body.code} is none of ${family}`);
  }
}

function checkError(answer) {
  demand('errors', plain, answer.body);
  if (answer.body.status !== answer.status || answer.body.info !== answer.body.more_info
    || !answer.body.info.endsWith(`/errors/${answer.body.code}`)) {
    throw new Error(`the members of the error disagree: ${answer.text}`);
  }
}

// Throws where the answer breaks a contract.
export function checkAnswer(method, target, answer, headers = {}) {
  try {
    if (answer.headers['access-control-allow-origin'] !== '*') {
      throw new Error('Access-Control-Allow-Origin is not *');
    }
    if ('access-control-allow-credentials' in answer.headers) {
      throw new Error('Access-Control-Allow-Credentials is there');
    }
    if (method === 'HEAD') {
      return;
    }
    const found = contractOf(method, target);
    if (found) {
      checkContract(method, found, answer, headers);
    }
    const isToken = found?.contract.name === 'token.json';
    if (answer.status >= 400 && !isToken && !target.startsWith('/links/')) {
      checkError(answer);
    }
  } catch (error) {
    error.message = `${method} ${target} ${answer.status}: ${error.message}`;
    throw error;
  }
}

// "METHOD path status" of every contract that an answer was held to.
export function met() {
  return codes;
}
