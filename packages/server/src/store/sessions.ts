import type { AgentFacts, DeclineCode, JournalledAttempt } from '@rota/contract';
import { attemptIdOf } from '../runs/ids.ts';
import { openRunsOfAgent, withdrawOffer } from './dispatch.ts';
import { recordAgentEvent } from './events.ts';
import { change, type Operation, row, rows, type Transaction } from './operation.ts';
import { RESTORED_NONCE } from './recovery.ts';
import type { AgentRow, RunRow } from './tables.ts';
import { loseRun, STARTING_LOST_MS, surelyEndedMs } from './unknownRuns.ts';

/** An agent by its id alone: the first step of the handshake, before it has proven anything. */
export function* readAgentById(
  _transaction: Transaction,
  input: { agentId: string },
): Operation<AgentRow | undefined> {
  return yield* row<AgentRow>('select * from "agents" where "id" = ?', input.agentId);
}

/** What selection and the holder of a session must know of an agent. */
export type RosterRow = Pick<
  AgentRow,
  | 'tenantId'
  | 'id'
  | 'name'
  | 'orderNumber'
  | 'labelsJson'
  | 'enabled'
  | 'state'
  | 'sessionEpoch'
  | 'replicaId'
  | 'maxParallel'
  | 'draining'
  | 'blocked'
  | 'vanishedAt'
  | 'removedAt'
>;

const ROSTER = `select "tenantId", "id", "name", "orderNumber", "labelsJson", "enabled", "state", "sessionEpoch", "replicaId", "maxParallel",
  "draining", "blocked", "vanishedAt", "removedAt" from "agents"`;

/** All agents of every tenant that take part in selection; with `since`, those that have changed from then on, removed ones too. */
export function* readRoster(
  { now }: Transaction,
  input: { since?: number },
): Operation<{ now: number; agents: RosterRow[] }> {
  const agents =
    input.since === undefined
      ? yield* rows<RosterRow>(`${ROSTER} where "removedAt" is null`)
      : yield* rows<RosterRow>(`${ROSTER} where "changedAt" >= ?`, input.since);
  return { now, agents };
}

export interface NewSession {
  tenantId: string;
  agentId: string;
  /** The agent's session epoch when its handshake began. */
  knownEpoch: number;
  /** The server that holds it. */
  replicaId: string;
  lastNonce: string | null;
  newNonce: string;
  journalSeq: number;
  bootId: string;
  facts: AgentFacts;
  maxParallel: number;
  draining: boolean;
}

/**
 * Begins a session of an agent that has proven its key, or quarantines it: a nonce that was not the last one given,
 * or a journal that is older than one seen before, means a copied or rolled back state folder. The agent is not online before it
 * is reconciled (`readySession`). A session that it has elsewhere is over: its holder sees the higher epoch. A handshake during which
 * another session began is of a connection that the agent has given up: what was shown in it is old, and proves nothing.
 */
export function* openSession(
  transaction: Transaction,
  input: NewSession,
): Operation<
  | { sessionEpoch: number; recovering?: boolean }
  | { rejected: 'removed' | 'quarantined' | 'superseded' | 'draining'; detail: string }
> {
  // Held, so that nobody forgets the server before the session is seen.
  const holder = yield* row(
    `select "id" from "replicas" where "id" = ? and "lostAt" is null ${transaction.dialect.name === 'postgres' ? 'for key share' : ''}`,
    input.replicaId,
  );
  if (!holder) return { rejected: 'draining', detail: 'this server was away too long and begins again' };
  const agent = yield* row<AgentRow>(
    `select * from "agents" where "tenantId" = ? and "id" = ? ${transaction.dialect.forUpdate}`,
    input.tenantId,
    input.agentId,
  );
  if (!agent || agent.removedAt !== null) return { rejected: 'removed', detail: 'this agent was removed' };
  if (agent.state === 'quarantined')
    return { rejected: 'quarantined', detail: agent.detail ?? 'quarantined' };
  if (agent.sessionEpoch !== input.knownEpoch)
    return { rejected: 'superseded', detail: 'another session of this agent has begun meanwhile' };
  // A database that was put back is older than its agents: each is believed once.
  const restored = agent.nonce === RESTORED_NONCE;
  const confirmed = restored || input.lastNonce === agent.pendingNonce || input.lastNonce === agent.nonce;
  const why = !confirmed
    ? 'it resumed with a nonce that is not the last one it was given: its state folder was copied or restored'
    : input.journalSeq < agent.journalSeq
      ? `its journal ends at ${input.journalSeq} but ${agent.journalSeq} was seen before: its state folder was restored`
      : null;
  if (why !== null) {
    yield* change(
      `update "agents" set "state" = 'quarantined', "detail" = ?, "sessionEpoch" = "sessionEpoch" + 1, "replicaId" = null,
         "vanishedAt" = null, "changedAt" = ? where "tenantId" = ? and "id" = ?`,
      why,
      transaction.now,
      input.tenantId,
      input.agentId,
    );
    // Which of the two is the copy nobody can tell: a session that is open loses its agent, too.
    for (const run of yield* openRunsOfAgent(transaction, input)) yield* loseContact(transaction, run);
    yield* recordAgentEvent(transaction, agent, 'quarantined');
    return { rejected: 'quarantined', detail: why };
  }
  const sessionEpoch = agent.sessionEpoch + 1;
  yield* change(
    `update "agents" set "state" = 'offline', "detail" = null, "sessionEpoch" = ?, "replicaId" = ?, "vanishedAt" = ?, "changedAt" = ?,
       "nonce" = ?, "pendingNonce" = ?, "journalSeq" = ?, "bootId" = ?, "factsJson" = ?, "maxParallel" = ?, "draining" = ?,
       "blocked" = null, "connectedAt" = ?, "lastSeenAt" = ? where "tenantId" = ? and "id" = ?`,
    sessionEpoch,
    input.replicaId,
    // Its last session has just ended by this one.
    agent.state === 'online' ? transaction.now : agent.vanishedAt,
    transaction.now,
    input.lastNonce,
    input.newNonce,
    input.journalSeq,
    input.bootId,
    JSON.stringify(input.facts),
    input.maxParallel,
    input.draining ? 1 : 0,
    transaction.now,
    transaction.now,
    input.tenantId,
    input.agentId,
  );
  return { sessionEpoch, ...(agent.awaited !== null && { recovering: true }) };
}

/** The agent has the new nonce on disk: from now on only that one is right. */
export function* confirmSession(
  _transaction: Transaction,
  input: { tenantId: string; agentId: string; sessionEpoch: number; nonce: string },
): Operation<boolean> {
  const confirmed = yield* change(
    `update "agents" set "nonce" = "pendingNonce" where "tenantId" = ? and "id" = ? and "sessionEpoch" = ? and "pendingNonce" = ?`,
    input.tenantId,
    input.agentId,
    input.sessionEpoch,
    input.nonce,
  );
  return confirmed === 1;
}

/** What the server has to do about each attempt that an agent resumes with, or should have resumed with. */
export type ResumeStep =
  | { action: 'accept' | 'permitAgain' | 'withdraw' | 'started' | 'refused'; attempt: JournalledAttempt }
  | { action: 'cancel'; attemptId: string; epoch: number };

/**
 * Holds the agent's journal against its open runs. Runs that the agent knows are in contact again; offers that it has
 * not seen go back to the queue; a journal that knows less of a permit than was seen before proves nothing: that run
 * is unknown. A session that is not the agent's any more changes nothing.
 */
export function* reconcileSession(
  transaction: Transaction,
  input: { tenantId: string; agentId: string; sessionEpoch: number; attempts: JournalledAttempt[] },
): Operation<ResumeStep[]> {
  const live = yield* row(
    `select "id" from "agents" where "tenantId" = ? and "id" = ? and "sessionEpoch" = ? and "replicaId" is not null
     ${transaction.dialect.forUpdate}`,
    input.tenantId,
    input.agentId,
    input.sessionEpoch,
  );
  if (!live) return [];
  const journal = new Map(input.attempts.map((attempt) => [journalKey(attempt), attempt]));
  const steps: ResumeStep[] = [];
  /** Entries that stand for an open run; the others are left over. */
  const current = new Set<JournalledAttempt>();
  for (const run of yield* openRunsOfAgent(transaction, input)) {
    const attemptId = attemptIdOf(run.id, run.state === 'offered' ? run.attempt + 1 : run.attempt);
    const attempt = journal.get(journalKey({ attemptId, epoch: run.epoch }));
    if (run.state === 'offered') {
      if (!attempt) yield* withdrawOffer(transaction, run, false);
      else if (attempt.state === 'accepted') {
        current.add(attempt);
        steps.push({ action: 'accept', attempt });
      }
      continue;
    }
    const unstarted = attempt?.state === 'accepted' || attempt?.state === 'refused';
    if (!attempt || (unstarted && run.state === 'running')) {
      if (run.state !== 'unknown') yield* loseRun(transaction, run, 'journalDamaged');
      else
        yield* change(
          `update "runs" set "reason" = 'journalDamaged' where "tenantId" = ? and "id" = ?`,
          run.tenantId,
          run.id,
        );
      continue;
    }
    if (attempt.state === 'accepted' && run.cancelRequestedAt === null) {
      current.add(attempt);
      steps.push({ action: 'permitAgain', attempt });
    }
    if (unstarted) continue;
    yield* change(
      `update "runs" set "contactLostAt" = null, "wakeAt" = null where "tenantId" = ? and "id" = ? and "state" = 'running'`,
      run.tenantId,
      run.id,
    );
    if (attempt.state === 'started') {
      steps.push({ action: 'started', attempt });
      if (run.cancelRequestedAt !== null) steps.push({ action: 'cancel', attemptId, epoch: run.epoch });
    }
  }
  for (const attempt of input.attempts) {
    if (attempt.state === 'accepted' && !current.has(attempt)) steps.push({ action: 'withdraw', attempt });
    if (attempt.state === 'refused') steps.push({ action: 'refused', attempt });
  }
  return steps;
}

function journalKey({ attemptId, epoch }: { attemptId: string; epoch: number }): string {
  return `${attemptId}/${epoch}`;
}

/** The agent is reconciled: from now on it is online and may get offers. @returns false when the session is over */
export function* readySession(
  transaction: Transaction,
  input: { tenantId: string; agentId: string; sessionEpoch: number },
): Operation<boolean> {
  const ready = yield* change(
    `update "agents" set "state" = 'online', "vanishedAt" = null, "changedAt" = ?
     where "tenantId" = ? and "id" = ? and "sessionEpoch" = ? and "replicaId" is not null`,
    transaction.now,
    input.tenantId,
    input.agentId,
    input.sessionEpoch,
  );
  if (ready === 0) return false;
  yield* recordAgentEvent(transaction, { tenantId: input.tenantId, id: input.agentId }, 'online');
  return true;
}

/**
 * The session has ended. Offers go back at once; a permit that was out makes its run unknown soon; running jobs go on.
 * Without a goodbye the agent counts as present for a moment, since it is likely to be on its way to another server.
 */
export function* closeSession(
  transaction: Transaction,
  input: { tenantId: string; agentId: string; sessionEpoch: number; goodbye?: boolean },
): Operation<boolean> {
  const closed = yield* change(
    `update "agents" set "state" = 'offline', "replicaId" = null, "vanishedAt" = ?, "changedAt" = ?, "lastSeenAt" = ?
     where "tenantId" = ? and "id" = ? and "sessionEpoch" = ? and "replicaId" is not null`,
    input.goodbye ? null : transaction.now,
    transaction.now,
    transaction.now,
    input.tenantId,
    input.agentId,
    input.sessionEpoch,
  );
  if (closed === 0) return false;
  for (const run of yield* openRunsOfAgent(transaction, input)) yield* loseContact(transaction, run);
  yield* recordAgentEvent(transaction, { tenantId: input.tenantId, id: input.agentId }, 'offline');
  return true;
}

function* loseContact(transaction: Transaction, run: RunRow): Operation<void> {
  if (run.state === 'offered') {
    yield* withdrawOffer(transaction, run, false);
    return;
  }
  if (run.state === 'unknown') return;
  const started = run.startingAt ?? transaction.now;
  const wakeAt =
    run.state === 'starting'
      ? transaction.now + STARTING_LOST_MS
      : run.timeoutMs === null
        ? null
        : Math.max(transaction.now + STARTING_LOST_MS, started + surelyEndedMs(run.timeoutMs));
  yield* change(
    'update "runs" set "contactLostAt" = ?, "wakeAt" = ? where "tenantId" = ? and "id" = ? and "state" = ?',
    transaction.now,
    wakeAt,
    run.tenantId,
    run.id,
    run.state,
  );
}

/** What an agent says of itself between two sessions' ends. */
export function* storeAgentStatus(
  transaction: Transaction,
  input: {
    tenantId: string;
    agentId: string;
    sessionEpoch: number;
    maxParallel: number;
    draining: boolean;
    blocked: DeclineCode | null;
  },
): Operation<void> {
  yield* change(
    `update "agents" set "lastSeenAt" = ?, "maxParallel" = ?, "draining" = ?, "blocked" = ?,
       "changedAt" = case when "maxParallel" = ? and "draining" = ? and coalesce("blocked", '') = ? then "changedAt" else ? end
     where "tenantId" = ? and "id" = ? and "sessionEpoch" = ?`,
    transaction.now,
    input.maxParallel,
    input.draining ? 1 : 0,
    input.blocked,
    input.maxParallel,
    input.draining ? 1 : 0,
    input.blocked ?? '',
    transaction.now,
    input.tenantId,
    input.agentId,
    input.sessionEpoch,
  );
}
