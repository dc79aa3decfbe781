import { sql } from 'kysely';
import { type Operation, placeholders, row, rows, select, type Transaction } from './operation.ts';
import type { JobRevisionRow, JobRow, RunRow } from './tables.ts';

/** Names looked up by one statement. */
const NAMES_AT_ONCE = 500;

/** Jobs of these names that have instants behind them which nobody has planned yet. */
export function* readOverdueJobs(
  transaction: Transaction,
  input: { tenantId: string; names: string[] },
): Operation<JobRow[]> {
  const overdue: JobRow[] = [];
  for (let start = 0; start < input.names.length; start += NAMES_AT_ONCE) {
    const names = input.names.slice(start, start + NAMES_AT_ONCE);
    const text = `select * from "jobs" where "tenantId" = ? and "name" in (${placeholders(names)}) and "nextAt" <= ?`;
    overdue.push(...(yield* rows<JobRow>(text, input.tenantId, ...names, transaction.now)));
  }
  return overdue;
}

/** A job with its newest run that is not only planned. */
export type JobWithLastRun = JobRow & {
  lastRunId: string | null;
  lastRunState: RunRow['state'] | null;
  lastRunScheduledFor: number | null;
  lastRunEndedAt: number | null;
};

/** Not a bound value: partial indexes have this condition too, and SQLite plans a query anew each time that such a value is bound. */
const JOB_KIND = sql.lit('job' as const);

function jobsWithLastRun(transaction: Transaction, tenantId: string) {
  return transaction.query
    .selectFrom('jobs as j')
    .leftJoin('runs as r', (join) =>
      join.onRef('r.tenantId', '=', 'j.tenantId').on(
        'r.id',
        '=',
        sql<string>`(select "id" from "runs" as l where l."tenantId" = j."tenantId" and l."jobId" = j."id"
            and l."state" <> 'planned' order by l."dueAt" desc, l."id" desc limit 1)`,
      ),
    )
    .selectAll('j')
    .select([
      'r.id as lastRunId',
      'r.state as lastRunState',
      'r.scheduledFor as lastRunScheduledFor',
      'r.endedAt as lastRunEndedAt',
    ])
    .where('j.tenantId', '=', tenantId)
    .where('j.kind', '=', JOB_KIND)
    .where('j.deletedAt', 'is', null);
}

/** A live job by its name. */
export function* getJob(
  transaction: Transaction,
  input: { tenantId: string; name: string },
): Operation<JobWithLastRun | null> {
  const query = jobsWithLastRun(transaction, input.tenantId).where('j.name', '=', input.name);
  return (yield* select<JobWithLastRun>(query))[0] ?? null;
}

/** A job of any kind and age by its name: tombstones have revisions and gaps, too. */
export function* findJob(
  _transaction: Transaction,
  input: { tenantId: string; name: string },
): Operation<JobRow | null> {
  const job = yield* row<JobRow>(
    `select * from "jobs" where "tenantId" = ? and "name" = ? and "kind" = 'job'`,
    input.tenantId,
    input.name,
  );
  return job ?? null;
}

export interface JobFilter {
  prefix?: string;
  /** `value: null` asks only for the key. */
  label?: { key: string; value: string | null };
  owner?: string;
  enabled?: boolean;
  paused?: boolean;
}

/** Jobs that one page may look at when it searches by label, so that a rare label cannot hold the server. */
const SCANNED_PER_PAGE = 2_000;

/**
 * A page of live jobs by name, after a name. Labels are matched here, not by the database, so a page can have fewer
 * jobs than `limit` although there are more: `next` says where to go on, null at the end.
 */
export function* listJobs(
  transaction: Transaction,
  input: { tenantId: string; after: string; limit: number; filter: JobFilter },
): Operation<{ jobs: JobWithLastRun[]; next: string | null }> {
  const { filter } = input;
  let query = jobsWithLastRun(transaction, input.tenantId).orderBy('j.name');
  if (filter.prefix !== undefined && filter.prefix !== '')
    query = query.where('j.name', '>=', filter.prefix).where('j.name', '<', `${filter.prefix}~`);
  if (filter.owner !== undefined) query = query.where('j.owner', '=', filter.owner);
  if (filter.enabled !== undefined) query = query.where('j.enabled', '=', filter.enabled ? 1 : 0);
  if (filter.paused !== undefined) query = query.where('j.pausedAt', filter.paused ? 'is not' : 'is', null);

  const { label } = filter;
  const wanted = input.limit + 1;
  const jobs: JobWithLastRun[] = [];
  let after = input.after;
  let scanned = 0;
  while (jobs.length < wanted && scanned < SCANNED_PER_PAGE) {
    const batch = yield* select<JobWithLastRun>(query.where('j.name', '>', after).limit(wanted));
    jobs.push(...batch.filter((job) => label === undefined || hasLabel(job.documentJson, label)));
    scanned += batch.length;
    after = batch.at(-1)?.name ?? after;
    if (batch.length < wanted) return page(jobs, input.limit, null);
  }
  return page(jobs, input.limit, after);
}

function page(jobs: JobWithLastRun[], limit: number, scannedTo: string | null) {
  const shown = jobs.slice(0, limit);
  return { jobs: shown, next: jobs.length > limit ? (shown.at(-1)?.name ?? null) : scannedTo };
}

function hasLabel(documentJson: string, label: { key: string; value: string | null }): boolean {
  const labels = (JSON.parse(documentJson) as { labels?: Record<string, string> }).labels ?? {};
  return Object.hasOwn(labels, label.key) && (label.value === null || labels[label.key] === label.value);
}

/** A page of a job's revisions, newest first, before a revision. */
export function* listRevisions(
  _transaction: Transaction,
  input: { tenantId: string; jobId: string; before: number; limit: number },
): Operation<JobRevisionRow[]> {
  return yield* rows<JobRevisionRow>(
    'select * from "jobRevisions" where "tenantId" = ? and "jobId" = ? and "revision" < ? order by "revision" desc limit ?',
    input.tenantId,
    input.jobId,
    input.before,
    input.limit,
  );
}

/** How many live jobs there are. */
export function* countJobs(
  _transaction: Transaction,
  input: { tenantId: string },
): Operation<{ total: number; enabled: number; paused: number }> {
  const counted = yield* row<{ total: number; enabled: number | null; paused: number | null }>(
    `select count(*) as "total", sum(case when "pausedAt" is null then "enabled" else 0 end) as "enabled",
       sum(case when "pausedAt" is null then 0 else "enabled" end) as "paused"
     from "jobs" where "tenantId" = ? and "deletedAt" is null and "kind" = 'job'`,
    input.tenantId,
  );
  return { total: counted?.total ?? 0, enabled: counted?.enabled ?? 0, paused: counted?.paused ?? 0 };
}
