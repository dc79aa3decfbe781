import { type Scope, type Situation, type StepScope, situationOf, Withheld } from '@rota/contract';
import type { Task } from '../helperProtocol.ts';
import { MASK } from '../masking.ts';
import type { EndedStep } from '../stepsFile.ts';

/** How many bytes of text later steps may read as `output`. */
const OUTPUT_LENGTH = 64 * 1024;

const MASKED = new Withheld('its value was masked, as it holds that of a secret, and cannot be used');
const NOT_KEPT = new Withheld(
  'it held the value of a secret, and so was not kept when the helper process of the agent was restarted',
);
const LOST = new Withheld('it was lost when the helper process of the agent was restarted');

/** What templates and conditions can name after these steps. */
export function situationAfter(task: Task, ended: EndedStep[]): Situation {
  return situationOf(
    task,
    Object.fromEntries(ended.map((step) => [step.result.name, scopeOf(step)])) as Scope['steps'],
  );
}

/** What templates and conditions can name of a step. */
function scopeOf({ result, kept, isMasked }: EndedStep): StepScope {
  const isGone = kept === null && result.tries > 0;
  const gone = isMasked ? NOT_KEPT : LOST;
  const text = kept?.text ?? '';
  const told = (value: unknown) => (isMasked ? withoutMasks(value) : value);
  return {
    state: result.state,
    status: result.http?.status ?? null,
    headers: told(result.http?.headers ?? {}) as StepScope['headers'],
    json: isGone ? gone : kept?.isWhole ? readJson(text) : undefined,
    exitCode: result.exitCode,
    output: isGone ? gone : text.slice(-OUTPUT_LENGTH).replace(/\r?\n$/, ''),
    durationMs: result.durationMs,
    result: result.result === null ? undefined : told(readJson(result.result)),
    summary: told(result.summary) as StepScope['summary'],
    tries: result.tries,
  };
}

/** A value whose masked texts are withheld: what stands in their place is nothing that anyone meant. */
function withoutMasks(value: unknown): unknown {
  if (typeof value === 'string') return value.includes(MASK) ? MASKED : value;
  if (Array.isArray(value)) return value.map(withoutMasks);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, withoutMasks(field)]));
}

/** Undefined when the text is no JSON. */
function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
