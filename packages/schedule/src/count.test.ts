import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { test } from 'node:test';
import { countBetween, parseSchedule, type ScheduleInput } from './index.ts';

const DAY = 86_400_000;
const from = Date.parse('2026-02-20T00:00Z');

function count(inputs: readonly ScheduleInput[], days: number): number {
  const schedules = inputs.map((input) =>
    parseSchedule(input, { timezone: 'America/New_York', spreadKey: 'job' }),
  );
  return countBetween(schedules, from, from + days * DAY);
}

test('windows are counted without walking through them', () => {
  assert.equal(count(['* * * * * *'], 30), 30 * 86_400);
  const start = performance.now();
  for (let round = 0; round < 20; round++) count(['* * * * * *'], 30);
  assert.ok((performance.now() - start) / 20 < 5);
});

test('two schedules on one instant count once', () => {
  assert.equal(count(['0 * * * *', '0 */2 * * *', '@every 1h'], 10), 240);
  assert.equal(count(['* * * * * *', 'every 1s'], 30), 30 * 86_400);
  assert.equal(count(['0 0 * * *', { cron: '0 0 * * *', timezone: 'Europe/Berlin' }], 10), 20);
  assert.equal(count(['every 1500ms', 'every 1s'], 1), 86_400 + 28_800);
});

test('an empty list and an empty window count nothing', () => {
  const schedule = parseSchedule('* * * * *', { timezone: 'UTC', spreadKey: 'job' });
  assert.equal(countBetween([], 0, DAY), 0);
  assert.equal(countBetween([schedule], DAY, DAY), 0);
  assert.equal(countBetween([schedule], DAY, 0), 0);
});

test('the ends of a window: the first is outside, the last inside', () => {
  const schedule = parseSchedule('0 * * * *', { timezone: 'UTC', spreadKey: 'job' });
  assert.equal(countBetween([schedule], 0, 3_600_000), 1);
  assert.equal(countBetween([schedule], -1, 3_600_000), 2);
  assert.equal(countBetween([schedule], 0, 3_599_999), 0);
});
