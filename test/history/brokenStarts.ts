import { type Broken, leaveAlone, run, S, start, without } from './soundHistory.ts';

/** What must be seen of starts and attempts. */
export const BROKEN_STARTS: Broken[] = [
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
];
