import type { JobDefinition, LocalTime } from '@rota/contract';
import { localParts, next, parseSchedule } from '@rota/schedule';

/** The nominal instant of a run, on a clock of the schedule that fired; of the first schedule, else of `timezone`, for other runs. */
export function localTimeOf(
  definition: Pick<JobDefinition, 'schedules' | 'name'>,
  run: { scheduledFor: number; jobId: string },
  timezone: string,
): LocalTime {
  const zone = zoneOf(definition, run) ?? timezone;
  const { minute, hour, day, month, weekday } = localParts(zone, run.scheduledFor);
  return { minute, hour, day, month, weekday, timezone: zone };
}

function zoneOf(
  { schedules }: Pick<JobDefinition, 'schedules'>,
  run: { scheduledFor: number; jobId: string },
): string | null {
  const [first] = schedules;
  if (!first || schedules.every(({ timezone }) => timezone === first.timezone))
    return first?.timezone ?? null;
  const fired = schedules.find((schedule) => {
    // An interval counts from its anchor, which no zone moves.
    if (schedule.every !== undefined) return false;
    const { jitterMs: _, ...input } = schedule;
    const parsed = parseSchedule(input, { timezone: schedule.timezone, spreadKey: run.jobId });
    return next(parsed, run.scheduledFor - 1) === run.scheduledFor;
  });
  return (fired ?? first).timezone;
}
