import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rota } from '../rota.testing.ts';

test('next needs no server and prints instants with the offset of the zone', async () => {
  const { code, out } = await rota(['next', '30 2 * * *', '--from', '2026-01-01T00:00Z', '--count', '2']);
  assert.equal(code, 0);
  assert.equal(out, '2026-01-01T02:30:00+01:00\n2026-01-02T02:30:00+01:00\n');
});

test('next says when the clocks skip the time of a job', async () => {
  const { out } = await rota(['next', '30 2 * * *', '--from', '2026-03-28T12:00Z', '--count', '2']);
  assert.deepEqual(out.trim().split('\n'), [
    '2026-03-29T03:00:00+02:00\tits time does not exist on that day: the clocks skip it',
    '2026-03-30T02:30:00+02:00',
  ]);
});

test('next does not call a time skipped that the clocks show right after the gap', async () => {
  const { out } = await rota(['next', '0 3 * * *', '--from', '2026-03-28T12:00Z', '--count', '1']);
  assert.equal(out, '2026-03-29T03:00:00+02:00\tthe clocks have gone forward 1 h since\n');
});

test('next says that a fixed time which comes twice runs at the first', async () => {
  const { out } = await rota(['next', '30 2 * * *', '--from', '2026-10-24T12:00Z', '--count', '1']);
  assert.match(out, /^2026-10-25T02:30:00\+02:00\tcomes twice, as the clocks go back: runs at the first\n$/);
});

test('next marks both rounds of a job that follows the wall clock', async () => {
  const { out } = await rota(['next', '*/30 2 * * *', '--from', '2026-10-24T23:00Z', '--count', '4']);
  assert.deepEqual(
    out
      .trim()
      .split('\n')
      .map((line) => line.split('\t')[1]?.split(':')[0]),
    ['first of two', 'first of two', 'second of two', 'second of two'],
  );
});

test('next answers as JSON with the plain English line, UTC and local time', async () => {
  const { code, out } = await rota(['next', 'every 15m', '--count', '1', '--json', '--timezone', 'UTC']);
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(out), {
    description: 'Every 15 minutes',
    timezone: 'UTC',
    next: [
      {
        instant: '2026-03-01T12:15:00.000Z',
        local: '2026-03-01T12:15:00+00:00',
        day: 'Sun',
        note: null,
      },
    ],
  });
});

test('next shows people a table with relative times', async () => {
  const { out } = await rota(['next', 'every', '15m'], { tty: true, env: { NO_COLOR: '1' } });
  const [head, columns, first] = out.split('\n');
  assert.equal(head, 'Every 15 minutes');
  assert.match(columns ?? '', /^TIME\s+DAY\s+FROM NOW/);
  assert.match(first ?? '', /^2026-03-01T13:15:00\+01:00\s+Sun\s+in 15m$/);
});

test('next of a time that has passed prints nothing and fails', async () => {
  const { code, out } = await rota(['next', 'at 2020-01-01T00:00Z']);
  assert.deepEqual({ code, out }, { code: 1, out: '' });
});

test('next refuses a bad pattern as wrong usage and names what is allowed', async () => {
  const { code, err } = await rota(['next', '61 * * * *']);
  assert.equal(code, 2);
  assert.match(err, /61/);
});
