// How many runs a second one agent starts, also while its session process holds 1 GiB: node bench/starts.ts
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Installation } from '../test/support/installation.ts';
import { repeated, type Spread, shown, shownSpread, spreadOf, table } from './figures.ts';
import { burst, lastStartMs, placeOf, withInstallation } from './installed.ts';
import { bareStarts, describeFdatasyncs, describeStarts, fdatasyncs } from './limits.ts';

const JOBS = 500;
const TURNS = 5;
const GIB = 1024 ** 3;

interface Measured {
  perSecond: Spread;
  sessionMb: number;
}

async function startsWith(bytes: number): Promise<Measured> {
  return withInstallation(async (installation) => {
    await installation.startServer();
    const session = await startHeavyAgent(installation, bytes);
    const perSecond: number[] = [];
    for (let turn = 0; turn <= TURNS; turn++) {
      const done = await burst(placeOf(installation), {
        prefix: `start${turn}`,
        count: JOBS,
        command: ['/bin/true'],
      });
      if (turn > 0) perSecond.push((JOBS / lastStartMs(done)) * 1_000);
    }
    return { perSecond: spreadOf(perSecond), sessionMb: residentMb(session) };
  });
}

async function startHeavyAgent(installation: Installation, bytes: number): Promise<number> {
  const entry = path.join(import.meta.dirname, 'heavyAgent.ts');
  const folder = path.join(installation.folder, 'heavy');
  const args = [entry, folder, installation.url(), String(bytes), String(JOBS)];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      PATH: process.env.PATH ?? '',
      HOME: installation.folder,
      ROTA_JOIN_TOKEN: await installation.joinToken(),
    },
  });
  await installation.whenOnline('heavy');
  return child.pid as number;
}

function residentMb(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return (Number(kib) * 1_024) / 1e6;
}

/** child_process.spawn from the process that holds the memory itself: what the helper process spares the agent. */
function spawnsFromHeavyProcess(): Promise<Spread> {
  const entry = path.join(import.meta.dirname, 'bareStarts.ts');
  return repeated(TURNS, () => Number(execFileSync(process.execPath, [entry, '16', '700', String(GIB)])));
}

export async function measure(): Promise<string> {
  const disk = await fdatasyncs();
  const starts = await bareStarts();
  const light = await startsWith(0);
  const heavy = await startsWith(GIB);
  const without = await spawnsFromHeavyProcess();
  const row = (title: string, rate: Spread, sessionMb: string) => [
    title,
    sessionMb,
    shownSpread(rate),
    shown(rate.median / starts.node.median),
    starts.posix === null ? '–' : shown(rate.median / starts.posix.median),
  ];
  return [
    `${JOBS} jobs with the command \`["/bin/true"]\` due at one instant on one agent (\`maxParallel: ${JOBS}\`): runs ÷ time from the`,
    `instant to the last start, the whole way from the due row to the committed start. ${TURNS} times after one for warming up,`,
    'median (min–max).',
    '',
    table(
      ['', 'process, MB', 'starts per second', '÷ child_process.spawn', '÷ posix_spawn'],
      [
        row('agent', light.perSecond, shown(light.sessionMb)),
        row('agent whose session process holds 1 GiB', heavy.perSecond, shown(heavy.sessionMb)),
        row('no Rota: child_process.spawn from a process that holds 1 GiB', without, '–'),
      ],
    ),
    '',
    `Limits in the same run: ${describeStarts(starts)}; ${describeFdatasyncs(disk)}.`,
  ].join('\n');
}

if (import.meta.main) console.log(await measure());
