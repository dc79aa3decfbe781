import { type Static, Type } from 'typebox';
import { Labels } from './labels.ts';
import { LIMITS, STEP_NAME } from './names.ts';
import type { Situation } from './scope.ts';
import { STEP_STATES } from './step.ts';

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

/** What of the condition does not hold, in words; null when all of it does. @throws WhenError */
export function unmetBy(_when: When, _situation: Situation): string | null {
  return null;
}
