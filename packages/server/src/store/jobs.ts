import { isDeepStrictEqual } from 'node:util';
import { insert, set } from './byKey.ts';
import { recordEvent } from './events.ts';
import { moveRun } from './moveRun.ts';
import { change, type Operation, placeholders, row, rows, type Transaction, together } from './operation.ts';
import { planPassed } from './passed.ts';
import type { JobRow, RunRow } from './tables.ts';

/** A job as the caller has read and settled it. */
export interface JobInput {
  /** Its id when it is new. */
  id: string;
  name: string;
  documentJson: string;
  enabled: boolean;
  /** Whether it has a schedule. */
  scheduled: boolean;
  /** Its `every` texts: each gets an anchor that changes only with the text. */
  everyTexts: string[];
}

export interface SaveInput {
  tenantId: string;
  by: string;
  jobs: JobInput[];
  /** Jobs that are new start paused; it changes no other job. */
  paused: boolean;
  /** Whose document this is; null when a single job is written by hand. */
  owner: string | null;
  /** Deletes what `owner` applied before and `jobs` does not have. */
  prune: boolean;
  /** The revision that the caller has seen, 0 for none, when it insists; for a save of one job. */
  expectedRevision: number | null;
}

export interface SavedJob {
  name: string;
  action: 'created' | 'updated' | 'unchanged' | 'deleted';
  revision: number;
  /** The document before the change; null when there was none. */
  before: string | null;
}

export type SaveResult = { changes: SavedJob[] } | { conflict: { name: string; revision: number } };

/** Names or jobs that one statement asks for. */
const AT_ONCE = 500;

/** Writes jobs, all or none. A job whose document is the same as before is left alone. */
export function* saveJobs(transaction: Transaction, input: SaveInput): Operation<SaveResult> {
  const found = yield* readByName(transaction, input);
  const conflict = conflictOf(input, found);
  if (conflict) return { conflict };
  const changes: SavedJob[] = [];
  const writes: Operation<void>[] = [];
  const updated: JobRow[] = [];
  for (const job of input.jobs) {
    const old = found.get(job.name);
    const saved = changeOf(job, old);
    changes.push(saved);
    if (!old) writes.push(createJob(transaction, input, job));
    else if (saved.action !== 'unchanged') {
      updated.push(old);
      writes.push(updateJob(transaction, input, job, old));
    } else if (input.owner !== null && old.owner !== input.owner)
      writes.push(set('jobs', keyOf(old), { owner: input.owner }));
  }
  yield* planPassed(transaction, updated);
  yield* dropFuture(transaction, updated);
  yield* together(transaction, writes);
  const pruned = yield* prunedJobs(transaction, input);
  for (const old of pruned) {
    changes.push({ name: old.name, action: 'deleted', revision: old.revision + 1, before: old.documentJson });
  }
  yield* bury(transaction, pruned, input.by);
  return { changes };
}

/** What `saveJobs` would do. */
export function* previewJobs(transaction: Transaction, input: SaveInput): Operation<SaveResult> {
  const found = yield* readByName(transaction, input);
  const conflict = conflictOf(input, found);
  if (conflict) return { conflict };
  const changes = input.jobs.map((job) => changeOf(job, found.get(job.name)));
  for (const old of yield* prunedJobs(transaction, input)) {
    changes.push({ name: old.name, action: 'deleted', revision: old.revision + 1, before: old.documentJson });
  }
  return { changes };
}

/** The jobs that are written, as nobody else changes them meanwhile; a preview locks nothing. */
function* readByName({ dialect }: Transaction, input: SaveInput): Operation<Map<string, JobRow>> {
  const found = new Map<string, JobRow>();
  for (let start = 0; start < input.jobs.length; start += AT_ONCE) {
    const names = input.jobs.slice(start, start + AT_ONCE).map((job) => job.name);
    const text = `select * from "jobs" where "tenantId" = ? and "name" in (${placeholders(names)}) order by "id" ${dialect.forUpdate}`;
    for (const job of yield* rows<JobRow>(text, input.tenantId, ...names)) found.set(job.name, job);
  }
  return found;
}

function conflictOf(input: SaveInput, found: Map<string, JobRow>): { name: string; revision: number } | null {
  if (input.expectedRevision === null) return null;
  for (const { name } of input.jobs) {
    const old = found.get(name);
    const revision = old && old.deletedAt === null ? old.revision : 0;
    if (revision !== input.expectedRevision) return { name, revision };
  }
  return null;
}

function changeOf(job: JobInput, old: JobRow | undefined): SavedJob {
  if (!old) return { name: job.name, action: 'created', revision: 1, before: null };
  if (old.deletedAt !== null)
    return { name: job.name, action: 'created', revision: old.revision + 1, before: null };
  const same =
    old.documentJson === job.documentJson ||
    isDeepStrictEqual(JSON.parse(old.documentJson), JSON.parse(job.documentJson));
  return same
    ? { name: job.name, action: 'unchanged', revision: old.revision, before: old.documentJson }
    : { name: job.name, action: 'updated', revision: old.revision + 1, before: old.documentJson };
}

function* prunedJobs({ dialect }: Transaction, input: SaveInput): Operation<JobRow[]> {
  if (!input.prune || input.owner === null || input.owner === '') return [];
  const kept = new Set(input.jobs.map((job) => job.name));
  const owned = yield* rows<JobRow>(
    `select * from "jobs" where "tenantId" = ? and "owner" = ? and "deletedAt" is null and "kind" = 'job'
     order by "id" ${dialect.forUpdate}`,
    input.tenantId,
    input.owner,
  );
  return owned.filter((job) => !kept.has(job.name)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function* createJob(transaction: Transaction, input: SaveInput, job: JobInput): Operation<void> {
  const { now } = transaction;
  const paused = input.paused;
  yield* insert('jobs', {
    tenantId: input.tenantId,
    id: job.id,
    name: job.name,
    kind: 'job',
    revision: 1,
    documentJson: job.documentJson,
    owner: input.owner ?? '',
    anchorsJson: anchorsFor(job, '{}', now),
    enabled: job.enabled ? 1 : 0,
    pausedAt: paused ? now : null,
    pausedBy: paused ? input.by : null,
    plannedThrough: now,
    firedThrough: 0,
    nextAt: job.enabled && job.scheduled && !paused ? now : null,
    createdAt: now,
    updatedAt: now,
  });
  yield* recordRevision(transaction, { ...input, jobId: job.id, revision: 1, action: 'created', job });
}

/**
 * A new revision of a job, or of its tombstone. What the old one had planned for later has been taken back; what is due
 * already fires under the old one. The cursor never goes back behind what has fired.
 */
function* updateJob(transaction: Transaction, input: SaveInput, job: JobInput, old: JobRow): Operation<void> {
  const { now } = transaction;
  const revived = old.deletedAt !== null;
  const pausedAt = revived ? (input.paused ? now : null) : old.pausedAt;
  const plannedThrough = Math.max(now, old.firedThrough);
  yield* set('jobs', keyOf(old), {
    revision: old.revision + 1,
    documentJson: job.documentJson,
    owner: input.owner ?? (revived ? '' : old.owner),
    anchorsJson: anchorsFor(job, old.anchorsJson, now),
    enabled: job.enabled ? 1 : 0,
    pausedAt,
    pausedBy: revived ? (input.paused ? input.by : null) : old.pausedBy,
    pausedNote: revived ? null : old.pausedNote,
    deletedAt: null,
    plannedThrough,
    nextAt: job.enabled && job.scheduled && pausedAt === null ? plannedThrough : null,
    updatedAt: now,
  });
  const action = revived ? 'revived' : 'updated';
  yield* recordRevision(transaction, { ...input, jobId: old.id, revision: old.revision + 1, action, job });
}

/** Keeps the anchor of each `every` that was there before; new ones count from now. */
function anchorsFor(job: JobInput, before: string, now: number): string {
  const old = JSON.parse(before) as Record<string, number>;
  return JSON.stringify(
    Object.fromEntries(
      job.everyTexts.map((text) => [text, Object.hasOwn(old, text) ? (old[text] as number) : now]),
    ),
  );
}

function* recordRevision(
  transaction: Transaction,
  revision: {
    tenantId: string;
    by: string;
    jobId: string;
    revision: number;
    action: string;
    job: Pick<JobInput, 'name' | 'documentJson'> | null;
  },
): Operation<void> {
  yield* insert('jobRevisions', {
    tenantId: revision.tenantId,
    jobId: revision.jobId,
    revision: revision.revision,
    action: revision.action,
    documentJson: revision.job?.documentJson ?? null,
    at: transaction.now,
    by: revision.by,
  });
  yield* recordEvent(transaction, {
    tenantId: revision.tenantId,
    type: 'job',
    subjectId: revision.jobId,
    jobId: revision.jobId,
    data: { action: revision.action, revision: revision.revision },
  });
}

function keyOf({ tenantId, id }: JobRow): { tenantId: string; id: string } {
  return { tenantId, id };
}

/** Jobs of one tenant, as many at a time as one statement asks for. */
function* portions(jobs: readonly JobRow[]): Generator<{ tenantId: string; ids: string[] }> {
  for (let start = 0; start < jobs.length; start += AT_ONCE) {
    const portion = jobs.slice(start, start + AT_ONCE);
    yield { tenantId: (portion[0] as JobRow).tenantId, ids: portion.map((job) => job.id) };
  }
}

/** Takes back what is planned for later; it has not fired, so nobody misses it. */
function* dropFuture(transaction: Transaction, jobs: readonly JobRow[]): Operation<void> {
  for (const { tenantId, ids } of portions(jobs)) {
    yield* change(
      `delete from "runs" where "tenantId" = ? and "jobId" in (${placeholders(ids)}) and "state" = 'planned' and "endedAt" is null
         and "kind" = 'scheduled' and "scheduledFor" > ?`,
      tenantId,
      ...ids,
      transaction.now,
    );
  }
}

/** Runs of jobs that this operation has locked. */
function* openRuns({ dialect }: Transaction, jobs: readonly JobRow[], states: string[]): Operation<RunRow[]> {
  const found: RunRow[] = [];
  const sorted = jobs.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  for (const { tenantId, ids } of portions(sorted)) {
    const text = `select * from "runs" where "tenantId" = ? and "jobId" in (${placeholders(ids)}) and "endedAt" is null
      and "state" in (${placeholders(states)}) order by "id" ${dialect.forUpdate}`;
    for (const run of yield* rows<RunRow>(text, tenantId, ...ids, ...states)) found.push(run);
  }
  return found;
}

function latestInstant(job: JobRow, runs: RunRow[]): number {
  const fired = runs.filter((run) => run.kind === 'scheduled').map((run) => run.scheduledFor);
  return fired.reduce((latest, instant) => Math.max(latest, instant), job.firedThrough);
}

/** Stops a job's schedule: later instants are taken back, instants that are due are skipped. False when there is no such job. */
export function* pauseJob(
  transaction: Transaction,
  input: { tenantId: string; name: string; by: string; note: string },
): Operation<boolean> {
  const job = yield* lockJob(transaction, input);
  if (!job) return false;
  if (job.pausedAt !== null) return true;
  yield* planPassed(transaction, [job]);
  yield* dropFuture(transaction, [job]);
  const due = (yield* openRuns(transaction, [job], ['planned'])).filter((run) => run.kind === 'scheduled');
  for (const run of due) {
    yield* moveRun(transaction, run, 'skip', 'skipped', { epoch: run.epoch + 1, reason: 'jobPaused' });
  }
  yield* change(
    `update "jobs" set "pausedAt" = ?, "pausedBy" = ?, "pausedNote" = ?, "nextAt" = null, "firedThrough" = ?, "updatedAt" = ?
     where "tenantId" = ? and "id" = ?`,
    transaction.now,
    input.by,
    input.note,
    latestInstant(job, due),
    transaction.now,
    job.tenantId,
    job.id,
  );
  yield* jobEvent(transaction, job, 'paused');
  return true;
}

/** Starts a paused job's schedule again, from now. False when there is no such job. */
export function* resumeJob(
  transaction: Transaction,
  input: { tenantId: string; name: string },
): Operation<boolean> {
  const job = yield* lockJob(transaction, input);
  if (!job) return false;
  if (job.pausedAt === null) return true;
  const plannedThrough = Math.max(transaction.now, job.firedThrough);
  yield* change(
    `update "jobs" set "pausedAt" = null, "pausedBy" = null, "pausedNote" = null, "plannedThrough" = ?, "nextAt" = ?, "updatedAt" = ?
     where "tenantId" = ? and "id" = ?`,
    plannedThrough,
    job.enabled === 1 && isScheduled(job) ? plannedThrough : null,
    transaction.now,
    job.tenantId,
    job.id,
  );
  yield* jobEvent(transaction, job, 'resumed');
  return true;
}

function isScheduled(job: JobRow): boolean {
  return (JSON.parse(job.documentJson) as { schedule?: unknown }).schedule !== undefined;
}

/** Leaves a tombstone of a job. Its runs stay; those without an offer end as cancelled. False when there is no such job. */
export function* deleteJob(
  transaction: Transaction,
  input: { tenantId: string; name: string; by: string },
): Operation<boolean> {
  const job = yield* lockJob(transaction, input);
  if (!job) return false;
  yield* bury(transaction, [job], input.by);
  return true;
}

/** Leaves tombstones of jobs that this operation has locked. */
function* bury(transaction: Transaction, jobs: readonly JobRow[], by: string): Operation<void> {
  yield* planPassed(transaction, jobs);
  yield* dropFuture(transaction, jobs);
  const waiting = yield* openRuns(transaction, jobs, ['planned', 'queued', 'offered']);
  yield* together(
    transaction,
    waiting.map((run) =>
      moveRun(transaction, run, 'drop', 'cancelled', { epoch: run.epoch + 1, reason: 'jobEdited' }),
    ),
  );
  const waitingOf = Map.groupBy(waiting, (run) => run.jobId);
  yield* together(
    transaction,
    jobs.map((job) => tombstone(transaction, job, waitingOf.get(job.id) ?? [], by)),
  );
}

function* tombstone(transaction: Transaction, job: JobRow, dropped: RunRow[], by: string): Operation<void> {
  const revision = job.revision + 1;
  yield* set('jobs', keyOf(job), {
    deletedAt: transaction.now,
    nextAt: null,
    revision,
    pausedAt: null,
    pausedBy: null,
    pausedNote: null,
    firedThrough: latestInstant(job, dropped),
    updatedAt: transaction.now,
  });
  yield* recordRevision(transaction, {
    tenantId: job.tenantId,
    by,
    jobId: job.id,
    revision,
    action: 'deleted',
    job: null,
  });
}

/** A live job, as nobody else changes it or decides about its runs meanwhile. */
function* lockJob(
  { dialect }: Transaction,
  input: { tenantId: string; name: string },
): Operation<JobRow | undefined> {
  return yield* row<JobRow>(
    `select * from "jobs" where "tenantId" = ? and "name" = ? and "deletedAt" is null and "kind" = 'job' ${dialect.forUpdate}`,
    input.tenantId,
    input.name,
  );
}

function* jobEvent(transaction: Transaction, job: JobRow, action: string): Operation<void> {
  yield* recordEvent(transaction, {
    tenantId: job.tenantId,
    type: 'job',
    subjectId: job.id,
    jobId: job.id,
    data: { action },
  });
}
