import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  among,
  change,
  cronText,
  cronWithSeconds,
  dateText,
  iso,
  monthText,
  parsed,
  weekdayText,
} from './draw.testing.ts';
import {
  between,
  countBetween,
  formatSchedule,
  next,
  nextOf,
  parseSchedule,
  previous,
  type Schedule,
  ScheduleError,
} from './index.ts';
import { bruteForce } from './oracle.testing.ts';

const HOUR = 3_600_000;
const DAY = 86_400_000;

function agreesWithOracle(cron: string, timezone: string, from: number, to: number): void {
  const context = { timezone, spreadKey: 'job' };
  const schedule = parsed(cron, context);
  const expected = bruteForce(cron, context, from, to);
  if (schedule === null) assert.deepEqual(expected, []);
  else {
    assert.deepEqual(iso(between([schedule], from, to, 1e6)), iso(expected));
    assert.equal(countBetween([schedule], from, to), expected.length);
  }
}

test('instants around every kind of change are those of the brute-force oracle', () => {
  fc.assert(
    fc.property(cronText, change, fc.integer({ min: 1, max: 40 }), (cron, [zone, at], hours) => {
      const middle = Date.parse(at);
      agreesWithOracle(cron, zone, middle - hours * HOUR, middle + hours * HOUR);
    }),
    { numRuns: 2_000 },
  );
});

test('patterns with seconds have the instants of the brute-force oracle', () => {
  fc.assert(
    fc.property(
      cronWithSeconds,
      change,
      fc.integer({ min: 1, max: 3 * HOUR }),
      (cron, [zone, at], length) => {
        const middle = Date.parse(at);
        agreesWithOracle(cron, zone, middle - length, middle + length);
      },
    ),
    { numRuns: 250 },
  );
});

test('patterns of days have the instants of the brute-force oracle through leap years', () => {
  const daily = fc.tuple(dateText, monthText, weekdayText).map((fields) => ['30 2', ...fields].join(' '));
  const start = fc.integer({ min: Date.UTC(1996, 0), max: Date.UTC(2039, 0) });
  fc.assert(
    fc.property(daily, start, among('UTC', 'Europe/Berlin'), (cron, from, zone) => {
      const start = Math.floor(from / HOUR) * HOUR;
      agreesWithOracle(cron, zone, start, start + 60 * DAY);
    }),
    { numRuns: 120 },
  );
});

test('next and previous undo each other', () => {
  fc.assert(
    fc.property(
      fc.oneof(cronText, cronWithSeconds),
      change,
      fc.integer({ min: -DAY, max: DAY }),
      (cron, [zone, at], shift) => {
        const schedule = parsed(cron, { timezone: zone, spreadKey: 'job' });
        const moment = Date.parse(at) + shift;
        if (schedule === null) return;
        const later = next(schedule, moment);
        if (later !== null) {
          assert.ok(later > moment);
          assert.equal(previous(schedule, later + 1), later);
          assert.equal(next(schedule, later - 1), later);
          const before = previous(schedule, later);
          if (before !== null) {
            assert.ok(before <= moment);
            assert.equal(next(schedule, before), later);
          }
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

const everyText = among('every 1s', 'every 90s', 'every 15m', 'every 1500ms', 'every 7h', '@every 3h');
const someSchedule = fc.oneof(
  cronText,
  cronWithSeconds,
  everyText,
  fc.constant('at 2026-03-08T03:00:00-04:00'),
);

/** Some schedules of one job, each with a zone of its own, mostly the same. */
const someSchedules = fc.array(
  fc.tuple(someSchedule, fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, change)),
  {
    minLength: 1,
    maxLength: 4,
  },
);

function parsedList(
  list: readonly (readonly [string, readonly [string, string] | null])[],
  zone: string,
): Schedule[] {
  return list
    .map(([text, other]) => parsed(text, { timezone: other?.[0] ?? zone, spreadKey: 'job' }))
    .filter((schedule) => schedule !== null);
}

test('the instants of a list are the distinct instants of its schedules, in order', () => {
  const windows = fc.integer({ min: 1, max: 2 * HOUR });
  fc.assert(
    fc.property(someSchedules, change, windows, windows, (list, [zone, at], before, after) => {
      const schedules = parsedList(list, zone);
      const from = Date.parse(at) - before;
      const to = Date.parse(at) + after;
      const apart = schedules.flatMap((schedule) => between([schedule], from, to, 1e6));
      const expected = [...new Set(apart)].sort((one, other) => one - other);
      assert.deepEqual(between(schedules, from, to, 1e6), expected);
      assert.equal(countBetween(schedules, from, to), expected.length);
    }),
    { numRuns: 250 },
  );
});

test('a window lists what repeated next gives, up to its limit', () => {
  fc.assert(
    fc.property(someSchedules, change, fc.integer({ min: 0, max: 50 }), (list, [zone, at], limit) => {
      const schedules = parsedList(list, zone);
      const from = Date.parse(at) - HOUR;
      const to = from + 30 * DAY;
      const expected: number[] = [];
      for (let last = from; expected.length < limit; ) {
        const first = nextOf(schedules, last);
        if (first === null || first.scheduledFor > to) break;
        last = first.scheduledFor;
        expected.push(last);
      }
      assert.deepEqual(between(schedules, from, to, limit), expected);
    }),
    { numRuns: 250 },
  );
});

test('counts of long windows add up', () => {
  const month = 31 * DAY;
  fc.assert(
    fc.property(
      someSchedules,
      change,
      fc.array(fc.integer({ min: 0, max: month }), { maxLength: 4 }),
      (list, [zone], cuts) => {
        const schedules = parsedList(list.slice(0, 2), zone);
        const start = Date.UTC(2026, 9, 15);
        const edges = [0, ...cuts, month].sort((one, other) => one - other).map((cut) => start + cut);
        const parts = edges
          .slice(1)
          .map((edge, index) => countBetween(schedules, edges[index] ?? edge, edge));
        assert.equal(
          parts.reduce((sum, part) => sum + part, 0),
          countBetween(schedules, start, start + month),
        );
      },
    ),
    { numRuns: 60 },
  );
});

test('a parsed schedule survives being written and read again', () => {
  const jitter = fc.option(among('0s', '90s', '1h30m', '2d'), { nil: undefined });
  const spread = among('H H * * *', 'H/15 * * * *', 'H(0-29)/10 H(1-5) * * H', '0~30 ~ 1~15 * *');
  fc.assert(
    fc.property(
      fc.oneof(someSchedule, spread),
      change,
      jitter,
      fc.string(),
      (text, [timezone], jitter, spreadKey) => {
        const context = { timezone, spreadKey };
        const first = parsed(text, context);
        if (first === null) return;
        const schedule = parseSchedule({ ...formatSchedule(first), jitter }, context);
        const again = parseSchedule(formatSchedule(schedule), { timezone: 'UTC', spreadKey });
        assert.deepEqual(again, schedule);
        assert.deepEqual({ ...first, jitterMs: schedule.jitterMs }, schedule);
      },
    ),
    { numRuns: 500 },
  );
});

test('any text is parsed or refused with a clear error, and never anything else', () => {
  const letters = fc.string({
    unit: fc.constantFrom(...'0123456789*/-,?#LWH~@ ()MONJANevryat:TZ+.\n\u0000é'),
  });
  const mixed = fc.array(fc.oneof(letters, cronText), { maxLength: 7 }).map((parts) => parts.join(' '));
  fc.assert(
    fc.property(fc.oneof(letters, mixed, fc.string()), (text) => {
      try {
        next(parseSchedule(text, { timezone: 'Europe/Berlin', spreadKey: 'job' }), 0);
      } catch (error) {
        assert.ok(error instanceof ScheduleError, String(error));
        assert.ok(error.message.length < 700, error.message);
      }
    }),
    { numRuns: 3_000 },
  );
});
