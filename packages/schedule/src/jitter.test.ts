import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jitterOf, parseSchedule } from './index.ts';

const context = { timezone: 'UTC', spreadKey: 'job' };
const schedule = parseSchedule({ cron: '* * * * *', jitter: '9ms' }, context);

test('jitter is spread evenly from nothing to its whole length', () => {
  const counts = new Array<number>(10).fill(0);
  for (let run = 0; run < 10_000; run++) {
    const jitter = jitterOf(schedule, `job-${run % 10}`, Math.floor(run / 10) * 60_000);
    counts[jitter] = (counts[jitter] ?? Number.NaN) + 1;
  }
  for (const count of counts) assert.ok(count > 850 && count < 1_150, String(counts));
});

test('jitter is the same for one job and instant, and differs between jobs and instants', () => {
  const long = parseSchedule({ cron: '* * * * *', jitter: '365d' }, context);
  assert.equal(jitterOf(long, 'job', 60_000), jitterOf(long, 'job', 60_000));
  const jitters = [
    jitterOf(long, 'job', 60_000),
    jitterOf(long, 'bob', 60_000),
    jitterOf(long, 'job', 120_000),
  ];
  assert.equal(new Set(jitters).size, 3);
});

test('jitter keeps the values that were chosen before', () => {
  const hour = parseSchedule({ cron: '* * * * *', jitter: '1h' }, context);
  assert.deepEqual(
    [0, 60_000, 1_800_000_000_000].map((instant) => jitterOf(hour, 'job-1', instant)),
    [3_516_244, 3_347_080, 865_950],
  );
});

test('without jitter a run is due at its instant', () => {
  assert.equal(jitterOf(parseSchedule('* * * * *', context), 'job', 0), 0);
});
