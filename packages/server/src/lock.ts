import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** A server runs in this folder already. */
export class AlreadyRunningError extends Error {
  readonly pid: number;
  readonly url: string;
  constructor(pid: number, url: string) {
    super(`a server runs already: pid ${pid}, ${url}`);
    this.name = 'AlreadyRunningError';
    this.pid = pid;
    this.url = url;
  }
}

/** The right to use a data folder, held by this process alone. */
export interface HomeLock {
  /** Writes down where the server answers. */
  publish(pid: number, url: string): void;
  release(): void;
}

/**
 * Takes the folder for this process. The lock is one of the kernel's, on a database that is used for nothing else, so a
 * process that was killed does not hold it any more.
 * @throws AlreadyRunningError
 */
export function lockHome(home: string): HomeLock {
  const database = new DatabaseSync(join(home, 'lock.db'), { timeout: 0 });
  try {
    database.exec('begin exclusive');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    throw new AlreadyRunningError(Number(readFirstLine(home, 'pid')), readFirstLine(home, 'address'));
  }
  return {
    publish: (pid, url) => publish(home, pid, url),
    release() {
      withdraw(home);
      database.close();
    },
  };
}

/** The folder of a server whose data is elsewhere: it says where the server answers, and keeps nobody out. */
export function shareHome(home: string): HomeLock {
  return { publish: (pid, url) => publish(home, pid, url), release: () => withdraw(home) };
}

function publish(home: string, pid: number, url: string): void {
  writeFileSync(join(home, 'pid'), `${pid}\n`);
  writeFileSync(join(home, 'address'), `${url}\n`);
}

function withdraw(home: string): void {
  for (const file of ['pid', 'address']) rmSync(join(home, file), { force: true });
}

const SQLITE_BUSY = 5;

function readFirstLine(home: string, file: string): string {
  try {
    return readFileSync(join(home, file), 'utf8').split('\n', 1)[0] ?? '';
  } catch {
    return '';
  }
}
