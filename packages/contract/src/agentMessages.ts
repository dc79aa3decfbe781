import { type Static, Type } from 'typebox';
import { LIMITS } from './names.ts';
import { AttemptId, Count, Nonce, NullableInteger, NullableText, Text } from './protocolFields.ts';
import { DECLINE_CODES, REASON_CODES } from './reasons.ts';
import { ATTEMPT_OUTCOMES, HttpResult, RUN_KINDS } from './run.ts';
import { StepResult } from './step.ts';

// What an agent says to a server.

/** What an agent knows about its machine. */
export const AgentFacts = Type.Object({
  hostname: Text(255),
  os: Text(200),
  arch: Text(50),
  kernel: Text(200),
  cpus: Count,
  memoryBytes: Count,
  /** When the machine booted, by its own wall clock, epoch ms: for people only. */
  bootedAt: Type.Integer(),
  addresses: Type.Array(Text(64), { maxItems: 50 }),
  timezone: Text(64),
  agentVersion: Text(50),
  runtime: Text(50),
  pid: Count,
  user: Text(64),
});
export type AgentFacts = Static<typeof AgentFacts>;

/** An attempt as an agent's journal has it. */
export const JournalledAttempt = Type.Object({
  attemptId: AttemptId,
  epoch: Count,
  state: Type.Enum(['accepted', 'started', 'ended', 'refused']),
});
export type JournalledAttempt = Static<typeof JournalledAttempt>;

export const Hello = Type.Object({
  type: Type.Literal('hello'),
  protocol: Type.Integer(),
  agentId: Text(64),
  clientNonce: Nonce,
  agentVersion: Text(50),
});
export const Resume = Type.Object({
  type: Type.Literal('resume'),
  signature: Text(200),
  bootId: Text(64),
  bootMs: Type.Integer({ description: "Reading of the agent's boot-time clock, ms." }),
  journalSeq: Count,
  lastNonce: Type.Union([Nonce, Type.Null()]),
  facts: AgentFacts,
  maxParallel: Type.Integer({ minimum: 0 }),
  draining: Type.Boolean(),
  attempts: Type.Array(JournalledAttempt, { maxItems: 50_000 }),
});
export const Ready = Type.Object({ type: Type.Literal('ready'), nonce: Nonce });

/**
 * How far back an agent remembers what the server has acknowledged: from the last acknowledgement on, and at most so many
 * attempts. A database that has lost more than that cannot be mended.
 */
export const LOSS_WINDOW_MS = 10 * 60_000;
export const HISTORY_MAX = 20_000;
/** Attempts of one `history` message. */
export const HISTORY_PER_MESSAGE = 500;

/** Yes to an offer: journalled and fsynced. The reading is what the permit's lifetime counts from. */
export const Accept = Type.Object({
  type: Type.Literal('accept'),
  attemptId: AttemptId,
  epoch: Count,
  bootId: Text(64),
  bootMs: Type.Integer(),
  journalSeq: Count,
});
export const Decline = Type.Object({
  type: Type.Literal('decline'),
  attemptId: AttemptId,
  epoch: Count,
  code: Type.Enum([...DECLINE_CODES]),
  detail: Text(500),
});
/** A journalled promise never to start this attempt under this epoch: proof that it was not started. */
export const Refused = Type.Object({
  type: Type.Literal('refused'),
  attemptId: AttemptId,
  epoch: Count,
  reason: Type.Enum([
    'withdrawn',
    'permitExpired',
    'permitInvalid',
    'cancelled',
    'notExecuted',
    'hostRestarted',
  ]),
  journalSeq: Count,
});
/** The journal has "started" on disk and the helper was told to execute. seq is 1. */
export const Started = Type.Object({
  type: Type.Literal('started'),
  attemptId: AttemptId,
  epoch: Count,
  seq: Count,
  pid: NullableInteger,
  journalSeq: Count,
});
export const OutputChunk = Type.Object({
  /** Ascending within the attempt, from 2. A gap in seq is not an error: see `droppedBytes`. */
  seq: Count,
  stream: Type.Enum(['stdout', 'stderr']),
  /** Milliseconds since the attempt's start, by the agent's boot-time clock. */
  atMs: Count,
  /** Bytes that were left out just before this chunk. */
  droppedBytes: Count,
  /** Base64. */
  data: Text(64 * 1024),
});
export type OutputChunk = Static<typeof OutputChunk>;
export const Output = Type.Object({
  type: Type.Literal('output'),
  attemptId: AttemptId,
  epoch: Count,
  chunks: Type.Array(OutputChunk, { minItems: 1, maxItems: 64 }),
});
export const AttemptEnd = Type.Object({
  outcome: Type.Enum([...ATTEMPT_OUTCOMES]),
  reason: Type.Union([Type.Enum([...REASON_CODES]), Type.Null()]),
  exitCode: NullableInteger,
  signal: NullableText(20),
  error: NullableText(2_000),
  durationMs: Count,
  cpuMs: NullableInteger,
  maxRssBytes: NullableInteger,
  outputBytes: Count,
  outputDroppedBytes: Count,
  http: Type.Union([HttpResult, Type.Null()]),
  /** Of a chain; empty for one plain step, of which the rest says all. */
  steps: Type.Array(StepResult, { maxItems: LIMITS.steps }),
  /** JSON text that the run gave as its result, and what it said of itself. */
  result: NullableText(LIMITS.resultBytes),
  summary: NullableText(LIMITS.summaryLength),
});
export type AttemptEnd = Static<typeof AttemptEnd>;
/** What makes a run again whose row was lost; the permit brings it, and the agent's journal keeps it. */
export const RunKey = Type.Object({
  jobId: Text(64),
  revision: Count,
  kind: Type.Enum([...RUN_KINDS]),
  occurrenceKey: Text(300),
  part: Text(100),
  scheduledFor: Type.Integer(),
  dueAt: Type.Integer(),
  /** Its first permit was out by then. */
  startBy: Type.Integer(),
  timeoutMs: NullableInteger,
});
export type RunKey = Static<typeof RunKey>;
/** An attempt that the agent had a permit for, or refused. */
export const HistoryAttempt = Type.Object({
  attemptId: AttemptId,
  epoch: Count,
  /** `ended`: so that the server has acknowledged it. What it has not is `started`, and its end is reported as always. */
  state: Type.Enum(['started', 'ended', 'refused']),
  /** A permit was seen: the attempt's number is used up. */
  permitted: Type.Boolean(),
  /** Null when it was not started. */
  key: Type.Union([RunKey, Type.Null()]),
  /** Null when the machine has restarted since. */
  startedMsAgo: Type.Union([Count, Type.Null()]),
  endedMsAgo: Type.Union([Count, Type.Null()]),
  end: Type.Union([AttemptEnd, Type.Null()]),
});
export type HistoryAttempt = Static<typeof HistoryAttempt>;
/** Asked for by `welcome.recovering`, before `ready`; in several messages when there is much. */
export const History = Type.Object({
  type: Type.Literal('history'),
  attempts: Type.Array(HistoryAttempt, { maxItems: HISTORY_PER_MESSAGE }),
  last: Type.Boolean(),
});
/** The end of an attempt; its seq is higher than that of every other report of it. */
export const Ended = Type.Object({
  type: Type.Literal('ended'),
  attemptId: AttemptId,
  epoch: Count,
  seq: Count,
  end: AttemptEnd,
  journalSeq: Count,
});
/** How a chain gets on: told live, again when a session begins, and for good in `ended`. Not acknowledged. */
export const StepReport = Type.Object({
  type: Type.Literal('step'),
  attemptId: AttemptId,
  epoch: Count,
  step: StepResult,
});
/**
 * How far an attempt is, as it says itself, and null when that holds no more: at most one a second, told again when a session begins.
 * Not acknowledged.
 */
export const Progress = Type.Object({
  type: Type.Literal('progress'),
  attemptId: AttemptId,
  epoch: Count,
  percent: Type.Union([Type.Number({ minimum: 0, maximum: 100 }), Type.Null()]),
});
/**
 * The helper that ran a chain has died between two steps, or after a step whose failure does not matter: the agent asks for the
 * permit's content again, to go on with the next step. The answer is a permit for the same epoch, or a withdraw.
 */
export const Continue = Type.Object({
  type: Type.Literal('continue'),
  attemptId: AttemptId,
  epoch: Count,
  bootId: Text(64),
  bootMs: Type.Integer(),
});
/** Sent every `heartbeatMs` and when one of its facts changes. */
export const Status = Type.Object({
  type: Type.Literal('status'),
  bootMs: Type.Integer(),
  active: Count,
  maxParallel: Count,
  draining: Type.Boolean(),
  /** Why it would decline any offer now; null when it would not. */
  blocked: Type.Union([Type.Enum([...DECLINE_CODES]), Type.Null()]),
});
/** The agent leaves on purpose; running jobs go on under its helper. */
export const Goodbye = Type.Object({ type: Type.Literal('goodbye') });

export const AGENT_MESSAGES = {
  hello: Hello,
  resume: Resume,
  history: History,
  ready: Ready,
  accept: Accept,
  decline: Decline,
  refused: Refused,
  started: Started,
  output: Output,
  ended: Ended,
  step: StepReport,
  progress: Progress,
  continue: Continue,
  status: Status,
  goodbye: Goodbye,
} as const;
export type AgentMessage = {
  [K in keyof typeof AGENT_MESSAGES]: Static<(typeof AGENT_MESSAGES)[K]>;
}[keyof typeof AGENT_MESSAGES];
