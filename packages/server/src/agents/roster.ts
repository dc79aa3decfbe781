import type { JobDefinition } from '@rota/contract';
import type { Clock } from '../clock.ts';
import type { Hints } from '../hints.ts';
import type { RosterRow } from '../store/sessions.ts';
import type { Store } from '../store/store.ts';
import type { Replica } from './replica.ts';
import { type Candidate, candidatesOf } from './select.ts';
import type { Session, Sessions } from './sessions.ts';

/** How often changes are read while there are other servers, and when a lost hint is all that can be missed. */
const SHARED_MS = 250;
const ALONE_MS = 10_000;
/** Changes of the last so long are read again: they may have been committed later than others with a later time. */
const OVERLAP_MS = 10_000;
/** All agents are read so often, for what no change has told. */
const WHOLE_MS = 60_000;
/** When so many change at once, a hint does not make them be read sooner. */
const FLOOD = 200;
/** Targets whose candidates are kept, for each tenant. */
const TARGETS_KEPT = 1_000;

/** An agent as the store knows it. */
export interface RosterAgent extends Candidate {
  readonly tenantId: string;
  readonly online: boolean;
  /** It is online and takes nothing. */
  readonly blocked: boolean;
  readonly maxParallel: number;
  /** The server that holds its session. */
  readonly replicaId: string | null;
  readonly vanishedAt: number | null;
  readonly labelsJson: string;
}

interface TenantAgents {
  agents: Map<string, RosterAgent>;
  candidates: Map<string, Candidate[]>;
}

/**
 * All agents, as selection needs them, and who matches which target: computed once for each target, not for each run.
 * Reading it also ends sessions of this server that are over without its doing.
 */
export interface Roster {
  /** Reads what may have changed, `atOnce` or when it is time. */
  refresh(options?: { atOnce?: boolean }): Promise<void>;
  /** Tenants in which an agent came or changed since this was asked last: runs that wait there should look again. */
  takeChanged(): Set<string>;
  /** Someone has met this agent: when it is not among those that were read last, they are read again. */
  expect(tenantId: string, agentId: string): void;
  get(tenantId: string, agentId: string): RosterAgent | undefined;
  candidates(tenantId: string, target: JobDefinition['target']): Candidate[];
  names(tenantId: string): Set<string>;
}

export function createRoster(ports: {
  store: Store;
  clock: Clock;
  hints: Hints;
  sessions: Sessions;
  replica: Pick<Replica, 'id' | 'hasOthers'>;
}): Roster {
  const { store, clock, hints, sessions, replica } = ports;
  const tenants = new Map<string, TenantAgents>();
  let changed = new Set<string>();
  let isHinted = true;
  let isUnknown = true;
  let readAt = Number.NEGATIVE_INFINITY;
  let wholeAt = Number.NEGATIVE_INFINITY;
  /** The database's time of the last read, and how many it brought. */
  let last = { now: 0, rows: 0 };
  let reading: Promise<void> = Promise.resolve();
  hints.on('agents', () => {
    isHinted = true;
  });

  function isTime(): boolean {
    const age = clock.now() - readAt;
    if (age < 0 || isUnknown || (isHinted && last.rows < FLOOD)) return true;
    return age >= (replica.hasOthers ? SHARED_MS : isHinted ? 0 : ALONE_MS);
  }

  async function read(): Promise<void> {
    const now = clock.now();
    const whole = isUnknown || now < wholeAt || now - wholeAt >= WHOLE_MS;
    const added = sessions.added;
    isHinted = false;
    isUnknown = false;
    try {
      const found = await store.readRoster(whole ? {} : { since: last.now - OVERLAP_MS });
      if (whole) forgetOthers(new Set(found.agents.map(({ id }) => id)), added);
      for (const row of found.agents) take(row, added);
      last = { now: found.now, rows: whole ? 0 : found.agents.length };
      readAt = now;
      if (whole) wholeAt = now;
    } catch (error) {
      isHinted = true;
      isUnknown = whole;
      throw error;
    }
  }

  function forgetOthers(ids: Set<string>, added: number): void {
    for (const tenant of tenants.values()) {
      for (const id of tenant.agents.keys()) {
        if (ids.has(id)) continue;
        tenant.agents.delete(id);
        tenant.candidates.clear();
      }
    }
    for (const session of sessions.all()) if (!ids.has(session.agentId)) end(session, added);
  }

  function take(row: RosterRow, added: number): void {
    const session = sessions.get(row.id);
    if (session && (row.sessionEpoch !== session.sessionEpoch || row.replicaId !== replica.id))
      end(session, added);
    let tenant = tenants.get(row.tenantId);
    if (!tenant) {
      tenant = { agents: new Map(), candidates: new Map() };
      tenants.set(row.tenantId, tenant);
    }
    const before = tenant.agents.get(row.id);
    if (row.removedAt !== null) {
      if (tenant.agents.delete(row.id)) tenant.candidates.clear();
      return;
    }
    const labels = before?.labelsJson === row.labelsJson ? before.labels : JSON.parse(row.labelsJson);
    const agent: RosterAgent = { ...shown(row), labels };
    tenant.agents.set(row.id, agent);
    const isSame =
      before?.name === agent.name &&
      before.order === agent.order &&
      before.labelsJson === agent.labelsJson &&
      before.enabled === agent.enabled;
    if (!isSame) tenant.candidates.clear();
    const takesMore = takes(agent) && !(before && takes(before) && before.maxParallel >= agent.maxParallel);
    if (!isSame || takesMore) changed.add(row.tenantId);
  }

  /** A session that was there before the row was read, and which the row does not know, is over. */
  function end(session: Session, added: number): void {
    if (sessions.isOlder(session, added)) session.close('its agent has another session, or may have none');
  }

  return {
    refresh({ atOnce = false } = {}) {
      if (atOnce) isHinted = true;
      reading = reading.catch(() => {}).then(() => (isTime() ? read() : undefined));
      return reading;
    },
    takeChanged() {
      const taken = changed;
      changed = new Set();
      return taken;
    },
    expect(tenantId, agentId) {
      if (!tenants.get(tenantId)?.agents.has(agentId)) isUnknown = true;
    },
    get: (tenantId, agentId) => tenants.get(tenantId)?.agents.get(agentId),
    candidates(tenantId, target) {
      const tenant = tenants.get(tenantId);
      if (!tenant) return [];
      const key = JSON.stringify([target.agents, target.labels, target.max]);
      let found = tenant.candidates.get(key);
      if (!found) {
        found = candidatesOf([...tenant.agents.values()], target);
        if (tenant.candidates.size >= TARGETS_KEPT) tenant.candidates.clear();
        tenant.candidates.set(key, found);
      }
      return found;
    },
    names(tenantId) {
      return new Set([...(tenants.get(tenantId)?.agents.values() ?? [])].map((agent) => agent.name));
    },
  };
}

function shown(row: RosterRow) {
  return {
    tenantId: row.tenantId,
    id: row.id,
    name: row.name,
    order: row.orderNumber,
    enabled: row.enabled === 1,
    online: row.state === 'online',
    blocked: row.draining === 1 || row.blocked !== null,
    maxParallel: row.maxParallel,
    replicaId: row.replicaId,
    vanishedAt: row.vanishedAt,
    labelsJson: row.labelsJson,
  };
}

function takes(agent: RosterAgent): boolean {
  return agent.online && !agent.blocked && agent.enabled;
}
