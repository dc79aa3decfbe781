import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { startPostgres } from '../../packages/server/src/postgres.testing.ts';
import { until } from './until.ts';

/** PostgreSQL refuses to run as root: `nobody` runs it then. */
const NOBODY = 65_534;

/** What a process that dies leaves behind survives without it; a machine that does is not staged. */
const SETTINGS = ['fsync=off', 'shared_buffers=128MB', 'max_connections=200', 'max_wal_size=1GB'];

/** A PostgreSQL that can be stopped as by a crash and started again. It is gone when this process is. */
export interface BreakableDatabase {
  readonly port: number;
  readonly name: string;
  /** Of its main process. */
  readonly pid: number;
  /** Stops it at once, as `-m immediate` does: every connection is cut, and the next start recovers. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Ends all connections; it goes on. */
  cutConnections(): Promise<void>;
}

export async function startDatabase(settings = SETTINGS): Promise<BreakableDatabase> {
  const postgres = await startPostgres(settings);
  const { host, port, user, database: name } = await postgres.database();
  const connect = async () => {
    const client = new pg.Client({ host, port, user, database: 'postgres' });
    client.on('error', () => {});
    await client.connect();
    return client;
  };
  const first = await connect();
  const found = await first.query<{ folder: string }>(`select current_setting('data_directory') as "folder"`);
  await first.end();
  const data = found.rows[0]?.folder as string;
  const pidNow = () => Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]);
  const flags = ['listen_addresses=127.0.0.1', ...settings].flatMap((setting) => ['-c', setting]);

  return {
    port,
    name,
    get pid() {
      return pidNow();
    },
    async stop() {
      const pid = pidNow();
      process.kill(pid, 'SIGQUIT');
      await until('the database to stop', () => !isAlive(pid));
    },
    async start() {
      const program = join(dirname(data), 'native/bin/postgres');
      const child = spawn(
        '/bin/sh',
        ['-c', UNTIL_INPUT_ENDS, program, '-D', data, '-p', String(port), '-k', '', ...flags],
        {
          cwd: dirname(data),
          stdio: ['pipe', 'ignore', 'ignore'],
          detached: true,
          ...(process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}),
        },
      );
      child.unref();
      (child.stdin as unknown as { unref(): void }).unref();
      await until('the database to start', async () => {
        const client = await connect();
        await client.end();
        return true;
      });
    },
    async cutConnections() {
      const client = await connect();
      await client.query(
        'select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = $1',
        [name],
      );
      await client.end();
    },
  };
}

/** Ends the database when the input does, which is when the tests' process has ended, however that was. */
const UNTIL_INPUT_ENDS = '"$0" "$@" & server=$!; read -r _; kill -QUIT $server; wait $server';

/** One that has ended but was not waited for yet is not alive. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
