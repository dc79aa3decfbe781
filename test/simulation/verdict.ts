import { define, type JobDefinition, type JobDocument } from '@rota/contract';
import { bruteForce } from '../../packages/schedule/src/oracle.testing.ts';
import { PERMIT_MS } from '../../packages/server/src/store/unknownRuns.ts';
import { check } from '../history/check.ts';
import {
  groupBy,
  type History,
  type JobOfHistory,
  type LogEntry,
  type StateChange,
  type StoredAttempt,
  type StoredRun,
} from '../history/history.ts';
import { stepsOf } from '../history/steps.ts';
import { lookAtTheEnd } from './lockout.ts';
import type { Evidence } from './machine.ts';
import { EPOCH_MS, type Simulation } from './simulation.ts';
import { FAULT_KINDS, type World } from './world.ts';

/** Until when anything may still be away after a fault: silence is noticed late, and agents dial seldom after many tries. */
const RECOVERY_MS = 120_000;
const HEALTHY_MS = 60_000;
/** Where agents take few attempts at a time, runs wait for each other. */
const CROWDED_MS = 900_000;

/** Holds what has happened against the guarantees. */
export function judge(simulation: Simulation): { invariant: string; sentence: string }[] {
  const history = historyOf(simulation);
  const doubtful = doubtfulRuns(simulation, history);
  return [...simulation.findings, ...lookAtTheEnd(simulation, history), ...check(history).violations].filter(
    ({ sentence }) => ![...doubtful].some((runId) => sentence.includes(runId)),
  );
}

/**
 * Runs that went to an agent whose folder was put back or copied: what it promised is not on its disk, so that it may start
 * them again or deny them. It must be locked out all the same.
 */
function doubtfulRuns(simulation: Simulation, history: History): Set<string> {
  const { betrayed } = simulation;
  const doubtful = forgottenRuns(simulation, history);
  for (const { agentId, runId, startingAt, endedAt } of history.attempts) {
    const since = betrayed.get(agentId);
    if (since !== undefined && (endedAt === null || endedAt >= since - 60_000 || startingAt >= since))
      doubtful.add(runId);
  }
  for (const run of history.runs) if (run.agentId !== null && betrayed.has(run.agentId)) doubtful.add(run.id);
  return doubtful;
}

/**
 * Runs that nobody knows to have been started: the database has lost it in a failover, and the agent by damage to its journal
 * or because its folder was put back or copied.
 */
function forgottenRuns({ world, betrayed, evidence }: Simulation, history: History): Set<string> {
  const names = new Map(history.agents.map(({ id, name }) => [id, name]));
  // A folder lacks what came after it was copied; a damaged journal what had been there.
  const lacks = [...betrayed].map(([id, since]) => ({
    agent: names.get(id),
    from: since - START_MS,
    to: Number.POSITIVE_INFINITY,
  }));
  for (const { kind, agents, from } of history.faults)
    if (kind === 'damageJournal')
      lacks.push({ agent: names.get(agents?.[0] ?? ''), from: 0, to: from + START_MS });
  // There is one standby.
  const failOver = history.faults.find(({ kind }) => kind === 'failOver');
  const forgotten = new Set<string>();
  if (!failOver) return forgotten;
  const lostFrom = failOver.from - (world.standbyLagMs ?? 0);
  const attempts = new Map(history.attempts.map((attempt) => [attempt.id, attempt]));
  for (const { attemptId, runId, agent, at } of evidence) {
    const attempt = attempts.get(attemptId);
    if (at < lostFrom || at > failOver.from + START_MS) continue;
    // Its agent has told of it, or the standby had it.
    if (
      attempt &&
      names.get(attempt.agentId) === agent &&
      (attempt.told || attempt.startingAt <= failOver.from)
    )
      continue;
    if (lacks.some((lack) => lack.agent === agent && lack.from < at && at < lack.to)) forgotten.add(runId);
  }
  return forgotten;
}

/** From a permit to the start under it, at most. */
const START_MS = PERMIT_MS + 1_000;

function historyOf(simulation: Simulation): History {
  const { database, world, evidence } = simulation;
  const log: LogEntry[] = [];
  const chains = new Set(
    world.jobs.filter(({ fields }) => fields.steps !== undefined).map(({ name }) => name),
  );
  for (const each of evidence)
    if (!chains.has(each.job)) log.push(...entriesOf([each], each.exitCode ?? KILLED));
  const tries = evidence.filter(({ job }) => chains.has(job));
  for (const group of groupBy(tries, ({ attemptId, agent }) => `${attemptId} ${agent}`).values())
    log.push(...entriesOf(group, null));
  const recoveryMs = Object.fromEntries(
    [...FAULT_KINDS, 'notThere', 'disabled', 'replaced'].map((kind) => [kind, RECOVERY_MS]),
  );
  const changes = changesOf(simulation);
  return {
    jobs: database
      .inspect<{ id: string; kind: string }>('select "id", "kind" from "jobs"')
      .filter(({ kind }) => kind === 'job')
      .map(({ id }) => demandsOf(simulation, id)),
    agents: database.inspect('select "id", "name", "state" from "agents"'),
    log,
    tries: tries.map((each) => ({
      ...each,
      exitCode: each.endedAt === null ? null : (each.exitCode ?? KILLED),
    })),
    runs: runsOf(simulation, changes),
    attempts: database
      .inspect<StoredAttempt & { permitBootId: string }>('select * from "attempts"')
      .map((attempt) => ({ ...attempt, told: attempt.permitBootId === '' })),
    steps: database.inspect('select * from "steps"'),
    gaps: database.inspect('select * from "gaps"'),
    changes,
    faults: simulation.faults,
    decisions: simulation.decisions,
    hurried: simulation.hurried,
    dropped: simulation.dropped,
    acknowledged: simulation.acknowledged,
    readAt: database.clock(),
    limits: {
      clockErrorMs: 2,
      healthyMs: isCrowded(world) ? CROWDED_MS : HEALTHY_MS,
      recoveryMs,
      killGraceMs: 15_000,
      permitMs: 15_000,
      clockDrift: 0.01,
    },
  };
}

const KILLED = 137;

/** An attempt as its processes have logged it: from the first of them to the end of the last. */
function entriesOf(processes: Evidence[], exitCode: number | null): LogEntry[] {
  const [first] = processes as [Evidence, ...Evidence[]];
  const { attemptId, runId, scheduledFor, agent, at } = first;
  const unwatched = processes.flatMap((each) => each.unwatched);
  const start: LogEntry = { kind: 'start', attemptId, runId, scheduledFor, agent, at, unwatched };
  const endedAt = processes
    .map((each) => each.endedAt)
    .reduce((a, b) => (a === null || b === null ? null : Math.max(a, b)));
  if (endedAt === null) return [start];
  return [start, { kind: 'end', attemptId, exitCode, at: endedAt }];
}

/** What the database's own triggers have seen. A planned run that was taken back and planned again begins anew. */
function changesOf({ database }: Simulation): StateChange[] {
  const seen = database.inspect<StateChange>('select "runId", "state", "at" from "simRuns" order by "seq"');
  const gone = new Map<string, number>();
  for (const [index, { runId, state }] of seen.entries()) {
    if (state === 'gone from planned') gone.set(runId, index);
  }
  return seen.filter(({ runId }, index) => index > (gone.get(runId) ?? -1));
}

/** Their ends as they were committed: the instant on record was read when the transaction began. */
function runsOf({ database }: Simulation, changes: StateChange[]): StoredRun[] {
  const last = new Map(changes.map(({ runId, at }) => [runId, at]));
  return database
    .inspect<StoredRun>('select * from "runs"')
    .map((run) => ({ ...run, endedAt: run.endedAt === null ? null : (last.get(run.id) ?? run.endedAt) }));
}

function isCrowded(world: World): boolean {
  return world.agents.some(({ maxParallel }) => maxParallel < world.jobs.length + 3);
}

interface JobMoment {
  revision: number;
  paused: number;
  deleted: number;
  firedThrough: number;
  at: number;
}

/** What the schedules of a job demanded, revision by revision, but for the time when it was paused or deleted. */
function demandsOf({ database }: Simulation, jobId: string): JobOfHistory {
  const moments = database.inspect<JobMoment>(
    'select * from "simJobs" where "jobId" = ? order by "seq"',
    jobId,
  );
  const documents = new Map(
    database
      .inspect<{ revision: number; documentJson: string | null }>(
        'select "revision", "documentJson" from "jobRevisions" where "jobId" = ?',
        jobId,
      )
      .map(({ revision, documentJson }) => [revision, documentJson]),
  );
  const instants = new Set<number>();
  const until = database.clock();
  let anchors = new Map<string, number>();
  let jitterMs = 0;
  let timeoutMs: number | null = null;
  let definition: JobDefinition | null = null;
  let startDeadlineMs = Number.POSITIVE_INFINITY;
  let instantsUntil = EPOCH_MS;
  for (const [index, moment] of moments.entries()) {
    const text = documents.get(moment.revision) ?? null;
    if (text === null || moment.deleted === 1) continue;
    definition = define(JSON.parse(text) as JobDocument, 'UTC');
    timeoutMs = definition.timeoutMs;
    startDeadlineMs = Math.min(startDeadlineMs, definition.startDeadlineMs);
    const everyTexts = definition.schedules.flatMap(({ every }) => (every === undefined ? [] : [every]));
    if (moments[index - 1]?.revision !== moment.revision)
      anchors = new Map(everyTexts.map((every) => [every, anchors.get(every) ?? moment.at]));
    if (moment.paused === 1) continue;
    const next = moments[index + 1];
    // What has fired by then has fired, also where the clock of the change was read before.
    const from = Math.max(moment.at, moment.firedThrough);
    const to = next ? Math.max(next.at, next.firedThrough) : until;
    instantsUntil = Math.max(instantsUntil, to);
    for (const { jitterMs: jitter, ...schedule } of definition.schedules) {
      jitterMs = Math.max(jitterMs, jitter);
      const anchor = schedule.every === undefined ? undefined : anchors.get(schedule.every);
      const found = bruteForce(
        { ...schedule, ...(anchor === undefined ? {} : { anchor }) },
        { timezone: schedule.timezone, spreadKey: jobId },
        from,
        to,
      );
      for (const instant of found) instants.add(instant);
    }
  }
  return {
    id: jobId,
    name: jobId,
    concurrency: 'forbid',
    timeoutMs,
    jitterMs,
    startDeadlineMs,
    steps: definition && stepsOf(definition),
    retry: definition?.retry ?? null,
    onUnknown: definition?.onUnknown ?? 'hold',
    instants: [...instants].sort((a, b) => a - b),
    instantsUntil: Math.max(instantsUntil, until),
  };
}
