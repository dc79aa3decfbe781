// What a step of a chain costs beside a job of its own: node bench/chain.ts
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { JobDocument } from '@rota/contract';
import { type Installation, processesWith } from '../test/support/installation.ts';
import { until } from '../test/support/until.ts';
import { repeated, type Spread, shown, shownSpread, spreadOf, table } from './figures.ts';
import { burst, lastEndMs, placeOf, withInstallation } from './installed.ts';
import { describeFdatasyncs, fdatasyncs } from './limits.ts';
import { ownCpuSeconds } from './processes.ts';

const STEPS = 10;
const CHAINS = 30;
const TURNS = 3;
const COMMAND = ['/bin/true'];

const chainSteps = Array.from({ length: STEPS }, (_, index) => ({ name: `s${index}`, command: COMMAND }));

interface Cost {
  /** Milliseconds of each step, the ones of one run or job after the other. */
  aloneMs: Spread;
  /** Steps per second, when many are due at one instant. */
  perSecond: Spread;
  /** Processor time of session and helper for each step, ms, without the commands' own. */
  cpuMs: Spread;
}

async function measured(installation: Installation, kind: 'chain' | 'jobs'): Promise<Cost> {
  const what = kind === 'chain' ? { steps: chainSteps } : { command: COMMAND };
  const count = kind === 'chain' ? CHAINS : CHAINS * STEPS;
  const agent = processesWith(installation.home('agent-1'));
  const perSecond: number[] = [];
  const cpuMs: number[] = [];
  for (let turn = 0; turn <= TURNS; turn++) {
    let before = 0;
    const done = await burst(placeOf(installation), {
      prefix: `${kind}${turn}`,
      count,
      ...what,
      onDue: () => {
        before = ownCpuSeconds(agent);
      },
    });
    if (turn === 0) continue;
    cpuMs.push(((ownCpuSeconds(agent) - before) / (CHAINS * STEPS)) * 1_000);
    perSecond.push(((CHAINS * STEPS) / lastEndMs(done)) * 1_000);
  }
  const name = `${kind}-alone`;
  const client = installation.client();
  await client.call('apply', { body: { document: { jobs: [{ name, ...what } as JobDocument] } } });
  const aloneMs = await repeated(TURNS, async () => {
    let sum = 0;
    for (let done = 0; done < STEPS; done += kind === 'chain' ? STEPS : 1)
      sum += await timeOfRun(installation, name);
    return sum / STEPS;
  });
  return { aloneMs, perSecond: spreadOf(perSecond), cpuMs: spreadOf(cpuMs) };
}

/** From when a run was asked for to its end, by the server's clock. */
async function timeOfRun(installation: Installation, name: string): Promise<number> {
  const client = installation.client();
  const { id } = (await client.call('runJob', { params: { name }, body: {} })).run;
  const look = async () => (await client.call('getRun', { params: { id } })).run;
  await until(`the end of ${name}`, async () => (await look()).endedAt !== null);
  const { dueAt, endedAt, state } = await look();
  if (state !== 'succeeded') throw new Error(`the run is ${state}`);
  return Date.parse(endedAt as string) - Date.parse(dueAt);
}

/** child_process.spawn of the same, one after the other. */
function bareSpawns(): Promise<Spread> {
  return repeated(TURNS, async () => {
    const count = CHAINS * STEPS;
    const begin = performance.now();
    for (let done = 0; done < count; done++)
      await once(spawn(COMMAND[0] as string, { stdio: 'ignore', env: {} }), 'exit');
    return (performance.now() - begin) / count;
  });
}

export async function measure(): Promise<string> {
  const disk = await fdatasyncs();
  const bareMs = await bareSpawns();
  const [chain, jobs] = await withInstallation(async (installation) => {
    await installation.startServer();
    await installation.startAgent('agent-1', { args: ['--max-parallel', String(CHAINS * STEPS)] });
    await installation.whenOnline('agent-1');
    return [await measured(installation, 'chain'), await measured(installation, 'jobs')];
  });
  const row = (title: string, { aloneMs, perSecond, cpuMs }: Cost) => [
    title,
    shownSpread(aloneMs),
    shown(aloneMs.median / bareMs.median),
    shownSpread(perSecond),
    shown((perSecond.median * bareMs.median) / 1_000),
    shownSpread(cpuMs),
  ];
  return [
    `${STEPS} steps with the command \`["/bin/true"]\`: as one chain, and as ${STEPS} jobs of one step. Alone, they run one after the other, from the`,
    `request to the end; at once, ${CHAINS} chains, or ${CHAINS * STEPS} jobs, are due at one instant on one agent, from that instant to the last`,
    `end. Processor time is that of the agent's session and helper. ${TURNS} times after one for warming up, median (min–max).`,
    '',
    table(
      [
        '',
        'alone, ms a step',
        '× bare spawn',
        'at once, steps per second',
        '÷ bare spawns',
        'processor time of the agent, ms a step',
      ],
      [row('a step of a chain', chain), row('a job of its own', jobs)],
    ),
    '',
    `Limits in the same run: child_process.spawn of /bin/true, one after the other, ${shownSpread(bareMs)} ms; ${describeFdatasyncs(disk)}.`,
  ].join('\n');
}

if (import.meta.main) console.log(await measure());
