// The slow second opinion for tests: it walks through time and asks Intl at each step. It shares no code with the
// engine: its own reading of patterns, its own calendar (Date), its own way of learning offsets.
import type { ScheduleContext, ScheduleFields, ScheduleInput } from './schedule.ts';

const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 86_400_000;

/**
 * All instants of a schedule with from < instant <= to, in order, found without cleverness.
 * It knows every form but `H` and `~`, whose values are nobody's business; offsets must be whole minutes.
 */
export function bruteForce(
  input: ScheduleInput,
  context: ScheduleContext,
  from: number,
  to: number,
): number[] {
  const fields = typeof input === 'string' ? objectForm(input) : input;
  const zone = fields.timezone ?? context.timezone;
  const cron = fields.cron?.trim() ?? '';
  if (fields.every !== undefined) return everyInstants(fields.every, fields.anchor ?? 0, from, to);
  if (fields.at !== undefined) return [atInstant(fields.at, zone)].filter((at) => from < at && at <= to);
  if (/^@every\s/i.test(cron))
    return everyInstants(cron.slice('@every'.length), fields.anchor ?? 0, from, to);
  return cronInstants(cron, zone, from, to);
}

function objectForm(text: string): ScheduleFields {
  const trimmed = text.trim();
  if (/^every\s/i.test(trimmed)) return { every: trimmed.slice('every'.length) };
  if (/^at\s/i.test(trimmed)) return { at: trimmed.slice('at'.length) };
  return { cron: trimmed };
}

function everyInstants(text: string, anchor: number, from: number, to: number): number[] {
  let length = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|[wdhms])/g)) {
    length +=
      Number(count) *
      ({ ms: 1, s: SECOND, m: MINUTE, h: HOUR, d: DAY, w: 7 * DAY }[unit ?? ''] ?? Number.NaN);
  }
  const instants: number[] = [];
  let at = anchor + length * Math.max(1, Math.floor((from - anchor) / length) - 1);
  for (; at <= to; at += length) if (at > from) instants.push(at);
  return instants;
}

function atInstant(text: string, zone: string): number {
  const trimmed = text.trim().replace(' ', 'T');
  if (/(Z|[+-]\d\d:\d\d)$/i.test(trimmed)) return Date.parse(trimmed.toUpperCase());
  const wall = Date.parse(`${trimmed}Z`);
  const rest = wall % MINUTE;
  let at = wall - rest - 2 * DAY;
  while (at + offset(zone, at) < wall - rest) at += MINUTE;
  return at + offset(zone, at) > wall - rest ? at : at + rest;
}

/** One pass over time, a minute (or second) a step, with a mark of how far the clocks on the wall have come. */
function cronInstants(text: string, zone: string, from: number, to: number): number[] {
  const { matches, step, followsWall } = readCron(text);
  const instants: number[] = [];
  let at = Math.floor(from / MINUTE) * MINUTE - (followsWall ? 0 : 2 * DAY);
  let notYetShown = at + offset(zone, at);
  for (; at <= to; at += step) {
    const shown = at + offset(zone, at);
    let fires = followsWall && matches(shown);
    for (; notYetShown <= shown; notYetShown += step) {
      if (!followsWall && matches(notYetShown)) fires = true;
    }
    if (fires && at > from) instants.push(at);
  }
  return instants;
}

const MACROS: Record<string, string> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};
const MONTHS = 'JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC';
const WEEKDAYS = 'SUN MON TUE WED THU FRI SAT';

interface Reading {
  matches(wall: number): boolean;
  step: number;
  followsWall: boolean;
}

function readCron(text: string): Reading {
  const fields = (MACROS[text.toLowerCase()] ?? text).toUpperCase().split(/\s+/);
  const [second = '', minute = '', hour = '', date = '', month = '', weekday = ''] =
    fields.length === 5 ? ['0', ...fields] : fields;
  const named = numbered(month, MONTHS, 1);
  const days = numbered(weekday, WEEKDAYS, 0);
  const seconds = valuesOf(second, 0, 59);
  const minutes = valuesOf(minute, 0, 59);
  const hours = valuesOf(hour, 0, 23);
  const months = valuesOf(named, 1, 12);
  const oneIsEnough = !/^[*?]/.test(date) && !/^[*?]/.test(weekday);
  const known = new Map<number, boolean>();

  function dayMatches(dayNumber: number): boolean {
    const day = new Date(dayNumber * DAY);
    if (!months.has(day.getUTCMonth() + 1)) return false;
    const byDate = date.split(',').some((item) => dateMatches(item, day));
    const byWeekday = days.split(',').some((item) => weekdayMatches(item, day));
    return oneIsEnough ? byDate || byWeekday : byDate && byWeekday;
  }

  return {
    matches(wall) {
      const time = new Date(wall);
      if (!minutes.has(time.getUTCMinutes()) || !hours.has(time.getUTCHours())) return false;
      if (!seconds.has(time.getUTCSeconds())) return false;
      const dayNumber = Math.floor(wall / DAY);
      let matches = known.get(dayNumber);
      if (matches === undefined) {
        matches = dayMatches(dayNumber);
        known.set(dayNumber, matches);
      }
      return matches;
    },
    step: second === '0' ? MINUTE : SECOND,
    followsWall: minute.startsWith('*') || hour.startsWith('*'),
  };
}

function numbered(field: string, names: string, first: number): string {
  return names.split(' ').reduce((text, name, index) => text.replaceAll(name, String(index + first)), field);
}

function dateMatches(item: string, day: Date): boolean {
  const date = day.getUTCDate();
  const last = new Date(Date.UTC(day.getUTCFullYear(), day.getUTCMonth() + 1, 0));
  if (item === '?') return true;
  if (item === 'L') return date === last.getUTCDate();
  if (item === 'LW') {
    while (isWeekend(last)) last.setUTCDate(last.getUTCDate() - 1);
    return date === last.getUTCDate();
  }
  if (item.startsWith('L-')) return date === last.getUTCDate() - Number(item.slice(2));
  if (item.endsWith('W')) {
    const wanted = Number(item.slice(0, -1));
    if (wanted > last.getUTCDate() || isWeekend(day)) return false;
    const workdays: number[] = [];
    for (let other = 1; other <= last.getUTCDate(); other++) {
      if (!isWeekend(new Date(Date.UTC(day.getUTCFullYear(), day.getUTCMonth(), other))))
        workdays.push(other);
    }
    workdays.sort((one, other) => Math.abs(one - wanted) - Math.abs(other - wanted));
    return workdays[0] === date;
  }
  return valuesOf(item, 1, 31).has(date);
}

function weekdayMatches(item: string, day: Date): boolean {
  if (item === '?') return true;
  const date = day.getUTCDate();
  const weekday = day.getUTCDay();
  const [wanted = '', nth] = item.split('#');
  if (nth !== undefined) return Number(wanted) % 7 === weekday && Math.ceil(date / 7) === Number(nth);
  if (item.endsWith('L')) {
    const inAWeek = new Date(day.getTime() + 7 * DAY);
    return Number(item.slice(0, -1)) % 7 === weekday && inAWeek.getUTCMonth() !== day.getUTCMonth();
  }
  const values = valuesOf(item, 0, 6);
  return values.has(weekday) || (weekday === 0 && values.has(7));
}

function isWeekend(day: Date): boolean {
  return day.getUTCDay() === 0 || day.getUTCDay() === 6;
}

function valuesOf(field: string, min: number, max: number): Set<number> {
  const values = new Set<number>();
  for (const item of field.split(',')) {
    const [range = '', step] = item.split('/');
    const [first = '', last] = range === '*' ? [String(min), String(max)] : range.split('-');
    let value = Number(first);
    const end = last === undefined ? (step === undefined ? value : max) : Number(last);
    if (Number.isNaN(value) || Number.isNaN(end)) throw new Error(`the oracle cannot read ${item}`);
    if (value === 7 && max === 6 && end < value) value = 0;
    for (let count = 0; ; count++) {
      if (count % Number(step ?? 1) === 0) values.add(value);
      if (value === end) break;
      value = value >= max && end <= max ? min : value + 1;
    }
  }
  return values;
}

const zoneClocks = new Map<string, { clock: Intl.DateTimeFormat; offsets: Map<number, number> }>();

/** Asks Intl once an hour where the hour begins and ends alike, else at each minute. */
function offset(zone: string, instant: number): number {
  const hour = Math.floor(instant / HOUR) * HOUR;
  const atStart = shownOffset(zone, hour);
  return atStart === shownOffset(zone, hour + HOUR)
    ? atStart
    : shownOffset(zone, Math.floor(instant / MINUTE) * MINUTE);
}

function shownOffset(zone: string, instant: number): number {
  let known = zoneClocks.get(zone);
  if (known === undefined) {
    const clock = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' });
    known = { clock, offsets: new Map() };
    zoneClocks.set(zone, known);
  }
  let offset = known.offsets.get(instant);
  if (offset === undefined) {
    const [, sign, hours, minutes, seconds] =
      /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(known.clock.format(instant)) ?? [];
    const size = Number(hours ?? 0) * HOUR + Number(minutes ?? 0) * MINUTE + Number(seconds ?? 0) * SECOND;
    offset = sign === '-' ? -size : size;
    known.offsets.set(instant, offset);
  }
  return offset;
}
