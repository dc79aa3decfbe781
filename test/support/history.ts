import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/** One start, as the job itself wrote it: the truth, whatever the database says. */
export interface LoggedStart {
  attemptId: string;
  runId: string;
  scheduledFor: number;
  /** Wall clock of the machine, epoch ms. */
  at: number;
}

export interface StoredRun {
  id: string;
  jobId: string;
  kind: string;
  state: string;
  reason: string | null;
  scheduledFor: number;
  startedAt: number | null;
  endedAt: number | null;
  attempt: number;
}

export interface StoredAttempt {
  id: string;
  runId: string;
  number: number;
  state: string;
  outcome: string | null;
}

export interface StoredGap {
  jobId: string;
  fromAt: number;
  toAt: number;
  count: number;
  outcome: string;
  reason: string;
}

/** All that one history consists of. */
export interface History {
  starts: LoggedStart[];
  runs: StoredRun[];
  attempts: StoredAttempt[];
  gaps: StoredGap[];
  /** States of each run in the order in which they were committed. */
  changes: Map<string, string[]>;
  /** What the schedule demands, by an independent oracle. */
  instants: number[];
}

/** The command that keeps a job's own log: one line for each start, appended by one write. */
export function loggingCommand(file: string): string {
  return `echo "$ROTA_ATTEMPT $ROTA_RUN $ROTA_SCHEDULED_FOR $(date +%s%3N)" >> ${file}`;
}

export function readLog(file: string): LoggedStart[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [attemptId = '', runId = '', scheduledFor = '', at = ''] = line.split(' ');
      return { attemptId, runId, scheduledFor: Date.parse(scheduledFor), at: Number(at) };
    });
}

/** Reads what the database says of one job. */
export function readStored(databaseFile: string, jobName: string): Omit<History, 'starts' | 'instants'> {
  const database = new DatabaseSync(databaseFile, { readOnly: true });
  const all = <T>(text: string, ...values: string[]) => database.prepare(text).all(...values) as T[];
  const [job] = all<{ id: string }>('select "id" from "jobs" where "name" = ?', jobName);
  const jobId = job?.id ?? '';
  const changes = new Map<string, string[]>();
  for (const event of all<{ subjectId: string; dataJson: string }>(
    `select "subjectId", "dataJson" from "events" where "type" = 'run' and "jobId" = ? order by "id"`,
    jobId,
  )) {
    const { state } = JSON.parse(event.dataJson) as { state: string };
    changes.set(event.subjectId, [...(changes.get(event.subjectId) ?? []), state]);
  }
  const history = {
    runs: all<StoredRun>('select * from "runs" where "jobId" = ?', jobId),
    attempts: all<StoredAttempt>(
      'select "attempts".* from "attempts" join "runs" on "runs"."id" = "attempts"."runId" where "runs"."jobId" = ?',
      jobId,
    ),
    gaps: all<StoredGap>('select * from "gaps" where "jobId" = ?', jobId),
    changes,
  };
  database.close();
  return history;
}

const TERMINAL = new Set(['succeeded', 'failed', 'timedOut', 'cancelled', 'skipped', 'missed']);

/**
 * Holds a history of one job against the guarantees. @returns what is wrong, one sentence each; empty when nothing is
 *
 * Checked: no attempt started twice; no start without a permit, none of an attempt that was declared not started; every
 * instant has exactly one outcome and nothing else ran; never early; everything settled; terminal states never changed;
 * `unknown` only after a permit; a success was a start.
 */
export function violations(history: History): string[] {
  const found: string[] = [];
  const starts = new Map<string, LoggedStart[]>();
  for (const start of history.starts)
    starts.set(start.attemptId, [...(starts.get(start.attemptId) ?? []), start]);
  for (const [attemptId, times] of starts) {
    if (times.length > 1) found.push(`attempt ${attemptId} started ${times.length} times`);
  }

  const attempts = new Map(history.attempts.map((attempt) => [attempt.id, attempt]));
  for (const start of history.starts) {
    const attempt = attempts.get(start.attemptId);
    if (!attempt) found.push(`attempt ${start.attemptId} started without a permit on record`);
    else if (attempt.state === 'notStarted')
      found.push(`attempt ${start.attemptId} started although it was declared not started`);
    if (start.at < start.scheduledFor)
      found.push(`attempt ${start.attemptId} started ${start.scheduledFor - start.at} ms early`);
  }
  for (const attempt of history.attempts) {
    if (attempt.outcome === 'succeeded' && !starts.has(attempt.id))
      found.push(`attempt ${attempt.id} succeeded without having started`);
  }

  const outcomes = new Map<number, string[]>();
  const demanded = new Set(history.instants);
  for (const run of history.runs.filter((each) => each.kind === 'scheduled')) {
    outcomes.set(run.scheduledFor, [...(outcomes.get(run.scheduledFor) ?? []), `run ${run.id}`]);
    if (!TERMINAL.has(run.state)) found.push(`run ${run.id} has not settled: ${run.state}`);
    if ((run.state === 'skipped' || run.state === 'missed') && run.reason === null)
      found.push(`run ${run.id} is ${run.state} without a reason`);
  }
  for (const gap of history.gaps) {
    const inside = history.instants.filter((instant) => gap.fromAt <= instant && instant <= gap.toAt);
    if (inside.length !== gap.count) found.push(`a gap of ${gap.count} instants spans ${inside.length}`);
    for (const instant of inside) outcomes.set(instant, [...(outcomes.get(instant) ?? []), 'gap']);
  }
  for (const instant of history.instants) {
    const names = outcomes.get(instant) ?? [];
    if (names.length === 0) found.push(`instant ${new Date(instant).toISOString()} has no outcome`);
    if (names.length > 1)
      found.push(
        `instant ${new Date(instant).toISOString()} has ${names.length} outcomes: ${names.join(', ')}`,
      );
  }
  for (const instant of outcomes.keys()) {
    if (!demanded.has(instant))
      found.push(`${new Date(instant).toISOString()} ran although the schedule does not demand it`);
  }

  const permitted = new Set(history.attempts.map((attempt) => attempt.runId));
  for (const [runId, states] of history.changes) {
    const terminal = states.findIndex((state) => TERMINAL.has(state));
    if (terminal !== -1 && terminal !== states.length - 1)
      found.push(`run ${runId} changed after its end: ${states.join(' → ')}`);
    if (states.includes('unknown') && !permitted.has(runId))
      found.push(`run ${runId} was unknown although no permit was out`);
  }
  return found;
}
