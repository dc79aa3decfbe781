import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BROKEN_OUTCOMES } from './brokenOutcomes.ts';
import { BROKEN_STARTS } from './brokenStarts.ts';
import { check, INVARIANT_NAMES, type Invariant } from './check.ts';
import type { History } from './history.ts';
import { aRun, attempt, changes, leaveAlone, S, sound, start } from './soundHistory.ts';

const BROKEN = [...BROKEN_STARTS, ...BROKEN_OUTCOMES];

test('a sound history has no violations', () => {
  assert.deepEqual(check(sound()).violations, []);
});

for (const [invariant, what, breakIt, sentence] of BROKEN) {
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
  const seen = new Set([...BROKEN.map(([invariant]) => invariant), ...OF_STEPS]);
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
  const before = process.cpuUsage();
  assert.deepEqual(check(history).violations, []);
  // Of the processor, whatever else the machine does: with the square it would be hours.
  const { user } = process.cpuUsage(before);
  assert.ok(user < 60e6, `${user} µs: the work must not grow with the square`);
});
