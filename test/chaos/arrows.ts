import { existsSync } from 'node:fs';
import path from 'node:path';
import { bruteForce } from '../../packages/schedule/src/oracle.testing.ts';
import { type AgentProxy, type Passing, startAgentProxy } from '../support/agentProxy.ts';
import { loggingCommand, readLog, readStored, violations } from '../support/history.ts';
import { Installation, type RotaProcess } from '../support/installation.ts';
import { until } from '../support/until.ts';

/** The arrows of the start protocol, in their order. */
export const ARROWS: { from: Passing['from']; type: string }[] = [
  { from: 'server', type: 'offer' },
  { from: 'agent', type: 'accept' },
  { from: 'server', type: 'permit' },
  { from: 'agent', type: 'started' },
  { from: 'agent', type: 'ended' },
  { from: 'server', type: 'ack' },
];

/** A kill at one arrow: of whom, and whether the message still gets through. */
export interface Kill {
  arrow: (typeof ARROWS)[number];
  victim: 'server' | 'agent' | 'both';
  delivered: boolean;
}

/** Every arrow × every victim × delivered or not. */
export function allKills(): Kill[] {
  return ARROWS.flatMap((arrow) =>
    (['server', 'agent', 'both'] as const).flatMap((victim) =>
      [true, false].map((delivered) => ({ arrow, victim, delivered })),
    ),
  );
}

export interface ChaosReport {
  kills: number;
  instants: number;
  starts: number;
  byState: Record<string, number>;
  unknown: number;
  violations: string[];
}

const CRON = '* * * * * *';
const ZONE = 'Europe/Berlin';

/**
 * Runs a job each second and kills -9 at the arrows given, one after the other, starting what was killed again each time;
 * then holds the job's own log and the database against the guarantees and the oracle.
 */
export async function killAtArrows(
  kills: Kill[],
  onKill: (kill: Kill, index: number) => void = () => {},
): Promise<ChaosReport> {
  const installation = new Installation();
  let proxy: AgentProxy | null = null;
  try {
    let server = await installation.startServer();
    proxy = await startAgentProxy(() => installation.url());
    const { url } = proxy;
    let agent = await installation.startAgent('agent-1', { url });
    await installation.whenOnline('agent-1');
    const log = path.join(installation.folder, 'starts.log');
    const { job } = await installation.client().call('putJob', {
      params: { name: 'each-second' },
      body: { name: 'each-second', schedule: { cron: CRON, timezone: ZONE }, command: loggingCommand(log) },
    });
    await until('the first start', () => existsSync(log));

    for (const [index, kill] of kills.entries()) {
      onKill(kill, index);
      await atArrow(proxy, kill, [
        ...(kill.victim === 'agent' ? [] : [server]),
        ...(kill.victim === 'server' ? [] : [agent]),
      ]);
      if (kill.victim !== 'agent') server = await installation.startServer();
      if (kill.victim !== 'server') agent = await installation.startAgent('agent-1', { url });
      await installation.whenOnline('agent-1');
      const starts = readLog(log).length;
      await until('the next start', () => readLog(log).length > starts, 60_000);
    }

    await installation.client().call('pauseJob', { params: { name: 'each-second' }, body: {} });
    const stored = await until('everything to settle', () => {
      const read = readStored(installation.databaseFile(), 'each-second');
      return read.runs.every((run) => run.endedAt !== null) ? read : null;
    });
    const end = pausedAt(await installation.client().call('getJob', { params: { name: 'each-second' } }));
    const instants = bruteForce(
      { cron: CRON, timezone: ZONE },
      { timezone: ZONE, spreadKey: job.id },
      Date.parse(job.createdAt),
      end,
    );
    const starts = readLog(log);
    const byState: Record<string, number> = {};
    for (const run of stored.runs) byState[run.state] = (byState[run.state] ?? 0) + 1;
    return {
      kills: kills.length,
      instants: instants.length,
      starts: starts.length,
      byState,
      unknown: [...stored.changes.values()].filter((states) => states.includes('unknown')).length,
      violations: violations({ ...stored, starts, instants }),
    };
  } finally {
    await proxy?.close();
    await installation.remove();
  }
}

/** Waits for a message of the arrow, kills the victims there, and cuts what is left. */
async function atArrow(proxy: AgentProxy, kill: Kill, victims: RotaProcess[]): Promise<void> {
  await new Promise<void>((resolve) => {
    proxy.decide((message) => {
      if (message.from !== kill.arrow.from || message.type !== kill.arrow.type) return 'pass';
      proxy.decide(() => 'drop');
      for (const victim of victims) victim.child.kill('SIGKILL');
      resolve();
      return kill.delivered ? 'passAndCut' : 'dropAndCut';
    });
  });
  await Promise.all(victims.map((victim) => victim.exited));
  proxy.cut();
  proxy.decide(() => 'pass');
}

function pausedAt(job: { paused: { at: string } | null }): number {
  if (job.paused === null) throw new Error('the job is not paused');
  return Date.parse(job.paused.at);
}
