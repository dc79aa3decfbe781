import type { Clock } from '../clock.ts';
import type { Store } from '../store/store.ts';
import type { Replica } from './replica.ts';
import type { Roster } from './roster.ts';
import type { Presence } from './select.ts';
import type { Session, Sessions } from './sessions.ts';

/** How old the count of other servers' attempts may be. */
const LOADS_MS = 250;

/** Which agents can take an attempt now, wherever their sessions are. The agent has the last word: it may decline. */
export interface Presences {
  /** Counts again what agents of other servers have to do, when that may have changed. */
  refresh(): Promise<void>;
  /** `graceMs`: how long an agent counts as present after its session ended without a goodbye. */
  of(tenantId: string, agentId: string, graceMs: number): Presence;
  /** Whether it is connected, here or elsewhere. */
  isOnline(tenantId: string, agentId: string): boolean;
  /** How much longer a returning agent is waited for. */
  returningMs(tenantId: string, agentId: string, graceMs: number): number;
  /** The agent is about to be offered an attempt. */
  take(agentId: string, attemptId: string): void;
}

export function createPresences(ports: {
  store: Store;
  clock: Clock;
  sessions: Sessions;
  roster: Roster;
  replica: Pick<Replica, 'id' | 'hasOthers'>;
}): Presences {
  const { store, clock, sessions, roster, replica } = ports;
  let loads = new Map<string, number>();
  let readAt = Number.NEGATIVE_INFINITY;

  function elsewhere(tenantId: string, agentId: string) {
    const agent = roster.get(tenantId, agentId);
    return agent?.online && agent.replicaId !== replica.id ? agent : null;
  }

  function returningMs(tenantId: string, agentId: string, graceMs: number): number {
    const { vanishedAt = null } = roster.get(tenantId, agentId) ?? {};
    const at = Math.max(vanishedAt ?? 0, sessions.vanishedAt(agentId) ?? 0);
    const left = at + graceMs - clock.now();
    // A clock that was set back must not make anyone wait for long.
    return at === 0 || left > graceMs ? 0 : Math.max(0, left);
  }

  return {
    async refresh() {
      const age = clock.now() - readAt;
      if (!replica.hasOthers || (age >= 0 && age < LOADS_MS)) return;
      const counted = await store.readAgentLoads({});
      loads = new Map(counted.map(({ agentId, runs }) => [agentId, runs]));
      readAt = clock.now();
    },
    of(tenantId, agentId, graceMs) {
      const session = sessions.get(agentId);
      if (session?.ready) return presenceHere(session);
      const agent = elsewhere(tenantId, agentId);
      if (agent?.blocked) return 'blocked';
      if (agent) return (loads.get(agentId) ?? 0) >= agent.maxParallel ? 'full' : 'ready';
      return returningMs(tenantId, agentId, graceMs) > 0 ? 'returning' : 'away';
    },
    isOnline(tenantId, agentId) {
      return sessions.get(agentId)?.ready === true || elsewhere(tenantId, agentId) !== null;
    },
    returningMs,
    take(agentId, attemptId) {
      const session = sessions.get(agentId);
      if (session?.ready) session.active.add(attemptId);
      else loads.set(agentId, (loads.get(agentId) ?? 0) + 1);
    },
  };
}

function presenceHere(session: Session): Presence {
  if (session.draining || session.blocked !== null) return 'blocked';
  return session.active.size >= session.maxParallel ? 'full' : 'ready';
}
