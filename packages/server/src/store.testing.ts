import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { DATABASE } from './backup.ts';
import { HandClock } from './clock.testing.ts';
import { type Clock, systemClock } from './clock.ts';
import { testPostgres, urlOf } from './postgres.testing.ts';
import type { Driver } from './store/driver.ts';
import { openPostgres } from './store/postgres.ts';
import { openSqlite } from './store/sqlite.ts';

let kind: 'sqlite' | 'postgres' = 'sqlite';

/**
 * Makes the tests of this process use a kind of store from now on. A test file holds PostgreSQL to the tests of others by
 * importing them after `onPostgres.testing.ts`.
 */
export function useStore(chosen: typeof kind): void {
  kind = chosen;
}

/** An empty database with its schema, of the kind that is in use. */
export interface TestDatabase {
  open(clock: Clock): Promise<Driver>;
  /** How a server is told to use it in place of its own file; undefined: it is a file. */
  url?: string;
  /** For the next test; nobody may be connected. */
  release(): Promise<void>;
}

export function testDatabase(): Promise<TestDatabase> {
  return kind === 'sqlite' ? file() : postgres();
}

/** The database of a server's folder. */
export async function databaseOfHome(home: string): Promise<TestDatabase> {
  if (kind === 'postgres') return postgres();
  return { open: (clock) => openSqlite(join(home, DATABASE), clock), release: async () => {} };
}

async function postgres(): Promise<TestDatabase> {
  const server = await testPostgres();
  const address = { ...(await server.database()), poolSize: 4 };
  return {
    // A test that moves the clock moves the database's, too; it cannot wait for it to move.
    open: (clock) =>
      openPostgres(address, systemClock, clock instanceof HandClock ? { now: () => clock.now() } : {}),
    url: urlOf(address),
    release: () => server.release(address),
  };
}

let folder = '';
let files = 0;

after(() => {
  if (folder !== '') rmSync(folder, { recursive: true });
});

async function file(): Promise<TestDatabase> {
  if (folder === '') {
    folder = mkdtempSync(join(tmpdir(), 'rota-store-'));
    await (await openSqlite(join(folder, 'empty.db'), new HandClock(0))).close();
  }
  files += 1;
  const path = join(folder, `${files}.db`);
  copyFileSync(join(folder, 'empty.db'), path);
  return { open: (clock) => openSqlite(path, clock), release: async () => rmSync(path, { force: true }) };
}
