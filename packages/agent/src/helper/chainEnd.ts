import type { AttemptEnd, AttemptOutcome, ReasonCode, StepResult } from '@rota/contract';
import type { EndedStep, PlannedStep } from '../stepsFile.ts';
import { blankStep } from '../stepsFile.ts';

/** That an attempt was ended before its steps had. */
export interface Early {
  outcome: AttemptOutcome;
  reason: ReasonCode;
  error?: string;
}

const ERROR_LENGTH = 2_000;

/** The place of the step after those. */
export function nextAfter(ended: EndedStep[]): number {
  return (ended.at(-1)?.result.index ?? -1) + 1;
}

/** Whether the chain goes on after this step. */
export function goesOnAfter({ state }: StepResult, { continueOnFailure }: PlannedStep): boolean {
  return state === 'succeeded' || state === 'skipped' || (continueOnFailure && isFailure(state));
}

function isFailure(state: StepResult['state']): boolean {
  return state === 'failed' || state === 'timedOut';
}

/**
 * What is reported of an attempt whose steps run no more. The step that ended it decides, else the last one that ran speaks
 * for it; that it was ended early counts for more than how its step went down.
 */
export function chainEnd(
  plan: PlannedStep[],
  ended: EndedStep[],
  early: Early | null,
  measured: { durationMs: number; outputBytes: number },
): AttemptEnd {
  const results = ended.map(({ result }) => result);
  const ran = results.filter(({ state }) => state !== 'skipped' && state !== 'notRun');
  const last = ran.at(-1) ?? null;
  const deciding = ran.find((result) => !goesOnAfter(result, plan[result.index] as PlannedStep));
  const speaks = deciding ?? last;
  return {
    outcome: 'succeeded',
    reason: null,
    ...(deciding && isFailure(deciding.state)
      ? { outcome: deciding.state as AttemptOutcome, reason: deciding.reason }
      : {}),
    ...(early ? { outcome: early.outcome, reason: early.reason } : {}),
    exitCode: speaks?.exitCode ?? null,
    signal: speaks?.signal ?? null,
    error: (early?.error ?? speaks?.error ?? null)?.slice(0, ERROR_LENGTH) ?? null,
    http: speaks?.http ?? null,
    ...measured,
    cpuMs: most(
      ended,
      ({ cpuMs }) => cpuMs,
      (a, b) => a + b,
    ),
    maxRssBytes: most(ended, ({ maxRssBytes }) => maxRssBytes, Math.max),
    outputDroppedBytes: 0,
    steps: plan.map(
      ({ name }, index) =>
        results.find((result) => result.index === index) ??
        blankStep(index, name, 'notRun', measured.outputBytes),
    ),
    result: results.findLast(({ result }) => result !== null)?.result ?? null,
    summary: results.findLast(({ summary }) => summary !== null)?.summary ?? null,
  };
}

/** All that is known of a measure taken together; null when nothing is. */
function most(
  ended: EndedStep[],
  measure: (step: EndedStep) => number | null,
  together: (a: number, b: number) => number,
): number | null {
  const known = ended.map(measure).filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce(together);
}
