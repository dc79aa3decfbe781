import type { Retry, Step } from '@rota/contract';

/**
 * What one history consists of: plain data, so that a simulation, real processes and a database can all supply it.
 * Instants are epoch ms of one clock; a job's own log is the truth, whatever the database says.
 */
export interface History {
  jobs: JobOfHistory[];
  agents: AgentOfHistory[];
  /** What the jobs themselves wrote down, in any order. */
  log: LogEntry[];
  /** What the steps of jobs with several of them wrote down, in any order. */
  tries: LoggedTry[];
  runs: StoredRun[];
  attempts: StoredAttempt[];
  steps: StoredStep[];
  gaps: StoredGap[];
  /** Changes of runs; those of one run in the order in which they were committed. */
  changes: StateChange[];
  /** Whatever was done to the system, restarts by the book too. */
  faults: Fault[];
  /** What people decided: only they may settle what nobody knows. */
  decisions: Decision[];
  /** Further attempts that people hurried, or dropped. */
  hurried: Decision[];
  dropped: Decision[];
  /** Runs whose making was acknowledged to a client. */
  acknowledged: string[];
  /** When the database was read. */
  readAt: number;
  limits: Limits;
}

/** What the caller allows; the guarantees themselves have no figures. */
export interface Limits {
  /** By how much the clock of the log may differ from that of the database. */
  clockErrorMs: number;
  /** How long a due run may wait while nothing disturbs it. */
  healthyMs: number;
  /** How long after its end a fault of a kind still counts as disturbing; a kind that is not here recovers at once. */
  recoveryMs: Record<string, number>;
  /** After TERM, how long a process that outlived its timeout may still live. */
  killGraceMs: number;
  /** How long a permit is good. Default 0. */
  permitMs?: number;
  /** How long a transaction may last: what it changes carries the time of its beginning, and is seen at its end. Default 0. */
  transactionMs?: number;
  /** By which part clocks of machines may run slower or faster than that of the database. Default 0. */
  clockDrift?: number;
}

export interface JobOfHistory {
  id: string;
  name: string;
  /** `allow`: its runs may overlap. */
  concurrency: string;
  timeoutMs: number | null;
  jitterMs: number;
  startDeadlineMs: number;
  /** Null: one plain step, of which the log of the attempt says all. */
  steps: Step[] | null;
  /** Further attempts. */
  retry: Retry | null;
  onUnknown: 'hold' | 'retry';
  /** What its schedule demands, by an independent oracle, ascending. */
  instants: readonly number[];
  /** The oracle was asked up to here; what is planned for later is nobody's business yet. */
  instantsUntil: number;
}

export interface AgentOfHistory {
  id: string;
  name: string;
  /** As the database shows it at the end. */
  state: string;
}

export type LogEntry =
  | {
      kind: 'start';
      attemptId: string;
      runId: string;
      scheduledFor: number;
      agent: string | null;
      at: number;
      /** When nobody looked after it: its machine stood still, or the processes that watch it did or were gone. */
      unwatched?: { from: number; to: number }[];
    }
  /** Without an exit code when its steps have their own. */
  | { kind: 'end'; attemptId: string; exitCode: number | null; at: number };

export type LoggedStart = Extract<LogEntry, { kind: 'start' }>;
export type LoggedEnd = Extract<LogEntry, { kind: 'end' }>;

/** One try of a step. */
export interface LoggedTry {
  attemptId: string;
  step: string;
  agent: string | null;
  at: number;
  /** Null while it goes on. */
  endedAt: number | null;
  exitCode: number | null;
  /** False when the helper that began it did not live to see its end: nobody can know how it ended. */
  isSeen: boolean;
}

export interface StoredRun {
  id: string;
  jobId: string;
  kind: string;
  state: string;
  reason: string | null;
  scheduledFor: number;
  dueAt: number;
  startBy: number;
  startedAt: number | null;
  endedAt: number | null;
  attempt: number;
  slot: number;
  agentId: string | null;
  cancelRequestedAt: number | null;
}

export interface StoredAttempt {
  id: string;
  runId: string;
  number: number;
  agentId: string;
  /** `starting`, `running`, `ended` or `notStarted`. */
  state: string;
  outcome: string | null;
  reason: string | null;
  exitCode: number | null;
  /** When its permit was granted first. */
  startingAt: number;
  endedAt: number | null;
  /** The database had lost it, and learned of it from its agent: what came of the attempts before it may never be told. */
  told?: boolean;
}

/** A step as the database shows it. */
export interface StoredStep {
  attemptId: string;
  index: number;
  name: string;
  state: string;
  reason: string | null;
  tries: number;
}

export interface StoredGap {
  jobId: string;
  fromAt: number;
  toAt: number;
  count: number;
  outcome: string;
  reason: string | null;
  recordedAt: number;
}

export interface StateChange {
  runId: string;
  state: string;
  at: number;
}

export interface Fault {
  kind: string;
  from: number;
  /** When the cause was gone: the process was started again, the link was mended. */
  to: number;
  /** For people: which replica, agent or link. */
  what: string;
  /** Ids of the agents whose contact or work it can disturb; null: of all, as with replicas and the database. */
  agents: string[] | null;
}

export interface Decision {
  runId: string;
  at: number;
}

export const TERMINAL: ReadonlySet<string> = new Set([
  'succeeded',
  'failed',
  'timedOut',
  'cancelled',
  'skipped',
  'missed',
]);

export const iso = (at: number) => new Date(at).toISOString();

/** Items by a key, each list in the order in which they came. */
export function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    const group = groups.get(name);
    if (group) group.push(item);
    else groups.set(name, [item]);
  }
  return groups;
}

/** The index of the first number that is not below `value`, in an ascending list. */
export function lowerBound(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
