import { change, type Operation, row, rows, type Transaction } from './operation.ts';
import { closeSession } from './sessions.ts';
import type { AgentRow, ReplicaRow } from './tables.ts';

/** What is seen of a server process by the others. */
export type ReplicaWithAgents = ReplicaRow & { agents: number };

/**
 * A server process begins. On SQLite nobody else can live, since the data folder is locked: all others are lost.
 * @returns whether there can be others
 */
export function* registerReplica(
  transaction: Transaction,
  input: { id: string; name: string },
): Operation<boolean> {
  const { now, dialect } = transaction;
  yield* change(
    `insert into "replicas" ("id", "name", "startedAt", "seenAt") values (?, ?, ?, ?)
     on conflict ("id") do update set "seenAt" = excluded."seenAt"`,
    input.id,
    input.name,
    now,
    now,
  );
  if (dialect.name === 'postgres') return true;
  yield* change('update "replicas" set "lostAt" = ? where "id" <> ? and "lostAt" is null', now, input.id);
  return false;
}

/**
 * Says that a server lives. @returns all that there are; null when others have given it up: its sessions are over, and it
 * must begin again under another id
 */
export function* touchReplica(
  transaction: Transaction,
  input: { id: string },
): Operation<ReplicaRow[] | null> {
  const touched = yield* change(
    'update "replicas" set "seenAt" = ? where "id" = ? and "lostAt" is null',
    transaction.now,
    input.id,
  );
  if (touched === 0) return null;
  return yield* rows<ReplicaRow>('select * from "replicas"');
}

/** All servers, those that are lost and still have sessions among them, the longest running first. */
export function* listReplicas(
  _transaction: Transaction,
  _input: Record<never, never>,
): Operation<ReplicaWithAgents[]> {
  return yield* rows<ReplicaWithAgents>(
    `select r.*, (select count(*) from "agents" a where a."replicaId" = r."id") as "agents"
     from "replicas" r order by r."startedAt", r."id"`,
  );
}

/** A server wants its agents to go elsewhere. */
export function* leaveReplica(transaction: Transaction, input: { id: string }): Operation<void> {
  yield* change('update "replicas" set "leavingAt" = ? where "id" = ?', transaction.now, input.id);
}

/** A server ends, its sessions with it; those whose end it could not store are left to the others. */
export function* endReplica(transaction: Transaction, input: { id: string }): Operation<void> {
  yield* change(
    'update "replicas" set "lostAt" = ? where "id" = ? and "lostAt" is null',
    transaction.now,
    input.id,
  );
  yield* deleteWithoutSessions(transaction, input.id);
}

/** Gives a server up that was not seen since `seenAt`, unless it has been seen after all. */
export function* loseReplica(
  transaction: Transaction,
  input: { id: string; seenAt: number },
): Operation<boolean> {
  const lost = yield* change(
    'update "replicas" set "lostAt" = ? where "id" = ? and "seenAt" = ? and "lostAt" is null',
    transaction.now,
    input.id,
    input.seenAt,
  );
  return lost === 1;
}

/** Ends so many sessions of servers that are lost, and forgets the servers that have none left. @returns how many it ended */
export function* closeLostSessions(transaction: Transaction, input: { limit: number }): Operation<number> {
  const lost = yield* rows<{ id: string }>(
    `select "id" from "replicas" where "lostAt" is not null order by "id" ${transaction.dialect.skipLocked}`,
  );
  let closed = 0;
  for (const { id } of lost) {
    const agents = yield* rows<AgentRow>(
      `select * from "agents" where "replicaId" = ? order by "tenantId", "id" limit ? ${transaction.dialect.forUpdate}`,
      id,
      input.limit - closed,
    );
    for (const { tenantId, id: agentId, sessionEpoch } of agents)
      yield* closeSession(transaction, { tenantId, agentId, sessionEpoch });
    closed += agents.length;
    if (closed >= input.limit) break;
    yield* deleteWithoutSessions(transaction, id);
  }
  return closed;
}

function* deleteWithoutSessions({ dialect }: Transaction, id: string): Operation<void> {
  // Whoever opens a session there has the row meanwhile; only then it is seen whether there is one.
  const found = yield* row(`select "id" from "replicas" where "id" = ? ${dialect.forUpdate}`, id);
  if (!found) return;
  yield* change(
    'delete from "replicas" where "id" = ? and not exists (select 1 from "agents" where "replicaId" = ?)',
    id,
    id,
  );
}
