import type { AttemptEnd, AttemptOutcome, ReasonCode } from '@rota/contract';
import { isTerminal } from '@rota/contract';
import {
  type AttemptKey,
  isCurrent,
  keepEvidence,
  keyOf,
  lockAttempt,
  runOfAttempt,
} from './attemptMessages.ts';
import { set } from './byKey.ts';
import { withdrawOffer } from './dispatch.ts';
import { holdAgain, mayHaveGoneOn } from './holding.ts';
import { moveRun } from './moveRun.ts';
import type { Operation, Transaction } from './operation.ts';
import { slotAgain } from './permits.ts';
import { missRun, retryAfterEnd } from './retry.ts';
import { settleSteps } from './steps.ts';

/** An agent says no to an offer: it goes to the next one. @returns whether the offer stood */
export function* declineOffer(
  transaction: Transaction,
  input: AttemptKey & { detail: string },
): Operation<boolean> {
  const run = yield* runOfAttempt(transaction, input);
  if (run?.state !== 'offered' || run.epoch !== input.epoch || run.agentId !== input.agentId) return false;
  const withdrawn = yield* withdrawOffer(transaction, run, true);
  if (withdrawn.length > 0) {
    yield* set('runs', { tenantId: run.tenantId, id: run.id }, { detail: input.detail });
  }
  return withdrawn.length > 0;
}

/**
 * An agent proves by its journal that it did not and will not start an attempt under this epoch:
 * the run may be offered again, as a new attempt when a permit had been out.
 */
export function* refuseAttempt(
  transaction: Transaction,
  input: AttemptKey & { journalSeq: number; why: string },
): Operation<void> {
  const run = yield* runOfAttempt(transaction, input);
  if (!run) return;
  if (run.state === 'offered' && run.epoch === input.epoch && run.agentId === input.agentId) {
    yield* withdrawOffer(transaction, run, true);
    return;
  }
  const attempt = yield* lockAttempt(transaction, input);
  if (!attempt || attempt.state === 'notStarted') return;
  if (attempt.state !== 'starting') {
    yield* keepEvidence(transaction, attempt, { report: 'refused', why: input.why });
    return;
  }
  yield* set('attempts', keyOf(input), { state: 'notStarted', endedAt: transaction.now });
  if (!isCurrent(run, input) || (run.state !== 'starting' && run.state !== 'unknown')) return;
  const epoch = run.epoch + 1;
  if (run.cancelRequestedAt !== null) {
    yield* moveRun(transaction, run, 'notStarted', 'cancelled', {
      epoch,
      reason: 'cancelledByUser',
      detail: `by ${run.cancelRequestedBy}`,
    });
  } else if (run.startBy < transaction.now && !(yield* mayHaveGoneOn(transaction, run))) {
    yield* missRun(transaction, run);
  } else {
    yield* moveRun(transaction, run, 'notStarted', 'queued', {
      epoch,
      agentId: null,
      reason: null,
      detail: `attempt ${run.attempt} was not started: ${input.why}`,
      contactLostAt: null,
      wakeAt: transaction.now,
      passedJson: JSON.stringify([...(JSON.parse(run.passedJson) as string[]), input.agentId]),
    });
    yield* holdAgain(transaction, run);
  }
}

/** An agent reports its fsynced start. A start that comes after the run was settled is kept as evidence. */
export function* startAttempt(
  transaction: Transaction,
  input: AttemptKey & { seq: number; pid: number | null; journalSeq: number },
): Operation<void> {
  const run = yield* runOfAttempt(transaction, input);
  const attempt = yield* lockAttempt(transaction, input);
  if (!attempt || attempt.state === 'ended') return;
  if (attempt.state === 'notStarted') {
    yield* keepEvidence(transaction, attempt, { report: 'started' });
    return;
  }
  yield* set('attempts', keyOf(input), {
    state: 'running',
    startedAt: attempt.startedAt ?? transaction.now,
    pid: input.pid ?? attempt.pid,
    reportedSeq: Math.max(attempt.reportedSeq, input.seq),
  });
  if (!run || !isCurrent(run, input)) {
    yield* keepEvidence(transaction, attempt, { report: 'started' });
    return;
  }
  if (run.state === 'starting' || run.state === 'unknown') {
    yield* moveRun(transaction, run, 'start', 'running', {
      startedAt: run.startedAt ?? transaction.now,
      reason: null,
      contactLostAt: null,
      wakeAt: null,
      slot: (yield* slotAgain(transaction, run)) ?? 0,
    });
  }
}

const STATE_OF_OUTCOME = {
  succeeded: 'succeeded',
  failed: 'failed',
  timedOut: 'timedOut',
  cancelled: 'cancelled',
} as const satisfies Record<AttemptOutcome, string>;

/**
 * An agent reports the end of an attempt.
 * @returns the run's end, or null when it had ended before, or goes on with a further attempt
 */
export function* endAttempt(
  transaction: Transaction,
  input: AttemptKey & { seq: number; end: AttemptEnd; journalSeq: number },
): Operation<{ state: AttemptOutcome; latenessMs: number | null } | null> {
  const run = yield* runOfAttempt(transaction, input);
  const attempt = yield* lockAttempt(transaction, input);
  if (!attempt || attempt.state === 'ended') return null;
  const { end } = input;
  if (attempt.state === 'notStarted') {
    yield* keepEvidence(transaction, attempt, { report: 'ended', outcome: end.outcome });
    return null;
  }
  const reason = end.reason ?? defaultReason(end.outcome);
  yield* set('attempts', keyOf(input), {
    state: 'ended',
    outcome: end.outcome,
    reason,
    startedAt: attempt.startedAt ?? transaction.now,
    endedAt: transaction.now,
    exitCode: end.exitCode,
    signal: end.signal,
    error: end.error,
    cpuMs: end.cpuMs,
    maxRssBytes: end.maxRssBytes,
    durationMs: end.durationMs,
    httpJson: end.http === null ? null : JSON.stringify(end.http),
    outputBytes: end.outputBytes,
    // What the agent left out, and what the store did.
    outputDroppedBytes: Math.max(
      end.outputDroppedBytes,
      end.outputBytes - attempt.headBytes - attempt.tailBytes,
    ),
    reportedSeq: Math.max(attempt.reportedSeq, input.seq),
    resultJson: end.result,
    summary: end.summary,
  });
  yield* settleSteps(input, end, reason);
  if (!run || !isCurrent(run, input) || isTerminal(run.state)) {
    yield* keepEvidence(transaction, attempt, { report: 'ended', outcome: end.outcome });
    return null;
  }
  const startedAt = run.startedAt ?? attempt.startedAt ?? transaction.now;
  // The end may be old news: the agent measured how long it took.
  const durationMs =
    end.durationMs === null ? null : Math.max(0, attempt.startingAt - startedAt) + end.durationMs;
  if (yield* retryAfterEnd(transaction, { ...run, startedAt, durationMs }, end, reason)) return null;
  const state = STATE_OF_OUTCOME[end.outcome];
  const moved = yield* moveRun(transaction, run, 'end', state, {
    reason,
    detail:
      end.outcome === 'cancelled' && run.cancelRequestedBy !== null
        ? `by ${run.cancelRequestedBy}`
        : end.error,
    startedAt,
    durationMs,
    exitCode: end.exitCode,
    signal: end.signal,
  });
  return moved ? { state, latenessMs: run.kind === 'scheduled' ? startedAt - run.dueAt : null } : null;
}

function defaultReason(outcome: AttemptOutcome): ReasonCode | null {
  switch (outcome) {
    case 'succeeded':
      return null;
    case 'failed':
      return 'exitStatus';
    case 'timedOut':
      return 'timeout';
    case 'cancelled':
      return 'cancelledByUser';
  }
}
