import assert from 'node:assert/strict';
import { test } from 'node:test';
import { between, parseSchedule, previous } from './index.ts';

interface Row {
  readonly cron: string;
  readonly from: string;
  readonly to: string;
  /** Local times with their offsets. */
  readonly fires: readonly string[];
}

/** Each row: the instants with from < instant <= to, forwards, and the same ones backwards. */
function holds(timezone: string, title: string, rows: readonly Row[]): void {
  test(`${timezone}: ${title}`, () => {
    for (const { cron, from, to, fires } of rows) {
      const schedule = parseSchedule(cron, { timezone, spreadKey: 'job' });
      const expected = fires.map((text) => new Date(text).toISOString());
      const forwards = between([schedule], Date.parse(from), Date.parse(to), 1_000);
      assert.deepEqual(forwards.map(iso), expected, cron);
      const backwards: number[] = [];
      let before = previous(schedule, Date.parse(to) + 1);
      while (before !== null && before > Date.parse(from)) {
        backwards.unshift(before);
        before = previous(schedule, before);
      }
      assert.deepEqual(backwards.map(iso), expected, `${cron}, backwards`);
    }
  });
}

function iso(instant: number): string {
  return new Date(instant).toISOString();
}

{
  const from = '2026-03-08T00:00-05:00';
  const to = '2026-03-08T04:00-04:00';
  holds('America/New_York', 'in spring the hour from 2 to 3 does not exist', [
    { cron: '30 2 * * *', from, to, fires: ['2026-03-08T03:00-04:00'] },
    { cron: '0 2 * * *', from, to, fires: ['2026-03-08T03:00-04:00'] },
    { cron: '59 1 * * *', from, to, fires: ['2026-03-08T01:59-05:00'] },
    { cron: '0 3 * * *', from, to, fires: ['2026-03-08T03:00-04:00'] },
    { cron: '0,15,30,45 2 * * *', from, to, fires: ['2026-03-08T03:00-04:00'] },
    { cron: '0,30 2,3 * * *', from, to, fires: ['2026-03-08T03:00-04:00', '2026-03-08T03:30-04:00'] },
    { cron: '* 30 2 * * *', from, to, fires: ['2026-03-08T03:00-04:00'] },
    { cron: '30 2 8 3 *', from, to, fires: ['2026-03-08T03:00-04:00'] },
    { cron: '30 2 * * SUN#2', from, to, fires: ['2026-03-08T03:00-04:00'] },
    {
      cron: '*/30 * * * *',
      from,
      to,
      fires: [
        '2026-03-08T00:30-05:00',
        '2026-03-08T01:00-05:00',
        '2026-03-08T01:30-05:00',
        '2026-03-08T03:00-04:00',
        '2026-03-08T03:30-04:00',
        '2026-03-08T04:00-04:00',
      ],
    },
    { cron: '*/30 2 * * *', from, to, fires: [] },
    {
      cron: '30 * * * *',
      from: '2026-03-08T01:00-05:00',
      to,
      fires: ['2026-03-08T01:30-05:00', '2026-03-08T03:30-04:00'],
    },
  ]);
}

{
  const from = '2026-11-01T00:00-04:00';
  const to = '2026-11-01T03:00-05:00';
  holds('America/New_York', 'in autumn the hour from 1 to 2 comes twice', [
    { cron: '30 1 * * *', from, to, fires: ['2026-11-01T01:30-04:00'] },
    { cron: '0 1 * * *', from, to, fires: ['2026-11-01T01:00-04:00'] },
    { cron: '0 2 * * *', from, to, fires: ['2026-11-01T02:00-05:00'] },
    {
      cron: '0,59 0-2 * * *',
      from,
      to,
      fires: [
        '2026-11-01T00:59-04:00',
        '2026-11-01T01:00-04:00',
        '2026-11-01T01:59-04:00',
        '2026-11-01T02:00-05:00',
        '2026-11-01T02:59-05:00',
      ],
    },
    {
      cron: '*/30 1 * * *',
      from,
      to,
      fires: [
        '2026-11-01T01:00-04:00',
        '2026-11-01T01:30-04:00',
        '2026-11-01T01:00-05:00',
        '2026-11-01T01:30-05:00',
      ],
    },
    {
      cron: '30 * * * *',
      from,
      to,
      fires: [
        '2026-11-01T00:30-04:00',
        '2026-11-01T01:30-04:00',
        '2026-11-01T01:30-05:00',
        '2026-11-01T02:30-05:00',
      ],
    },
    { cron: '0,30 30 1 * * *', from, to, fires: ['2026-11-01T01:30:00-04:00', '2026-11-01T01:30:30-04:00'] },
  ]);
}

holds('Europe/London', 'changes at 1 in the morning, both ways', [
  {
    cron: '30 1 * * *',
    from: '2026-03-28T12:00Z',
    to: '2026-03-30T12:00Z',
    fires: ['2026-03-29T02:00+01:00', '2026-03-30T01:30+01:00'],
  },
  {
    cron: '30 1 * * *',
    from: '2026-10-24T12:00Z',
    to: '2026-10-26T12:00Z',
    fires: ['2026-10-25T01:30+01:00', '2026-10-26T01:30+00:00'],
  },
  {
    cron: '0 * * * *',
    from: '2026-03-29T00:00Z',
    to: '2026-03-29T02:00Z',
    fires: ['2026-03-29T02:00+01:00', '2026-03-29T03:00+01:00'],
  },
  {
    cron: '0 * * * *',
    from: '2026-10-24T23:00Z',
    to: '2026-10-25T02:00Z',
    fires: ['2026-10-25T01:00+01:00', '2026-10-25T01:00+00:00', '2026-10-25T02:00+00:00'],
  },
]);

holds('Australia/Lord_Howe', 'shifts by 30 minutes only', [
  {
    cron: '15 2 * * *',
    from: '2026-10-04T00:00+10:30',
    to: '2026-10-05T12:00+11:00',
    fires: ['2026-10-04T02:30+11:00', '2026-10-05T02:15+11:00'],
  },
  {
    cron: '45 2 * * *',
    from: '2026-10-04T00:00+10:30',
    to: '2026-10-05T00:00+11:00',
    fires: ['2026-10-04T02:45+11:00'],
  },
  {
    cron: '*/15 * * * *',
    from: '2026-10-04T01:30+10:30',
    to: '2026-10-04T02:45+11:00',
    fires: ['2026-10-04T01:45+10:30', '2026-10-04T02:30+11:00', '2026-10-04T02:45+11:00'],
  },
  {
    cron: '45 1 * * *',
    from: '2026-04-05T00:00+11:00',
    to: '2026-04-06T00:00+10:30',
    fires: ['2026-04-05T01:45+11:00'],
  },
  {
    cron: '*/15 * * * *',
    from: '2026-04-05T01:30+11:00',
    to: '2026-04-05T02:00+10:30',
    fires: [
      '2026-04-05T01:45+11:00',
      '2026-04-05T01:30+10:30',
      '2026-04-05T01:45+10:30',
      '2026-04-05T02:00+10:30',
    ],
  },
]);

holds('America/Sao_Paulo', 'once changed at midnight: one day began at 1, another repeated its last hour', [
  {
    cron: '0 0 * * *',
    from: '2018-11-03T12:00-03:00',
    to: '2018-11-05T12:00-02:00',
    fires: ['2018-11-04T01:00-02:00', '2018-11-05T00:00-02:00'],
  },
  {
    cron: '@daily',
    from: '2018-02-17T12:00-02:00',
    to: '2018-02-18T12:00-03:00',
    fires: ['2018-02-18T00:00-03:00'],
  },
  {
    cron: '30 23 * * *',
    from: '2018-02-17T12:00-02:00',
    to: '2018-02-18T12:00-03:00',
    fires: ['2018-02-17T23:30-02:00'],
  },
  {
    cron: '30 * * * SAT',
    from: '2018-02-17T22:00-02:00',
    to: '2018-02-18T12:00-03:00',
    fires: ['2018-02-17T22:30-02:00', '2018-02-17T23:30-02:00', '2018-02-17T23:30-03:00'],
  },
]);

holds('Asia/Beirut', 'springs from midnight to 1, and falls back from midnight to 23', [
  {
    cron: '0 0 * * SUN',
    from: '2026-03-28T12:00+02:00',
    to: '2026-03-29T12:00+03:00',
    fires: ['2026-03-29T01:00+03:00'],
  },
  { cron: '*/30 0 * * *', from: '2026-03-28T12:00+02:00', to: '2026-03-29T12:00+03:00', fires: [] },
  {
    cron: '0 0 * * *',
    from: '2026-10-24T12:00+03:00',
    to: '2026-10-25T12:00+02:00',
    fires: ['2026-10-25T00:00+02:00'],
  },
]);

holds('America/Havana', 'springs from midnight to 1, and repeats the hour after midnight', [
  {
    cron: '0 0 * * *',
    from: '2026-03-07T12:00-05:00',
    to: '2026-03-08T12:00-04:00',
    fires: ['2026-03-08T01:00-04:00'],
  },
  {
    cron: '0 0 * * *',
    from: '2026-10-31T12:00-04:00',
    to: '2026-11-01T12:00-05:00',
    fires: ['2026-11-01T00:00-04:00'],
  },
  {
    cron: '0 * * * *',
    from: '2026-10-31T23:30-04:00',
    to: '2026-11-01T01:00-05:00',
    fires: ['2026-11-01T00:00-04:00', '2026-11-01T00:00-05:00', '2026-11-01T01:00-05:00'],
  },
]);

holds('Pacific/Apia', 'skipped 30 December 2011 when it moved across the date line', [
  {
    cron: '0 12 * * *',
    from: '2011-12-29T00:00-10:00',
    to: '2011-12-31T23:00+14:00',
    fires: ['2011-12-29T12:00-10:00', '2011-12-31T00:00+14:00', '2011-12-31T12:00+14:00'],
  },
  {
    cron: '0 6,12,18 30 * *',
    from: '2011-12-29T00:00-10:00',
    to: '2011-12-31T23:00+14:00',
    fires: ['2011-12-31T00:00+14:00'],
  },
  {
    cron: '0 12 * * FRI',
    from: '2011-12-29T00:00-10:00',
    to: '2012-01-06T23:00+14:00',
    fires: ['2011-12-31T00:00+14:00', '2012-01-06T12:00+14:00'],
  },
  {
    cron: '0 */12 * * *',
    from: '2011-12-29T00:00-10:00',
    to: '2011-12-31T12:00+14:00',
    fires: ['2011-12-29T12:00-10:00', '2011-12-31T00:00+14:00', '2011-12-31T12:00+14:00'],
  },
  { cron: '0 */12 30 * *', from: '2011-12-29T00:00-10:00', to: '2011-12-31T23:00+14:00', fires: [] },
]);

holds('Africa/Casablanca', 'puts its clocks back for Ramadan', [
  {
    cron: '30 2 * * *',
    from: '2026-02-14T12:00Z',
    to: '2026-02-16T12:00Z',
    fires: ['2026-02-15T02:30+01:00', '2026-02-16T02:30+00:00'],
  },
  {
    cron: '30 2 * * *',
    from: '2026-03-21T12:00Z',
    to: '2026-03-23T12:00Z',
    fires: ['2026-03-22T03:00+01:00', '2026-03-23T02:30+01:00'],
  },
  {
    cron: '0 12 * * *',
    from: '2026-02-14T00:00Z',
    to: '2026-02-15T23:00Z',
    fires: ['2026-02-14T12:00+01:00', '2026-02-15T12:00+00:00'],
  },
]);

holds('Antarctica/Troll', 'shifts by two hours', [
  {
    cron: '0,30 1,2 * * *',
    from: '2026-03-29T00:00Z',
    to: '2026-03-29T12:00Z',
    fires: ['2026-03-29T03:00+02:00'],
  },
  {
    cron: '30 * * * *',
    from: '2026-03-29T00:00Z',
    to: '2026-03-29T02:00Z',
    fires: ['2026-03-29T00:30+00:00', '2026-03-29T03:30+02:00'],
  },
  {
    cron: '30 1,2 * * *',
    from: '2026-10-24T22:00Z',
    to: '2026-10-25T12:00Z',
    fires: ['2026-10-25T01:30+02:00', '2026-10-25T02:30+02:00'],
  },
  {
    cron: '30 * * * *',
    from: '2026-10-24T23:00Z',
    to: '2026-10-25T03:00Z',
    fires: [
      '2026-10-25T01:30+02:00',
      '2026-10-25T02:30+02:00',
      '2026-10-25T01:30+00:00',
      '2026-10-25T02:30+00:00',
    ],
  },
]);

holds('America/Recife', 'tried summer time for a week', [
  {
    cron: '0 12 * * SUN',
    from: '2000-10-01T00:00Z',
    to: '2000-10-16T00:00Z',
    fires: ['2000-10-01T12:00-03:00', '2000-10-08T12:00-02:00', '2000-10-15T12:00-03:00'],
  },
  {
    cron: '0 0 * * SUN',
    from: '2000-10-02T00:00Z',
    to: '2000-10-16T00:00Z',
    fires: ['2000-10-08T01:00-02:00', '2000-10-15T00:00-03:00'],
  },
]);

holds('Asia/Kathmandu', 'runs 5:45 ahead, and moved there by a gap of a quarter of an hour', [
  {
    cron: '15 3 * * *',
    from: '2026-01-01T00:00Z',
    to: '2026-01-02T00:00Z',
    fires: ['2026-01-02T03:15+05:45'],
  },
  {
    cron: '0 0 * * *',
    from: '1985-12-31T00:00Z',
    to: '1986-01-01T20:00Z',
    fires: ['1986-01-01T00:15+05:45', '1986-01-02T00:00+05:45'],
  },
  {
    cron: '*/5 0 1 1 *',
    from: '1985-12-31T00:00Z',
    to: '1985-12-31T18:40Z',
    fires: ['1986-01-01T00:15+05:45', '1986-01-01T00:20+05:45', '1986-01-01T00:25+05:45'],
  },
]);

holds('UTC', 'leap years have 29 February, and 2100 is none', [
  {
    cron: '0 0 29 2 *',
    from: '2023-01-01T00:00Z',
    to: '2033-01-01T00:00Z',
    fires: ['2024-02-29T00:00Z', '2028-02-29T00:00Z', '2032-02-29T00:00Z'],
  },
  {
    cron: '0 0 29 2 *',
    from: '2093-01-01T00:00Z',
    to: '2105-01-01T00:00Z',
    fires: ['2096-02-29T00:00Z', '2104-02-29T00:00Z'],
  },
  {
    cron: '0 0 29 FEB */7',
    from: '2060-03-01T00:00Z',
    to: '2129-01-01T00:00Z',
    fires: ['2088-02-29T00:00Z', '2128-02-29T00:00Z'],
  },
  {
    cron: '0 0 L 2 *',
    from: '2099-01-01T00:00Z',
    to: '2101-01-01T00:00Z',
    fires: ['2099-02-28T00:00Z', '2100-02-28T00:00Z'],
  },
  {
    cron: '59 59 23 31 12 *',
    from: '2026-01-01T00:00Z',
    to: '2027-01-01T00:00Z',
    fires: ['2026-12-31T23:59:59Z'],
  },
]);
