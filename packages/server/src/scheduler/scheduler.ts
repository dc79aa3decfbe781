import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { Hints } from '../hints.ts';
import { createLoop } from '../loop.ts';
import { newId, type Random } from '../random.ts';
import type { Definitions } from '../runs/definitions.ts';
import type { DueJob, JobPlan } from '../store/planning.ts';
import type { Store } from '../store/store.ts';
import { LOOK_MS, type Lost, lostInstants, planJob } from './plan.ts';

/** Jobs planned between two looks at the clock and the queue. */
const JOBS_PER_STEP = 200;
const POLL_MS = 1_000;
/** When a job that could not be planned is tried again. */
const UNREADABLE_RETRY_MS = 60_000;

export interface Scheduler {
  start(): void;
  stop(): Promise<void>;
}

/**
 * Turns due jobs into planned runs. Its work follows what is due: it reads by an index that holds only the next
 * instants, computes without a lock, and stores by compare-and-set on each job's cursor.
 */
export function createScheduler(ports: {
  store: Store;
  clock: Clock;
  random: Random;
  hints: Hints;
  definitions: Definitions;
  log: Logger;
}): Scheduler {
  const { store, clock, random, hints, definitions, log } = ports;

  async function step(): Promise<number | null> {
    const next = await store.readNextPlanAt({});
    if (next === null) return null;
    const horizon = clock.now() + LOOK_MS;
    if (next > horizon) return next - LOOK_MS;
    const jobs = await store.readDueJobs({ horizon, limit: JOBS_PER_STEP });
    const plans: JobPlan[] = [];
    const lost = jobs.some(({ recoveryId }) => recoveryId > 0)
      ? lostInstants(await store.readRecovery({}))
      : null;
    for (const job of jobs) plans.push(plan(job, lost));
    if (plans.length > 0) {
      await store.storePlans({ plans });
      hints.give('dispatch');
    }
    return clock.now();
  }

  /** A job that cannot be read, such as one whose zone is gone, holds up no other; its instants wait and are caught up. */
  function plan(job: DueJob, lost: Lost | null): JobPlan {
    const now = clock.now();
    try {
      const { definition, schedules } = definitions.ofJob(job);
      return planJob(job, definition, schedules, now, () => newId(random), lost);
    } catch (error) {
      log.error(
        { err: error, job: job.id, revision: job.revision },
        'a job could not be planned; it will be tried again',
      );
      const { tenantId, id: jobId, revision, recoveryId, plannedThrough } = job;
      const nextAt = now + UNREADABLE_RETRY_MS + LOOK_MS;
      return {
        tenantId,
        jobId,
        revision,
        recoveryId,
        expectedThrough: plannedThrough,
        plannedThrough,
        nextAt,
        runs: [],
        gaps: [],
      };
    }
  }

  const loop = createLoop({ name: 'scheduler', clock, log, pollMs: POLL_MS, step });
  let unsubscribe: () => void = () => {};
  return {
    start() {
      unsubscribe = hints.on('plan', loop.nudge);
      loop.start();
    },
    async stop() {
      unsubscribe();
      await loop.stop();
    },
  };
}
