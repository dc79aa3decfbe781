import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describe, ScheduleError, type ScheduleInput } from './index.ts';

const context = { timezone: 'Europe/Berlin', spreadKey: 'job-1' };

test('a schedule is said in plain English, with its zone', () => {
  const table: readonly (readonly [ScheduleInput, string])[] = [
    ['30 2 * * *', 'At 02:30, Europe/Berlin'],
    [{ cron: '@daily', timezone: 'UTC', jitter: '5m' }, 'At 00:00, UTC, up to 5 minutes later'],
    ['*/10 * * * * *', 'Every 10 seconds, Europe/Berlin'],
    ['0 0 13 * FRI', 'At 00:00, on day 13 of the month, or on Friday, Europe/Berlin'],
    ['0 0 */2 * MON', 'At 00:00, every 2 days in a month, only on Monday, Europe/Berlin'],
    ['0 0 LW * *', 'At 00:00, on the last weekday of the month, Europe/Berlin'],
    ['0 0 1W,15W * *', 'By the cron pattern 0 0 1W,15W * *, Europe/Berlin'],
    ['every 90s', 'Every 1 minute 30 seconds'],
    ['@every 2h', 'Every 2 hours'],
    ['every 1d', 'Every day'],
    ['at 2026-12-24T08:00', 'Once, on 2026-12-24 at 08:00, Europe/Berlin'],
    ['at 2026-12-24T08:00Z', 'Once, on 2026-12-24 at 09:00, Europe/Berlin'],
  ];
  for (const [input, text] of table) assert.equal(describe(input, context), text);
});

test('what a spread chose is said', () => {
  assert.match(describe('H 3 * * *', context), /^At 03:\d\d, Europe\/Berlin$/);
});

test('a faulty schedule has no description', () => {
  assert.throws(() => describe('61 * * * *', context), ScheduleError);
});
