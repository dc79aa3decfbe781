import { type Broken, run, S, start } from './soundHistory.ts';

/** What must be seen of runs, gaps, and how late they were. */
export const BROKEN_OUTCOMES: Broken[] = [
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
