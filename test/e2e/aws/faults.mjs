// A server whose answers can be bent: a queue of faults, each for a number of requests, and a log of
// what came. What a fault is: a function (exchange) → true where it has dealt with the request.
import http from 'node:http';

export class BentServer {
  constructor(answer) {
    this.answer = answer; // async (exchange)
    this.faults = [];
    this.log = [];
    this.waiting = new Set();
  }

  async listen() {
    this.server = http.createServer((request, response) => this.take(request, response));
    this.server.keepAliveTimeout = 60000;
    await new Promise((resolve) => { this.server.listen(0, '127.0.0.1', resolve); });
    this.url = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  async take(request, response) {
    const parts = [];
    try {
      for await (const part of request) {
        parts.push(part);
      }
    } catch {
      return; // the client went away
    }
    const exchange = {request, response, method: request.method, url: request.url,
      headers: request.headers, body: Buffer.concat(parts), at: Date.now()};
    this.log.push(exchange);
    try {
      const fault = this.faults[0];
      if (fault && fault.matches(exchange)) {
        if (--fault.times === 0) {
          this.faults.shift();
        }
        if (await fault.run(exchange)) {
          return;
        }
      }
      await this.answer(exchange);
    } catch (error) {
      exchange.error = error;
      response.destroy(error);
    }
  }

  // The next `times` requests that match go to run; Infinity: until clear().
  bend(run, {times = 1, matches = () => true} = {}) {
    this.faults.push({run, times, matches});
  }

  clear() {
    this.faults = [];
    for (const resolve of this.waiting) {
      resolve();
    }
    this.waiting.clear();
  }

  delay(ms, options) {
    this.bend(async () => {
      await new Promise((resolve) => { setTimeout(resolve, ms).unref(); });
      return false;
    }, options);
  }

  // No answer at all until clear() or close().
  hang(options) {
    this.bend(async ({response}) => {
      await new Promise((resolve) => { this.waiting.add(resolve); });
      response.destroy();
      return true;
    }, options);
  }

  // The connection dies; after: the request was carried out before (its outcome is unknown).
  reset({after = false, ...options} = {}) {
    this.bend(async (exchange) => {
      if (after) {
        const {response} = exchange;
        await this.answer({...exchange, response: {writeHead() {}, end() {}, setHeader() {}}});
        exchange.response = response;
      }
      exchange.request.socket.resetAndDestroy();
      return true;
    }, options);
  }

  // Any answer: garbage, an error of the service, a redirect. after: the request is carried out first.
  reply(status, body = '', {headers = {}, after = false, ...options} = {}) {
    this.bend(async (exchange) => {
      const {response} = exchange;
      if (after) {
        await this.answer({...exchange, response: {writeHead() {}, end() {}, setHeader() {}}});
      }
      exchange.status = status;
      response.writeHead(status, headers);
      response.end(body);
      return true;
    }, options);
  }

  close() {
    this.clear();
    this.server.closeAllConnections();
    return new Promise((resolve) => { this.server.close(resolve); });
  }
}
