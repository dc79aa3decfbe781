import { attemptIdOf } from '../runs/ids.ts';
import { get } from './byKey.ts';
import { holdAgain } from './holding.ts';
import { moveRun } from './moveRun.ts';
import { change, type Operation, row, type Transaction } from './operation.ts';
import { insertRun, type NewRun } from './planning.ts';
import { RETRY_WAIT_MS } from './retry.ts';
import type { RunRow } from './tables.ts';

/** What a triggered or ad hoc run is made of; its instant is the transaction's. */
export type RequestedRun = Omit<NewRun, 'scheduledFor' | 'dueAt' | 'startBy'> & {
  startDeadlineMs: number;
  idempotencyKey: string | null;
};

/**
 * Adds runs that someone asked for, due at once. A run whose idempotency key was used before is not added again,
 * not even after the first one's retention has ended.
 */
export function* requestRuns(
  transaction: Transaction,
  input: { runs: RequestedRun[] },
): Operation<{ runId: string; created: boolean }[]> {
  const answers: { runId: string; created: boolean }[] = [];
  for (const { startDeadlineMs, idempotencyKey, ...run } of input.runs) {
    if (idempotencyKey !== null) {
      // No key and no part has a line break.
      const key = run.part === '' ? idempotencyKey : `${idempotencyKey}\n${run.part}`;
      const fresh = yield* change(
        `insert into "idempotencyKeys" ("tenantId", "jobId", "key", "runId", "createdAt") values (?, ?, ?, ?, ?) on conflict do nothing`,
        run.tenantId,
        run.jobId,
        key,
        run.id,
        transaction.now,
      );
      if (fresh === 0) {
        const first = yield* row<{ runId: string }>(
          'select "runId" from "idempotencyKeys" where "tenantId" = ? and "jobId" = ? and "key" = ?',
          run.tenantId,
          run.jobId,
          key,
        );
        answers.push({ runId: first?.runId ?? run.id, created: false });
        continue;
      }
    }
    const created = yield* insertRun(transaction, {
      ...run,
      scheduledFor: transaction.now,
      dueAt: transaction.now,
      startBy: transaction.now + startDeadlineMs,
    });
    answers.push({ runId: run.id, created });
  }
  return answers;
}

/** The revision that a trigger runs; undefined when the job does not exist or was deleted. */
export function* readTriggerableJob(
  _transaction: Transaction,
  input: { tenantId: string; jobId: string },
): Operation<{ revision: number; documentJson: string } | undefined> {
  return yield* row<{ revision: number; documentJson: string }>(
    `select "revision", "documentJson" from "jobs" where "tenantId" = ? and "id" = ? and "kind" = 'job' and "deletedAt" is null`,
    input.tenantId,
    input.jobId,
  );
}

export function* readRun(
  _transaction: Transaction,
  input: { tenantId: string; runId: string },
): Operation<RunRow | undefined> {
  return yield* row<RunRow>(
    'select * from "runs" where "tenantId" = ? and "id" = ?',
    input.tenantId,
    input.runId,
  );
}

/** A run as nobody else changes it meanwhile. */
export function* lockRun(
  transaction: Transaction,
  { tenantId, runId }: { tenantId: string; runId: string },
): Operation<RunRow | undefined> {
  return yield* get(transaction, 'runs', { tenantId, id: runId }, { lock: true });
}

export type CancelAnswer =
  | { result: 'notFound' | 'ended' }
  | { result: 'cancelled'; withdraw: { agentId: string; attemptId: string; epoch: number } | null }
  | { result: 'requested'; agentId: string; attemptId: string; epoch: number };

/** Cancels a run that has no permit yet at once; asks for the end of one that has. */
export function* cancelRun(
  transaction: Transaction,
  input: { tenantId: string; runId: string; by: string },
): Operation<CancelAnswer> {
  const run = yield* lockRun(transaction, input);
  if (!run) return { result: 'notFound' };
  const asked = {
    cancelRequestedAt: run.cancelRequestedAt ?? transaction.now,
    cancelRequestedBy: run.cancelRequestedBy ?? input.by,
  };
  switch (run.state) {
    case 'planned':
    case 'queued':
    case 'offered': {
      yield* moveRun(transaction, run, 'drop', 'cancelled', {
        ...asked,
        epoch: run.epoch + 1,
        reason: 'cancelledByUser',
        detail: `by ${input.by}`,
      });
      const offered = run.state === 'offered' && run.agentId !== null;
      return {
        result: 'cancelled',
        withdraw: offered
          ? {
              agentId: run.agentId as string,
              attemptId: attemptIdOf(run.id, run.attempt + 1),
              epoch: run.epoch,
            }
          : null,
      };
    }
    case 'starting':
    case 'running':
    case 'unknown':
      yield* change(
        'update "runs" set "cancelRequestedAt" = ?, "cancelRequestedBy" = ? where "tenantId" = ? and "id" = ?',
        asked.cancelRequestedAt,
        asked.cancelRequestedBy,
        run.tenantId,
        run.id,
      );
      return {
        result: 'requested',
        agentId: run.agentId as string,
        attemptId: attemptIdOf(run.id, run.attempt),
        epoch: run.epoch,
      };
    default:
      return { result: 'ended' };
  }
}

/** Decides the outcome of an unknown run. `retry` makes a new attempt; a late report of the old one is evidence only. */
export function* resolveRun(
  transaction: Transaction,
  input: { tenantId: string; runId: string; as: 'failed' | 'succeeded' | 'retry'; note: string; by: string },
): Operation<'done' | 'notUnknown' | 'ended' | 'notFound'> {
  const run = yield* lockRun(transaction, input);
  if (!run) return 'notFound';
  if (run.endedAt !== null) return 'ended';
  if (run.state !== 'unknown') return 'notUnknown';
  const detail = `${input.as} by ${input.by}${input.note === '' ? '' : `: ${input.note}`}`;
  if (input.as === 'retry') {
    yield* moveRun(transaction, run, 'resolve', 'queued', {
      epoch: run.epoch + 1,
      agentId: null,
      contactLostAt: null,
      cancelRequestedAt: null,
      cancelRequestedBy: null,
      // The job's start deadline was for the first start.
      startBy: Math.max(run.startBy, transaction.now + RETRY_WAIT_MS),
      wakeAt: transaction.now,
      passedJson: '[]',
      reason: null,
      detail,
    });
    yield* holdAgain(transaction, run);
  } else {
    yield* moveRun(transaction, run, 'resolve', input.as, {
      epoch: run.epoch + 1,
      reason: 'resolvedByUser',
      detail,
    });
  }
  return 'done';
}
