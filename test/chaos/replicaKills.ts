import { statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LoggedStart } from '../history/history.ts';
import { loggingCommand, readLog } from '../history/jobLog.ts';
import { Cluster, type Member } from '../support/cluster.ts';
import { until } from '../support/until.ts';

export interface ReplicaKill {
  /** How many agents the replica held. */
  held: number;
  /** From the kill to the first start of a run that came due after it. */
  firstMs: number;
  /** From the kill to the first start on one of the agents that it held. */
  firstHeldMs: number;
  /** From the kill until each of the agents that it held had started something. */
  allHeldMs: number;
}

const AGENTS = 8;
/** Starts of one agent are this far apart. */
const SPREAD = 4;

/** Kills -9 the replica that holds the most agents, again and again, and looks how long it takes until runs start again. */
export async function killBusiestReplica(
  kills: number,
  onKill: (kill: ReplicaKill, index: number) => void = () => {},
): Promise<ReplicaKill[]> {
  const cluster = await Cluster.start({ replicas: 3, agents: AGENTS });
  try {
    const log = path.join(cluster.installation.folder, 'jobs.log');
    // The multiples of an interval count from when its job was made: those of one agent are spread over the second.
    for (let part = 0; part < SPREAD; part++) {
      const made = Array.from({ length: AGENTS }, (_, index) => ({
        name: `second-${index + 1}-${part + 1}`,
        schedule: 'every 1s',
        command: loggingCommand(log),
        shell: 'bash',
        target: { agents: [`agent-${index + 1}`] },
      }));
      await cluster.ask((client) => client.call('apply', { body: { document: { jobs: made } } }));
      await sleep(1_000 / SPREAD);
    }
    const results: ReplicaKill[] = [];
    // A session that has just begun is not a good one yet.
    await sleep(STABLE_MS);
    for (let index = 0; index < kills; index++) {
      await startedSince(now(log), names(cluster.agents));
      const { replica, held } = await busiest(cluster);
      const killed = now(log);
      const { at } = killed;
      await replica.process.kill('SIGKILL');
      const last = await startedSince(killed, new Set(held));
      const after = dueAndStartedSince(killed);
      const onHeld = after.filter(({ agent }) => held.includes(agent ?? ''));
      const result = {
        held: held.length,
        firstMs: Math.min(...after.map((start) => start.at)) - at,
        firstHeldMs: Math.min(...onHeld.map((start) => start.at)) - at,
        allHeldMs: last - at,
      };
      results.push(result);
      onKill(result, index);
      await Promise.all([cluster.restartReplica(replica), sleep(STABLE_MS)]);
    }
    return results;
  } finally {
    await cluster.remove();
  }
}

/** Longer than an agent's session must last to count as a good one. */
const STABLE_MS = 6_000;

const names = (members: readonly Member[]) => new Set(members.map(({ name }) => name));

/** A moment, and how long the log was then: what comes later stands behind it. */
interface Moment {
  log: string;
  bytes: number;
  at: number;
}

function now(log: string): Moment {
  return { log, bytes: statSync(log, { throwIfNoEntry: false })?.size ?? 0, at: Date.now() };
}

/** Waits until each of the agents has started something. @returns when the last of them did */
function startedSince(since: Moment, agents: ReadonlySet<string>): Promise<number> {
  return until(
    `a start on each of ${[...agents].join(', ')}`,
    () => {
      const first = new Map<string, number>();
      for (const { agent, at } of dueAndStartedSince(since))
        if (agent !== null && agents.has(agent) && !first.has(agent)) first.set(agent, at);
      return first.size === agents.size ? Math.max(...first.values()) : null;
    },
    120_000,
  );
}

/** What had its permit already goes on by itself: only runs that came due later show that there is a server again. */
function dueAndStartedSince({ log, bytes, at }: Moment): LoggedStart[] {
  return readLog(log, bytes)
    .filter((entry) => entry.kind === 'start')
    .filter(({ scheduledFor }) => scheduledFor > at);
}

async function busiest(cluster: Cluster): Promise<{ replica: Member; held: string[] }> {
  const rows = await cluster.query<{ replica: string; agent: string }>(
    `select r."name" as "replica", a."name" as "agent" from "agents" a join "replicas" r on r."id" = a."replicaId"
     where a."state" = 'online'`,
  );
  const heldBy = (replica: Member) =>
    rows
      .filter(({ replica: name }) => name.endsWith(`:${replica.process.child.pid}`))
      .map(({ agent }) => agent);
  const [first] = cluster.replicas
    .map((replica) => ({ replica, held: heldBy(replica) }))
    .sort((a, b) => b.held.length - a.held.length);
  if (!first || first.held.length === 0) throw new Error('no replica holds an agent');
  return first;
}
