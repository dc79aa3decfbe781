import type { JobDefinition } from '@rota/contract';
import type { Clock } from '../clock.ts';
import type { Hints } from '../hints.ts';
import type { Store } from '../store/store.ts';
import { type Candidate, candidatesOf } from './select.ts';

/** Read again at least this often, so that a lost hint is harmless. */
const REREAD_MS = 10_000;
/** Targets whose candidates are kept, for each tenant. */
const TARGETS_KEPT = 1_000;

interface TenantAgents {
  agents: Candidate[];
  candidates: Map<string, Candidate[]>;
}

/** All agents, as selection needs them, and who matches which target: computed once for each target, not for each run. */
export interface Roster {
  /** Reads the agents again when they may have changed. */
  refresh(): Promise<void>;
  /** Someone has met this agent: when it is not among those that were read last, they are read again. */
  expect(tenantId: string, agentId: string): void;
  candidates(tenantId: string, target: JobDefinition['target']): Candidate[];
  names(tenantId: string): Set<string>;
  tenants(): string[];
}

export function createRoster(ports: { store: Store; clock: Clock; hints: Hints }): Roster {
  const { store, clock, hints } = ports;
  let tenants = new Map<string, TenantAgents>();
  let readAt = Number.NEGATIVE_INFINITY;
  hints.on('agents', () => {
    readAt = Number.NEGATIVE_INFINITY;
  });
  return {
    async refresh() {
      const now = clock.now();
      if (now - readAt < REREAD_MS && now >= readAt) return;
      readAt = now;
      const next = new Map<string, TenantAgents>();
      for (const agent of (await store.readRoster({})).agents) {
        let tenant = next.get(agent.tenantId);
        if (!tenant) {
          tenant = { agents: [], candidates: new Map() };
          next.set(agent.tenantId, tenant);
        }
        tenant.agents.push({
          id: agent.id,
          name: agent.name,
          order: agent.orderNumber,
          labels: JSON.parse(agent.labelsJson),
          enabled: agent.enabled === 1,
        });
      }
      tenants = next;
    },
    expect(tenantId, agentId) {
      if (!tenants.get(tenantId)?.agents.some((agent) => agent.id === agentId))
        readAt = Number.NEGATIVE_INFINITY;
    },
    candidates(tenantId, target) {
      const tenant = tenants.get(tenantId);
      if (!tenant) return [];
      const key = JSON.stringify([target.agents, target.labels, target.max]);
      let found = tenant.candidates.get(key);
      if (!found) {
        found = candidatesOf(tenant.agents, target);
        if (tenant.candidates.size >= TARGETS_KEPT) tenant.candidates.clear();
        tenant.candidates.set(key, found);
      }
      return found;
    },
    tenants: () => [...tenants.keys()],
    names(tenantId) {
      return new Set(tenants.get(tenantId)?.agents.map((agent) => agent.name));
    },
  };
}
