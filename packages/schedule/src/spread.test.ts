import assert from 'node:assert/strict';
import { test } from 'node:test';
import { between, parseSchedule } from './index.ts';

const DAY = 86_400_000;
const start = Date.parse('2026-01-01T00:00Z');

function instants(cron: string, spreadKey: string, length = DAY): Date[] {
  const schedule = parseSchedule(cron, { timezone: 'UTC', spreadKey });
  return between([schedule], start - 1, start + length - 1, 1e5).map((instant) => new Date(instant));
}

const keys = Array.from({ length: 600 }, (_, index) => `job-${index}`);

test('H is one value, the same for one job whenever it is read', () => {
  for (const key of keys.slice(0, 50)) {
    assert.equal(instants('H H * * *', key).length, 1);
    assert.deepEqual(instants('H H * * *', key), instants('H H * * *', key));
  }
});

test('H spreads jobs over all minutes, and each field apart from the others', () => {
  const times = keys.map((key) => instants('H H * * *', key)[0] ?? new Date(0));
  assert.equal(new Set(times.map((time) => time.getUTCMinutes())).size, 60);
  assert.equal(new Set(times.map((time) => time.getUTCHours())).size, 24);
  assert.ok(new Set(times.map((time) => time.getTime())).size > 400);
});

test('H keeps the values that were chosen before', () => {
  const time = instants('H H * * *', 'job-1')[0]?.toISOString();
  assert.equal(time, '2026-01-01T04:38:00.000Z');
});

test('H/15 and H(0-29)/10 keep their distances', () => {
  for (const key of keys.slice(0, 50)) {
    const quarters = instants('H/15 3 * * *', key).map((time) => time.getUTCMinutes());
    const first = quarters[0] ?? 99;
    assert.ok(first < 15);
    assert.deepEqual(quarters, [first, first + 15, first + 30, first + 45]);
    const tens = instants('H(0-29)/10 3 * * *', key).map((time) => time.getUTCMinutes());
    const ten = tens[0] ?? 99;
    assert.ok(ten < 10);
    assert.deepEqual(tens, [ten, ten + 10, ten + 20]);
  }
});

test('H(a-b) and a~b stay in their range and reach its ends', () => {
  for (const field of ['H(20-23)', '20~23', 'h(20-23)']) {
    const seen = new Set(
      keys.slice(0, 100).map((key) => instants(`0 ${field} * * *`, key)[0]?.getUTCHours()),
    );
    assert.deepEqual([...seen].sort(), [20, 21, 22, 23], field);
  }
  const wrapped = new Set(
    keys.slice(0, 100).map((key) => instants('0 H(23-1) * * *', key)[0]?.getUTCHours()),
  );
  assert.deepEqual([...wrapped].sort(), [0, 1, 23]);
  const open = new Set(keys.slice(0, 100).map((key) => instants('0 ~1 * * *', key)[0]?.getUTCHours()));
  assert.deepEqual([...open].sort(), [0, 1]);
});

test('a day of the month that is left to Rota exists in each month', () => {
  for (const field of ['H', '~']) {
    for (const key of keys.slice(0, 100))
      assert.equal(instants(`0 0 ${field} * *`, key, 365 * DAY).length, 12);
  }
});

test('names of months and days that contain an H are no spread', () => {
  assert.equal(instants('0 0 1 MAR *', 'job', 365 * DAY).length, 1);
  assert.equal(instants('0 0 * * THU', 'job', 7 * DAY).length, 1);
  assert.equal(instants('0 0 * * H(THU-FRI)', 'job', 7 * DAY).length, 1);
});
