import { has60, sizeOf } from './bits.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from './calendar.ts';
import { FIRST_INSTANT, firstWall, LAST_INSTANT, next, nextOf } from './next.ts';
import type { CronSchedule, EverySchedule, Schedule } from './schedule.ts';
import { countWalls, matchesDay } from './wall.ts';
import { segmentAt, zoneOf } from './zone.ts';

/**
 * How many distinct instants a list of schedules has with from < instant <= to.
 * One schedule is counted by arithmetic, month by month; several by marking the seconds of each hour that has any.
 */
export function countBetween(schedules: readonly Schedule[], from: number, to: number): number {
  const [only, ...others] = schedules;
  if (only === undefined || !(from < to)) return 0;
  return others.length === 0 ? countOne(only, from, to) : countUnion(schedules, from, to);
}

function countOne(schedule: Schedule, from: number, to: number): number {
  switch (schedule.kind) {
    case 'cron':
      return countCron(schedule, from, to);
    case 'every':
      return passedTurns(schedule, to) - passedTurns(schedule, from);
    case 'at':
      return from < schedule.at && schedule.at <= to ? 1 : 0;
  }
}

function passedTurns(schedule: EverySchedule, instant: number): number {
  return Math.max(0, Math.floor((Math.min(instant, LAST_INSTANT) - schedule.anchor) / schedule.everyMs));
}

function countCron({ pattern, timezone }: CronSchedule, after: number, to: number): number {
  const zone = zoneOf(timezone);
  const last = Math.min(to, LAST_INSTANT);
  let from = Math.max(Math.floor(after) + 1, FIRST_INSTANT);
  let count = 0;
  while (from <= last) {
    const segment = segmentAt(zone, from);
    const wallEnd = Math.min(last + 1, segment.end) + segment.offset;
    let wall = firstWall(segment, from, pattern.wallClock);
    const landing = from + segment.offset + 1;
    if (wall < landing - 1) {
      // The times of a gap and its end are one instant, however many they are.
      count += Math.min(1, countWalls(pattern, wall, landing));
      wall = landing;
    }
    count += countWalls(pattern, wall, wallEnd);
    from = segment.end;
  }
  return count;
}

/** The seconds of one hour that have an instant: two words of 30 bits a minute. */
type HourMarks = Int32Array<ArrayBuffer>;

function countUnion(schedules: readonly Schedule[], from: number, to: number): number {
  const marks: HourMarks = new Int32Array(120);
  let count = 0;
  let after = from;
  for (;;) {
    const first = nextOf(schedules, after)?.scheduledFor ?? Number.POSITIVE_INFINITY;
    if (first > to) return count;
    const hour = Math.floor(first / HOUR_MS) * HOUR_MS;
    const end = hour + HOUR_MS - 1;
    marks.fill(0);
    const odd = new Set<number>();
    const whole = after < hour && end <= to;
    for (const schedule of schedules) {
      if (!(whole && schedule.kind === 'cron' && markPlainHour(schedule, hour, marks))) {
        markEach(schedule, after, Math.min(end, to), hour, marks, odd);
      }
    }
    for (const word of marks) count += sizeOf(word);
    count += odd.size;
    after = end;
  }
}

/** Marks an hour by its minutes. Gives false, and does nothing, when the clocks change in it. */
function markPlainHour({ pattern, timezone }: CronSchedule, hour: number, marks: HourMarks): boolean {
  const segment = segmentAt(zoneOf(timezone), hour);
  const wall = hour + segment.offset;
  if (segment.end < hour + HOUR_MS || firstWall(segment, hour, pattern.wallClock) !== wall) return false;
  if (segment.offset % MINUTE_MS !== 0) return false;
  const firstMinute = wall / MINUTE_MS;
  const firstDay = Math.floor(wall / DAY_MS);
  const lastDay = Math.floor((wall + HOUR_MS - 1) / DAY_MS);
  const firstMatches = matchesDay(pattern, firstDay);
  const lastMatches = lastDay === firstDay ? firstMatches : matchesDay(pattern, lastDay);
  for (let minute = 0; minute < 60; minute++) {
    const ofDay = firstMinute + minute - firstDay * 1_440;
    const matches = ofDay < 1_440 ? firstMatches : lastMatches;
    if (!matches || ((pattern.hours >> Math.floor((ofDay % 1_440) / 60)) & 1) === 0) continue;
    if (!has60(pattern.minutesLow, pattern.minutesHigh, ofDay % 60)) continue;
    marks[minute * 2] = (marks[minute * 2] ?? 0) | pattern.secondsLow;
    marks[minute * 2 + 1] = (marks[minute * 2 + 1] ?? 0) | pattern.secondsHigh;
  }
  return true;
}

/** Marks the instants up to `to` of an hour one after the other; those that are no whole second go to a set. */
function markEach(
  schedule: Schedule,
  after: number,
  to: number,
  hour: number,
  marks: HourMarks,
  odd: Set<number>,
): void {
  // Elapsed time needs no search for each turn.
  const stride = schedule.kind === 'every' ? schedule.everyMs : 0;
  for (
    let at = next(schedule, after);
    at !== null && at <= to;
    at = stride > 0 ? at + stride : next(schedule, at)
  ) {
    const sinceHour = at - hour;
    const second = Math.floor(sinceHour / SECOND_MS);
    if (second * SECOND_MS !== sinceHour) {
      odd.add(at);
      continue;
    }
    const word = Math.floor(second / 30);
    marks[word] = (marks[word] ?? 0) | (1 << (second - word * 30));
  }
}
