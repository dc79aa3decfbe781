import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Client, JobDocument } from '@rota/contract';
import { Installation } from '../test/support/installation.ts';
import { until } from '../test/support/until.ts';
import { type Database, openFile, withDatabase } from './database.ts';

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

/** Servers under measurement: how they are asked, and their database itself. */
export interface Place {
  client(): Client;
  open(): Database | Promise<Database>;
}

/** The one server of an installation, on its file. */
export function placeOf(installation: Installation): Place {
  return {
    client: () => installation.client(),
    open: () => openFile(installation.databaseFile(), { readOnly: true }),
  };
}

/** Runs of the jobs whose names begin with `prefix`, straight from the database. */
export function readRuns(place: Pick<Place, 'open'>, prefix: string): Promise<RunTimes[]> {
  return withDatabase(place.open, (database) =>
    database.all<RunTimes>(
      `select "runs"."id", "jobs"."name" as "job", "state", "agentId", "runs"."createdAt", "dueAt", "queuedAt", "offeredAt",
         "startingAt", "startedAt", "endedAt"
       from "runs" join "jobs" on "jobs"."tenantId" = "runs"."tenantId" and "jobs"."id" = "runs"."jobId"
       where "jobs"."name" >= ? and "jobs"."name" < ? order by "dueAt", "job"`,
      prefix,
      `${prefix}~`,
    ),
  );
}

/** Waits until so many runs of the jobs whose names begin with `prefix` have ended. */
async function whenEnded(place: Place, prefix: string, count: number, lookMs: number): Promise<RunTimes[]> {
  let looked = 0;
  await withDatabase(place.open, (database) =>
    until(
      `${count} ended runs of ${prefix}`,
      async () => {
        // Looking costs the machine that is measured: seldom.
        if (performance.now() - looked < lookMs) return false;
        looked = performance.now();
        const [found] = await database.all<{ ended: number }>(
          `select count(*) as "ended" from "runs" join "jobs" on "jobs"."tenantId" = "runs"."tenantId" and "jobs"."id" = "runs"."jobId"
           where "jobs"."name" >= ? and "jobs"."name" < ? and "endedAt" is not null`,
          prefix,
          `${prefix}~`,
        );
        return (found?.ended ?? 0) >= count;
      },
      180_000,
    ),
  );
  return readRuns(place, prefix);
}

export interface BurstJob {
  name: string;
  schedule: string | object;
  command?: string | string[] | undefined;
  steps?: { name: string; command: string[] }[];
  shell?: 'bash';
  target?: { agents: string[] };
}

/** Jobs in one document, all or nothing. */
export async function applyJobs({ client }: Pick<Place, 'client'>, jobs: readonly BurstJob[]): Promise<void> {
  await client().call('apply', { body: { document: { jobs: jobs as JobDocument[] } } });
}

/** Time from the saving of a burst's jobs to their instant: enough that all are planned when it comes. */
const LEAD_MS = 12_000;
const LEAD_MS_MAX = 30_000;
/** Left of it when the jobs are saved. */
const PLANNED_MS = 2_000;
const LOOK_MS = 500;

/**
 * Makes `count` jobs that are all due at one instant, and waits until the runs have ended.
 * @param targetOf names of the agents that may take the job of this index; null for any
 */
export async function burst(
  place: Place,
  input: {
    prefix: string;
    count: number;
    targetOf?: (index: number) => string[];
    /** Called when the instant has come. */
    onDue?: () => void;
    /** How often it is looked whether all have ended. */
    lookMs?: number;
  } & Pick<BurstJob, 'command' | 'steps'>,
): Promise<{ dueAt: number; runs: RunTimes[] }> {
  let prefix = `${input.prefix}-`;
  for (let leadMs = LEAD_MS; ; leadMs *= 2) {
    const dueAt = Math.ceil((Date.now() + leadMs) / 1_000) * 1_000;
    await applyJobs(place, burstJobs({ ...input, prefix, dueAt }));
    const isLate = Date.now() > dueAt - PLANNED_MS;
    await new Promise((resolve) => setTimeout(resolve, dueAt - Date.now()));
    if (!isLate) input.onDue?.();
    const runs = await whenEnded(place, prefix, input.count, input.lookMs ?? LOOK_MS);
    const failed = runs.filter((run) => run.state !== 'succeeded');
    if (failed.length > 0)
      throw new Error(`${failed.length} of ${runs.length} runs are ${failed[0]?.state}, not succeeded`);
    if (!isLate) return { dueAt, runs };
    // The machine is slower today than the lead allows for.
    if (leadMs > LEAD_MS_MAX) throw new Error('saving the jobs took too long');
    prefix = `${prefix}again-`;
  }
}

function burstJobs(
  input: {
    prefix: string;
    count: number;
    dueAt: number;
    targetOf?: (index: number) => string[];
  } & Pick<BurstJob, 'command' | 'steps'>,
): BurstJob[] {
  return Array.from({ length: input.count }, (_, index) => ({
    name: `${input.prefix}${String(index).padStart(5, '0')}`,
    schedule: `at ${new Date(input.dueAt).toISOString()}`,
    ...(input.steps ? { steps: input.steps } : { command: input.command }),
    ...(input.targetOf && { target: { agents: input.targetOf(index) } }),
  }));
}

/** Milliseconds from the common instant to the start of the last run. */
export function lastStartMs({ dueAt, runs }: { dueAt: number; runs: RunTimes[] }): number {
  return Math.max(...runs.map((run) => run.startedAt ?? Number.NaN)) - dueAt;
}

/** Milliseconds from the common instant to the end of the last run. */
export function lastEndMs({ dueAt, runs }: { dueAt: number; runs: RunTimes[] }): number {
  return Math.max(...runs.map((run) => run.endedAt ?? Number.NaN)) - dueAt;
}
