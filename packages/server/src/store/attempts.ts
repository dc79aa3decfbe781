import type { AttemptEnd, AttemptOutcome, ReasonCode } from '@rota/contract';
import { isTerminal } from '@rota/contract';
import { attemptIdOf, parseAttemptId } from '../runs/ids.ts';
import { withdrawOffer } from './dispatch.ts';
import { moveRun } from './moveRun.ts';
import { change, type Operation, row, type Transaction } from './operation.ts';
import { lockRun } from './requests.ts';
import type { AttemptRow, RunRow } from './tables.ts';

/** What a message of an agent says about an attempt; `agentId` and `tenantId` are those of its session. */
export interface AttemptKey {
  tenantId: string;
  agentId: string;
  attemptId: string;
  epoch: number;
}

/** What a permit is made of. */
export interface PermitGrant {
  run: RunRow;
  /** Of its revision; null for an ad hoc run, whose definition is in the run. */
  documentJson: string | null;
  jobName: string;
  tenantName: string;
  number: number;
}

export interface BootReading {
  bootId: string;
  /** Until when the permit is valid, on that boot's clock. */
  permitUntilBootMs: number;
}

/**
 * An agent has journalled an offer: the run starts, if the offer still stands.
 * @returns what the permit is made of; null when the offer is stale and must be refused
 */
export function* acceptOffer(
  transaction: Transaction,
  input: AttemptKey & BootReading & { journalSeq: number },
): Operation<PermitGrant | null> {
  yield* raiseJournalSeq(input);
  const run = yield* runOfAttempt(transaction, input);
  const parsed = parseAttemptId(input.attemptId);
  const stands =
    run?.state === 'offered' &&
    run.epoch === input.epoch &&
    run.agentId === input.agentId &&
    parsed?.number === run.attempt + 1;
  // The same yes again: the permit that answered it may be lost.
  if (run?.state === 'starting' || run?.state === 'unknown') return yield* permitAgain(transaction, input);
  if (!run || !stands) return null;
  if (run.startBy < transaction.now) {
    yield* moveRun(transaction, run, 'miss', 'missed', { epoch: run.epoch + 1, reason: 'startDeadline' });
    return null;
  }
  const number = run.attempt + 1;
  yield* moveRun(transaction, run, 'accept', 'starting', {
    attempt: number,
    startingAt: transaction.now,
    // An agent that has the permit reports within its lifetime; one that does not is lost.
    wakeAt: transaction.now + STARTING_SILENT_MS,
  });
  yield* change(
    `insert into "attempts" ("tenantId", "id", "runId", "number", "agentId", "epoch", "state", "startingAt", "permitBootId",
       "permitUntilBootMs", "outputBytes", "outputDroppedBytes", "reportedSeq", "headBytes", "tailBytes")
     values (?, ?, ?, ?, ?, ?, 'starting', ?, ?, ?, 0, 0, 0, 0, 0)`,
    input.tenantId,
    attemptIdOf(run.id, number),
    run.id,
    number,
    input.agentId,
    input.epoch,
    transaction.now,
    input.bootId,
    input.permitUntilBootMs,
  );
  return yield* readGrant({ ...run, attempt: number });
}

/** How long a run may be `starting` under a live session without a word of its start. */
const STARTING_SILENT_MS = 25_000;

/**
 * An agent that lost its permit asks again: the same attempt, the same epoch, a new lifetime.
 * @returns null when the attempt must not start any more; the agent is to refuse it
 */
export function* permitAgain(
  transaction: Transaction,
  input: AttemptKey & BootReading,
): Operation<PermitGrant | null> {
  const run = yield* runOfAttempt(transaction, input);
  if (!run || !isCurrent(run, input) || (run.state !== 'starting' && run.state !== 'unknown')) return null;
  if (run.cancelRequestedAt !== null || run.startBy < transaction.now) return null;
  const attempt = yield* lockAttempt(transaction, input);
  // It was reported as started before: whoever says otherwise now has lost part of its journal.
  if (attempt?.state !== 'starting') return null;
  const slot = yield* slotAgain(run);
  if (slot === null) return null;
  // What the agent can do under this permit counts from now.
  const again = {
    slot,
    contactLostAt: null,
    startingAt: transaction.now,
    wakeAt: transaction.now + STARTING_SILENT_MS,
  };
  if (run.state === 'unknown') {
    yield* moveRun(transaction, run, 'permitAgain', 'starting', { reason: null, ...again });
  } else {
    yield* change(
      'update "runs" set "contactLostAt" = null, "startingAt" = ?, "wakeAt" = ? where "tenantId" = ? and "id" = ?',
      again.startingAt,
      again.wakeAt,
      run.tenantId,
      run.id,
    );
  }
  yield* change(
    'update "attempts" set "permitBootId" = ?, "permitUntilBootMs" = ? where "tenantId" = ? and "id" = ?',
    input.bootId,
    input.permitUntilBootMs,
    input.tenantId,
    input.attemptId,
  );
  return yield* readGrant(run);
}

function* readGrant(run: RunRow): Operation<PermitGrant> {
  const names = yield* row<{ documentJson: string | null; jobName: string; tenantName: string }>(
    `select "jobRevisions"."documentJson", "jobs"."name" as "jobName", "tenants"."name" as "tenantName"
     from "jobs" join "tenants" on "tenants"."id" = "jobs"."tenantId"
     left join "jobRevisions" on "jobRevisions"."tenantId" = "jobs"."tenantId" and "jobRevisions"."jobId" = "jobs"."id" and "jobRevisions"."revision" = ?
     where "jobs"."tenantId" = ? and "jobs"."id" = ?`,
    run.revision,
    run.tenantId,
    run.jobId,
  );
  if (!names) throw new Error(`run ${run.id} has no job`);
  return { run, number: run.attempt, ...names };
}

/** An agent says no to an offer: it goes to the next one. @returns whether the offer stood */
export function* declineOffer(
  transaction: Transaction,
  input: AttemptKey & { detail: string },
): Operation<boolean> {
  const run = yield* runOfAttempt(transaction, input);
  if (run?.state !== 'offered' || run.epoch !== input.epoch || run.agentId !== input.agentId) return false;
  const withdrawn = yield* withdrawOffer(transaction, run, true);
  if (withdrawn.length > 0) {
    yield* change(
      'update "runs" set "detail" = ? where "tenantId" = ? and "id" = ?',
      input.detail,
      run.tenantId,
      run.id,
    );
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
  yield* raiseJournalSeq(input);
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
  yield* change(
    `update "attempts" set "state" = 'notStarted', "endedAt" = ? where "tenantId" = ? and "id" = ?`,
    transaction.now,
    input.tenantId,
    input.attemptId,
  );
  if (!isCurrent(run, input) || (run.state !== 'starting' && run.state !== 'unknown')) return;
  const epoch = run.epoch + 1;
  if (run.cancelRequestedAt !== null) {
    yield* moveRun(transaction, run, 'notStarted', 'cancelled', {
      epoch,
      reason: 'cancelledByUser',
      detail: `by ${run.cancelRequestedBy}`,
    });
  } else if (run.startBy < transaction.now) {
    yield* moveRun(transaction, run, 'notStarted', 'missed', { epoch, reason: 'startDeadline' });
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
  }
}

/** An agent reports its fsynced start. A start that comes after the run was settled is kept as evidence. */
export function* startAttempt(
  transaction: Transaction,
  input: AttemptKey & { seq: number; pid: number | null; journalSeq: number },
): Operation<void> {
  yield* raiseJournalSeq(input);
  const run = yield* runOfAttempt(transaction, input);
  const attempt = yield* lockAttempt(transaction, input);
  if (!attempt || attempt.state === 'ended') return;
  if (attempt.state === 'notStarted') {
    yield* keepEvidence(transaction, attempt, { report: 'started' });
    return;
  }
  yield* change(
    `update "attempts" set "state" = 'running', "startedAt" = coalesce("startedAt", ?), "pid" = coalesce(?, "pid"), "reportedSeq" = ?
     where "tenantId" = ? and "id" = ?`,
    transaction.now,
    input.pid,
    Math.max(attempt.reportedSeq, input.seq),
    input.tenantId,
    input.attemptId,
  );
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
      slot: (yield* slotAgain(run)) ?? 0,
    });
  }
}

/** The slot that a run has when it goes on: its job's, unless another run has it by now (null). */
function* slotAgain(run: RunRow): Operation<0 | 1 | null> {
  if (run.kind === 'adHoc') return 0;
  if (run.slot === 1) return 1;
  const holder = yield* row(
    'select "id" from "runs" where "tenantId" = ? and "jobId" = ? and "slot" = 1',
    run.tenantId,
    run.jobId,
  );
  return holder ? null : 1;
}

const STATE_OF_OUTCOME = {
  succeeded: 'succeeded',
  failed: 'failed',
  timedOut: 'timedOut',
  cancelled: 'cancelled',
} as const satisfies Record<AttemptOutcome, string>;

/** An agent reports the end of an attempt. @returns the run's end, or null when it had ended before */
export function* endAttempt(
  transaction: Transaction,
  input: AttemptKey & { seq: number; end: AttemptEnd; journalSeq: number },
): Operation<{ state: AttemptOutcome; latenessMs: number | null } | null> {
  yield* raiseJournalSeq(input);
  const run = yield* runOfAttempt(transaction, input);
  const attempt = yield* lockAttempt(transaction, input);
  if (!attempt || attempt.state === 'ended') return null;
  const { end } = input;
  if (attempt.state === 'notStarted') {
    yield* keepEvidence(transaction, attempt, { report: 'ended', outcome: end.outcome });
    return null;
  }
  const reason = end.reason ?? defaultReason(end.outcome);
  yield* change(
    `update "attempts" set "state" = 'ended', "outcome" = ?, "reason" = ?, "startedAt" = coalesce("startedAt", ?), "endedAt" = ?, "exitCode" = ?,
       "signal" = ?, "error" = ?, "cpuMs" = ?, "maxRssBytes" = ?, "durationMs" = ?, "httpJson" = ?, "outputBytes" = ?,
       "outputDroppedBytes" = ?, "reportedSeq" = ? where "tenantId" = ? and "id" = ?`,
    end.outcome,
    reason,
    transaction.now,
    transaction.now,
    end.exitCode,
    end.signal,
    end.error,
    end.cpuMs,
    end.maxRssBytes,
    end.durationMs,
    end.http === null ? null : JSON.stringify(end.http),
    end.outputBytes,
    // What the agent left out, and what the store did.
    Math.max(end.outputDroppedBytes, end.outputBytes - attempt.headBytes - attempt.tailBytes),
    Math.max(attempt.reportedSeq, input.seq),
    input.tenantId,
    input.attemptId,
  );
  if (!run || !isCurrent(run, input) || isTerminal(run.state)) {
    yield* keepEvidence(transaction, attempt, { report: 'ended', outcome: end.outcome });
    return null;
  }
  const state = STATE_OF_OUTCOME[end.outcome];
  const startedAt = run.startedAt ?? transaction.now;
  const moved = yield* moveRun(transaction, run, 'end', state, {
    reason,
    detail:
      end.outcome === 'cancelled' && run.cancelRequestedBy !== null
        ? `by ${run.cancelRequestedBy}`
        : end.error,
    startedAt,
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

/** History is monotone: what comes after a run's end changes nothing, but is not forgotten. */
function* keepEvidence(
  transaction: Transaction,
  attempt: AttemptRow,
  report: Record<string, unknown>,
): Operation<void> {
  const evidence = JSON.parse(attempt.evidenceJson ?? '[]') as unknown[];
  if (evidence.length >= 20) return;
  yield* change(
    'update "attempts" set "evidenceJson" = ? where "tenantId" = ? and "id" = ?',
    JSON.stringify([...evidence, { at: transaction.now, ...report }]),
    attempt.tenantId,
    attempt.id,
  );
}

function isCurrent(run: RunRow, input: AttemptKey): boolean {
  return (
    run.epoch === input.epoch &&
    run.agentId === input.agentId &&
    attemptIdOf(run.id, run.attempt) === input.attemptId
  );
}

function* runOfAttempt(transaction: Transaction, input: AttemptKey): Operation<RunRow | undefined> {
  const parsed = parseAttemptId(input.attemptId);
  return parsed === null
    ? undefined
    : yield* lockRun(transaction, { tenantId: input.tenantId, runId: parsed.runId });
}

/** An attempt, if it is this agent's under this epoch, as nobody else changes it meanwhile. */
function* lockAttempt({ dialect }: Transaction, input: AttemptKey): Operation<AttemptRow | undefined> {
  return yield* row<AttemptRow>(
    `select * from "attempts" where "tenantId" = ? and "id" = ? and "agentId" = ? and "epoch" = ? ${dialect.forUpdate}`,
    input.tenantId,
    input.attemptId,
    input.agentId,
    input.epoch,
  );
}

function* raiseJournalSeq(input: { tenantId: string; agentId: string; journalSeq: number }): Operation<void> {
  yield* change(
    'update "agents" set "journalSeq" = ? where "tenantId" = ? and "id" = ? and "journalSeq" < ?',
    input.journalSeq,
    input.tenantId,
    input.agentId,
    input.journalSeq,
  );
}
