import type { Retry } from '@rota/contract';
import type { Evidence } from './evidence.ts';
import { iso, type StoredAttempt } from './history.ts';
import { wasGivenUp } from './starts.ts';
import { delayAfter } from './steps.ts';

/** What must hold of further attempts, as the database shows them. Each function names what breaks its invariant. */

/** An end of which nobody knows what happened before it is not tried again by itself. */
const FATE_LOST = new Set(['exitStatusLost', 'interrupted']);

function lists({ outcomes }: Retry, { outcome, reason, exitCode }: StoredAttempt): boolean {
  if (reason !== null && FATE_LOST.has(reason)) return false;
  return outcomes.some((listed) => listed === outcome || listed === `exit:${exitCode}`);
}

/** A further attempt is of a job that lists the end of the one before, one of so many, and not before its time. */
export function* retryIsAllowed(evidence: Evidence): Generator<string> {
  const { history, jobs, runs, attemptsOf, decidedAt } = evidence;
  const { clockErrorMs } = history.limits;
  for (const [runId, all] of attemptsOf) {
    const attempts = all.filter(({ state }) => state !== 'notStarted');
    const retry = jobs.get(runs.get(runId)?.jobId ?? '')?.retry ?? null;
    for (const [index, next] of attempts.entries()) {
      const before = attempts[index - 1];
      if (!before || next.told) continue;
      const isBetween = (at: number) => before.startingAt <= at && at <= next.startingAt;
      if (decidedAt.get(runId)?.some(isBetween)) continue;
      if (wasGivenUp(evidence, before, next.startingAt)) continue;
      const what = `run ${runId} got attempt ${next.number} at ${iso(next.startingAt)}`;
      if (before.outcome === 'succeeded' || before.outcome === 'cancelled')
        yield `${what} although attempt ${before.number} ${before.outcome === 'succeeded' ? 'succeeded' : 'was cancelled'}`;
      else if (retry === null) yield `${what}, but its job wants none`;
      else if (!lists(retry, before))
        yield `${what} after ${before.outcome} (${before.reason}, ${before.exitCode}); its job lists ${retry.outcomes.join(', ')}`;
      else if (index > retry.times) yield `${what}, but its job wants ${retry.times} at most`;
      else if (!history.hurried.some((hurry) => hurry.runId === runId && isBetween(hurry.at))) {
        const endedAt = before.endedAt ?? next.startingAt;
        const waited = next.startingAt - endedAt + clockErrorMs;
        if (waited < delayAfter(retry, index))
          yield `${what}, ${Math.round(waited)} ms after the end of the one before, not ${delayAfter(retry, index)} ms`;
      }
    }
  }
}

/** A run does not end badly while its job wants another attempt, unless a person wanted that. */
export function* retriesAreUsed({ history, jobs, attemptsOf, decidedAt }: Evidence): Generator<string> {
  const dropped = new Set(history.dropped.map(({ runId }) => runId));
  for (const run of history.runs) {
    if (run.state !== 'failed' && run.state !== 'timedOut') continue;
    const retry = jobs.get(run.jobId)?.retry ?? null;
    const last = attemptsOf.get(run.id)?.findLast(({ state }) => state !== 'notStarted');
    const endedAt = last?.endedAt ?? 0;
    // One that was proven later not to have started counted until then.
    const attempts = (attemptsOf.get(run.id) ?? []).filter(
      (each) => each.state !== 'notStarted' || (each.endedAt ?? 0) > endedAt,
    );
    if (!retry || !last || attempts.length > retry.times || !lists(retry, last)) continue;
    if (run.cancelRequestedAt !== null || decidedAt.has(run.id) || dropped.has(run.id)) continue;
    yield `run ${run.id} is ${run.state} after ${attempts.length} attempts, though its job wants ${retry.times} more after ${last.outcome}`;
  }
}

/** After a person did not want another attempt, none begins, and the run has ended. */
export function* droppedNeverStarts({ history, runs, attemptsOf }: Evidence): Generator<string> {
  for (const { runId, at } of history.dropped) {
    const later = attemptsOf.get(runId)?.find(({ startingAt }) => startingAt > at);
    if (later)
      yield `run ${runId} got attempt ${later.number} at ${iso(later.startingAt)}, dropped at ${iso(at)}`;
    const run = runs.get(runId);
    if (run && run.endedAt === null)
      yield `run ${runId} is ${run.state}, though its attempt was dropped at ${iso(at)}`;
  }
}
