import { type Fault, fieldPath, nearest } from './faults.ts';
import { SECRET_NAME } from './names.ts';
import type { Param } from './params.ts';
import { argumentFault, foldLiterals } from './renderAction.ts';
import { placeInShell } from './shellTemplate.ts';
import { FILTER_NAMES, parseTemplates, TEMPLATE_ROOTS, type Template, TemplateError } from './template.ts';

/** What is wrong with the templates of a step, as far as it can be known before anything runs. */

/** What a step's templates and conditions can name beside what every job has. */
export interface Names {
  params: Record<string, Pick<Param, 'type'>>;
  /** Earlier steps. */
  steps: readonly string[];
}

const RUN_FIELDS = ['id', 'number', 'scheduledFor', 'kind'];
/** Fields of an earlier step, and whether something may follow them. */
const STEP_FIELDS: Record<string, boolean> = {
  state: false,
  status: false,
  headers: true,
  json: true,
  exitCode: false,
  output: false,
  durationMs: false,
  result: true,
  summary: false,
  tries: false,
};
/** Fields of `http` in which braces are no templates. */
const HTTP_PLAIN = ['method', 'expect', 'timeout', 'connectTimeout', 'firstByteTimeout', 'redirectTo'];
const COMMAND_TEXTS = ['env', 'user', 'cwd', 'stdin'];

/** Tells the faults of the templates of a step, or of the command or request at the top of a job. */
export function templateFaults(
  step: Record<string, unknown>,
  names: Names,
  add: (path: string, code: Fault['code'], message: string) => void,
): void {
  for (const { path, text, before } of textsOf(step)) {
    try {
      const pieces = parseTemplates(text);
      const faults = pieces.flatMap((piece) =>
        typeof piece === 'string' ? [] : (nameFault(piece, names) ?? []),
      );
      for (const fault of faults) add(path, 'value', fault);
      if (faults.length > 0) continue;
      if (before === 'shell') placeInShell(foldLiterals(pieces));
      const fault = Array.isArray(before) ? argumentFault(pieces, before) : null;
      if (fault !== null) add(path, 'value', fault);
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      add(path, 'value', error.message);
    }
  }
}

interface Text {
  path: string;
  text: string;
  /** `shell` for a shell text; for an argument, the words before it. */
  before: 'shell' | string[] | null;
}

/** Texts of a step that have templates in them. */
function* textsOf(step: Record<string, unknown>): Generator<Text> {
  for (const text of allTexts(step)) if (text.text.includes('{{')) yield text;
}

function* allTexts({ command, http, ...step }: Record<string, unknown>): Generator<Text> {
  if (typeof command === 'string') yield { path: 'command', text: command, before: 'shell' };
  else if (Array.isArray(command)) {
    for (const [index, text] of command.entries()) {
      const before = command.slice(0, index).filter((word) => typeof word === 'string');
      if (typeof text === 'string') yield { path: `command[${index}]`, text, before };
    }
  }
  for (const field of COMMAND_TEXTS) yield* deepTexts(step[field], field);
  if (http === null || typeof http !== 'object' || Array.isArray(http)) return;
  for (const [field, value] of Object.entries(http)) {
    if (!HTTP_PLAIN.includes(field)) yield* deepTexts(value, `http.${field}`);
  }
}

function* deepTexts(value: unknown, path: string): Generator<Text> {
  if (typeof value === 'string') yield { path, text: value, before: null };
  else if (Array.isArray(value)) {
    for (const [index, each] of value.entries()) yield* deepTexts(each, `${path}[${index}]`);
  } else if (value !== null && typeof value === 'object') {
    for (const [name, field] of Object.entries(value)) yield* deepTexts(field, fieldPath(path, name));
  }
}

/** Why a template cannot have a value; null when it may. */
function nameFault({ source, operand, filters }: Template, names: Names): string | null {
  for (const { name, argument } of filters) {
    if (!FILTER_NAMES.includes(name))
      return `${source}: unknown filter ${name}${nearest(name, FILTER_NAMES)}`;
    if (name === 'default' && argument === undefined)
      return `${source}: default needs a value: \`| default: "…"\``;
    if (name !== 'default' && argument !== undefined) return `${source}: ${name} takes no value`;
  }
  const fault = 'path' in operand ? pathFault(operand.path, names) : null;
  return fault === null ? null : `${source}: ${fault}`;
}

function pathFault(path: (string | number)[], names: Names): string | null {
  const [root, name, field, ...more] = path as [string, ...(string | number | undefined)[]];
  const one = (known: readonly string[], what: string) => {
    if (typeof name !== 'string') return `needs one of ${known.join(', ') || 'nothing: there are none'}`;
    if (!known.includes(name)) return `${what} ${name}${nearest(name, known)}`;
    return field === undefined ? null : `nothing follows ${root}.${name}`;
  };
  switch (root) {
    case 'secrets':
      if (typeof name !== 'string' || !new RegExp(SECRET_NAME).test(name))
        return 'needs the name of a secret';
      return field === undefined ? null : 'a secret is a text: nothing follows its name';
    case 'run':
      return one(RUN_FIELDS, 'a run has no');
    case 'job':
      return one(['name'], 'a job has no');
    case 'agent':
      if (name !== 'labels') return one(['name', 'labels'], 'an agent has no');
      return typeof field === 'string' && more.length === 0 ? null : 'needs one label: agent.labels.NAME';
    case 'params':
      return one(Object.keys(names.params), 'the job has no parameter');
    case 'steps': {
      if (typeof name !== 'string') return 'needs the name of a step';
      if (!names.steps.includes(name))
        return `no earlier step is called ${name}${nearest(name, names.steps)}`;
      const known = Object.keys(STEP_FIELDS);
      if (typeof field !== 'string') return `needs one of ${known.join(', ')}`;
      if (!Object.hasOwn(STEP_FIELDS, field)) return `a step has no ${field}${nearest(field, known)}`;
      if (field === 'headers' && more.length !== 1) return 'needs one header: headers.NAME';
      return STEP_FIELDS[field] || more.length === 0 ? null : `nothing follows ${field}`;
    }
    default: {
      if (name === undefined) return null;
      const near = nearest(root, TEMPLATE_ROOTS);
      return `a secret is a text, and nothing follows its name${near || `; known are ${TEMPLATE_ROOTS.join(', ')}`}`;
    }
  }
}
