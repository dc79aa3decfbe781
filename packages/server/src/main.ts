import {
  chmodSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { pino } from 'pino';
import { newCredential } from './auth/credential.ts';
import { keyFault, openKeyring } from './auth/masterKey.ts';
import { newServerKey } from './auth/serverKey.ts';
import { backupDatabase, DATABASE, restoreDatabase } from './backup.ts';
import { type Clock, systemClock } from './clock.ts';
import { type Config, masterKeyFileOf, readConfig, type ServerOptions } from './config.ts';
import { lockHome, shareHome } from './lock.ts';
import { createLogger } from './log.ts';
import { newId, type Random, systemRandom } from './random.ts';
import { type Composed, composeServer } from './server.ts';
import { type CopiedTable, copyToPostgres } from './store/copy.ts';
import type { Driver } from './store/driver.ts';
import { type MigrationStatus, migrationStatus } from './store/migrate.ts';
import { openPostgres } from './store/postgres.ts';
import { openSqlite } from './store/sqlite.ts';
import { createStore, type Store } from './store/store.ts';

export { MasterKeyError } from './auth/masterKey.ts';
export { ConfigError, masterKeyFileOf, type ServerOptions } from './config.ts';
export { AlreadyRunningError } from './lock.ts';
export { type CopiedTable, NotEmptyError } from './store/copy.ts';
export { type MigrationStatus, SchemaTooNewError } from './store/migrate.ts';

export interface RunningServer {
  /** Where it answers, for a caller on this machine. */
  url: string;
  pid: number;
  home: string;
  /** The file with the first admin token; only its owner can read it. */
  tokenFile: string;
  /** Whether this start has made the data. */
  firstStart: boolean;
  /** Lets requests end, tells agents, and closes; takes at most 10 s. Running jobs go on. */
  stop(): Promise<void>;
  /** A join token for an agent on this machine. */
  createLocalJoinToken(): Promise<string>;
  /** How many runs are going on. */
  activeRuns(): Promise<number>;
  /** Resolves when the agent of this name is online; rejects when `signal` is aborted first. */
  whenAgentOnline(name: string, signal: AbortSignal): Promise<void>;
}

const TENANT = 'default';
const TOKEN_FILE = 'admin-token';
const STOP_MS = 10_000;
const JOIN_TOKEN_MS = 3_600_000;

/**
 * Starts a server in its data folder, which is made at the first start.
 * @throws ConfigError, AlreadyRunningError, SchemaTooNewError, or the system's error when the address is taken
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const config = readConfig(options, (path) => readFileSync(path, 'utf8'));
  const { home } = config;
  mkdirSync(home, { recursive: true, mode: 0o700 });
  chmodSync(home, 0o700);
  const lock = config.database === null ? lockHome(home) : shareHome(home);
  const destination = logDestination(config);
  let store: Store | null = null;
  let composed: Composed | null = null;
  try {
    const log = createLogger({ level: config.logLevel, destination });
    const driver = await openDatabase(config);
    store = createStore(driver);
    // With a database on another machine, the time is that machine's.
    const clock: Clock = { now: () => driver.now(), after: systemClock.after };
    const tokenFile = join(home, TOKEN_FILE);
    const { tenantId, firstStart } = await setUp(store, systemRandom, config, tokenFile);
    const keyring = await openKeyring({
      file: config.masterKeyFile,
      store,
      random: systemRandom,
      now: systemClock.now,
    });
    if ((statSync(keyring.file).mode & 0o077) !== 0)
      log.warn(
        { file: keyring.file },
        'others on this machine can read the master key; chmod 600 keeps them out',
      );
    const version = versionOf();
    const name = `${hostname()}:${process.pid}`;
    const random = systemRandom;
    composed = await composeServer({ config, store, keyring, clock, random, log, version, name });
    await composed.join();
    await composed.app.listen({ ...config.listen }).catch((error: NodeJS.ErrnoException) => {
      throw listenFault(error, config.listen);
    });
    composed.start();
    const url = urlOf(config, composed.app.server.address() as AddressInfo);
    lock.publish(process.pid, url);
    log.info({ url, version, home, firstStart }, 'server started');

    const running = { store, composed };
    let stopped: Promise<void> | null = null;
    return {
      url,
      pid: process.pid,
      home,
      tokenFile,
      firstStart,
      stop() {
        stopped ??= stop(running.composed, running.store, log).finally(() => {
          lock.release();
          destination.end();
        });
        return stopped;
      },
      createLocalJoinToken: () => createLocalJoinToken(running.store, systemRandom, tenantId),
      activeRuns: () => countActive(running.store, tenantId),
      whenAgentOnline: (name, signal) =>
        whenAgentOnline(running.store, running.composed, tenantId, name, signal),
    };
  } catch (error) {
    await composed?.stop();
    await store?.close();
    lock.release();
    destination.end();
    throw error;
  }
}

function openDatabase(
  { database, home }: Pick<Config, 'database' | 'home'>,
  options: { migrated?: boolean } = {},
): Promise<Driver> {
  return database === null
    ? openSqlite(join(home, DATABASE), systemClock, options)
    : openPostgres(database, systemClock, options);
}

/** What was done to the schema of a server's data, and what is to do; with `migrate`, it is done. @throws SchemaTooNewError */
export async function migrateServer(
  options: ServerOptions,
  { migrate }: { migrate: boolean },
): Promise<MigrationStatus[]> {
  const config = readConfig(options, (path) => readFileSync(path, 'utf8'));
  if (config.database === null && !existsSync(join(config.home, DATABASE)))
    throw new Error(`there is no data of a server in ${config.home}`);
  const driver = await openDatabase(config, { migrated: migrate });
  try {
    return await driver.read(migrationStatus);
  } finally {
    await driver.close();
  }
}

/**
 * Copies a server's file, which no server may use meanwhile, to the empty PostgreSQL database of `options`.
 * @throws ConfigError, AlreadyRunningError, NotEmptyError
 */
export async function copyServer(
  options: ServerOptions,
  file: string,
  onProgress: (copied: CopiedTable) => void,
): Promise<CopiedTable[]> {
  const { database } = readConfig(options, (path) => readFileSync(path, 'utf8'));
  if (database === null)
    throw new Error(
      'name the PostgreSQL database to copy to: --to, or ROTA_DATABASE_FILE for one with a password',
    );
  if (!existsSync(file)) throw new Error(`there is no file ${file}`);
  const lock = lockHome(dirname(file));
  try {
    // Of an older version, it is brought up to date first, as a start would do it.
    await (await openSqlite(file, systemClock)).close();
    const target = await openPostgres(database, systemClock);
    try {
      return await copyToPostgres(file, target, onProgress);
    } finally {
      await target.close();
    }
  } finally {
    lock.release();
  }
}

/** Copies a server's data into one file, also while it runs. @throws Error when there is none */
export function backupServer(home: string, file: string): Promise<{ bytes: number }> {
  return backupDatabase(home, file);
}

/** Puts a backup in place of a server's data, which is kept aside. @throws AlreadyRunningError, SchemaTooNewError */
export function restoreServer(
  home: string,
  file: string,
  options: { force?: boolean; loseSecrets?: boolean; masterKeyFile?: string } = {},
): Promise<void> {
  const { force = false, loseSecrets = false, masterKeyFile = masterKeyFileOf(home) } = options;
  return restoreDatabase(home, file, { force, loseSecrets, masterKeyFile, clock: systemClock });
}

/**
 * Gives up the secrets whose master key is in no file any more, so that a server can start without it. No server may run.
 * @returns how many values were deleted, and under which keys
 * @throws ConfigError, AlreadyRunningError
 */
export async function loseSecrets(options: ServerOptions): Promise<{ secrets: number; keys: string[] }> {
  const config = readConfig(options, (path) => readFileSync(path, 'utf8'));
  const lock = config.database === null ? lockHome(config.home) : null;
  try {
    const store = createStore(await openDatabase(config));
    try {
      const known = await store.readMasterKeys({});
      const ids = known.filter((key) => keyFault(config.masterKeyFile, [key]) !== null).map(({ id }) => id);
      return { secrets: await store.forgetMasterKeys({ ids, by: 'lose-secrets' }), keys: ids };
    } finally {
      await store.close();
    }
  } finally {
    lock?.release();
  }
}

/**
 * Tells a PostgreSQL database that it was put back from a backup: its agents have gone on since, and are believed once.
 * @throws ConfigError, or Error when the data is not in PostgreSQL
 */
export async function restoredServer(options: ServerOptions): Promise<void> {
  const { database } = readConfig(options, (path) => readFileSync(path, 'utf8'));
  if (database === null)
    throw new Error('name the PostgreSQL database that was put back: --database, or ROTA_DATABASE_FILE');
  const store = createStore(await openPostgres(database, systemClock));
  try {
    await store.beginRecovery({ cause: 'restore' });
  } finally {
    await store.close();
  }
}

/** Makes the tenant, the keys and the first token at the first start. */
async function setUp(
  store: Store,
  random: Random,
  config: Config,
  tokenFile: string,
): Promise<{ tenantId: string; firstStart: boolean }> {
  const tenant = await store.tenantByName({ name: TENANT });
  if (tenant) {
    if (config.timezone !== null && config.timezone !== tenant.timezone)
      await store.setTimezone({ tenantId: tenant.id, timezone: config.timezone });
    return { tenantId: tenant.id, firstStart: false };
  }
  const tenantId = newId(random);
  const token = newCredential('token', random);
  // The file comes first: a crash in between leaves a file that the next start replaces, not a token that nobody has.
  const partial = `${tokenFile}.partial`;
  writeFileSync(partial, `${token.text}\n`, { mode: 0o600 });
  renameSync(partial, tokenFile);
  const { created } = await store.setUp({
    tenant: {
      id: tenantId,
      name: TENANT,
      timezone: config.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
    },
    token: { id: token.id, name: 'admin', hash: token.hash, role: 'admin' },
    key: { id: newId(random), ...newServerKey() },
  });
  if (created) return { tenantId, firstStart: true };
  // Another server was first; its folder has the token that counts.
  rmSync(tokenFile);
  return setUp(store, random, config, tokenFile);
}

async function stop(composed: Composed, store: Store, log: pino.Logger): Promise<void> {
  log.info('server stops');
  const timer = systemClock.after(STOP_MS, () => composed.app.server.closeAllConnections());
  try {
    await composed.stop();
  } finally {
    timer.cancel();
    await store.close();
    log.info('server stopped');
  }
}

async function createLocalJoinToken(store: Store, random: Random, tenantId: string): Promise<string> {
  const credential = newCredential('joinToken', random);
  await store.createJoinToken({
    tenantId,
    id: credential.id,
    hash: credential.hash,
    labelsJson: '{}',
    createdBy: null,
    expiresInMs: JOIN_TOKEN_MS,
  });
  return credential.text;
}

async function countActive(store: Store, tenantId: string): Promise<number> {
  const { starting = 0, running = 0 } = await store.countActiveRuns({ tenantId });
  return starting + running;
}

async function whenAgentOnline(
  store: Store,
  composed: Composed,
  tenantId: string,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const agent = await store.getAgent({ tenantId, name });
    if (agent?.state === 'online') return;
    await new Promise<void>((resolve) => {
      const done = () => {
        timer.cancel();
        unsubscribe();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = systemClock.after(LOOK_MS, done);
      const unsubscribe = composed.hints.on('events', done);
      signal.addEventListener('abort', done);
    });
  }
}

const LOOK_MS = 250;

function logDestination(config: Config) {
  const dest = config.logTo === 'file' ? openSync(join(config.home, 'server.log'), 'a', 0o600) : 1;
  return pino.destination({ dest, sync: false });
}

/** Why nobody can listen there, in words; the machine's own for what is rare. */
function listenFault(error: NodeJS.ErrnoException, { host, port }: Config['listen']): Error {
  const place = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const words: Record<string, string> = {
    EADDRINUSE: `another program listens at ${place}: end it, or name another place with --listen`,
    EADDRNOTAVAIL: `this machine has no address ${host}: name one that it has with --listen`,
    EACCES: `this user may not listen at ${place}: name a port above 1023 with --listen`,
  };
  const message = words[error.code ?? ''];
  return message === undefined ? error : new Error(message, { cause: error });
}

/** Where a program on this machine reaches the server. */
function urlOf(config: Config, { port }: AddressInfo): string {
  const { host } = config.listen;
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const scheme = config.tls === null ? 'http' : 'https';
  return `${scheme}://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

function versionOf(): string {
  const file = new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
