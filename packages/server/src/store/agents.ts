import { createHash, timingSafeEqual } from 'node:crypto';
import type { AgentFacts, Labels } from '@rota/contract';
import { set } from './byKey.ts';
import { openRunsOfAgent, withdrawOffer } from './dispatch.ts';
import { recordAgentEvent } from './events.ts';
import { openJoinToken } from './joinTokens.ts';
import { change, type Operation, row, rows, type Transaction } from './operation.ts';
import type { AgentRow } from './tables.ts';
import { loseRun, unknownRetryAt } from './unknownRuns.ts';

/** An agent with the number of attempts that it is running. */
export type AgentWithActive = AgentRow & { active: number };

const AGENTS = `select a.*, (select count(*) from "runs" r where r."tenantId" = a."tenantId" and r."agentId" = a."id"
  and r."endedAt" is null and r."state" in ('starting', 'running')) as "active" from "agents" a`;

/** An agent by its name. */
export function* getAgent(
  _transaction: Transaction,
  input: { tenantId: string; name: string },
): Operation<AgentWithActive | null> {
  const agent = yield* row<AgentWithActive>(
    `${AGENTS} where a."tenantId" = ? and a."name" = ? and a."removedAt" is null`,
    input.tenantId,
    input.name,
  );
  return agent ?? null;
}

/** Agents of a tenant by order and name, after a key. */
export function* listAgents(
  _transaction: Transaction,
  input: {
    tenantId: string;
    after: { orderNumber: number; name: string } | null;
    limit: number;
    state: AgentRow['state'] | null;
    /** `value: null` asks only for the key. */
    label: { key: string; value: string | null } | null;
  },
): Operation<AgentWithActive[]> {
  const after = input.after ?? { orderNumber: -1, name: '' };
  const { label } = input;
  const agents: AgentWithActive[] = [];
  // Labels are matched here; a tenant has at most thousands of agents.
  for (let { orderNumber, name } = after; agents.length < input.limit; ) {
    const batch = yield* rows<AgentWithActive>(
      `${AGENTS} where a."tenantId" = ? and a."removedAt" is null and (cast(? as text) is null or a."state" = ?)
         and (a."orderNumber", a."name") > (?, ?) order by a."orderNumber", a."name" limit ?`,
      input.tenantId,
      input.state,
      input.state,
      orderNumber,
      name,
      input.limit,
    );
    agents.push(...batch.filter((agent) => label === null || hasLabel(agent, label)));
    const last = batch.at(-1);
    if (!last || batch.length < input.limit) break;
    ({ orderNumber, name } = last);
  }
  return agents.slice(0, input.limit);
}

function hasLabel(agent: AgentRow, label: { key: string; value: string | null }): boolean {
  const labels = JSON.parse(agent.labelsJson) as Labels;
  return Object.hasOwn(labels, label.key) && (label.value === null || labels[label.key] === label.value);
}

/** How many agents there are in each state. */
export function* countAgents(
  _transaction: Transaction,
  input: { tenantId: string },
): Operation<Record<AgentRow['state'], number>> {
  const counted = yield* rows<{ state: AgentRow['state']; agents: number }>(
    'select "state", count(*) as "agents" from "agents" where "tenantId" = ? and "removedAt" is null group by "state"',
    input.tenantId,
  );
  const counts = { online: 0, offline: 0, quarantined: 0 };
  for (const { state, agents } of counted) counts[state] = agents;
  return counts;
}

/** An agent by its name, whom nobody else changes meanwhile. */
function* lockAgent(
  { dialect }: Transaction,
  input: { tenantId: string; name: string },
): Operation<AgentRow | undefined> {
  return yield* row<AgentRow>(
    `select * from "agents" where "tenantId" = ? and "name" = ? and "removedAt" is null ${dialect.forUpdate}`,
    input.tenantId,
    input.name,
  );
}

/** Changes what people decide about an agent; what is left out stays. */
export function* setAgent(
  transaction: Transaction,
  input: {
    tenantId: string;
    name: string;
    newName?: string | undefined;
    orderNumber?: number | undefined;
    labelsJson?: string | undefined;
    enabled?: boolean | undefined;
  },
): Operation<'set' | 'notFound' | 'nameConflict'> {
  const agent = yield* lockAgent(transaction, input);
  if (!agent) return 'notFound';
  const name = input.newName ?? agent.name;
  if (name !== agent.name && (yield* getAgent(transaction, { tenantId: input.tenantId, name })))
    return 'nameConflict';
  yield* change(
    'update "agents" set "name" = ?, "orderNumber" = ?, "labelsJson" = ?, "enabled" = ?, "changedAt" = ? where "tenantId" = ? and "id" = ?',
    name,
    input.orderNumber ?? agent.orderNumber,
    input.labelsJson ?? agent.labelsJson,
    input.enabled === undefined ? agent.enabled : input.enabled ? 1 : 0,
    transaction.now,
    agent.tenantId,
    agent.id,
  );
  yield* recordAgentEvent(transaction, agent, 'changed');
  return 'set';
}

/** Trades a join token for an identity: exactly one of any number of attempts with one token succeeds. */
export function* joinAgent(
  transaction: Transaction,
  input: {
    token: { id: string; secret: string };
    agentId: string;
    name: string;
    publicKey: string;
    labels: Labels;
    orderNumber: number;
    facts: AgentFacts;
  },
): Operation<{ tenantId: string; tenantName: string } | 'tokenInvalid' | 'nameConflict'> {
  const token = yield* openJoinToken(transaction, input.token);
  const hash = createHash('sha256').update(input.token.secret).digest();
  // Compared with something in any case, so that the time tells nothing about which ids exist.
  const expected = token ? Buffer.from(token.hash, 'base64url') : Buffer.alloc(32);
  if (!timingSafeEqual(hash, expected) || !token) return 'tokenInvalid';
  const { tenantId } = token;
  if (yield* getAgent(transaction, { tenantId, name: input.name })) return 'nameConflict';
  const redeemed = yield* change(
    'update "joinTokens" set "usedAt" = ?, "usedBy" = ? where "tenantId" = ? and "id" = ? and "usedAt" is null',
    transaction.now,
    input.name,
    tenantId,
    token.id,
  );
  if (redeemed === 0) return 'tokenInvalid';
  yield* change(
    `insert into "agents" ("tenantId", "id", "name", "publicKey", "orderNumber", "labelsJson", "enabled", "state", "sessionEpoch",
       "journalSeq", "maxParallel", "draining", "factsJson", "createdAt", "changedAt")
     values (?, ?, ?, ?, ?, ?, 1, 'offline', 0, 0, 0, 0, ?, ?, ?)`,
    tenantId,
    input.agentId,
    input.name,
    input.publicKey,
    input.orderNumber,
    JSON.stringify({ ...input.labels, ...(JSON.parse(token.labelsJson) as Labels) }),
    JSON.stringify(input.facts),
    transaction.now,
    transaction.now,
  );
  yield* recordAgentEvent(transaction, { tenantId, id: input.agentId }, 'joined');
  const tenant = yield* row<{ name: string }>('select "name" from "tenants" where "id" = ?', tenantId);
  return { tenantId, tenantName: tenant?.name ?? '' };
}

/**
 * Removes an agent and frees its name. `gone` says that its processes have ended for good: what it was running
 * becomes unknown and gives its job's slot back, what it was only offered goes back to the queue.
 */
export function* removeAgent(
  transaction: Transaction,
  input: { tenantId: string; name: string; gone: boolean },
): Operation<{ agentId: string } | 'notFound' | 'active'> {
  const agent = yield* lockAgent(transaction, input);
  if (!agent) return 'notFound';
  const open = yield* openRunsOfAgent(transaction, { tenantId: agent.tenantId, agentId: agent.id });
  // What an agent has not told yet, it may be running.
  if ((open.length > 0 || agent.awaited !== null) && !input.gone) return 'active';
  for (const run of open) {
    if (run.state === 'offered') {
      yield* withdrawOffer(transaction, run, false);
      continue;
    }
    if (run.state !== 'unknown') yield* loseRun(transaction, run, 'agentGone');
    const retryAt = yield* unknownRetryAt(transaction, run, 'agentGone');
    yield* set(
      'runs',
      { tenantId: run.tenantId, id: run.id, state: 'unknown' },
      // One that is tried again keeps its slot.
      { reason: 'agentGone', wakeAt: retryAt, ...(retryAt === null && { slot: 0 }) },
    );
  }
  yield* change(
    `update "agents" set "removedAt" = ?, "state" = 'offline', "sessionEpoch" = "sessionEpoch" + 1, "replicaId" = null,
       "vanishedAt" = null, "changedAt" = ? where "tenantId" = ? and "id" = ?`,
    transaction.now,
    transaction.now,
    agent.tenantId,
    agent.id,
  );
  yield* recordAgentEvent(transaction, agent, 'removed');
  return { agentId: agent.id };
}
