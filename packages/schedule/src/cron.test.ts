import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { test } from 'node:test';
import { between, parseSchedule, ScheduleError } from './index.ts';

const context = { timezone: 'UTC', spreadKey: 'job' };

function days(cron: string, month: string): number[] {
  const from = Date.parse(`${month}-01T00:00Z`);
  const to = new Date(from);
  to.setUTCMonth(to.getUTCMonth() + 1);
  const instants = between([parseSchedule(`0 12 ${cron}`, context)], from, to.getTime(), 1_000);
  return instants.map((instant) => new Date(instant).getUTCDate());
}

function hours(field: string): number[] {
  const day = Date.parse('2026-01-01T00:00Z');
  const instants = between([parseSchedule(`0 ${field} * * *`, context)], day - 1, day + 86_399_999, 1_000);
  return instants.map((instant) => new Date(instant).getUTCHours());
}

function refused(cron: string): ScheduleError {
  try {
    parseSchedule(cron, context);
  } catch (error) {
    if (error instanceof ScheduleError) return error;
    throw error;
  }
  return assert.fail(`${cron} was accepted`);
}

test('values, ranges, steps and lists choose the hours', () => {
  const table: readonly (readonly [string, readonly number[]])[] = [
    ['7', [7]],
    ['07', [7]],
    ['1,5,3', [1, 3, 5]],
    ['9-12', [9, 10, 11, 12]],
    ['22-2', [0, 1, 2, 22, 23]],
    ['20-4/3', [2, 20, 23]],
    ['*/8', [0, 8, 16]],
    ['*/24', [0]],
    ['5/6', [5, 11, 17, 23]],
    ['0-10/5,23', [0, 5, 10, 23]],
    ['6-6', [6]],
  ];
  for (const [field, expected] of table) assert.deepEqual(hours(field), expected, field);
});

test('days of the month and of the week choose the days', () => {
  const table: readonly (readonly [string, string, readonly number[]])[] = [
    ['L * *', '2026-02', [28]],
    ['L * *', '2028-02', [29]],
    ['L-3 * *', '2026-04', [27]],
    ['L,L-1,15 * *', '2026-04', [15, 29, 30]],
    ['L-30 * *', '2026-04', []],
    ['L-30 * *', '2026-05', [1]],
    ['31 * *', '2026-04', []],
    ['25-5 * *', '2026-02', [1, 2, 3, 4, 5, 25, 26, 27, 28]],
    // 2026-08: the 1st is a Saturday, the 30th a Sunday, the 31st a Monday.
    ['LW * *', '2026-08', [31]],
    ['LW * *', '2026-05', [29]],
    ['LW * *', '2026-01', [30]],
    ['1W * *', '2026-08', [3]],
    ['2W * *', '2026-08', [3]],
    ['8W * *', '2026-08', [7]],
    ['9W * *', '2026-08', [10]],
    ['15W * *', '2026-07', [15]],
    ['31W * *', '2026-05', [29]],
    ['31W * *', '2026-01', [30]],
    ['31W * *', '2026-04', []],
    ['1W,15W * *', '2026-11', [2, 16]],
    ['* * MON#2', '2026-11', [9]],
    ['* * 1#5', '2026-11', [30]],
    ['* * 2#5', '2026-11', []],
    ['* * SUN#1,7#2', '2026-11', [1, 8]],
    ['* * 5L', '2026-11', [27]],
    ['* * monl', '2026-11', [30]],
    ['* * FRI-MON', '2026-11', [1, 2, 6, 7, 8, 9, 13, 14, 15, 16, 20, 21, 22, 23, 27, 28, 29, 30]],
    ['* * 7', '2026-11', [1, 8, 15, 22, 29]],
    ['* * 6-7', '2026-11', [1, 7, 8, 14, 15, 21, 22, 28, 29]],
    ['* * 7-1', '2026-11', [1, 2, 8, 9, 15, 16, 22, 23, 29, 30]],
    ['? * mon', '2026-11', [2, 9, 16, 23, 30]],
    ['13 * ?', '2026-11', [13]],
    ['13 nov ?', '2026-12', []],
    ['1 NOV-FEB *', '2026-01', [1]],
    ['1 NOV-FEB *', '2026-03', []],
  ];
  for (const [cron, month, expected] of table)
    assert.deepEqual(days(cron, month), expected, `${cron} in ${month}`);
});

test('two day fields mean either, unless one of them starts with a star', () => {
  assert.deepEqual(days('13 * FRI', '2026-11'), [6, 13, 20, 27]);
  assert.deepEqual(days('1,15 * FRI#1', '2026-11'), [1, 6, 15]);
  assert.deepEqual(days('*/2 * FRI', '2026-11'), [13, 27]);
  assert.deepEqual(days('13 * */2', '2026-11'), []);
  assert.deepEqual(days('14 * */2', '2026-11'), [14]);
  assert.deepEqual(days('1-7 * */7', '2026-11'), [1]);
});

test('macros stand for their patterns', () => {
  const from = Date.parse('2026-01-01T00:00Z');
  const to = Date.parse('2027-01-01T00:00Z');
  const counts = {
    '@yearly': 1,
    '@annually': 1,
    '@monthly': 12,
    '@weekly': 52,
    '@daily': 365,
    '@midnight': 365,
    '@HOURLY': 8_760,
  };
  for (const [macro, count] of Object.entries(counts)) {
    assert.equal(between([parseSchedule(macro, context)], from, to, 1e5).length, count, macro);
  }
});

test('a faulty field is named, with its value, what is allowed and the nearest right form', () => {
  const table: readonly (readonly [string, string, RegExp])[] = [
    ['60 * * * *', 'minute', /^minute: "60" .*allowed are 0-59/],
    ['* 24 * * *', 'hour', /^hour: "24" .*allowed are 0-23/],
    ['* * 0 * *', 'day of month', /^day of month: "0" .*1-31.*L, L-3, LW, 15W/],
    ['* * * 13 *', 'month', /^month: "13" .*1-12 or JAN-DEC/],
    ['* * * * 8', 'day of week', /^day of week: "8" .*0-7 or SUN-SAT/],
    ['61 * * * * *', 'second', /^second: "61"/],
    ['* * * JUNE *', 'month', /did you mean "JUN"\?$/],
    ['* * * * tues', 'day of week', /did you mean "TUE"\?$/],
    ['*/0 * * * *', 'minute', /step "0" .*from 1 to 60$/],
    ['*/61 * * * *', 'minute', /step "61" .*from 1 to 60$/],
    ['* */25 * * *', 'hour', /from 1 to 24$/],
    ['1-2-3 * * * *', 'minute', /"1-2-3"/],
    ['-5 * * * *', 'minute', /minute: ""/],
    ['5- * * * *', 'minute', /minute: ""/],
    [', * * * *', 'minute', /minute: ","/],
    ['1.5 * * * *', 'minute', /"1\.5"/],
    ['? * * * *', 'minute', /"\?"/],
    ['* L * * *', 'hour', /"L"/],
    ['* * L-31 * *', 'day of month', /from L-1 to L-30$/],
    ['* * 32W * *', 'day of month', /"32"/],
    ['* * 1-5W * *', 'day of month', /"5W"/],
    ['* * * * L', 'day of week', /such as 5L/],
    ['* * * * MON#6', 'day of week', /1 to 5/],
    ['H(0-60) * * * *', 'minute', /"60"/],
    ['30~10 * * * *', 'minute', /not larger/],
    ['H/99 * * * *', 'minute', /step "99"/],
  ];
  for (const [cron, field, message] of table) {
    const error = refused(cron);
    assert.equal(error.code, 'invalidCron', cron);
    assert.equal(error.field, field, cron);
    assert.match(error.message, message);
  }
});

test('a faulty pattern is refused as a whole', () => {
  const table: readonly (readonly [string, string, RegExp])[] = [
    ['', 'invalidCron', /has 0 fields/],
    ['* * * *', 'invalidCron', /has 4 fields.*allowed are 5/],
    ['0 0 0 1 1 * 2026', 'invalidCron', /has 7 fields/],
    ['daily', 'invalidCron', /did you mean "@daily"\?$/],
    ['@dayly', 'invalidCron', /did you mean "@daily"\?$/],
    ['@constructor', 'invalidCron', /is not known/],
    ['@reboot', 'notSupported', /boots/],
    ['TZ=UTC 0 0 * * *', 'invalidCron', /timezone/],
    ['0 0 30 2 *', 'impossibleCron', /can never match/],
    ['0 0 31 4,6,9,NOV ?', 'impossibleCron', /can never match/],
    ['0 0 31W FEB *', 'impossibleCron', /can never match/],
    ['0 0 L-30 2 *', 'impossibleCron', /can never match/],
    ['0 0 1 * *#1', 'invalidCron', /day of week/],
  ];
  for (const [cron, code, message] of table) {
    const error = refused(cron);
    assert.equal(error.code, code, cron);
    assert.match(error.message, message);
  }
});

test('29 February on a certain weekday is possible, though it takes up to 40 years', () => {
  const schedule = parseSchedule('0 0 29 2 */7', context);
  assert.deepEqual(between([schedule], Date.parse('2088-03-01T00:00Z'), Date.parse('2130-01-01T00:00Z'), 9), [
    Date.parse('2128-02-29T00:00Z'),
  ]);
});

test('hostile patterns are refused at once', () => {
  const hostile = [
    '*'.repeat(1e6),
    `${'1,'.repeat(5e5)}1 * * * *`,
    ' '.repeat(1e6),
    `@every${' '.repeat(1e6)}`,
    `every ${'1h'.repeat(5e5)}`,
    `${'H('.repeat(120)} * * * *`,
  ];
  const start = performance.now();
  for (const text of hostile) assert.ok(refused(text).message.length < 500);
  const longest = `${'0-59/1,'.repeat(33)}1 * * * *`;
  assert.ok(longest.length < 256);
  parseSchedule(longest, context);
  assert.ok(performance.now() - start < 500);
});
