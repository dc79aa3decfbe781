import { readFileSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/** Held by a session process while it uses a state folder. */
export interface Lock {
  release(): void;
}

/**
 * Takes the state folder for this process: a lock that the kernel frees when the process dies, however it dies.
 * @throws Error naming the pid of the agent that has it
 */
export function takeLock(folder: string, pid: number): Lock {
  const database = new DatabaseSync(`${folder}/lock.db`, { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== 5) throw error;
    throw new Error(`another agent (pid ${readPid(folder)}) uses the folder ${folder}`, { cause: error });
  }
  try {
    writeFileSync(`${folder}/pid`, `${pid}\n`, { mode: 0o600 });
  } catch {
    // It only makes the message above better; a full disk must not keep the agent from reporting.
  }
  return { release: () => database.close() };
}

function readPid(folder: string): string {
  try {
    return readFileSync(`${folder}/pid`, 'utf8').trim();
  } catch {
    return 'unknown';
  }
}
