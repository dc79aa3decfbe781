import type { JobDefinition, Retry, Step } from '@rota/contract';
import type { Evidence } from './evidence.ts';
import { iso, type JobOfHistory, type LoggedTry } from './history.ts';

/** What must hold of the steps of an attempt, as they have logged it themselves. Each function names what breaks its invariant. */

/** Null for one step that neither waits nor is waited for. */
export function stepsOf({ steps }: JobDefinition): Step[] | null {
  const [first] = steps;
  const isPlain =
    steps.length === 1 && first?.retry === null && first.when === null && !first.continueOnFailure;
  return isPlain ? null : steps;
}

/** A try is begun again only when its end was seen, the step's own policy lists it, and so many tries are left; and not too soon. */
export function* noStepTwice(evidence: Evidence): Generator<string> {
  for (const [attemptId, byStep] of evidence.triesOf) {
    const job = jobOf(evidence, attemptId);
    for (const [name, tries] of byStep) {
      const step = job?.steps?.find((each) => each.name === name);
      const what = `step ${name} of attempt ${attemptId}`;
      if (!step) yield `${what} is none of its job`;
      for (const [index, next] of tries.entries()) {
        const before = tries[index - 1];
        if (!step || !before) continue;
        const fault = faultOfNext(evidence, step, index, before, next);
        if (fault !== null) yield `${what} was begun again at ${iso(next.at)} (try ${index + 1}): ${fault}`;
      }
    }
  }
}

function faultOfNext(
  { history }: Evidence,
  { retry, timeoutMs }: Step,
  number: number,
  before: LoggedTry,
  next: LoggedTry,
): string | null {
  const { clockErrorMs, clockDrift = 0 } = history.limits;
  if (retry === null) return 'its job wants no further try';
  if (number > retry.times) return `its job wants ${retry.times} further tries at most`;
  if (before.endedAt === null || before.endedAt > next.at + clockErrorMs)
    return 'the one before was going on';
  if (!before.isSeen) return 'nobody could know how the one before had ended';
  if (!listsTry(retry, before, timeoutMs))
    return `the one before ended with ${before.exitCode}, and only ${retry.outcomes.join(', ')} is tried again`;
  const delayMs = delayAfter(retry, number) * (1 - clockDrift) - clockErrorMs;
  return next.at < before.endedAt + delayMs
    ? `${Math.round(next.at - before.endedAt)} ms after the one before, not ${Math.round(delayMs)} ms`
    : null;
}

/** At least so long after the end of try or attempt `number`. */
export function delayAfter({ delayMs, backoff, maxDelayMs }: Retry, number: number): number {
  return Math.min(delayMs * backoff ** (number - 1), maxDelayMs);
}

function listsTry(
  { outcomes }: Retry,
  { at, endedAt, exitCode }: LoggedTry,
  timeoutMs: number | null,
): boolean {
  const isLate = timeoutMs !== null && (endedAt as number) - at >= timeoutMs * 0.99 - 50;
  if (exitCode === 0 && !isLate) return false;
  return outcomes.some(
    (listed) =>
      listed === `exit:${exitCode}` ||
      (listed === 'timedOut' && isLate) ||
      (listed === 'failed' && exitCode !== 0),
  );
}

/** A step begins only when all before it have ended, each in a way that lets the chain go on, and where its condition may hold. */
export function* stepsInOrder(evidence: Evidence): Generator<string> {
  const { history, attempts, runs, triesOf } = evidence;
  for (const [attemptId, byStep] of triesOf) {
    const steps = jobOf(evidence, attemptId)?.steps ?? [];
    const runId = attempts.get(attemptId)?.runId ?? '';
    const minute = new Date(runs.get(runId)?.scheduledFor ?? 0).getUTCMinutes();
    for (const [index, step] of steps.entries()) {
      const [first] = byStep.get(step.name) ?? [];
      if (!first) continue;
      const what = `step ${step.name} of attempt ${attemptId} began at ${iso(first.at)}`;
      if (step.when?.minute && !step.when.minute.includes(minute))
        yield `${what} although its condition does not hold`;
      for (const former of steps.slice(0, index)) {
        const last = byStep.get(former.name)?.at(-1);
        if (!last) {
          if (former.when === null && !former.continueOnFailure) yield `${what} before step ${former.name}`;
        } else if (last.endedAt === null || last.endedAt > first.at + history.limits.clockErrorMs)
          yield `${what} while step ${former.name} was going on`;
        else if (!former.continueOnFailure && (last.exitCode !== 0 || !last.isSeen))
          yield `${what} although step ${former.name} had ${last.isSeen ? `ended with ${last.exitCode}` : 'an end that nobody saw'}`;
      }
    }
  }
}

/** What the database says of the steps agrees with what they logged. */
export function* stepsMatchLog(evidence: Evidence): Generator<string> {
  const { history, stepsOf, triesOf } = evidence;
  for (const attempt of history.attempts) {
    if (attempt.state !== 'ended') continue;
    const planned = jobOf(evidence, attempt.id)?.steps;
    const stored = stepsOf.get(attempt.id) ?? [];
    // Without all of them the end was told to a database that had lost the rest.
    if (!planned || stored.length !== planned.length) continue;
    // A machine that lost its power may have forgotten the newest of it.
    const isWhole = attempt.reason !== 'hostRestarted';
    for (const step of stored) {
      const tries = triesOf.get(attempt.id)?.get(step.name) ?? [];
      const what = `step ${step.name} of attempt ${attempt.id} is ${step.state}`;
      const last = tries.at(-1);
      if (step.state === 'running' || step.state === 'retrying')
        yield `${what} although its attempt has ended`;
      if (step.state === 'succeeded' && (last?.exitCode !== 0 || !last.isSeen))
        yield `${what} but ${last ? `ended with ${last.exitCode}` : 'has not begun'}`;
      if ((step.state === 'skipped' || (isWhole && step.state === 'notRun')) && tries.length > 0)
        yield `${what} but has begun`;
      if (isWhole && tries.length > step.tries)
        yield `${what} after ${step.tries} tries but has begun ${tries.length}`;
    }
    if (attempt.outcome !== 'succeeded') continue;
    for (const [index, { name, continueOnFailure }] of planned.entries()) {
      const state = stored.find((step) => step.index === index)?.state;
      const isFine = state === 'succeeded' || state === 'skipped';
      if (!isFine && !(continueOnFailure && (state === 'failed' || state === 'timedOut')))
        yield `attempt ${attempt.id} succeeded although its step ${name} is ${state}`;
    }
  }
}

function jobOf({ jobs, runs, attempts }: Evidence, attemptId: string): JobOfHistory | undefined {
  return jobs.get(runs.get(attempts.get(attemptId)?.runId ?? '')?.jobId ?? '');
}
