import { dayNumberOf, daysInMonth, weekdayOf } from './calendar.ts';
import { matchingDays } from './days.ts';
import { didYouMean, nearest, quoted, ScheduleError } from './error.ts';
import {
  DAY_OF_MONTH,
  DAY_OF_WEEK,
  type Field,
  fieldError,
  HOUR,
  MINUTE,
  MONTH,
  rangeOf,
  readStep,
  readValue,
  SECOND,
} from './field.ts';
import type { Pattern, SpecialDays } from './pattern.ts';
import { spreadField } from './spread.ts';

/** Longer texts are refused, so that a hostile one costs nothing. */
const MAX_LENGTH = 256;

const MACROS: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};

/**
 * The fields of a cron pattern, `@daily` and its like written out, every spread (`H`, `~`) replaced by its values.
 * Gives five fields, or six with seconds in front.
 * @throws ScheduleError `invalidCron` or `notSupported`
 */
export function cronFields(text: string, spreadKey: string): string[] {
  if (text.length > MAX_LENGTH) {
    throw cronError(`${quoted(text)} has ${text.length} characters; allowed are at most ${MAX_LENGTH}`);
  }
  const trimmed = text.trim();
  const fields = (trimmed.startsWith('@') ? writtenOut(trimmed) : trimmed).split(/\s+/);
  if (/^(CRON_)?TZ=/i.test(trimmed)) {
    throw cronError(`${quoted(text)} names a zone; write it as the schedule's timezone instead`);
  }
  if (fields.length !== 5 && fields.length !== 6) {
    const near = fields.length === 1 ? nearest(`@${trimmed}`, Object.keys(MACROS)) : undefined;
    throw cronError(
      `${quoted(text)} has ${trimmed === '' ? 0 : fields.length} fields; allowed are 5 ` +
        `(minute, hour, day of month, month, day of week), or 6 with the second in front${didYouMean(near)}`,
    );
  }
  const kinds = [SECOND, MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK].slice(-fields.length);
  return fields.map((field, index) => spreadField(kinds[index] as Field, field, spreadKey));
}

function writtenOut(macro: string): string {
  const name = macro.toLowerCase();
  const fields = MACROS[name];
  if (fields !== undefined) return fields;
  if (name === '@reboot') {
    throw new ScheduleError(
      'notSupported',
      '"@reboot" is not supported: a job belongs to no single machine that boots; give it a time, or let the ' +
        "machine's init system start what must run at boot",
      'cron',
    );
  }
  const allowed = `${Object.keys(MACROS).join(', ')}, @every <duration>`;
  throw cronError(
    `${quoted(macro)} is not known; allowed are ${allowed}${didYouMean(nearest(name, Object.keys(MACROS)))}`,
  );
}

/**
 * Reads a cron pattern. `spreadKey` decides the values of `H` and `~`.
 * @throws ScheduleError `invalidCron`, `impossibleCron` when no date can ever match, or `notSupported`
 */
export function parsePattern(text: string, spreadKey: string): Pattern {
  const fields = cronFields(text, spreadKey);
  const [second = '0', minute = '', hour = '', dayOfMonth = '', month = '', dayOfWeek = ''] =
    fields.length === 6 ? fields : ['0', ...fields];
  const seconds = readField(SECOND, second);
  const minutes = readField(MINUTE, minute);
  const days = readDays(dayOfMonth);
  const weekdays = readWeekdays(dayOfWeek);
  const special: SpecialDays = { ...days.special, ...weekdays.special };
  const pattern: Pattern = {
    secondsLow: bitsOf(seconds.filter((value) => value < 30)),
    secondsHigh: bitsOf(seconds.filter((value) => value >= 30).map((value) => value - 30)),
    minutesLow: bitsOf(minutes.filter((value) => value < 30)),
    minutesHigh: bitsOf(minutes.filter((value) => value >= 30).map((value) => value - 30)),
    hours: bitsOf(readField(HOUR, hour)),
    daysOfMonth: days.plain,
    months: bitsOf(readField(MONTH, month).map((value) => value - 1)),
    weekdays: weekdays.plain,
    special: isEmpty(special) ? null : special,
    bothDays: isOpen(dayOfMonth) || isOpen(dayOfWeek),
    wallClock: minute.startsWith('*') || hour.startsWith('*'),
  };
  if (!canMatch(pattern)) {
    throw new ScheduleError(
      'impossibleCron',
      `${quoted(text)} can never match: no month has such a day; allowed are days that exist in one of its months`,
      'cron',
    );
  }
  return pattern;
}

function isOpen(dayField: string): boolean {
  return dayField.startsWith('*') || dayField === '?';
}

/** The values that a field lists. */
function readField(field: Field, text: string): number[] {
  return text.split(',').flatMap((item) => readItem(field, item, text));
}

function readItem(field: Field, item: string, text: string): number[] {
  const [, range = '', step] = /^([^/]*)(?:\/(.*))?$/.exec(item) ?? [];
  if (range === '') throw fieldError(field, text);
  const every = step === undefined ? 1 : readStep(field, step);
  const last = field === DAY_OF_WEEK ? 6 : field.max;
  if (range === '*') return rangeOf(field, field.min, last, every);
  const ends = range.split('-');
  if (ends.length > 2) throw fieldError(field, text);
  const [from = '', to] = ends;
  const first = readValue(field, from);
  if (to !== undefined) return rangeOf(field, first, readValue(field, to), every);
  return rangeOf(field, first, step === undefined ? first : Math.max(first, last), every);
}

function readDays(text: string): {
  plain: number;
  special: Omit<SpecialDays, 'nthWeekdays' | 'lastWeekdays'>;
} {
  let plain = 0;
  const special = { beforeLast: 0, lastWorkday: false, nearestWorkday: 0 };
  for (const item of text === '?' ? ['*'] : text.split(',')) {
    const [, before, workday] = /^(?:L(?:-(\d{1,2}))?|(\d{1,2})W)$/i.exec(item) ?? [];
    if (/^LW$/i.test(item)) special.lastWorkday = true;
    else if (workday !== undefined) special.nearestWorkday |= 1 << (readValue(DAY_OF_MONTH, workday) - 1);
    else if (/^L/i.test(item)) {
      const days = before === undefined ? 0 : Number(before);
      if (!/^L(-\d{1,2})?$/i.test(item) || days > 30) {
        throw fieldError(DAY_OF_MONTH, item, '; before the last day count from L-1 to L-30');
      }
      special.beforeLast |= 1 << days;
    } else plain |= bitsOf(readItem(DAY_OF_MONTH, item, text).map((day) => day - 1));
  }
  return { plain, special };
}

function readWeekdays(text: string): {
  plain: number;
  special: Pick<SpecialDays, 'nthWeekdays' | 'lastWeekdays'>;
} {
  let plain = 0;
  const nthWeekdays = [0, 0, 0, 0, 0];
  let lastWeekdays = 0;
  for (const item of text === '?' ? ['*'] : text.split(',')) {
    const [, day, nth] = /^([^#]*)#(.*)$/.exec(item) ?? [];
    if (day !== undefined && nth !== undefined) {
      if (!/^[1-5]$/.test(nth))
        throw fieldError(DAY_OF_WEEK, item, '; after # stands 1 to 5, the week of the month');
      const index = Number(nth) - 1;
      nthWeekdays[index] = (nthWeekdays[index] ?? 0) | (1 << (readValue(DAY_OF_WEEK, day) % 7));
    } else if (/^L$/i.test(item)) {
      throw fieldError(DAY_OF_WEEK, item, '; say which weekday, such as 5L for the last Friday of the month');
    } else if (/L$/i.test(item)) lastWeekdays |= 1 << (readValue(DAY_OF_WEEK, item.slice(0, -1)) % 7);
    else plain |= bitsOf(readItem(DAY_OF_WEEK, item, text));
  }
  return { plain, special: { nthWeekdays, lastWeekdays } };
}

function bitsOf(values: readonly number[]): number {
  return values.reduce((bits, value) => bits | (1 << value), 0);
}

function isEmpty(special: SpecialDays): boolean {
  const weekdays = special.nthWeekdays.reduce((all, some) => all | some, special.lastWeekdays);
  return special.beforeLast === 0 && !special.lastWorkday && special.nearestWorkday === 0 && weekdays === 0;
}

/** Whether any date matches: 28 years hold every kind of year, leap or not, beginning on each weekday. */
function canMatch(pattern: Pattern): boolean {
  for (let year = 2000; year < 2028; year++) {
    for (let month = 1; month <= 12; month++) {
      const firstWeekday = weekdayOf(dayNumberOf(year, month, 1));
      if (matchingDays(pattern, month, daysInMonth(year, month), firstWeekday) !== 0) return true;
    }
  }
  return false;
}

function cronError(message: string): ScheduleError {
  return new ScheduleError('invalidCron', message, 'cron');
}
