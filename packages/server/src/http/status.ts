import type { ReplicaWithAgents } from '../store/replicas.ts';
import type { Store } from '../store/store.ts';
import type { Handlers } from './call.ts';
import { Refusal } from './errors.ts';
import { instant } from './presenters.ts';
import type { Services } from './services.ts';

const DAY_MS = 86_400_000;

export function statusHandlers(services: Services): Pick<Handlers, 'health' | 'ready' | 'whoami' | 'status'> {
  const { store, clock } = services;
  return {
    health: async () => ({ status: 'ok' }),

    async ready() {
      if (services.draining())
        throw new Refusal('server.draining', 'The server is stopping; use another, or wait.');
      try {
        await store.lastEventId({});
      } catch {
        throw new Refusal('server.busy', 'The database does not answer.');
      }
      return { status: 'ok' };
    },

    whoami: async ({ principal }) => ({
      tenant: principal.tenantName,
      token: principal.name,
      role: principal.role,
      timezone: principal.timezone,
    }),

    async status({ principal }) {
      const { tenantId, timezone } = principal;
      const active = await store.countActiveRuns({ tenantId });
      const ended = await store.countEndedRuns({ tenantId, withinMs: DAY_MS });
      const late = await store.readLateness({ tenantId, withinMs: DAY_MS });
      const quantile = (part: number) => late[Math.ceil(late.length * part) - 1] ?? null;
      return {
        version: services.version,
        startedAt: instant(services.startedAt),
        now: instant(clock.now()),
        timezone,
        jobs: await store.countJobs({ tenantId }),
        servers: (await store.listReplicas({})).map((each) => serverView(each, services)),
        agents: await store.countAgents({ tenantId }),
        runs: {
          queued: active.queued ?? 0,
          active: (active.offered ?? 0) + (active.starting ?? 0) + (active.running ?? 0),
          unknown: active.unknown ?? 0,
          succeededLastDay: ended.succeeded ?? 0,
          failedLastDay: (ended.failed ?? 0) + (ended.timedOut ?? 0),
          missedLastDay: ended.missed ?? 0,
        },
        recovery: recoveryView(
          await store.readRecovery({}),
          tenantId,
          await store.countHeldRuns({ tenantId }),
        ),
        lateness: { p50Ms: quantile(0.5), p99Ms: quantile(0.99), maxMs: quantile(1), runs: late.length },
      };
    },
  };
}

/** What the database had lost and agents have still to tell; null: nothing. */
function recoveryView(found: Awaited<ReturnType<Store['readRecovery']>>, tenantId: string, heldRuns: number) {
  if (found === null || found.recovery.settledAt !== null) return null;
  const { cause, detectedAt } = found.recovery;
  const awaited = found.awaited.filter((agent) => agent.tenantId === tenantId).map(({ name }) => name);
  return { since: instant(detectedAt), cause, awaited, heldRuns };
}

function serverView(each: ReplicaWithAgents, { replica, clock }: Pick<Services, 'replica' | 'clock'>) {
  return {
    name: each.name,
    state:
      each.lostAt !== null
        ? ('lost' as const)
        : each.leavingAt !== null
          ? ('leaving' as const)
          : ('live' as const),
    startedAt: instant(each.startedAt),
    // This one lives, since it answers; alone on a file it need not say so.
    lastSeenAt: instant(each.id === replica.id ? clock.now() : each.seenAt),
    agents: each.agents,
  };
}
