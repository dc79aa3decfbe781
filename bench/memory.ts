// What server and agent keep in memory: node bench/memory.ts
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { processesWith } from '../test/support/installation.ts';
import { shown, table } from './figures.ts';
import { dailyJobs, fillJobs } from './fill.ts';
import { burst, placeOf, withInstallation } from './installed.ts';

const JOBS = 10_000;
const RUNS = 500;
/** For a process to come to rest after it has started. */
const REST_MS = 10_000;

interface Size {
  rssMb: number;
  /** Pages that are shared with other processes count in part. */
  pssMb: number;
}

function sizeOf(pid: number): Size {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const mb = (field: string) =>
    (Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(rollup)?.[1]) * 1_024) / 1e6;
  return { rssMb: mb('Rss'), pssMb: mb('Pss') };
}

function rest(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, REST_MS));
}

async function bareNode(): Promise<Size> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
  await rest();
  const size = sizeOf(child.pid as number);
  child.kill();
  return size;
}

function fillTenant(file: string): void {
  const database = new DatabaseSync(file, { readOnly: true });
  const { id } = database.prepare('select "id" from "tenants"').get() as { id: string };
  database.close();
  const now = Date.now();
  fillJobs(file, { tenantId: id, jobs: dailyJobs(JOBS, now), now, history: true });
}

export async function measure(): Promise<string> {
  const sizes: [string, Size][] = [['a bare `node` that waits', await bareNode()]];
  await withInstallation(async (installation) => {
    const first = await installation.startServer();
    await rest();
    sizes.push(['server, idle, no jobs', sizeOf(first.child.pid as number)]);
    await first.kill('SIGTERM');

    fillTenant(installation.databaseFile());
    const server = await installation.startServer();
    const agent = await installation.startAgent('agent-1', { args: ['--max-parallel', String(RUNS)] });
    await installation.whenOnline('agent-1');
    await rest();
    const session = agent.child.pid as number;
    const helper = processesWith(installation.home('agent-1')).find((pid) => isHelper(pid));
    if (helper === undefined) throw new Error('the helper process was not found');
    sizes.push(
      [
        `server, idle, ${shown(JOBS)} jobs (${shown(JOBS)} runs) and an agent`,
        sizeOf(server.child.pid as number),
      ],
      ['agent session, idle', sizeOf(session)],
      ['agent helper, idle', sizeOf(helper)],
    );
    await burst(placeOf(installation), { prefix: 'burst', count: RUNS, command: ['/bin/true'] });
    await rest();
    sizes.push(
      [`server, after ${RUNS} runs at one instant`, sizeOf(server.child.pid as number)],
      [`agent session, after ${RUNS} runs at one instant`, sizeOf(session)],
      [`agent helper, after ${RUNS} runs at one instant`, sizeOf(helper)],
    );
  });
  const bare = sizes[0]?.[1] as Size;
  return [
    `Real processes, ${REST_MS / 1_000} s after they came to rest; one reading each (Rss and Pss of \`/proc/<pid>/smaps_rollup\`).`,
    'The limit is what the runtime itself takes.',
    '',
    table(
      ['process', 'RSS, MB', 'PSS, MB', 'RSS ÷ bare node'],
      sizes.map(([name, { rssMb, pssMb }]) => [name, shown(rssMb), shown(pssMb), shown(rssMb / bare.rssMb)]),
    ),
  ].join('\n');
}

function isHelper(pid: number): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('helper');
}

if (import.meta.main) console.log(await measure());
