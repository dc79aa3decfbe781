import { distance } from 'fastest-levenshtein';

/** Every way in which a text of a schedule can be wrong. Stable: callers may switch on it. */
export type ScheduleErrorCode =
  | 'invalidDuration'
  | 'invalidCron'
  | 'impossibleCron'
  | 'invalidInstant'
  | 'invalidSchedule'
  | 'unknownTimezone'
  | 'notSupported';

/** What is wrong with a schedule. The message names the field, the value, what is allowed and the nearest right form. */
export class ScheduleError extends Error {
  override readonly name = 'ScheduleError';
  readonly code: ScheduleErrorCode;
  /** The faulty part: a key of the schedule (`cron`, `every`, `timezone`, …) or a cron field (`minute`, …). */
  readonly field?: string;

  constructor(code: ScheduleErrorCode, message: string, field?: string) {
    super(message);
    this.code = code;
    if (field !== undefined) this.field = field;
  }
}

const SHOWN_LENGTH = 60;

/** A value as an error shows it: quoted, and cut when it is long. */
export function quoted(value: unknown): string {
  const text = typeof value === 'string' ? value : String(JSON.stringify(value));
  return JSON.stringify(text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text);
}

/** The candidate that is nearest to a mistyped name, or undefined when none is near. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  const wanted = name.slice(0, SHOWN_LENGTH).toLowerCase();
  let best: string | undefined;
  let bestDistance = (wanted.length < 4 ? 1 : Math.max(2, Math.floor(wanted.length / 3))) + 1;
  for (const candidate of candidates) {
    const away = distance(wanted, candidate.toLowerCase());
    if (away < bestDistance) {
      best = candidate;
      bestDistance = away;
    }
  }
  return best;
}

/** The end of an error's message that offers a candidate, or nothing. */
export function didYouMean(candidate: string | undefined): string {
  return candidate === undefined ? '' : `; did you mean ${JSON.stringify(candidate)}?`;
}
