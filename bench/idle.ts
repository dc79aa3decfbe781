// What thousands of agents that have nothing to do cost a server, and how soon they are back when it was killed:
// node bench/idle.ts
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { until } from '../test/support/until.ts';
import { type Database, withDatabase } from './database.ts';
import { shown, spreadOf, table } from './figures.ts';
import { INSPECTABLE, inspect } from './inspector.ts';
import { cpuSeconds, residentBytes } from './processes.ts';
import { ended, fork, type Server, type Servers, withServers } from './servers.ts';

const AGENTS = 5_000;
const PROCESSES = 4;
/** Files that a server has open beside the connections of its agents, at most. */
const FILES_BESIDE = 200;
/** For a process to come to rest. */
const REST_MS = 8_000;
const IDLE_MS = 15_000;
const KILLS = 3;
const BACK_MS = 180_000;
const LOOK_MS = 50;

/** Of one process, without connections and with them. */
interface Cost {
  heapBytes: number;
  residentBytes: number;
  /** Of one core, while nothing happens. */
  cpu: number;
}

/** Seconds from the kill until half of the agents that the server held were back, and all. */
interface Return {
  /** How many agents the server held. */
  held: number;
  half: number;
  all: number;
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Memory of a process that is at rest, once its garbage is gone, and what it does when left alone. */
async function costOf(pid: number, heapBytes: () => Promise<number>): Promise<Cost> {
  await sleep(REST_MS);
  const heap = await heapBytes();
  const resident = residentBytes(pid);
  const before = cpuSeconds([pid]);
  const began = performance.now();
  await sleep(IDLE_MS);
  const cpu = (cpuSeconds([pid]) - before) / ((performance.now() - began) / 1_000);
  return { heapBytes: heap, residentBytes: resident, cpu };
}

interface Measured {
  empty: Cost;
  full: Cost;
  returns: Return[];
}

const NAMES = Array.from({ length: AGENTS }, (_, index) => `idle-${String(index).padStart(5, '0')}`);

/** One server on SQLite, which is started again at once after each kill. */
function startedAgain(): Promise<Measured> {
  return withServers({ on: 'sqlite' }, async (servers) => {
    const [server] = servers.servers as [Server];
    const { empty, full } = await costs(servers, server);
    const returns: Return[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(REST_MS);
      returns.push(await timeReturn(servers, server, () => servers.restart(server)));
    }
    return { empty, full, returns };
  });
}

/** Two servers on PostgreSQL: all agents are with one of them, which is killed. */
function takenOver(): Promise<Measured> {
  return withServers({ on: 'postgres', replicas: 2 }, async (servers) => {
    let [holder, other] = servers.servers as [Server, Server];
    const { empty, full } = await costs(servers, holder);
    const returns: Return[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(REST_MS);
      returns.push(await timeReturn(servers, holder, async () => {}));
      await servers.restart(holder);
      [holder, other] = [other, holder];
    }
    return { empty, full, returns };
  });
}

async function costs(servers: Servers, server: Server): Promise<{ empty: Cost; full: Cost }> {
  const inspector = await servers.inspect(server);
  const { pid } = server.process.child;
  const empty = await costOf(pid as number, inspector.heapBytes);
  await servers.startAgents(NAMES, { processes: PROCESSES, withFirst: true });
  const full = await costOf(pid as number, inspector.heapBytes);
  inspector.close();
  return { empty, full };
}

/** From the kill of a server until the database says that the agents that it held are online again. */
function timeReturn(servers: Servers, server: Server, restart: () => Promise<void>): Promise<Return> {
  return withDatabase(servers.open, async (database) => {
    const [lost] = await database.all<{ id: string; held: number }>(
      `select r."id", count(*) as "held" from "replicas" r join "agents" a on a."replicaId" = r."id"
       where a."state" = 'online' and r."name" like ? group by r."id"`,
      `%:${server.process.child.pid}`,
    );
    if (!lost) throw new Error(`${server.name} holds no agents`);
    const at = performance.now();
    await server.process.kill('SIGKILL');
    // What comes back while the server still starts counts, too.
    const [times] = await Promise.all([whenBack(database, lost, at), restart()]);
    return times;
  });
}

async function whenBack(database: Database, lost: { id: string; held: number }, at: number): Promise<Return> {
  const since = () => (performance.now() - at) / 1_000;
  let half = 0;
  let looked = 0;
  await until(
    'all agents back',
    async () => {
      if (performance.now() - looked < LOOK_MS) return false;
      looked = performance.now();
      const [found] = await database.all<{ online: number }>(
        `select count(*) as "online" from "agents" where "state" = 'online' and "replicaId" <> ?`,
        lost.id,
      );
      const away = AGENTS - (found?.online ?? 0);
      if (half === 0 && away <= lost.held / 2) half = since();
      return away === 0;
    },
    BACK_MS,
  );
  return { held: lost.held, half, all: since() };
}

/** The same number of sockets on a bare server, which sends nothing and hears as much. */
async function bareSockets(): Promise<Measured> {
  let server = await startBare(0);
  const { port } = server;
  const counts = new Map<ChildProcess, number>();
  const online = () => [...counts.values()].reduce((sum, count) => sum + count, 0);
  const clients: ChildProcess[] = [];
  try {
    const inspector = await inspect(server, server.log);
    const pid = server.child.pid as number;
    const empty = await costOf(pid, inspector.heapBytes);
    for (let index = 0; index < PROCESSES; index++) {
      const client = fork('bareSockets.ts', ['dial', `ws://127.0.0.1:${port}`, String(AGENTS / PROCESSES)]);
      client.on('message', ({ online: count }: { online: number }) => counts.set(client, count));
      clients.push(client);
    }
    await until('all sockets', () => online() === AGENTS, BACK_MS);
    const full = await costOf(pid, inspector.heapBytes);
    inspector.close();
    const returns: Return[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      const at = performance.now();
      await ended(server.child);
      await until('the sockets to be gone', () => online() === 0, BACK_MS);
      server = await startBare(port);
      let half = 0;
      await until(
        'all sockets',
        () => {
          if (half === 0 && online() >= AGENTS / 2) half = (performance.now() - at) / 1_000;
          return online() === AGENTS;
        },
        BACK_MS,
      );
      returns.push({ held: AGENTS, half, all: (performance.now() - at) / 1_000 });
    }
    return { empty, full, returns };
  } finally {
    await Promise.all([...clients, server.child].map(ended));
  }
}

async function startBare(port: number): Promise<{ child: ChildProcess; port: number; log: () => string }> {
  const child = spawn(
    process.execPath,
    [path.join(import.meta.dirname, 'bareSockets.ts'), 'serve', String(port)],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH ?? '', ...INSPECTABLE },
    },
  );
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const [line] = await once(child.stdout, 'data');
  return { child, port: Number(String(line)), log: () => log };
}

function checkFiles(): void {
  const limit = String(execFileSync('/bin/sh', ['-c', 'ulimit -Hn'])).trim();
  if (limit !== 'unlimited' && Number(limit) < AGENTS + FILES_BESIDE)
    throw new Error(`a process may open only ${limit} files here: ${AGENTS + FILES_BESIDE} are needed`);
}

export async function measure(): Promise<string> {
  checkFiles();
  const measured: [string, Measured][] = [
    ['SQLite; started again', await startedAgain()],
    ['PostgreSQL; a second replica takes them', await takenOver()],
    ['bare `ws` server; started again', await bareSockets()],
  ];
  const bare = (measured.at(-1) as [string, Measured])[1];
  const each = ({ empty, full }: Measured, what: 'heapBytes' | 'residentBytes') =>
    (full[what] - empty[what]) / AGENTS;
  const median = ({ returns }: Measured, what: keyof Return) =>
    spreadOf(returns.map((times) => times[what])).median;
  const worst = ({ returns }: Measured) => Math.max(...returns.map(({ all }) => all));
  const beside = (read: (of: Measured) => number) => (of: Measured) =>
    of === bare ? shown(read(of)) : `${shown(read(of))} (${shown(read(of) / read(bare))} ×)`;
  const row = (name: string, read: (of: Measured) => number) => [
    name,
    ...measured.map(([, of]) => beside(read)(of)),
  ];
  return [
    `${shown(AGENTS)} agents with keys of their own in ${PROCESSES} processes: the sessions of real agents, with all of the handshake, without journal, helper`,
    'and jobs. They say every 5 s that they are there. Memory is what the server has more than without them, the heap after a',
    `collection of garbage, ${REST_MS / 1_000} s after the last one came; processor time is part of one core over ${IDLE_MS / 1_000} s.`,
    `SIGKILL ${KILLS} times; a killed server is started again at once, or its agents go to a second one; they are back when the database`,
    'says that they are online. The bare server keeps as many sockets, hears as many messages of that size, and does nothing else;',
    'its clients dial again within 0.5 s. In brackets: beside the bare one.',
    '',
    table(
      ['', ...measured.map(([title]) => title)],
      [
        row('heap, KB an agent', (of) => each(of, 'heapBytes') / 1e3),
        row('resident memory, KB an agent', (of) => each(of, 'residentBytes') / 1e3),
        row('resident memory in all, MB', ({ full }) => full.residentBytes / 1e6),
        row('processor time while idle, % of a core', ({ full }) => full.cpu * 100),
        ['… without agents', ...measured.map(([, { empty }]) => shown(empty.cpu * 100))],
        row('agents of the killed server, median', (of) => median(of, 'held')),
        row('half are back after, s, median', (of) => median(of, 'half')),
        row('all are back after, s, median', (of) => median(of, 'all')),
        row('all are back after, s, worst', worst),
      ],
    ),
  ].join('\n');
}

if (import.meta.main) console.log(await measure());
