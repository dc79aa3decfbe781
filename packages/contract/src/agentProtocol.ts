import { type Static, type TSchema, Type } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import type { Step } from './job.ts';
import { LIMITS } from './names.ts';
import type { ParamValue } from './params.ts';
import { DECLINE_CODES, REASON_CODES } from './reasons.ts';
import { ATTEMPT_OUTCOMES, HttpResult, RUN_KINDS } from './run.ts';
import { StepResult } from './step.ts';
import type { LocalTime } from './when.ts';

/**
 * What agent and server say to each other on the WebSocket at `/agent`, as JSON text frames.
 *
 * Handshake:  agent `hello` → server `challenge` → agent `resume` → server `welcome` (or `rejected`) → agent `ready`.
 * A start:    server `offer` → agent `accept` (or `decline`) → server `permit` → agent `started` … `output` … `ended`.
 * Reports (`started`, `output`, `ended`) carry (attemptId, seq), are idempotent, and stay with the agent
 * until the server's `ack` says that everything up to that seq is committed.
 * A database that was put back to an older state has lost such commits: `welcome` asks for the agent's `history` then, and
 * the agent tells what it was given to do, also what was acknowledged, before it says `ready`.
 * No message compares clocks of two machines: the agent's readings are of its own boot-time clock.
 */
export const PROTOCOL_VERSION = 1;

/** What the server's key signs in `challenge`, and the agent's key in `resume`: parts joined by a newline. */
export const SERVER_PROOF = 'rota-server-v1';
export const AGENT_PROOF = 'rota-agent-v1';
/** What the server's key signs in `permit`: this, a newline, and the payload's text. */
export const PERMIT_PROOF = 'rota-permit-v1';

/** Text that the server signs to prove itself. */
export function serverProof(hello: { agentId: string; clientNonce: string }, serverNonce: string): string {
  return [SERVER_PROOF, hello.agentId, hello.clientNonce, serverNonce].join('\n');
}

/** Text that the agent signs to prove itself and what it resumes with. */
export function agentProof(
  challenge: { serverNonce: string },
  hello: { agentId: string; clientNonce: string },
  resume: { bootId: string; journalSeq: number; lastNonce: string | null },
): string {
  return [
    AGENT_PROOF,
    hello.agentId,
    challenge.serverNonce,
    hello.clientNonce,
    resume.bootId,
    resume.journalSeq,
    resume.lastNonce ?? '',
  ].join('\n');
}

/** Text that the server signs for a permit's payload. */
export function permitProof(payload: string): string {
  return `${PERMIT_PROOF}\n${payload}`;
}

const Text = (maxLength: number) => Type.String({ maxLength });
const Count = Type.Integer({ minimum: 0 });
const Nonce = Text(128);
const AttemptId = Text(64);
const NullableText = (maxLength: number) => Type.Union([Text(maxLength), Type.Null()]);
const NullableInteger = Type.Union([Type.Integer(), Type.Null()]);

/** A public key of the server, Ed25519, SPKI DER in base64url. */
export const ServerKey = Type.Object({ id: Text(64), publicKey: Text(200) });
export type ServerKey = Static<typeof ServerKey>;

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
/** How far an attempt is, as it says itself; at most one in two seconds. Not acknowledged. */
export const Progress = Type.Object({
  type: Type.Literal('progress'),
  attemptId: AttemptId,
  epoch: Count,
  percent: Type.Number({ minimum: 0, maximum: 100 }),
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

export const Challenge = Type.Object({
  type: Type.Literal('challenge'),
  serverNonce: Nonce,
  keyId: Text(64),
  /** By the key `keyId` over `serverProof`. */
  signature: Text(200),
});
/** After `superseded` (the agent has come another way meanwhile) and `draining` it may come again at once; else a person must act. */
export const Rejected = Type.Object({
  type: Type.Literal('rejected'),
  code: Type.Enum([
    'quarantined',
    'unknownAgent',
    'removed',
    'badSignature',
    'protocol',
    'superseded',
    'draining',
  ]),
  message: Text(500),
});
export const Welcome = Type.Object({
  type: Type.Literal('welcome'),
  sessionEpoch: Count,
  /** To be stored durably before `ready`, and shown in the next `resume`. */
  nonce: Nonce,
  name: Text(100),
  heartbeatMs: Type.Integer({ minimum: 1_000 }),
  /** Current key set; the agent replaces its own with it (it came over a proven session). */
  keys: Type.Array(ServerKey, { minItems: 1, maxItems: 10 }),
  /** The database has lost its last commits: `history` has to come before `ready`. */
  recovering: Type.Boolean(),
});
export const Offer = Type.Object({
  type: Type.Literal('offer'),
  attemptId: AttemptId,
  epoch: Count,
  /** The kinds of its steps, so that an agent can decline what it cannot do. */
  kinds: Type.Array(Text(50), { maxItems: 20 }),
});
/** The offer no longer stands. The agent journals a refusal and answers `refused`, unless it has started. */
export const Withdraw = Type.Object({ type: Type.Literal('withdraw'), attemptId: AttemptId, epoch: Count });
/** Authority to start one attempt once. `payload` is the JSON text of a `Permit`; the signature covers `permitProof(payload)`. */
export const PermitMessage = Type.Object({
  type: Type.Literal('permit'),
  keyId: Text(64),
  payload: Text(2 * 1024 * 1024),
  signature: Text(200),
});
/** End the attempt: TERM, `graceMs`, KILL for its whole tree; if it has not started, refuse it. */
export const Cancel = Type.Object({
  type: Type.Literal('cancel'),
  attemptId: AttemptId,
  epoch: Count,
  graceMs: Count,
});
/** Everything of the attempt up to `seq` is committed. `done`: so is its end (or refusal); its journal entry may go once its permit has expired. */
export const Ack = Type.Object({
  type: Type.Literal('ack'),
  attemptId: AttemptId,
  epoch: Count,
  seq: Count,
  done: Type.Boolean(),
});
/** The server wants the agent to use another server; it is about to stop. */
export const Leaving = Type.Object({ type: Type.Literal('leaving') });

export const SERVER_MESSAGES = {
  challenge: Challenge,
  rejected: Rejected,
  welcome: Welcome,
  offer: Offer,
  withdraw: Withdraw,
  permit: PermitMessage,
  cancel: Cancel,
  ack: Ack,
  leaving: Leaving,
} as const;
export type ServerMessage = {
  [K in keyof typeof SERVER_MESSAGES]: Static<(typeof SERVER_MESSAGES)[K]>;
}[keyof typeof SERVER_MESSAGES];

/** Where a secret's value comes from: the server, or the agent's own environment or file. */
export type SecretSource =
  | { from: 'server'; value: string }
  | { from: 'agentEnv'; name: string }
  | { from: 'agentFile'; path: string };

/** The signed content of a permit: all that the agent needs to execute, so that it executes nothing unsigned. */
export interface Permit {
  attemptId: string;
  epoch: number;
  agentId: string;
  /** Valid on this boot of the agent's machine until its boot-time clock reads more than this. */
  bootId: string;
  validUntilBootMs: number;
  run: {
    id: string;
    tenant: string;
    job: string;
    number: number;
    /** Nominal instant, epoch ms. */
    scheduledFor: number;
    kind: string;
    /** The nominal instant in the zone of the schedule that fired, else of the tenant. */
    local: LocalTime;
    params: Record<string, ParamValue>;
  };
  /** What templates and conditions may name of the agent. */
  agent: { name: string; labels: Record<string, string> };
  key: RunKey;
  steps: Step[];
  /** Those that its steps name, and no others. */
  secrets: Record<string, SecretSource>;
  timeoutMs: number | null;
  killGraceMs: number;
  output: { headBytes: number; tailBytes: number };
}

export type ParsedMessage<M> = { message: M } | { fault: string };

const compiled = new Map<TSchema, Validator>();

/** Reads one frame from an agent; never throws. */
export function parseAgentMessage(text: string): ParsedMessage<AgentMessage> {
  return parse(text, AGENT_MESSAGES);
}

/** Reads one frame from the server; never throws. */
export function parseServerMessage(text: string): ParsedMessage<ServerMessage> {
  return parse(text, SERVER_MESSAGES);
}

function parse<M>(text: string, schemas: Record<string, TSchema>): ParsedMessage<M> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { fault: 'not JSON' };
  }
  const type = value !== null && typeof value === 'object' ? (value as { type?: unknown }).type : undefined;
  if (typeof type !== 'string' || !Object.hasOwn(schemas, type)) return { fault: 'unknown message type' };
  const schema = schemas[type] as TSchema;
  let validator = compiled.get(schema);
  if (!validator) {
    validator = Compile(schema);
    compiled.set(schema, validator);
  }
  if (validator.Check(value)) return { message: value as M };
  const [first] = validator.Errors(value);
  return { fault: `${type}${first?.instancePath ?? ''} ${first?.message ?? 'is not valid'}` };
}
