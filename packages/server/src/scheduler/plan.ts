import { type JobDefinition, LOSS_WINDOW_MS } from '@rota/contract';
import { between, countBetween, jitterOf, nextOf, previous, type Schedule } from '@rota/schedule';
import { runIdOf } from '../runs/ids.ts';
import type { DueJob, JobPlan, PlannedGap, PlannedRun } from '../store/planning.ts';
import type { RecoveryRow } from '../store/tables.ts';

/** How far ahead runs are planned, so that dispatch goes on while planning is slow. */
export const AHEAD_MS = 10_000;
/** A job is planned again when its next unplanned instant is nearer than this. */
export const LOOK_MS = 5_000;
/** Instants planned for one job at one time. */
const INSTANTS_PER_PLAN = 1_000;

/** Instants after `from` up to `to` may have been started by an agent that has not told of it yet. */
export interface Lost {
  from: number;
  to: number;
}

/** What may have been started unheard; null while no recovery is open. */
export function lostInstants(found: { recovery: RecoveryRow } | null): Lost | null {
  if (found === null || found.recovery.settledAt !== null) return null;
  const { detectedAt, windowTo } = found.recovery;
  return { from: detectedAt - LOSS_WINDOW_MS, to: windowTo };
}

/**
 * Plans one job from its cursor to `now + AHEAD_MS`: pure. Instants that passed while nobody planned are caught up as the
 * policy says (latest): all but the last one become one gap. A gap that lies before the start deadline is missed.
 * An instant that may have been started unheard becomes a run in any case: it is not written off before that is known.
 */
export function planJob(
  job: DueJob,
  definition: JobDefinition,
  schedules: readonly Schedule[],
  now: number,
  newGapId: () => string,
  lost: Lost | null = null,
): JobPlan {
  const from = job.plannedThrough;
  if (lost !== null && from < Math.min(now, lost.to))
    return planLost(job, definition, schedules, now, newGapId, lost);
  const gaps: PlannedGap[] = [];
  const runs: PlannedRun[] = [];
  const late = from < now ? countBetween(schedules, from, now) : 0;
  if (late > 0) {
    const last = latest(schedules, now) as number;
    if (late > 1)
      gaps.push(...gapsOf(schedules, from, last, late - 1, now - definition.startDeadlineMs - 1, newGapId));
    runs.push(runAt(job, definition, schedules, last));
  }
  const ahead = between(schedules, Math.max(from, now), now + AHEAD_MS, INSTANTS_PER_PLAN);
  for (const scheduledFor of ahead) runs.push(runAt(job, definition, schedules, scheduledFor));
  const full = ahead.length === INSTANTS_PER_PLAN;
  const plannedThrough = Math.max(from, full ? (ahead.at(-1) as number) : now + AHEAD_MS);
  return {
    tenantId: job.tenantId,
    jobId: job.id,
    revision: job.revision,
    recoveryId: job.recoveryId,
    expectedThrough: from,
    plannedThrough,
    nextAt: nextOf(schedules, plannedThrough)?.scheduledFor ?? null,
    runs,
    gaps,
  };
}

/** Plans every instant that can have been started unheard; what is late and comes after them is for the next plan. */
function planLost(
  job: DueJob,
  definition: JobDefinition,
  schedules: readonly Schedule[],
  now: number,
  newGapId: () => string,
  lost: Lost,
): JobPlan {
  const { plannedThrough: from, revision, recoveryId } = job;
  const gaps: PlannedGap[] = [];
  const early = from < lost.from ? countBetween(schedules, from, lost.from) : 0;
  const last = early > 0 ? (latest(schedules, lost.from) as number) : null;
  if (last !== null && early > 1)
    gaps.push(...gapsOf(schedules, from, last, early - 1, now - definition.startDeadlineMs - 1, newGapId));
  const through = now <= lost.to ? now + AHEAD_MS : lost.to;
  const instants = between(schedules, Math.max(from, lost.from), through, INSTANTS_PER_PLAN);
  const full = instants.length === INSTANTS_PER_PLAN;
  const plannedThrough = full ? (instants.at(-1) as number) : through;
  return {
    tenantId: job.tenantId,
    jobId: job.id,
    revision,
    recoveryId,
    expectedThrough: from,
    plannedThrough,
    nextAt: nextOf(schedules, plannedThrough)?.scheduledFor ?? null,
    runs: [...(last === null ? [] : [last]), ...instants].map((instant) =>
      runAt(job, definition, schedules, instant),
    ),
    gaps,
  };
}

/** The gap (from, last): what lies before the start deadline is missed, the rest gave way to the latest instant. */
function gapsOf(
  schedules: readonly Schedule[],
  from: number,
  last: number,
  count: number,
  deadline: number,
  newGapId: () => string,
): PlannedGap[] {
  const border = Math.min(deadline, last - 1);
  const missed = border > from ? Math.min(count, countBetween(schedules, from, border)) : 0;
  const gaps: PlannedGap[] = [];
  if (missed > 0) {
    gaps.push({
      id: newGapId(),
      from: nextOf(schedules, from)?.scheduledFor as number,
      to: latest(schedules, border) as number,
      count: missed,
      outcome: 'missed',
      reason: 'startDeadline',
    });
  }
  if (count > missed) {
    gaps.push({
      id: newGapId(),
      from: nextOf(schedules, missed > 0 ? border : from)?.scheduledFor as number,
      to: latest(schedules, last - 1) as number,
      count: count - missed,
      outcome: 'skipped',
      reason: 'catchUp',
    });
  }
  return gaps;
}

/** The last instant of any schedule at or before `at`. */
function latest(schedules: readonly Schedule[], at: number): number | null {
  const instants = schedules
    .map((schedule) => previous(schedule, at + 1))
    .filter((instant) => instant !== null);
  return instants.length === 0 ? null : Math.max(...instants);
}

function runAt(
  job: DueJob,
  definition: JobDefinition,
  schedules: readonly Schedule[],
  scheduledFor: number,
): PlannedRun {
  const occurrenceKey = `s:${scheduledFor}`;
  const fired = schedules.find((schedule) => previous(schedule, scheduledFor + 1) === scheduledFor);
  const dueAt = scheduledFor + (fired && fired.jitterMs > 0 ? jitterOf(fired, job.id, scheduledFor) : 0);
  return {
    id: runIdOf({ tenantId: job.tenantId, jobId: job.id, occurrenceKey, part: '' }),
    occurrenceKey,
    scheduledFor,
    dueAt,
    startBy: dueAt + definition.startDeadlineMs,
    timeoutMs: definition.timeoutMs,
  };
}
