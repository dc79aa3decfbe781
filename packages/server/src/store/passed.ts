import { createDefinitions, type Definitions } from '../runs/definitions.ts';
import { type Lost, lostInstants, planJob } from '../scheduler/plan.ts';
import { type Operation, type Transaction, together } from './operation.ts';
import { addInstants, type JobPlan } from './planning.ts';
import { readRecovery } from './recovery.ts';
import type { JobRow } from './tables.ts';

/**
 * Plans what has come of jobs that are about to be changed and that nobody has planned for so long, as when the database was
 * away: under the next revision those instants would be nobody's. One that cannot be read has none that anyone knows.
 */
export function* planPassed(transaction: Transaction, jobs: readonly JobRow[]): Operation<void> {
  const { now } = transaction;
  const behind = jobs.filter(
    ({ deletedAt, nextAt, plannedThrough }) =>
      deletedAt === null && nextAt !== null && nextAt <= now && plannedThrough < now,
  );
  if (behind.length === 0) return;
  const lost = lostInstants(yield* readRecovery(transaction, {}));
  const definitions = createDefinitions();
  yield* together(
    transaction,
    behind.map((job) => planOne(transaction, job, definitions, lost)),
  );
}

function* planOne(
  transaction: Transaction,
  job: JobRow,
  definitions: Definitions,
  lost: Lost | null,
): Operation<void> {
  const { now } = transaction;
  const { tenantId, id: jobId, revision } = job;
  let { plannedThrough } = job;
  while (plannedThrough < now) {
    const plan = planFrom({ ...job, plannedThrough }, definitions, now, lost);
    if (plan === null) return;
    const runs = plan.runs.filter(({ scheduledFor }) => scheduledFor <= now);
    yield* addInstants(transaction, { tenantId, jobId, revision }, { runs, gaps: plan.gaps });
    ({ plannedThrough } = plan);
  }
}

function planFrom(job: JobRow, definitions: Definitions, now: number, lost: Lost | null): JobPlan | null {
  let gaps = 0;
  const newGapId = () => `${job.id}-${job.plannedThrough}-${gaps++}`;
  try {
    const { definition, schedules } = definitions.ofJob(job);
    return planJob({ ...job, recoveryId: 0 }, definition, schedules, now, newGapId, lost);
  } catch {
    return null;
  }
}
