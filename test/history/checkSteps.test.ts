import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineRetry, type Step } from '@rota/contract';
import { check, type Invariant } from './check.ts';
import type { History, LoggedTry, StoredAttempt, StoredStep } from './history.ts';

const S = 1_000;

function step(name: string, changes: Partial<Step> = {}): Step {
  const action = { kind: 'command' } as Step['action'];
  return { name, action, timeoutMs: null, retry: null, when: null, continueOnFailure: false, ...changes };
}

function tried(attemptId: string, name: string, at: number, endedAt: number, exitCode = 0): LoggedTry {
  return { attemptId, step: name, agent: 'a', at, endedAt, exitCode, isSeen: true };
}

function stored(attemptId: string, index: number, name: string, state: string, tries: number): StoredStep {
  return { attemptId, index, name, state, reason: null, tries };
}

function attempt(number: number, startingAt: number, endedAt: number, outcome: string): StoredAttempt {
  const exitCode = outcome === 'succeeded' ? 0 : 75;
  return {
    id: `r-${number}`,
    runId: 'r',
    number,
    agentId: 'agent-a',
    state: 'ended',
    outcome,
    reason: outcome === 'succeeded' ? null : 'exitStatus',
    exitCode,
    startingAt,
    endedAt,
  };
}

/**
 * A run whose first attempt fails in its second step, of which a second try was of no use, and whose second attempt succeeds after
 * ten seconds, though its third step fails.
 */
function sound(): History {
  const again = { retry: defineRetry({ times: 1, delay: '2s', outcomes: ['exit:75'] }) };
  const when = { minute: [1], hour: null, day: null, month: null, weekday: null };
  const never = { when: { ...when, labels: null, steps: null, expression: null } };
  return {
    jobs: [
      {
        id: 'job',
        name: 'job',
        concurrency: 'forbid',
        timeoutMs: null,
        jitterMs: 0,
        startDeadlineMs: 60 * S,
        steps: [
          step('one'),
          step('two', again),
          step('odd', never),
          step('three', { continueOnFailure: true }),
        ],
        retry: defineRetry({ times: 1, delay: '10s', outcomes: ['exit:75'] }),
        onUnknown: 'hold',
        instants: [10 * S],
        instantsUntil: 15 * S,
      },
    ],
    agents: [{ id: 'agent-a', name: 'a', state: 'online' }],
    log: [
      { kind: 'start', attemptId: 'r-1', runId: 'r', scheduledFor: 10 * S, agent: 'a', at: 10_100 },
      { kind: 'end', attemptId: 'r-1', exitCode: null, at: 14 * S },
      { kind: 'start', attemptId: 'r-2', runId: 'r', scheduledFor: 10 * S, agent: 'a', at: 24_200 },
      { kind: 'end', attemptId: 'r-2', exitCode: null, at: 27 * S },
    ],
    tries: [
      tried('r-1', 'one', 10_100, 11 * S),
      tried('r-1', 'two', 11_010, 11_500, 75),
      tried('r-1', 'two', 13_600, 14 * S, 75),
      tried('r-2', 'one', 24_200, 25 * S),
      tried('r-2', 'two', 25_010, 26 * S),
      tried('r-2', 'three', 26_010, 27 * S, 1),
    ],
    runs: [
      {
        id: 'r',
        jobId: 'job',
        kind: 'scheduled',
        state: 'succeeded',
        reason: null,
        scheduledFor: 10 * S,
        dueAt: 10 * S,
        startBy: 70 * S,
        startedAt: 10_100,
        endedAt: 27_100,
        attempt: 2,
        slot: 0,
        agentId: 'agent-a',
        cancelRequestedAt: null,
      },
    ],
    attempts: [attempt(1, 10_050, 14_050, 'failed'), attempt(2, 24_100, 27_100, 'succeeded')],
    steps: [
      stored('r-1', 0, 'one', 'succeeded', 1),
      stored('r-1', 1, 'two', 'failed', 2),
      stored('r-1', 2, 'odd', 'notRun', 0),
      stored('r-1', 3, 'three', 'notRun', 0),
      stored('r-2', 0, 'one', 'succeeded', 1),
      stored('r-2', 1, 'two', 'succeeded', 1),
      stored('r-2', 2, 'odd', 'skipped', 0),
      stored('r-2', 3, 'three', 'failed', 1),
    ],
    gaps: [],
    changes: [
      'queued',
      'offered',
      'starting',
      'running',
      'queued',
      'offered',
      'starting',
      'running',
      'succeeded',
    ].map((state, index) => ({ runId: 'r', state, at: 10 * S + index })),
    faults: [],
    decisions: [],
    hurried: [],
    dropped: [],
    acknowledged: [],
    readAt: 70 * S,
    limits: { clockErrorMs: 5, healthyMs: 1_500, recoveryMs: {}, killGraceMs: 10 * S },
  };
}

const change = (of: object | undefined, changes: object) => Object.assign(of as object, changes);
/** The run has ended with its first attempt. */
function endAtOnce(history: History, changes: object = {}): void {
  history.attempts.pop();
  history.tries.length = 3;
  history.steps.length = 4;
  history.log.length = 2;
  change(history.runs[0], { state: 'failed', attempt: 1, ...changes });
  history.changes = [{ runId: 'r', state: 'failed', at: 14_050 }];
}

const broken: [Invariant, string, (history: History) => void, RegExp][] = [
  [
    'noStepTwice',
    'a step that is begun again without a policy',
    (h) => h.tries.push(tried('r-1', 'one', 11_001, 11_002)),
    /step one of attempt r-1 was begun again .*wants no further try/,
  ],
  [
    'noStepTwice',
    'more tries than the policy has',
    (h) => h.tries.push(tried('r-1', 'two', 20 * S, 21 * S)),
    /try 3\): its job wants 1 further/,
  ],
  [
    'noStepTwice',
    'a try after an end that is not listed',
    (h) => change(h.tries[1], { exitCode: 1 }),
    /ended with 1/,
  ],
  [
    'noStepTwice',
    'a try after an end that nobody saw',
    (h) => change(h.tries[1], { isSeen: false }),
    /could know/,
  ],
  ['noStepTwice', 'two tries at one time', (h) => change(h.tries[1], { endedAt: 13_700 }), /was going on/],
  [
    'noStepTwice',
    'a try before its delay',
    (h) => change(h.tries[2], { at: 13 * S }),
    /1500 ms after the one before/,
  ],
  [
    'stepsInOrder',
    'a step before the end of the one before',
    (h) => change(h.tries[4], { at: 24_900 }),
    /while step one/,
  ],
  [
    'stepsInOrder',
    'a step after one that failed',
    (h) => change(h.tries[3], { exitCode: 1 }),
    /had ended with 1/,
  ],
  [
    'stepsInOrder',
    'a step after one whose end nobody saw',
    (h) => change(h.tries[3], { isSeen: false }),
    /nobody saw/,
  ],
  [
    'stepsInOrder',
    'a step before one that has to be first',
    (h) => h.tries.splice(3, 1),
    /two .* before step one/,
  ],
  [
    'stepsInOrder',
    'a step whose condition does not hold',
    (h) => h.tries.push(tried('r-2', 'odd', 26_001, 26_002)),
    /odd .* although its condition/,
  ],
  [
    'stepsMatchLog',
    'a step that goes on after its attempt',
    (h) => change(h.steps[1], { state: 'running' }),
    /running although/,
  ],
  [
    'stepsMatchLog',
    'a success that was none',
    (h) => change(h.steps[1], { state: 'succeeded' }),
    /but ended with 75/,
  ],
  [
    'stepsMatchLog',
    'a success of what has not begun',
    (h) => change(h.steps[6], { state: 'succeeded' }),
    /has not begun/,
  ],
  [
    'stepsMatchLog',
    'a step that was passed over, and begun',
    (h) => change(h.steps[0], { state: 'skipped' }),
    /skipped but has begun/,
  ],
  [
    'stepsMatchLog',
    'more tries than are told',
    (h) => change(h.steps[1], { tries: 1 }),
    /1 tries but has begun 2/,
  ],
  [
    'stepsMatchLog',
    'a success without all of its steps',
    (h) => change(h.steps[5], { state: 'failed' }),
    /r-2 succeeded although/,
  ],
  [
    'retryIsAllowed',
    'an attempt that no policy wants',
    (h) => change(h.jobs[0], { retry: null }),
    /its job wants none/,
  ],
  [
    'retryIsAllowed',
    'an attempt after an end that is not listed',
    (h) => change(h.attempts[0], { exitCode: 1 }),
    /after failed \(exitStatus, 1\)/,
  ],
  [
    'retryIsAllowed',
    'an attempt after a success',
    (h) => change(h.attempts[0], { outcome: 'succeeded' }),
    /attempt 1 succeeded/,
  ],
  [
    'retryIsAllowed',
    'an attempt after a lost fate',
    (h) => change(h.attempts[0], { reason: 'exitStatusLost' }),
    /exitStatusLost/,
  ],
  [
    'retryIsAllowed',
    'an attempt before its delay',
    (h) => change(h.attempts[0], { endedAt: 14_200 }),
    /9905 ms after/,
  ],
  [
    'retryIsAllowed',
    'more attempts than the policy has',
    (h) => {
      change(h.attempts[1], { outcome: 'failed', reason: 'exitStatus', exitCode: 75 });
      h.attempts.push(attempt(3, 60 * S, 61 * S, 'succeeded'));
    },
    /attempt 3 .* wants 1 at most/,
  ],
  [
    'retriesAreUsed',
    'a run that ends with attempts left',
    (h) => endAtOnce(h),
    /failed after 1 attempts, .* wants 1 more/,
  ],
  [
    'droppedNeverStarts',
    'an attempt that was dropped',
    (h) => h.dropped.push({ runId: 'r', at: 15 * S }),
    /got attempt 2 at .* dropped at/,
  ],
];

for (const [invariant, what, damage, sentence] of broken) {
  test(`${invariant} names ${what}`, () => {
    const history = sound();
    damage(history);
    const found = check(history).violations.filter((violation) => violation.invariant === invariant);
    assert.ok(
      found.some((violation) => sentence.test(violation.sentence)),
      JSON.stringify(check(history).violations),
    );
  });
}

test('tries and attempts that their policies want break nothing', () => {
  assert.deepEqual(check(sound()).violations, []);
});

test('a person may hurry an attempt, or drop it', () => {
  const hurried = sound();
  change(hurried.attempts[0], { endedAt: 24 * S });
  hurried.hurried.push({ runId: 'r', at: 24_050 });
  assert.deepEqual(check(hurried).violations, []);
  const dropped = sound();
  endAtOnce(dropped);
  dropped.dropped.push({ runId: 'r', at: 15 * S });
  assert.deepEqual(check(dropped).violations, []);
});

test('a run that is cancelled while it waits for its next attempt is not tried again', () => {
  const history = sound();
  endAtOnce(history, { state: 'cancelled', cancelRequestedAt: 15 * S });
  history.changes = ['running', 'queued', 'cancelled'].map((state, at) => ({
    runId: 'r',
    state,
    at: 10 * S + at,
  }));
  assert.deepEqual(check(history).violations, []);
});

test('an attempt after one of unknown fate is allowed where the job says so, once its permit has expired', () => {
  const history = sound();
  change(history.jobs[0], { onUnknown: 'retry' });
  change(history.attempts[0], { state: 'starting', outcome: null, endedAt: null, exitCode: null });
  history.faults.push({ kind: 'agentKilled', from: 10 * S, to: 11 * S, what: 'a', agents: ['agent-a'] });
  history.limits.permitMs = 14 * S;
  history.changes = [
    'queued',
    'offered',
    'starting',
    'unknown',
    'queued',
    'offered',
    'starting',
    'succeeded',
  ].map((state, index) => ({ runId: 'r', state, at: 10_050 + index }));
  assert.deepEqual(check(history).violations, []);
  history.limits.permitMs = 15 * S;
  assert.deepEqual(
    new Set(check(history).violations.map(({ invariant }) => invariant)),
    new Set(['nextAttemptHasProof', 'retryIsAllowed']),
  );
});
