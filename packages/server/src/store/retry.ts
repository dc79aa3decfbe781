import type { ReasonCode, Retry } from '@rota/contract';
import {
  type AttemptEnd,
  defineRetry,
  isRetried,
  type JobDefinition,
  type JobDocument,
  retryDelayMs,
} from '@rota/contract';
import { attemptIdOf, fractionOf } from '../runs/ids.ts';
import { get, set } from './byKey.ts';
import { holdAgain } from './holding.ts';
import { moveRun } from './moveRun.ts';
import { type Operation, row, type Transaction } from './operation.ts';
import type { AttemptRow, RunRow } from './tables.ts';

/** How long a further attempt may wait to start; the job's start deadline was for the first. */
export const RETRY_WAIT_MS = 86_400_000;
/** Further attempts of an unknown run (onUnknown: retry) whose job does not say how many. */
const UNKNOWN_TIMES = 3;

interface Policy {
  retry: Retry | null;
  onUnknown: 'hold' | 'retry';
}

/** What the run's own definition says about further attempts. */
function* readPolicy(
  transaction: Transaction,
  { tenantId, jobId, revision, definitionJson }: RunRow,
): Operation<Policy> {
  if (definitionJson !== null) {
    const { retry, onUnknown } = JSON.parse(definitionJson) as JobDefinition;
    return { retry, onUnknown };
  }
  const of = yield* get(transaction, 'jobRevisions', { tenantId, jobId, revision });
  const document = of?.documentJson ? (JSON.parse(of.documentJson) as Partial<JobDocument>) : {};
  const retry = document.retry === undefined ? null : defineRetry(document.retry);
  return { retry, onUnknown: document.onUnknown ?? 'hold' };
}

/** Attempts of a run that were started, or may have been. */
function* countTries({ tenantId, id }: RunRow): Operation<number> {
  const counted = yield* row<{ tries: number }>(
    `select count(*) as "tries" from "attempts" where "tenantId" = ? and "runId" = ? and "state" <> 'notStarted'`,
    tenantId,
    id,
  );
  return counted?.tries ?? 0;
}

/**
 * Lets a run wait for its next attempt, if its policy wants one after this end. It keeps its job's slot, and any agent may take it.
 * @returns whether it waits; if not, it has ended
 */
export function* retryAfterEnd(
  transaction: Transaction,
  run: RunRow,
  end: AttemptEnd,
  reason: ReasonCode | null,
): Operation<boolean> {
  if (end.outcome === 'succeeded' || end.outcome === 'cancelled' || run.cancelRequestedAt !== null)
    return false;
  const { retry } = yield* readPolicy(transaction, run);
  if (retry === null || !isRetried(retry, { ...end, reason })) return false;
  return yield* waitForNext(transaction, run, retry, retry.times, end.error);
}

/** The same of a run that is unknown, once its policy (onUnknown: retry) may begin another attempt. */
export function* retryUnknown(transaction: Transaction, run: RunRow): Operation<boolean> {
  if (run.cancelRequestedAt !== null) return false;
  const { retry, onUnknown } = yield* readPolicy(transaction, run);
  if (onUnknown !== 'retry') return false;
  const policy = retry ?? defineRetry({ times: UNKNOWN_TIMES });
  return yield* waitForNext(transaction, run, policy, policy.times, null);
}

/** Whether the job wants another attempt of a run of which nobody knows any more whether it goes on. */
export function* retriesUnknown(transaction: Transaction, run: RunRow): Operation<boolean> {
  if (run.cancelRequestedAt !== null) return false;
  const { retry, onUnknown } = yield* readPolicy(transaction, run);
  return onUnknown === 'retry' && (yield* countTries(run)) <= (retry?.times ?? UNKNOWN_TIMES);
}

function* waitForNext(
  transaction: Transaction,
  run: RunRow,
  retry: Retry,
  times: number,
  error: string | null,
): Operation<boolean> {
  const tries = yield* countTries(run);
  if (tries > times) return false;
  const wakeAt = transaction.now + delayOf(run, retry, tries);
  const how = run.state === 'unknown' && error === null ? 'is unknown' : 'failed';
  const moved = yield* moveRun(transaction, run, 'retry', 'queued', {
    epoch: run.epoch + 1,
    agentId: null,
    contactLostAt: null,
    reason: 'retryWait',
    startedAt: run.startedAt,
    durationMs: run.durationMs,
    detail: `attempt ${run.attempt} ${how}${error === null ? '' : `: ${error}`}`,
    retriesLeft: times - tries,
    passedJson: '[]',
    startBy: Math.max(run.startBy, wakeAt + RETRY_WAIT_MS),
    wakeAt,
  });
  if (moved) yield* holdAgain(transaction, run);
  return moved;
}

/** The newest attempt of a run that was started, or may have been. */
function* lastTry(run: Pick<RunRow, 'tenantId' | 'id'>): Operation<AttemptRow | undefined> {
  return yield* row<AttemptRow>(
    `select * from "attempts" where "tenantId" = ? and "runId" = ? and "state" <> 'notStarted' order by "number" desc limit 1`,
    run.tenantId,
    run.id,
  );
}

/** Until when a run has to wait for its next attempt, by its policy and the end of the last one; null when it need not. */
export function* nextTryAt(transaction: Transaction, run: RunRow): Operation<number | null> {
  const { retry } = yield* readPolicy(transaction, run);
  const last = yield* lastTry(run);
  if (retry === null || last?.outcome == null || last.endedAt === null) return null;
  const { outcome, reason, exitCode } = last;
  const http = last.httpJson === null ? null : (JSON.parse(last.httpJson) as { status: number | null });
  if (!isRetried(retry, { outcome, reason, exitCode, http })) return null;
  return last.endedAt + delayOf(run, retry, yield* countTries(run));
}

/** The same on every server. */
function delayOf({ id, attempt }: Pick<RunRow, 'id' | 'attempt'>, retry: Retry, tries: number): number {
  return retryDelayMs(retry, tries, () => fractionOf(attemptIdOf(id, attempt)));
}

type Waiting = Pick<RunRow, 'tenantId' | 'id' | 'jobId' | 'state' | 'epoch' | 'attempt'>;

/**
 * Ends a run that waits for a further attempt, with the outcome of its last one; one whose fate nobody knows counts as failed.
 * @returns false when it has had no attempt
 */
export function* giveUp(
  transaction: Transaction,
  run: Waiting,
  why: string,
  event: 'giveUp' | 'notStarted' = 'giveUp',
): Operation<boolean> {
  if (run.attempt === 0) return false;
  const last = yield* lastTry(run);
  if (last === undefined) return false;
  const outcome = last.outcome === 'timedOut' ? 'timedOut' : 'failed';
  return yield* moveRun(transaction, run, event, outcome, {
    epoch: run.epoch + 1,
    reason: last.reason ?? 'agentLost',
    detail: [last.error, why].filter(Boolean).join('; '),
    exitCode: last.exitCode,
    signal: last.signal,
  });
}

/**
 * Ends a run that could not start in time: as missed, or with the outcome of its last attempt. One whose permit was out must be
 * proven not to have been started under it.
 */
export function* missRun(transaction: Transaction, run: Waiting): Operation<boolean> {
  const wasPermitted = run.state === 'starting' || run.state === 'unknown';
  const number = wasPermitted ? run.attempt : run.attempt + 1;
  const why = `attempt ${number} could not start in time`;
  if (yield* giveUp(transaction, run, why, wasPermitted ? 'notStarted' : 'giveUp')) return true;
  return yield* moveRun(transaction, run, wasPermitted ? 'notStarted' : 'miss', 'missed', {
    epoch: run.epoch + 1,
    reason: 'startDeadline',
  });
}

export type RetryAnswer =
  | { result: 'done'; withdraw: { agentId: string; attemptId: string; epoch: number } | null }
  | { result: 'notWaiting' | 'ended' | 'notFound' };

/** An operator hurries a run that waits for its next attempt, or drops that attempt. */
export function* retryRun(
  transaction: Transaction,
  input: { tenantId: string; runId: string; action: 'now' | 'drop'; by: string },
): Operation<RetryAnswer> {
  const { tenantId, runId: id } = input;
  const run = yield* get(transaction, 'runs', { tenantId, id }, { lock: true });
  if (!run) return { result: 'notFound' };
  if (run.endedAt !== null) return { result: 'ended' };
  if (input.action === 'now') {
    if (run.state !== 'queued' || run.reason !== 'retryWait' || run.wakeAt === null)
      return { result: 'notWaiting' };
    yield* set('runs', { tenantId, id }, { wakeAt: Math.min(run.wakeAt, transaction.now) });
    return { result: 'done', withdraw: null };
  }
  if (run.state !== 'queued' && run.state !== 'offered') return { result: 'notWaiting' };
  if (!(yield* giveUp(transaction, run, `no further attempt, by ${input.by}`)))
    return { result: 'notWaiting' };
  if (run.state === 'queued' || run.agentId === null) return { result: 'done', withdraw: null };
  const { agentId, epoch } = run;
  return { result: 'done', withdraw: { agentId, attemptId: attemptIdOf(id, run.attempt + 1), epoch } };
}
