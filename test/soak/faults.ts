import { closeSync, cpSync, existsSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '@rota/contract';
import type { FaultKind } from '../chaos/faults.ts';
import type { Stage } from '../chaos/scenario.ts';
import type { Cluster, Member } from '../support/cluster.ts';
import { until } from '../support/until.ts';

const FULL_MS = 8_000;

/** The disk of the agent that has a small one is full for a while. */
export function diskFull(agent: string): FaultKind {
  return {
    kind: 'diskFull',
    async strike({ installation }) {
      const filler = path.join(installation.home(agent), 'filler');
      fill(filler);
      await sleep(FULL_MS);
      rmSync(filler, { force: true });
      return { what: agent, agents: [agent] };
    },
  };
}

function fill(file: string): void {
  const descriptor = openSync(file, 'w');
  try {
    for (const size of [1 << 20, 1 << 12]) {
      const piece = Buffer.alloc(size);
      for (let written = size; written === size; ) written = writeSync(descriptor, piece);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** The helper process of an agent lives on one machine; on another one, where the copy would be, it would not be found. */
const OF_ITS_MACHINE = /\/(helper[^/]*|filler)$/;

/**
 * An agent's folder is copied and the copy started: both are locked out. As an operator should, the machine is declared gone
 * once nothing of it runs, what nobody can know is decided, and the agent joins again under its old name.
 */
export function folderCopied(stage: Stage): FaultKind {
  return {
    kind: 'folderCopied',
    async strike(cluster, random) {
      const agent = random.pick(cluster.agents);
      const { installation } = cluster;
      const copy: Member = { name: `copy-of-${agent.name}`, process: agent.process };
      await agent.process.kill('SIGKILL');
      cpSync(installation.home(agent.name), installation.home(copy.name), {
        recursive: true,
        filter: (source) => !OF_ITS_MACHINE.test(source),
      });
      await cluster.restartAgent(agent);
      await cluster.whenAgentsOnline();
      copy.process = installation.start(copy.name, [
        'agent',
        'start',
        ...cluster.linksOf(agent).flatMap(({ proxy }) => ['--url', `http://127.0.0.1:${proxy.port}`]),
      ]);
      await until(
        'the quarantine',
        async () => {
          const shown = await cluster.ask((client) =>
            client.call('getAgent', { params: { name: agent.name } }),
          );
          if (shown.state === 'quarantined') return true;
          throw new Error(
            `it is ${shown.state}; the copy says: ${installation.log(copy.name).slice(-2_000)}`,
          );
        },
        60_000,
      );
      await cluster.killHost(copy);
      await cluster.killHost(agent);
      await declareGone(stage, agent);
      for (const { name } of [agent, copy]) {
        const folder = path.join(installation.home(name), 'agent');
        if (existsSync(folder)) rmSync(folder, { recursive: true });
      }
      await cluster.restartAgent(agent);
      // Only one that has joined can be copied again.
      await cluster.whenAgentsOnline();
      return { what: agent.name, agents: [agent.name] };
    },
  };
}

async function declareGone({ cluster, decisions }: Stage, agent: Member): Promise<void> {
  const at = Date.now();
  const held = await cluster.query<{ id: string }>(
    `select r."id" from "runs" r join "agents" a on a."id" = r."agentId"
     where a."name" = $1 and a."removedAt" is null and r."endedAt" is null and r."state" in ('starting', 'running', 'unknown')`,
    [agent.name],
  );
  // That the machine is gone is the decision: from then on nothing of these runs goes on.
  decisions.push(...held.map(({ id }) => ({ runId: id, at })));
  await until('the removal', () =>
    cluster.ask(async (client) => {
      await client.call('removeAgent', { params: { name: agent.name }, query: { gone: true } });
      return true;
    }),
  );
  for (const { id } of held) await until(`run ${id} to be decided`, () => decide(cluster, id));
}

async function decide(cluster: Cluster, id: string): Promise<boolean> {
  try {
    await cluster.ask((client) => client.call('resolveRun', { params: { id }, body: { as: 'failed' } }));
  } catch (error) {
    // Its end had been reported just before the machine was gone.
    if (!(error instanceof ApiError) || error.problem.code !== 'run.ended') throw error;
  }
  return true;
}
