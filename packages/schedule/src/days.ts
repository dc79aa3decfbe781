import { firstFrom, lastUpTo, NONE } from './bits.ts';
import type { Pattern, SpecialDays } from './pattern.ts';

/**
 * The days of a month on which a pattern fires, bit 0 being day 1.
 * @param month 1 to 12
 * @param length how many days the month has
 * @param firstWeekday the weekday of its first day, 0 being Sunday
 */
export function matchingDays(pattern: Pattern, month: number, length: number, firstWeekday: number): number {
  if (((pattern.months >> (month - 1)) & 1) === 0) return 0;
  const existing = 0x7fffffff >>> (31 - length);
  let byDate = pattern.daysOfMonth;
  let byWeekday = datesOfWeekdays(pattern.weekdays, firstWeekday);
  if (pattern.special !== null) {
    byDate |= specialDates(pattern.special, length, firstWeekday);
    byWeekday |= specialWeekdays(pattern.special, length, firstWeekday);
  }
  return (pattern.bothDays ? byDate & byWeekday : byDate | byWeekday) & existing;
}

const MONDAY_TO_FRIDAY = 0b0111110;
const FIRST_WEEK = 0b1111111;

/** The dates, 1 to 31, that fall on the given weekdays. */
function datesOfWeekdays(weekdays: number, firstWeekday: number): number {
  const week = (((weekdays << 7) | weekdays) >> firstWeekday) & FIRST_WEEK;
  return (week | (week << 7) | (week << 14) | (week << 21) | (week << 28)) & 0x7fffffff;
}

function specialDates(special: SpecialDays, length: number, firstWeekday: number): number {
  const workdays = datesOfWeekdays(MONDAY_TO_FRIDAY, firstWeekday) & (0x7fffffff >>> (31 - length));
  let dates = 0;
  for (
    let before = firstFrom(special.beforeLast, 0);
    before !== NONE;
    before = firstFrom(special.beforeLast, before + 1)
  ) {
    if (before < length) dates |= 1 << (length - 1 - before);
  }
  if (special.lastWorkday) dates |= 1 << lastUpTo(workdays, length - 1);
  const wanted = special.nearestWorkday;
  for (
    let index = firstFrom(wanted, 0);
    index !== NONE && index < length;
    index = firstFrom(wanted, index + 1)
  ) {
    dates |= 1 << nearestWorkday(workdays, index, length);
  }
  return dates;
}

/** The index of the Monday-to-Friday that is nearest to a date and in the same month. */
function nearestWorkday(workdays: number, index: number, length: number): number {
  for (const candidate of [index, index - 1, index + 1, index - 2, index + 2]) {
    if (candidate >= 0 && candidate < length && ((workdays >> candidate) & 1) === 1) return candidate;
  }
  return index;
}

function specialWeekdays(special: SpecialDays, length: number, firstWeekday: number): number {
  let dates = 0;
  special.nthWeekdays.forEach((weekdays, week) => {
    dates |= datesOfWeekdays(weekdays, firstWeekday) & (FIRST_WEEK << (7 * week));
  });
  const lastWeek = FIRST_WEEK << (length - 7);
  return (dates & 0x7fffffff) | (datesOfWeekdays(special.lastWeekdays, firstWeekday) & lastWeek);
}
