import { didYouMean, nearest, quoted, ScheduleError } from './error.ts';

/** One position of a cron pattern. */
export interface Field {
  /** As errors call it. */
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** Names of the values, from `min` on. */
  readonly names: readonly string[];
  /** Forms that only this field knows, for the error of an item that fits nothing. */
  readonly extra: string;
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

export const SECOND: Field = { name: 'second', min: 0, max: 59, names: [], extra: '' };
export const MINUTE: Field = { name: 'minute', min: 0, max: 59, names: [], extra: '' };
export const HOUR: Field = { name: 'hour', min: 0, max: 23, names: [], extra: '' };
export const DAY_OF_MONTH: Field = {
  name: 'day of month',
  min: 1,
  max: 31,
  names: [],
  extra: ', L, L-3, LW, 15W, ?',
};
export const MONTH: Field = { name: 'month', min: 1, max: 12, names: MONTHS, extra: '' };
/** 7 is Sunday too; reading folds it into 0. */
export const DAY_OF_WEEK: Field = {
  name: 'day of week',
  min: 0,
  max: 7,
  names: WEEKDAYS,
  extra: ', MON#2, 5L, ?',
};

/** The error of a field: its name, the faulty text, what is allowed. */
export function fieldError(field: Field, text: string, hint = ''): ScheduleError {
  const names = field.names.length === 0 ? '' : ` or ${field.names[0]}-${field.names.at(-1)}`;
  const allowed = `${field.min}-${field.max}${names}, *, ranges a-b, steps */n or a-b/n, lists a,b, H, a~b${field.extra}`;
  return new ScheduleError(
    'invalidCron',
    `${field.name}: ${quoted(text)} is not allowed here; allowed are ${allowed}${hint}`,
    field.name,
  );
}

/** One value of a field: a number in its range, or one of its names in any case. */
export function readValue(field: Field, text: string): number {
  if (/^\d{1,4}$/.test(text)) {
    const value = Number(text);
    if (value < field.min || value > field.max) throw fieldError(field, text);
    return value;
  }
  const index = field.names.indexOf(text.toUpperCase());
  if (index < 0) {
    const near =
      nearest(text, field.names) ?? field.names.find((name) => text.toUpperCase().startsWith(name));
    throw fieldError(field, text, didYouMean(/^[a-z]+$/i.test(text) ? near : undefined));
  }
  return field.min + index;
}

/** A step: from 1 to the number of values that the field has. */
export function readStep(field: Field, text: string): number {
  const most = sizeOfField(field);
  const step = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (step < 1 || step > most) {
    throw new ScheduleError(
      'invalidCron',
      `${field.name}: the step ${quoted(text)} is not allowed here; allowed are steps from 1 to ${most}`,
      field.name,
    );
  }
  return step;
}

/** The values from `first` to `last`, by steps; when `last` is smaller the range goes on past the field's end. */
export function rangeOf(field: Field, first: number, last: number, step: number): number[] {
  const size = sizeOfField(field);
  const from = field === DAY_OF_WEEK && first > last ? first % 7 : first;
  const length = from <= last ? last - from : last - from + size;
  const values: number[] = [];
  for (let passed = 0; passed <= length; passed += step) {
    values.push(field.min + ((from - field.min + passed) % size));
  }
  return values;
}

function sizeOfField(field: Field): number {
  return field === DAY_OF_WEEK ? 7 : field.max - field.min + 1;
}
