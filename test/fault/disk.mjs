// The state that shim.c shares with us: a file both sides see.
import {closeSync, ftruncateSync, openSync, readSync, writeSync} from 'node:fs';
import path from 'node:path';
import {root} from '../e2e/harness.mjs';

const words = ['syncCalls', 'syncMaxNs', 'syncFailAt', 'full', 'fullFailures', 'syncFailures',
  'syncDelayUs', 'syncSkip', 'syncLate'];

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

  set(word, value) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    writeSync(this.fd, bytes, 0, 8, 8 * words.indexOf(word));
  }

  end() {
    closeSync(this.fd);
  }
}
