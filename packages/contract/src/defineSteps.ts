import { parseDuration } from '@rota/schedule';
import { defineHttp, httpFaults } from './defineHttp.ts';
import { shown } from './faults.ts';
import { type Action, commandFields, type JobDocument, type Step, type StepField } from './job.ts';
import type { Meaning } from './meaning.ts';
import { defineRetry, type RetryField } from './retry.ts';
import { type Names, templateFaults } from './templateFaults.ts';
import { defineWhen, whenFaults } from './when.ts';

/** The name of the one step of a job without `steps`. */
export const MAIN_STEP = 'main';

/** Steps with every default settled. The document must have been read before. */
export function defineSteps(document: JobDocument): Step[] {
  if (document.steps) return document.steps.map(defineStep);
  return [
    {
      name: MAIN_STEP,
      action: defineAction(document),
      timeoutMs: null,
      retry: null,
      when: null,
      continueOnFailure: false,
    },
  ];
}

function defineStep(step: StepField): Step {
  const timeoutMs = step.timeout === undefined ? null : parseDuration(step.timeout);
  return {
    name: step.name,
    action: defineAction(step, timeoutMs ?? undefined),
    timeoutMs,
    retry: step.retry === undefined ? null : defineRetry(step.retry),
    when: step.when === undefined ? null : defineWhen(step.when),
    continueOnFailure: step.continueOnFailure ?? false,
  };
}

type ActionFields = Pick<StepField, 'command' | 'http' | keyof typeof commandFields>;

function defineAction(fields: ActionFields, timeoutMs?: number): Action {
  if (fields.http !== undefined) return defineHttp(fields.http, timeoutMs);
  return {
    kind: 'command',
    command: fields.command as string | string[],
    shell: fields.shell ?? 'sh',
    env: fields.env ?? {},
    user: fields.user ?? null,
    cwd: fields.cwd ?? null,
    umask: fields.umask ?? null,
    stdin: fields.stdin ?? '',
  };
}

/** Faults of `command`, `http` and `steps` that the schema cannot say. */
export function stepsFaults(
  document: Record<string, unknown>,
  params: Names['params'],
  meaning: Meaning,
): void {
  const { steps } = document;
  if (steps === undefined) {
    actionFaults(document, { params, steps: [] }, meaning, 'a job needs `command`, `http` or `steps`');
    return;
  }
  for (const field of ['command', 'http', ...Object.keys(commandFields)]) {
    if (document[field] !== undefined)
      meaning.add(field, 'value', 'belongs to a step; a job with `steps` does not take it');
  }
  if (!Array.isArray(steps)) return;
  const names: string[] = [];
  steps.forEach((step: unknown, index) => {
    if (step === null || typeof step !== 'object' || Array.isArray(step)) return;
    stepFaults(
      step as Record<string, unknown>,
      { params, steps: [...names] },
      meaning.inside(`steps[${index}]`),
    );
    const { name } = step as { name?: unknown };
    if (typeof name !== 'string') return;
    const first = names.indexOf(name);
    if (first >= 0)
      meaning.add(
        `steps[${index}].name`,
        'duplicate',
        `${shown(name)} is already the name of steps[${first}]`,
      );
    names.push(name);
  });
}

function stepFaults(step: Record<string, unknown>, names: Names, meaning: Meaning): void {
  actionFaults(step, names, meaning, 'a step needs `command` or `http`');
  meaning.duration('timeout', step.timeout, 100, 'at least 100ms');
  retryFaults(step.retry, meaning.inside('retry'));
  const { when } = step;
  if (when !== null && typeof when === 'object' && !Array.isArray(when)) {
    const inside = meaning.inside('when');
    whenFaults(when as Record<string, unknown>, names, (path) => !inside.broken(path), inside.add);
  }
}

/** Faults of a retry policy that the schema cannot say. */
export function retryFaults(retry: unknown, meaning: Meaning): void {
  if (retry === null || typeof retry !== 'object' || Array.isArray(retry)) return;
  const field = retry as RetryField;
  for (const name of ['delay', 'maxDelay', 'jitter'] as const) {
    meaning.duration(name, field[name], 0, 'at least 0s');
    if (meaning.broken(name)) return;
  }
  if (meaning.broken('times') || meaning.broken('backoff')) return;
  const { delayMs, maxDelayMs } = defineRetry(field);
  if (delayMs <= maxDelayMs) return;
  const path = field.maxDelay === undefined ? 'delay' : 'maxDelay';
  meaning.add(path, 'value', `the delay is longer than \`maxDelay\` (${field.maxDelay ?? '10m'})`);
}

function actionFaults(
  fields: Record<string, unknown>,
  names: Names,
  meaning: Meaning,
  missing: string,
): void {
  const { command, http, shell } = fields;
  if (command === undefined && http === undefined && !('kubernetes' in fields) && !('external' in fields))
    meaning.add('command', 'missing', missing);
  if (command !== undefined && http !== undefined)
    meaning.add('http', 'value', 'only one of `command` and `http` is allowed, not both');
  if (http !== undefined) {
    for (const field of Object.keys(commandFields)) {
      if (fields[field] !== undefined)
        meaning.add(field, 'value', 'belongs to `command`; `http` does not take it');
    }
  }
  if (Array.isArray(command) && shell !== undefined)
    meaning.add('shell', 'value', 'a command that is a list runs without a shell');
  if (http !== null && typeof http === 'object' && !Array.isArray(http)) {
    const inside = meaning.inside('http');
    for (const field of ['timeout', 'connectTimeout', 'firstByteTimeout'])
      inside.duration(field, (http as Record<string, unknown>)[field], 100, 'at least 100ms');
    httpFaults(http as Record<string, unknown>, (path) => !inside.broken(path), inside.add);
  }
  templateFaults(fields, names, meaning.add);
}
