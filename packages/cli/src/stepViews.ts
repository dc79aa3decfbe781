import type { AttemptView, StepView } from '@rota/contract';
import type { FollowedRun } from './follow.ts';
import { type Column, type Output, oneLine, type Style, took } from './output.ts';

/** Steps of a run, as people see them. */

const STEP_STYLES: Record<StepView['state'], Style> = {
  running: 'blue',
  retrying: 'yellow',
  succeeded: 'green',
  failed: 'red',
  timedOut: 'red',
  cancelled: 'yellow',
  skipped: 'dim',
  notRun: 'dim',
};

const STATE_TEXT: Partial<Record<StepView['state'], string>> = { timedOut: 'timed out', notRun: 'not run' };

function stateText({ state }: StepView): string {
  return STATE_TEXT[state] ?? state;
}

/** Why a step was skipped, was not run or failed, and what it said of itself. */
export function stepWhy(step: StepView): string {
  const { state, reason, detail, error, summary } = step;
  const parts: (string | null)[] = [];
  if (state === 'skipped') parts.push(detail === null ? 'its condition does not hold' : detail);
  else if (state === 'notRun') parts.push(detail ?? reason?.sentence ?? 'the chain had ended before it');
  else parts.push(state === 'succeeded' ? null : (reason?.sentence ?? null), error, detail);
  return [...new Set([...parts, summary])].filter(Boolean).join(' ');
}

/** Which step decided the outcome of a chain, after how many tries and why; which failed without that. */
export function chainText({ outcome, reason, steps }: AttemptView): string[] {
  const failed = steps.filter(({ state }) => ENDS.includes(state));
  const last = failed.at(-1);
  const deciding = last?.state === outcome && last.reason?.code === reason?.code ? last : null;
  const text = (step: StepView) => {
    const result = stepResult(step);
    const tries = step.tries === 1 ? '1 try' : `${step.tries} tries`;
    const why = [result === '-' ? null : result, stepWhy(step)].filter(Boolean).join(': ');
    return `step ${step.name} ${stateText(step)} after ${tries}${why === '' ? '' : `: ${oneLine(why, 500)}`}`;
  };
  return [
    ...(deciding === null ? [] : [text(deciding)]),
    ...failed.filter((step) => step !== deciding).map((step) => `passed over: ${text(step)}`),
  ];
}

const ENDS: StepView['state'][] = ['failed', 'timedOut', 'cancelled'];

function stepResult({ exitCode, signal, http }: StepView): string {
  if (http?.status) return `HTTP ${http.status}`;
  return signal ?? (exitCode === null ? '-' : `exit ${exitCode}`);
}

export function stepColumns(output: Output): Column<StepView>[] {
  return [
    { head: 'STEP', text: (step) => step.name },
    { head: 'STATE', text: (step) => output.style(STEP_STYLES[step.state], stateText(step)) },
    { head: 'TRIES', text: (step) => String(step.tries) },
    { head: 'STARTED', text: (step) => output.time(step.startedAt) },
    { head: 'TOOK', text: (step) => took(step.durationMs) },
    { head: 'RESULT', text: stepResult },
    { head: 'WHY', text: (step) => oneLine(stepWhy(step), output.human ? 200 : undefined) },
  ];
}

/** Says once what becomes of each step of a run that is followed. */
export function createStepTeller(
  output: Output,
  run: string,
  note: (text: string) => void,
): (heard: FollowedRun) => void {
  const told = new Map<string, string>();
  return ({ attempt, steps = [] }) => {
    for (const step of steps) {
      const key = `${attempt}/${step.index}`;
      const now = `${step.state} ${step.tries}`;
      if (told.get(key) === now) continue;
      told.set(key, now);
      if (output.json) output.record({ run, attempt, step });
      else note(stepLine(step));
    }
  };
}

function stepLine(step: StepView): string {
  const tries = step.tries > 1 ? ` (try ${step.tries})` : '';
  const duration =
    step.durationMs === null || step.state === 'running' ? '' : ` after ${took(step.durationMs)}`;
  const why = oneLine(stepWhy(step));
  return `step ${step.name}: ${stateText(step)}${tries}${duration}${why === '' ? '' : `: ${why}`}`;
}
