// Every answer that a test gets is held against the document that the server itself serves: its
// status, its content type and its body must be there. What is not documented is a failure.
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch'];

export class Contract {
  constructor(document) {
    this.document = document;
    this.ajv = new Ajv2020({strict: false, allErrors: true});
    addFormats(this.ajv);
    this.ajv.addSchema(document, 'doc');
    this.routes = Object.entries(document.paths).map(([template, item]) => ({template, item,
      pattern: new RegExp(`^${template.replace(/[.]/g, '\\.').replace(/\{[^}]+\}/g, '[^/]+')}$`)}));
    this.seen = new Set();
  }

  // The path as the document has it, literal segments before parameters.
  find(target) {
    const path = target.split('?')[0];
    return this.routes.filter((route) => route.pattern.test(path)).sort((a, b) =>
      (a.template.match(/\{/g) ?? []).length - (b.template.match(/\{/g) ?? []).length)[0];
  }

  validate(pointer, body) {
    let check = this.ajv.getSchema(`doc#${pointer}`);
    check ??= this.ajv.compile({$ref: `doc#${pointer}`});
    return check(body) ? [] : check.errors.map((error) =>
      `${error.instancePath || '/'} ${error.message} ${JSON.stringify(error.params)}`);
  }

  refusal(status, answer) {
    return this.document.components.schemas[`Refusal${status}`] === undefined
      ? [`no refusal has the status ${status}`]
      : this.validate(`/components/schemas/Refusal${status}`, answer.body);
  }

  // What is wrong with the answer: a list of texts, empty where nothing is.
  judge(method, target, answer) {
    if (!answer.headers['x-request-id']) {
      return ['the answer has no x-request-id'];
    }
    const route = this.find(target);
    const isHead = method === 'HEAD';
    const verb = isHead ? 'get' : method.toLowerCase();
    const operation = METHODS.includes(verb) ? route?.item[verb] : undefined;
    if (!operation) {
      return this.judgeOther(verb, route, answer, isHead);
    }
    const documented = operation.responses[answer.status];
    if (!documented) {
      return [`the status ${answer.status} is not documented`];
    }
    this.seen.add(`${operation.operationId} ${answer.status}`);
    const media = (answer.headers['content-type'] ?? '').split(';')[0];
    const known = Object.keys(documented.content ?? {});
    if (isHead || answer.status === 204) {
      return answer.text === '' ? [] : ['the answer has a body'];
    }
    if (known.length === 0) {
      return answer.text === '' ? [] : [`the answer has a body of ${media}`];
    }
    if (!known.includes(media)) {
      return [`the content type is ${media || 'missing'}; documented: ${known}`];
    }
    const missing = Object.entries(documented.headers ?? {}).filter(([name, {$ref}]) =>
      this.document.components.headers[$ref.split('/').at(-1)].required &&
      answer.headers[name.toLowerCase()] === undefined).map(([name]) => name);
    if (missing.length > 0) {
      return [`the answer lacks ${missing}`];
    }
    const escape = (text) => encodeURIComponent(text.replaceAll('~', '~0').replaceAll('/', '~1'));
    return this.validate(`/paths/${escape(route.template)}/${verb}/responses/${answer.status}` +
      `/content/${escape(media)}/schema`, /\bjson\b/.test(media) ? answer.body : answer.text);
  }

  judgeOther(verb, route, answer, isHead) {
    if (verb === 'options' && route) {
      return answer.status === 204 && answer.headers.allow ? [] : ['OPTIONS tells no methods'];
    }
    const wanted = route ? [405, 501] : [404];
    if (answer.status < 400 || (answer.status < 500 && !wanted.includes(answer.status) &&
        answer.status !== 400)) {
      return [`the status ${answer.status} for what is not documented`];
    }
    return isHead ? [] : this.refusal(answer.status, answer);
  }
}

export function mustFit(contract, method, target, answer) {
  const wrong = contract.judge(method, target, answer);
  if (wrong.length > 0) {
    throw new Error(`${method} ${target.slice(0, 200)}: ${answer.status} is not as /openapi.json ` +
      `says: ${wrong.slice(0, 5).join('; ')}\n${answer.text.slice(0, 2000)}`);
  }
}
