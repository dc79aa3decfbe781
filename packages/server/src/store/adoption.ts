import { type HistoryAttempt, isTerminal, type RunKey } from '@rota/contract';
import { parseAttemptId, runIdOf } from '../runs/ids.ts';
import { endAttempt, refuseAttempt } from './attempts.ts';
import { moveRun } from './moveRun.ts';
import { change, type Operation, row, rows, type Transaction } from './operation.ts';
import { insertRun } from './planning.ts';
import { settleSlots } from './recovery.ts';
import type { AttemptRow, JobRow, RunRow } from './tables.ts';

/** What came of an agent's history. */
export interface Adopted {
  /** Attempts that the database did not know, or of which it did not know the end. */
  found: number;
  /** Attempts of jobs that it does not know. */
  lost: number;
  /** Attempts that another agent had, too, because it was said to be gone. */
  doubled: string[];
}

interface Teller {
  tenantId: string;
  agentId: string;
}

/**
 * Takes over what an agent has started, ended or refused, as far as the database has lost it. Telling it again changes
 * nothing. Null: the session is over, or nobody has asked the agent.
 */
export function* adoptAttempts(
  transaction: Transaction,
  input: Teller & { sessionEpoch: number; attempts: HistoryAttempt[] },
): Operation<Adopted | null> {
  const adopted: Adopted = { found: 0, lost: 0, doubled: [] };
  const jobs = yield* lockJobs(transaction, input);
  if (!(yield* isAsked(transaction, input))) return null;
  const told = input.attempts.flatMap((attempt) => {
    const parsed = parseAttemptId(attempt.attemptId);
    return parsed === null ? [] : [{ ...attempt, ...parsed }];
  });
  if (told.length === 0) return adopted;
  const byId = yield* lockRuns(
    transaction,
    input.tenantId,
    told.map(({ runId }) => runId),
  );
  const known = yield* lockAttempts(
    transaction,
    input.tenantId,
    told.map(({ attemptId }) => attemptId),
  );
  told.sort((a, b) => (a.runId < b.runId ? -1 : a.runId > b.runId ? 1 : a.number - b.number));
  /** It may wait for its next attempt now, which this agent may tell of, too. */
  function* readAgain({ runId }: { runId: string }): Operation<void> {
    const run = yield* row<RunRow>(
      'select * from "runs" where "tenantId" = ? and "id" = ?',
      input.tenantId,
      runId,
    );
    if (run) byId.set(run.id, run);
  }
  for (const attempt of told) {
    const { attemptId, epoch, end } = attempt;
    const key = { tenantId: input.tenantId, agentId: input.agentId, attemptId, epoch };
    const before = known.get(attemptId);
    if (before && (before.agentId !== input.agentId || before.epoch !== epoch)) {
      adopted.doubled.push(attemptId);
      continue;
    }
    if (before?.state === 'ended' || before?.state === 'notStarted') continue;
    if (attempt.state === 'refused') {
      const run = byId.get(attempt.runId);
      if (before) {
        adopted.found += 1;
        yield* refuseAttempt(transaction, { ...key, journalSeq: 0, why: 'refused before' });
        yield* readAgain(attempt);
      } else if (run && attempt.permitted)
        byId.set(run.id, yield* adoptRefused(transaction, input, run, attempt));
      continue;
    }
    if (!before) {
      const run = byId.get(attempt.runId) ?? (yield* insertLost(transaction, input.tenantId, attempt, jobs));
      if (!run) {
        adopted.lost += 1;
        continue;
      }
      adopted.found += 1;
      byId.set(run.id, yield* adopt(transaction, input, run, attempt));
    }
    if (end === null) continue;
    if (before) adopted.found += 1;
    yield* endAttempt(transaction, { ...key, seq: before?.reportedSeq ?? 0, end, journalSeq: 0 });
    yield* readAgain(attempt);
    yield* dateEnd(transaction, input.tenantId, attempt);
  }
  return adopted;
}

/** An agent has told all: it is awaited no longer. */
export function* endHistory(
  transaction: Transaction,
  input: Teller & { sessionEpoch: number },
): Operation<boolean> {
  const told = yield* change(
    `update "agents" set "awaited" = null, "changedAt" = ? where "tenantId" = ? and "id" = ? and "sessionEpoch" = ? and "awaited" is not null`,
    transaction.now,
    input.tenantId,
    input.agentId,
    input.sessionEpoch,
  );
  yield* settleSlots();
  return told === 1;
}

function* isAsked({ dialect }: Transaction, input: Teller & { sessionEpoch: number }): Operation<boolean> {
  const asked = yield* row(
    `select "id" from "agents" where "tenantId" = ? and "id" = ? and "sessionEpoch" = ? and "awaited" is not null
       and "replicaId" is not null ${dialect.forUpdate}`,
    input.tenantId,
    input.agentId,
    input.sessionEpoch,
  );
  return asked !== undefined;
}

function* lockJobs(
  { dialect }: Transaction,
  input: { tenantId: string; attempts: HistoryAttempt[] },
): Operation<Map<string, JobRow>> {
  const ids = [...new Set(input.attempts.flatMap(({ key }) => (key === null ? [] : [key.jobId])))];
  if (ids.length === 0) return new Map();
  const found = yield* rows<JobRow>(
    `select * from "jobs" where ("tenantId", "id") in (values ${ids.map(() => '(?, ?)').join(', ')}) order by "id" ${dialect.forUpdate}`,
    ...ids.flatMap((id) => [input.tenantId, id]),
  );
  return new Map(found.map((job) => [job.id, job]));
}

function* lockRuns(
  { dialect }: Transaction,
  tenantId: string,
  ids: string[],
): Operation<Map<string, RunRow>> {
  const found = yield* rows<RunRow>(
    `select * from "runs" where ("tenantId", "id") in (values ${ids.map(() => '(?, ?)').join(', ')}) order by "id" ${dialect.forUpdate}`,
    ...ids.flatMap((id) => [tenantId, id]),
  );
  return new Map(found.map((run) => [run.id, run]));
}

function* lockAttempts(
  { dialect }: Transaction,
  tenantId: string,
  ids: string[],
): Operation<Map<string, AttemptRow>> {
  const found = yield* rows<AttemptRow>(
    `select * from "attempts" where ("tenantId", "id") in (values ${ids.map(() => '(?, ?)').join(', ')}) order by "id" ${dialect.forUpdate}`,
    ...ids.flatMap((id) => [tenantId, id]),
  );
  return new Map(found.map((attempt) => [attempt.id, attempt]));
}

/** Makes a run again that was lost, from what its permit said of it; null when it is not of a job that is known. */
function* insertLost(
  transaction: Transaction,
  tenantId: string,
  attempt: { runId: string; key: RunKey | null },
  jobs: Map<string, JobRow>,
): Operation<RunRow | null> {
  const { key, runId } = attempt;
  const job = key === null ? undefined : jobs.get(key.jobId);
  if (key === null || job === undefined || !isTrue(tenantId, runId, key)) return null;
  yield* insertRun(transaction, {
    id: runId,
    tenantId,
    jobId: key.jobId,
    // A revision that was lost, too, is not known; its number will be another's.
    revision: Math.min(key.revision, job.revision),
    kind: key.kind,
    occurrenceKey: key.occurrenceKey,
    part: key.part,
    definitionJson: null,
    scheduledFor: key.scheduledFor,
    dueAt: key.dueAt,
    startBy: key.startBy,
    timeoutMs: key.timeoutMs,
    createdBy: null,
  });
  if (key.kind === 'scheduled') {
    yield* change(
      'update "jobs" set "firedThrough" = ? where "tenantId" = ? and "id" = ? and "firedThrough" < ?',
      key.scheduledFor,
      tenantId,
      key.jobId,
      key.scheduledFor,
    );
  } else {
    // Whoever asks with the same key again gets this run.
    const asked = key.occurrenceKey.slice(2);
    yield* change(
      `insert into "idempotencyKeys" ("tenantId", "jobId", "key", "runId", "createdAt") values (?, ?, ?, ?, ?) on conflict do nothing`,
      tenantId,
      key.jobId,
      key.part === '' ? asked : `${asked}\n${key.part}`,
      runId,
      transaction.now,
    );
  }
  const run = yield* row<RunRow>('select * from "runs" where "tenantId" = ? and "id" = ?', tenantId, runId);
  return run ?? null;
}

/** Whether a run's id is that of what is said of it. */
function isTrue(tenantId: string, runId: string, key: RunKey): boolean {
  const { jobId, occurrenceKey, part } = key;
  const named =
    key.kind === 'scheduled' ? occurrenceKey === `s:${key.scheduledFor}` : /^t:/.test(occurrenceKey);
  return named && runIdOf({ tenantId, jobId, occurrenceKey, part }) === runId;
}

/**
 * Adds an attempt whose permit the agent has seen and that it did not start. Its number is not given again: the agent would
 * decline it. While another attempt of its run is open, that one says what comes next. @returns the run
 */
function* adoptRefused(
  transaction: Transaction,
  teller: Teller,
  run: RunRow,
  attempt: HistoryAttempt & { number: number },
): Operation<RunRow> {
  const isNext = attempt.number > run.attempt;
  if (isNext && run.state !== 'planned' && run.state !== 'queued') return run;
  yield* insertAttempt(teller, run, attempt, { state: 'notStarted', at: transaction.now });
  if (!isNext) return run;
  yield* change(
    'update "runs" set "attempt" = ? where "tenantId" = ? and "id" = ?',
    attempt.number,
    run.tenantId,
    run.id,
  );
  return { ...run, attempt: attempt.number };
}

/** Adds an attempt that was started; its run goes on as running unless it has ended or a later attempt is known. @returns the run */
function* adopt(
  transaction: Transaction,
  teller: Teller,
  run: RunRow,
  attempt: HistoryAttempt & { number: number },
): Operation<RunRow> {
  const startedAt = transaction.now - (attempt.startedMsAgo ?? 0);
  yield* insertAttempt(teller, run, attempt, { state: 'running', at: startedAt });
  if (isTerminal(run.state) || attempt.number <= run.attempt) return run;
  const patch = {
    epoch: attempt.epoch,
    attempt: attempt.number,
    agentId: teller.agentId,
    slot: yield* freeSlot(run),
    reason: null,
    detail: 'learned from its agent, after the database had lost it',
    wakeAt: null,
    contactLostAt: null,
    permitAt: run.permitAt ?? startedAt,
    startingAt: startedAt,
    startedAt: run.startedAt ?? startedAt,
    durationMs: null,
  };
  yield* moveRun(transaction, run, 'adopt', 'running', patch);
  return { ...run, ...patch, state: 'running' };
}

/** The boot of its permit, and how long that was good, is lost. `at`: when it started, or when it is told that it did not. */
function* insertAttempt(
  teller: Teller,
  run: RunRow,
  attempt: HistoryAttempt & { number: number },
  { state, at }: { state: 'running' | 'notStarted'; at: number },
): Operation<void> {
  yield* change(
    `insert into "attempts" ("tenantId", "id", "runId", "number", "agentId", "epoch", "state", "startingAt", "startedAt", "endedAt",
       "permitBootId", "permitUntilBootMs", "outputBytes", "outputDroppedBytes", "reportedSeq", "headBytes", "tailBytes")
     values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0, 0, 0, 0, 0, 0)`,
    run.tenantId,
    attempt.attemptId,
    run.id,
    attempt.number,
    teller.agentId,
    attempt.epoch,
    state,
    at,
    state === 'running' ? at : null,
    state === 'running' ? null : at,
  );
}

function* freeSlot(run: RunRow): Operation<0 | 1> {
  if (run.kind === 'adHoc') return 0;
  const holder = yield* row(
    'select "id" from "runs" where "tenantId" = ? and "jobId" = ? and "slot" = 1 and "id" <> ?',
    run.tenantId,
    run.jobId,
    run.id,
  );
  return holder ? 0 : 1;
}

/** An end that is told late is dated as far back as it was. */
function* dateEnd(
  transaction: Transaction,
  tenantId: string,
  attempt: HistoryAttempt & { runId: string },
): Operation<void> {
  if (attempt.endedMsAgo === null || attempt.endedMsAgo === 0) return;
  const endedAt = transaction.now - attempt.endedMsAgo;
  yield* change(
    `update "attempts" set "endedAt" = ? where "tenantId" = ? and "id" = ? and "state" = 'ended' and "endedAt" = ?`,
    endedAt,
    tenantId,
    attempt.attemptId,
    transaction.now,
  );
  yield* change(
    `update "runs" set "endedAt" = ? where "tenantId" = ? and "id" = ? and "endedAt" = ?`,
    endedAt,
    tenantId,
    attempt.runId,
    transaction.now,
  );
}
