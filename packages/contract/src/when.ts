import { type Static, Type } from 'typebox';
import { ExpressionError, evaluateExpression, expressionFault } from './expression.ts';
import { type Fault, nearest, shown } from './faults.ts';
import { Labels } from './labels.ts';
import { LIMITS, STEP_NAME } from './names.ts';
import { STEP_STATES } from './run.ts';
import type { Situation } from './scope.ts';
import type { Names } from './templateFaults.ts';

/** Whether a step runs: every field that is there must hold. */

const oneOrMore = (minimum: number, maximum: number) => {
  const value = Type.Integer({ minimum, maximum });
  return Type.Union([value, Type.Array(value, { minItems: 1, maxItems: 100 })]);
};
const StateText = Type.Enum(STEP_STATES.filter((state) => state !== 'running' && state !== 'retrying'));

/** Local time is that of the nominal instant, in the zone of the schedule that fired. */
export const WhenField = Type.Object(
  {
    minute: Type.Optional(oneOrMore(0, 59)),
    hour: Type.Optional(oneOrMore(0, 23)),
    day: Type.Optional(oneOrMore(1, 31)),
    month: Type.Optional(oneOrMore(1, 12)),
    /** 0 and 7 are Sunday. */
    weekday: Type.Optional(oneOrMore(0, 7)),
    /** Of the agent. */
    labels: Type.Optional(Labels),
    /** Earlier steps, and one or more states that each may have ended with. */
    steps: Type.Optional(
      Type.Record(
        Type.String({ pattern: STEP_NAME }),
        Type.Union([StateText, Type.Array(StateText, { minItems: 1, maxItems: 10 })]),
        { minProperties: 1, maxProperties: LIMITS.steps, additionalProperties: false },
      ),
    ),
    /** In the Common Expression Language. */
    expression: Type.Optional(Type.String({ minLength: 1, maxLength: 2_000 })),
  },
  { additionalProperties: false, minProperties: 1 },
);
export type WhenField = Static<typeof WhenField>;

/** A nominal instant on a clock of its zone; Sunday is 0. */
export interface LocalTime {
  minute: number;
  hour: number;
  day: number;
  month: number;
  weekday: number;
  timezone: string;
}

/** What must hold; null fields say nothing. Sunday is 0. */
export interface When {
  minute: number[] | null;
  hour: number[] | null;
  day: number[] | null;
  month: number[] | null;
  weekday: number[] | null;
  labels: Labels | null;
  steps: Record<string, string[]> | null;
  expression: string | null;
}

/** A condition that cannot be evaluated: what it names is not there, or has another type. */
export class WhenError extends Error {}

/** The condition with every field settled. The field must have been read before. */
export function defineWhen(field: WhenField): When {
  const list = (value: number | number[] | undefined) => (value === undefined ? null : [value].flat());
  return {
    minute: list(field.minute),
    hour: list(field.hour),
    day: list(field.day),
    month: list(field.month),
    weekday: list(field.weekday)?.map((day) => day % 7) ?? null,
    labels: field.labels ?? null,
    steps:
      field.steps === undefined
        ? null
        : Object.fromEntries(Object.entries(field.steps).map(([name, states]) => [name, [states].flat()])),
    expression: field.expression ?? null,
  };
}

/** Faults that the schema cannot say. `sound` says whether what stands at a path has the shape of the schema. */
export function whenFaults(
  when: Record<string, unknown>,
  names: Names,
  sound: (path: string) => boolean,
  add: (path: string, code: Fault['code'], message: string) => void,
): void {
  const { steps, expression } = when;
  if (steps !== null && typeof steps === 'object' && !Array.isArray(steps)) {
    for (const name of Object.keys(steps)) {
      if (names.steps.includes(name) || !sound(`steps.${name}`)) continue;
      add(`steps.${name}`, 'value', `no earlier step has this name${nearest(name, names.steps)}`);
    }
  }
  if (typeof expression === 'string' && sound('expression')) {
    const fault = expressionFault(expression, names);
    if (fault !== null) add('expression', 'value', `${shown(expression)}: ${fault}`);
  }
}

const WEEKDAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const TIMES = ['minute', 'hour', 'day', 'month', 'weekday'] as const;

/** What of the condition does not hold, in at most 500 characters; null when all of it does. @throws WhenError */
export function unmetBy(when: When, situation: Situation): string | null {
  return firstUnmet(when, situation)?.slice(0, 500) ?? null;
}

function firstUnmet(when: When, situation: Situation): string | null {
  const { local, agent, steps } = situation;
  for (const field of TIMES) {
    const allowed = when[field];
    if (allowed === null || allowed.includes(local[field])) continue;
    const text = (value: number) => (field === 'weekday' ? (WEEKDAYS[value] ?? value) : value);
    return `${field} is ${text(local[field])} (${local.timezone}), not ${allowed.map(text).join(' or ')}`;
  }
  for (const [key, value] of Object.entries(when.labels ?? {})) {
    const own = Object.hasOwn(agent.labels, key) ? agent.labels[key] : undefined;
    if (own === undefined) return `agent ${agent.name} has no label ${key}`;
    if (own !== value) return `label ${key} of agent ${agent.name} is ${shown(own)}, not ${shown(value)}`;
  }
  for (const [name, states] of Object.entries(when.steps ?? {})) {
    const step = Object.hasOwn(steps, name) ? steps[name] : undefined;
    if (step === undefined) throw new WhenError(`there is no earlier step ${name}`);
    if (!states.includes(step.state)) return `step ${name} is ${step.state}, not ${states.join(' or ')}`;
  }
  if (when.expression === null) return null;
  try {
    return evaluateExpression(when.expression, situation) ? null : `not true: ${when.expression}`;
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    throw new WhenError(`${shown(when.expression)}: ${error.message}`);
  }
}
