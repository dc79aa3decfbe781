import {
  type Fault,
  groupBy,
  type History,
  type JobOfHistory,
  type LoggedEnd,
  type LoggedStart,
  type LoggedTry,
  lowerBound,
  type StateChange,
  type StoredAttempt,
  type StoredRun,
  type StoredStep,
} from './history.ts';

/** A history with what is asked of it again and again, looked up once. */
export interface Evidence {
  history: History;
  jobs: ReadonlyMap<string, JobOfHistory>;
  runs: ReadonlyMap<string, StoredRun>;
  attempts: ReadonlyMap<string, StoredAttempt>;
  /** Of a run, by number. */
  attemptsOf: ReadonlyMap<string, StoredAttempt[]>;
  starts: ReadonlyMap<string, LoggedStart[]>;
  ends: ReadonlyMap<string, LoggedEnd[]>;
  /** The first start of each run. */
  firstStart: ReadonlyMap<string, LoggedStart>;
  changesOf: ReadonlyMap<string, StateChange[]>;
  runsOf: ReadonlyMap<string, StoredRun[]>;
  decidedAt: ReadonlyMap<string, number[]>;
  /** Of an attempt, by step, each in the order in which they began. */
  triesOf: ReadonlyMap<string, ReadonlyMap<string, LoggedTry[]>>;
  stepsOf: ReadonlyMap<string, StoredStep[]>;
  agentNames: ReadonlyMap<string, string>;
  /** When anything was disturbed, recovery included. */
  disturbed: Windows;
}

export function gather(history: History): Evidence {
  const starts = history.log.filter((entry) => entry.kind === 'start');
  const firstStart = new Map<string, LoggedStart>();
  for (const start of starts) {
    const first = firstStart.get(start.runId);
    if (!first || start.at < first.at) firstStart.set(start.runId, start);
  }
  const attemptsOf = groupBy(history.attempts, (attempt) => attempt.runId);
  for (const attempts of attemptsOf.values()) attempts.sort((a, b) => a.number - b.number);
  const triesOf = new Map<string, Map<string, LoggedTry[]>>();
  for (const [attemptId, tries] of groupBy(history.tries, (each) => each.attemptId))
    triesOf.set(
      attemptId,
      groupBy(
        tries.toSorted((a, b) => a.at - b.at),
        ({ step }) => step,
      ),
    );
  const decidedAt = new Map<string, number[]>();
  for (const [runId, decisions] of groupBy(history.decisions, (decision) => decision.runId))
    decidedAt.set(
      runId,
      decisions.map(({ at }) => at),
    );
  return {
    history,
    jobs: new Map(history.jobs.map((job) => [job.id, job])),
    runs: new Map(history.runs.map((run) => [run.id, run])),
    attempts: new Map(history.attempts.map((attempt) => [attempt.id, attempt])),
    attemptsOf,
    starts: groupBy(starts, (start) => start.attemptId),
    ends: groupBy(
      history.log.filter((entry) => entry.kind === 'end'),
      (end) => end.attemptId,
    ),
    firstStart,
    changesOf: groupBy(history.changes, (change) => change.runId),
    runsOf: groupBy(history.runs, (run) => run.jobId),
    decidedAt,
    triesOf,
    stepsOf: groupBy(history.steps, (step) => step.attemptId),
    agentNames: new Map(history.agents.map((agent) => [agent.id, agent.name])),
    disturbed: windowsOf(history.faults, history.limits.recoveryMs),
  };
}

/** Stretches of time that do not touch, ascending. */
export interface Windows {
  from: number[];
  to: number[];
  /** Length of all windows before each one. */
  before: number[];
}

/** The windows of faults, each with the recovery time of its kind; those that touch are one. */
export function windowsOf(faults: readonly Fault[], recoveryMs: Record<string, number>): Windows {
  const windows: Windows = { from: [], to: [], before: [] };
  let total = 0;
  for (const fault of faults.toSorted((a, b) => a.from - b.from)) {
    const to = fault.to + (recoveryMs[fault.kind] ?? 0);
    const last = windows.to.length - 1;
    const lastTo = windows.to[last];
    if (lastTo !== undefined && fault.from <= lastTo) {
      windows.to[last] = Math.max(lastTo, to);
      continue;
    }
    if (lastTo !== undefined) total += lastTo - (windows.from[last] as number);
    windows.from.push(fault.from);
    windows.to.push(to);
    windows.before.push(total);
  }
  return windows;
}

/** How much of the time from `from` to `to` lies outside of all windows. */
export function outside(windows: Windows, from: number, to: number): number {
  return to <= from ? 0 : to - from - (insideBefore(windows, to) - insideBefore(windows, from));
}

/** Whether a window has a moment in common with the time from `from` to `to`. */
export function touches(windows: Windows, from: number, to: number): boolean {
  const index = lowerBound(windows.to, from);
  return index < windows.from.length && (windows.from[index] as number) <= to;
}

function insideBefore(windows: Windows, at: number): number {
  const index = lowerBound(windows.from, at) - 1;
  if (index < 0) return 0;
  const from = windows.from[index] as number;
  return (windows.before[index] as number) + Math.min(at, windows.to[index] as number) - from;
}
