import {
  below,
  countBelow60,
  firstFrom,
  firstFrom60,
  has60,
  lastUpTo,
  lastUpTo60,
  NONE,
  sizeOf,
} from './bits.ts';
import { DAY_MS, dateOf, dayOf, daysInMonth, monthOf, SECOND_MS, weekdayOf, yearOf } from './calendar.ts';
import { matchingDays } from './days.ts';
import type { Pattern } from './pattern.ts';

// Wall times are milliseconds too: what the epoch would count if the clocks on the wall showed UTC.

const DAY_S = 86_400;
/** A date comes back within 40 years, even 29 February on a Monday across 2100: later there is nothing. */
const SEARCHED_MONTHS = 41 * 12;

/** The first wall time that a pattern matches, at or after the given one; Infinity when there is none for 41 years. */
export function nextWall(pattern: Pattern, wall: number): number {
  const second = Math.ceil(wall / SECOND_MS);
  const today = Math.floor(second / DAY_S);
  const date = dateOf(today);
  let year = yearOf(date);
  let month = monthOf(date);
  let firstDay = today - dayOf(date) + 1;
  let length = daysInMonth(year, month);
  let days = matchingDays(pattern, month, length, weekdayOf(firstDay));
  if (((days >> (dayOf(date) - 1)) & 1) === 1) {
    const time = nextTime(pattern, second - today * DAY_S);
    if (time !== NONE) return today * DAY_MS + time * SECOND_MS;
  }
  let index = firstFrom(days, dayOf(date));
  for (let passed = 0; index === NONE; passed++) {
    if (passed > SEARCHED_MONTHS) return Number.POSITIVE_INFINITY;
    firstDay += length;
    year += month === 12 ? 1 : 0;
    month = month === 12 ? 1 : month + 1;
    length = daysInMonth(year, month);
    days = matchingDays(pattern, month, length, weekdayOf(firstDay));
    index = firstFrom(days, 0);
  }
  return (firstDay + index) * DAY_MS + nextTime(pattern, 0) * SECOND_MS;
}

/** The last wall time that a pattern matches, at or before the given one; -Infinity when there is none for 41 years. */
export function previousWall(pattern: Pattern, wall: number): number {
  const second = Math.floor(wall / SECOND_MS);
  const today = Math.floor(second / DAY_S);
  const date = dateOf(today);
  let year = yearOf(date);
  let month = monthOf(date);
  let firstDay = today - dayOf(date) + 1;
  let days = matchingDays(pattern, month, daysInMonth(year, month), weekdayOf(firstDay));
  if (((days >> (dayOf(date) - 1)) & 1) === 1) {
    const time = previousTime(pattern, second - today * DAY_S);
    if (time !== NONE) return today * DAY_MS + time * SECOND_MS;
  }
  let index = lastUpTo(days, dayOf(date) - 2);
  for (let passed = 0; index === NONE; passed++) {
    if (passed > SEARCHED_MONTHS) return Number.NEGATIVE_INFINITY;
    year -= month === 1 ? 1 : 0;
    month = month === 1 ? 12 : month - 1;
    const length = daysInMonth(year, month);
    firstDay -= length;
    days = matchingDays(pattern, month, length, weekdayOf(firstDay));
    index = lastUpTo(days, 30);
  }
  return (firstDay + index) * DAY_MS + previousTime(pattern, DAY_S - 1) * SECOND_MS;
}

/** How many wall times a pattern matches from `from` up to but not including `to`. */
export function countWalls(pattern: Pattern, from: number, to: number): number {
  if (to <= from) return 0;
  const fromSecond = Math.ceil(from / SECOND_MS);
  const toSecond = Math.ceil(to / SECOND_MS);
  const fromDay = Math.floor(fromSecond / DAY_S);
  const toDay = Math.floor(toSecond / DAY_S);
  return (
    countDays(pattern, fromDay, toDay) * countTimes(pattern, DAY_S) +
    (matchesDay(pattern, toDay) ? countTimes(pattern, toSecond - toDay * DAY_S) : 0) -
    (matchesDay(pattern, fromDay) ? countTimes(pattern, fromSecond - fromDay * DAY_S) : 0)
  );
}

/** Whether a pattern fires on a day. */
export function matchesDay(pattern: Pattern, dayNumber: number): boolean {
  return countDays(pattern, dayNumber, dayNumber + 1) === 1;
}

/** How many days match from `from` up to but not including `to`. */
function countDays(pattern: Pattern, from: number, to: number): number {
  const date = dateOf(from);
  let year = yearOf(date);
  let month = monthOf(date);
  let firstDay = from - dayOf(date) + 1;
  let count = 0;
  while (firstDay < to) {
    const length = daysInMonth(year, month);
    const days = matchingDays(pattern, month, length, weekdayOf(firstDay));
    count += sizeOf(
      below(days, Math.min(to - firstDay, length)) & ~below(days, Math.max(from - firstDay, 0)),
    );
    firstDay += length;
    year += month === 12 ? 1 : 0;
    month = month === 12 ? 1 : month + 1;
  }
  return count;
}

/** The first second of the day, at or after the given one, that the time fields match, or NONE. */
function nextTime(pattern: Pattern, time: number): number {
  const hour = Math.floor(time / 3_600);
  if (((pattern.hours >> hour) & 1) === 1) {
    const minute = Math.floor(time / 60) - hour * 60;
    if (has60(pattern.minutesLow, pattern.minutesHigh, minute)) {
      const second = firstFrom60(pattern.secondsLow, pattern.secondsHigh, time % 60);
      if (second !== NONE) return hour * 3_600 + minute * 60 + second;
    }
    const later = firstFrom60(pattern.minutesLow, pattern.minutesHigh, minute + 1);
    if (later !== NONE)
      return hour * 3_600 + later * 60 + firstFrom60(pattern.secondsLow, pattern.secondsHigh, 0);
  }
  const later = firstFrom(pattern.hours, hour + 1);
  if (later === NONE) return NONE;
  const minute = firstFrom60(pattern.minutesLow, pattern.minutesHigh, 0);
  return later * 3_600 + minute * 60 + firstFrom60(pattern.secondsLow, pattern.secondsHigh, 0);
}

/** The last second of the day, at or before the given one, that the time fields match, or NONE. */
function previousTime(pattern: Pattern, time: number): number {
  const hour = Math.floor(time / 3_600);
  if (((pattern.hours >> hour) & 1) === 1) {
    const minute = Math.floor(time / 60) - hour * 60;
    if (has60(pattern.minutesLow, pattern.minutesHigh, minute)) {
      const second = lastUpTo60(pattern.secondsLow, pattern.secondsHigh, time % 60);
      if (second !== NONE) return hour * 3_600 + minute * 60 + second;
    }
    const earlier = lastUpTo60(pattern.minutesLow, pattern.minutesHigh, minute - 1);
    if (earlier !== NONE) {
      return hour * 3_600 + earlier * 60 + lastUpTo60(pattern.secondsLow, pattern.secondsHigh, 59);
    }
  }
  const earlier = lastUpTo(pattern.hours, hour - 1);
  if (earlier === NONE) return NONE;
  const minute = lastUpTo60(pattern.minutesLow, pattern.minutesHigh, 59);
  return earlier * 3_600 + minute * 60 + lastUpTo60(pattern.secondsLow, pattern.secondsHigh, 59);
}

/** How many seconds of a day before the given one (0 to 86400) the time fields match. */
function countTimes(pattern: Pattern, time: number): number {
  const perMinute = countBelow60(pattern.secondsLow, pattern.secondsHigh, 60);
  const perHour = countBelow60(pattern.minutesLow, pattern.minutesHigh, 60) * perMinute;
  const hour = Math.floor(time / 3_600);
  const hours = sizeOf(below(pattern.hours, hour)) * perHour;
  if (((pattern.hours >> hour) & 1) === 0) return hours;
  const minute = Math.floor(time / 60) - hour * 60;
  const minutes = countBelow60(pattern.minutesLow, pattern.minutesHigh, minute) * perMinute;
  if (!has60(pattern.minutesLow, pattern.minutesHigh, minute)) return hours + minutes;
  return hours + minutes + countBelow60(pattern.secondsLow, pattern.secondsHigh, time % 60);
}
