import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from '../history/history.ts';
import type { Seeded } from '../simulation/random.ts';
import type { Cluster, Member } from '../support/cluster.ts';
import type { LinkState } from '../support/faultProxy.ts';

/** One way to disturb real processes: does it, lets it last, and mends it. */
export interface FaultKind {
  kind: string;
  /** `agents`: names of those that it can disturb; null: all. */
  strike(cluster: Cluster, random: Seeded): Promise<{ what: string; agents: string[] | null }>;
}

/** A fault of the kind, from its first moment until its cause is gone. */
export async function strike(kind: FaultKind, cluster: Cluster, random: Seeded): Promise<Fault> {
  const from = Date.now();
  const struck = await kind.strike(cluster, random);
  return { kind: kind.kind, from, to: Date.now(), ...struck };
}

/** How long a frozen process and a broken link stay so. */
const FROZEN_MS = 8_000;

async function frozen({ process }: Member, ms: number): Promise<void> {
  process.child.kill('SIGSTOP');
  try {
    await sleep(ms);
  } finally {
    process.child.kill('SIGCONT');
  }
}

function replicaFault(
  kind: string,
  strikeIt: (cluster: Cluster, replica: Member, random: Seeded) => Promise<void>,
): FaultKind {
  return {
    kind,
    async strike(cluster, random) {
      const replica = random.pick(cluster.replicas);
      await strikeIt(cluster, replica, random);
      return { what: replica.name, agents: null };
    },
  };
}

function agentFault(
  kind: string,
  strikeIt: (cluster: Cluster, agent: Member, random: Seeded) => Promise<void>,
): FaultKind {
  return {
    kind,
    async strike(cluster, random) {
      const agent = random.pick(cluster.agents);
      await strikeIt(cluster, agent, random);
      return { what: agent.name, agents: [agent.name] };
    },
  };
}

/** Between an agent and all replicas, or only the one that it tries first. */
function linkFault(kind: string, state: (random: Seeded) => Partial<LinkState>): FaultKind {
  return agentFault(kind, async (cluster, agent, random) => {
    const links = cluster.linksOf(agent).slice(0, random.chance(0.5) ? undefined : 1);
    const change = state(random);
    for (const { proxy } of links) {
      proxy.set(change);
      if (change.refuse) proxy.cut();
    }
    await sleep(random.int(2_000, FROZEN_MS));
    for (const { proxy } of links) proxy.mend();
  });
}

/** Between a replica and the database. */
function databaseLinkFault(kind: string, state: (random: Seeded) => Partial<LinkState>): FaultKind {
  return replicaFault(kind, async (cluster, replica, random) => {
    const link = cluster.databaseLink(replica);
    const change = state(random);
    link.set(change);
    if (change.refuse) link.cut();
    await sleep(random.int(2_000, FROZEN_MS));
    link.mend();
  });
}

const oneWay = (random: Seeded): Partial<LinkState> =>
  random.chance(0.5) ? { toServer: 'hold' } : { toClient: 'hold' };
const halfOpen = (): Partial<LinkState> => ({ toServer: 'swallow', toClient: 'swallow' });
const slow = (random: Seeded): Partial<LinkState> => ({ delayMs: random.int(100, 400) });

/** All that real processes can be put through by signals and a faulty wire. */
export const FAULT_KINDS: readonly FaultKind[] = [
  replicaFault('replicaKilled', async (cluster, replica, random) => {
    await replica.process.kill('SIGKILL');
    await sleep(random.int(0, 3_000));
    await cluster.restartReplica(replica);
  }),
  replicaFault('replicaFrozen', (_cluster, replica) => frozen(replica, FROZEN_MS)),
  replicaFault('replicaDrained', async (cluster, replica) => {
    await replica.process.kill('SIGTERM');
    await cluster.restartReplica(replica);
  }),
  {
    kind: 'replicasKilled',
    async strike(cluster, random) {
      await Promise.all(cluster.replicas.map(({ process }) => process.kill('SIGKILL')));
      await sleep(random.int(0, 2_000));
      await Promise.all(cluster.replicas.map((replica) => cluster.restartReplica(replica)));
      return { what: 'all replicas', agents: null };
    },
  },
  agentFault('agentKilled', async (cluster, agent, random) => {
    await agent.process.kill('SIGKILL');
    await sleep(random.int(0, 5_000));
    await cluster.restartAgent(agent);
  }),
  agentFault('agentFrozen', (_cluster, agent) => frozen(agent, FROZEN_MS)),
  agentFault('hostKilled', async (cluster, agent, random) => {
    await cluster.killHost(agent);
    await sleep(random.int(0, 5_000));
    await cluster.restartAgent(agent);
  }),
  linkFault('linkCut', () => ({ refuse: true })),
  linkFault('linkHalfOpen', halfOpen),
  linkFault('linkOneWay', oneWay),
  linkFault('linkSlow', slow),
  {
    kind: 'databaseRestarted',
    async strike(cluster, random) {
      await cluster.database.stop();
      await sleep(random.int(0, 2_000));
      await cluster.database.start();
      return { what: 'database', agents: null };
    },
  },
  {
    kind: 'databaseCut',
    async strike(cluster) {
      await cluster.database.cutConnections();
      return { what: 'all connections', agents: null };
    },
  },
  databaseLinkFault('databaseLinkCut', () => ({ refuse: true })),
  databaseLinkFault('databaseLinkHalfOpen', halfOpen),
  databaseLinkFault('databaseLinkOneWay', oneWay),
  databaseLinkFault('databaseLinkSlow', (random) => ({ delayMs: random.int(20, 100) })),
];
