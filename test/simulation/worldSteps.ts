import { Seeded } from './random.ts';
import type { Action, Blow, Fault, SimJob, WorldOptions } from './world.ts';

/** Points in the life of a chain at which faults strike. */
const MOMENTS = [
  'prepares a later step',
  'prepares a later step',
  'before exec',
  'after exec',
  'before step sync',
  'after step sync',
  'send step',
  'send continue',
  'receive continue',
  'before continueAttempt',
  'after continueAttempt',
];
const BLOWS: Blow['kind'][] = ['killHelper', 'killHelper', 'killBoth', 'killSession', 'rebootMachine'];

/**
 * Gives some jobs several steps, and some another try as a whole; faults and actions that have to do with that come in addition.
 * All of it is drawn apart, so that the rest of a seed's world does not depend on it.
 */
export function addSteps(
  seed: number,
  world: { jobs: SimJob[]; agents: number; rate: number; last: number; actionCount: number },
  options: WorldOptions,
): { faults: Fault[]; actions: Action[] } {
  const random = new Seeded(`steps ${seed}`);
  let chains = 0;
  let retries = 0;
  for (const job of world.jobs) {
    if (random.chance(options.chains ?? 0.3)) {
      chains += 1;
      makeChain(random, job);
    }
    if (random.chance(options.retries ?? 0.25)) {
      retries += 1;
      makeRetry(random, job);
    }
  }
  const kinds = BLOWS.filter((kind) => !options.without?.includes(kind));
  const isStruck = chains > 0 && options.kinds === undefined && kinds.length > 0;
  const faults = Array.from({ length: isStruck ? Math.round(world.rate / 3) : 0 }, (): Fault => {
    const kind = random.pick(kinds);
    const forMs = random.pick([300, 3_000, 20_000]);
    const blow = (kind === 'killHelper' ? { kind, agent: null } : { kind, agent: null, forMs }) as Blow;
    return {
      blow,
      atMs: random.int(20_000, world.last),
      moment: { what: random.pick(MOMENTS), nth: random.int(1, 6) },
    };
  });
  const isHurried = retries > 0 && options.actions === undefined;
  const actions = Array.from({ length: isHurried ? Math.round(world.actionCount / 3) : 0 }, (): Action => {
    const kind = random.pick(['hurryRetry', 'dropRetry'] as const);
    return { atMs: random.int(15_000, world.last), kind, draw: random.unit() };
  });
  return { faults, actions };
}

function makeChain(random: Seeded, job: SimJob): void {
  const count = random.int(2, 4);
  const steps = Array.from({ length: count }, (_, index) => {
    const name = `step-${index}`;
    const when = random.pick([
      {},
      {},
      {},
      { when: { minute: Array.from({ length: 30 }, (_, half) => 2 * half) } },
      index === 0 ? {} : { when: { steps: { [`step-${index - 1}`]: ['succeeded', 'failed'] } } },
    ]);
    return {
      name,
      command: 'true',
      ...when,
      ...(random.chance(0.3) ? { continueOnFailure: true } : {}),
      ...(random.chance(0.3) ? { timeout: random.pick(['2s', '5s']) } : {}),
      ...(random.chance(0.4) ? { retry: retryOf(random, ['1s', '3s', '8s']) } : {}),
    };
  });
  job.fields.steps = steps;
  const { behaviour } = job;
  behaviour.maxMs = Math.max(behaviour.minMs, Math.min(behaviour.maxMs, random.pick([500, 3_000, 6_000])));
  behaviour.failShare = random.pick([0, 0.1, 0.3]);
}

function makeRetry(random: Seeded, job: SimJob): void {
  job.fields.retry = retryOf(random, ['2s', '10s', '40s']);
  if (random.chance(0.4)) job.fields.onUnknown = 'retry';
  job.behaviour.failShare = Math.max(job.behaviour.failShare, random.pick([0.1, 0.4]));
}

function retryOf(random: Seeded, delays: string[]): object {
  const outcomes = random.pick([null, null, ['failed'], ['exit:75'], ['timedOut', 'exit:1']]);
  return {
    times: random.int(1, 3),
    delay: random.pick(delays),
    backoff: random.pick([1, 2]),
    ...(random.chance(0.3) ? { jitter: '2s' } : {}),
    ...(outcomes ? { outcomes } : {}),
  };
}
