import assert from 'node:assert/strict';
import { test } from 'node:test';
import { between, next, nextOf, parseSchedule, previous } from './index.ts';

test('elapsed time takes no notice of the clocks on the wall', () => {
  const schedule = parseSchedule(
    { every: '1h', anchor: Date.parse('2026-11-01T00:10-04:00') },
    { timezone: 'America/New_York', spreadKey: 'job' },
  );
  const instants = between(
    [schedule],
    Date.parse('2026-11-01T00:10-04:00'),
    Date.parse('2026-11-01T02:10-05:00'),
    10,
  );
  assert.deepEqual(
    instants.map((instant) => new Date(instant).toISOString()),
    ['2026-11-01T05:10:00.000Z', '2026-11-01T06:10:00.000Z', '2026-11-01T07:10:00.000Z'],
  );
});

test('a pattern whose times its zone always skips has no instants, and saying so takes no time', () => {
  const timezone = 'America/New_York';
  const schedule = parseSchedule('*/5 2 8-14 3 */7', { timezone, spreadKey: 'job' });
  assert.equal(next(schedule, Date.parse('2026-01-01T00:00Z')), null);
  assert.equal(previous(schedule, Date.parse('2086-01-01T00:00Z')), null);
});

test('the first schedule of a list has an instant that two of them share', () => {
  const context = { timezone: 'UTC', spreadKey: 'job' };
  const hourly = parseSchedule('@hourly', context);
  const daily = parseSchedule('@daily', context);
  const after = Date.parse('2026-01-01T23:30Z');
  const scheduledFor = Date.parse('2026-01-02T00:00Z');
  assert.deepEqual(nextOf([daily, hourly], after), { scheduledFor, schedule: daily });
  assert.deepEqual(nextOf([hourly, daily], after), { scheduledFor, schedule: hourly });
  assert.deepEqual(between([daily, hourly], after, scheduledFor, 10), [scheduledFor]);
  assert.equal(nextOf([], after), null);
});

test('intervals count from their anchor, and the anchor itself is no instant', () => {
  const schedule = parseSchedule({ every: '15m', anchor: 7_000 }, { timezone: 'UTC', spreadKey: 'job' });
  assert.equal(next(schedule, -1e9), 907_000);
  assert.equal(next(schedule, 7_000), 907_000);
  assert.equal(next(schedule, 907_000), 1_807_000);
  assert.equal(previous(schedule, 907_001), 907_000);
  assert.equal(previous(schedule, 907_000), null);
});

test('a single time comes once', () => {
  const schedule = parseSchedule('at 2026-12-24T08:00Z', { timezone: 'UTC', spreadKey: 'job' });
  const at = Date.parse('2026-12-24T08:00Z');
  assert.equal(next(schedule, at - 1), at);
  assert.equal(next(schedule, at), null);
  assert.equal(previous(schedule, at + 1), at);
  assert.equal(previous(schedule, at), null);
});

test('cron ends with the year 9999', () => {
  const schedule = parseSchedule('0 0 31 12 *', { timezone: 'UTC', spreadKey: 'job' });
  const last = Date.parse('9999-12-31T00:00Z');
  assert.equal(next(schedule, last - 1), last);
  assert.equal(next(schedule, last), null);
  assert.equal(previous(schedule, Number.POSITIVE_INFINITY), last);
  assert.equal(next(schedule, Number.NEGATIVE_INFINITY), Date.parse('1900-12-31T00:00Z'));
});
