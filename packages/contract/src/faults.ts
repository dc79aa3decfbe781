import { closest, distance } from 'fastest-levenshtein';
import type { TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import { Settings } from 'typebox/system';

/** One thing that is wrong in what a caller sent. */
export interface Fault {
  /** Where: `jobs[2].schedule.cron`; empty for the whole. */
  path: string;
  code: 'unknownField' | 'notSupported' | 'missing' | 'type' | 'value' | 'duplicate' | 'syntax' | 'tooLarge';
  /** What is wrong, what is allowed, and the nearest right name where there is one. */
  message: string;
}

// A document's faults are reported all at once, so the checker must not stop early.
Settings.Set({ maxErrors: 2_000 });

const validators = new WeakMap<object, Validator>();

/** All faults of `value` against `schema`, each with one message a person can act on. */
export function faultsOf(schema: TSchema, value: unknown, base = ''): Fault[] {
  let validator = validators.get(schema);
  if (!validator) {
    validator = Compile(schema);
    validators.set(schema, validator);
  }
  if (validator.Check(value)) return [];
  return explain(validator.Errors(value) as SchemaError[], schema, value, base);
}

interface SchemaError {
  keyword: string;
  schemaPath: string;
  instancePath: string;
  params: Record<string, unknown>;
  message: string;
}

function explain(errors: SchemaError[], schema: TSchema, root: unknown, base: string): Fault[] {
  const faults = new Map<string, Fault>();
  const add = (path: string, code: Fault['code'], message: string) => {
    const key = `${path}\u0000${message}`;
    if (!faults.has(key)) faults.set(key, { path, code, message });
  };
  for (const error of errors) {
    if (error.keyword === 'boolean' || error.keyword === 'anyOf') continue;
    const value = valueAt(root, error.instancePath);
    const path = base + dotted(error.instancePath, base === '');
    const union = unionTypes(error, errors, schema);
    if (union !== null) {
      if (union.length > 0) add(path, 'type', `must be ${union.join(' or ')}, not ${kindOf(value)}`);
      continue;
    }
    switch (error.keyword) {
      case 'additionalProperties': {
        const known = Object.keys(
          (schemaAt(schema, error.schemaPath) as { properties?: object })?.properties ?? {},
        );
        for (const name of error.params.additionalProperties as string[]) {
          const at = path === '' ? printable(name) : `${path}.${printable(name)}`;
          add(at, 'unknownField', `unknown field${known.length ? nearest(name, known) : ''}`);
        }
        break;
      }
      case 'required':
        for (const name of error.params.requiredProperties as string[]) {
          add(path === '' ? name : `${path}.${name}`, 'missing', 'is required');
        }
        break;
      case 'type':
        add(path, 'type', `must be ${typeName(String(error.params.type))}, not ${kindOf(value)}`);
        break;
      case 'enum':
      case 'const': {
        const allowed = (error.params.allowedValues ?? [error.params.allowedValue]) as unknown[];
        add(
          path,
          'value',
          `${shown(value)} is not allowed; one of: ${allowed.join(', ')}${nearest(String(value), allowed.map(String), 2)}`,
        );
        break;
      }
      default: {
        const told = schemaAt(schema, error.schemaPath) as { description?: string } | undefined;
        const rule = error.keyword === 'pattern' && told?.description ? told.description : error.message;
        add(path, 'value', `${shown(value)}: ${rule}`);
      }
    }
  }
  return [...faults.values()];
}

/**
 * For a type error of a union's branch: the names of all branch types when no branch has the value's type,
 * an empty list when another branch fits (this error is then noise); null for any other error.
 */
function unionTypes(error: SchemaError, errors: SchemaError[], schema: TSchema): string[] | null {
  const union = /^(.*\/anyOf)\/\d+$/.exec(error.schemaPath)?.[1];
  if (union === undefined || error.keyword !== 'type') return null;
  const mismatches = errors.filter(
    (other) =>
      other.keyword === 'type' &&
      other.instancePath === error.instancePath &&
      other.schemaPath.startsWith(`${union}/`) &&
      !other.schemaPath.slice(union.length + 1).includes('/'),
  );
  const branches = schemaAt(schema, union) as unknown[];
  if (mismatches.length < branches.length) return [];
  return [...new Set(mismatches.map((other) => typeName(String(other.params.type))))];
}

/** The nearest of `known` to `name` as ` (did you mean "x"?)`, or nothing when none is near. */
export function nearest(name: string, known: readonly string[], tolerance = 3): string {
  if (known.length === 0 || name.length > 100) return '';
  const candidate = closest(name.toLowerCase(), known as string[]);
  const lower = known.find((each) => each.toLowerCase() === name.toLowerCase());
  if (lower !== undefined) return ` (did you mean "${lower}"?)`;
  const near =
    distance(name.toLowerCase(), candidate.toLowerCase()) <= Math.min(tolerance, Math.ceil(name.length / 2));
  return near ? ` (did you mean "${candidate}"?)` : '';
}

/** A value as it appears in a message: quoted, cut, and never more than a line. */
export function shown(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

/** The path of a field of what stands at `path`. */
export function fieldPath(path: string, name: string): string {
  return `${path}.${printable(name)}`;
}

function printable(name: string): string {
  return /^[\w.-]{1,60}$/.test(name) ? name : shown(name);
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  switch (typeof value) {
    case 'string':
      return `the text ${shown(value)}`;
    case 'object':
      return 'an object';
    case 'undefined':
      return 'nothing';
    default:
      return shown(value);
  }
}

function typeName(type: string): string {
  const names: Record<string, string> = {
    string: 'text',
    integer: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
    array: 'a list',
    object: 'an object',
    null: 'null',
  };
  return names[type] ?? type;
}

function segments(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function dotted(pointer: string, atStart: boolean): string {
  let path = '';
  for (const part of segments(pointer)) {
    if (/^\d+$/.test(part)) path += `[${part}]`;
    else path += path === '' && atStart ? printable(part) : `.${printable(part)}`;
  }
  return path;
}

function valueAt(root: unknown, pointer: string): unknown {
  let value = root;
  for (const part of segments(pointer)) {
    if (value === null || typeof value !== 'object') return undefined;
    value = Object.hasOwn(value, part) ? (value as Record<string, unknown>)[part] : undefined;
  }
  return value;
}

function schemaAt(schema: TSchema, pointer: string): unknown {
  let at: unknown = schema;
  for (const part of segments(pointer.replace(/^#/, '')))
    at = (at as Record<string, unknown> | undefined)?.[part];
  return at;
}
