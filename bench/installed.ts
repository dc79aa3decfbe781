import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Installation } from '../test/support/installation.ts';
import { until } from '../test/support/until.ts';

let compiled: Promise<string> | null = null;

/**
 * Does `work` with a folder for real processes, and ends them all. The processes find their modules compiled, as every
 * start but the first one on a machine does: the TypeScript compiler in a process costs it 40 MB.
 */
export async function withInstallation<T>(work: (installation: Installation) => Promise<T>): Promise<T> {
  compiled ??= compileOnce();
  return installed(await compiled, work);
}

async function installed<T>(cache: string, work: (installation: Installation) => Promise<T>): Promise<T> {
  const installation = new Installation();
  symlinkSync(cache, path.join(installation.folder, '.cache'));
  try {
    return await work(installation);
  } finally {
    await installation.remove();
  }
}

/** Starts everything once, so that later starts find it compiled. @returns the folder of what is compiled */
async function compileOnce(): Promise<string> {
  const cache = mkdtempSync(path.join(tmpdir(), 'rota-bench-'));
  process.once('exit', () => rmSync(cache, { recursive: true, force: true }));
  await installed(cache, async (installation) => {
    const server = await installation.startServer();
    const agent = await installation.startAgent('agent-1');
    await installation.whenOnline('agent-1');
    await agent.kill('SIGTERM');
    await server.kill('SIGTERM');
  });
  return cache;
}

/** When a run got where, epoch ms by the server's clock; null for what did not happen. */
export interface RunTimes {
  id: string;
  job: string;
  state: string;
  agentId: string | null;
  createdAt: number;
  dueAt: number;
  queuedAt: number | null;
  offeredAt: number | null;
  startingAt: number | null;
  startedAt: number | null;
  endedAt: number | null;
}

/** Runs of the jobs whose names begin with `prefix`, straight from the server's database. */
export function readRuns(databaseFile: string, prefix: string): RunTimes[] {
  const database = new DatabaseSync(databaseFile, { readOnly: true, timeout: 5_000 });
  try {
    return database
      .prepare(
        `select "runs"."id", "jobs"."name" as "job", "state", "agentId", "runs"."createdAt", "dueAt", "queuedAt", "offeredAt",
           "startingAt", "startedAt", "endedAt"
         from "runs" join "jobs" on "jobs"."tenantId" = "runs"."tenantId" and "jobs"."id" = "runs"."jobId"
         where "jobs"."name" >= ? and "jobs"."name" < ? order by "dueAt", "job"`,
      )
      .all(prefix, `${prefix}~`) as unknown as RunTimes[];
  } finally {
    database.close();
  }
}

/** Waits until so many runs of the jobs whose names begin with `prefix` have ended. */
export async function whenEnded(databaseFile: string, prefix: string, count: number): Promise<RunTimes[]> {
  const database = new DatabaseSync(databaseFile, { readOnly: true, timeout: 5_000 });
  const ended = database.prepare(
    `select count(*) as "ended" from "runs" join "jobs" on "jobs"."tenantId" = "runs"."tenantId" and "jobs"."id" = "runs"."jobId"
     where "jobs"."name" >= ? and "jobs"."name" < ? and "endedAt" is not null`,
  );
  let looked = 0;
  try {
    await until(
      `${count} ended runs of ${prefix}`,
      () => {
        // Looking costs the machine that is measured: seldom.
        if (performance.now() - looked < 500) return false;
        looked = performance.now();
        return (ended.get(prefix, `${prefix}~`) as { ended: number }).ended >= count;
      },
      180_000,
    );
  } finally {
    database.close();
  }
  return readRuns(databaseFile, prefix);
}

export interface BurstJob {
  name: string;
  schedule: string;
  command: string | string[];
  target?: { agents: string[] };
}

/** Jobs in one document, all or nothing. */
export async function applyJobs(
  installation: Installation,
  jobs: (BurstJob & Record<string, unknown>)[],
): Promise<void> {
  await installation.client().call('apply', { body: { document: { jobs } } });
}

/** Time from the saving of a burst's jobs to their instant: enough that all are planned when it comes. */
const LEAD_MS = 12_000;

/**
 * Makes `count` jobs that are all due at one instant, and waits until the runs have ended.
 * @param targetOf names of the agents that may take the job of this index; null for any
 */
export async function burst(
  installation: Installation,
  input: {
    prefix: string;
    count: number;
    command: string | string[];
    targetOf?: (index: number) => string[];
  },
): Promise<{ dueAt: number; runs: RunTimes[] }> {
  const dueAt = Math.ceil((Date.now() + LEAD_MS) / 1_000) * 1_000;
  const schedule = `at ${new Date(dueAt).toISOString()}`;
  const jobs = Array.from({ length: input.count }, (_, index) => ({
    name: `${input.prefix}-${String(index).padStart(5, '0')}`,
    schedule,
    command: input.command,
    ...(input.targetOf && { target: { agents: input.targetOf(index) } }),
  }));
  await applyJobs(installation, jobs);
  if (Date.now() > dueAt - 2_000) throw new Error('saving the jobs took too long');
  const runs = await whenEnded(installation.databaseFile(), `${input.prefix}-`, input.count);
  const failed = runs.filter((run) => run.state !== 'succeeded');
  if (failed.length > 0)
    throw new Error(`${failed.length} of ${runs.length} runs are ${failed[0]?.state}, not succeeded`);
  return { dueAt, runs };
}

/** Milliseconds from the common instant to the start of the last run. */
export function lastStartMs({ dueAt, runs }: { dueAt: number; runs: RunTimes[] }): number {
  return Math.max(...runs.map((run) => run.startedAt ?? Number.NaN)) - dueAt;
}
