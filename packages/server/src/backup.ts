import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { keyFault, MasterKeyError } from './auth/masterKey.ts';
import type { Clock } from './clock.ts';
import { lockHome } from './lock.ts';
import { openSqlite } from './store/sqlite.ts';
import { createStore, type Store } from './store/store.ts';

/** The database's file in a data folder. */
export const DATABASE = 'rota.db';
/** Where a restore keeps the database that it replaced. */
const REPLACED = 'rota.db.before-restore';
/** All pages in one step: a copy in steps begins again at each write of another process. */
const ALL_PAGES = 2 ** 30;

/**
 * Copies a server's data into one file that only its owner can read; the server may be running. The copy is one moment's,
 * holds the server's keys, and appears under its name only when it is whole.
 * @throws Error when there is no data
 */
export async function backupDatabase(home: string, file: string): Promise<{ bytes: number }> {
  const source = join(home, DATABASE);
  if (!existsSync(source))
    throw new Error(`there is no data of a server in ${home}; data in PostgreSQL is backed up with pg_dump`);
  const target = resolve(file);
  const partial = `${target}.partial`;
  rmSync(partial, { force: true });
  closeSync(openSync(partial, 'wx', 0o600));
  const database = new DatabaseSync(source, { timeout: 5_000 });
  try {
    await backup(database, partial, { rate: ALL_PAGES });
    makeDurable(partial);
    renameSync(partial, target);
    makeDurable(dirname(target));
  } finally {
    database.close();
    rmSync(partial, { force: true });
  }
  return { bytes: statSync(target).size };
}

/**
 * Puts a backup in place of a server's data. The data that was there is kept beside it; `force` lets that replace what an
 * earlier restore has kept. Agents may resume with the nonces they have now, and runs that were going on become unknown.
 * The master keys of the secrets in it have to be in their file, unless there are no values under them, or `loseSecrets`: what
 * nobody can read any more is deleted then. @throws AlreadyRunningError, MasterKeyError, SchemaTooNewError, or Error when the file is not a whole backup
 */
export async function restoreDatabase(
  home: string,
  file: string,
  options: { force: boolean; loseSecrets: boolean; masterKeyFile: string; clock: Clock },
): Promise<void> {
  const source = resolve(file);
  checkBackup(source);
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const lock = lockHome(home);
  const partial = join(home, `${DATABASE}.partial`);
  try {
    const current = join(home, DATABASE);
    const replaced = join(home, REPLACED);
    if (existsSync(current) && existsSync(replaced) && !options.force)
      throw new Error(
        `${replaced} is there from an earlier restore; move it away, or use --force to replace it`,
      );
    removeDatabase(partial);
    copyFileSync(source, partial);
    chmodSync(partial, 0o600);
    const store = createStore(await openSqlite(partial, options.clock));
    try {
      await settleKeys(store, options);
      await store.beginRecovery({ cause: 'restore' });
    } finally {
      await store.close();
    }
    makeDurable(partial);
    if (existsSync(current)) {
      removeDatabase(replaced);
      // What is not in the file yet is in the log beside it: they stay together.
      if (existsSync(`${current}-wal`)) renameSync(`${current}-wal`, `${replaced}-wal`);
      renameSync(current, replaced);
      rmSync(`${current}-shm`, { force: true });
    }
    renameSync(partial, current);
    makeDurable(home);
  } finally {
    removeDatabase(partial);
    lock.release();
  }
}

/** A database is not put in place whose secrets nobody could read, unless that is meant. @throws MasterKeyError */
async function settleKeys(
  store: Store,
  options: { loseSecrets: boolean; masterKeyFile: string },
): Promise<void> {
  const values = new Map((await store.countSecretsByKey({})).map(({ keyId, count }) => [keyId, count]));
  const lost: string[] = [];
  for (const key of await store.readMasterKeys({})) {
    const fault = keyFault(options.masterKeyFile, [key]);
    if (fault === null) continue;
    const count = values.get(key.id) ?? 0;
    if (count > 0 && !options.loseSecrets)
      throw new MasterKeyError(`${count} secrets of the backup could not be read: ${fault}`);
    lost.push(key.id);
  }
  if (lost.length > 0) await store.forgetMasterKeys({ ids: lost, by: 'restore' });
}

/** @throws Error when the file is not a whole database of Rota */
function checkBackup(file: string): void {
  if (!existsSync(file)) throw new Error(`there is no file ${file}`);
  let fault: string | null = null;
  try {
    const database = new DatabaseSync(file, { readOnly: true });
    try {
      const [first] = database.prepare('pragma integrity_check').all() as { integrity_check: string }[];
      if (first?.integrity_check !== 'ok') fault = 'it is damaged';
      const tables = database
        .prepare("select name from sqlite_master where name in ('jobs', 'tenants')")
        .all();
      if (tables.length !== 2) fault = 'it is not a backup of Rota';
    } finally {
      database.close();
    }
  } catch (error) {
    fault = (error as Error).message;
  }
  if (fault !== null) throw new Error(`${file} cannot be restored: ${fault}`);
}

function removeDatabase(file: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(`${file}${suffix}`, { force: true });
}

/** Makes a file's content, or a folder's names, survive a power cut. */
function makeDurable(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
