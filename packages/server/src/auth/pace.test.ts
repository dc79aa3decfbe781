import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPace } from './pace.ts';

test('A token that does too much in a minute is told how long to wait, and no other token is', () => {
  let now = 1_000_000;
  const pace = createPace({ now: () => now }, 3);
  const counted = (token: string) => pace.count(token);
  assert.deepEqual(
    [1, 2, 3, 4].map(() => counted('a')),
    [0, 0, 0, 60],
  );
  assert.equal(counted('b'), 0);
  now += 59_000;
  assert.equal(counted('a'), 1);
  now += 1_000;
  assert.equal(counted('a'), 0);
  // The clock was put back by far.
  now -= 86_400_000;
  assert.equal(counted('a'), 0);
});
