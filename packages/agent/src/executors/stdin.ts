import { closeSync, constants, fchmodSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';

/** Memory that has a file system. */
const MEMORY = '/dev/shm';
const TMPFS = 0x01021994;
/** Of Linux: a file that never has a name. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
/** A command that runs as another user may open it again, too; without a name nobody else finds it. */
const MODE = 0o644;

/**
 * A file to be read as standard input: /dev/stdin can be opened again, and nobody has to wait for its reader. As it may hold a
 * secret, it is in memory and never has a name. Where that cannot be, its name in `folder` is gone before anything is written.
 */
export function openStdin(text: string, folder: string, name: string, memory = MEMORY): number {
  const data = Buffer.from(text);
  try {
    return readerOf(openInMemory(memory), data);
  } catch {
    return readerOf(openNameless(`${folder}/${name}.stdin`), data);
  }
}

function openInMemory(memory: string): number {
  if (statfsSync(memory).type !== TMPFS) throw new Error(`${memory} is on a disk`);
  return openSync(memory, O_TMPFILE | constants.O_RDWR, MODE);
}

function openNameless(path: string): number {
  const file = openSync(path, 'wx+', MODE);
  rmSync(path);
  return file;
}

function readerOf(file: number, data: Buffer): number {
  try {
    fchmodSync(file, MODE);
    for (let done = 0; done < data.length; ) done += writeSync(file, data, done);
    return openSync(`/proc/self/fd/${file}`, 'r');
  } finally {
    closeSync(file);
  }
}
