// The state that shim.c shares with us: a file both sides see.
import {closeSync, ftruncateSync, openSync, readSync, writeSync} from 'node:fs';
import path from 'node:path';
import {root} from '../e2e/harness.mjs';

const words = ['syncCalls', 'syncMaxNs', 'syncFailAt', 'full', 'fullFailures', 'syncFailures',
  'syncDelayUs', 'syncSkip', 'syncLate', ...Array.from({length: 8}, (_, n) => `syncUnderWay${n}`),
  'readOnly', 'changes', 'killAt', 'killTears'];

export class Disk {
  constructor(file) {
    this.file = file;
    this.fd = openSync(file, 'w+', 0o600);
    ftruncateSync(this.fd, 4096);
  }

  // Environment of a program whose files below `part` of their path are meant.
  environment(part) {
    return {LD_PRELOAD: process.env.MR_FAULT_SHIM
      ?? path.join(root, 'build/release/test/fault/libfault_shim.so'),
    FAULT_STATE: this.file, FAULT_PATH: part};
  }

  get(word) {
    const bytes = Buffer.alloc(8);
    readSync(this.fd, bytes, 0, 8, 8 * words.indexOf(word));
    return Number(bytes.readBigUInt64LE());
  }

  // The longest sync since syncMaxNs was set to 0, in ms: also the one that the program's death at
  // that time (monotonic, in ms) cut off.
  longestSync(death) {
    const cut = words.filter((word) => word.startsWith('syncUnderWay'))
      .map((word) => this.get(word)).filter((began) => began > 0).map((began) => death - began / 1e6);
    return Math.max(this.get('syncMaxNs') / 1e6, ...cut);
  }

  // The program is gone, and so is what it had under way.
  reset() {
    for (const word of words.filter((name) => /^syncUnderWay|^syncMaxNs/.test(name))) {
      this.set(word, 0);
    }
  }

  set(word, value) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    writeSync(this.fd, bytes, 0, 8, 8 * words.indexOf(word));
  }

  end() {
    closeSync(this.fd);
  }
}
