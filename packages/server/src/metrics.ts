import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { RunState } from '@rota/contract';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Store } from './store/store.ts';

/** Between two looks at the event loop; what is measured has this in it. */
const LOOP_RESOLUTION_MS = 10;

function delaySeconds(measuredNs: number): number {
  return Math.max(0, (measuredNs || 0) / 1e9 - LOOP_RESOLUTION_MS / 1_000);
}

/** What the server counts while it works; `docs/metrics.md` lists it all. */
export interface Metrics {
  /** An agent reported the end of a run that started so many ms after it was due (null: it never did). */
  runEnded(state: RunState, latenessMs: number | null): void;
  requestEnded(route: string, status: number, durationMs: number): void;
  /** All metrics as Prometheus reads them. */
  text(): Promise<string>;
  readonly contentType: string;
  /** Name and help of each metric. */
  catalogue(): { name: string; help: string }[];
}

const LATENESS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600];
const REQUEST_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** Metrics of one server; states are counted by the store when they are read. `now` is the clock's, epoch ms. */
export function createMetrics(ports: {
  store: Pick<Store, 'countForMetrics' | 'readRecovery' | 'countEndedSince' | 'listReplicas' | 'onCommit'>;
  version: string;
  now: number;
}): Metrics {
  const { store } = ports;
  const registry = new Registry();
  const registers = [registry];
  const ended = new Counter({
    name: 'rota_runs_ended_total',
    help: 'Runs that ended since the server started, by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  const lateness = new Histogram({
    name: 'rota_run_lateness_seconds',
    help: 'How long after it was due a run first started, counted when its end is reported; waits for further attempts do not count.',
    buckets: LATENESS_S,
    registers,
  });
  const runs = new Gauge({
    name: 'rota_runs',
    help: 'Runs that are neither planned nor ended, by state.',
    labelNames: ['state'],
    registers,
  });
  const agents = new Gauge({
    name: 'rota_agents',
    help: 'Agents by state.',
    labelNames: ['state'],
    registers,
  });
  const replicas = new Gauge({
    name: 'rota_replicas',
    help: 'Servers on this database by state: live, leaving, lost.',
    labelNames: ['state'],
    registers,
  });
  const awaited = new Gauge({
    name: 'rota_agents_awaited',
    help: 'Agents that have not told yet what a database had lost that went on from an older state.',
    registers,
  });
  const requests = new Histogram({
    name: 'rota_http_request_seconds',
    help: 'Time of API requests by route and status.',
    labelNames: ['route', 'status'],
    buckets: REQUEST_S,
    registers,
  });
  const commits = new Histogram({
    name: 'rota_store_commit_seconds',
    help: 'Time of a commit with all changes that share it.',
    buckets: REQUEST_S,
    registers,
  });
  store.onCommit((durationMs) => commits.observe(durationMs / 1_000));
  const loop = new Gauge({
    name: 'rota_event_loop_delay_seconds',
    help: 'Delay of the event loop since the metrics were read last.',
    labelNames: ['quantile'],
    registers,
  });
  const memory = new Gauge({
    name: 'rota_process_resident_memory_bytes',
    help: 'Resident memory of the server.',
    registers,
  });
  new Gauge({
    name: 'rota_info',
    help: 'Always 1; the version is its label.',
    labelNames: ['version'],
    registers,
  }).set({ version: ports.version }, 1);

  const delay = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  delay.enable();
  let countedUntil = ports.now;

  async function readStore(): Promise<void> {
    const window = await store.countEndedSince({ from: countedUntil });
    countedUntil = window.until;
    for (const each of window.ended) ended.inc({ outcome: each.state }, each.runs);
    const counted = await store.countForMetrics({});
    for (const state of ['queued', 'offered', 'starting', 'running', 'unknown'])
      runs.set({ state }, counted.runs[state] ?? 0);
    for (const state of ['online', 'offline', 'quarantined'])
      agents.set({ state }, counted.agents[state] ?? 0);
    const servers = await store.listReplicas({});
    const lost = servers.filter((each) => each.lostAt !== null).length;
    const leaving = servers.filter((each) => each.lostAt === null && each.leavingAt !== null).length;
    replicas.set({ state: 'lost' }, lost);
    replicas.set({ state: 'leaving' }, leaving);
    replicas.set({ state: 'live' }, servers.length - lost - leaving);
    awaited.set((await store.readRecovery({}))?.awaited.length ?? 0);
  }

  function readProcess(): void {
    for (const quantile of [50, 99])
      loop.set({ quantile: String(quantile / 100) }, delaySeconds(delay.percentile(quantile)));
    loop.set({ quantile: '1' }, delaySeconds(delay.max));
    delay.reset();
    memory.set(process.memoryUsage.rss());
  }

  return {
    runEnded(_state, latenessMs) {
      if (latenessMs !== null) lateness.observe(Math.max(0, latenessMs) / 1_000);
    },
    requestEnded(route, status, durationMs) {
      requests.observe({ route, status }, durationMs / 1_000);
    },
    async text() {
      await readStore();
      readProcess();
      return registry.metrics();
    },
    contentType: registry.contentType,
    catalogue: () => registry.getMetricsAsArray().map(({ name, help }) => ({ name, help }) as never),
  };
}
