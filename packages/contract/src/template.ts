import type { Action, JobDefinition } from './job.ts';
import type { Scope } from './scope.ts';

/** `{{ path | filter }}` in the texts of a step. */

/** A template that cannot be rendered: what it names is not there, or its value does not fit its place. */
export class TemplateError extends Error {}

/** The action with all its templates rendered. Values that were put in are not looked at again. @throws TemplateError */
export function renderAction(action: Action, _scope: Scope): Action {
  return action;
}

/** A text with its templates rendered. @throws TemplateError */
export function renderText(text: string, _scope: Scope): string {
  return text;
}

/** JSON with the templates in its strings rendered; a string that is one template becomes its value. @throws TemplateError */
export function renderJson(value: unknown, _scope: Scope): unknown {
  return value;
}

/** The secrets that a job's steps name, each once. */
export function secretNamesOf(_definition: Pick<JobDefinition, 'steps'>): string[] {
  return [];
}
