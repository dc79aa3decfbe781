import type { RunState } from '@rota/contract';
import { isTerminal } from '@rota/contract';
import { isLegal, type RunEvent } from '../runs/machine.ts';
import { compareAndSet } from './byKey.ts';
import { recordEvent } from './events.ts';
import type { Operation, Transaction } from './operation.ts';
import type { RunRow } from './tables.ts';

type Movable = Pick<RunRow, 'tenantId' | 'id' | 'jobId' | 'state' | 'epoch'>;
type Patch = Partial<Omit<RunRow, 'tenantId' | 'id' | 'jobId' | 'state' | 'occurrenceKey' | 'part'>>;

/**
 * Moves a run by compare-and-set on (state, epoch): the only statement that writes a run's state.
 * A terminal state frees the job's slot and all wake-ups.
 * @returns whether this call moved it; false when someone else was first
 * @throws Error when the machine does not allow the change, which is a bug of the caller
 */
export function* moveRun(
  transaction: Transaction,
  run: Movable,
  event: RunEvent,
  to: RunState,
  patch: Patch = {},
): Operation<boolean> {
  if (!isLegal(event, run.state, to))
    throw new Error(`run ${run.id}: ${event} cannot move ${run.state} to ${to}`);
  const set: Patch = isTerminal(to)
    ? { wakeAt: null, slot: 0, contactLostAt: null, endedAt: transaction.now, ...patch }
    : patch;
  const { tenantId, id, state, epoch } = run;
  const moved = yield* compareAndSet('runs', { tenantId, id, state, epoch }, { state: to, ...set });
  if (!moved) return false;
  yield* recordEvent(transaction, {
    tenantId: run.tenantId,
    type: 'run',
    subjectId: run.id,
    jobId: run.jobId,
    data: { state: to, ...(set.reason ? { reason: set.reason } : {}) },
  });
  return true;
}
