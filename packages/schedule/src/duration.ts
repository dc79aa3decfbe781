import { didYouMean, quoted, ScheduleError } from './error.ts';

const UNITS = { w: 604_800_000, d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
type Unit = keyof typeof UNITS;
const UNIT_NAMES = Object.keys(UNITS) as Unit[];

/** The longest duration, ten years of 365 days. */
export const MAX_DURATION_MS = 3_650 * UNITS.d;

const ALLOWED =
  'whole numbers with the units w, d, h, m, s, ms, largest first, such as "90s", "15m" or "1h30m"';
const MAX_LENGTH = 64;

/**
 * Reads a duration such as `90s`, `15m`, `1h30m`, `2d`, `500ms` or `1w`, and gives milliseconds, 0 to ten years.
 * @throws ScheduleError `invalidDuration`
 */
export function parseDuration(text: string): number {
  if (typeof text !== 'string' || text.length > MAX_LENGTH || !/^(\d+[a-zA-Zµ]+)+$/.test(text)) {
    throw invalid(text, suggestion(text));
  }
  let total = 0;
  let lastUnit = -1;
  for (const [, digits = '', name = ''] of text.matchAll(/(\d+)(\D+)/g)) {
    const unit = UNIT_NAMES.indexOf(name as Unit);
    if (unit < 0) throw invalid(text, unitSuggestion(text, name));
    if (unit <= lastUnit) throw invalid(text, '; each unit may stand once, the largest first');
    lastUnit = unit;
    total += Number(digits) * UNITS[name as Unit];
  }
  if (total > MAX_DURATION_MS) throw invalid(text, '; the longest duration is 3650d (ten years)');
  return total;
}

/**
 * The canonical text of a duration in milliseconds: what `parseDuration` reads back as the same number.
 * Weeks appear only when nothing is left over: 604800000 is `1w`, one hour more is `7d1h`.
 */
export function formatDuration(ms: number): string {
  if (!Number.isSafeInteger(ms) || ms < 0) throw invalid(ms, '');
  if (ms === 0) return '0s';
  if (ms % UNITS.w === 0) return `${ms / UNITS.w}w`;
  let rest = ms;
  let text = '';
  for (const unit of UNIT_NAMES) {
    if (unit === 'w') continue;
    const whole = Math.floor(rest / UNITS[unit]);
    if (whole > 0) text += `${whole}${unit}`;
    rest -= whole * UNITS[unit];
  }
  return text;
}

function invalid(value: unknown, hint: string): ScheduleError {
  return new ScheduleError(
    'invalidDuration',
    `${quoted(value)} is not a duration: allowed are ${ALLOWED}${hint}`,
  );
}

function suggestion(text: unknown): string {
  if (typeof text !== 'string' || text.length > MAX_LENGTH) return '';
  if (text.startsWith('-')) return '; a duration is never negative';
  if (/^\d+$/.test(text)) return didYouMean(`${text}s`);
  const compact = text.replaceAll(/\s+/g, '').toLowerCase();
  return compact !== text && /^(\d+(w|d|h|m|s|ms))+$/.test(compact) ? didYouMean(compact) : '';
}

const UNIT_WORDS: readonly (readonly [RegExp, Unit])[] = [
  [/^(w|weeks?)$/i, 'w'],
  [/^(d|days?)$/i, 'd'],
  [/^(h|hrs?|hours?)$/i, 'h'],
  [/^(m|mins?|minutes?)$/i, 'm'],
  [/^(s|secs?|seconds?)$/i, 's'],
  [/^(ms|msecs?|millis|milliseconds?)$/i, 'ms'],
];

function unitSuggestion(text: string, name: string): string {
  if (/^(mo|mon|months?|y|yrs?|years?)$/i.test(name)) {
    return '; months and years have no fixed length, so say days, or use a cron pattern';
  }
  const unit = UNIT_WORDS.find(([word]) => word.test(name))?.[1];
  return unit === undefined ? '' : didYouMean(text.replace(name, unit));
}
