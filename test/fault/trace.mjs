// Reads a recorded trace of system calls (strace -f -ttt -y) and judges the first promise: for every
// event that a 202 names there is a sync, returned before the 202 was written, that covers its bytes.

// Calls in the order of the trace: {pid, name, text, began, ended}; began and ended are line numbers,
// so that what happened first is what was recorded first.
export function calls(trace) {
  const open = new Map();
  const found = [];
  trace.split('\n').forEach((line, number) => {
    const match = /^(?:\[pid +)?(\d+)\]? +\d+\.\d+ (.*)$/.exec(line);
    if (!match) {
      return;
    }
    const [, pid, rest] = match;
    const resumed = /^<\.\.\. (\w+) resumed>/.exec(rest);
    if (resumed) {
      const call = open.get(pid);
      if (call && call.name === resumed[1]) {
        call.ended = number;
        call.result = Number(/= (-?\d+)[^=]*$/.exec(rest)?.[1] ?? NaN);
        open.delete(pid);
      }
      return;
    }
    const name = /^(\w+)\(/.exec(rest)?.[1];
    if (!name) {
      return;
    }
    const call = {pid, name, text: rest, began: number, ended: number, result: NaN};
    if (rest.endsWith('<unfinished ...>')) {
      call.ended = Infinity;
      open.set(pid, call);
    } else {
      call.result = Number(/= (-?\d+)[^=]*$/.exec(rest)?.[1] ?? NaN);
    }
    found.push(call);
  });
  return found;
}

// The file a call is about, as strace -y writes it: 12</data/journal/…>. A segment may bear the name
// of the spare file that it was.
const fileOf = (call) => /^\w+\((\d+<[^>]*>)/.exec(call.text)?.[1] ?? '';

// Breaches, one line each. `ids` are all event ids that may occur. Counts what it judged.
export function judge(trace, ids) {
  const all = calls(trace);
  const writes = all.filter(({name}) => /^pwrite/.test(name));
  const syncs = all.filter(({name, result}) => (name === 'fdatasync' || name === 'fsync') && result === 0);
  const answers = all.filter(({name, text}) => /^(write|writev|sendto|sendmsg)$/.test(name)
    && text.includes('HTTP/1.1 202'));
  const faults = [];
  let judged = 0;
  for (const id of ids) {
    const named = (call) => call.text.includes(`"${id}\\"`) || call.text.includes(`\\"${id}\\"`);
    const write = writes.find((call) => named(call) && fileOf(call).includes('/journal/'));
    for (const answer of answers.filter(named)) {
      judged++;
      if (!write || write.began > answer.began) {
        faults.push(`${id}: answered before it was written`);
      } else if (!syncs.some((sync) => fileOf(sync) === fileOf(write) && sync.began > write.ended
        && sync.ended < answer.began)) {
        faults.push(`${id}: answered without a sync that covers it`);
      }
    }
  }
  return {judged, faults};
}
