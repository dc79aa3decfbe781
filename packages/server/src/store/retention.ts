import { change, type Operation, placeholders, rows, type Transaction } from './operation.ts';

export interface RetentionCursor {
  endedAt: number;
  id: string;
}

interface OldRun extends RetentionCursor {
  tenantId: string;
  jobId: string;
  /** Of output that is stored. */
  bytes: number;
}

/**
 * Deletes one batch of ended runs that are older than `before`, with their attempts and output; a job's last run and its
 * last failed run stay for ever. @returns where the next batch begins, null when this was the last
 */
export function* deleteOldRuns(
  { dialect }: Transaction,
  input: { before: number; after: RetentionCursor | null; limit: number },
): Operation<{ next: RetentionCursor | null; deleted: number }> {
  const after = input.after ?? { endedAt: -1, id: '' };
  const found = yield* rows<OldRun>(
    `select "tenantId", "id", "jobId", "endedAt",
       coalesce((select sum(a."headBytes" + a."tailBytes") from "attempts" a where a."tenantId" = r."tenantId" and a."runId" = r."id"), 0) as "bytes"
     from "runs" r where "endedAt" is not null and "endedAt" < ? and ("endedAt", "id") > (?, ?) order by "endedAt", "id" limit ?
     ${dialect.skipLocked}`,
    input.before,
    after.endedAt,
    after.id,
    input.limit,
  );
  const old = upToBatch(found);
  const last = old.at(-1);
  if (!last) return { next: null, deleted: 0 };
  const kept = new Set<string>();
  for (const key of new Set(old.map((run) => JSON.stringify([run.tenantId, run.jobId])))) {
    const [tenantId, jobId] = JSON.parse(key) as [string, string];
    const keep = yield* rows<{ id: string }>(
      `select "id" from (select "id" from "runs" where "tenantId" = ? and "jobId" = ? and "endedAt" is not null order by "dueAt" desc, "id" desc limit 1) as "last"
       union select "id" from (select "id" from "runs" where "tenantId" = ? and "jobId" = ? and "state" in ('failed', 'timedOut') order by "dueAt" desc, "id" desc limit 1) as "failed"`,
      tenantId,
      jobId,
      tenantId,
      jobId,
    );
    for (const { id } of keep) kept.add(`${tenantId}/${id}`);
  }
  const going = old.filter((run) => !kept.has(`${run.tenantId}/${run.id}`));
  for (const tenantId of new Set(going.map((run) => run.tenantId))) {
    const ids = going.filter((run) => run.tenantId === tenantId).map((run) => run.id);
    yield* change(
      `delete from "output" where "tenantId" = ? and "attemptId" in (
         select "id" from "attempts" where "tenantId" = ? and "runId" in (${placeholders(ids)}))`,
      tenantId,
      tenantId,
      ...ids,
    );
    yield* change(
      `delete from "steps" where "tenantId" = ? and "attemptId" in (
         select "id" from "attempts" where "tenantId" = ? and "runId" in (${placeholders(ids)}))`,
      tenantId,
      tenantId,
      ...ids,
    );
    yield* change(
      `delete from "attempts" where "tenantId" = ? and "runId" in (${placeholders(ids)})`,
      tenantId,
      ...ids,
    );
    yield* change(
      `delete from "runs" where "tenantId" = ? and "id" in (${placeholders(ids)})`,
      tenantId,
      ...ids,
    );
  }
  const next =
    old.length === found.length && found.length < input.limit ? null : { endedAt: last.endedAt, id: last.id };
  return { next, deleted: going.length };
}

/** Deletes the output of one batch of attempts that ended before `before`. @returns of how many */
export function* deleteOldOutput(
  { dialect }: Transaction,
  input: { before: number; limit: number },
): Operation<number> {
  const old = yield* rows<StoredOutput>(
    `select "tenantId", "id", "headBytes" + "tailBytes" as "bytes" from "attempts"
     where "headBytes" > 0 and "endedAt" is not null and "endedAt" < ? order by "endedAt" limit ? ${dialect.skipLocked}`,
    input.before,
    input.limit,
  );
  const going = upToBatch(old);
  for (const attempt of going) {
    yield* change(
      'delete from "output" where "tenantId" = ? and "attemptId" = ?',
      attempt.tenantId,
      attempt.id,
    );
    yield* change(
      'update "attempts" set "headBytes" = 0, "tailBytes" = 0 where "tenantId" = ? and "id" = ?',
      attempt.tenantId,
      attempt.id,
    );
  }
  return going.length;
}

interface StoredOutput {
  tenantId: string;
  id: string;
  bytes: number;
}

/** Bytes of output that one batch may delete: about as long as a batch without any takes. */
const BATCH_BYTES = 4 * 1024 * 1024;

/** As many from the front as have `BATCH_BYTES` together, and at least one. */
function upToBatch<T extends { bytes: number }>(old: T[]): T[] {
  let bytes = 0;
  return old.filter((each, index) => {
    bytes += each.bytes;
    return index === 0 || bytes <= BATCH_BYTES;
  });
}

/** Deletes one batch of events that are older than `before`. @returns how many */
export function* deleteOldEvents(
  { dialect }: Transaction,
  input: { before: number; limit: number },
): Operation<number> {
  return yield* change(
    `with "old" as (select "id" from "events" where "at" < ? order by "at" limit ? ${dialect.skipLocked})
     delete from "events" where "id" in (select "id" from "old")`,
    input.before,
    input.limit,
  );
}
