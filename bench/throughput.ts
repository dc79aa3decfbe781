// Durable runs per second from plan to end through real servers and real WebSockets, with agents that cost little, on SQLite
// and on PostgreSQL; and where the time goes: node bench/throughput.ts
import { insertsIntoFile, insertsIntoPostgres } from './bareInserts.ts';
import { withDatabase } from './database.ts';
import { type Spread, shown, shownSpread, spreadOf, table } from './figures.ts';
import { burst } from './installed.ts';
import { describeFdatasyncs, fdatasyncs } from './limits.ts';
import { watchCpu } from './processes.ts';
import { describeProfile } from './profile.ts';
import { type Servers, withServers } from './servers.ts';
import { type Waits, watchWaits } from './waits.ts';

const RUNS = 3_000;
const TURNS = 3;
const ROWS_PER_COMMIT = 256;
/** As many as one server writes by, with the size that its pool has unless it is told otherwise. */
const WRITERS = 5;
/** Inserts and updates of rows that one scheduled run takes. */
const ROWS_PER_RUN = 19;
/** As many connections of agents as runs are spread over. */
const AGENTS = Array.from({ length: 12 }, (_, index) => `scripted-${String(index + 1).padStart(2, '0')}`);

type Size = Parameters<typeof withServers>[0];

const SIZES: { title: string; size: Size }[] = [
  { title: 'SQLite', size: { on: 'sqlite' } },
  { title: 'PostgreSQL, one replica', size: { on: 'postgres', replicas: 1 } },
  { title: 'PostgreSQL, three replicas', size: { on: 'postgres', replicas: 3 } },
];

interface Rates {
  /** Runs per second while they were planned, from due to ended, and over both. */
  planned: number;
  carriedOut: number;
  planToEnd: number;
}

interface Measured {
  title: string;
  rates: Rates[];
  /** Of one more turn, from the instant to the last end. */
  profile: string;
  cpu: Map<string, number>;
  commits: { perRun: number; meanMs: number };
  waits: Waits | null;
}

function measureOn({ title, size }: (typeof SIZES)[number]): Promise<Measured> {
  return withServers(size, async (servers) => {
    await servers.startAgents(AGENTS, { processes: 1 });
    const rates: Rates[] = [];
    for (let turn = 0; turn <= TURNS; turn++) {
      const rate = await turnOf(servers, `through${turn}`);
      if (turn > 0) rates.push(rate);
    }
    return { title, rates, ...(await profiled(servers, size.on === 'postgres')) };
  });
}

async function turnOf(
  servers: Servers,
  prefix: string,
  watched: { onDue?: () => void; lookMs?: number } = {},
): Promise<Rates> {
  const { dueAt, runs } = await burst(servers, {
    prefix,
    count: RUNS,
    command: ['/bin/true'],
    targetOf: (index) => [AGENTS[index % AGENTS.length] as string],
    ...watched,
  });
  const created = runs.map((run) => run.createdAt);
  const planMs = Math.max(1, Math.max(...created) - Math.min(...created));
  const endMs = Math.max(...runs.map((run) => run.endedAt as number)) - dueAt;
  return {
    planned: (RUNS / planMs) * 1_000,
    carriedOut: (RUNS / endMs) * 1_000,
    planToEnd: (RUNS / (planMs + endMs)) * 1_000,
  };
}

/** One more turn, watched from its instant on. */
async function profiled(servers: Servers, onPostgres: boolean): Promise<Omit<Measured, 'title' | 'rates'>> {
  const inspector = await servers.inspect(servers.servers[0] as Servers['servers'][number]);
  return withDatabase(servers.open, async (database) => {
    const due = Promise.withResolvers<void>();
    const turn = turnOf(servers, 'profiled', { onDue: due.resolve, lookMs: 100 });
    await Promise.race([due.promise, turn]);
    const before = await commitsOf(servers);
    const cpuUsed = watchCpu(servers.groups);
    const waited = onPostgres ? watchWaits(database) : null;
    const profile = await inspector.profile(() => turn.then(() => {}));
    const cpu = cpuUsed();
    const waits = waited && (await waited());
    const after = await commitsOf(servers);
    inspector.close();
    const count = after.count - before.count;
    return {
      profile: describeProfile(profile),
      cpu,
      commits: { perRun: count / RUNS, meanMs: ((after.seconds - before.seconds) / count) * 1_000 },
      waits,
    };
  });
}

/** How many transactions all servers have committed, and how long they took. */
async function commitsOf({ servers, installation }: Servers): Promise<{ count: number; seconds: number }> {
  const sums = { count: 0, seconds: 0 };
  for (const { url } of servers) {
    const answer = await fetch(`${url}/metrics`, {
      headers: { authorization: `Bearer ${installation.token()}` },
    });
    const text = await answer.text();
    const read = (name: string) =>
      Number(new RegExp(`^rota_store_commit_seconds_${name} (\\S+)$`, 'm').exec(text)?.[1]);
    sums.count += read('count');
    sums.seconds += read('sum');
  }
  return sums;
}

export async function measure(): Promise<string> {
  const disk = await fdatasyncs();
  const bare = {
    sqlite: await insertsIntoFile(ROWS_PER_COMMIT),
    sqliteSingle: await insertsIntoFile(1),
    postgres: await insertsIntoPostgres(ROWS_PER_COMMIT, 1),
    postgresWriters: await insertsIntoPostgres(ROWS_PER_COMMIT, WRITERS),
    postgresSingle: await insertsIntoPostgres(1, WRITERS),
  };
  const measured: Measured[] = [];
  for (const size of SIZES) measured.push(await measureOn(size));
  return [
    `${RUNS} jobs due at one instant, through real server processes and a WebSocket each to ${AGENTS.length} scripted agents in one other process,`,
    'which answer each message at once and keep nothing. From plan to end one run is',
    `${ROWS_PER_RUN} inserted or changed rows (of jobs, runs, attempts, events and agents) in five commits that it shares with others, and one`,
    `Ed25519 signature. PostgreSQL 18 with its own defaults (\`fsync\` and \`synchronous_commit\` on). ${TURNS} times after one for warming up,`,
    'median (min–max), runs per second. Compared with rows per second of a bare loop that inserts',
    `${ROWS_PER_COMMIT} rows a commit into one table with one index, by the same driver and as durably (on PostgreSQL on ${WRITERS} connections, as a server writes).`,
    '',
    table(
      [
        '',
        'planned',
        'from due to ended',
        '**from plan to end**',
        `as rows, ${ROWS_PER_RUN} a run`,
        '÷ bare batched inserts',
      ],
      measured.map(({ title, rates }, index) => {
        const limit = index === 0 ? bare.sqlite : bare.postgresWriters;
        const rate = (name: keyof Rates) => spreadOf(rates.map((each) => each[name]));
        const rows = rate('planToEnd').median * ROWS_PER_RUN;
        return [
          title,
          shownSpread(rate('planned')),
          shownSpread(rate('carriedOut')),
          shownSpread(rate('planToEnd')),
          shown(rows),
          shown(rows / limit.median),
        ];
      }),
    ),
    '',
    table(
      ['bare inserts of one row', 'per second'],
      (
        [
          [`SQLite, ${ROWS_PER_COMMIT} a commit`, bare.sqlite],
          ['SQLite, one a commit', bare.sqliteSingle],
          [`PostgreSQL, ${ROWS_PER_COMMIT} a commit, one connection`, bare.postgres],
          [`PostgreSQL, ${ROWS_PER_COMMIT} a commit, ${WRITERS} connections`, bare.postgresWriters],
          [`PostgreSQL, one a commit, ${WRITERS} connections`, bare.postgresSingle],
        ] satisfies [string, Spread][]
      ).map(([name, rate]) => [name, shownSpread(rate)]),
    ),
    '',
    'Where the time goes, from the instant to the last end, in one more turn: parts of all cores, and transactions that change something.',
    '',
    table(
      ['', ...measured.map(({ title }) => title)],
      [
        ...[...new Set(measured.flatMap(({ cpu }) => [...cpu.keys()]))].map((group) => [
          group,
          ...measured.map(({ cpu }) => percent(cpu.get(group))),
        ]),
        ['transactions a run', ...measured.map(({ commits }) => shown(commits.perRun))],
        ['one takes, ms', ...measured.map(({ commits }) => shown(commits.meanMs))],
        [
          'connections in a transaction',
          ...measured.map(({ waits }) => shown(waits?.inTransaction ?? Number.NaN)),
        ],
        ...[...new Set(measured.flatMap(({ waits }) => [...(waits?.shares.keys() ?? [])]))].map((what) => [
          `… of it: ${what}`,
          ...measured.map(({ waits }) => percent(waits?.shares.get(what))),
        ]),
      ],
    ),
    '',
    ...measured.flatMap(({ title, profile }) => [
      `Main thread of the (first) server, ${title}: ${profile}`,
      '',
    ]),
    `Limit in the same run: ${describeFdatasyncs(disk)}.`,
  ].join('\n');
}

function percent(share: number | undefined): string {
  return share === undefined ? '–' : `${shown(share * 100)} %`;
}

if (import.meta.main) console.log(await measure());
