// A thousand jobs due at one second on four agents: how long until the last has started. node bench/herd.ts
import { availableParallelism } from 'node:os';
import { percentile, shown, shownSpread, spreadOf, table } from './figures.ts';
import { burst, lastStartMs, placeOf, withInstallation } from './installed.ts';
import { bareStarts, describeFdatasyncs, describeStarts, fdatasyncs } from './limits.ts';

const JOBS = 1_000;
const AGENTS = ['agent-1', 'agent-2', 'agent-3', 'agent-4'];
const TURNS = 5;

interface Herd {
  lastMs: number[];
  halfMs: number[];
  agentsUsed: number;
}

async function herd(maxParallel: number | null, spread: boolean): Promise<Herd> {
  return withInstallation(async (installation) => {
    await installation.startServer();
    for (const name of AGENTS) {
      const args = maxParallel === null ? [] : ['--max-parallel', String(maxParallel)];
      await installation.startAgent(name, { args });
      await installation.whenOnline(name);
    }
    const targetOf = spread ? { targetOf: (index: number) => [AGENTS[index % AGENTS.length] as string] } : {};
    const result: Herd = { lastMs: [], halfMs: [], agentsUsed: 0 };
    for (let turn = 0; turn <= TURNS; turn++) {
      const done = await burst(placeOf(installation), {
        prefix: `herd${turn}`,
        count: JOBS,
        command: ['/bin/true'],
        ...targetOf,
      });
      if (turn === 0) continue;
      const late = done.runs
        .map((run) => (run.startedAt as number) - done.dueAt)
        .toSorted((one, other) => one - other);
      result.lastMs.push(lastStartMs(done));
      result.halfMs.push(percentile(late, 50));
      result.agentsUsed = new Set(done.runs.map((run) => run.agentId)).size;
    }
    return result;
  });
}

export async function measure(): Promise<string> {
  const disk = await fdatasyncs();
  const starts = await bareStarts();
  const variants = [
    { title: '250 jobs for each agent by name, `--max-parallel 1000`', herd: await herd(JOBS, true) },
    {
      title: `any agent, default parallelism (${availableParallelism()} cores)`,
      herd: await herd(null, false),
    },
  ];
  const bare = JOBS / starts.node.median;
  const posix = starts.posix && JOBS / starts.posix.median;
  return [
    `${JOBS} jobs with the command \`["/bin/true"]\`, due at one second, on ${AGENTS.length} agents: server, agents and helpers are`,
    `processes of their own on this one machine. ${TURNS} herds after one for warming up, seconds from the instant, median (min–max).`,
    '',
    table(
      [
        'agents',
        'agents used',
        'half started, s',
        'last started, s',
        `× ${JOBS} child_process.spawn`,
        `× ${JOBS} posix_spawn`,
      ],
      variants.map(({ title, herd: { lastMs, halfMs, agentsUsed } }) => {
        const last = spreadOf(lastMs.map((ms) => ms / 1_000));
        return [
          title,
          String(agentsUsed),
          shownSpread(spreadOf(halfMs.map((ms) => ms / 1_000))),
          shownSpread(last),
          shown(last.median / bare),
          posix === null ? '–' : shown(last.median / posix),
        ];
      }),
    ),
    '',
    `Limits in the same run: ${describeStarts(starts)}; ${describeFdatasyncs(disk)}.`,
  ].join('\n');
}

if (import.meta.main) console.log(await measure());
