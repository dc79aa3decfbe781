import type { Evidence } from './evidence.ts';
import {
  iso,
  type LoggedStart,
  type StateChange,
  type StoredAttempt,
  type StoredRun,
  TERMINAL,
} from './history.ts';

/** What must hold of each start, as the job itself has logged it. Each function names what breaks its invariant. */

export function* noAttemptTwice({ starts }: Evidence): Generator<string> {
  for (const [attemptId, times] of starts) {
    if (times.length > 1)
      yield `attempt ${attemptId} started ${times.length} times: ${times.map(({ at, agent }) => `${iso(at)} on ${agent}`).join(', ')}`;
  }
}

/** The server committed a permit for the attempt, and for this agent. */
export function* startHasPermit({ starts, attempts, agentNames }: Evidence): Generator<string> {
  for (const [attemptId, [start]] of starts) {
    if (!start) continue;
    const attempt = attempts.get(attemptId);
    const name = attempt && agentNames.get(attempt.agentId);
    if (!attempt) yield `attempt ${attemptId} started at ${iso(start.at)} without a permit on record`;
    else if (attempt.runId !== start.runId)
      yield `attempt ${attemptId} started for run ${start.runId} but belongs to run ${attempt.runId}`;
    else if (start.agent !== null && name !== undefined && name !== start.agent)
      yield `attempt ${attemptId} started on ${start.agent} but its permit is for ${name}`;
  }
}

export function* notStartedNeverStarts({ starts, attempts }: Evidence): Generator<string> {
  for (const [attemptId, [start]] of starts) {
    if (start && attempts.get(attemptId)?.state === 'notStarted')
      yield `attempt ${attemptId} started at ${iso(start.at)} although it was declared not started`;
  }
}

/**
 * A next attempt exists only when the one before ended, was proven not started, a person decided, or the job says that an unknown
 * run is tried again.
 */
export function* nextAttemptHasProof(evidence: Evidence): Generator<string> {
  const { attemptsOf, decidedAt } = evidence;
  for (const [runId, attempts] of attemptsOf) {
    for (const [index, next] of attempts.entries()) {
      const before = attempts[index - 1];
      const isGiven = next.told || next.number === (before?.number ?? 0) + 1;
      if (!before) {
        if (!isGiven) yield `run ${runId} has attempt ${next.number} but none before it`;
        continue;
      }
      if (!isGiven) yield `run ${runId} has attempt ${next.number} after attempt ${before.number}`;
      const decided = decidedAt.get(runId)?.some((at) => before.startingAt <= at && at <= next.startingAt);
      if (!isKnownOver(before, next) && !decided && !wasGivenUp(evidence, before, next.startingAt))
        yield `run ${runId} got attempt ${next.number} at ${iso(next.startingAt)} while nobody knew the end of attempt ${before.number}`;
    }
  }
}

/** Whether it was known when the next attempt was given that this one was over. */
function isKnownOver(attempt: StoredAttempt, next: StoredAttempt): boolean {
  // What was known then is lost where the next one is told of; and of what did not start an agent knows no time.
  if (next.told && (isUndated(attempt) || isUndated(next))) return attempt.endedAt !== null;
  return attempt.endedAt !== null && attempt.endedAt <= next.startingAt;
}

function isUndated(attempt: StoredAttempt): boolean {
  return attempt.told === true && attempt.state === 'notStarted';
}

/**
 * Whether nobody knew the end of an attempt and its job wanted another one all the same: not before its permit had expired, and,
 * where it was known to run, not before its timeout and grace had passed, unless its agent was declared gone.
 */
export function wasGivenUp(
  { history, jobs, runs, changesOf }: Evidence,
  attempt: StoredAttempt,
  at: number,
): boolean {
  const job = jobs.get(runs.get(attempt.runId)?.jobId ?? '');
  if (job?.onUnknown !== 'retry') return false;
  const { permitMs = 0, killGraceMs } = history.limits;
  const changes = (changesOf.get(attempt.runId) ?? []).filter((each) => each.at <= at);
  const unknown = changes.findLastIndex(({ state }, index) => state === 'unknown' && index > 0);
  if (unknown === -1 || (changes[unknown] as StateChange).at < attempt.startingAt) return false;
  if (at < attempt.startingAt + permitMs) return false;
  const isGone = history.agents.find(({ id }) => id === attempt.agentId)?.state !== 'online';
  if ((changes[unknown - 1] as StateChange).state !== 'running' || isGone) return true;
  return job.timeoutMs !== null && at >= attempt.startingAt + job.timeoutMs + killGraceMs;
}

/** Not before it was due, its jitter included, nor due before the instant of its schedule. */
export function* neverEarly({ history, firstStart, runs }: Evidence): Generator<string> {
  for (const run of history.runs) {
    if (run.kind === 'scheduled' && run.dueAt < run.scheduledFor)
      yield `run ${run.id} was due ${run.scheduledFor - run.dueAt} ms before its instant`;
  }
  for (const [runId, start] of firstStart) {
    const dueAt = runs.get(runId)?.dueAt ?? start.scheduledFor;
    if (start.at < dueAt - history.limits.clockErrorMs)
      yield `attempt ${start.attemptId} started ${dueAt - start.at} ms early, at ${iso(start.at)}`;
  }
}

/**
 * Two starts of a job whose runs exclude each other do not overlap. A start lasts until the end that the job logged; without
 * one, until the agent reported it, a person decided, or its timeout and the grace after it have surely ended it.
 */
export function* noOverlap(evidence: Evidence): Generator<string> {
  const { history, jobs, runs } = evidence;
  const starts = new Map<string, LoggedStart[]>();
  for (const entry of history.log) {
    const jobId = entry.kind === 'start' ? runs.get(entry.runId)?.jobId : undefined;
    if (entry.kind !== 'start' || jobId === undefined) continue;
    const job = jobs.get(jobId);
    if (!job || job.concurrency === 'allow') continue;
    const group = starts.get(jobId);
    if (group) group.push(entry);
    else starts.set(jobId, [entry]);
  }
  for (const [jobId, list] of starts) {
    let last: LoggedStart | null = null;
    let lastEnd = Number.NEGATIVE_INFINITY;
    for (const start of list.sort((a, b) => a.at - b.at)) {
      if (
        last &&
        start.at < lastEnd - history.limits.clockErrorMs &&
        !wasUnwatched(evidence, last, start.at, lastEnd) &&
        !mayOverlap(evidence, last, start)
      )
        yield `job ${jobs.get(jobId)?.name}: attempt ${start.attemptId} started at ${iso(start.at)} while attempt ${last.attemptId} of ${iso(last.at)} was going on until ${Number.isFinite(lastEnd) ? iso(lastEnd) : 'now'}`;
      const end = endOf(evidence, start);
      if (end > lastEnd) {
        last = start;
        lastEnd = end;
      }
    }
  }
}

/** A further attempt of a run of which nobody knew whether it had begun, as its job wants it. */
function mayOverlap(evidence: Evidence, before: LoggedStart, start: LoggedStart): boolean {
  const attempt = evidence.attempts.get(before.attemptId);
  const next = evidence.attempts.get(start.attemptId);
  if (!attempt || !next || before.runId !== start.runId) return false;
  return wasGivenUp(evidence, attempt, next.startingAt);
}

function endOf({ history, ends, attempts, jobs, runs, decidedAt }: Evidence, start: LoggedStart): number {
  const logged = ends.get(start.attemptId)?.[0];
  // Whoever decides about a run takes it on himself that it may be going on.
  const decided = (decidedAt.get(start.runId) ?? []).filter((at) => at >= start.at);
  if (logged) return Math.min(logged.at, ...decided);
  const reported = attempts.get(start.attemptId)?.endedAt;
  if (reported != null) return Math.min(reported, ...decided);
  const timeoutMs = jobs.get(runs.get(start.runId)?.jobId ?? '')?.timeoutMs ?? null;
  return Math.min(
    timeoutMs === null ? Number.POSITIVE_INFINITY : start.at + timeoutMs + history.limits.killGraceMs,
    ...decided,
  );
}

/**
 * Whether an attempt went on beyond its timeout and grace because nobody could end it then, and was ended as soon as somebody
 * could; `at`: when its job's slot had been given to another, which may be done after timeout and grace.
 */
function wasUnwatched(
  { history, jobs, runs }: Evidence,
  start: LoggedStart,
  at: number,
  endedAt: number,
): boolean {
  const { killGraceMs } = history.limits;
  const timeoutMs = jobs.get(runs.get(start.runId)?.jobId ?? '')?.timeoutMs ?? null;
  if (timeoutMs === null || at < start.at + timeoutMs + killGraceMs) return false;
  let watchedAt = start.at + timeoutMs;
  for (const { from, to } of (start.unwatched ?? []).toSorted((a, b) => a.from - b.from)) {
    if (from <= watchedAt + killGraceMs) watchedAt = Math.max(watchedAt, to);
  }
  return endedAt <= watchedAt + killGraceMs;
}

/** Whether someone cancelled a run while it waited for a further attempt. */
function endedWaiting({ changesOf }: Evidence, { id, state }: StoredRun): boolean {
  const before = changesOf.get(id)?.at(-2)?.state;
  return state === 'cancelled' && (before === 'queued' || before === 'offered');
}

/** What the database says of an attempt's end agrees with what its job logged. */
export function* outcomeMatchesLog(evidence: Evidence): Generator<string> {
  const { history, jobs, runs, starts, ends, attempts, attemptsOf, firstStart, decidedAt } = evidence;
  for (const attempt of history.attempts) {
    const started = starts.has(attempt.id);
    const end = ends.get(attempt.id)?.[0];
    const hasSteps = jobs.get(runs.get(attempt.runId)?.jobId ?? '')?.steps != null;
    if (attempt.outcome === 'succeeded' && !hasSteps && (!started || !end))
      yield `attempt ${attempt.id} succeeded but its log has ${started ? 'no end' : 'no start'}`;
    if (end?.exitCode == null) continue;
    if (attempt.state === 'ended' && attempt.exitCode !== null && attempt.exitCode !== end.exitCode)
      yield `attempt ${attempt.id} ended with ${end.exitCode} but ${attempt.exitCode} is on record`;
    if (attempt.outcome === 'succeeded' && end.exitCode !== 0)
      yield `attempt ${attempt.id} succeeded although it ended with ${end.exitCode}`;
  }
  for (const [attemptId, [end]] of ends) {
    if (end && !starts.has(attemptId)) yield `attempt ${attemptId} logged an end but no start`;
    if (end && attempts.get(attemptId)?.state === 'notStarted')
      yield `attempt ${attemptId} logged an end although it was declared not started`;
  }
  const dropped = new Set(history.dropped.map(({ runId }) => runId));
  for (const run of history.runs) {
    if (!TERMINAL.has(run.state)) continue;
    const start = firstStart.get(run.id);
    if (start && (run.state === 'skipped' || run.state === 'missed'))
      yield `run ${run.id} is ${run.state} but started at ${iso(start.at)}`;
    if (decidedAt.has(run.id) || dropped.has(run.id)) continue;
    // It ended before a permit was sent.
    if (run.reason === 'secretMissing') continue;
    const last = attemptsOf.get(run.id)?.at(-1);
    if (run.state === 'succeeded' || run.state === 'failed' || run.state === 'timedOut') {
      if (last?.outcome !== run.state)
        yield `run ${run.id} is ${run.state} but its last attempt is ${last?.outcome ?? last?.state ?? 'missing'}`;
    } else if (
      last &&
      last.state !== 'notStarted' &&
      last.outcome !== run.state &&
      !endedWaiting(evidence, run)
    )
      yield `run ${run.id} is ${run.state} but its last attempt is ${last.outcome ?? last.state}`;
  }
}
