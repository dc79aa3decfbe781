import type { Invariant } from './check.ts';
import type { History, StoredRun } from './history.ts';

export const S = 1_000;
const MINUTE = 60 * S;

export function aRun(id: string, at: number, patch: Partial<StoredRun>): StoredRun {
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
export function sound(): History {
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

export function attempt(
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

export function changes(runId: string, from: number, states: string[]): History['changes'] {
  return states.map((state, index) => ({ runId, state, at: from + index }));
}

/** The first run goes on while nobody can end it. */
export function leaveAlone(
  history: History,
  { timeoutMs, from, to, endedAt }: { timeoutMs: number; from: number; to: number; endedAt: number },
): void {
  Object.assign(history.jobs[0] as object, { timeoutMs });
  Object.assign(history.log[0] as object, { unwatched: [{ from, to }] });
  Object.assign(history.log[1] as object, { at: endedAt });
  Object.assign(history.attempts[0] as object, { endedAt });
}

export const run = (history: History, id: string) => history.runs.find((each) => each.id === id) as StoredRun;
export const start = (history: History, attemptId: string) =>
  history.log.find((entry) => entry.attemptId === attemptId) as Extract<
    History['log'][number],
    { kind: 'start' }
  >;
export const without = (history: History, kind: string, attemptId: string) => {
  history.log = history.log.filter((entry) => entry.kind !== kind || entry.attemptId !== attemptId);
};

/** An invariant, what breaks it in a sound history, and what is said of that. */
export type Broken = [Invariant, string, (history: History) => void, RegExp];
