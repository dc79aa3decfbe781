import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createClient } from '@rota/contract';
import { startDatabase } from '../test/support/database.ts';
import type { Installation, RotaProcess } from '../test/support/installation.ts';
import { until } from '../test/support/until.ts';
import { type Database, openFile, openPostgres, withDatabase } from './database.ts';
import { fillAgents } from './fill.ts';
import { INSPECTABLE, type Inspector, inspect } from './inspector.ts';
import { type Place, withInstallation } from './installed.ts';
import { type Groups, withChildren } from './processes.ts';

/** A server process that comes and goes under one name, at one address. */
export interface Server {
  readonly name: string;
  readonly url: string;
  process: RotaProcess;
}

/** Real servers, on a file or on a PostgreSQL with its own defaults, whose commits are durable. */
export interface Servers extends Place {
  readonly installation: Installation;
  readonly servers: readonly Server[];
  /** Whose processor time counts for what. */
  readonly groups: Groups;
  restart(server: Server): Promise<void>;
  inspect(server: Server): Promise<Inspector>;
  /**
   * Enrols agents and starts them, in so many processes one after the other; resolves when all are online. Each begins with another server, or
   * all `withFirst`.
   */
  startAgents(names: readonly string[], options: { processes: number; withFirst?: boolean }): Promise<void>;
}

/** For the agents of one process, which come all at once. */
const ONLINE_MS = 180_000;

/** Starts so many servers on a file (`null`: one) or on PostgreSQL, does `work` with them, and ends all. */
export function withServers<T>(
  size: { on: 'sqlite' } | { on: 'postgres'; replicas: number },
  work: (servers: Servers) => Promise<T>,
): Promise<T> {
  return withInstallation(async (installation) => {
    const postgres = size.on === 'postgres' ? await startDatabase([]) : null;
    const url = postgres && `postgres://postgres@127.0.0.1:${postgres.port}/${postgres.name}`;
    const servers: Server[] = [];
    const scripted: ChildProcess[] = [];
    const start = (name: string, listen: string) =>
      installation.startServer(['--listen', listen, '--log-level', 'warn'], {
        name,
        env: {
          ...INSPECTABLE,
          ...(url && {
            ROTA_DATABASE: url,
            ROTA_MASTER_KEY_FILE: path.join(installation.folder, 'master-key'),
          }),
        },
      });
    const open = (readOnly: boolean): Database | Promise<Database> =>
      url === null ? openFile(installation.databaseFile(), { readOnly }) : openPostgres(url);
    try {
      for (let number = 1; number <= (size.on === 'postgres' ? size.replicas : 1); number++) {
        const name = number === 1 ? 'server' : `server-${number}`;
        const process = await start(name, '127.0.0.1:0');
        servers.push({ name, process, url: installation.url(name) });
      }
      return await work({
        installation,
        servers,
        groups: {
          'server processes': () => servers.map(({ process }) => process.child.pid as number),
          ...(postgres && { PostgreSQL: () => withChildren(postgres.pid) }),
          'scripted agents': () => scripted.map(({ pid }) => pid as number),
          'the measuring process': () => [process.pid],
        },
        client: () => createClient({ url: (servers[0] as Server).url, token: installation.token(), fetch }),
        open: () => open(true),
        async restart(server) {
          server.process = await start(server.name, new URL(server.url).host);
        },
        inspect: ({ name, process }) => inspect(process, () => installation.log(name)),
        async startAgents(names, { processes, withFirst = false }) {
          const identities = await withDatabase(
            () => open(false),
            async (database) => {
              const [tenant] = await database.all<{ id: string }>('select "id" from "tenants"');
              return fillAgents(database, { tenantId: tenant?.id as string, names, now: Date.now() });
            },
          );
          const counts = new Map<ChildProcess, number>();
          const online = () => [...counts.values()].reduce((sum, count) => sum + count, 0);
          const each = Math.ceil(names.length / processes);
          for (let at = 0; at < names.length; at += each) {
            const file = path.join(installation.folder, `identities-${scripted.length}.json`);
            writeFileSync(file, JSON.stringify(identities.slice(at, at + each)), { mode: 0o600 });
            const urls = servers.map(({ url }) => url);
            const child = fork('scriptedAgent.ts', [file, withFirst ? 'together' : 'spread', ...urls]);
            child.on('message', ({ online }: { online: number }) => counts.set(child, online));
            scripted.push(child);
            const started = Math.min(at + each, names.length);
            await until(`${started} scripted agents online`, () => online() === started, ONLINE_MS);
          }
        },
      });
    } finally {
      await Promise.all(scripted.map(ended));
      if (postgres) {
        await installation.kill();
        await postgres.stop();
      }
    }
  });
}

/** Starts a program of this folder that tells how many of its connections are online. */
export function fork(program: string, args: string[]): ChildProcess {
  return spawn(process.execPath, [path.join(import.meta.dirname, program), ...args], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { PATH: process.env.PATH ?? '' },
  });
}

/** Ends a process. */
export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}
