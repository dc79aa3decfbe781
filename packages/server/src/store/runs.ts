import type { RunKind, RunState } from '@rota/contract';
import { type Operation, placeholders, row, rows, select, type Transaction } from './operation.ts';
import type { GapRow, OutputRow, RunRow } from './tables.ts';

/** A run with the names that people know its job and agent by. */
export type RunWithNames = RunRow & { jobName: string | null; jobTitle: string; agentName: string | null };

export interface RunFilter {
  jobId?: string;
  agentId?: string;
  kind?: RunKind;
  states?: RunState[];
  /** Due at or after. */
  from?: number;
  /** Due before. */
  to?: number;
}

/** Where a page of runs ended. */
export interface RunKey {
  dueAt: number;
  id: string;
}

/** A page of runs, the newest due first, before a key. */
export function* listRuns(
  transaction: Transaction,
  input: { tenantId: string; filter: RunFilter; before: RunKey | null; limit: number },
): Operation<RunWithNames[]> {
  const { filter, before } = input;
  let query = transaction.query
    .selectFrom('runs')
    .selectAll()
    .where('tenantId', '=', input.tenantId)
    .orderBy('dueAt', 'desc')
    .orderBy('id', 'desc')
    .limit(input.limit);
  if (filter.jobId !== undefined) query = query.where('jobId', '=', filter.jobId);
  if (filter.agentId !== undefined) query = query.where('agentId', '=', filter.agentId);
  if (filter.kind !== undefined) query = query.where('kind', '=', filter.kind);
  if (filter.states !== undefined) query = query.where('state', 'in', filter.states);
  if (filter.from !== undefined) query = query.where('dueAt', '>=', filter.from);
  if (filter.to !== undefined) query = query.where('dueAt', '<', filter.to);
  if (before !== null)
    query = query.where(({ eb, refTuple, tuple }) =>
      eb(refTuple('dueAt', 'id'), '<', tuple(before.dueAt, before.id)),
    );
  return yield* withNames(input.tenantId, yield* select<RunRow>(query));
}

/** Runs of a tenant by their ids, in the order of the ids. */
export function* runsByIds(
  _transaction: Transaction,
  input: { tenantId: string; ids: string[] },
): Operation<RunWithNames[]> {
  if (input.ids.length === 0) return [];
  const text = `select * from "runs" where "tenantId" = ? and "id" in (${placeholders(input.ids)})`;
  const found = yield* withNames(input.tenantId, yield* rows<RunRow>(text, input.tenantId, ...input.ids));
  const byId = new Map(found.map((run) => [run.id, run]));
  return input.ids.flatMap((id) => byId.get(id) ?? []);
}

/** The run whose id begins with a prefix. */
export function* runByPrefix(
  _transaction: Transaction,
  input: { tenantId: string; prefix: string },
): Operation<RunWithNames | 'notFound' | 'ambiguous'> {
  const found = yield* rows<RunRow>(
    'select * from "runs" where "tenantId" = ? and "id" >= ? and "id" < ? order by "id" limit 2',
    input.tenantId,
    input.prefix,
    `${input.prefix}~`,
  );
  const [first, second] = found;
  if (!first) return 'notFound';
  if (second && first.id !== input.prefix) return 'ambiguous';
  return (yield* withNames(input.tenantId, [first]))[0] as RunWithNames;
}

/** Adds the names with two statements, however many runs there are. */
function* withNames(tenantId: string, runs: RunRow[]): Operation<RunWithNames[]> {
  const jobIds = [...new Set(runs.map((run) => run.jobId))];
  const agentIds = [...new Set(runs.flatMap((run) => run.agentId ?? []))];
  const jobs = jobIds.length
    ? yield* rows<{ id: string; name: string; kind: string; documentJson: string }>(
        `select "id", "name", "kind", "documentJson" from "jobs" where "tenantId" = ? and "id" in (${placeholders(jobIds)})`,
        tenantId,
        ...jobIds,
      )
    : [];
  const agents = agentIds.length
    ? yield* rows<{ id: string; name: string }>(
        `select "id", "name" from "agents" where "tenantId" = ? and "id" in (${placeholders(agentIds)})`,
        tenantId,
        ...agentIds,
      )
    : [];
  const agentNames = new Map(agents.map((agent) => [agent.id, agent.name]));
  const jobNames = new Map(
    jobs.map((job) => [
      job.id,
      {
        name: job.kind === 'job' ? job.name : null,
        title: (JSON.parse(job.documentJson) as { title?: string }).title ?? job.name,
      },
    ]),
  );
  return runs.map((run) => ({
    ...run,
    jobName: jobNames.get(run.jobId)?.name ?? null,
    jobTitle: jobNames.get(run.jobId)?.title ?? '',
    agentName: run.agentId === null ? null : (agentNames.get(run.agentId) ?? null),
  }));
}

/** Where a page of output ended. */
export interface OutputKey {
  attempt: number;
  seq: number;
}

export type OutputOfRun = OutputRow & { attempt: number };

/** A page of output ends after so many bytes, so that one answer cannot hold the server. */
const PAGE_BYTES = 1024 * 1024;

/** Rows that are read at one time: the page may be full before all of `limit` are needed. */
const ROWS_AT_ONCE = 50;

/** A page of a run's output in order, after a key. `complete`: the run has ended and this is all of the rest. */
export function* readOutput(
  _transaction: Transaction,
  input: { tenantId: string; runId: string; after: OutputKey | null; limit: number },
): Operation<{ chunks: OutputOfRun[]; complete: boolean }> {
  const run = yield* row<{ endedAt: number | null }>(
    'select "endedAt" from "runs" where "tenantId" = ? and "id" = ?',
    input.tenantId,
    input.runId,
  );
  const after = input.after ?? { attempt: 0, seq: -1 };
  const attempts = yield* rows<{ id: string; number: number }>(
    'select "id", "number" from "attempts" where "tenantId" = ? and "runId" = ? and "number" >= ? order by "number"',
    input.tenantId,
    input.runId,
    after.attempt,
  );
  const chunks: OutputOfRun[] = [];
  let bytes = 0;
  for (const { id, number } of attempts) {
    let seq = number === after.attempt ? after.seq : -1;
    for (;;) {
      const batch = yield* rows<OutputRow>(
        'select * from "output" where "tenantId" = ? and "attemptId" = ? and "seq" > ? order by "seq" limit ?',
        input.tenantId,
        id,
        seq,
        ROWS_AT_ONCE,
      );
      for (const chunk of batch) {
        if (chunks.length === input.limit || bytes >= PAGE_BYTES) return { chunks, complete: false };
        chunks.push({ ...chunk, attempt: number });
        bytes += chunk.data.byteLength;
        seq = chunk.seq;
      }
      if (batch.length < ROWS_AT_ONCE) break;
    }
  }
  return { chunks, complete: run !== undefined && run.endedAt !== null };
}

/** A page of a job's gaps, newest first, before a key. */
export function* listGaps(
  _transaction: Transaction,
  input: { tenantId: string; jobId: string; before: { toAt: number; id: string } | null; limit: number },
): Operation<GapRow[]> {
  const before = input.before ?? { toAt: Number.MAX_SAFE_INTEGER, id: '' };
  return yield* rows<GapRow>(
    `select * from "gaps" where "tenantId" = ? and "jobId" = ? and ("toAt", "id") < (?, ?)
     order by "toAt" desc, "id" desc limit ?`,
    input.tenantId,
    input.jobId,
    before.toAt,
    before.id,
    input.limit,
  );
}

/** How many runs of a tenant are in each state that is neither planned nor ended. */
export function* countActiveRuns(
  _transaction: Transaction,
  input: { tenantId: string },
): Operation<Partial<Record<RunState, number>>> {
  const counted = yield* rows<{ state: RunState; runs: number }>(
    `select "state", count(*) as "runs" from "runs" where "tenantId" = ? and "endedAt" is null and "state" <> 'planned' group by "state"`,
    input.tenantId,
  );
  return Object.fromEntries(counted.map(({ state, runs }) => [state, runs]));
}

/** How many runs of a tenant ended in each way during the last `withinMs`. */
export function* countEndedRuns(
  transaction: Transaction,
  input: { tenantId: string; withinMs: number },
): Operation<Partial<Record<RunState, number>>> {
  // The empty text keeps the planner from the index by due time, which has a tenant's whole history.
  const counted = yield* rows<{ state: RunState; runs: number }>(
    `select "state", count(*) as "runs" from "runs" where "endedAt" is not null and "endedAt" > ? and "tenantId" || '' = ? group by "state"`,
    transaction.now - input.withinMs,
    input.tenantId,
  );
  return Object.fromEntries(counted.map(({ state, runs }) => [state, runs]));
}

/** Runs that the figures of lateness are made of. */
const LATENESS_SAMPLE = 1_000;

/** How late the newest runs of the last `withinMs` started, in ms, ascending; at most 1,000 of them. */
export function* readLateness(
  transaction: Transaction,
  input: { tenantId: string; withinMs: number },
): Operation<number[]> {
  const late = yield* rows<{ lateMs: number }>(
    `select "startedAt" - "dueAt" as "lateMs" from "runs"
     where "tenantId" = ? and "dueAt" > ? and "dueAt" <= ? and "startedAt" is not null order by "dueAt" desc limit ?`,
    input.tenantId,
    transaction.now - input.withinMs,
    transaction.now,
    LATENESS_SAMPLE,
  );
  return late.map(({ lateMs }) => lateMs).sort((a, b) => a - b);
}

/**
 * How many runs of all tenants ended in each way since `from`. Windows that begin where the last one ended count each
 * run once.
 */
export function* countEndedSince(
  transaction: Transaction,
  input: { from: number },
): Operation<{ until: number; ended: { state: RunState; runs: number }[] }> {
  const until = Math.max(input.from, transaction.now);
  const ended = yield* rows<{ state: RunState; runs: number }>(
    `select "state", count(*) as "runs" from "runs" where "endedAt" is not null and "endedAt" >= ? and "endedAt" < ? group by "state"`,
    input.from,
    until,
  );
  return { until, ended };
}

/** Runs and agents of all tenants by state, for the metrics. */
export function* countForMetrics(
  _transaction: Transaction,
  _input: Record<never, never>,
): Operation<{ runs: Record<string, number>; agents: Record<string, number> }> {
  const runs = yield* rows<{ state: string; count: number }>(
    `select "state", count(*) as "count" from "runs" where "endedAt" is null and "state" <> 'planned' group by "state"`,
  );
  const agents = yield* rows<{ state: string; count: number }>(
    'select "state", count(*) as "count" from "agents" where "removedAt" is null group by "state"',
  );
  const byState = (counted: { state: string; count: number }[]) =>
    Object.fromEntries(counted.map(({ state, count }) => [state, count]));
  return { runs: byState(runs), agents: byState(agents) };
}
