import { existsSync } from 'node:fs';
import path from 'node:path';
import { check, type Violation } from '../history/check.ts';
import { type Fault, TERMINAL } from '../history/history.ts';
import { loggingCommand, readLog } from '../history/jobLog.ts';
import type { Statistics } from '../history/lateness.ts';
import { readSqlite } from '../history/readDatabase.ts';
import { type FaultProxy, type Passing, startFaultProxy } from '../support/faultProxy.ts';
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
  statistics: Statistics;
  violations: Violation[];
}

const CRON = '* * * * * *';
const ZONE = 'Europe/Berlin';
/** One machine has one clock, but a slow one is not late: how late is measured, not judged. */
const LIMITS = { clockErrorMs: 0, healthyMs: 60_000, recoveryMs: {}, killGraceMs: 10_000 };

/**
 * Runs a job each second and kills -9 at the arrows given, one after the other, starting what was killed again each time;
 * then holds the job's own log and the database against the guarantees and the oracle.
 */
export async function killAtArrows(
  kills: Kill[],
  onKill: (kill: Kill, index: number) => void = () => {},
): Promise<ChaosReport> {
  const installation = new Installation();
  let proxy: FaultProxy | null = null;
  try {
    let server = await installation.startServer();
    proxy = await startFaultProxy(() => installation.address(), { messages: true });
    const url = `http://127.0.0.1:${proxy.port}`;
    let agent = await installation.startAgent('agent-1', { url });
    await installation.whenOnline('agent-1');
    const log = path.join(installation.folder, 'starts.log');
    await installation.client().call('putJob', {
      params: { name: 'each-second' },
      body: {
        name: 'each-second',
        schedule: { cron: CRON, timezone: ZONE },
        command: loggingCommand(log),
        shell: 'bash',
      },
    });
    await until('the first start', () => existsSync(log));

    const faults: Fault[] = [];
    for (const [index, kill] of kills.entries()) {
      onKill(kill, index);
      const from = Date.now();
      await atArrow(proxy, kill, [
        ...(kill.victim === 'agent' ? [] : [server]),
        ...(kill.victim === 'server' ? [] : [agent]),
      ]);
      if (kill.victim !== 'agent') server = await installation.startServer();
      if (kill.victim !== 'server') agent = await installation.startAgent('agent-1', { url });
      await installation.whenOnline('agent-1');
      const starts = readLog(log).length;
      await until('the next start', () => readLog(log).length > starts, 60_000);
      faults.push({
        kind: `${kill.victim} killed`,
        from,
        to: Date.now(),
        what: kill.arrow.type,
        agents: null,
      });
    }

    await installation.client().call('pauseJob', { params: { name: 'each-second' }, body: {} });
    const stored = await until('everything to settle', async () => {
      const read = await readSqlite(installation.databaseFile());
      return read.runs.every((run) => TERMINAL.has(run.state)) ? read : null;
    });
    const { violations, statistics } = check({
      ...stored,
      log: readLog(log),
      faults,
      tries: [],
      decisions: [],
      hurried: [],
      dropped: [],
      acknowledged: [],
      limits: LIMITS,
    });
    const instants = stored.jobs.reduce((sum, job) => sum + job.instants.length, 0);
    return { kills: kills.length, instants, statistics, violations };
  } finally {
    await proxy?.close();
    await installation.remove();
  }
}

/** Waits for a message of the arrow, kills the victims there, and cuts what is left. */
async function atArrow(proxy: FaultProxy, kill: Kill, victims: RotaProcess[]): Promise<void> {
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
