import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { Hints } from '../hints.ts';
import { createLoop } from '../loop.ts';
import type { Definitions } from '../runs/definitions.ts';
import { EPOCH_LEAP } from '../store/holding.ts';
import type { AwaitedAgent, HeldRun } from '../store/recovery.ts';
import type { Store } from '../store/store.ts';
import type { RecoveryRow } from '../store/tables.ts';
import { type Candidate, candidatesOf } from './select.ts';

const POLL_MS = 1_000;
/** While runs are held, they are looked at so often. */
const LOOK_MS = 250;
const RUNS_AT_ONCE = 500;
/** A recovery that nobody noticed here is looked for so often. */
const IDLE_MS = 5_000;

/** Lets runs go that are held since the database went on from an older state, as the agents tell what they did. */
export interface Recovery {
  start(): void;
  stop(): Promise<void>;
}

export function createRecovery(ports: {
  store: Store;
  clock: Clock;
  hints: Hints;
  log: Logger;
  definitions: Definitions;
}): Recovery {
  const { store, clock, hints, log, definitions } = ports;
  /** The recovery that was open when this server looked last. */
  let open: RecoveryRow | null = null;

  async function step(): Promise<number | null> {
    const found = await store.readRecovery({});
    if (found === null || found.recovery.settledAt !== null) {
      if (open !== null) log.warn('every agent has told what the database had lost; all goes on as always');
      open = null;
      return null;
    }
    const { recovery, awaited } = found;
    if (open?.id !== recovery.id) {
      log.error(
        { cause: recovery.cause, awaited: awaited.map(({ name }) => name) },
        'the database went on from an older state than it had been in; what may have been started is held until the agents have told',
      );
    }
    open = recovery;
    const left = await release(recovery, awaited);
    if (!left && (await store.settleRecovery({ recoveryId: recovery.id }))) return clock.now();
    return clock.now() + (left ? LOOK_MS : POLL_MS);
  }

  /** @returns whether runs are held still */
  async function release(recovery: RecoveryRow, awaited: AwaitedAgent[]): Promise<boolean> {
    const agents = candidatesByTenant(awaited);
    let left = false;
    for (let after: { tenantId: string; id: string } | null = null; ; ) {
      const held: HeldRun[] = await store.readHeldRuns({ after, limit: RUNS_AT_ONCE });
      const free = held.filter((run) => !isAwaited(recovery, agents.get(run.tenantId) ?? [], run));
      if (free.length < held.length) left = true;
      if (free.length > 0) {
        await store.releaseRuns({
          recoveryId: recovery.id,
          runs: free.map(({ tenantId, id }) => ({ tenantId, id })),
        });
        hints.give('dispatch');
        hints.give('events');
      }
      const last = held.at(-1);
      if (held.length < RUNS_AT_ONCE || last === undefined) return left;
      after = { tenantId: last.tenantId, id: last.id };
    }
  }

  /** Whether an agent is awaited that may have started the run, or may be running another of its job. */
  function isAwaited(recovery: RecoveryRow, agents: readonly AwaitedCandidate[], run: HeldRun): boolean {
    const now = clock.now();
    const certain = mayBeStarted(recovery, run);
    const blocking = certain
      ? agents
      : now < recovery.holdUntil
        ? agents.filter((agent) => agent.wasOnline)
        : [];
    if (blocking.length === 0) return false;
    try {
      const { target } = definitions.ofRun(run);
      return candidatesOf(blocking, { ...target, max: null }).length > 0;
    } catch {
      // Its target cannot be read: any agent can have had it.
      return true;
    }
  }

  const loop = createLoop({ name: 'recovery', clock, log, pollMs: IDLE_MS, step });
  let unsubscribe: () => void = () => {};
  return {
    start() {
      unsubscribe = hints.on('recovery', loop.nudge);
      store.onRecovery(() => hints.give('recovery'));
      loop.start();
    },
    async stop() {
      unsubscribe();
      await loop.stop();
    },
  };
}

/** Whether the run can be one that was started and is not known to have been; else it is only a later one of its job. */
function mayBeStarted(recovery: RecoveryRow, run: HeldRun): boolean {
  if (run.epoch >= EPOCH_LEAP || run.keyed === 1) return true;
  return run.kind === 'scheduled' && run.dueAt <= recovery.windowTo;
}

type AwaitedCandidate = Candidate & { wasOnline: boolean };

function candidatesByTenant(awaited: AwaitedAgent[]): Map<string, AwaitedCandidate[]> {
  const byTenant = new Map<string, AwaitedCandidate[]>();
  for (const agent of awaited) {
    const candidate = {
      id: agent.id,
      name: agent.name,
      order: agent.orderNumber,
      labels: JSON.parse(agent.labelsJson),
      enabled: agent.enabled === 1,
      wasOnline: agent.awaited === 'online',
    };
    byTenant.set(agent.tenantId, [...(byTenant.get(agent.tenantId) ?? []), candidate]);
  }
  return byTenant;
}
