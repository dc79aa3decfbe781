import {
  type AgentView,
  type AttemptView,
  type GapView,
  type JobDefinition,
  type JobDocument,
  type JobView,
  type JoinTokenView,
  type LiveRun,
  REASONS,
  type ReasonCode,
  type RunView,
  remedyOf,
  type StepView,
  type TokenView,
} from '@rota/contract';
import { describe, nextOf } from '@rota/schedule';
import type { Definitions } from '../runs/definitions.ts';
import type { AgentWithActive } from '../store/agents.ts';
import type { JobWithLastRun } from '../store/jobReads.ts';
import type { RunWithNames } from '../store/runs.ts';
import type { AttemptWithSteps } from '../store/steps.ts';
import type { AttemptRow, GapRow, JoinTokenRow, StepRow, TokenRow } from '../store/tables.ts';

/** Rows as the API shows them: instants as RFC 3339, codes with their sentences, no column that nobody may see. */

export function instant(at: number): string {
  return new Date(at).toISOString();
}

function instantOrNull(at: number | null): string | null {
  return at === null ? null : instant(at);
}

function reasonView(code: ReasonCode, names: Parameters<typeof remedyOf>[1]) {
  return { code, sentence: REASONS[code].sentence, remedy: remedyOf(code, names) };
}

export function jobView(
  row: JobWithLastRun,
  context: { definitions: Definitions; now: number; instants: number },
): JobView {
  const { definition, schedules } = context.definitions.ofJob(row);
  const plans = row.enabled === 1 && row.pausedAt === null;
  const next: string[] = [];
  for (let at = context.now; plans && next.length < context.instants; ) {
    const found = nextOf(schedules, at);
    if (!found) break;
    at = found.scheduledFor;
    next.push(instant(at));
  }
  return {
    id: row.id,
    name: row.name,
    title: definition.title,
    revision: row.revision,
    enabled: row.enabled === 1,
    paused:
      row.pausedAt === null
        ? null
        : { at: instant(row.pausedAt), note: row.pausedNote ?? '', by: row.pausedBy ?? '' },
    document: JSON.parse(row.documentJson) as JobDocument,
    schedules: describedSchedules(definition, row.id),
    next,
    lastRun:
      row.lastRunId === null || row.lastRunState === null || row.lastRunScheduledFor === null
        ? null
        : {
            id: row.lastRunId,
            state: row.lastRunState,
            scheduledFor: instant(row.lastRunScheduledFor),
            endedAt: instantOrNull(row.lastRunEndedAt),
          },
    createdAt: instant(row.createdAt),
    updatedAt: instant(row.updatedAt),
  };
}

/** Descriptions cost more than all the rest of a job's view; kept for as long as the definition is. */
const described = new WeakMap<JobDefinition, JobView['schedules']>();

function describedSchedules(definition: JobDefinition, jobId: string): JobView['schedules'] {
  let found = described.get(definition);
  if (!found) {
    found = definition.schedules.map(({ jitterMs, timezone, ...schedule }) => ({
      text: scheduleText(schedule),
      description: describe(
        { ...schedule, timezone, ...(jitterMs > 0 ? { jitter: `${jitterMs}ms` } : {}) },
        { timezone, spreadKey: jobId },
      ),
      timezone,
    }));
    described.set(definition, found);
  }
  return found;
}

function scheduleText(schedule: { cron?: string; every?: string; at?: string }): string {
  if (schedule.every !== undefined) return `every ${schedule.every}`;
  return schedule.at !== undefined ? `at ${schedule.at}` : (schedule.cron ?? '');
}

export function runView(row: RunWithNames): RunView {
  const span = (from: number | null, to: number | null) =>
    from === null || to === null ? null : Math.max(0, to - from);
  return {
    id: row.id,
    job: row.jobName,
    revision: row.jobName === null ? null : row.revision,
    kind: row.kind,
    title: titleOf(row),
    state: row.state,
    reason:
      row.reason === null
        ? null
        : reasonView(row.reason, { run: row.id, job: row.jobName, agent: row.agentName }),
    detail: row.detail,
    agent: row.agentName,
    attempt: row.attempt,
    retryAt: row.state === 'queued' && row.reason === 'retryWait' ? instantOrNull(row.wakeAt) : null,
    retriesLeft: row.retriesLeft,
    params: JSON.parse(row.paramsJson ?? '{}') as RunView['params'],
    scheduledFor: instant(row.scheduledFor),
    dueAt: instant(row.dueAt),
    queuedAt: instantOrNull(row.queuedAt),
    offeredAt: instantOrNull(row.offeredAt),
    startingAt: instantOrNull(row.startingAt),
    startedAt: instantOrNull(row.startedAt),
    endedAt: instantOrNull(row.endedAt),
    durationMs: row.endedAt === null ? null : row.durationMs,
    cancelRequestedAt: instantOrNull(row.cancelRequestedAt),
    contactLostAt: instantOrNull(row.contactLostAt),
    exitCode: row.exitCode,
    signal: row.signal,
    lateness: {
      planMs: span(row.dueAt, row.queuedAt),
      queueMs: span(row.queuedAt, row.offeredAt),
      dispatchMs: span(row.offeredAt, row.permitAt),
      execMs: span(row.permitAt, row.startedAt),
      totalMs: span(row.dueAt, row.startedAt),
    },
    createdBy: row.createdBy,
  };
}

function titleOf(row: RunWithNames): string {
  if (row.kind !== 'adHoc' || row.definitionJson === null) return row.jobTitle;
  return (JSON.parse(row.definitionJson) as { title: string }).title;
}

/** A run with what its newest attempt tells live. */
export function liveRun(row: RunWithNames, newest: AttemptWithSteps | null): LiveRun {
  return {
    ...runView(row),
    steps: newest === null ? [] : stepViews(newest),
    progress: newest && progressOf(newest),
  };
}

/** Of steps that were not run it is said which step, or what else, had ended their chain. */
function stepViews(attempt: AttemptWithSteps): StepView[] {
  const views = attempt.steps.map((step) => stepView(step, attempt));
  const last = views.findLast(({ state }) => state !== 'notRun' && state !== 'skipped');
  const hasDecided = last?.state === attempt.outcome && last?.reason?.code === attempt.reason;
  const why =
    hasDecided && isEndOfChain(last.state)
      ? `step ${last.name} had ${ENDED[last.state]}`
      : attempt.reason && REASONS[attempt.reason].sentence;
  return views.map((view) => (view.state === 'notRun' ? { ...view, detail: view.detail ?? why } : view));
}

/** States of a step that can end its chain. */
const ENDED = { failed: 'failed', timedOut: 'timed out', cancelled: 'been cancelled' } as const;

function isEndOfChain(state: StepView['state']): state is keyof typeof ENDED {
  return state in ENDED;
}

function stepView(row: StepRow, attempt: AttemptRow & { agentName: string | null }): StepView {
  const { startedAt } = attempt;
  const { index, name, state, detail, tries, startedMs, durationMs, exitCode, signal, error } = row;
  return {
    index,
    name,
    state,
    reason:
      row.reason === null ? null : reasonView(row.reason, { run: attempt.runId, agent: attempt.agentName }),
    detail,
    tries,
    startedAt: startedMs === null || startedAt === null ? null : instant(startedAt + startedMs),
    durationMs,
    exitCode,
    signal,
    error,
    http: row.httpJson === null ? null : (JSON.parse(row.httpJson) as StepView['http']),
    result: jsonOrText(row.resultJson),
    summary: row.summary,
    outputFrom: row.outputFrom,
    outputTo: row.outputTo,
  };
}

/** What a run gave as its result; an agent may have sent any text. */
function jsonOrText(text: string | null): unknown {
  if (text === null) return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What has succeeded is done, however far it said that it was. */
function progressOf({ outcome, progress }: AttemptRow): number | null {
  return outcome === 'succeeded' ? null : progress;
}

export function attemptView(row: AttemptWithSteps): AttemptView {
  return {
    id: row.id,
    number: row.number,
    agent: row.agentName,
    state: row.state,
    outcome: row.outcome,
    reason: row.reason === null ? null : reasonView(row.reason, { run: row.runId, agent: row.agentName }),
    startingAt: instant(row.startingAt),
    startedAt: instantOrNull(row.startedAt),
    endedAt: instantOrNull(row.endedAt),
    pid: row.pid,
    exitCode: row.exitCode,
    signal: row.signal,
    error: row.error,
    cpuMs: row.cpuMs,
    maxRssBytes: row.maxRssBytes,
    durationMs: row.durationMs,
    http: row.httpJson === null ? null : (JSON.parse(row.httpJson) as AttemptView['http']),
    outputBytes: row.outputBytes,
    outputDroppedBytes: row.outputDroppedBytes,
    progress: progressOf(row),
    result: jsonOrText(row.resultJson),
    summary: row.summary,
    steps: stepViews(row),
  };
}

export function gapView(row: GapRow, job: string): GapView {
  return {
    job,
    revision: row.revision,
    from: instant(row.fromAt),
    to: instant(row.toAt),
    count: row.count,
    outcome: row.outcome,
    reason: reasonView(row.reason, { job }),
    recordedAt: instant(row.recordedAt),
  };
}

export function agentView(row: AgentWithActive): AgentView {
  return {
    id: row.id,
    name: row.name,
    state: row.state,
    detail: row.detail ?? row.blocked,
    order: row.orderNumber,
    labels: JSON.parse(row.labelsJson) as AgentView['labels'],
    enabled: row.enabled === 1,
    maxParallel: row.maxParallel,
    active: row.active,
    draining: row.draining === 1,
    facts: row.factsJson === null ? null : (JSON.parse(row.factsJson) as AgentView['facts']),
    connectedAt: instantOrNull(row.connectedAt),
    lastSeenAt: instantOrNull(row.lastSeenAt),
    createdAt: instant(row.createdAt),
  };
}

export function tokenView(row: TokenRow): TokenView {
  return {
    id: row.id,
    name: row.name,
    role: row.role,
    createdAt: instant(row.createdAt),
    createdBy: row.createdBy,
    expiresAt: instantOrNull(row.expiresAt),
    lastUsedAt: instantOrNull(row.lastUsedAt),
  };
}

export function joinTokenView(row: JoinTokenRow): JoinTokenView {
  return {
    id: row.id,
    labels: JSON.parse(row.labelsJson) as JoinTokenView['labels'],
    expiresAt: instant(row.expiresAt),
    createdAt: instant(row.createdAt),
    createdBy: row.createdBy,
    usedAt: instantOrNull(row.usedAt),
    usedBy: row.usedBy,
  };
}
