import {
  DAY_MS,
  dateOf,
  dayOf,
  HOUR_MS,
  MINUTE_MS,
  monthOf,
  SECOND_MS,
  weekdayOf,
  yearOf,
} from './calendar.ts';
import { didYouMean, nearest, quoted, ScheduleError } from './error.ts';

/** A stretch of time in which a zone keeps one UTC offset. All in milliseconds. */
export interface Segment {
  readonly start: number;
  /** The first instant that is no longer inside. */
  readonly end: number;
  readonly offset: number;
  /**
   * The wall time up to which (exclusive) clocks of the zone had shown everything when the segment started.
   * Below `start + offset` a gap lies between; above it the segment begins by repeating wall times.
   */
  readonly wallBefore: number;
}

/** What the clocks on the wall show. The month counts from 1, weekday 0 is Sunday. */
export interface LocalParts {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly weekday: number;
}

/** What has been found out about one zone. */
export interface Zone {
  readonly name: string;
  /** Segments by the block of time that they were found in; a segment never crosses a block. */
  readonly blocks: Map<number, readonly Segment[]>;
  /** The segment of the last question: the next one is mostly about the same. */
  last: Segment;
}

/** About a year: a zone is looked up one block at a time. Whole seconds, because offsets change on them. */
const BLOCK_MS = 400 * DAY_MS;
/** Since 1970 the shortest change and change back took almost 7 days (the north east of Brazil, October 2000). */
const PROBE_MS = 3 * DAY_MS;
/** A change never shifts the clocks by more than a day, so older segments cannot matter for `wallBefore`. */
const LOOK_BACK_MS = 2 * DAY_MS;

const MAX_ZONES = 1_000;
const MAX_BLOCKS = 256;
const MAX_CLOCKS = 32;
const NOWHERE: Segment = { start: 0, end: 0, offset: 0, wallBefore: 0 };

const zones = new Map<string, Zone>();
const clocks = new Map<string, Intl.DateTimeFormat>();

/**
 * Checks a zone's IANA name against the runtime's tz data and gives the name to store. Aliases such as `US/Eastern`
 * stay as they are written; a name in small letters gets its official spelling.
 * @throws ScheduleError `unknownTimezone`, with the nearest known name
 */
export function resolveZone(name: string): string {
  return zoneOf(name).name;
}

/** The offset of a zone from UTC at an instant, in milliseconds, positive east of Greenwich. */
export function offsetAt(zone: string, instant: number): number {
  return segmentAt(zoneOf(zone), instant).offset;
}

/** What the clocks of a zone show at an instant. */
export function localParts(zone: string, instant: number): LocalParts {
  const wall = instant + offsetAt(zone, instant);
  const dayNumber = Math.floor(wall / DAY_MS);
  const time = wall - dayNumber * DAY_MS;
  const date = dateOf(dayNumber);
  return {
    year: yearOf(date),
    month: monthOf(date),
    day: dayOf(date),
    hour: Math.floor(time / HOUR_MS),
    minute: Math.floor(time / MINUTE_MS) % 60,
    second: Math.floor(time / SECOND_MS) % 60,
    weekday: weekdayOf(dayNumber),
  };
}

/** The first instant at which the clocks of a zone have reached a wall time: in a gap that is the gap's end. */
export function instantOfWall(name: string, wall: number): number {
  const zone = zoneOf(name);
  let segment = segmentAt(zone, wall - DAY_MS);
  while (segment.end + segment.offset <= wall) segment = segmentAt(zone, segment.end);
  return Math.max(segment.start, wall - segment.offset);
}

/**
 * The record of a zone.
 * @throws ScheduleError `unknownTimezone`
 */
export function zoneOf(name: string): Zone {
  let zone = zones.get(name);
  if (zone === undefined) {
    zone = { name: checkedName(name), blocks: new Map(), last: NOWHERE };
    remember(zones, MAX_ZONES, name, zone);
  }
  return zone;
}

function checkedName(name: string): string {
  if (typeof name !== 'string' || !/^[A-Za-z][A-Za-z0-9_+\-/]{0,63}$/.test(name)) throw unknownZone(name);
  try {
    const official = clockOf(name).resolvedOptions().timeZone;
    return name === name.toLowerCase() ? official : name;
  } catch {
    throw unknownZone(name);
  }
}

/** The segment that holds an instant. */
export function segmentAt(zone: Zone, instant: number): Segment {
  if (instant < zone.last.end && instant >= zone.last.start) return zone.last;
  const index = Math.floor(instant / BLOCK_MS);
  let block = zone.blocks.get(index);
  if (block === undefined) {
    block = segmentsOfBlock(zone.name, index * BLOCK_MS, (index + 1) * BLOCK_MS);
    remember(zone.blocks, MAX_BLOCKS, index, block);
  }
  for (const segment of block) {
    if (instant < segment.end) {
      zone.last = segment;
      return segment;
    }
  }
  throw new RangeError(`no offset of ${zone.name} is known for the instant ${instant}`);
}

function segmentsOfBlock(zone: string, blockStart: number, blockEnd: number): Segment[] {
  const clock = clockOf(zone);
  const segments: Segment[] = [];
  let start = blockStart - LOOK_BACK_MS;
  let offset = shownOffset(clock, start);
  let wallBefore = start + offset;
  while (start < blockEnd) {
    const end = endOfOffset(clock, start, offset, blockEnd);
    if (end > blockStart) {
      const inside = Math.max(start, blockStart);
      if (inside > start) wallBefore = Math.max(wallBefore, inside + offset);
      segments.push({ start: inside, end, offset, wallBefore });
    }
    wallBefore = Math.max(wallBefore, end + offset);
    start = end;
    if (end < blockEnd) offset = shownOffset(clock, end);
  }
  return segments;
}

/** The first instant after `start` at which the offset is another one, at most `limit`. */
function endOfOffset(clock: Intl.DateTimeFormat, start: number, offset: number, limit: number): number {
  let same = start;
  while (same < limit) {
    let other = Math.min(same + PROBE_MS, limit);
    if (shownOffset(clock, other) === offset) {
      same = other;
      continue;
    }
    while (other - same > SECOND_MS) {
      const middle = same + Math.floor((other - same) / (2 * SECOND_MS)) * SECOND_MS;
      if (shownOffset(clock, middle) === offset) same = middle;
      else other = middle;
    }
    return other;
  }
  return limit;
}

function shownOffset(clock: Intl.DateTimeFormat, instant: number): number {
  const shown = clock.format(instant).match(/\d+/g) ?? [];
  const [month = 0, day = 0, year = 0, hour = 0, minute = 0, second = 0] = shown.map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(instant / SECOND_MS) * SECOND_MS;
}

function clockOf(zone: string): Intl.DateTimeFormat {
  let clock = clocks.get(zone);
  if (clock === undefined) {
    clock = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    remember(clocks, MAX_CLOCKS, zone, clock);
  }
  return clock;
}

function remember<Key, Value>(cache: Map<Key, Value>, limit: number, key: Key, value: Value): void {
  if (cache.size >= limit) {
    for (const oldest of cache.keys()) {
      cache.delete(oldest);
      break;
    }
  }
  cache.set(key, value);
}

function unknownZone(name: unknown): ScheduleError {
  const hint = typeof name === 'string' ? didYouMean(nearestZone(name)) : '';
  return new ScheduleError(
    'unknownTimezone',
    `${quoted(name)} is not a time zone: allowed are IANA names such as "Europe/Berlin" or "UTC"${hint}`,
    'timezone',
  );
}

function nearestZone(name: string): string | undefined {
  const known = ['UTC', ...Intl.supportedValuesOf('timeZone')];
  const wanted = name.slice(0, 64).toLowerCase().trim().replaceAll(' ', '_');
  if (wanted === 'z') return 'UTC';
  return known.find((zone) => zone.toLowerCase().endsWith(`/${wanted}`)) ?? nearest(wanted, known);
}
