import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { JobDocument } from '@rota/contract';
import { FAULT_KINDS, type FaultKind } from '../chaos/faults.ts';
import { runScenario, type ScenarioReport } from '../chaos/scenario.ts';
import { loggingCommand, readLog } from '../history/jobLog.ts';
import { diskFull, folderCopied } from './faults.ts';

/**
 * `npm run soak -- --minutes 30 [--seed 7] [--only replicaKilled,diskFull]`: three replicas on one PostgreSQL, eight agents,
 * about 50 runs a second, and a fault each ten seconds. Ends with 1 when anything was doubled, lost or not accounted for.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    only: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
const AGENTS = 8;
const FAULT_EVERY_MS = 10_000;
const PROGRESS_MS = 10_000;
/** What is not there on this machine is left to the simulation. */
const NOT_STAGED = [
  'clocks stepped (all processes here share one clock)',
  'power loss of a machine (what was written without fsync is still there)',
  'packets lost or reordered below TCP',
  ...(process.getuid?.() === 0 ? [] : ['disk full (only root can make a small disk)']),
];

function jobs(log: string): JobDocument[] {
  const documents: JobDocument[] = [];
  const add = (name: string, work: string, more: Partial<JobDocument>) =>
    documents.push({ name, command: loggingCommand(log, work), shell: 'bash', ...more });
  for (let index = 0; index < AGENTS; index++) {
    const agents = [`agent-${index + 1}`, `agent-${((index + 1) % AGENTS) + 1}`];
    const target = { agents, stagger: '2s' };
    for (let copy = 1; copy <= 5; copy++)
      add(`second-${index + 1}-${copy}`, ':', {
        schedule: [{ cron: '* * * * * *', jitter: '900ms' }],
        target,
      });
    add(`longer-${index + 1}`, 'sleep 7', { schedule: `${index}/10 * * * * *`, target });
    add(`limited-${index + 1}`, 'sleep 60', { schedule: `${index}/20 * * * * *`, target, timeout: '3s' });
    add(`failing-${index + 1}`, '(exit 3)', { schedule: `${index % 2}/2 * * * * *`, target });
  }
  add('anywhere', ':', { schedule: 'every 1s' });
  add('asked', ':', {});
  return documents;
}

/** Time after its end in which a fault of a kind may still delay a start: silence is noticed late, and agents dial again. */
const RECOVERY_MS = 45_000;
const kinds = [...FAULT_KINDS.map(({ kind }) => kind), 'diskFull', 'folderCopied'];
const smallDisk = process.getuid?.() === 0 ? `agent-${AGENTS}` : undefined;

const began = performance.now();
const untilMs = began + Number(values.minutes) * 60_000;
console.log(`seed ${values.seed}, ${values.minutes} min`);
const report = await runScenario({
  seed: values.seed,
  replicas: 3,
  agents: AGENTS,
  ...(smallDisk === undefined ? {} : { smallDisk }),
  jobs,
  triggered: 'asked',
  triggerMs: 250,
  keep: values.keep,
  limits: {
    clockErrorMs: 1,
    healthyMs: 5_000,
    recoveryMs: Object.fromEntries(kinds.map((kind) => [kind, RECOVERY_MS])),
    killGraceMs: 15_000,
    transactionMs: 15_000,
  },
  async disturb(strikeNext, stage) {
    const drawn: FaultKind[] = [
      ...FAULT_KINDS,
      folderCopied(stage),
      ...(smallDisk === undefined ? [] : [diskFull(smallDisk)]),
    ].filter(({ kind }) => values.only === undefined || values.only.split(',').includes(kind));
    let faults = 0;
    let latest = 'none yet';
    const progress = setInterval(() => {
      const starts = readLog(stage.log).filter(({ kind }) => kind === 'start').length;
      const seconds = Math.round((performance.now() - began) / 1_000);
      console.log(`${seconds} s: ${starts} starts, ${faults} faults, the latest: ${latest}`);
    }, PROGRESS_MS);
    try {
      for (let next = performance.now(); performance.now() < untilMs; next += FAULT_EVERY_MS) {
        await sleep(Math.max(0, next - performance.now()));
        const fault = await strikeNext(stage.random.pick(drawn));
        faults += 1;
        latest = `${fault.kind} of ${fault.what}, ${fault.to - fault.from} ms`;
      }
    } finally {
      clearInterval(progress);
    }
  },
});
print(report);
process.exitCode = report.violations.length === 0 ? 0 : 1;

function print({ statistics, violations, instants, acknowledged, keptAs, seed }: ScenarioReport): void {
  const broken = (names: string[]) => violations.filter(({ invariant }) => names.includes(invariant)).length;
  console.log(`\nseed ${seed}: ${statistics.starts} starts of ${statistics.runs} runs`);
  console.log(`${instants} instants of schedules, ${acknowledged} runs that were asked for`);
  console.log(
    `by state: ${JSON.stringify(statistics.byState)}; at some time unknown: ${statistics.everUnknown}`,
  );
  console.log(`doubled: ${broken(['noAttemptTwice', 'noOverlap', 'nextAttemptHasProof'])}`);
  console.log(`unaccounted: ${broken(['everyInstantAccounted', 'acknowledgedIsDurable', 'settled'])}`);
  console.log('\nfault                      times   starts  p50 ms   p99 ms  worst ms');
  for (const [kind, { starts, p50, p99, worst }] of Object.entries(statistics.lateness)) {
    const figures = [statistics.faults[kind] ?? 0, starts, p50, p99, worst];
    console.log(kind.padEnd(24) + figures.map((figure) => String(figure).padStart(9)).join(''));
  }
  console.log(`\nnot staged here, but in the simulation: ${NOT_STAGED.join('; ')}`);
  console.log(`violations: ${violations.length}`);
  for (const { invariant, sentence } of violations.slice(0, 50)) console.log(`  ${invariant}: ${sentence}`);
  if (keptAs !== null) console.log(`the whole history: ${keptAs}`);
}
