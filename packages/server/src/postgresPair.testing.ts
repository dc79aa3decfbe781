import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { freePort, install, run } from './postgres.testing.ts';
import type { PostgresAddress } from './store/postgresConnection.ts';

/** A way to a port that can be cut, and made to lead elsewhere. */
export class Switch {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Null: nobody gets through. */
  target: number | null;

  constructor(target: number) {
    this.target = target;
    this.#server = createServer((client) => {
      if (this.target === null) return client.destroy();
      const upstream = connect(this.target, '127.0.0.1');
      for (const [one, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => {});
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    // Whoever forgets it must not hold the tests' process.
    this.#server.unref();
    return (this.#server.address() as { port: number }).port;
  }

  cut(): void {
    this.target = null;
    for (const socket of this.#sockets) socket.destroy();
  }

  lead(target: number): void {
    this.cut();
    this.target = target;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

/** A primary and a standby that follows it as fast as it can, and a way for servers that leads to the primary at first. */
export interface PostgresPair {
  address: PostgresAddress;
  way: Switch;
  /** Resolves once the standby has all that is committed. */
  caughtUp(): Promise<void>;
  /** From now on the standby gets nothing more. */
  loseCommits(): void;
  /** The primary dies, and the standby takes over. */
  failOver(): Promise<void>;
  /** The old primary comes back, and does not know of any other. */
  resurrect(): Promise<void>;
  readonly primary: number;
  readonly standby: number;
  close(): void;
}

const SETTINGS = [
  'wal_level=replica',
  'wal_keep_size=512MB',
  'hot_standby=on',
  'fsync=off',
  'autovacuum=off',
  'shared_buffers=32MB',
  'max_connections=100',
  'wal_retrieve_retry_interval=100ms',
];

export async function startPair(): Promise<PostgresPair> {
  const folder = install();
  const primary = await freePort();
  const link = new Switch(primary);
  const linkPort = await link.listen();
  const other = mkdtempSync(join(tmpdir(), 'rota-standby-'));
  spawnSync('chmod', ['755', other]);
  symlinkSync(join(folder, 'native'), join(other, 'native'));
  // Nobody has used it yet: a copy of its files is a base backup.
  cpSync(join(folder, 'data'), join(other, 'data'), { recursive: true, preserveTimestamps: true });
  writeFileSync(join(other, 'data', 'standby.signal'), '');
  writeFileSync(
    join(other, 'data', 'postgresql.auto.conf'),
    `primary_conninfo = 'host=127.0.0.1 port=${linkPort} user=postgres'\n`,
  );
  if (process.getuid?.() === 0) spawnSync('chown', ['-R', '65534:65534', other]);
  spawnSync('chmod', ['700', join(other, 'data')]);
  const standby = await freePort();
  await run(folder, primary, SETTINGS);
  await run(other, standby, SETTINGS);
  const way = new Switch(primary);
  const port = await way.listen();

  const ask = async <R extends pg.QueryResultRow>(at: number, text: string): Promise<R> => {
    const client = new pg.Client({ host: '127.0.0.1', port: at, user: 'postgres', database: 'postgres' });
    await client.connect();
    try {
      return (await client.query<R>(text)).rows[0] as R;
    } finally {
      await client.end();
    }
  };
  const until = async (condition: () => Promise<boolean>) => {
    while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
  };

  return {
    address: {
      host: '127.0.0.1',
      port,
      user: 'postgres',
      password: null,
      database: 'postgres',
      tls: null,
      poolSize: 4,
      pooler: false,
    },
    way,
    primary,
    standby,
    async caughtUp() {
      const { at } = await ask<{ at: string }>(primary, 'select pg_current_wal_lsn()::text as "at"');
      await until(async () => {
        const { there } = await ask<{ there: boolean }>(
          standby,
          `select coalesce(pg_last_wal_replay_lsn() >= '${at}', false) as "there"`,
        );
        return there;
      });
    },
    loseCommits: () => link.cut(),
    async failOver() {
      way.cut();
      const [pid] = readFileSync(join(folder, 'data', 'postmaster.pid'), 'utf8').split('\n');
      process.kill(Number(pid), 'SIGKILL');
      await ask(standby, 'select pg_promote(true, 60)');
      way.lead(standby);
    },
    async resurrect() {
      way.cut();
      // The one that was killed is not reaped yet, and so seems to be there.
      rmSync(join(folder, 'data', 'postmaster.pid'));
      await run(folder, primary, SETTINGS);
      way.lead(primary);
    },
    close() {
      link.close();
      way.close();
    },
  };
}
