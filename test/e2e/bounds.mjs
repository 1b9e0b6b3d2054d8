// Memory and descriptors of a server, held against what they were at its start.
import assert from 'node:assert/strict';
import {readFileSync, readdirSync, readlinkSync} from 'node:fs';
import {until} from './harness.mjs';

const RSS_MAX_MIB = 256;

// Open descriptors, but for the journal's files: the number of its segments and spares follows what
// was stored, and when.
function descriptors(server) {
  const dir = `/proc/${server.pid}/fd`;
  return readdirSync(dir).filter((fd) => {
    try {
      return !readlinkSync(`${dir}/${fd}`).includes('/data/journal/');
    } catch {
      return false; // closed meanwhile
    }
  }).length;
}

// To be called before anything is done; the connections of the harness itself do not count.
export function startOf(server) {
  server.agent.destroy();
  return {descriptors: descriptors(server)};
}

// Descriptors beyond the start.
export function extra(server, start) {
  return descriptors(server) - start.descriptors;
}

// Fails where memory is, or ever was, above its bound, or descriptors do not come back.
export async function bounded(server, start) {
  server.agent.destroy();
  let more = 0;
  await until('descriptors at their start', () => {
    more = extra(server, start);
    return more <= 0;
  }, 20000).catch((error) => { throw new Error(`${error.message}: ${more} more`); });
  const status = readFileSync(`/proc/${server.pid}/status`, 'utf8');
  for (const what of ['VmRSS', 'VmHWM']) {
    const mib = Number(new RegExp(`${what}:\\s+(\\d+)`).exec(status)[1]) / 1024;
    assert.ok(mib <= RSS_MAX_MIB, `${what} ${mib} MiB`);
  }
}
