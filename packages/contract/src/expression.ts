import { type ASTNode, Environment } from '@marcbachmann/cel-js';
import { RE2JS } from 're2js';
import { nearest } from './faults.ts';
import { LIMITS } from './names.ts';
import { patternFault } from './pattern.ts';
import { type Situation, Withheld } from './scope.ts';
import type { Names } from './templateFaults.ts';

/**
 * Conditions in the Common Expression Language. Nothing of them is code of ours, and what they may cost is bounded: by the
 * size and depth of the text, by patterns of RE2 in place of JavaScript's, and by the lists that loops in loops may go over.
 */

/** What is wrong with an expression, or why it has no answer. */
export class ExpressionError extends Error {}

const SIZE = {
  maxAstNodes: 500,
  maxDepth: 40,
  maxListElements: 200,
  maxMapEntries: 100,
  maxCallArguments: 10,
};
/** How many elements all lists together may have to the power of how deep the loops are in each other. */
const LOOP_MAX = 4_000_000;
/** Loops may stand in each other so deep. */
const LOOP_DEPTH = 3;
const LOOPS = ['all', 'exists', 'exists_one', 'map', 'filter'];
/** `matches` of the library is JavaScript's, of which a short pattern can take for ever. */
const MATCHES = 'matchesRe2';

const STEP = {
  state: 'string',
  status: 'dyn',
  headers: 'map<string, string>',
  json: 'dyn',
  exitCode: 'dyn',
  output: 'string',
  durationMs: 'dyn',
  result: 'dyn',
  summary: 'dyn',
  tries: 'int',
} as const;
const PARAM_TYPES = { string: 'string', number: 'dyn', boolean: 'bool' } as const;

/** What is wrong with the expression of a job's step; null when nothing that can be known before it runs. */
export function expressionFault(text: string, names: Names): string | null {
  const variables = {
    run: { id: 'string', number: 'int', scheduledFor: 'string', kind: 'string' },
    job: { name: 'string' },
    agent: { name: 'string', labels: 'map<string, string>' },
    local: { minute: 'int', hour: 'int', day: 'int', month: 'int', weekday: 'int', timezone: 'string' },
    params: Object.fromEntries(
      Object.entries(names.params).map(([name, { type }]) => [name, PARAM_TYPES[type]]),
    ),
    steps: Object.fromEntries(names.steps.map((name) => [name, STEP])),
  };
  const environment = emptyEnvironment();
  for (const [name, schema] of Object.entries(variables)) environment.registerVariable({ name, schema });
  try {
    const { type } = compile(environment, text);
    return type === 'bool' || type === 'dyn' ? null : `is ${typeText(type)}; a condition is true or false`;
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    const [, name] = /^(?:No such key|Unknown variable): (.+)$/.exec(error.message) ?? [];
    if (name === undefined) return error.message;
    const known = [
      ...Object.keys(variables),
      ...Object.values(variables).flatMap((fields) => Object.keys(fields)),
      ...Object.keys(STEP),
    ];
    return `nothing is known as ${name}${nearest(name, known)}`;
  }
}

const environment = emptyEnvironment();
for (const name of ['run', 'job', 'agent', 'local', 'params', 'steps'])
  environment.registerVariable(name, 'map<string, dyn>');

/** Whether the expression holds. @throws ExpressionError */
export function evaluateExpression(text: string, situation: Situation): boolean {
  const { evaluate, depth } = compile(environment, text);
  const data = celValue(situation) as Record<string, unknown>;
  if (depth > 1 && elements(situation) ** depth > LOOP_MAX)
    throw new ExpressionError('the lists are too long for loops in loops');
  const value = evaluate(data);
  if (typeof value !== 'boolean') throw new ExpressionError('is neither true nor false');
  return value;
}

interface Compiled {
  type: string;
  /** Of loops in each other. */
  depth: number;
  evaluate(data: Record<string, unknown>): unknown;
}

function compile(environment: Environment, text: string): Compiled {
  return told(() => {
    const parsed = environment.parse(text);
    const depth = bound(parsed.ast, 0);
    const checked = parsed.check();
    if (!checked.valid) throw checked.error ?? new ExpressionError('is not valid');
    return {
      type: checked.type ?? 'dyn',
      depth,
      evaluate: (data) => told(() => parsed(data)),
    };
  });
}

/** Whatever the library throws, with a message of one line. */
function told<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof ExpressionError) throw error;
    const { summary, message } = error as Error & { summary?: string };
    throw new ExpressionError((summary ?? message).split('\n')[0]);
  }
}

/** How deep loops stand in each other; a search or a sum of lists in a loop counts as one. Puts our patterns in. */
function bound(node: ASTNode, depth: number): number {
  let deepest = depth;
  let inside = depth;
  if (node.op === 'rcall') {
    const [name, , [first]] = node.args;
    if (name === 'bind') throw new ExpressionError('cel.bind is not supported');
    if (name === 'matches') {
      const fault = first?.op === 'value' && typeof first.args === 'string' ? patternFault(first.args) : null;
      if (fault !== null) throw new ExpressionError(fault);
      node.args[0] = MATCHES;
    }
    if (LOOPS.includes(name)) inside++;
  }
  const search = node.op === '+' || (node.op === 'in' && node.args[1].op !== 'list');
  if (search && depth > 0) inside++;
  if (inside > LOOP_DEPTH) throw new ExpressionError(`at most ${LOOP_DEPTH} loops may stand in each other`);
  deepest = Math.max(deepest, inside);
  for (const child of [node.args].flat(3) as unknown[])
    if (isNode(child)) deepest = Math.max(deepest, bound(child, inside));
  return deepest;
}

function isNode(value: unknown): value is ASTNode {
  return value !== null && typeof value === 'object' && 'op' in value && 'args' in value;
}

function emptyEnvironment(): Environment {
  return new Environment({ homogeneousAggregateLiterals: false, limits: SIZE }).registerFunction(
    `string.${MATCHES}(string): bool`,
    (text: string, pattern: string) => {
      const fault = pattern.length > LIMITS.patternLength ? 'the pattern is too long' : patternFault(pattern);
      if (fault !== null) throw new ExpressionError(fault);
      return RE2JS.compile(pattern).matcher(text).find();
    },
  );
}

/** JSON as the language has it: whole numbers are int, others double; what is not there is null, and what is withheld throws. */
function celValue(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (value === null || typeof value !== 'object') return value ?? null;
  const fields = Object.entries(value);
  const converted = Array.isArray(value)
    ? value.map(celValue)
    : Object.fromEntries(fields.map(([name, field]) => [name, celValue(field)]));
  for (const [name, field] of fields) {
    if (!(field instanceof Withheld)) continue;
    const get = () => {
      throw new ExpressionError(field.why);
    };
    Object.defineProperty(converted, name, { get, enumerable: true });
  }
  return converted;
}

/** Elements of all lists, and fields of all objects, whatever they stand in. */
function elements(value: unknown): number {
  if (value === null || typeof value !== 'object') return 0;
  let count = 0;
  for (const each of Object.values(value)) count += 1 + elements(each);
  return count;
}

function typeText(type: string): string {
  const names: Record<string, string> = {
    int: 'a number',
    uint: 'a number',
    double: 'a number',
    string: 'text',
  };
  if (type.startsWith('list')) return 'a list';
  return names[type] ?? `of the type ${type}`;
}
