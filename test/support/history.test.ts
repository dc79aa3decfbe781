import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type History, violations } from './history.ts';

const SECOND = 1_000;

function sound(): History {
  return {
    instants: [1 * SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND],
    starts: [{ attemptId: 'a-1', runId: 'a', scheduledFor: SECOND, at: SECOND + 5 }],
    runs: [
      {
        id: 'a',
        jobId: 'j',
        kind: 'scheduled',
        state: 'succeeded',
        reason: null,
        scheduledFor: SECOND,
        startedAt: 1_005,
        endedAt: 1_010,
        attempt: 1,
      },
      {
        id: 'b',
        jobId: 'j',
        kind: 'scheduled',
        state: 'skipped',
        reason: 'previousRunActive',
        scheduledFor: 2 * SECOND,
        startedAt: null,
        endedAt: 2_000,
        attempt: 0,
      },
    ],
    attempts: [{ id: 'a-1', runId: 'a', number: 1, state: 'ended', outcome: 'succeeded' }],
    gaps: [
      { jobId: 'j', fromAt: 3 * SECOND, toAt: 4 * SECOND, count: 2, outcome: 'skipped', reason: 'catchUp' },
    ],
    changes: new Map([['a', ['queued', 'offered', 'starting', 'running', 'succeeded']]]),
  };
}

const broken: [string, (history: History) => void, RegExp][] = [
  [
    'an attempt that started twice',
    (h) => h.starts.push({ ...(h.starts[0] as History['starts'][0]) }),
    /started 2 times/,
  ],
  ['a start without a permit', (h) => h.attempts.pop(), /without a permit/],
  [
    'a start of an attempt that was declared not started',
    (h) => Object.assign(h.attempts[0] as object, { state: 'notStarted' }),
    /declared not started/,
  ],
  ['an early start', (h) => Object.assign(h.starts[0] as object, { at: SECOND - 1 }), /1 ms early/],
  ['an instant without an outcome', (h) => h.runs.pop(), /no outcome/],
  [
    'an instant with two outcomes',
    (h) => Object.assign(h.gaps[0] as object, { fromAt: 2 * SECOND, count: 3 }),
    /2 outcomes/,
  ],
  ['a gap that counts wrongly', (h) => Object.assign(h.gaps[0] as object, { count: 5 }), /spans 2/],
  ['a run that nobody asked for', (h) => h.instants.shift(), /does not demand/],
  [
    'a run that has not settled',
    (h) => Object.assign(h.runs[0] as object, { state: 'running' }),
    /not settled/,
  ],
  [
    'a skip without a reason',
    (h) => Object.assign(h.runs[1] as object, { reason: null }),
    /without a reason/,
  ],
  ['a change after the end', (h) => h.changes.get('a')?.push('failed'), /after its end/],
  [
    'unknown without a permit',
    (h) => h.changes.set('b', ['queued', 'unknown', 'skipped']),
    /no permit was out/,
  ],
  ['a success that never started', (h) => h.starts.pop(), /without having started/],
];

test('a sound history has no violations', () => {
  assert.deepEqual(violations(sound()), []);
});

for (const [what, breakIt, sentence] of broken) {
  test(`the checker sees ${what}`, () => {
    const history = sound();
    breakIt(history);
    assert.match(violations(history).join('\n'), sentence);
  });
}
