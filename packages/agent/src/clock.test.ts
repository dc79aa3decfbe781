import assert from 'node:assert/strict';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { test } from 'node:test';
import { systemClock } from './clock.ts';

test('a long wait is over within a second after a machine that has slept for longer wakes', (t) => {
  let bootMs = 1_000_000;
  t.mock.timers.enable({ apis: ['setTimeout'] });
  t.mock.method(os, 'uptime', () => bootMs / 1_000);
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  const pass = (ms: number) => {
    bootMs += ms;
    t.mock.timers.tick(ms);
  };
  let over = 0;
  systemClock.after(3_600_000, () => over++);
  pass(10_500);
  // Asleep: timers stand still, the boot clock goes on.
  bootMs += 7_200_000;
  assert.equal(over, 0);
  pass(1_000);
  assert.equal(over, 1);
  const cancelled = systemClock.after(5_000, () => over++);
  pass(4_000);
  assert.equal(over, 1);
  cancelled.cancel();
  pass(10_000);
  assert.equal(over, 1);
});
