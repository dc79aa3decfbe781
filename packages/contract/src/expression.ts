import { type ASTNode, Environment } from '@marcbachmann/cel-js';
import type { RE2JS } from 're2js';
import { nearest } from './faults.ts';
import { LIMITS } from './names.ts';
import { patternFault, readPattern } from './pattern.ts';
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
/** They read their text from its beginning to its end. */
const READS = ['matches', 'contains', 'indexOf', 'lastIndexOf', 'split', 'trim', 'lowerAscii', 'upperAscii'];
/** So many characters take as long as one turn of a loop. */
const READ_AT_ONCE = 16;
/** Sizes of patterns, each times the length of its text, in one evaluation together: a second, when all is at its worst. */
const MATCH_MAX = 20_000_000;
/** To make a pattern ready takes as long as to read so many characters with it. */
const MATCH_PREPARE = 100;
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
  const { evaluate, loops } = compile(environment, text);
  const data = celValue(situation) as Record<string, unknown>;
  const longest = loops.splits || loops.reads ? longestText(situation) : 0;
  const turns = elements(situation) + loops.literals + (loops.splits ? longest : 0);
  const isLong = turns ** loops.depth * (loops.reads ? 1 + longest / READ_AT_ONCE : 1) > LOOP_MAX;
  if (isLong && loops.depth > 1) throw new ExpressionError('the lists are too long for loops in loops');
  if (isLong && loops.reads) throw new ExpressionError('the texts are too long to be read in a loop');
  matching = { left: MATCH_MAX, patterns: new Map() };
  const value = evaluate(data);
  if (typeof value !== 'boolean') throw new ExpressionError('is neither true nor false');
  return value;
}

/** What an expression repeats. */
interface Loops {
  /** How deep loops stand in each other; a search or a sum of lists in a loop counts as one. */
  depth: number;
  /** Elements of the lists that are written in it. */
  literals: number;
  /** It makes lists of texts. */
  splits: boolean;
  /** It reads whole texts in a loop. */
  reads: boolean;
}

interface Compiled {
  type: string;
  loops: Loops;
  evaluate(data: Record<string, unknown>): unknown;
}

function compile(environment: Environment, text: string): Compiled {
  return told(() => {
    const parsed = environment.parse(text);
    const loops: Loops = { depth: 0, literals: 0, splits: false, reads: false };
    bound(parsed.ast, 0, loops);
    const checked = parsed.check();
    if (!checked.valid) throw checked.error ?? new ExpressionError('is not valid');
    return {
      type: checked.type ?? 'dyn',
      loops,
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

/** Adds what the node repeats, which stands in so many loops. Puts our patterns in. */
function bound(node: ASTNode, depth: number, loops: Loops): void {
  let inside = depth;
  if (node.op === 'list') loops.literals += node.args.length;
  if (node.op === 'rcall') {
    const [name, , [first]] = node.args;
    if (name === 'bind') throw new ExpressionError('cel.bind is not supported');
    if (name === 'join' && depth > 0) throw new ExpressionError('join must not stand in a loop');
    if (name === 'split') loops.splits = true;
    if (READS.includes(name) && depth > 0) loops.reads = true;
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
  loops.depth = Math.max(loops.depth, inside);
  for (const child of [node.args].flat(3) as unknown[]) if (isNode(child)) bound(child, inside, loops);
}

function isNode(value: unknown): value is ASTNode {
  return value !== null && typeof value === 'object' && 'op' in value && 'args' in value;
}

function emptyEnvironment(): Environment {
  return new Environment({ homogeneousAggregateLiterals: false, limits: SIZE }).registerFunction(
    `string.${MATCHES}(string): bool`,
    matches,
  );
}

/** The patterns of the evaluation that is going on, and what they may still take: there is one, since nothing of it waits. */
let matching = { left: 0, patterns: new Map<string, RE2JS>() };

function matches(text: string, source: string): boolean {
  let pattern = matching.patterns.get(source);
  if (!pattern) {
    if (source.length > LIMITS.patternLength) throw new ExpressionError('the pattern is too long');
    const read = readPattern(source);
    if ('fault' in read) throw new ExpressionError(read.fault);
    pattern = read.pattern;
    matching.patterns.set(source, pattern);
    matching.left -= pattern.programSize() * MATCH_PREPARE;
  }
  matching.left -= pattern.programSize() * text.length;
  if (matching.left < 0)
    throw new ExpressionError('the texts are too long for its patterns; make their repetitions smaller');
  return pattern.matcher(text).find();
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

function longestText(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (value === null || typeof value !== 'object') return 0;
  return Object.values(value).reduce<number>((longest, each) => Math.max(longest, longestText(each)), 0);
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
