import { chosenBelow } from './hash.ts';
import type { Schedule } from './schedule.ts';

/**
 * By how many milliseconds the run of an instant is due later: 0 to `jitterMs`, spread evenly over keys and instants,
 * and always the same for one key and one instant.
 */
export function jitterOf(schedule: Schedule, spreadKey: string, scheduledFor: number): number {
  return schedule.jitterMs === 0 ? 0 : chosenBelow(schedule.jitterMs + 1, `${spreadKey}@${scheduledFor}`);
}
