import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { localParts, offsetAt, resolveZone, ScheduleError } from './index.ts';

const HOUR = 3_600_000;

test('zones go by their IANA names, old names included', () => {
  for (const name of [
    'UTC',
    'Europe/Berlin',
    'US/Eastern',
    'Asia/Kathmandu',
    'America/Argentina/Buenos_Aires',
    'Etc/GMT+5',
  ]) {
    assert.equal(resolveZone(name), name);
  }
  assert.equal(resolveZone('europe/berlin'), 'Europe/Berlin');
});

test('an unknown zone is refused with the nearest name', () => {
  const table: readonly (readonly [string, RegExp])[] = [
    ['Berlin', /did you mean "Europe\/Berlin"\?$/],
    ['Europe/Berln', /did you mean "Europe\/Berlin"\?$/],
    ['America/New York', /did you mean "America\/New_York"\?$/],
    ['Z', /did you mean "UTC"\?$/],
    ['', /IANA names/],
    ['+02:00', /IANA names/],
    ['Mars/Olympus_Mons', /IANA names/],
    ['x'.repeat(1e6), /IANA names/],
  ];
  for (const [name, message] of table) {
    assert.throws(
      () => resolveZone(name),
      (error) =>
        error instanceof ScheduleError &&
        error.code === 'unknownTimezone' &&
        error.field === 'timezone' &&
        message.test(error.message),
      name.slice(0, 40),
    );
  }
});

test('offsets are those of Intl, for any zone and any instant since 1970', () => {
  const clocks = new Map(
    Intl.supportedValuesOf('timeZone')
      .filter((_, index) => index % 7 === 0)
      .map((zone) => [
        zone,
        new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' }),
      ]),
  );
  const instant = fc.oneof(
    fc.integer({ min: 0, max: Date.UTC(2060, 0) }),
    fc.integer({ min: Date.UTC(2020, 0), max: Date.UTC(2030, 0) }),
  );
  fc.assert(
    fc.property(fc.constantFrom(...clocks.keys()), instant, (zone, at) => {
      const shown =
        clocks
          .get(zone)
          ?.format(at)
          .match(/GMT(?:([+-])(\d+):(\d+)(?::(\d+))?)?$/) ?? [];
      const size =
        Number(shown[2] ?? 0) * HOUR + Number(shown[3] ?? 0) * 60_000 + Number(shown[4] ?? 0) * 1_000;
      assert.equal(offsetAt(zone, at), shown[1] === '-' ? -size : size);
    }),
    { numRuns: 4_000 },
  );
});

test('an offset changes at the very second', () => {
  const change = Date.parse('2026-03-08T07:00Z');
  assert.equal(offsetAt('America/New_York', change - 1), -5 * HOUR);
  assert.equal(offsetAt('America/New_York', change), -4 * HOUR);
  assert.equal(offsetAt('Asia/Kathmandu', change), 5.75 * HOUR);
});

test('local parts are what the clocks on the wall show', () => {
  assert.deepEqual(localParts('America/New_York', Date.parse('2026-03-08T07:00:05Z')), {
    year: 2026,
    month: 3,
    day: 8,
    hour: 3,
    minute: 0,
    second: 5,
    weekday: 0,
  });
  assert.equal(localParts('Pacific/Apia', Date.parse('2011-12-30T10:00Z')).day, 31);
});
