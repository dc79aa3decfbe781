import type { ReasonCode, RunKind } from '@rota/contract';
import { compareAndSet, insert, insertNew, raise } from './byKey.ts';
import { RECOVERY_ID } from './holding.ts';
import { type Operation, row, rows, type Transaction, together } from './operation.ts';
import type { JobRow, RunRow } from './tables.ts';

export type DueJob = Pick<
  JobRow,
  | 'tenantId'
  | 'id'
  | 'revision'
  | 'documentJson'
  | 'anchorsJson'
  | 'plannedThrough'
  | 'firedThrough'
  | 'nextAt'
> & { recoveryId: number };

/** Jobs whose next unplanned instant is not after `horizon`, the most overdue first. */
export function* readDueJobs(
  _transaction: Transaction,
  input: { horizon: number; limit: number },
): Operation<DueJob[]> {
  return yield* rows<DueJob>(
    `select "tenantId", "id", "revision", "documentJson", "anchorsJson", "plannedThrough", "firedThrough", "nextAt",
       ${RECOVERY_ID} as "recoveryId"
     from "jobs" where "nextAt" <= ? order by "nextAt" limit ?`,
    input.horizon,
    input.limit,
  );
}

/** The earliest instant that is not planned yet, of any job. */
export function* readNextPlanAt(
  _transaction: Transaction,
  _input: Record<never, never>,
): Operation<number | null> {
  const [first] = yield* rows<{ nextAt: number }>(
    'select "nextAt" from "jobs" where "nextAt" is not null order by "nextAt" limit 1',
  );
  return first?.nextAt ?? null;
}

export interface PlannedRun {
  id: string;
  occurrenceKey: string;
  scheduledFor: number;
  dueAt: number;
  startBy: number;
  timeoutMs: number | null;
}

export interface PlannedGap {
  id: string;
  from: number;
  to: number;
  count: number;
  outcome: 'skipped' | 'missed';
  reason: ReasonCode;
}

/** What was computed for one job, and the cursor and revision that it was computed from. */
export interface JobPlan {
  tenantId: string;
  jobId: string;
  revision: number;
  /** Of the last recovery when the job was read: an older state of the database may have other cursors that are the same. */
  recoveryId: number;
  expectedThrough: number;
  plannedThrough: number;
  nextAt: number | null;
  runs: PlannedRun[];
  gaps: PlannedGap[];
}

/**
 * Stores plans: each job by compare-and-set on (plannedThrough, revision), so that whoever planned from an older
 * reading changes nothing. @returns how many jobs were planned
 */
export function* storePlans(transaction: Transaction, input: { plans: JobPlan[] }): Operation<number> {
  // In one order, so that two who plan the same jobs do not wait for each other in a circle.
  const last = yield* row<{ id: number }>(`select ${RECOVERY_ID} as "id"`);
  const fresh = input.plans.filter(({ recoveryId }) => recoveryId === last?.id);
  const plans = fresh.toSorted((a, b) => compare(a.tenantId, b.tenantId) || compare(a.jobId, b.jobId));
  const stored = yield* together(
    transaction,
    plans.map((plan) => storePlan(transaction, plan)),
  );
  return stored.filter((isStored) => isStored).length;
}

function* storePlan(transaction: Transaction, plan: JobPlan): Operation<boolean> {
  const { tenantId, jobId, revision, plannedThrough, nextAt } = plan;
  const moved = yield* compareAndSet(
    'jobs',
    { tenantId, id: jobId, revision, plannedThrough: plan.expectedThrough },
    { plannedThrough, nextAt },
    // Said so that the job is found by its key, not among all that are due some time.
    'coalesce("nextAt", -1) >= 0',
  );
  if (!moved) return false;
  yield* addInstants(transaction, plan, plan);
  return true;
}

/** Adds the instants of a job: as runs, or as gaps. Those that are there already stay as they are. */
export function* addInstants(
  { now }: Transaction,
  { tenantId, jobId, revision }: Pick<JobPlan, 'tenantId' | 'jobId' | 'revision'>,
  { runs, gaps }: Pick<JobPlan, 'runs' | 'gaps'>,
): Operation<void> {
  // The instants of a gap are settled: an edit after the clock was set back must not plan them again.
  const settled = Math.max(0, ...gaps.map((gap) => gap.to));
  if (settled > 0) yield* raise('jobs', { tenantId, id: jobId }, 'firedThrough', settled);
  for (const run of runs) {
    const more = { kind: 'scheduled', part: '', definitionJson: null, createdBy: null } as const;
    yield* insert('runs', plannedRun({ ...run, ...more, tenantId, jobId, revision }, now), {
      ifMissing: true,
    });
  }
  for (const { id, from, to, count, outcome, reason } of gaps) {
    const instants = { fromAt: from, toAt: to, count, outcome, reason, recordedAt: now };
    yield* insert('gaps', { tenantId, id, jobId, revision, ...instants }, { ifMissing: true });
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export interface NewRun extends PlannedRun {
  tenantId: string;
  jobId: string;
  revision: number;
  kind: RunKind;
  part: string;
  definitionJson: string | null;
  /** Values of its parameters; those of a scheduled run are the defaults of its revision. */
  paramsJson?: string | null;
  createdBy: string | null;
}

/** Adds a `planned` run; the same occurrence a second time changes nothing. @returns whether it is new */
export function* insertRun(transaction: Transaction, run: NewRun): Operation<boolean> {
  return yield* insertNew('runs', plannedRun(run, transaction.now));
}

function plannedRun(run: NewRun, now: number): Partial<RunRow> {
  return {
    tenantId: run.tenantId,
    id: run.id,
    jobId: run.jobId,
    revision: run.revision,
    kind: run.kind,
    occurrenceKey: run.occurrenceKey,
    part: run.part,
    definitionJson: run.definitionJson,
    paramsJson: run.paramsJson ?? null,
    scheduledFor: run.scheduledFor,
    dueAt: run.dueAt,
    startBy: run.startBy,
    timeoutMs: run.timeoutMs,
    createdBy: run.createdBy,
    state: 'planned',
    epoch: 0,
    attempt: 0,
    slot: 0,
    wakeAt: run.dueAt,
    passedJson: '[]',
    createdAt: now,
  };
}
