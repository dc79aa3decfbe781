import { isTerminal, type RunState } from '@rota/contract';

/**
 * Which change of a run's state is legal: one table, drawn in `docs/run-states.md`.
 * Nothing else decides it, and no terminal state is on the left side of any arrow.
 */
export const RUN_EVENTS = {
  /** Its instant has come. */
  queue: { from: ['planned'], to: ['queued'] },
  /** A policy says that it does not run. */
  skip: { from: ['planned', 'queued'], to: ['skipped'] },
  /** Its start deadline passed before a permit was out. */
  miss: { from: ['planned', 'queued', 'offered'], to: ['missed'] },
  /** Dropped before any permit was out. */
  drop: { from: ['planned', 'queued', 'offered'], to: ['cancelled'] },
  /** An agent was asked. */
  offer: { from: ['queued'], to: ['offered'] },
  /** The offer no longer stands: too late, declined, or the agent went away. */
  withdraw: { from: ['offered'], to: ['queued'] },
  /** It cannot be given what it needs; nothing was sent. */
  fail: { from: ['offered'], to: ['failed'] },
  /** The agent has journalled the offer; a permit follows. */
  accept: { from: ['offered'], to: ['starting'] },
  /** A permit goes out again, to the same agent for the same attempt. */
  permitAgain: { from: ['unknown'], to: ['starting'] },
  /** The agent's fsynced start was reported. */
  start: { from: ['starting', 'unknown'], to: ['running'] },
  /** The agent reported the end of the attempt. */
  end: { from: ['starting', 'running', 'unknown'], to: ['succeeded', 'failed', 'timedOut', 'cancelled'] },
  /** The attempt has ended, or nobody will ever know, and the job wants another one. */
  retry: { from: ['starting', 'running', 'unknown'], to: ['queued'] },
  /** No further attempt: it ends with the outcome of the last one. */
  giveUp: { from: ['queued', 'offered'], to: ['failed', 'timedOut'] },
  /** The agent proved that the attempt was not and will not be started. */
  notStarted: { from: ['starting', 'unknown'], to: ['queued', 'cancelled', 'missed', 'failed', 'timedOut'] },
  /** Nobody can know any more. */
  lose: { from: ['starting', 'running'], to: ['unknown'] },
  /** The agent told of a start that the database had lost. */
  adopt: {
    from: ['planned', 'queued', 'offered', 'starting', 'running', 'unknown'],
    to: ['running'],
  },
  /** A person decided. */
  resolve: { from: ['unknown'], to: ['succeeded', 'failed', 'queued'] },
} as const satisfies Record<string, { from: readonly RunState[]; to: readonly RunState[] }>;

export type RunEvent = keyof typeof RUN_EVENTS;

/** Whether `event` may move a run from one state to another. */
export function isLegal(event: RunEvent, from: RunState, to: RunState): boolean {
  const rule = RUN_EVENTS[event];
  return (
    !isTerminal(from) &&
    (rule.from as readonly RunState[]).includes(from) &&
    (rule.to as readonly RunState[]).includes(to)
  );
}
