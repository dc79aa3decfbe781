/**
 * Paths into JSON: the singular queries of RFC 9535, which name one place or none, such as `$.items[0]['full name']`.
 * They need no evaluation, and "is it equal" has one meaning for them, which it has not for `$..a` or a filter.
 */
export type JsonPath = readonly (string | number)[];

/** Says where a path stops to be one. */
export class JsonPathError extends Error {}

const NAME = /\.([\p{L}_][\p{L}\p{N}_]*)/uy;
const INDEX = /\[(0|-?[1-9]\d{0,8})\]/y;
const QUOTED = /\[(?:'((?:[^'\\]|\\['\\])*)'|"((?:[^"\\]|\\["\\])*)")\]/y;

/** Reads a path. @throws JsonPathError */
export function parseJsonPath(text: string): JsonPath {
  if (!text.startsWith('$')) throw new JsonPathError('a path begins with $, such as $.items[0].id');
  const path: (string | number)[] = [];
  let at = 1;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  while (at < text.length) {
    const from = at;
    const name = take(NAME);
    const index = name ? null : take(INDEX);
    const quoted = name || index ? null : take(QUOTED);
    if (name) path.push(name[1] as string);
    else if (index) path.push(Number(index[1]));
    else if (quoted) path.push((quoted[1] ?? quoted[2] ?? '').replace(/\\(.)/gs, '$1'));
    else
      throw new JsonPathError(
        `${JSON.stringify(text.slice(from, from + 40))} is no step of a path; steps are .name, [0], [-1] and ['any name']`,
      );
  }
  return path;
}

/** What stands at the path; an index below 0 counts from the end. */
export function readJsonPath(value: unknown, path: JsonPath): { found: boolean; value: unknown } {
  let at = value;
  for (const step of path) {
    const key = typeof step === 'number' && step < 0 && Array.isArray(at) ? at.length + step : step;
    const fits = typeof step === 'number' ? Array.isArray(at) : isRecord(at);
    if (!fits || !Object.hasOwn(at as object, key)) return { found: false, value: undefined };
    at = (at as Record<string | number, unknown>)[key];
  }
  return { found: true, value: at };
}

function isRecord(value: unknown): boolean {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
