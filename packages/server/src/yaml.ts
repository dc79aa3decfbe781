import type { Fault } from '@rota/contract';
import { LineCounter, parseDocument, type YAMLError } from 'yaml';

/** Levels that a document may be nested. */
const DEPTH = 50;
/** Aliases in one document, each counted with the aliases that it repeats. */
const ALIASES = 1_000;
/** Values of a document once every alias is written out. */
const VALUES = 1_000_000;

/**
 * Reads YAML 1.2, and so JSON: no custom tags, no key twice, bounded depth, and bounded size also when every alias is
 * written out.
 */
export function parseYaml(text: string): { value: unknown } | { faults: Fault[] } {
  const lines = new LineCounter();
  let parsed: ReturnType<typeof parseDocument>;
  try {
    parsed = parseDocument(text, {
      version: '1.2',
      schema: 'core',
      uniqueKeys: true,
      stringKeys: true,
      prettyErrors: false,
      lineCounter: lines,
      logLevel: 'error',
    });
  } catch (error) {
    if (error instanceof RangeError) return { faults: [tooDeep()] };
    throw error;
  }
  const problems = [...parsed.errors, ...parsed.warnings];
  // The parser reports an overflow of its stack as a fault of the text, at each level.
  if (problems.some(({ message }) => /call stack|stack overflow/i.test(message)))
    return { faults: [tooDeep()] };
  if (problems.length > 0) return { faults: faultsByLine(problems, lines) };
  let value: unknown;
  try {
    value = parsed.toJS({ maxAliasCount: ALIASES });
  } catch (error) {
    if (error instanceof RangeError) return { faults: [tooDeep()] };
    const unknown = /Unresolved alias.*: (\S{1,100})/.exec((error as Error).message)?.[1];
    if (unknown === undefined)
      return { faults: [tooLarge(`has more than ${ALIASES} aliases; write the values out`)] };
    const message = `nothing is called &${unknown}, but *${unknown} is used`;
    return { faults: [{ path: '', code: 'syntax', message }] };
  }
  const size = measure(value, new Map(), 0);
  if (size === null) return { faults: [tooDeep()] };
  if (size > VALUES)
    return { faults: [tooLarge(`has more than ${VALUES} values when its aliases are written out`)] };
  return { value };
}

/** The first fault of each line: what follows on a line is mostly the parser's confusion about the first. */
function faultsByLine(problems: YAMLError[], lines: LineCounter): Fault[] {
  const byLine = new Map<number, Fault>();
  for (const { code, pos, message } of problems) {
    const { line } = lines.linePos(pos[0]);
    if (byLine.has(line)) continue;
    byLine.set(
      line,
      code === 'DUPLICATE_KEY'
        ? { path: '', code: 'duplicate', message: `line ${line}: the key stands there twice` }
        : { path: '', code: 'syntax', message: `line ${line} is not valid YAML: ${inOneLine(message)}` },
    );
  }
  return [...byLine.values()];
}

function tooDeep(): Fault {
  return tooLarge(`is nested more than ${DEPTH} levels deep`);
}

function tooLarge(message: string): Fault {
  return { path: '', code: 'tooLarge', message: `the document ${message}` };
}

/** How many values there are, what aliases share counted each time; null when they are nested too deep. */
function measure(value: unknown, known: Map<object, number>, depth: number): number | null {
  if (value === null || typeof value !== 'object') return 1;
  const before = known.get(value);
  if (before !== undefined) return before;
  if (depth >= DEPTH) return null;
  let size = 1;
  for (const each of Object.values(value)) {
    const inner = measure(each, known, depth + 1);
    if (inner === null) return null;
    size += inner;
  }
  known.set(value, size);
  return size;
}

function inOneLine(message: string): string {
  return message.replace(/\s+/g, ' ').slice(0, 200);
}
