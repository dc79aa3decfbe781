import cronstrue from 'cronstrue';
import { cronFields, parsePattern } from './cron.ts';
import { formatDuration } from './duration.ts';
import { type AtSchedule, parseSchedule, type ScheduleContext, type ScheduleInput } from './schedule.ts';
import { localParts } from './zone.ts';

/**
 * A schedule in plain English, with its zone: "At 02:30, Europe/Berlin", "Every 15 minutes".
 * @throws ScheduleError as `parseSchedule` does
 */
export function describe(input: ScheduleInput, context: ScheduleContext): string {
  const schedule = parseSchedule(input, context);
  const jitter = schedule.jitterMs > 0 ? `, up to ${inWords(schedule.jitterMs)} later` : '';
  switch (schedule.kind) {
    case 'cron':
      return `${describeCron(schedule.source, context.spreadKey)}, ${schedule.timezone}${jitter}`;
    case 'every':
      // "Every hour", not "every 1 hour".
      return `Every ${inWords(schedule.everyMs).replace(/^1 (\w+)$/, '$1')}${jitter}`;
    case 'at':
      return `Once, on ${wallText(schedule)}, ${schedule.timezone}${jitter}`;
  }
}

const UNIT_WORDS: Readonly<Record<string, string>> = {
  w: 'week',
  d: 'day',
  h: 'hour',
  m: 'minute',
  s: 'second',
  ms: 'millisecond',
};

function inWords(ms: number): string {
  const parts = [...formatDuration(ms).matchAll(/(\d+)(\D+)/g)].map(([, count, unit = '']) => {
    return `${count} ${UNIT_WORDS[unit]}${count === '1' ? '' : 's'}`;
  });
  return parts.join(' ');
}

function wallText({ at, timezone }: AtSchedule): string {
  const { year, month, day, hour, minute, second } = localParts(timezone, at);
  const time = second === 0 ? [hour, minute] : [hour, minute, second];
  return `${year}-${twoDigits(month)}-${twoDigits(day)} at ${time.map(twoDigits).join(':')}`;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0');
}

function describeCron(text: string, spreadKey: string): string {
  const { bothDays } = parsePattern(text, spreadKey);
  const fields = cronFields(text, spreadKey).join(' ');
  try {
    const words = cronstrue.toString(fields, { use24HourTimeFormat: true, logicalAndDayFields: bothDays });
    return bothDays ? words : words.replace(', and on ', ', or on ');
  } catch {
    // Some lists of special days are beyond the library.
    return `By the cron pattern ${fields}`;
  }
}
