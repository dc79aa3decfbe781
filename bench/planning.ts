// What a tick of planning and dispatch costs with many stored jobs of which 100 are due: node bench/planning.ts
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SUCCEEDED } from '../packages/server/src/attemptReports.testing.ts';
import type { Clock } from '../packages/server/src/clock.ts';
import { newId, systemRandom } from '../packages/server/src/random.ts';
import { createDefinitions } from '../packages/server/src/runs/definitions.ts';
import { attemptIdOf } from '../packages/server/src/runs/ids.ts';
import { LOOK_MS, planJob } from '../packages/server/src/scheduler/plan.ts';
import { openSqlite } from '../packages/server/src/store/sqlite.ts';
import { createStore, type Store } from '../packages/server/src/store/store.ts';
import { openFile, withDatabase } from './database.ts';
import { type Spread, shown, shownSpread, spreadOf, table } from './figures.ts';
import { dailyJobs, type FilledJob, fillAgents, fillJobs } from './fill.ts';
import { describeFdatasyncs, fdatasyncs } from './limits.ts';

const STORED = [1_000, 100_000, 1_000_000];
const DUE = 100;
const MINUTE_MS = 60_000;
const START = Date.parse('2027-01-01T00:00:00Z');
const WARM_UP = 5;
const TICKS = 31;
const TENANT = 'tenant';

const STEPS = [
  'nothing due: readDueJobs + readNextPlanAt',
  'readDueJobs',
  'planJob, all',
  'storePlans',
  'queueDueRuns',
  'readQueuedRuns',
  'decideRuns',
  'settleOverdueRuns + readNextWakeAt',
  'accept, start, end of all runs',
] as const;
type Step = (typeof STEPS)[number];

function* dueEachMinute(): Generator<FilledJob> {
  for (let index = 0; index < DUE; index++)
    yield { name: `minute-${index}`, schedule: '* * * * *', nextAt: START + MINUTE_MS };
}

function* allJobs(stored: number): Generator<FilledJob> {
  yield* dueEachMinute();
  yield* dailyJobs(stored - DUE, START);
}

interface Ticks {
  steps: Map<Step, Spread>;
  plan: Spread;
  /** Pages that one commit of all plans writes. */
  pages: number;
  file: number;
}

/** Fills a database with jobs and lets ticks pass, one a minute, on a clock that only this program moves. */
async function ticksWith(stored: number): Promise<Ticks> {
  const folder = mkdtempSync(path.join(tmpdir(), 'rota-bench-'));
  const file = path.join(folder, 'rota.db');
  let now = START;
  const clock: Clock = {
    now: () => now,
    after: () => {
      throw new Error('the store has no timers');
    },
  };
  try {
    const empty = createStore(await openSqlite(file, clock));
    await empty.createTenant({ id: TENANT, name: 'bench', timezone: 'UTC' });
    await empty.close();
    const agentId = await addAgent(file);
    fillJobs(file, { tenantId: TENANT, jobs: allJobs(stored), now: START, history: true });
    const store = createStore(await openSqlite(file, clock));
    const definitions = createDefinitions();
    const times = new Map<Step, number[]>(STEPS.map((step) => [step, []]));
    const plans: number[] = [];
    let pages = 0;
    for (let tick = 1; tick <= WARM_UP + TICKS; tick++) {
      const took = new Map<Step, number>();
      const timed = async <T>(step: Step, work: () => T | Promise<T>): Promise<T> => {
        const begin = performance.now();
        const value = await work();
        took.set(step, performance.now() - begin);
        return value;
      };
      now = START + tick * MINUTE_MS - LOOK_MS - 1;
      await timed('nothing due: readDueJobs + readNextPlanAt', async () => {
        await store.readDueJobs({ horizon: now + LOOK_MS, limit: 200 });
        await store.readNextPlanAt({});
      });
      now += 1;
      const jobs = await timed('readDueJobs', () =>
        store.readDueJobs({ horizon: now + LOOK_MS, limit: 200 }),
      );
      const planned = await timed('planJob, all', () =>
        jobs.map((job) => {
          const { definition, schedules } = definitions.ofJob(job);
          return planJob(job, definition, schedules, now, () => newId(systemRandom));
        }),
      );
      if (tick === WARM_UP) emptyWal(file);
      await timed('storePlans', () => store.storePlans({ plans: planned }));
      if (tick === WARM_UP) pages = walPages(file);
      now = START + tick * MINUTE_MS;
      await timed('queueDueRuns', () => store.queueDueRuns({ limit: 500 }));
      const queued = await timed('readQueuedRuns', () => store.readQueuedRuns({ limit: 500 }));
      if (queued.length !== DUE) throw new Error(`${queued.length} runs are queued, not ${DUE}`);
      const offers = await timed('decideRuns', () =>
        store.decideRuns({
          decisions: queued.map((run) => ({
            run,
            action: 'offer',
            agentId,
            offerMs: 10_000,
            passed: [],
          })),
        }),
      );
      await timed('settleOverdueRuns + readNextWakeAt', async () => {
        await store.settleOverdueRuns({ limit: 500 });
        await store.readNextWakeAt({});
      });
      await timed('accept, start, end of all runs', () => carryOut(store, agentId, offers));
      if (tick <= WARM_UP) continue;
      for (const [step, ms] of took) times.get(step)?.push(ms);
      plans.push(
        (['readDueJobs', 'planJob, all', 'storePlans'] as const).reduce(
          (sum, step) => sum + (took.get(step) as number),
          0,
        ),
      );
    }
    await store.close();
    return {
      steps: new Map([...times].map(([step, values]) => [step, spreadOf(values)])),
      plan: spreadOf(plans),
      pages,
      file: statSync(file).size,
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function emptyWal(file: string): void {
  const database = new DatabaseSync(file);
  database.exec('pragma wal_checkpoint(truncate)');
  database.close();
}

/** Pages in the write-ahead log: 32 bytes of header, then 24 before each page. */
function walPages(file: string): number {
  return (statSync(`${file}-wal`).size - 32) / (4_096 + 24);
}

/** What the messages of an agent do to the runs that it was offered, each message an operation of its own. */
async function carryOut(
  store: Store,
  agentId: string,
  offers: { runId: string; epoch: number }[],
): Promise<void> {
  await Promise.all(
    offers.map(async ({ runId, epoch }) => {
      const attemptId = attemptIdOf(runId, 1);
      const key = { tenantId: TENANT, agentId, attemptId, epoch, journalSeq: 0 };
      if (!(await store.acceptOffer({ ...key, bootId: 'boot', permitUntilBootMs: 1 })))
        throw new Error(`the offer of ${runId} does not stand`);
      await store.startAttempt({ ...key, seq: 1, pid: 1 });
      await store.endAttempt({ ...key, seq: 2, end: SUCCEEDED });
    }),
  );
}

/** An agent that is online. @returns its id */
function addAgent(file: string): Promise<string> {
  return withDatabase(
    () => openFile(file),
    async (database) => {
      const [agent] = await fillAgents(database, { tenantId: TENANT, names: ['bench'], now: START });
      await database.all(`update "agents" set "state" = 'online', "sessionEpoch" = 1, "maxParallel" = 1000`);
      return agent?.agentId as string;
    },
  );
}

export async function measure(): Promise<string> {
  const limit = await fdatasyncs();
  const results: Awaited<ReturnType<typeof ticksWith>>[] = [];
  for (const stored of STORED) results.push(await ticksWith(stored));
  const first = results[0] as (typeof results)[0];
  const rows: string[][] = STEPS.map((step) => [
    step,
    ...results.map(({ steps }) => shownSpread(steps.get(step) as Spread)),
  ]);
  rows.push(['**planning: read + plan + store**', ...results.map(({ plan }) => `**${shownSpread(plan)}**`)]);
  rows.push([
    '… beside the smallest database',
    ...results.map(({ plan }) => `${shown(plan.median / first.plan.median)} ×`),
  ]);
  rows.push([
    '… in fdatasyncs of 4 KiB',
    ...results.map(({ plan }) => shown((plan.median / 1_000) * limit.median)),
  ]);
  rows.push(['pages that storePlans writes', ...results.map(({ pages }) => shown(pages))]);
  rows.push(['size of the database, MB', ...results.map(({ file }) => shown(file / 1e6))]);
  return [
    `${DUE} jobs are due each minute, the rest once a day; every job has one ended run. ${TICKS} ticks after ${WARM_UP} for warming up, on`,
    'the real store in one process with durable commits and a clock that the benchmark moves. Milliseconds for all',
    `${DUE} jobs together, median (min–max). Reading and computing cost the same whatever is stored; storing grows because rows`,
    'that share a few pages in a small database have pages of their own in a large one.',
    '',
    table(['step', ...STORED.map((stored) => `${shown(stored)} jobs`)], rows),
    '',
    `Limit in the same run: ${describeFdatasyncs(limit)}.`,
  ].join('\n');
}

if (import.meta.main) console.log(await measure());
