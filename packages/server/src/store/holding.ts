import { change, type Operation, row, type Transaction } from './operation.ts';
import type { RecoveryRow, RunRow } from './tables.ts';

/**
 * Runs that are held while a database that went on from an older state has not heard all its agents: they have no time at which
 * anyone looks at them, and `recovering` as their reason. See `recovery.ts`.
 */

/** More than the epochs of a run, or the sessions of an agent, can have grown by in what is lost. */
export const EPOCH_LEAP = 1_000;

/** Number of the last recovery, 0 when there was none: what was read before it must not be acted on. */
export const RECOVERY_ID = '(select coalesce(max("id"), 0) from "recoveries")';

/**
 * Holds runs that have come due and that nobody has looked at yet: they can be among those that were lost, or their job may
 * be running unheard. Whoever lets one go raises its epoch.
 */
export function* holdDueRuns(transaction: Transaction): Operation<void> {
  const { now } = transaction;
  const recovery = yield* openRecovery(transaction);
  if (recovery === undefined) return;
  yield* change(
    `update "runs" set "wakeAt" = null, "reason" = 'recovering' where "state" = 'planned' and "wakeAt" <= ? and "epoch" = 0
       and (? = 1 or "dueAt" <= ? or exists (select 1 from "idempotencyKeys" k where k."tenantId" = "runs"."tenantId"
         and k."jobId" = "runs"."jobId" and k."runId" = "runs"."id"))`,
    now,
    recovery.holdUntil > now ? 1 : 0,
    recovery.windowTo,
  );
}

/** The recovery that is open; nobody settles it before what this transaction holds is seen. */
function* openRecovery({ dialect }: Transaction): Operation<RecoveryRow | undefined> {
  const lock = dialect.name === 'postgres' ? 'for share' : '';
  return yield* row<RecoveryRow>(`select * from "recoveries" where "settledAt" is null ${lock}`);
}

/** Whether later attempts of a run may be among what was lost. */
export function* mayHaveGoneOn(transaction: Transaction, run: Pick<RunRow, 'dueAt'>): Operation<boolean> {
  const recovery = yield* openRecovery(transaction);
  return recovery !== undefined && run.dueAt <= recovery.windowTo;
}

/** Holds a run that waits again, because an agent did not start it: later attempts of it may be lost. */
export function* holdAgain(
  transaction: Transaction,
  run: Pick<RunRow, 'tenantId' | 'id' | 'dueAt'>,
): Operation<void> {
  if (!(yield* mayHaveGoneOn(transaction, run))) return;
  yield* change(
    `update "runs" set "wakeAt" = null, "reason" = 'recovering', "slot" = 0, "epoch" = "epoch" + ?
     where "tenantId" = ? and "id" = ? and "state" = 'queued'`,
    EPOCH_LEAP,
    run.tenantId,
    run.id,
  );
}
