import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cron } from 'croner';
import fc from 'fast-check';
import { among, fieldText, hourText, iso, minuteText, parsed } from './draw.testing.ts';
import { between } from './index.ts';

test('croner agrees where its rules are ours: away from changes of the clocks, and not on */n days', () => {
  const date = fc.oneof(
    fc.constant('*'),
    fieldText(1, 31, 'L', '15W').filter((text) => !text.startsWith('*')),
  );
  const weekday = fc.oneof(
    fc.constant('*'),
    fieldText(0, 6, '5#L', 'MON#2').filter((text) => !text.startsWith('*')),
  );
  const month = fc.oneof(fc.constant('*'), fieldText(1, 12, 'JAN-MAR', 'oct'));
  const cron = fc.tuple(minuteText, hourText, date, month, weekday).map((fields) => fields.join(' '));
  const unwrapped = cron.filter(
    (text) => !/\d\/\d/.test(text.replaceAll(/\d+-\d+\/\d+/g, '')) && !isWrapped(text),
  );
  const zones = among('UTC', 'Asia/Kathmandu', 'Asia/Tokyo', 'America/Phoenix');
  fc.assert(
    fc.property(
      unwrapped,
      zones,
      fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2030, 0) }),
      (text, timezone, from) => {
        const ours = parsed(text.replaceAll('5#L', '5L'), { timezone, spreadKey: 'job' });
        const theirs = new Cron(text, { timezone, paused: true }).nextRuns(5, new Date(from));
        const expected = theirs.map((run) => run.getTime());
        if (ours === null) assert.deepEqual(expected, []);
        else if (expected.length > 0)
          assert.deepEqual(iso(between([ours], from, expected.at(-1) ?? from, 9)), iso(expected));
      },
    ),
    { numRuns: 400 },
  );
});

function isWrapped(text: string): boolean {
  return [...text.matchAll(/(\d+)-(\d+)/g)].some(([, first, last]) => Number(first) > Number(last));
}
