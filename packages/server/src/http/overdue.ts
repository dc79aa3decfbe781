import { newId } from '../random.ts';
import { lostInstants, planJob } from '../scheduler/plan.ts';
import type { Services } from './services.ts';

/**
 * Plans what lies behind jobs that are about to be changed, under the revision that they still have. A change moves a
 * job's cursor to now, so an instant that nobody had planned by then (the server was down, or busy) would be lost.
 */
export async function planOverdue(
  services: Pick<Services, 'store' | 'clock' | 'random' | 'definitions'>,
  input: { tenantId: string; names: string[] },
): Promise<void> {
  const { store, clock, random, definitions } = services;
  const recovery = await store.readRecovery({});
  const overdue = await store.readOverdueJobs(input);
  if (overdue.length === 0) return;
  const plans = overdue.map((job) => {
    const { definition, schedules } = definitions.ofJob(job);
    const due = { ...job, recoveryId: recovery?.recovery.id ?? 0 };
    return planJob(due, definition, schedules, clock.now(), () => newId(random), lostInstants(recovery));
  });
  await store.storePlans({ plans });
}
