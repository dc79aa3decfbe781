import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobDocument } from '@rota/contract';
import { check, type Violation } from '../history/check.ts';
import type { Decision, Fault, History, Limits } from '../history/history.ts';
import { readLog } from '../history/jobLog.ts';
import type { Statistics } from '../history/lateness.ts';
import { readPostgres } from '../history/readDatabase.ts';
import { Seeded } from '../simulation/random.ts';
import { Cluster } from '../support/cluster.ts';
import { until } from '../support/until.ts';
import { type FaultKind, strike } from './faults.ts';

export interface Scenario {
  seed: string;
  replicas: number;
  agents: number;
  /** Name of the agent that has a small disk. */
  smallDisk?: string;
  /** Its jobs; each logs its starts and ends to the file. */
  jobs: (log: string) => JobDocument[];
  /** Which of them people ask for now and then, at any replica. */
  triggered: string;
  /** How often they do. */
  triggerMs: number;
  limits: Limits;
  /** Keeps the history and the logs of all processes also when nothing is wrong with it. */
  keep?: boolean;
  /** Disturbs the cluster: each call of `strikeNext` is one fault, and resolves when its cause is gone. */
  disturb: (strikeNext: (kind: FaultKind) => Promise<Fault>, stage: Stage) => Promise<void>;
}

/** What a scenario works on. */
export interface Stage {
  cluster: Cluster;
  random: Seeded;
  /** What people decided on the way. */
  decisions: Decision[];
  log: string;
  /** Runs that people asked for and that were acknowledged. */
  acknowledged: string[];
}

export interface ScenarioReport {
  seed: string;
  statistics: Statistics;
  instants: number;
  acknowledged: number;
  faults: Fault[];
  violations: Violation[];
  /** File with the whole history and the logs of all processes, when it has violations. */
  keptAs: string | null;
}

/** How long everything may take to settle after the last fault. */
const QUIET_MS = 150_000;

/** Runs real processes through faults, lets all settle, and holds what happened against the guarantees. */
export async function runScenario(scenario: Scenario): Promise<ScenarioReport> {
  const random = new Seeded(scenario.seed);
  const cluster = await Cluster.start(scenario);
  const stage: Stage = {
    cluster,
    random,
    decisions: [],
    log: path.join(cluster.installation.folder, 'jobs.log'),
    acknowledged: [],
  };
  try {
    const documents = scenario.jobs(stage.log);
    await cluster.ask((client) => client.call('apply', { body: { document: { jobs: documents } } }));
    await until('the first start', () => readLog(stage.log).length > 0);
    const triggers = triggerNowAndThen(stage, scenario);
    const faults: Fault[] = [];
    await scenario.disturb(async (kind) => {
      const fault = await strike(kind, cluster, random);
      faults.push(fault);
      return fault;
    }, stage);
    await triggers.stop();
    const history = await settle(stage, documents, faults, scenario.limits);
    const { violations, statistics } = check(history);
    return {
      seed: scenario.seed,
      statistics,
      instants: history.jobs.reduce((sum, job) => sum + job.instants.length, 0),
      acknowledged: stage.acknowledged.length,
      faults,
      violations,
      keptAs: violations.length > 0 || scenario.keep ? keep(history, stage, scenario.seed) : null,
    };
  } finally {
    await cluster.remove();
  }
}

/** Waits until the agents are back and each job has run again, pauses all, and reads everything once it has ended. */
async function settle(
  { cluster, log, decisions, acknowledged }: Stage,
  documents: JobDocument[],
  faults: Fault[],
  limits: Limits,
): Promise<History> {
  await cluster.whenAgentsOnline(QUIET_MS);
  for (const { name } of documents)
    await until(`to pause ${name}`, () =>
      cluster.ask((client) => client.call('pauseJob', { params: { name }, body: {} })),
    );
  // What has not ended by then is a violation that the checker names.
  const deadline = performance.now() + QUIET_MS;
  const open = () => cluster.query(`select "id" from "runs" where "endedAt" is null limit 1`);
  while (performance.now() < deadline && (await open()).length > 0) await sleep(250);
  const dump = await readPostgres(cluster.databaseUrl());
  const idsOf = new Map<string, string[]>();
  for (const { id, name } of dump.agents) idsOf.set(name, [...(idsOf.get(name) ?? []), id]);
  return {
    ...dump,
    log: readLog(log),
    faults: faults.map((fault) => ({
      ...fault,
      agents: fault.agents?.flatMap((name) => idsOf.get(name) ?? []) ?? null,
    })),
    tries: [],
    decisions,
    hurried: [],
    dropped: [],
    acknowledged,
    limits,
  };
}

/** Asks for a run again and again, each time at another replica; what got no answer is asked for again under its key. */
function triggerNowAndThen(
  { cluster, random, acknowledged }: Stage,
  { triggered, triggerMs }: Scenario,
): { stop(): Promise<void> } {
  let stopped = false;
  // A source of its own: how often it is asked depends on time, and must not move the faults.
  const own = new Seeded(random.unit());
  const run = async () => {
    for (let number = 1; !stopped; number++) {
      const idempotencyKey = `asked-${number}`;
      const replicas = cluster.replicas.toSorted(() => own.unit() - 0.5);
      try {
        const { run } = await cluster.ask(
          (client) => client.call('runJob', { params: { name: triggered }, body: { idempotencyKey } }),
          replicas,
        );
        acknowledged.push(run.id);
      } catch {
        // Nobody has said that it was stored.
      }
      await sleep(triggerMs);
    }
  };
  const running = run();
  return {
    stop() {
      stopped = true;
      return running;
    },
  };
}

/** For whoever looks into it. */
function keep(history: History, { cluster }: Stage, seed: string): string {
  const file = path.join(tmpdir(), `rota-history-${seed}-${process.pid}.json`);
  const logs = [...cluster.replicas, ...cluster.agents].map(({ name }) => [
    name,
    cluster.installation.log(name).slice(-1_000_000),
  ]);
  writeFileSync(file, JSON.stringify({ history, logs: Object.fromEntries(logs) }));
  return file;
}
