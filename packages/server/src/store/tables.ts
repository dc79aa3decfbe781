import type {
  AttemptOutcome,
  AuditAction,
  EventType,
  ReasonCode,
  Role,
  RunKind,
  RunState,
  SecretKind,
  StepState,
} from '@rota/contract';

/**
 * The tables, as both databases have them. Instants are epoch ms; booleans are 0 and 1; `…Json` holds JSON text.
 * Everything belongs to a tenant, and every key has the tenant in it.
 */
export interface Tables {
  tenants: TenantRow;
  serverKeys: ServerKeyRow;
  tokens: TokenRow;
  joinTokens: JoinTokenRow;
  jobs: JobRow;
  jobRevisions: JobRevisionRow;
  runs: RunRow;
  attempts: AttemptRow;
  steps: StepRow;
  output: OutputRow;
  gaps: GapRow;
  idempotencyKeys: IdempotencyKeyRow;
  agents: AgentRow;
  replicas: ReplicaRow;
  databaseIdentity: DatabaseIdentityRow;
  recoveries: RecoveryRow;
  events: EventRow;
  masterKeys: MasterKeyRow;
  secrets: SecretRow;
  audit: AuditRow;
}

export interface TenantRow {
  id: string;
  name: string;
  timezone: string;
  createdAt: number;
}

/** Ed25519 keys that sign permits and challenges. Exactly one is `active`; retired ones stay pinned by agents for a while. */
export interface ServerKeyRow {
  id: string;
  /** SPKI DER, base64url. */
  publicKey: string;
  /** PKCS8 DER, base64url. */
  privateKey: string;
  active: number;
  createdAt: number;
}

export interface TokenRow {
  tenantId: string;
  id: string;
  name: string;
  /** SHA-256 of the secret, base64url. */
  hash: string;
  role: Role;
  createdAt: number;
  createdBy: string | null;
  expiresAt: number | null;
  lastUsedAt: number | null;
}

export interface JoinTokenRow {
  tenantId: string;
  id: string;
  hash: string;
  labelsJson: string;
  expiresAt: number;
  createdAt: number;
  createdBy: string | null;
  usedAt: number | null;
  usedBy: string | null;
}

export interface JobRow {
  tenantId: string;
  id: string;
  name: string;
  /** `adHoc` marks the one hidden job that ad hoc runs belong to. */
  kind: 'job' | 'adHoc';
  revision: number;
  documentJson: string;
  /** Whose document applied it last, for pruning; empty when it was made by hand. */
  owner: string;
  /** `every` text → instant that its multiples count from. */
  anchorsJson: string;
  enabled: number;
  pausedAt: number | null;
  pausedBy: string | null;
  pausedNote: string | null;
  /** A tombstone: the name can be revived with its id and cursor. */
  deletedAt: number | null;
  /** Every instant up to here has a run or a gap. */
  plannedThrough: number;
  /** The latest instant that left `planned`; never decreases. */
  firedThrough: number;
  /** The first instant after `plannedThrough`; null when there is none or the job does not plan. */
  nextAt: number | null;
  createdAt: number;
  updatedAt: number;
}

export interface JobRevisionRow {
  tenantId: string;
  jobId: string;
  revision: number;
  /** created, updated, deleted, revived */
  action: string;
  documentJson: string | null;
  at: number;
  by: string;
}

export interface RunRow {
  tenantId: string;
  id: string;
  jobId: string;
  revision: number;
  kind: RunKind;
  /** `s:<scheduledFor>` or `t:<idempotency key>`. */
  occurrenceKey: string;
  part: string;
  /** The definition of an ad hoc run; a job's run has it in its revision. */
  definitionJson: string | null;
  /** Values of its parameters; null when there are none. */
  paramsJson: string | null;
  scheduledFor: number;
  dueAt: number;
  /** Not started by then: missed. */
  startBy: number;
  state: RunState;
  reason: ReasonCode | null;
  detail: string | null;
  /** Grows with every offer and withdrawal: the fence of all messages about the run. */
  epoch: number;
  /** Number of the newest attempt; 0 before the first permit. */
  attempt: number;
  /** Further attempts that its policy allows beside the one that goes on or is waited for; null before the first retry. */
  retriesLeft: number | null;
  /** Since when no server that was asked could open a secret that it names; null once one could. */
  unreadableSince: number | null;
  agentId: string | null;
  /** 1 while the run holds its job's slot. */
  slot: number;
  /** When the scheduler must look at the run next; null when only a message or a person moves it. */
  wakeAt: number | null;
  /** Agents that let an offer of this round pass or declined it. */
  passedJson: string;
  timeoutMs: number | null;
  queuedAt: number | null;
  offeredAt: number | null;
  /** Of the permit that it was first started under: what came after the first start is no lateness. */
  permitAt: number | null;
  /** Of the newest permit. */
  startingAt: number | null;
  /** First. */
  startedAt: number | null;
  /** When it was told. */
  endedAt: number | null;
  /** From its first start to the end of its newest attempt, which its agent measured; null while that goes on, or if nobody knows. */
  durationMs: number | null;
  cancelRequestedAt: number | null;
  cancelRequestedBy: string | null;
  contactLostAt: number | null;
  exitCode: number | null;
  signal: string | null;
  createdBy: string | null;
  createdAt: number;
}

export interface AttemptRow {
  tenantId: string;
  id: string;
  runId: string;
  number: number;
  agentId: string;
  epoch: number;
  state: 'starting' | 'running' | 'ended' | 'notStarted';
  outcome: AttemptOutcome | null;
  reason: ReasonCode | null;
  startingAt: number;
  startedAt: number | null;
  endedAt: number | null;
  permitBootId: string;
  permitUntilBootMs: number;
  pid: number | null;
  exitCode: number | null;
  signal: string | null;
  error: string | null;
  cpuMs: number | null;
  maxRssBytes: number | null;
  durationMs: number | null;
  httpJson: string | null;
  outputBytes: number;
  outputDroppedBytes: number;
  /** Reports up to here are committed. */
  reportedSeq: number;
  /** Output bytes that are stored, in all and beyond the head. */
  headBytes: number;
  tailBytes: number;
  /** Reports that came after the run's end, kept as evidence. */
  evidenceJson: string | null;
  /** Percent, as it says itself. */
  progress: number | null;
  resultJson: string | null;
  summary: string | null;
}

/** A step of an attempt: live as its agent last told it, and for good with the attempt's end. */
export interface StepRow {
  tenantId: string;
  attemptId: string;
  /** Its place in the chain, from 0. */
  index: number;
  name: string;
  state: StepState;
  reason: ReasonCode | null;
  detail: string | null;
  tries: number;
  /** Since the attempt's start, by the agent's clock. */
  startedMs: number | null;
  durationMs: number | null;
  exitCode: number | null;
  signal: string | null;
  error: string | null;
  httpJson: string | null;
  resultJson: string | null;
  summary: string | null;
  /** Its share of the attempt's output, in bytes. */
  outputFrom: number;
  outputTo: number | null;
}

export interface OutputRow {
  tenantId: string;
  attemptId: string;
  seq: number;
  stream: 'stdout' | 'stderr';
  atMs: number;
  droppedBytes: number;
  /** 1 when it counts to the head, which is never dropped. */
  head: number;
  data: Uint8Array;
}

export interface GapRow {
  tenantId: string;
  id: string;
  jobId: string;
  revision: number;
  fromAt: number;
  toAt: number;
  count: number;
  outcome: 'skipped' | 'missed';
  reason: ReasonCode;
  recordedAt: number;
}

/** Outlives the retention of its run. */
export interface IdempotencyKeyRow {
  tenantId: string;
  jobId: string;
  key: string;
  runId: string;
  createdAt: number;
}

export interface AgentRow {
  tenantId: string;
  id: string;
  name: string;
  /** SPKI DER, base64url. */
  publicKey: string;
  orderNumber: number;
  labelsJson: string;
  enabled: number;
  state: 'online' | 'offline' | 'quarantined';
  detail: string | null;
  /** Grows with every session; the one that holds it speaks for the agent. */
  sessionEpoch: number;
  bootId: string | null;
  /** Highest journal sequence number that the agent has shown. */
  journalSeq: number;
  /** The nonce that the agent has confirmed, and the one that it was given last. */
  nonce: string | null;
  pendingNonce: string | null;
  maxParallel: number;
  draining: number;
  blocked: string | null;
  factsJson: string | null;
  connectedAt: number | null;
  lastSeenAt: number | null;
  createdAt: number;
  removedAt: number | null;
  /** The server that holds its session; it may get offers only once it is `online`. */
  replicaId: string | null;
  /** When its session ended without a goodbye: for a moment it counts as present. */
  vanishedAt: number | null;
  /**
   * The database went on from an older state, and the agent has not told yet what it did: whether it was connected then, or
   * known to be away. Null: it has told.
   */
  awaited: 'online' | 'offline' | null;
  /** When something changed last that selection or the holder of its session must see. */
  changedAt: number;
}

/** A server process on this database. It belongs to no tenant. */
export interface ReplicaRow {
  /** Of this start of the process. */
  id: string;
  /** host:pid, for people. */
  name: string;
  startedAt: number;
  seenAt: number;
  /** It wants its agents to go elsewhere. */
  leavingAt: number | null;
  /** Others have not heard of it for too long: its sessions are over, whatever it says. */
  lostAt: number | null;
}

/** Which database wrote the data: one row. */
export interface DatabaseIdentityRow {
  id: number;
  systemId: string;
  /** Grows whenever a standby takes over. */
  timeline: number;
  since: number;
}

/** The database went on from an older state than it had been in. */
export interface RecoveryRow {
  id: number;
  cause: 'failover' | 'restore';
  detectedAt: number;
  /** Instants up to here may have been started unheard. */
  windowTo: number;
  /** Until then later instants wait, too, for agents that were connected. */
  holdUntil: number;
  settledAt: number | null;
}

/** What changed, for watchers; rows live for an hour. */
export interface EventRow {
  /** Assigned by the database. */
  id: number;
  tenantId: string;
  type: EventType;
  subjectId: string;
  jobId: string | null;
  at: number;
  dataJson: string;
}

/** A key that secrets are encrypted under: its id, and what shows whether a file has the right one. The key is in no database. */
export interface MasterKeyRow {
  id: string;
  /** A known text, encrypted under it, base64. */
  check: string;
  /** 1 of the one that is used for what is set from now on. */
  active: number;
  createdAt: number;
}

/** A named value of a tenant. */
export interface SecretRow {
  tenantId: string;
  /** The name of the job that it is for; empty: of all jobs. A deleted job's stay, and are there when it is revived. */
  job: string;
  name: string;
  kind: SecretKind;
  /** Of a value that the server keeps: its master key, and nonce, tag and ciphertext. */
  keyId: string | null;
  sealed: Uint8Array | null;
  /** The agent's variable or file. */
  reference: string | null;
  /** Grows with every change. */
  version: number;
  createdAt: number;
  createdBy: string;
  updatedAt: number;
  updatedBy: string;
}

/** What was done with secrets, and by whom. */
export interface AuditRow {
  /** Assigned by the database. */
  id: number;
  tenantId: string;
  at: number;
  action: AuditAction;
  by: string | null;
  /** Names. */
  secretsJson: string;
  /** A job's name. */
  job: string | null;
  runId: string | null;
  attemptId: string | null;
  agentId: string | null;
  detail: string | null;
}
