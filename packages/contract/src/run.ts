import { type Static, Type } from 'typebox';
import { REASON_CODES } from './reasons.ts';

/** The states of a run; `docs/run-states.md` draws which change is legal. */
export const RUN_STATES = [
  'planned',
  'queued',
  'offered',
  'starting',
  'running',
  'unknown',
  'succeeded',
  'failed',
  'timedOut',
  'cancelled',
  'skipped',
  'missed',
] as const;
export type RunState = (typeof RUN_STATES)[number];

/** States that never change again. */
export const TERMINAL_STATES = [
  'succeeded',
  'failed',
  'timedOut',
  'cancelled',
  'skipped',
  'missed',
] as const satisfies RunState[];
export type TerminalState = (typeof TERMINAL_STATES)[number];

export function isTerminal(state: RunState): state is TerminalState {
  return (TERMINAL_STATES as readonly RunState[]).includes(state);
}

/** What brought a run about. */
export const RUN_KINDS = ['scheduled', 'triggered', 'adHoc'] as const;
export type RunKind = (typeof RUN_KINDS)[number];

/** How an attempt ended, as its agent reports it. */
export const ATTEMPT_OUTCOMES = ['succeeded', 'failed', 'timedOut', 'cancelled'] as const;
export type AttemptOutcome = (typeof ATTEMPT_OUTCOMES)[number];

export const STEP_STATES = [
  'running',
  /** A try has failed, and another follows. */
  'retrying',
  'succeeded',
  'failed',
  'timedOut',
  'cancelled',
  /** Its `when` did not hold. */
  'skipped',
  /** The chain had ended before it. */
  'notRun',
] as const;

/** One of `STEP_STATES`. */
export const StepStateName = Type.Enum([...STEP_STATES]);

export const Instant = Type.String({ format: 'date-time', description: 'An instant, RFC 3339 in UTC.' });
const OptionalInstant = Type.Union([Instant, Type.Null()]);

export const ReasonView = Type.Object({
  code: Type.Enum([...REASON_CODES]),
  sentence: Type.String(),
  remedy: Type.String(),
});

/** A bounded sample of an HTTP answer. */
export const HttpResult = Type.Object({
  status: Type.Union([Type.Integer(), Type.Null()]),
  url: Type.String(),
  redirects: Type.Integer(),
  headers: Type.Record(Type.String(), Type.String()),
});
export type HttpResult = Static<typeof HttpResult>;

/** A step of an attempt. */
export const StepView = Type.Object({
  index: Type.Integer({ description: 'Its place in the chain, from 0.' }),
  name: Type.String(),
  state: StepStateName,
  reason: Type.Union([ReasonView, Type.Null()]),
  detail: Type.Union([Type.String(), Type.Null()], {
    description: 'What is particular to this step, such as the condition that did not hold.',
  }),
  tries: Type.Integer({ description: 'Tries that were begun; 0 when it did not run.' }),
  startedAt: OptionalInstant,
  durationMs: Type.Union([Type.Integer(), Type.Null()], {
    description: 'Of all its tries and the waits between them.',
  }),
  exitCode: Type.Union([Type.Integer(), Type.Null()]),
  signal: Type.Union([Type.String(), Type.Null()]),
  error: Type.Union([Type.String(), Type.Null()]),
  http: Type.Union([HttpResult, Type.Null()]),
  result: Type.Unknown({ description: 'What it gave as `rota:result`; null when it gave none.' }),
  summary: Type.Union([Type.String(), Type.Null()]),
  outputFrom: Type.Integer({
    description:
      "Where its share of the attempt's output begins, in bytes from the start of all that was written.",
  }),
  outputTo: Type.Union([Type.Integer(), Type.Null()], { description: 'Null while it runs.' }),
});
export type StepView = Static<typeof StepView>;

export const AttemptView = Type.Object({
  id: Type.String(),
  number: Type.Integer(),
  agent: Type.Union([Type.String(), Type.Null()]),
  state: Type.Enum(['starting', 'running', 'ended', 'notStarted']),
  outcome: Type.Union([Type.Enum([...ATTEMPT_OUTCOMES]), Type.Null()]),
  reason: Type.Union([ReasonView, Type.Null()]),
  startingAt: Instant,
  startedAt: OptionalInstant,
  endedAt: Type.Union([Instant, Type.Null()], { description: 'When the server was told.' }),
  pid: Type.Union([Type.Integer(), Type.Null()]),
  exitCode: Type.Union([Type.Integer(), Type.Null()]),
  signal: Type.Union([Type.String(), Type.Null()]),
  error: Type.Union([Type.String(), Type.Null()]),
  cpuMs: Type.Union([Type.Integer(), Type.Null()]),
  maxRssBytes: Type.Union([Type.Integer(), Type.Null()]),
  durationMs: Type.Union([Type.Integer(), Type.Null()]),
  http: Type.Union([HttpResult, Type.Null()]),
  outputBytes: Type.Integer({ description: 'Bytes that the attempt wrote.' }),
  outputDroppedBytes: Type.Integer({ description: 'Bytes left out of the middle.' }),
  progress: Type.Union([Type.Integer(), Type.Null()], {
    description:
      'Percent, as its newest step says itself; null when it has said nothing, and once it has succeeded.',
  }),
  result: Type.Unknown({ description: 'What it gave as `rota:result`; null when it gave none.' }),
  summary: Type.Union([Type.String(), Type.Null()]),
  steps: Type.Array(StepView, { description: 'Of a chain; empty for one plain step.' }),
});
export type AttemptView = Static<typeof AttemptView>;

/** Where the lateness of a run's first start came from, in milliseconds; null for what has not happened. */
export const Lateness = Type.Object({
  planMs: Type.Union([Type.Integer(), Type.Null()], { description: 'due → queued' }),
  queueMs: Type.Union([Type.Integer(), Type.Null()], { description: 'queued → first offer' }),
  dispatchMs: Type.Union([Type.Integer(), Type.Null()], { description: 'first offer → permit' }),
  execMs: Type.Union([Type.Integer(), Type.Null()], { description: 'permit → started' }),
  totalMs: Type.Union([Type.Integer(), Type.Null()], { description: 'due → started' }),
});

export const RunView = Type.Object({
  id: Type.String(),
  job: Type.Union([Type.String(), Type.Null()], { description: "The job's name; null for an ad hoc run." }),
  revision: Type.Union([Type.Integer(), Type.Null()]),
  kind: Type.Enum([...RUN_KINDS]),
  title: Type.String(),
  state: Type.Enum([...RUN_STATES]),
  reason: Type.Union([ReasonView, Type.Null()]),
  detail: Type.Union([Type.String(), Type.Null()], {
    description: 'What is particular to this run, beside the reason.',
  }),
  agent: Type.Union([Type.String(), Type.Null()]),
  attempt: Type.Integer({ description: 'Number of the newest attempt; 0 before the first.' }),
  retryAt: Type.Union([Instant, Type.Null()], {
    description: 'When the next attempt begins; null unless the run waits for that.',
  }),
  retriesLeft: Type.Union([Type.Integer(), Type.Null()], {
    description:
      'Further attempts that its policy allows, beside the one that goes on or is waited for; null before the first retry.',
  }),
  params: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean()])),
  scheduledFor: Instant,
  dueAt: Instant,
  queuedAt: OptionalInstant,
  offeredAt: OptionalInstant,
  startingAt: OptionalInstant,
  startedAt: OptionalInstant,
  endedAt: Type.Union([Instant, Type.Null()], { description: 'When the server was told.' }),
  durationMs: Type.Union([Type.Integer(), Type.Null()], {
    description:
      'How long it took, from its first start to the end of its last attempt as its agent measured it, however late the server was told; null before its end, or if nobody knows.',
  }),
  cancelRequestedAt: OptionalInstant,
  contactLostAt: OptionalInstant,
  exitCode: Type.Union([Type.Integer(), Type.Null()]),
  signal: Type.Union([Type.String(), Type.Null()]),
  lateness: Lateness,
  createdBy: Type.Union([Type.String(), Type.Null()], {
    description: 'The token that asked for it; null for the schedule.',
  }),
});
export type RunView = Static<typeof RunView>;

/** A run as it goes on: with the steps of its newest attempt, and how far that is. */
export type LiveRun = RunView & { steps: StepView[]; progress: number | null };

/** A range of instants that share one outcome, stored as one row. */
export const GapView = Type.Object({
  job: Type.String(),
  revision: Type.Integer(),
  from: Instant,
  to: Instant,
  count: Type.Integer(),
  outcome: Type.Enum(['skipped', 'missed']),
  reason: ReasonView,
  recordedAt: Instant,
});
export type GapView = Static<typeof GapView>;
