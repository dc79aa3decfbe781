import type { JobDocument } from '@rota/contract';
import { loggingCommand } from '../history/jobLog.ts';
import { FAULT_KINDS } from './faults.ts';
import { runScenario, type ScenarioReport } from './scenario.ts';

/** Four agents, two of which each job may use, so that all of them have work. */
const PAIRS = [
  ['agent-1', 'agent-2'],
  ['agent-2', 'agent-3'],
  ['agent-3', 'agent-4'],
  ['agent-1', 'agent-4'],
];

function jobs(log: string): JobDocument[] {
  const job = (name: string, work: string, more: Partial<JobDocument>): JobDocument => ({
    name,
    command: loggingCommand(log, work),
    shell: 'bash',
    target: { stagger: '2s' },
    ...more,
  });
  const everySecond = '* * * * * *';
  return [
    ...PAIRS.map((agents, index) =>
      job(`second-${index + 1}`, ':', { schedule: everySecond, target: { agents, stagger: '1s' } }),
    ),
    ...PAIRS.map((agents, index) =>
      job(`longer-${index + 1}`, 'sleep 4', { schedule: `${index}/5 * * * * *`, target: { agents } }),
    ),
    job('overlapping', 'sleep 6', { schedule: 'every 4s' }),
    job('failing', '(exit 3)', { schedule: 'every 3s' }),
    job('endless', 'sleep 1000', { schedule: 'every 10s', timeout: '2s' }),
    job('jittered', ':', { schedule: [{ cron: '*/5 * * * * *', jitter: '3s' }] }),
    job('asked', ':', {}),
  ];
}

/**
 * Three replicas on one PostgreSQL and four agents under faults that a seed draws, one after the other with little rest.
 * What is asserted are guarantees, not speed: on a loaded machine everything may take its time.
 */
export function disturbReplicas(
  seed: string,
  faults: number,
  options: { keep?: boolean } = {},
): Promise<ScenarioReport> {
  return runScenario({
    ...options,
    seed,
    replicas: 3,
    agents: 4,
    jobs,
    triggered: 'asked',
    triggerMs: 700,
    limits: {
      clockErrorMs: 1,
      healthyMs: Number.POSITIVE_INFINITY,
      recoveryMs: Object.fromEntries(FAULT_KINDS.map(({ kind }) => [kind, 60_000])),
      killGraceMs: 15_000,
      transactionMs: 15_000,
    },
    async disturb(strikeNext, { random }) {
      // Each kind comes before any comes again.
      let left: (typeof FAULT_KINDS)[number][] = [];
      for (let count = 0; count < faults; count++) {
        if (left.length === 0) left = [...FAULT_KINDS];
        const kind = random.pick(left);
        left = left.filter((each) => each !== kind);
        await strikeNext(kind);
      }
    },
  });
}
