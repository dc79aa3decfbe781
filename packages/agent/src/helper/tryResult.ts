import type { AttemptOutcome, ReasonCode, StepResult } from '@rota/contract';
import type { Ending } from '../executors/execution.ts';
import type { Masker } from '../masking.ts';
import type { ReportedData } from '../outputData.ts';
import type { EndedStep } from '../stepsFile.ts';
import type { Early } from './chainEnd.ts';
import type { KeptOutput } from './stepOutput.ts';

/** How one try of a step went, and what is told of it. Pure. */

/** How one try went. */
export type TryEnding = Ending & { kept: KeptOutput; reported: ReportedData };
/** What the tries of a step leave together. */
export type Tried = Pick<EndedStep, 'cpuMs' | 'maxRssBytes'> & { kept: KeptOutput | null };

/** What becomes of the step that its attempt's early end has met. */
export function endedBy({ outcome, reason }: Early): { state: AttemptOutcome; reason: ReasonCode } {
  return { state: outcome, reason };
}

/** What is told of a try, beside its output: texts of whatever was executed pass here, and nowhere else. */
export function resultOf(
  { outcome, reason, exitCode, signal, error, http, reported }: TryEnding,
  masker: Masker,
): Partial<StepResult> {
  return {
    state: outcome,
    reason,
    exitCode,
    signal,
    error: error === null ? null : textOf(error, masker),
    http: http && { ...http, url: masker.text(http.url), headers: maskedHeaders(http.headers, masker) },
    result: reported.result,
    summary: reported.summary,
  };
}

/** What ended well may say itself that it did not. */
export function failureOf({ outcome }: Ending, { failure }: ReportedData): Partial<Ending> {
  if (outcome !== 'succeeded' || failure === null) return {};
  return { outcome: 'failed', reason: 'reportedFailure', error: failure };
}

/** What people should know of it beside its end. */
export function detailOf(
  secrets: string | null,
  before: string | null,
  { reported }: TryEnding,
): string | null {
  const notes = [secrets, before, ...reported.notes].filter((note) => note !== null);
  return notes.length === 0 ? null : notes.join('; ').slice(0, 500);
}

/** Why there is a further try: the end of the one before; null when there was none. */
export function endBefore({ state, tries, error, signal, exitCode, reason }: StepResult): string | null {
  if (state !== 'retrying') return null;
  const status = exitCode === null ? reason : `exit ${exitCode}`;
  return `try ${tries} failed: ${error ?? signal ?? status}`.slice(0, 300);
}

/** It is masked before it is cut. */
export function textOf(error: string, masker: Masker): string {
  return masker.text(error).slice(0, 2_000);
}

function maskedHeaders(headers: Record<string, string>, masker: Masker): Record<string, string> {
  const masked = Object.entries(headers).map(([name, value]) => [masker.text(name), masker.text(value)]);
  return Object.fromEntries(masked) as Record<string, string>;
}

/** The tries of a step together: time adds up, the newest output counts. */
export function add(sum: Tried, { kept, cpuMs, maxRssBytes }: TryEnding): Tried {
  return {
    kept,
    cpuMs: cpuMs === null ? sum.cpuMs : (sum.cpuMs ?? 0) + cpuMs,
    maxRssBytes: maxRssBytes === null ? sum.maxRssBytes : Math.max(sum.maxRssBytes ?? 0, maxRssBytes),
  };
}
