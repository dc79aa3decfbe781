import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunWithNames } from '../store/runs.ts';
import { runView } from './presenters.ts';

const STARTED = {
  ...{
    jobName: 'a',
    kind: 'scheduled',
    state: 'running',
    reason: null,
    paramsJson: null,
    scheduledFor: 1000,
  },
  ...{ dueAt: 1000, queuedAt: 1004, offeredAt: 1016, permitAt: 1030, startingAt: 1030, startedAt: 1093 },
  ...{ endedAt: null, cancelRequestedAt: null, contactLostAt: null, wakeAt: null },
};

function latenessOf(row: Partial<RunWithNames>) {
  return runView({ ...STARTED, ...row } as RunWithNames).lateness;
}

test('lateness is split into what it came from', () => {
  const lateness = { planMs: 4, queueMs: 12, dispatchMs: 14, execMs: 63, totalMs: 93 };
  assert.deepEqual(latenessOf({}), lateness);
});

test('the permit of a retry is no part of the lateness of the first start', () => {
  const lateness = { planMs: 4, queueMs: 12, dispatchMs: 14, execMs: 63, totalMs: 93 };
  assert.deepEqual(latenessOf({ startingAt: 2150 }), lateness);
});
