import { execFile } from 'node:child_process';
import { constants, mkdirSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';

/**
 * Real pipes for the outputs of commands. What the runtime itself gives a child are sockets, and those cannot be
 * opened again: `echo x > /dev/stderr` fails on them. So the pipes are named ones, made many at a time and without a
 * name as soon as both ends are open.
 */
export interface Pipes {
  /** Makes sure that so many can be opened. @throws when the system cannot make them */
  reserve(count: number): Promise<void>;
  /** So many of those reserved are not needed. */
  release(count: number): void;
  /** One pipe of those reserved: `reader` ends once every writer has gone, `writer` is the child's end, to be closed after the start. */
  open(): { reader: Socket; writer: number };
}

/** How many one call makes: it costs a process. */
const BATCH = 64;
/** Any user may write, as the child may be another one; the folder is closed to all but the agent. */
const MODE = '622';

export function createPipes(folder: string): Pipes {
  const free: string[] = [];
  let reserved = 0;
  let count = 0;
  let making: Promise<void> = Promise.resolve();
  mkdirSync(folder, { recursive: true, mode: 0o700 });

  function make(): Promise<void> {
    const paths = Array.from({ length: BATCH }, () => `${folder}/${++count}`);
    return new Promise((resolve, reject) => {
      execFile('mkfifo', ['-m', MODE, ...paths], (error) => {
        if (error) return reject(new Error(`no pipe for the output could be made: ${error.message}`));
        free.push(...paths);
        resolve();
      });
    });
  }

  return {
    async reserve(wanted) {
      reserved += wanted;
      const turn = making.then(async () => {
        while (free.length < reserved) await make();
      });
      making = turn.catch(() => {});
      try {
        await turn;
      } catch (error) {
        reserved -= wanted;
        throw error;
      }
    },
    release(unneeded) {
      reserved -= unneeded;
    },
    open() {
      const path = free.shift();
      if (path === undefined) throw new Error('no pipe is left');
      reserved -= 1;
      try {
        const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
        const writer = openSync(path, constants.O_WRONLY);
        return { reader: new Socket({ fd: reader, readable: true, writable: false }), writer };
      } finally {
        rmSync(path, { force: true });
      }
    },
  };
}
