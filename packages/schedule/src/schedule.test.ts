import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSchedule, ScheduleError, type ScheduleInput } from './index.ts';

const context = { timezone: 'Europe/Berlin', spreadKey: 'job' };

test('a text is a cron pattern, an interval or a single time', () => {
  assert.equal(parseSchedule('30 2 * * *', context).kind, 'cron');
  assert.equal(parseSchedule('  @daily ', context).kind, 'cron');
  assert.deepEqual(parseSchedule('every 15m', context), {
    kind: 'every',
    timezone: 'Europe/Berlin',
    jitterMs: 0,
    source: '15m',
    everyMs: 900_000,
    anchor: 0,
  });
  assert.deepEqual(parseSchedule('@every  15m', context), parseSchedule('EVERY 15m', context));
  assert.deepEqual(parseSchedule('at 2026-12-24T08:00Z', context), {
    kind: 'at',
    timezone: 'Europe/Berlin',
    jitterMs: 0,
    source: '2026-12-24T08:00Z',
    at: Date.parse('2026-12-24T08:00Z'),
  });
});

test('an object adds zone, jitter and anchor', () => {
  const cron = parseSchedule({ cron: '30 2 * * *', timezone: 'Asia/Kathmandu', jitter: '5m' }, context);
  assert.equal(cron.timezone, 'Asia/Kathmandu');
  assert.equal(cron.jitterMs, 300_000);
  const every = parseSchedule({ every: '1h', anchor: 1_234 }, context);
  assert.ok(every.kind === 'every' && every.anchor === 1_234);
});

test('a time without an offset is on the wall of its zone', () => {
  const table: readonly (readonly [string, string, string])[] = [
    ['2026-12-24T08:00', 'Europe/Berlin', '2026-12-24T08:00+01:00'],
    ['2026-06-24 08:00:30', 'Europe/Berlin', '2026-06-24T08:00:30+02:00'],
    ['2026-03-08T02:30', 'America/New_York', '2026-03-08T03:00-04:00'],
    ['2026-11-01T01:30', 'America/New_York', '2026-11-01T01:30-04:00'],
    ['2011-12-30T12:00', 'Pacific/Apia', '2011-12-31T00:00+14:00'],
    ['2026-01-01T00:00:00.250', 'Pacific/Kiritimati', '2026-01-01T00:00:00.250+14:00'],
    ['2026-01-01T00:00', 'Etc/GMT+12', '2026-01-01T00:00-12:00'],
    ['2026-12-24T08:00:00.123456-05:30', 'UTC', '2026-12-24T13:30:00.123Z'],
    ['2026-12-24t08:00z', 'America/New_York', '2026-12-24T08:00Z'],
  ];
  for (const [at, timezone, instant] of table) {
    const schedule = parseSchedule({ at, timezone }, context);
    assert.ok(schedule.kind === 'at');
    assert.equal(new Date(schedule.at).toISOString(), new Date(instant).toISOString(), at);
  }
});

test('faulty schedules are refused by field', () => {
  const table: readonly (readonly [unknown, string, string | undefined, RegExp])[] = [
    [{ corn: '* * * * *' }, 'invalidSchedule', 'corn', /did you mean "cron"\?$/],
    [{}, 'invalidSchedule', undefined, /exactly one of cron, every and at; this one has none/],
    [{ cron: '* * * * *', every: '1h' }, 'invalidSchedule', 'every', /cron and every$/],
    [{ cron: 5 }, 'invalidSchedule', 'cron', /^cron: "5" is not a text/],
    [{ cron: '* * * * *', anchor: 0 }, 'invalidSchedule', 'anchor', /^anchor/],
    [{ every: '1h', anchor: 0.5 }, 'invalidSchedule', 'anchor', /^anchor: "0.5"/],
    [['* * * * *'], 'invalidSchedule', undefined, /is not a schedule/],
    [null, 'invalidSchedule', undefined, /is not a schedule/],
    [7, 'invalidSchedule', undefined, /is not a schedule/],
    [JSON.parse('{"cron":"* * * * *","__proto__":{}}'), 'invalidSchedule', '__proto__', /not a field/],
    ['every', 'invalidDuration', 'every', /^every: ""/],
    ['every -5m', 'invalidDuration', 'every', /never negative/],
    ['every 999ms', 'invalidSchedule', 'every', /too short; allowed are 1s and more/],
    ['every 11y', 'invalidDuration', 'every', /no fixed length/],
    [{ cron: '* * * * *', jitter: 'some' }, 'invalidDuration', 'jitter', /^jitter: "some"/],
    ['at noon', 'invalidInstant', 'at', /^at: "noon" .*RFC 3339/],
    ['at 2026-02-30T00:00Z', 'invalidInstant', 'at', /no such day$/],
    ['at 2026-02-03T24:00Z', 'invalidInstant', 'at', /no such time of day$/],
    ['at 2026-02-03T23:00+24:00', 'invalidInstant', 'at', /no such offset$/],
    ['at 1969-02-03T23:00', 'invalidInstant', 'at', /first year is 1970$/],
    ['at 2026-02-03', 'invalidInstant', 'at', /not a time/],
    [
      { cron: '* * * * *', timezone: 'Berlin' },
      'unknownTimezone',
      'timezone',
      /did you mean "Europe\/Berlin"\?$/,
    ],
  ];
  for (const [input, code, field, message] of table) {
    assert.throws(
      () => parseSchedule(input as ScheduleInput, context),
      (error) => {
        assert.ok(error instanceof ScheduleError, String(error));
        assert.equal(error.code, code, JSON.stringify(input));
        assert.equal(error.field, field, JSON.stringify(input));
        assert.match(error.message, message);
        return true;
      },
    );
  }
});
