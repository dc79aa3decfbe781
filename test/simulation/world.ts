import { type Latency, Seeded } from './random.ts';
import { addSteps } from './worldSteps.ts';

/** How the processes of a job behave. */
export interface Behaviour {
  minMs: number;
  maxMs: number;
  failShare: number;
  ignoresTermShare: number;
  spawnFailShare: number;
}

export interface SimJob {
  name: string;
  /** The document as people write it, without its name and command. */
  fields: Record<string, unknown>;
  behaviour: Behaviour;
}

export interface SimAgent {
  order: number;
  maxParallel: number;
  /** Milliseconds of its boot clock in one of true time. */
  rate: number;
  startsAtMs: number;
}

/** What strikes whom: a replica or an agent by number; null: the one that the moment is about, else the first. */
export type Blow =
  | { kind: 'killReplica' | 'stopReplica'; replica: number | null; forMs: number }
  | { kind: 'freezeReplica'; replica: number | null; forMs: number }
  | { kind: 'databaseAway'; forMs: number }
  | { kind: 'databaseSlow'; byMs: number; forMs: number }
  | { kind: 'commitsFail' | 'answersLost'; share: number; forMs: number }
  | { kind: 'failOver'; forMs: number }
  | { kind: 'cut'; agent: number | null; replica: number | null }
  | {
      kind: 'block';
      agent: number | null;
      replica: number | null;
      direction: 'up' | 'down' | 'both';
      forMs: number;
    }
  | { kind: 'slowLink'; agent: number | null; byMs: number; forMs: number }
  | { kind: 'killSession' | 'stopSession' | 'freezeSession'; agent: number | null; forMs: number }
  | { kind: 'killHelper'; agent: number | null }
  | { kind: 'killBoth'; agent: number | null; forMs: number }
  | { kind: 'freezeMachine' | 'rebootMachine' | 'diskFull'; agent: number | null; forMs: number }
  | { kind: 'stepWallClock'; agent: number | null; byMs: number }
  | { kind: 'restoreFolder' | 'copyFolder'; agent: number | null; afterMs: number }
  | { kind: 'damageJournal'; agent: number | null };

/** When it strikes: at an instant, or at the n-th time that something happens after it. */
export interface Fault {
  blow: Blow;
  atMs: number;
  moment: { what: string; nth: number } | null;
}

export type Action = { atMs: number } & (
  | { kind: 'hurryRetry' | 'dropRetry'; draw: number }
  | { kind: 'edit'; job: number; fields: Record<string, unknown> }
  | { kind: 'pause' | 'resume' | 'trigger' | 'delete'; job: number }
  | { kind: 'cancel' | 'resolve'; draw: number }
  | { kind: 'setAgent'; agent: number; order: number; enabled: boolean }
);

/** All that a run of the simulation depends on: plain data, so that it can be kept and made smaller. */
export interface World {
  seed: string;
  durationMs: number;
  replicas: number;
  agents: SimAgent[];
  jobs: SimJob[];
  latency: { network: Latency; disk: Latency; database: Latency; spawn: Latency };
  /** Share of the notices between replicas that are lost. */
  noticeLoss: number;
  /** How far a standby is behind; null: there is none. */
  standbyLagMs: number | null;
  faults: Fault[];
  actions: Action[];
}

/** Points of the protocol at which faults strike most: before and after each thing that must be durable or sent. */
const MOMENTS = [
  ...[
    'offer',
    'accept',
    'permit',
    'started',
    'ended',
    'ack',
    'resume',
    'welcome',
    'ready',
    'refused',
  ].flatMap((type) => [`send ${type}`, `receive ${type}`]),
  ...[
    'decideRuns',
    'acceptOffer',
    'startAttempt',
    'endAttempt',
    'storePlans',
    'openSession',
    'confirmSession',
  ],
  ...[
    'queueDueRuns',
    'reconcileSession',
    'closeSession',
    'permitAgain',
    'refuseAttempt',
    'settleOverdueRuns',
  ],
].flatMap((name) => (name.includes(' ') ? [name] : [`before ${name}`, `after ${name}`]));
const MACHINE_MOMENTS = ['before exec', 'after exec', 'before sync', 'after sync'];

/** How long before the end the last fault strikes and the last action is taken: all must settle until then. */
export const TAIL_MS = 1_000_000;
/** How long a machine stands still at most. */
const STILL_MAX_MS = 60_000;
/** From then on, that many ms into the tail: nothing is disturbed any more, and then nothing is planned any more. */
export const HEAL_MS = 200_000;
export const PAUSE_MS = 280_000;

export const FAULT_KINDS: Blow['kind'][] = [
  'killReplica',
  'stopReplica',
  'freezeReplica',
  'databaseAway',
  'databaseSlow',
  'commitsFail',
  'answersLost',
  'failOver',
  'cut',
  'block',
  'slowLink',
  'killSession',
  'stopSession',
  'freezeSession',
  'killHelper',
  'killBoth',
  'freezeMachine',
  'rebootMachine',
  'diskFull',
  'stepWallClock',
  'restoreFolder',
  'copyFolder',
  'damageJournal',
];

export interface WorldOptions {
  hours?: number;
  /** Faults that do not happen. */
  without?: Blow['kind'][];
  minReplicas?: number;
  maxReplicas?: number;
  minAgents?: number;
  maxAgents?: number;
  maxJobs?: number;
  /** Only these kinds of faults, so many in an hour. */
  kinds?: readonly Blow['kind'][];
  faultsPerHour?: number;
  /** Faults wait for one of these moments. */
  moments?: readonly string[];
  actions?: readonly Action['kind'][];
  actionsPerHour?: number;
  /** Put over the fields and the behaviour of each job. */
  fields?: Record<string, unknown>;
  behaviour?: Partial<Behaviour>;
  /** Share of the jobs that have several steps, and of those that are tried again as a whole. */
  chains?: number;
  retries?: number;
  noticeLoss?: number;
  standbyLagMs?: number;
}

/** Makes the world of a seed. Each seed has some kinds of faults and not others, and its own pace of everything. */
export function makeWorld(seed: number, options: WorldOptions = {}): World {
  const random = new Seeded(`world ${seed}`);
  const durationMs = Math.round((options.hours ?? 1) * 3_600_000);
  const replicas = Math.min(
    options.maxReplicas ?? 3,
    Math.max(options.minReplicas ?? 1, random.pick([1, 1, 2, 3])),
  );
  const agents = Array.from(
    { length: Math.max(options.minAgents ?? 1, random.int(1, options.maxAgents ?? 5)) },
    (): SimAgent => ({
      order: random.pick([100, 100, 50, 10, 200]),
      maxParallel: random.pick([1, 2, 4, 10, 10]),
      rate: random.pick([1, 1, 0.998, 1.002]),
      startsAtMs: random.chance(0.8) ? random.int(0, 3_000) : random.int(0, 60_000),
    }),
  );
  const jobs = Array.from({ length: random.int(1, options.maxJobs ?? 12) }, (_, index) =>
    makeJob(random, index, agents.length, options),
  );
  const pace = random.pick([1, 1, 1, 3]);
  const latency = {
    network: {
      typicalMs: random.pick([1, 5, 40]),
      slowMs: 150 * pace,
      slowShare: random.pick([0, 0.02, 0.2]),
    },
    disk: { typicalMs: random.pick([0.3, 2, 8]), slowMs: 120 * pace, slowShare: random.pick([0, 0.02, 0.1]) },
    database: {
      typicalMs: random.pick([1, 3, 12]),
      slowMs: 100 * pace,
      slowShare: random.pick([0, 0.02, 0.1]),
    },
    spawn: { typicalMs: 3, slowMs: 200, slowShare: random.pick([0, 0.05]) },
  };
  const drawn = options.kinds ?? FAULT_KINDS.filter(() => random.chance(0.45));
  const kinds = drawn.filter((kind) => !options.without?.includes(kind));
  const rate = options.faultsPerHour ?? random.pick([0, 6, 20, 45]);
  const last = Math.max(60_000, durationMs - TAIL_MS);
  const faults: Fault[] = [];
  const count = kinds.length === 0 ? 0 : Math.round((rate * durationMs) / 3_600_000);
  for (let index = 0; index < count; index++) {
    faults.push(makeFault(random, random.pick(kinds), last, agents.length, replicas, options));
  }
  const actions: Action[] = [];
  const actionCount = Math.round(
    ((options.actionsPerHour ?? random.pick([0, 4, 15, 40])) * durationMs) / 3_600_000,
  );
  for (let index = 0; index < actionCount; index++)
    actions.push(
      makeAction(random, last, jobs.length, agents.length, faults, options.actions ?? ACTION_KINDS),
    );
  const steps = addSteps(seed, { jobs, agents: agents.length, rate, last, actionCount }, options);
  faults.push(...steps.faults);
  actions.push(...steps.actions);
  faults.sort((a, b) => a.atMs - b.atMs);
  actions.sort((a, b) => a.atMs - b.atMs);
  return {
    seed: String(seed),
    durationMs,
    replicas,
    agents,
    jobs,
    latency,
    noticeLoss: options.noticeLoss ?? random.pick([0, 0, 0.3, 1]),
    standbyLagMs: kinds.includes('failOver')
      ? (options.standbyLagMs ?? random.pick([0, 200, 3_000, 20_000]))
      : null,
    faults,
    actions,
  };
}

function makeJob(random: Seeded, index: number, agents: number, options: WorldOptions): SimJob {
  const longest = random.pick([1_500, 8_000, 8_000, 40_000, 150_000]);
  return {
    name: `job-${index}`,
    fields: { ...makeFields(random, agents), ...options.fields },
    behaviour: {
      minMs: 50,
      maxMs: longest,
      failShare: random.pick([0, 0.1]),
      ignoresTermShare: random.pick([0, 0, 0.3]),
      spawnFailShare: random.pick([0, 0, 0.02]),
      ...options.behaviour,
    },
  };
}

function makeFields(random: Seeded, agents: number): Record<string, unknown> {
  const names = Array.from({ length: agents }, (_, index) => `agent-${index}`);
  const target = random.pick([
    {},
    {},
    { stagger: random.pick(['0s', '1s', '3s', '30s']) },
    { agents: [random.pick(names)] },
    { max: random.int(1, 2), stagger: '2s' },
  ]);
  return {
    schedule: makeSchedule(random),
    target,
    timeout: random.pick(['20s', '20s', '1m', '3m']),
    startDeadline: random.pick(['1d', '1d', '1m', '15s']),
  };
}

function makeSchedule(random: Seeded): unknown {
  const jitter = random.pick([{}, {}, { jitter: random.pick(['2s', '20s']) }]);
  const every = () => ({ every: `${random.pick([10, 15, 30, 47, 60, 300, 600])}s`, ...jitter });
  const cron = () => ({
    cron: random.pick(['* * * * *', '*/5 * * * *', '*/10 * * * * *', '30 * * * * *', '15 3-59/7 * * * *']),
    timezone: random.pick(['UTC', 'Europe/Berlin', 'America/New_York']),
    ...jitter,
  });
  return random.pick([every, every, cron, () => [every(), cron()]])();
}

function makeFault(
  random: Seeded,
  kind: Blow['kind'],
  last: number,
  agents: number,
  replicas: number,
  options: WorldOptions,
): Fault {
  const atMs = random.int(20_000, last);
  const isOfMachine = ['killSession', 'killHelper', 'killBoth', 'rebootMachine', 'freezeSession'].includes(
    kind,
  );
  const moments =
    options.moments ?? (isOfMachine ? [...MOMENTS, ...MACHINE_MOMENTS, ...MACHINE_MOMENTS] : MOMENTS);
  const moment =
    options.moments || random.chance(0.6) ? { what: random.pick(moments), nth: random.int(1, 4) } : null;
  const agent = moment !== null && random.chance(0.8) ? null : random.int(0, agents - 1);
  const replica = moment !== null && random.chance(0.8) ? null : random.int(0, replicas - 1);
  const forMs = random.pick([300, 3_000, 8_000, 20_000, 40_000, 120_000]);
  return { blow: makeBlow(random, kind, agent, replica, forMs), atMs, moment };
}

function makeBlow(
  random: Seeded,
  kind: Blow['kind'],
  agent: number | null,
  replica: number | null,
  forMs: number,
): Blow {
  switch (kind) {
    case 'killReplica':
    case 'stopReplica':
    case 'freezeReplica':
      return { kind, replica, forMs };
    case 'databaseAway':
    case 'failOver':
      return { kind, forMs };
    case 'databaseSlow':
      return { kind, byMs: random.pick([200, 1_000]), forMs };
    case 'commitsFail':
    case 'answersLost':
      return { kind, share: random.pick([0.1, 0.5]), forMs };
    case 'cut':
      return { kind, agent, replica: random.chance(0.5) ? replica : null };
    case 'block':
      return { kind, agent, replica, direction: random.pick(['up', 'down', 'both']), forMs };
    case 'slowLink':
      return { kind, agent, byMs: random.pick([300, 2_000, 6_000]), forMs };
    case 'killHelper':
    case 'damageJournal':
      return { kind, agent };
    case 'stepWallClock':
      return { kind, agent, byMs: random.pick([-3_600_000, 3_600_000, 86_400_000]) };
    case 'restoreFolder':
    case 'copyFolder':
      return { kind, agent, afterMs: random.pick([2_000, 60_000, 300_000]) };
    case 'freezeMachine':
      return { kind, agent, forMs: Math.min(forMs, STILL_MAX_MS) };
    default:
      return { kind, agent, forMs };
  }
}

const ACTION_KINDS: readonly Action['kind'][] = [
  'edit',
  'pause',
  'resume',
  'resume',
  'trigger',
  'trigger',
  'cancel',
  'cancel',
  'resolve',
  'setAgent',
  'delete',
];

function makeAction(
  random: Seeded,
  last: number,
  jobs: number,
  agents: number,
  faults: readonly Fault[],
  kinds: readonly Action['kind'][],
): Action {
  // People act most when something is broken, or has just been mended.
  const near = random.chance(0.5) && faults.length > 0 ? random.pick(faults) : null;
  const lastsMs = near && 'forMs' in near.blow ? near.blow.forMs : 0;
  const atMs = Math.min(
    last,
    near
      ? near.atMs + Math.round(lastsMs * random.pick([0, 1, 1])) + random.int(0, 4_000)
      : random.int(15_000, last),
  );
  const job = random.int(0, jobs - 1);
  const kind = random.pick(kinds);
  switch (kind) {
    case 'edit':
      return { atMs, kind, job, fields: { schedule: makeSchedule(random) } };
    case 'cancel':
    case 'resolve':
    case 'hurryRetry':
    case 'dropRetry':
      // Which of three ways to resolve is in the draw, too; the last third is another try.
      return { atMs, kind, draw: random.unit() };
    case 'setAgent':
      return {
        atMs,
        kind,
        agent: random.int(0, agents - 1),
        order: random.int(1, 200),
        enabled: random.chance(0.8),
      };
    default:
      return { atMs, kind, job };
  }
}
