/**
 * When jobs run: schedules are read, and their instants found in any zone. Pure: no clock, no I/O.
 * Instants are integer epoch milliseconds. Patterns and clock changes follow Debian's cron:
 * - When a day field starts with `*`, a day must match both day fields, else one of them is enough.
 * - A pattern whose minute or hour field starts with `*` follows the clocks on the wall: skipped times do not exist,
 *   repeated times come again. Any other pattern has each of its times once: skipped ones together when the gap ends,
 *   repeated ones at their first occurrence.
 * - Intervals count elapsed time.
 */
export { countBetween } from './count.ts';
export { describe } from './describe.ts';
export { formatDuration, MAX_DURATION_MS, parseDuration } from './duration.ts';
export { ScheduleError, type ScheduleErrorCode } from './error.ts';
export { jitterOf } from './jitter.ts';
export { between, next, nextOf, previous } from './next.ts';
export {
  type AtSchedule,
  type CronSchedule,
  type EverySchedule,
  formatSchedule,
  parseSchedule,
  type Schedule,
  type ScheduleContext,
  type ScheduleFields,
  type ScheduleInput,
} from './schedule.ts';
export { type LocalParts, localParts, offsetAt, resolveZone } from './zone.ts';
