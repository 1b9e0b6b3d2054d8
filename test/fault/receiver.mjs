// The crowd's receiver, in a thread of its own: the load's work in the main thread must not delay
// what it notes. Tells {copies: [[id, note]]…} in the order of arrival; notes are answered soon
// after, and told again by number. Time is the monotonic clock in ms, the same in every thread.
import http from 'node:http';
import {parentPort} from 'node:worker_threads';

export const now = () => Number(process.hrtime.bigint()) / 1e6;

if (parentPort) {
  const sockets = new Set();
  let number = 0;
  let told = [];
  const tell = (what) => {
    if (told.length === 0) {
      setImmediate(() => {
        parentPort.postMessage({told});
        told = [];
      });
    }
    told.push(what);
  };
  const server = http.createServer({keepAliveTimeout: 60000}, (request, response) => {
    const parts = [];
    request.on('error', () => {});
    response.on('error', () => {});
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      const note = number++;
      const at = now();
      tell({note, path: request.url, at,
        ids: JSON.parse(Buffer.concat(parts)).map(({id}) => id)});
      if (request.url === '/d9') {
        return;
      }
      response.on('finish', () => tell({note, answered: now()}));
      response.writeHead(request.url === '/d8' ? 500 : 200, {'content-length': 0});
      response.end();
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  // After a death: the kernel closes the dead program's connections, and what it sent before comes
  // first on each. When all are closed, everything of that life has been told.
  parentPort.on('message', () => {
    let quiet = 0; // looks in a row that saw no connection: one may still wait to be accepted
    const look = () => {
      quiet = sockets.size > 0 ? 0 : quiet + 1;
      if (quiet < 4) {
        setTimeout(look, 5);
        return;
      }
      parentPort.postMessage({told, silent: true});
      told = [];
    };
    setImmediate(look);
  });
  server.listen(0, '127.0.0.1', () => parentPort.postMessage({told: [], port: server.address().port}));
}
