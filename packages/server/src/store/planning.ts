import type { ReasonCode, RunKind } from '@rota/contract';
import { change, type Operation, rows, type Transaction } from './operation.ts';
import type { JobRow } from './tables.ts';

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
>;

/** Jobs whose next unplanned instant is not after `horizon`, the most overdue first. */
export function* readDueJobs(
  _transaction: Transaction,
  input: { horizon: number; limit: number },
): Operation<DueJob[]> {
  return yield* rows<DueJob>(
    `select "tenantId", "id", "revision", "documentJson", "anchorsJson", "plannedThrough", "firedThrough", "nextAt"
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
  let planned = 0;
  // In one order, so that two who plan the same jobs do not wait for each other in a circle.
  const plans = input.plans.toSorted((a, b) => compare(a.tenantId, b.tenantId) || compare(a.jobId, b.jobId));
  for (const plan of plans) {
    // The instants of a gap are settled: an edit after the clock was set back must not plan them again.
    const settled = Math.max(0, ...plan.gaps.map((gap) => gap.to));
    const moved = yield* change(
      `update "jobs" set "plannedThrough" = ?, "nextAt" = ?, "firedThrough" = case when "firedThrough" < ? then ? else "firedThrough" end
       where "tenantId" = ? and "id" = ? and "revision" = ? and "plannedThrough" = ? and "nextAt" is not null`,
      plan.plannedThrough,
      plan.nextAt,
      settled,
      settled,
      plan.tenantId,
      plan.jobId,
      plan.revision,
      plan.expectedThrough,
    );
    if (moved === 0) continue;
    planned += 1;
    for (const run of plan.runs) {
      yield* insertRun(transaction, {
        ...run,
        tenantId: plan.tenantId,
        jobId: plan.jobId,
        revision: plan.revision,
        kind: 'scheduled',
        part: '',
        definitionJson: null,
        createdBy: null,
      });
    }
    for (const gap of plan.gaps) {
      yield* change(
        `insert into "gaps" ("tenantId", "id", "jobId", "revision", "fromAt", "toAt", "count", "outcome", "reason", "recordedAt")
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing`,
        plan.tenantId,
        gap.id,
        plan.jobId,
        plan.revision,
        gap.from,
        gap.to,
        gap.count,
        gap.outcome,
        gap.reason,
        transaction.now,
      );
    }
  }
  return planned;
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
  createdBy: string | null;
}

/** Adds a `planned` run; the same occurrence a second time changes nothing. @returns whether it is new */
export function* insertRun(transaction: Transaction, run: NewRun): Operation<boolean> {
  const added = yield* change(
    `insert into "runs" ("tenantId", "id", "jobId", "revision", "kind", "occurrenceKey", "part", "definitionJson", "scheduledFor",
       "dueAt", "startBy", "state", "epoch", "attempt", "slot", "wakeAt", "passedJson", "timeoutMs", "createdBy", "createdAt")
     values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'planned', 0, 0, 0, ?, '[]', ?, ?, ?) on conflict do nothing`,
    run.tenantId,
    run.id,
    run.jobId,
    run.revision,
    run.kind,
    run.occurrenceKey,
    run.part,
    run.definitionJson,
    run.scheduledFor,
    run.dueAt,
    run.startBy,
    run.dueAt,
    run.timeoutMs,
    run.createdBy,
    transaction.now,
  );
  return added === 1;
}
