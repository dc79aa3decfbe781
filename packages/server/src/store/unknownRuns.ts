import type { ReasonCode } from '@rota/contract';
import { set } from './byKey.ts';
import { moveRun } from './moveRun.ts';
import type { Operation, Transaction } from './operation.ts';
import { retriesUnknown, retryUnknown } from './retry.ts';
import type { RunRow } from './tables.ts';

/** How long a permit is valid, on the agent's boot-time clock. */
export const PERMIT_MS = 15_000;
/** Between TERM and KILL. */
export const KILL_GRACE_MS = 10_000;
/** After losing an agent, how long a run may stay `starting` before it is `unknown`. */
export const STARTING_LOST_MS = 5_000;

/** Time after which a run with a timeout has surely ended, wherever its agent is: permit, timeout, grace, and clock drift. */
export function surelyEndedMs(timeoutMs: number): number {
  return Math.ceil((PERMIT_MS + timeoutMs + KILL_GRACE_MS) * 1.01) + 10_000;
}

/** Nobody can know any more whether the run goes on. Its slot stays held until its timeout proves that it cannot. */
export function* loseRun(transaction: Transaction, run: RunRow, reason: ReasonCode): Operation<boolean> {
  const retryAt = yield* unknownRetryAt(transaction, run, reason);
  return yield* moveRun(transaction, run, 'lose', 'unknown', {
    reason,
    contactLostAt: run.contactLostAt ?? transaction.now,
    wakeAt: retryAt ?? surelyEndedAt(transaction, run),
  });
}

/** When the run has surely ended, wherever its agent is; null: never by time. */
function surelyEndedAt({ now }: Transaction, { startingAt, timeoutMs }: RunRow): number | null {
  return timeoutMs === null ? null : Math.max(now, (startingAt ?? now) + surelyEndedMs(timeoutMs));
}

/**
 * When a further attempt may begin of a run of which nobody knows any more whether it goes on (onUnknown: retry); null: never by
 * itself. Of one that may not have started, when its permit has surely expired; of one that ran, when it has surely ended, or its
 * agent is gone.
 */
export function* unknownRetryAt(
  transaction: Transaction,
  run: RunRow,
  reason: ReasonCode,
): Operation<number | null> {
  if (!(yield* retriesUnknown(transaction, run))) return null;
  if (run.state === 'starting' || reason === 'agentGone')
    return surelyEndedAt(transaction, { ...run, timeoutMs: 0 });
  return surelyEndedAt(transaction, run);
}

/** Settles an unknown run whose time has come: a further attempt begins, or its slot is free for others. */
export function* settleUnknownRun(transaction: Transaction, run: RunRow): Operation<void> {
  if (!(yield* retryOverdue(transaction, run))) yield* freeUnknownSlot(run);
}

/** Begins a further attempt of an unknown run whose time for that has come, or leaves its slot to it. */
function* retryOverdue(transaction: Transaction, run: RunRow): Operation<boolean> {
  if (yield* retryUnknown(transaction, run)) return true;
  if (run.reason === 'agentGone') return false;
  const endedAt = surelyEndedAt(transaction, run);
  if (endedAt !== null && endedAt <= transaction.now) return false;
  // It was to be tried again, and no longer is: somebody cancelled it.
  yield* set('runs', { tenantId: run.tenantId, id: run.id, state: 'unknown' }, { wakeAt: endedAt });
  return true;
}

function* freeUnknownSlot(run: RunRow): Operation<void> {
  const { tenantId, id, epoch } = run;
  yield* set('runs', { tenantId, id, state: 'unknown', epoch }, { slot: 0, wakeAt: null });
}
