/** Reading what FleetCron keeps: an export of its `jobs` collection, and its configuration file. */

/** A file that cannot be read as what it should be. */
export class FleetCronError extends Error {}

export type Fields = Record<string, unknown>;

export interface FleetCronConfig {
  timezone: string | null;
  secrets: Record<string, string>;
  /** What holds for requests that do not say otherwise; empty when the file does not say it either. */
  httpDefaults: Fields;
}

/**
 * The jobs of an export: a list, or documents one after the other, as `mongoexport` writes them by default. Extended JSON such as
 * {"$numberInt": "5"} becomes plain.
 * @throws FleetCronError
 */
export function readExport(text: string): Fields[] {
  const documents = documentsOf(text.replace(/^\uFEFF/, ''));
  const [first] = documents;
  const list = documents.length === 1 && Array.isArray(first) ? first : documents;
  return list.map((document, index) => {
    if (!isFields(document))
      throw new FleetCronError(`document ${index + 1} is no job: it must be an object`);
    return plain(document) as Fields;
  });
}

/** @throws FleetCronError */
export function readConfig(text: string): FleetCronConfig {
  const [config] = documentsOf(text.replace(/^\uFEFF/, ''));
  if (!isFields(config)) throw new FleetCronError('it must be an object');
  const { tz, secrets, http_defaults: httpDefaults } = plain(config) as Fields;
  return {
    timezone: typeof tz === 'string' && tz !== '' ? tz : null,
    secrets: Object.fromEntries(
      Object.entries(isFields(secrets) ? secrets : {}).map(([key, value]) => [
        key,
        typeof value === 'string' ? value : JSON.stringify(value),
      ]),
    ),
    httpDefaults: isFields(httpDefaults) ? httpDefaults : {},
  };
}

export function isFields(value: unknown): value is Fields {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function documentsOf(text: string): unknown[] {
  return [...pieces(text)].map(({ json, line }) => {
    try {
      return JSON.parse(json) as unknown;
    } catch (error) {
      throw new FleetCronError(`line ${line}: ${(error as Error).message}`);
    }
  });
}

/** The texts of the values that stand one after the other, each ended by the brace or bracket that closes it. */
function* pieces(text: string): Generator<{ json: string; line: number }> {
  let line = 1;
  let from = -1;
  let startLine = 1;
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at] as string;
    if (char === '\n') line++;
    if (from < 0 && !/[\s,]/.test(char)) {
      from = at;
      startLine = line;
    }
    if (inString) {
      if (char === '\\') at++;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === '{' || char === '[') depth++;
    else if ((char === '}' || char === ']') && --depth === 0) {
      yield { json: text.slice(from, at + 1), line: startLine };
      from = -1;
    }
  }
  if (from >= 0) yield { json: text.slice(from), line: startLine };
}

const NUMBERS = ['$numberInt', '$numberLong', '$numberDouble', '$numberDecimal'];

/** A value without MongoDB's types around its numbers, ids and dates. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!isFields(value)) return value;
  const [[name, inner] = [], ...more] = Object.entries(value) as [string, unknown][];
  if (name !== undefined && more.length === 0) {
    if (NUMBERS.includes(name)) return Number(inner);
    if (name === '$oid') return inner;
    if (name === '$date') return plain(inner);
  }
  return Object.fromEntries(Object.entries(value).map(([field, each]) => [field, plain(each)]));
}
