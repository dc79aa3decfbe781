import type { Labels } from '@rota/contract';
import { attemptIdOf, parseAttemptId } from '../runs/ids.ts';
import { type AttemptKey, isCurrent, keyOf, lockAttempt, runOfAttempt } from './attemptMessages.ts';
import { recordAudit } from './audit.ts';
import { get, insert, raise, set } from './byKey.ts';
import { withdrawOffer } from './dispatch.ts';
import { moveRun } from './moveRun.ts';
import { all, type Operation, type Transaction } from './operation.ts';
import { missRun } from './retry.ts';
import { namedSecrets, readSecretsFor } from './secrets.ts';
import type { RunRow, SecretRow } from './tables.ts';

/** What a permit is made of. */
export interface PermitGrant {
  run: RunRow;
  /** Of its revision; null for an ad hoc run, whose definition is in the run. */
  documentJson: string | null;
  jobName: string;
  tenantName: string;
  /** The tenant's. */
  timezone: string;
  agent: { name: string; labels: Labels };
  number: number;
  /** Those that its steps name, and no others. */
  secrets: SecretRow[];
}

/** Tries to open the secrets of a permit that would be given. @returns why they cannot be; null when they can */
export type OpenSecrets = (secrets: readonly SecretRow[]) => string | null;

export interface BootReading {
  bootId: string;
  /** Until when the permit is valid, on that boot's clock. */
  permitUntilBootMs: number;
}

/**
 * An agent has journalled an offer: the run starts, if the offer still stands.
 * @returns what the permit is made of; null when the offer is stale and must be refused
 */
export function* acceptOffer(
  transaction: Transaction,
  input: AttemptKey & BootReading & { journalSeq: number; open?: OpenSecrets },
): Operation<PermitGrant | null> {
  const { tenantId, agentId } = input;
  // A journal that is older than this one is rolled back (see `openSession`).
  yield* raise('agents', { tenantId, id: agentId }, 'journalSeq', input.journalSeq);
  const run = yield* runOfAttempt(transaction, input);
  const parsed = parseAttemptId(input.attemptId);
  const stands =
    run?.state === 'offered' &&
    run.epoch === input.epoch &&
    run.agentId === input.agentId &&
    parsed?.number === run.attempt + 1;
  // The same yes again: the permit that answered it may be lost.
  if (run?.state === 'starting' || run?.state === 'unknown') return yield* permitAgain(transaction, input);
  if (!run || !stands) return null;
  if (run.startBy < transaction.now) {
    yield* missRun(transaction, run);
    return null;
  }
  const number = run.attempt + 1;
  const grant = yield* readGrant(transaction, { ...run, attempt: number }, agentId, input.open);
  if ('missing' in grant) {
    yield* moveRun(transaction, run, 'fail', 'failed', {
      epoch: run.epoch + 1,
      agentId: null,
      reason: 'secretMissing',
      detail: grant.missing,
    });
    return null;
  }
  if ('unreadable' in grant) {
    yield* waitForKey(transaction, run, grant.unreadable);
    return null;
  }
  yield* moveRun(transaction, run, 'accept', 'starting', {
    attempt: number,
    unreadableSince: null,
    durationMs: null,
    permitAt: run.startedAt === null ? transaction.now : run.permitAt,
    startingAt: transaction.now,
    // An agent that has the permit reports within its lifetime; one that does not is lost.
    wakeAt: transaction.now + STARTING_SILENT_MS,
  });
  yield* insert('attempts', {
    tenantId,
    id: attemptIdOf(run.id, number),
    runId: run.id,
    number,
    agentId,
    epoch: input.epoch,
    state: 'starting',
    startingAt: transaction.now,
    permitBootId: input.bootId,
    permitUntilBootMs: input.permitUntilBootMs,
    outputBytes: 0,
    outputDroppedBytes: 0,
    reportedSeq: 0,
    headBytes: 0,
    tailBytes: 0,
  });
  return grant;
}

/** A run whose secrets cannot be opened tries again after a part of the time that it has waited for that, within these bounds. */
const KEY_WAIT_MIN_MS = 1_000;
const KEY_WAIT_MAX_MS = 300_000;
const KEY_WAIT_PART = 4;

/** The run goes back without an attempt, since nothing of it was given: to another agent, perhaps of another server. */
function* waitForKey(transaction: Transaction, run: RunRow, why: string): Operation<void> {
  const { now } = transaction;
  const withdrawn = yield* withdrawOffer(transaction, run, true);
  if (withdrawn.length === 0) return;
  const unreadableSince = run.unreadableSince ?? now;
  const waitMs = Math.min(
    Math.max((now - unreadableSince) / KEY_WAIT_PART, KEY_WAIT_MIN_MS),
    KEY_WAIT_MAX_MS,
  );
  yield* set(
    'runs',
    { tenantId: run.tenantId, id: run.id },
    {
      reason: 'secretUnreadable',
      detail: why,
      unreadableSince,
      wakeAt: Math.min(now + Math.floor(waitMs), run.startBy + 1),
    },
  );
}

/** How long a run may be `starting` under a live session without a word of its start. */
const STARTING_SILENT_MS = 25_000;

/**
 * An agent that lost its permit asks again: the same attempt, the same epoch, a new lifetime.
 * @returns null when the attempt must not start any more; the agent is to refuse it
 */
export function* permitAgain(
  transaction: Transaction,
  input: AttemptKey & BootReading & { open?: OpenSecrets },
): Operation<PermitGrant | null> {
  const run = yield* runOfAttempt(transaction, input);
  if (!run || !isCurrent(run, input) || (run.state !== 'starting' && run.state !== 'unknown')) return null;
  if (run.cancelRequestedAt !== null || run.startBy < transaction.now) return null;
  const attempt = yield* lockAttempt(transaction, input);
  // It was reported as started before: whoever says otherwise now has lost part of its journal.
  if (attempt?.state !== 'starting') return null;
  const slot = yield* slotAgain(transaction, run);
  if (slot === null) return null;
  const grant = yield* readGrant(transaction, run, input.agentId, input.open);
  // A permit may have been out, so that this must not end the run; the next attempt will.
  if (!('run' in grant)) return null;
  // What the agent can do under this permit counts from now.
  const startingAt = transaction.now;
  const permitAt = run.startedAt === null ? startingAt : run.permitAt;
  const wakeAt = transaction.now + STARTING_SILENT_MS;
  if (run.state === 'unknown') {
    yield* moveRun(transaction, run, 'permitAgain', 'starting', {
      reason: null,
      slot,
      contactLostAt: null,
      permitAt,
      startingAt,
      wakeAt,
    });
  } else {
    const { tenantId, id } = run;
    yield* set('runs', { tenantId, id }, { contactLostAt: null, permitAt, startingAt, wakeAt });
  }
  const { bootId: permitBootId, permitUntilBootMs } = input;
  yield* set('attempts', keyOf(input), { permitBootId, permitUntilBootMs });
  return grant;
}

/**
 * The helper that ran a chain has died, and its agent asks for the permit's content again, to go on with a step that was never
 * begun: the same attempt, the same epoch. That it asks is a proof of life.
 * @returns null when the chain must not go on; the agent is to end it
 */
export function* continueAttempt(
  transaction: Transaction,
  input: AttemptKey & BootReading & { open?: OpenSecrets },
): Operation<PermitGrant | null> {
  const run = yield* runOfAttempt(transaction, input);
  if (!run || !isCurrent(run, input) || run.cancelRequestedAt !== null) return null;
  if (run.state !== 'starting' && run.state !== 'running' && run.state !== 'unknown') return null;
  const attempt = yield* lockAttempt(transaction, input);
  if (attempt?.state !== 'starting' && attempt?.state !== 'running') return null;
  // Its slot may have been given to a later run meanwhile.
  const slot = yield* slotAgain(transaction, run);
  if (slot === null) return null;
  const grant = yield* readGrant(transaction, run, input.agentId, input.open);
  if (!('run' in grant)) return null;
  if (run.state === 'unknown') {
    const startedAt = run.startedAt ?? transaction.now;
    const heard = { startedAt, reason: null, contactLostAt: null, wakeAt: null, slot };
    yield* moveRun(transaction, run, 'start', 'running', heard);
  }
  const { bootId: permitBootId, permitUntilBootMs } = input;
  yield* set('attempts', keyOf(input), { permitBootId, permitUntilBootMs });
  return grant;
}

/** What a permit for the run's newest attempt is made of. Its secrets are on record as used from here on. */
function* readGrant(
  transaction: Transaction,
  run: RunRow,
  agentId: string,
  open: OpenSecrets = () => null,
): Operation<PermitGrant | { missing: string } | { unreadable: string }> {
  const { tenantId, jobId, revision } = run;
  const [job, tenant, of, agent] = yield* all(
    transaction,
    get(transaction, 'jobs', { tenantId, id: jobId }),
    get(transaction, 'tenants', { id: tenantId }),
    get(transaction, 'jobRevisions', { tenantId, jobId, revision }),
    get(transaction, 'agents', { tenantId, id: agentId }),
  );
  if (!job || !tenant || !agent) throw new Error(`run ${run.id} has no job or no agent`);
  const named = namedSecrets(run.definitionJson, of?.documentJson ?? null);
  const { secrets, missing } = yield* readSecretsFor(transaction, { tenantId, job: job.name, ...named });
  if (missing !== null) return { missing };
  const unreadable = open(secrets);
  if (unreadable !== null) return { unreadable };
  if (secrets.length > 0) {
    const attemptId = attemptIdOf(run.id, run.attempt);
    const use = { tenantId, agentId, attemptId, runId: run.id, job: run.kind === 'adHoc' ? null : job.name };
    const names = secrets.map(({ name }) => name).sort();
    yield* recordAudit(transaction, { ...use, action: 'use', secrets: names });
  }
  return {
    run,
    number: run.attempt,
    documentJson: of?.documentJson ?? null,
    jobName: job.name,
    tenantName: tenant.name,
    timezone: tenant.timezone,
    agent: { name: agent.name, labels: JSON.parse(agent.labelsJson) as Labels },
    secrets,
  };
}

/** The slot that a run has when it goes on: its job's, unless another run has it by now (null). */
export function* slotAgain(transaction: Transaction, run: RunRow): Operation<0 | 1 | null> {
  if (run.kind === 'adHoc') return 0;
  if (run.slot === 1) return 1;
  const { tenantId, jobId } = run;
  const holder = yield* get(transaction, 'runs', { tenantId, jobId }, { only: '"slot" = 1' });
  return holder ? null : 1;
}
