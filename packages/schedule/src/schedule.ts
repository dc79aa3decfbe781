import { DAY_MS, dayNumberOf, daysInMonth, HOUR_MS, MINUTE_MS, SECOND_MS } from './calendar.ts';
import { parsePattern } from './cron.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { didYouMean, nearest, quoted, ScheduleError } from './error.ts';
import type { Pattern } from './pattern.ts';
import { instantOfWall, resolveZone } from './zone.ts';

/** What a schedule takes from its job. */
export interface ScheduleContext {
  /** The IANA zone of schedules that name none. */
  readonly timezone: string;
  /** A key that never changes, such as the job's id: it decides `H`, `~` and the jitter. */
  readonly spreadKey: string;
}

/** A schedule as a document writes it: `30 2 * * *`, `@daily`, `every 15m`, `at 2026-12-24T08:00Z`, or an object. */
export type ScheduleInput = string | ScheduleFields;

/** Exactly one of `cron`, `every` and `at` says when. */
export interface ScheduleFields {
  /** Five fields, six with seconds in front, `@hourly` to `@yearly`, or `@every 15m`. */
  readonly cron?: string | undefined;
  /** A duration of elapsed time, at least 1s. */
  readonly every?: string | undefined;
  /** RFC 3339; without an offset it is a time on the wall of the zone. */
  readonly at?: string | undefined;
  readonly timezone?: string | undefined;
  /** A duration: each run is due by up to so much later, stable for the job and the instant. */
  readonly jitter?: string | undefined;
  /** Epoch milliseconds that `every` counts from; 0 when absent. */
  readonly anchor?: number | undefined;
}

interface Common {
  /** An IANA zone that exists. */
  readonly timezone: string;
  readonly jitterMs: number;
  /** The text that says when, without its keyword, as it was written. */
  readonly source: string;
}

export interface CronSchedule extends Common {
  readonly kind: 'cron';
  readonly pattern: Pattern;
}

/** Fires at the whole multiples of `everyMs` after the anchor, in elapsed time. */
export interface EverySchedule extends Common {
  readonly kind: 'every';
  readonly everyMs: number;
  /** Epoch milliseconds. */
  readonly anchor: number;
}

/** Fires once. */
export interface AtSchedule extends Common {
  readonly kind: 'at';
  /** Epoch milliseconds. */
  readonly at: number;
}

/** A parsed schedule: plain data of a few hundred bytes. */
export type Schedule = CronSchedule | EverySchedule | AtSchedule;

const MIN_EVERY_MS = SECOND_MS;
const KEYS = ['cron', 'every', 'at', 'timezone', 'jitter', 'anchor'];
const FORMS =
  '"30 2 * * *", "every 15m", "at 2026-12-24T08:00Z", or an object with one of cron, every and at';

/**
 * Reads one schedule.
 * @throws ScheduleError with the field, the value, what is allowed, and the nearest right form
 */
export function parseSchedule(input: ScheduleInput, context: ScheduleContext): Schedule {
  const fields = scheduleFields(input);
  const timezone = resolveZone(fields.timezone ?? context.timezone);
  const jitterMs = fields.jitter === undefined ? 0 : durationOf('jitter', fields.jitter);
  if (fields.cron !== undefined) {
    const pattern = parsePattern(fields.cron, context.spreadKey);
    return { kind: 'cron', timezone, jitterMs, source: fields.cron, pattern };
  }
  if (fields.every !== undefined) {
    const everyMs = durationOf('every', fields.every);
    if (everyMs < MIN_EVERY_MS) {
      throw new ScheduleError(
        'invalidSchedule',
        `every: ${quoted(fields.every)} is too short; allowed are 1s and more`,
        'every',
      );
    }
    return { kind: 'every', timezone, jitterMs, source: fields.every, everyMs, anchor: fields.anchor ?? 0 };
  }
  const source = fields.at ?? '';
  return { kind: 'at', timezone, jitterMs, source, at: instantOf(source, timezone) };
}

/** A parsed schedule as a document writes it: parsed again with the same spread key it gives an equal schedule. */
export function formatSchedule(schedule: Schedule): ScheduleFields {
  return {
    [schedule.kind]: schedule.source,
    timezone: schedule.timezone,
    ...(schedule.jitterMs > 0 ? { jitter: formatDuration(schedule.jitterMs) } : {}),
    ...(schedule.kind === 'every' ? { anchor: schedule.anchor } : {}),
  };
}

/**
 * The object form of a schedule, checked for its keys, `@every` among the `every` ones.
 * @throws ScheduleError `invalidSchedule`
 */
export function scheduleFields(input: ScheduleInput): ScheduleFields {
  const fields = typeof input === 'string' ? fieldsOfText(input) : checkedFields(input);
  const interval = fields.cron === undefined ? undefined : afterKeyword(fields.cron, '@every');
  if (interval === undefined) return fields;
  const { cron: _, ...others } = fields;
  return { ...others, every: interval };
}

function fieldsOfText(text: string): ScheduleFields {
  const every = afterKeyword(text, 'every');
  if (every !== undefined) return { every };
  const at = afterKeyword(text, 'at');
  return at === undefined ? { cron: text } : { at };
}

/** What follows a keyword and white space, or undefined when the text does not begin so. */
function afterKeyword(text: string, keyword: string): string | undefined {
  const [first = '', ...rest] = text
    .slice(0, MAX_TEXT + 1)
    .trim()
    .split(/\s+/);
  return first.toLowerCase() === keyword && text.length <= MAX_TEXT ? rest.join(' ') : undefined;
}

/** Longer texts are no `every` and no `at`: they go to the reading of cron patterns, which refuses them. */
const MAX_TEXT = 256;

function checkedFields(input: ScheduleFields): ScheduleFields {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new ScheduleError('invalidSchedule', `${quoted(input)} is not a schedule; allowed are ${FORMS}`);
  }
  for (const key of Object.keys(input)) {
    if (!KEYS.includes(key)) {
      const hint = didYouMean(nearest(key, KEYS));
      throw new ScheduleError(
        'invalidSchedule',
        `${quoted(key)} is not a field of a schedule; allowed are ${KEYS.join(', ')}${hint}`,
        key,
      );
    }
  }
  for (const key of ['cron', 'every', 'at', 'timezone', 'jitter'] as const) {
    if (input[key] !== undefined && typeof input[key] !== 'string') {
      throw new ScheduleError('invalidSchedule', `${key}: ${quoted(input[key])} is not a text`, key);
    }
  }
  const chosen = (['cron', 'every', 'at'] as const).filter((key) => input[key] !== undefined);
  if (chosen.length !== 1) {
    const found = chosen.length === 0 ? 'none of them' : chosen.join(' and ');
    throw new ScheduleError(
      'invalidSchedule',
      `a schedule has exactly one of cron, every and at; this one has ${found}`,
      chosen[1],
    );
  }
  if (input.anchor !== undefined && (input.every === undefined || !Number.isSafeInteger(input.anchor))) {
    const allowed = 'allowed are whole epoch milliseconds, beside every';
    throw new ScheduleError(
      'invalidSchedule',
      `anchor: ${quoted(input.anchor)} does not fit here; ${allowed}`,
      'anchor',
    );
  }
  return input;
}

function durationOf(field: 'every' | 'jitter', text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    if (!(error instanceof ScheduleError)) throw error;
    throw new ScheduleError(error.code, `${field}: ${error.message}`, field);
  }
}

const RFC_3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?$/i;

function instantOf(text: string, timezone: string): number {
  const found = text.length > 64 ? null : RFC_3339.exec(text);
  if (found === null) throw invalidInstant(text);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found
    .slice(1, 7)
    .map((digits) => Number(digits ?? 0));
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month))
    throw invalidInstant(text, '; there is no such day');
  if (hour > 23 || minute > 59 || second > 59) throw invalidInstant(text, '; there is no such time of day');
  if (year < 1970) throw invalidInstant(text, '; the first year is 1970');
  const wall =
    dayNumberOf(year, month, day) * DAY_MS +
    hour * HOUR_MS +
    minute * MINUTE_MS +
    second * SECOND_MS +
    Number((found[7] ?? '').padEnd(3, '0').slice(0, 3));
  const offset = found[8];
  if (offset === undefined) return instantOfWall(timezone, wall);
  if (offset === 'Z' || offset === 'z') return wall;
  const hours = Number(offset.slice(1, 3));
  const minutes = Number(offset.slice(4, 6));
  if (hours > 23 || minutes > 59) throw invalidInstant(text, '; there is no such offset');
  return wall - (offset.startsWith('-') ? -1 : 1) * (hours * HOUR_MS + minutes * MINUTE_MS);
}

function invalidInstant(text: string, hint = ''): ScheduleError {
  const allowed =
    'RFC 3339 such as "2026-12-24T08:00Z" or "2026-12-24T09:00:00+01:00", or without an offset for the zone\'s own time';
  return new ScheduleError(
    'invalidInstant',
    `at: ${quoted(text)} is not a time; allowed are ${allowed}${hint}`,
    'at',
  );
}
