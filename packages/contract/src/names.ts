/**
 * Names, ids and the limits of everything that a caller may send.
 * `docs/config.md` lists the same limits; change them together.
 */

/** A job's name: lower case, starts with a letter or digit, at most 100 characters. */
export const JOB_NAME = '^[a-z0-9][a-z0-9._-]{0,99}$';
/** An agent's name: as a host name, any case, at most 100 characters. */
export const AGENT_NAME = '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$';
/** A tenant's name. */
export const TENANT_NAME = '^[a-z0-9][a-z0-9-]{0,62}$';
/** A step's name: it stands in `{{ steps.NAME.… }}`. */
export const STEP_NAME = '^[A-Za-z][A-Za-z0-9_-]{0,49}$';
/** A secret's name, as `{{NAME}}`. */
export const SECRET_NAME = '^[A-Za-z_][A-Za-z0-9_]{0,99}$';
/** A parameter's name. */
export const PARAM_NAME = '^[A-Za-z_][A-Za-z0-9_]{0,49}$';
/** A label's key; its value is `LABEL_VALUE`. */
export const LABEL_KEY = '^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$';
/** A label's value; may be empty. */
export const LABEL_VALUE = '^[A-Za-z0-9._/:@+-]{0,200}$';
/** The name of an environment variable. */
export const ENV_NAME = '^[A-Za-z_][A-Za-z0-9_]{0,254}$';

export const LIMITS = {
  /** Bytes of one request body. */
  bodyBytes: 4 * 1024 * 1024,
  /** Bytes of one job, as JSON. */
  jobBytes: 256 * 1024,
  /** Jobs in one document. */
  jobsPerDocument: 5_000,
  /** Faults reported for one document; the rest is counted. */
  faultsReported: 200,
  titleLength: 200,
  descriptionLength: 10_000,
  ownerLength: 200,
  labels: 50,
  schedulesPerJob: 50,
  cronLength: 256,
  targetAgents: 1_000,
  commandLength: 128 * 1024,
  argv: 1_000,
  envVariables: 200,
  envValueLength: 32 * 1024,
  stdinLength: 64 * 1024,
  pathLength: 4_096,
  urlLength: 8_192,
  params: 50,
  paramLength: 32 * 1024,
  paramChoices: 100,
  steps: 50,
  stepNameLength: 50,
  /** JSON text of a step's or run's result. */
  resultBytes: 64 * 1024,
  summaryLength: 1_000,
  headers: 100,
  headerLength: 8_192,
  httpBodyLength: 128 * 1024,
  /** What may be kept of an answer's body. */
  httpSampleBytes: 1024 * 1024,
  /** A certificate or key. */
  pemLength: 64 * 1024,
  /** A pattern, or a path into JSON; and how many of them one expectation has. */
  patternLength: 500,
  patterns: 20,
  /** Shortest and longest time of any duration field. */
  durationMaxMs: 365 * 86_400_000,
  /** Entries of one page of a list. */
  pageDefault: 50,
  pageMax: 500,
  /** What is kept of a run's output, from its start and from its end. */
  outputHeadBytes: 1024 * 1024,
  outputTailBytes: 1024 * 1024,
  /** Bytes of output in one message or row, before encoding. */
  outputChunkBytes: 32 * 1024,
  /** Bytes of one message between agent and server. */
  messageBytes: 4 * 1024 * 1024,
  /** Attempts that an agent may run at one time. */
  agentParallelMax: 10_000,
  idempotencyKeyLength: 200,
  /** Characters that a secret's value has at least: a shorter one would be masked wherever it happens to stand. */
  secretMinLength: 6,
  /** Bytes of a secret's value, of all in one permit, and secrets of a tenant. */
  secretBytes: 64 * 1024,
  secretBytesOfPermit: 256 * 1024,
  secrets: 2_000,
} as const;
