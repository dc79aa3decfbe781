import { DatabaseSync } from 'node:sqlite';
import { define, type JobDocument } from '@rota/contract';
import pg from 'pg';
import { bruteForce } from '../../packages/schedule/src/oracle.testing.ts';
import type { AgentOfHistory, History, JobOfHistory, StateChange } from './history.ts';
import { stepsOf } from './steps.ts';

/** What a database says. */
export type Dump = Pick<
  History,
  'jobs' | 'agents' | 'runs' | 'attempts' | 'steps' | 'gaps' | 'changes' | 'readAt'
>;

type Query = <T>(text: string) => Promise<T[]>;

/** Reads the database of a server at work, at one instant. */
export async function readSqlite(file: string): Promise<Dump> {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    database.exec('begin');
    return await readAll(async <T>(text: string) => database.prepare(text).all() as T[], Date.now());
  } finally {
    database.close();
  }
}

/** Reads a database that servers work on, at one instant. */
export async function readPostgres(url: string): Promise<Dump> {
  const client = new pg.Client({ connectionString: url });
  client.setTypeParser(20, Number);
  await client.connect();
  try {
    await client.query('begin isolation level repeatable read read only');
    const query: Query = async (text) => (await client.query(text)).rows;
    const [now] = await query<{ ms: number }>(
      'select floor(extract(epoch from clock_timestamp()) * 1000)::float8 as "ms"',
    );
    return await readAll(query, now?.ms ?? 0);
  } finally {
    await client.end();
  }
}

interface DumpedJob {
  id: string;
  name: string;
  kind: string;
  enabled: number;
  documentJson: string;
  anchorsJson: string;
  createdAt: number;
  pausedAt: number | null;
  deletedAt: number | null;
}

async function readAll(query: Query, readAt: number): Promise<Dump> {
  const jobs = await query<DumpedJob>('select * from "jobs"');
  const changes = await query<{ runId: string; at: number; dataJson: string }>(
    // The row of a run is locked while its event takes an id: for one run they are in the order of its commits.
    `select "subjectId" as "runId", "at", "dataJson" from "events" where "type" = 'run' order by "id"`,
  );
  return {
    jobs: jobs.map((job) => demandsOf(job, readAt)),
    agents: await query<AgentOfHistory>('select "id", "name", "state" from "agents"'),
    runs: await query('select * from "runs"'),
    attempts: await query('select * from "attempts"'),
    steps: await query('select * from "steps"'),
    gaps: await query('select * from "gaps"'),
    changes: changes.map(
      ({ runId, at, dataJson }): StateChange => ({
        runId,
        at,
        state: (JSON.parse(dataJson) as { state: string }).state,
      }),
    ),
    readAt,
  };
}

/** A job with what its schedules demand, from its making until it was paused. It was not edited or resumed in between. */
function demandsOf(job: DumpedJob, readAt: number): JobOfHistory {
  const instantsUntil = job.pausedAt ?? job.deletedAt ?? readAt;
  if (job.kind === 'adHoc')
    return {
      id: job.id,
      name: job.name,
      concurrency: 'allow',
      timeoutMs: null,
      jitterMs: 0,
      startDeadlineMs: 0,
      steps: null,
      retry: null,
      onUnknown: 'hold',
      instants: [],
      instantsUntil,
    };
  const definition = define(JSON.parse(job.documentJson) as JobDocument, 'UTC');
  const anchors = JSON.parse(job.anchorsJson) as Record<string, number>;
  const instants = new Set<number>();
  for (const { jitterMs: _, ...schedule } of job.enabled === 1 ? definition.schedules : []) {
    const anchor = schedule.every === undefined ? undefined : anchors[schedule.every];
    const found = bruteForce(
      { ...schedule, ...(anchor === undefined ? {} : { anchor }) },
      { timezone: schedule.timezone, spreadKey: job.id },
      job.createdAt,
      instantsUntil,
    );
    for (const instant of found) instants.add(instant);
  }
  return {
    id: job.id,
    name: job.name,
    concurrency: definition.concurrency,
    timeoutMs: definition.timeoutMs,
    jitterMs: Math.max(0, ...definition.schedules.map(({ jitterMs }) => jitterMs)),
    startDeadlineMs: definition.startDeadlineMs,
    steps: stepsOf(definition),
    retry: definition.retry,
    onUnknown: definition.onUnknown,
    instants: [...instants].sort((a, b) => a - b),
    instantsUntil,
  };
}
