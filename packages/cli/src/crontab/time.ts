import { parseSchedule, ScheduleError } from '@rota/schedule';

const KEYWORDS = ['@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually'];
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

/** Why an entry's time cannot be a schedule, with the remedy; undefined when it can. */
export function timeFault(
  schedule: { cron: string; timezone?: string },
  spreadKey: string,
): string | undefined {
  const { cron, timezone } = schedule;
  if (cron === '@reboot') {
    return '@reboot is the start of the machine, which is no time: leave this line to cron, or make it a systemd service that is enabled at boot';
  }
  if (cron.startsWith('@') && !KEYWORDS.includes(cron)) {
    return `"${cron}" is not a time that cron knows; allowed are ${KEYWORDS.join(', ')}`;
  }
  try {
    parseSchedule(schedule, { timezone: timezone ?? 'UTC', spreadKey });
    return undefined;
  } catch (error) {
    if (error instanceof ScheduleError) return error.message;
    throw error;
  }
}

/** The first range of a pattern whose end comes before its start, as `fri-sun` or `22-4`: cron takes it as empty. */
export function backwardRange(pattern: string): string | undefined {
  return pattern.split(/[ ,]/).find((range) => {
    const [from, to] = range.replace(/\/.*/, '').split('-').map(position);
    return from !== undefined && to !== undefined && from > to;
  });
}

function position(value: string): number {
  if (/^\d+$/.test(value)) return Number(value);
  const word = value.toLowerCase();
  return Math.max(WEEKDAYS.indexOf(word), MONTHS.indexOf(word));
}
