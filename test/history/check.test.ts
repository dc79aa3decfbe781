import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check, INVARIANT_NAMES, type Invariant } from './check.ts';
import type { History, StoredRun } from './history.ts';

const S = 1_000;
const MINUTE = 60 * S;

function aRun(id: string, at: number, patch: Partial<StoredRun>): StoredRun {
  return {
    id,
    jobId: 'job',
    kind: 'scheduled',
    state: 'succeeded',
    reason: null,
    scheduledFor: at,
    dueAt: at,
    startBy: at + MINUTE,
    startedAt: null,
    endedAt: at + 500,
    attempt: 0,
    slot: 0,
    agentId: null,
    cancelRequestedAt: null,
    ...patch,
  };
}

/**
 * A job each ten seconds: the first run is lost sight of when its agent is killed at 15 s and settled at 22 s, and the second
 * one skipped meanwhile; the third is tried twice; two instants pass while nobody plans; the last one succeeds.
 */
function sound(): History {
  return {
    jobs: [
      {
        id: 'job',
        name: 'job',
        concurrency: 'forbid',
        timeoutMs: null,
        jitterMs: 100,
        startDeadlineMs: MINUTE,
        steps: null,
        retry: null,
        onUnknown: 'hold',
        instants: [10 * S, 20 * S, 30 * S, 40 * S, 50 * S, 60 * S],
        instantsUntil: 65 * S,
      },
    ],
    agents: [
      { id: 'agent-a', name: 'a', state: 'online' },
      { id: 'agent-b', name: 'b', state: 'online' },
    ],
    log: [
      { kind: 'start', attemptId: 'r1-1', runId: 'r1', scheduledFor: 10 * S, agent: 'a', at: 10_020 },
      { kind: 'end', attemptId: 'r1-1', exitCode: 0, at: 21 * S },
      { kind: 'start', attemptId: 'r3-2', runId: 'r3', scheduledFor: 30 * S, agent: 'b', at: 31_200 },
      { kind: 'end', attemptId: 'r3-2', exitCode: 3, at: 31_300 },
      { kind: 'start', attemptId: 'r6-1', runId: 'r6', scheduledFor: 60 * S, agent: 'a', at: 60_150 },
      { kind: 'end', attemptId: 'r6-1', exitCode: 0, at: 60_200 },
    ],
    runs: [
      aRun('r1', 10 * S, { attempt: 1, agentId: 'agent-a', startedAt: 10_010, endedAt: 22_000 }),
      aRun('r2', 20 * S, { state: 'skipped', reason: 'previousRunUnknown', endedAt: 20_001 }),
      aRun('r3', 30 * S, { state: 'failed', reason: 'exitStatus', attempt: 2, endedAt: 31_400 }),
      aRun('r6', 60 * S, { dueAt: 60_100, attempt: 1, endedAt: 60_300 }),
    ],
    attempts: [
      attempt('r1-1', 'agent-a', 10_005, { outcome: 'succeeded', exitCode: 0, endedAt: 22_000 }),
      attempt('r3-1', 'agent-a', 30_100, { state: 'notStarted', endedAt: 31_000 }),
      attempt('r3-2', 'agent-b', 31_100, { outcome: 'failed', exitCode: 3, endedAt: 31_400 }),
      attempt('r6-1', 'agent-a', 60_110, { outcome: 'succeeded', exitCode: 0, endedAt: 60_300 }),
    ],
    tries: [],
    steps: [],
    gaps: [
      {
        jobId: 'job',
        fromAt: 40 * S,
        toAt: 50 * S,
        count: 2,
        outcome: 'skipped',
        reason: 'catchUp',
        recordedAt: 58 * S,
      },
    ],
    changes: [
      ...changes('r1', 10 * S, ['queued', 'offered', 'starting', 'running']),
      { runId: 'r1', state: 'unknown', at: 16 * S },
      { runId: 'r1', state: 'succeeded', at: 22 * S },
      ...changes('r2', 20 * S, ['skipped']),
      ...changes('r3', 30 * S, ['queued', 'offered', 'starting', 'queued', 'offered', 'starting', 'failed']),
      ...changes('r6', 60 * S, ['queued', 'offered', 'starting', 'running', 'succeeded']),
    ],
    faults: [
      { kind: 'agentKilled', from: 15 * S, to: 17 * S, what: 'agent a', agents: ['agent-a'] },
      { kind: 'replicasKilled', from: 38 * S, to: 57 * S, what: 'all', agents: null },
    ],
    decisions: [],
    hurried: [],
    dropped: [],
    acknowledged: ['r1'],
    readAt: 70 * S,
    limits: {
      clockErrorMs: 5,
      healthyMs: 1_500,
      recoveryMs: { agentKilled: 6 * S, replicasKilled: 2 * S },
      killGraceMs: 10 * S,
    },
  };
}

function attempt(
  id: string,
  agentId: string,
  startingAt: number,
  patch: object,
): History['attempts'][number] {
  const [runId = '', number = ''] = id.split('-');
  return {
    id,
    runId,
    number: Number(number),
    agentId,
    state: 'ended',
    outcome: null,
    reason: null,
    exitCode: null,
    startingAt,
    endedAt: null,
    ...patch,
  };
}

function changes(runId: string, from: number, states: string[]): History['changes'] {
  return states.map((state, index) => ({ runId, state, at: from + index }));
}

/** The first run goes on while nobody can end it. */
function leaveAlone(
  history: History,
  { timeoutMs, from, to, endedAt }: { timeoutMs: number; from: number; to: number; endedAt: number },
): void {
  Object.assign(history.jobs[0] as object, { timeoutMs });
  Object.assign(history.log[0] as object, { unwatched: [{ from, to }] });
  Object.assign(history.log[1] as object, { at: endedAt });
  Object.assign(history.attempts[0] as object, { endedAt });
}

const run = (history: History, id: string) => history.runs.find((each) => each.id === id) as StoredRun;
const start = (history: History, attemptId: string) =>
  history.log.find((entry) => entry.attemptId === attemptId) as Extract<
    History['log'][number],
    { kind: 'start' }
  >;
const without = (history: History, kind: string, attemptId: string) => {
  history.log = history.log.filter((entry) => entry.kind !== kind || entry.attemptId !== attemptId);
};

const broken: [Invariant, string, (history: History) => void, RegExp][] = [
  ['noAttemptTwice', 'a second start of an attempt', (h) => h.log.push({ ...start(h, 'r1-1') }), /2 times/],
  ['startHasPermit', 'a start without a permit', (h) => h.attempts.pop(), /r6-1 started .* without a permit/],
  [
    'startHasPermit',
    'a start on an agent that the permit is not for',
    (h) => Object.assign(start(h, 'r6-1'), { agent: 'b' }),
    /started on b but its permit is for a/,
  ],
  [
    'notStartedNeverStarts',
    'a start of what was declared not started',
    (h) => h.log.push({ ...start(h, 'r3-2'), attemptId: 'r3-1', agent: 'a' }),
    /r3-1 .* declared not started/,
  ],
  [
    'nextAttemptHasProof',
    'an attempt after one whose end nobody knew',
    (h) => Object.assign(h.attempts[1] as object, { state: 'starting', endedAt: null }),
    /while nobody knew the end of attempt 1/,
  ],
  [
    'nextAttemptHasProof',
    'an attempt that began before the end of the one before',
    (h) => Object.assign(h.attempts[1] as object, { endedAt: 31_101 }),
    /while nobody knew/,
  ],
  [
    'nextAttemptHasProof',
    'an attempt number that was left out',
    (h) => Object.assign(h.attempts[2] as object, { number: 3 }),
    /attempt 3 after attempt 1/,
  ],
  ['neverEarly', 'an early start', (h) => Object.assign(start(h, 'r1-1'), { at: 9_994 }), /6 ms early/],
  [
    'neverEarly',
    'a start before its jitter has passed',
    (h) => Object.assign(start(h, 'r6-1'), { at: 60_050 }),
    /50 ms early/,
  ],
  [
    'neverEarly',
    'a run that is due before its instant',
    (h) => Object.assign(run(h, 'r1'), { dueAt: 9_999 }),
    /due 1 ms before/,
  ],
  [
    'noOverlap',
    'two starts of a job that overlap',
    (h) => Object.assign(h.log[1] as object, { at: 32_000 }),
    /r3-2 started .* while attempt r1-1/,
  ],
  [
    'noOverlap',
    'a start while another may go on for ever',
    (h) => {
      without(h, 'end', 'r1-1');
      Object.assign(h.attempts[0] as object, { state: 'running', outcome: null, endedAt: null });
    },
    /going on until now/,
  ],
  [
    'noOverlap',
    'a start before the timeout of another has surely ended it',
    (h) => {
      without(h, 'end', 'r1-1');
      Object.assign(h.attempts[0] as object, { state: 'running', outcome: null, endedAt: null });
      Object.assign(h.jobs[0] as object, { timeoutMs: 11_300 });
    },
    /r3-2 started/,
  ],
  [
    'noOverlap',
    'a start before timeout and grace of one that nobody looked after',
    (h) => leaveAlone(h, { timeoutMs: 11_300, from: 15 * S, to: 60 * S, endedAt: 60 * S }),
    /r3-2 started/,
  ],
  [
    'noOverlap',
    'one that went on for longer than the grace after somebody looked after it again',
    (h) => leaveAlone(h, { timeoutMs: 5 * S, from: 12 * S, to: 30 * S, endedAt: 40_001 }),
    /r3-2 started/,
  ],
  [
    'noOverlap',
    'one that was looked after when its timeout passed',
    (h) => leaveAlone(h, { timeoutMs: 5 * S, from: 25_100, to: 38 * S, endedAt: 39 * S }),
    /r3-2 started/,
  ],
  [
    'outcomeMatchesLog',
    'a success without a start',
    (h) => {
      without(h, 'start', 'r6-1');
    },
    /r6-1 succeeded but its log has no start/,
  ],
  [
    'outcomeMatchesLog',
    'a success without an end',
    (h) => {
      without(h, 'end', 'r6-1');
    },
    /no end/,
  ],
  [
    'outcomeMatchesLog',
    'an exit code that is not the one logged',
    (h) => Object.assign(h.attempts[2] as object, { exitCode: 4 }),
    /ended with 3 but 4/,
  ],
  [
    'outcomeMatchesLog',
    'an outcome that nobody reported',
    (h) => Object.assign(h.attempts[2] as object, { state: 'running', outcome: null }),
    /r3 is failed but its last attempt is running/,
  ],
  [
    'outcomeMatchesLog',
    'a start of a run that was skipped',
    (h) => h.log.push({ ...start(h, 'r1-1'), attemptId: 'r2-1', runId: 'r2' }),
    /r2 is skipped but started/,
  ],
  ['everyInstantAccounted', 'an instant without an outcome', (h) => h.runs.pop(), /has no outcome/],
  [
    'everyInstantAccounted',
    'an instant with two outcomes',
    (h) => Object.assign(h.gaps[0] as object, { fromAt: 30 * S, count: 3 }),
    /2 outcomes: 1 runs and 1 gaps/,
  ],
  [
    'everyInstantAccounted',
    'two runs for one instant',
    (h) => h.runs.push({ ...run(h, 'r6'), id: 'r7' }),
    /2 runs/,
  ],
  [
    'everyInstantAccounted',
    'a gap that counts wrongly',
    (h) => Object.assign(h.gaps[0] as object, { count: 5 }),
    /counts 5 instants but spans 2/,
  ],
  [
    'nothingExtra',
    'a run that the schedule does not demand',
    (h) => Object.assign(h.jobs[0] as object, { instants: [20 * S, 30 * S, 40 * S, 50 * S, 60 * S] }),
    /r1 is for .* does not demand/,
  ],
  ['nothingExtra', 'a start of no run', (h) => Object.assign(start(h, 'r6-1'), { runId: 'x' }), /not exist/],
  [
    'nothingExtra',
    'a start for another instant than its run',
    (h) => Object.assign(start(h, 'r6-1'), { scheduledFor: 50 * S }),
    /but its run is for/,
  ],
  [
    'acknowledgedIsDurable',
    'a lost acknowledgement',
    (h) => h.acknowledged.push('gone'),
    /gone was acknowledged/,
  ],
  [
    'terminalUnchanged',
    'a change after the end',
    (h) => h.changes.push({ runId: 'r2', state: 'queued', at: 21 * S }),
    /changed after its end: skipped → queued/,
  ],
  [
    'terminalUnchanged',
    'a state that no change made',
    (h) => Object.assign(run(h, 'r2'), { state: 'missed' }),
    /is missed but its last change made it skipped/,
  ],
  [
    'settled',
    'a run that waits for ever',
    (h) => Object.assign(run(h, 'r6'), { state: 'queued', reason: 'agentsFull' }),
    /not settled: queued \(agentsFull\)/,
  ],
  ['settled', 'a slot that leaked', (h) => Object.assign(run(h, 'r6'), { slot: 1 }), /still holds/],
  [
    'settled',
    'two runs that hold one slot',
    (h) => {
      for (const id of ['r3', 'r6']) Object.assign(run(h, id), { state: 'running', slot: 1, endedAt: null });
    },
    /both hold/,
  ],
  [
    'settled',
    'an unknown run whose agent has come back',
    (h) => Object.assign(run(h, 'r1'), { state: 'unknown', reason: 'agentLost' }),
    /although its agent has come back/,
  ],
  [
    'settled',
    'an unknown run without a reason',
    (h) => Object.assign(run(h, 'r1'), { state: 'unknown' }),
    /unknown without a reason/,
  ],
  [
    'unknownJustified',
    'an unknown run that no fault explains',
    (h) => Object.assign(h.faults[0] as object, { agents: ['agent-b'] }),
    /nothing had touched its agent/,
  ],
  [
    'unknownJustified',
    'an unknown run whose fault was long over',
    (h) => Object.assign(h.faults[0] as object, { from: 1 * S, to: 2 * S }),
    /nothing had touched its agent/,
  ],
  [
    'unknownJustified',
    'an unknown run without a permit',
    (h) => h.changes.unshift({ runId: 'r2', state: 'unknown', at: 20 * S }),
    /no permit was out/,
  ],
  [
    'missedIsLate',
    'a run that was missed before its deadline',
    (h) => Object.assign(run(h, 'r2'), { state: 'missed', reason: 'startDeadline' }),
    /before its deadline/,
  ],
  [
    'missedIsLate',
    'a missed run that has started',
    (h) => Object.assign(run(h, 'r1'), { state: 'missed', endedAt: 80 * S }),
    /missed but started/,
  ],
  [
    'missedIsLate',
    'a gap that was missed before its deadline',
    (h) => Object.assign(h.gaps[0] as object, { outcome: 'missed', reason: 'startDeadline' }),
    /the gap up to .* before its deadline/,
  ],
  [
    'skipHasReason',
    'a skip without a reason',
    (h) => Object.assign(run(h, 'r2'), { reason: null }),
    /without a reason/,
  ],
  [
    'skipHasReason',
    'a skip for a run that was not going on',
    (h) => Object.assign(run(h, 'r2'), { endedAt: 25 * S }),
    /none was going on/,
  ],
  [
    'skipHasReason',
    'a run that gave way to none',
    (h) => {
      h.runs.pop();
      Object.assign(run(h, 'r3'), { state: 'skipped', reason: 'superseded' });
    },
    /there is none/,
  ],
  [
    'skipHasReason',
    'a gap without a reason',
    (h) => Object.assign(h.gaps[0] as object, { reason: null }),
    /gap/,
  ],
  [
    'latenessByFaultWindow',
    'a late start that no fault explains',
    (h) => Object.assign(start(h, 'r3-2'), { at: 31_600 }),
    /1600 ms after it was due/,
  ],
  [
    'latenessByFaultWindow',
    'a start that came too long after a fault',
    (h) => Object.assign(start(h, 'r6-1'), { at: 61_700 }),
    /1600 ms after it was due/,
  ],
  [
    'latenessByFaultWindow',
    'instants that were given up although nothing was wrong',
    (h) => h.faults.pop(),
    /the gap from .* was left 18000 ms after/,
  ],
  [
    'latenessByFaultWindow',
    'a run that waited until a later one took its place',
    (h) => Object.assign(run(h, 'r2'), { reason: 'superseded', endedAt: 29_000 }),
    /given up \(superseded\) 9000 ms after .* for 6000 ms/,
  ],
  [
    'latenessByFaultWindow',
    'more jitter than the job has',
    (h) => Object.assign(run(h, 'r6'), { dueAt: 60_101 }),
    /its jitter is 100 ms/,
  ],
];

test('a sound history has no violations', () => {
  assert.deepEqual(check(sound()).violations, []);
});

for (const [invariant, what, breakIt, sentence] of broken) {
  test(`${invariant} sees ${what}`, () => {
    const history = sound();
    breakIt(history);
    const found = check(history).violations.filter((violation) => violation.invariant === invariant);
    assert.match(found.map((violation) => violation.sentence).join('\n'), sentence);
  });
}

/** Those of `checkSteps.test.ts`. */
const OF_STEPS: Invariant[] = [
  'noStepTwice',
  'stepsInOrder',
  'stepsMatchLog',
  'retryIsAllowed',
  'retriesAreUsed',
  'droppedNeverStarts',
];

test('every invariant has been seen to fail', () => {
  const seen = new Set([...broken.map(([invariant]) => invariant), ...OF_STEPS]);
  assert.deepEqual(
    INVARIANT_NAMES.filter((name) => !seen.has(name)),
    [],
  );
});

test('a person may settle what nobody knows, and have it tried again', () => {
  const history = sound();
  Object.assign(history.attempts[1] as object, { state: 'starting', endedAt: null });
  history.decisions.push({ runId: 'r3', at: 31_050 });
  assert.deepEqual(check(history).violations, []);
});

test('what a person has tried again is late from the decision on', () => {
  const history = sound();
  Object.assign(start(history, 'r6-1'), { at: 69_000 });
  const late = () =>
    check(history).violations.filter(({ invariant }) => invariant === 'latenessByFaultWindow').length;
  assert.equal(late(), 1);
  history.decisions.push({ runId: 'r6', at: 68_000 });
  assert.equal(late(), 0);
});

test('what an agent tells of after a loss may lack the attempts before it that were not started', () => {
  const history = sound();
  history.attempts.splice(1, 1);
  const found = () => check(history).violations.map(({ invariant }) => invariant);
  assert.deepEqual(found(), ['nextAttemptHasProof']);
  Object.assign(history.attempts[1] as object, { told: true });
  assert.deepEqual(found(), []);
});

test('of what an agent did not start it tells no time, but that it is over', () => {
  const history = sound();
  const [, refused, next] = history.attempts as [object, object, object];
  const found = () => check(history).violations.map(({ invariant }) => invariant);
  // Told of after the attempt that followed it.
  Object.assign(refused, { told: true, startingAt: 31_150, endedAt: 31_150 });
  assert.deepEqual(found(), ['nextAttemptHasProof']);
  Object.assign(next, { told: true });
  assert.deepEqual(found(), []);
  Object.assign(refused, { endedAt: null });
  assert.deepEqual(found(), ['nextAttemptHasProof']);
});

test('an attempt that nobody could end overlaps until timeout, standstill and grace are over, and no longer', () => {
  const history = sound();
  leaveAlone(history, { timeoutMs: 5 * S, from: 12 * S, to: 30 * S, endedAt: 40 * S });
  const overlaps = () => check(history).violations.filter(({ invariant }) => invariant === 'noOverlap');
  assert.deepEqual(overlaps(), []);
  Object.assign(history.log[0] as object, { unwatched: [] });
  assert.equal(overlaps().length, 1);
});

test('jobs that allow it may overlap', () => {
  const history = sound();
  Object.assign(history.log[1] as object, { at: 32_000 });
  Object.assign(history.jobs[0] as object, { concurrency: 'allow' });
  assert.deepEqual(check(history).violations, []);
});

test('what is planned for later is nobody’s business yet', () => {
  const history = sound();
  history.runs.push(aRun('r8', 80 * S, { state: 'planned', endedAt: null }));
  assert.deepEqual(check(history).violations, []);
});

test('lateness is told by the kinds of fault that were in effect', () => {
  const { statistics } = check(sound());
  assert.deepEqual(statistics, {
    starts: 3,
    runs: 4,
    byState: { succeeded: 2, skipped: 1, failed: 1, 'skipped in gaps': 2 },
    everUnknown: 1,
    faults: { agentKilled: 1, replicasKilled: 1 },
    lateness: {
      none: { starts: 3, p50: 50, p99: 1_200, worst: 1_200 },
      agentKilled: { starts: 0, p50: 0, p99: 0, worst: 0 },
      replicasKilled: { starts: 0, p50: 0, p99: 0, worst: 0 },
    },
  });
  const history = sound();
  history.faults.push({ kind: 'databaseRestarted', from: 30_500, to: 31_000, what: '', agents: null });
  // It was over before the last run was due, but recovery takes its time.
  history.faults.push({ kind: 'replicasKilled', from: 59_000, to: 59_500, what: '', agents: null });
  assert.equal(check(history).statistics.lateness.replicasKilled?.starts, 1);
  assert.deepEqual(check(history).statistics.lateness.databaseRestarted, {
    starts: 1,
    p50: 1_200,
    p99: 1_200,
    worst: 1_200,
  });
});

test('a hundred thousand runs are checked in seconds', () => {
  const history = sound();
  const job = history.jobs[0] as History['jobs'][number];
  const instants: number[] = [];
  const base = sound();
  history.runs = [];
  history.attempts = [];
  history.gaps = [];
  history.log = [];
  history.changes = [];
  for (let index = 1; index <= 100_000; index++) {
    const at = index * S;
    const id = `n${index}`;
    instants.push(at);
    history.runs.push(aRun(id, at, { attempt: 1 }));
    history.attempts.push(
      attempt(`${id}-1`, 'agent-a', at + 1, { outcome: 'succeeded', exitCode: 0, endedAt: at + 500 }),
    );
    const attemptId = `${id}-1`;
    history.log.push({ kind: 'start', attemptId, runId: id, scheduledFor: at, agent: 'a', at: at + 20 });
    history.log.push({ kind: 'end', attemptId, exitCode: 0, at: at + 30 });
    history.changes.push(...changes(id, at, ['queued', 'offered', 'starting', 'running', 'succeeded']));
    history.faults.push({ ...(base.faults[0] as History['faults'][number]), from: at, to: at });
  }
  history.acknowledged = [];
  Object.assign(job, { instants, instantsUntil: 100_000 * S });
  const began = performance.now();
  assert.deepEqual(check(history).violations, []);
  const tookMs = performance.now() - began;
  assert.ok(tookMs < 60_000, `${tookMs} ms: the work must not grow with the square`);
});
