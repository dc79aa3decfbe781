import { plainBraces } from '@rota/contract';

/** FleetCron puts `{{KEY}}` in for each key of its configuration's `secrets`, and leaves all other braces as they are. */
export interface Texts {
  /** The text with secrets of ours in place of the keys. */
  text(text: string): string;
  /** The same in all texts of a value. */
  deep(value: unknown): unknown;
  /** Secrets that were named, each with the key that it had. */
  named: Map<string, string>;
}

const ROOTS = ['secrets', 'run', 'job', 'agent', 'params', 'steps'];

/** `keys` are those of the configuration; what else looks like one is taken for one, too. */
export function createTexts(keys: readonly string[]): Texts {
  const named = new Map<string, string>();
  const text = (input: string): string => {
    let output = '';
    let from = 0;
    for (const found of input.matchAll(/\{\{([^{}]+)\}\}/g)) {
      const [all, key = ''] = found;
      if (!keys.includes(key) && !/^[A-Za-z_]\w*$/.test(key)) continue;
      const name = secretName(key);
      named.set(name, key);
      output += plainBraces(input.slice(from, found.index));
      output += ROOTS.includes(name) ? `{{ secrets.${name} }}` : `{{${name}}}`;
      from = found.index + all.length;
    }
    return output + plainBraces(input.slice(from));
  };
  const deep = (value: unknown): unknown => {
    if (typeof value === 'string') return text(value);
    if (Array.isArray(value)) return value.map(deep);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, deep(field)]));
  };
  return { text, deep, named };
}

/** A key as the name of a secret, which has only letters, digits and `_`. */
export function secretName(key: string): string {
  const name = key.replace(/\W/g, '_').slice(0, 100);
  return /^[A-Za-z_]/.test(name) ? name : `_${name}`.slice(0, 100);
}
