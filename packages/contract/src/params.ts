import { type Static, Type } from 'typebox';
import { type Fault, nearest, shown } from './faults.ts';
import { LIMITS } from './names.ts';

/** Parameters: values that whoever triggers a run may give. */

const Value = Type.Union([
  Type.String({
    maxLength: LIMITS.paramLength,
    pattern: '^[^\\u0000]*$',
    description: 'must not contain NUL',
  }),
  Type.Number(),
  Type.Boolean(),
]);

export const ParamField = Type.Object(
  {
    type: Type.Optional(Type.Enum(['string', 'number', 'boolean'])),
    default: Type.Optional(Value),
    choices: Type.Optional(Type.Array(Value, { minItems: 1, maxItems: LIMITS.paramChoices })),
    required: Type.Optional(Type.Boolean()),
    description: Type.Optional(Type.String({ maxLength: LIMITS.titleLength })),
  },
  { additionalProperties: false },
);
export type ParamField = Static<typeof ParamField>;

export type ParamValue = string | number | boolean;

export interface Param {
  type: 'string' | 'number' | 'boolean';
  /** Null: it must be given, so that the job cannot have a schedule. */
  default: ParamValue | null;
  /** Null for any. */
  choices: ParamValue[] | null;
  description: string;
}

/** The parameter with its defaults settled. The field must have been read before. */
export function defineParam(field: ParamField): Param {
  return {
    type: field.type ?? typeOf(field.default ?? field.choices?.[0] ?? ''),
    default: field.default ?? null,
    choices: field.choices ?? null,
    description: field.description ?? '',
  };
}

/** Faults that the schema cannot say of a field that has its shape; the path is inside the parameter. */
export function paramFaults(
  field: ParamField,
  scheduled: boolean,
  add: (path: string, code: Fault['code'], message: string) => void,
): void {
  const { type, choices } = defineParam(field);
  const check = (path: string, value: ParamValue) => {
    if (typeOf(value) !== type) add(path, 'type', `must be ${TYPE_TEXT[type]}, not ${shown(value)}`);
  };
  choices?.forEach((choice, index) => {
    check(`choices[${index}]`, choice);
  });
  if (field.default !== undefined) {
    check('default', field.default);
    if (choices && !choices.includes(field.default))
      add('default', 'value', `${shown(field.default)} is none of its choices`);
    if (field.required) add('required', 'value', 'a parameter with a default need not be given');
  } else if (field.required === false) {
    add('default', 'missing', 'a parameter that need not be given has a default');
  } else if (scheduled) {
    add('default', 'missing', 'a job with a schedule needs a default for each parameter');
  }
}

/**
 * The values of a run: what was given, else the defaults. Text that says a number or a truth value is taken as such where the
 * parameter has that type. Paths of faults begin with `params`.
 */
export function readParams(
  definition: { params: Record<string, Param> },
  given: unknown,
): { params: Record<string, ParamValue> } | { faults: Fault[] } {
  const values = given ?? {};
  if (typeof values !== 'object' || Array.isArray(values))
    return { faults: [{ path: 'params', code: 'type', message: `must be an object, not ${shown(given)}` }] };
  const faults: Fault[] = [];
  const names = Object.keys(definition.params);
  for (const name of Object.keys(values).filter((each) => !Object.hasOwn(definition.params, each))) {
    const message =
      names.length === 0 ? 'the job has no parameters' : `unknown parameter${nearest(name, names)}`;
    faults.push({ path: `params.${name.slice(0, 60)}`, code: 'unknownField', message });
  }
  const params: Record<string, ParamValue> = {};
  for (const [name, param] of Object.entries(definition.params)) {
    const path = `params.${name}`;
    const value = Object.hasOwn(values, name) ? (values as Record<string, unknown>)[name] : undefined;
    const read = value === undefined ? param.default : valueOfType(value, param.type);
    if (read === null)
      faults.push(
        value === undefined
          ? { path, code: 'missing', message: 'is required: it has no default' }
          : { path, code: 'type', message: `must be ${TYPE_TEXT[param.type]}, not ${shown(value)}` },
      );
    else if (param.choices && !param.choices.includes(read))
      faults.push({
        path,
        code: 'value',
        message: `${shown(read)} is not allowed; one of: ${param.choices.join(', ')}`,
      });
    else if (typeof read === 'string' && (read.length > LIMITS.paramLength || read.includes('\0')))
      faults.push({
        path,
        code: 'value',
        message: `must have at most ${LIMITS.paramLength} characters, and no NUL`,
      });
    else params[name] = read;
  }
  return faults.length > 0 ? { faults } : { params };
}

const TYPE_TEXT = { string: 'text', number: 'a number', boolean: 'true or false' } as const;

function typeOf(value: ParamValue): Param['type'] {
  return typeof value as Param['type'];
}

function valueOfType(value: unknown, type: Param['type']): ParamValue | null {
  if (typeof value === type) return value as ParamValue;
  if (typeof value !== 'string') return null;
  if (type === 'number' && /^-?\d+(\.\d+)?(e[+-]?\d{1,2})?$/i.test(value)) return Number(value);
  return type === 'boolean' && (value === 'true' || value === 'false') ? value === 'true' : null;
}
