import { DAY_MS } from './calendar.ts';
import type { CronSchedule, EverySchedule, Schedule } from './schedule.ts';
import { nextWall, previousWall } from './wall.ts';
import { type Segment, segmentAt, zoneOf } from './zone.ts';

/** Before 1900 nothing is scheduled by cron. */
export const FIRST_INSTANT = -2_208_988_800_000;
/** After 9999 nothing is scheduled. */
export const LAST_INSTANT = 253_402_300_799_999;
/** A pattern that has not fired for so long never will: only times that its zone always skips are left. */
const SEARCHED_MS = 50 * 366 * DAY_MS;

/** The first instant of a schedule that is later than `after`, or null when there is none (within 50 years). */
export function next(schedule: Schedule, after: number): number | null {
  switch (schedule.kind) {
    case 'cron':
      return nextOfCron(schedule, after);
    case 'every':
      return nextOfEvery(schedule, after);
    case 'at':
      return schedule.at > after ? schedule.at : null;
  }
}

/** The last instant of a schedule that is earlier than `before`, or null when there is none (within 50 years). */
export function previous(schedule: Schedule, before: number): number | null {
  switch (schedule.kind) {
    case 'cron':
      return previousOfCron(schedule, before);
    case 'every':
      return previousOfEvery(schedule, before);
    case 'at':
      return schedule.at < before ? schedule.at : null;
  }
}

/** The first instant of a list of schedules that is later than `after`; on one instant the first of the list has it. */
export function nextOf(
  schedules: readonly Schedule[],
  after: number,
): { scheduledFor: number; schedule: Schedule } | null {
  let first: { scheduledFor: number; schedule: Schedule } | null = null;
  for (const schedule of schedules) {
    const scheduledFor = next(schedule, after);
    if (scheduledFor !== null && (first === null || scheduledFor < first.scheduledFor)) {
      first = { scheduledFor, schedule };
    }
  }
  return first;
}

/** The distinct instants of a list of schedules with from < instant <= to, in order, at most `limit` of them. */
export function between(schedules: readonly Schedule[], from: number, to: number, limit: number): number[] {
  const heads = schedules.map((schedule) => ({
    schedule,
    instant: next(schedule, from) ?? Number.POSITIVE_INFINITY,
  }));
  const instants: number[] = [];
  while (instants.length < limit) {
    let first = Number.POSITIVE_INFINITY;
    for (const head of heads) first = Math.min(first, head.instant);
    if (first > to || first === Number.POSITIVE_INFINITY) break;
    instants.push(first);
    for (const head of heads) {
      if (head.instant === first) head.instant = next(head.schedule, first) ?? Number.POSITIVE_INFINITY;
    }
  }
  return instants;
}

function nextOfEvery(schedule: EverySchedule, after: number): number | null {
  const passed = Math.floor((after - schedule.anchor) / schedule.everyMs);
  const instant = schedule.anchor + Math.max(1, passed + 1) * schedule.everyMs;
  return instant <= LAST_INSTANT ? instant : null;
}

function previousOfEvery(schedule: EverySchedule, before: number): number | null {
  const passed = Math.ceil((Math.min(before, LAST_INSTANT + 1) - schedule.anchor) / schedule.everyMs) - 1;
  return passed < 1 ? null : schedule.anchor + passed * schedule.everyMs;
}

/**
 * The wall time from which a segment brings matches, when it is looked at from one of its instants on.
 * A job that follows the wall clock takes what the clocks show. A fixed-time job counts each wall time once, when
 * clocks first reach or pass it: the times of a gap belong to its end, repeated times to their first occurrence.
 */
export function firstWall(segment: Segment, from: number, wallClock: boolean): number {
  const shown = from + segment.offset;
  if (wallClock) return shown;
  return from === segment.start ? segment.wallBefore : Math.max(shown, segment.wallBefore);
}

function nextOfCron({ pattern, timezone }: CronSchedule, after: number): number | null {
  const zone = zoneOf(timezone);
  let from = Math.max(Math.floor(after) + 1, FIRST_INSTANT);
  const limit = Math.min(from + SEARCHED_MS, LAST_INSTANT);
  let searched = Number.POSITIVE_INFINITY;
  let found = Number.NEGATIVE_INFINITY;
  while (from <= limit) {
    const segment = segmentAt(zone, from);
    const wall = firstWall(segment, from, pattern.wallClock);
    // What an earlier segment found beyond its end still holds, unless this one turns the clocks back.
    if (wall < searched || wall > found) {
      searched = wall;
      found = nextWall(pattern, wall);
    }
    const instant = Math.max(found - segment.offset, segment.start);
    if (instant < segment.end) return instant <= LAST_INSTANT ? instant : null;
    from = segment.end;
  }
  return null;
}

function previousOfCron({ pattern, timezone }: CronSchedule, before: number): number | null {
  const zone = zoneOf(timezone);
  let to = Math.min(Math.ceil(before) - 1, LAST_INSTANT);
  const limit = Math.max(to - SEARCHED_MS, FIRST_INSTANT);
  while (to >= limit) {
    const segment = segmentAt(zone, to);
    const found = previousWall(pattern, to + segment.offset);
    if (found >= firstWall(segment, segment.start, pattern.wallClock)) {
      return Math.max(found - segment.offset, segment.start);
    }
    to = segment.start - 1;
  }
  return null;
}
