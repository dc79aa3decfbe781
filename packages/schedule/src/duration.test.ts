import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatDuration, MAX_DURATION_MS, parseDuration, ScheduleError } from './index.ts';

test('durations are read as milliseconds', () => {
  const table = {
    '90s': 90_000,
    '15m': 900_000,
    '1h30m': 5_400_000,
    '2d': 172_800_000,
    '500ms': 500,
    '1w': 604_800_000,
    '1w2d3h4m5s6ms': 788_645_006,
    '0s': 0,
    '3650d': MAX_DURATION_MS,
  };
  for (const [text, ms] of Object.entries(table)) assert.equal(parseDuration(text), ms, text);
});

test('durations are written in their shortest usual form', () => {
  const table = {
    '1m30s': 90_000,
    '15m': 900_000,
    '1w': 604_800_000,
    '7d1h': 608_400_000,
    '10d': 864_000_000,
    '90d': 7_776_000_000,
    '0s': 0,
    '1s500ms': 1_500,
  };
  for (const [text, ms] of Object.entries(table)) assert.equal(formatDuration(ms), text);
});

test('writing and reading a duration gives it back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: MAX_DURATION_MS }), (ms) =>
      assert.equal(parseDuration(formatDuration(ms)), ms),
    ),
  );
});

test('faulty durations are refused with what is allowed and the nearest right form', () => {
  const table: readonly (readonly [string, RegExp])[] = [
    ['', /^"" is not a duration: allowed are .*"90s"/],
    ['-5m', /never negative$/],
    ['10', /did you mean "10s"\?$/],
    ['1h 30m', /did you mean "1h30m"\?$/],
    ['5min', /did you mean "5m"\?$/],
    ['2hours', /did you mean "2h"\?$/],
    ['5M', /did you mean "5m"\?$/],
    ['3months', /no fixed length/],
    ['1y', /no fixed length/],
    ['30m1h', /largest first$/],
    ['1h1h', /largest first$/],
    ['3651d', /ten years/],
    [`${'9'.repeat(60)}d`, /ten years/],
    ['1.5h', /not a duration/],
    ['1e3s', /not a duration/],
    ['s', /not a duration/],
    ['1h'.repeat(1e5), /not a duration/],
  ];
  for (const [text, message] of table) {
    assert.throws(
      () => parseDuration(text),
      (error) =>
        error instanceof ScheduleError && error.code === 'invalidDuration' && message.test(error.message),
      text.slice(0, 40),
    );
  }
  for (const ms of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
    assert.throws(() => formatDuration(ms), ScheduleError);
});
