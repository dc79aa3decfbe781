// What the property tests draw from: patterns, and moments at which clocks change.
import fc from 'fast-check';
import {
  parseSchedule,
  type Schedule,
  type ScheduleContext,
  ScheduleError,
  type ScheduleInput,
} from './index.ts';

/** Moments near which clocks change, or did: most windows of the properties lie around one. */
export const CHANGES: readonly (readonly [zone: string, instant: string])[] = [
  ['America/New_York', '2026-03-08T07:00Z'],
  ['America/New_York', '2026-11-01T06:00Z'],
  ['Europe/London', '2026-03-29T01:00Z'],
  ['Europe/London', '2026-10-25T01:00Z'],
  ['Australia/Lord_Howe', '2026-04-04T15:00Z'],
  ['Australia/Lord_Howe', '2026-10-03T15:30Z'],
  ['Pacific/Apia', '2011-12-30T10:00Z'],
  ['Pacific/Kwajalein', '1993-08-21T12:00Z'],
  ['America/Sao_Paulo', '2018-02-18T02:00Z'],
  ['America/Sao_Paulo', '2018-11-04T03:00Z'],
  ['Asia/Beirut', '2026-03-28T22:00Z'],
  ['Asia/Beirut', '2026-10-24T21:00Z'],
  ['America/Havana', '2026-03-08T05:00Z'],
  ['America/Havana', '2026-11-01T05:00Z'],
  ['Africa/Casablanca', '2026-02-15T02:00Z'],
  ['Africa/Casablanca', '2026-03-22T02:00Z'],
  ['Antarctica/Troll', '2026-03-29T01:00Z'],
  ['Antarctica/Troll', '2026-10-25T01:00Z'],
  ['Asia/Kathmandu', '1985-12-31T18:30Z'],
  ['Antarctica/Casey', '2020-10-03T16:01Z'],
  ['Africa/Cairo', '2014-05-14T22:00Z'],
  ['Asia/Pyongyang', '2015-08-14T15:00Z'],
  ['America/Caracas', '2016-05-01T07:00Z'],
  ['Europe/Dublin', '2026-10-25T01:00Z'],
  ['America/Recife', '2000-10-08T03:00Z'],
  ['America/Recife', '2000-10-15T02:00Z'],
  ['UTC', '2028-02-29T00:00Z'],
];

export function among<T>(...values: readonly T[]): fc.Arbitrary<T> {
  return fc.constantFrom(...values);
}

/** Numbers, ranges (also wrapped), steps and lists of one field. */
export function fieldText(min: number, max: number, ...others: readonly string[]): fc.Arbitrary<string> {
  const value = fc.integer({ min, max });
  const size = max - min + 1;
  const item = fc.oneof(
    { weight: 4, arbitrary: value.map(String) },
    { weight: 2, arbitrary: fc.tuple(value, value).map(([from, to]) => `${from}-${to}`) },
    fc
      .tuple(value, value, fc.integer({ min: 1, max: size }))
      .map(([from, to, step]) => `${from}-${to}/${step}`),
    fc.tuple(value, fc.integer({ min: 1, max: size })).map(([from, step]) => `${from}/${step}`),
    ...(others.length > 0 ? [{ weight: 3, arbitrary: among(...others) }] : []),
  );
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant('*') },
    fc.integer({ min: 1, max: size }).map((step) => `*/${step}`),
    { weight: 6, arbitrary: fc.array(item, { minLength: 1, maxLength: 3 }).map((items) => items.join(',')) },
  );
}

export const minuteText = fieldText(0, 59);
export const hourText = fc.oneof(fieldText(0, 23), fieldText(0, 3));
export const dateText = fc.oneof(
  fc.constant('*'),
  fc.constant('?'),
  fieldText(1, 31, 'L', 'L-3', 'LW', '15W', '1W', '31W', 'lw'),
);
export const monthText = fc.oneof(
  { weight: 5, arbitrary: fc.constant('*') },
  fieldText(1, 12, 'JAN-MAR', 'oct', 'NOV-FEB'),
);
export const weekdayText = fc.oneof(
  fc.constant('*'),
  fc.constant('?'),
  fieldText(0, 6, '7', 'FRI-MON', 'mon', 'MON#2', '5L', 'SUNL', '7#1', '0-7', '5-7/2', '7-2'),
);
export const cronText = fc
  .tuple(minuteText, hourText, dateText, monthText, weekdayText)
  .map((fields) => fields.join(' '));
export const cronWithSeconds = fc.tuple(fieldText(0, 59), cronText).map((fields) => fields.join(' '));
export const change = among(...CHANGES);

/** The pattern, or null when it can never match. */
export function parsed(input: ScheduleInput, context: ScheduleContext): Schedule | null {
  try {
    return parseSchedule(input, context);
  } catch (error) {
    if (error instanceof ScheduleError && error.code === 'impossibleCron') return null;
    throw error;
  }
}

/** Instants as a failing test shows them. */
export function iso(instants: readonly number[]): string[] {
  return instants.map((instant) => new Date(instant).toISOString());
}
