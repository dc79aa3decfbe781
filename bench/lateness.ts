// How late runs start when 50 are due each second: node bench/lateness.ts
import path from 'node:path';
import { loggingCommand, readLog } from '../test/history/jobLog.ts';
import { percentile, shown, table } from './figures.ts';
import { applyJobs, placeOf, type RunTimes, readRuns, withInstallation } from './installed.ts';
import { bareStarts, describeFdatasyncs, describeStarts, fdatasyncs } from './limits.ts';

const JOBS = 50;
/** Jobs that also write the time by their own clock. */
const SAMPLED = 5;
const WARM_UP_MS = 15_000;
const MEASURED_MS = 75_000;

interface Measured {
  title: string;
  runs: RunTimes[];
  skipped: number;
  /** From the due instant to what the job's own clock said, ms. */
  own: number[];
}

/** A job each second, fifty times, on one agent, whose runs are due at one instant or spread over the second. */
async function eachSecond(title: string, jitter: string | null): Promise<Measured> {
  return withInstallation(async (installation) => {
    await installation.startServer();
    await installation.startAgent('agent-1', { args: ['--max-parallel', '200'] });
    await installation.whenOnline('agent-1');
    const log = path.join(installation.folder, 'starts.log');
    const schedule = { cron: '* * * * * *', timezone: 'UTC', ...(jitter === null ? {} : { jitter }) };
    await applyJobs(
      placeOf(installation),
      Array.from({ length: JOBS }, (_, index) => ({
        name: `second-${String(index).padStart(2, '0')}`,
        schedule,
        ...(index % (JOBS / SAMPLED) === 0
          ? { command: loggingCommand(log), shell: 'bash' as const }
          : { command: ['/bin/true'] }),
      })),
    );
    const from = Date.now() + WARM_UP_MS;
    const to = from + MEASURED_MS;
    await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS + MEASURED_MS + 5_000));
    const all = (await readRuns(placeOf(installation), 'second-')).filter(
      (run) => run.dueAt >= from && run.dueAt < to,
    );
    const due = new Map(all.map((run) => [run.id, run.dueAt]));
    return {
      title,
      runs: all.filter((run) => run.startedAt !== null),
      skipped: all.filter((run) => run.startedAt === null).length,
      own: readLog(log).flatMap((entry) => {
        const dueAt = entry.kind === 'start' ? due.get(entry.runId) : undefined;
        return dueAt === undefined ? [] : [entry.at - dueAt];
      }),
    };
  });
}

const PARTS = [
  ['total: due → started', (run) => since(run.dueAt, run.startedAt)],
  ['plan: due → queued', (run) => since(run.dueAt, run.queuedAt)],
  ['queue: queued → first offer', (run) => since(run.queuedAt, run.offeredAt)],
  ['dispatch: first offer → permit', (run) => since(run.offeredAt, run.startingAt)],
  ['exec: permit → started', (run) => since(run.startingAt, run.startedAt)],
  ['started → ended', (run) => since(run.startedAt, run.endedAt)],
] as const satisfies [string, (run: RunTimes) => number][];

function since(from: number | null, to: number | null): number {
  return from === null || to === null ? Number.NaN : to - from;
}

function tableOf({ title, runs, skipped, own }: Measured, bareMs: number): string {
  const row = (name: string, values: number[]) => {
    const sorted = values.filter((value) => !Number.isNaN(value)).toSorted((one, other) => one - other);
    return [name, ...[50, 99, 100].map((percent) => shown(percentile(sorted, percent)))];
  };
  const total = runs.map((run) => since(run.dueAt, run.startedAt)).toSorted((one, other) => one - other);
  return [
    `**${title}**: ${runs.length} runs started, ${skipped} did not.`,
    '',
    table(
      ['ms', 'p50', 'p99', 'max'],
      [
        ...PARTS.map(([name, read]) => row(name, runs.map(read))),
        row(`the command's own clock, of ${own.length} runs`, own),
        [
          'total ÷ one bare child_process.spawn',
          ...[50, 99, 100].map((percent) => shown(percentile(total, percent) / bareMs)),
        ],
      ],
    ),
  ].join('\n');
}

export async function measure(): Promise<string> {
  const disk = await fdatasyncs();
  const starts = await bareStarts();
  const measured = [
    await eachSecond('All 50 at the same instant of each second', null),
    await eachSecond('Spread over the second (`jitter: 1s`)', '1s'),
  ];
  const bareMs = 1_000 / starts.node.median;
  return [
    `${JOBS} jobs with \`* * * * * *\` on one agent for ${MEASURED_MS / 1_000} s after ${WARM_UP_MS / 1_000} s for warming up. Lateness is what a run shows (\`lateness\` in the API),`,
    `by the server's clock when the start was committed; ${SAMPLED} of the jobs also write the time by bash's clock, which includes`,
    'the start of that shell. One start takes at least five commits one after the other: queued, offered,',
    'accepted (agent), permit, started (agent). A run that did not start found the one before it still running: with jitter',
    'two runs of one job can be due within milliseconds.',
    '',
    ...measured.flatMap((each) => [tableOf(each, bareMs), '']),
    `Limits in the same run: ${describeStarts(starts)}; ${describeFdatasyncs(disk)}.`,
  ].join('\n');
}

if (import.meta.main) console.log(await measure());
