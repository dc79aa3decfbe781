import { LOSS_WINDOW_MS } from '@rota/contract';
import { hasBeenTried } from './dispatch.ts';
import { recordEvent } from './events.ts';
import { EPOCH_LEAP } from './holding.ts';
import { moveRun } from './moveRun.ts';
import { change, type Operation, placeholders, row, rows, type Transaction } from './operation.ts';
import { nextTryAt, RETRY_WAIT_MS } from './retry.ts';
import type { AgentRow, RecoveryRow, RunRow } from './tables.ts';
import { loseRun, STARTING_LOST_MS, surelyEndedMs } from './unknownRuns.ts';

/**
 * What is done when a database goes on from an older state: a standby took over that lacked the last commits, or a backup was
 * put back. What was committed after that state is known to the agents alone: what they were given to start, and how it
 * ended. So nothing that can have been started since is given to anyone until those have told who could have started it.
 */

/** In place of an agent's nonce: its next session may resume with any nonce, once. */
export const RESTORED_NONCE = 'restored';
/** So far may the clock of the database before have been ahead of this one's. */
const CLOCKS_APART_MS = 5_000;
/**
 * How long later instants of a job wait for agents that were connected before: one of them may be running it. Longer than the
 * longest pause between two dials of an agent. Then they go on, for an agent may have been lost with the database.
 */
const LATER_WAIT_MS = 60_000;
const EVENT_IDS_LEAP = 1_000_000;

/** What a database says of itself: another timeline means that a standby took over, another system that it was copied. */
export interface DatabaseIdentity {
  systemId: string;
  timeline: number;
}

/**
 * Meets the database that is there. When it is another than the one that wrote the data, the recovery begins, once,
 * however many servers notice it.
 */
export function* meetDatabase(
  transaction: Transaction,
  seen: DatabaseIdentity,
): Operation<RecoveryRow | null> {
  const known = yield* row<DatabaseIdentity>(
    `select * from "databaseIdentity" where "id" = 1 ${transaction.dialect.forUpdate}`,
  );
  if (known?.systemId === seen.systemId && known.timeline === seen.timeline) return null;
  yield* change(
    `insert into "databaseIdentity" ("id", "systemId", "timeline", "since") values (1, ?, ?, ?)
     on conflict ("id") do update set "systemId" = excluded."systemId", "timeline" = excluded."timeline", "since" = excluded."since"`,
    seen.systemId,
    seen.timeline,
    transaction.now,
  );
  if (known === undefined) return null;
  const cause = known.systemId === seen.systemId ? 'failover' : 'restore';
  return yield* beginRecovery(transaction, { cause });
}

/** Begins a recovery: holds what can have been started, and ends every session, so that agents resume and tell. */
export function* beginRecovery(
  transaction: Transaction,
  input: { cause: RecoveryRow['cause'] },
): Operation<RecoveryRow> {
  const { now } = transaction;
  const last = yield* row<{ id: number | null }>('select max("id") as "id" from "recoveries"');
  const recovery: RecoveryRow = {
    id: (last?.id ?? 0) + 1,
    cause: input.cause,
    detectedAt: now,
    windowTo: now + CLOCKS_APART_MS,
    holdUntil: now + LATER_WAIT_MS,
    settledAt: null,
  };
  yield* change('update "recoveries" set "settledAt" = ? where "settledAt" is null', now);
  yield* change(
    'insert into "recoveries" ("id", "cause", "detectedAt", "windowTo", "holdUntil") values (?, ?, ?, ?, ?)',
    recovery.id,
    recovery.cause,
    recovery.detectedAt,
    recovery.windowTo,
    recovery.holdUntil,
  );
  // Servers that are not there any more have no sessions, and those that live begin again.
  yield* change('delete from "replicas"');
  yield* endSessions(transaction);
  yield* holdRuns(transaction, recovery);
  yield* leapEventIds(transaction);
  for (const { id } of yield* rows<{ id: string }>('select "id" from "tenants" order by "id"'))
    yield* recordRecovery(transaction, id, { state: 'recovering', cause: recovery.cause });
  return recovery;
}

function* endSessions({ now }: Transaction): Operation<void> {
  // What is stored of nonces is older than what the agents have. A copy that was found out stays locked out.
  yield* change(
    `update "agents" set "nonce" = ?, "pendingNonce" = null, "sessionEpoch" = "sessionEpoch" + ?, "replicaId" = null, "vanishedAt" = null,
       "changedAt" = ?,
       "awaited" = case when "state" = 'quarantined' then null when "awaited" = 'online' or "state" = 'online' or "replicaId" is not null
         or "lastSeenAt" >= ? then 'online' else 'offline' end,
       "state" = case when "state" = 'online' then 'offline' else "state" end
     where "removedAt" is null`,
    RESTORED_NONCE,
    EPOCH_LEAP,
    now,
    now - LATER_WAIT_MS,
  );
}

function* holdRuns(transaction: Transaction, recovery: RecoveryRow): Operation<void> {
  const { now, dialect } = transaction;
  const open = (states: string[]) =>
    rows<RunRow>(
      `select * from "runs" where "endedAt" is null and "state" in (${placeholders(states)}) order by "id" ${dialect.forUpdate}`,
      ...states,
    );
  for (const run of yield* open(['offered'])) {
    const back = { epoch: run.epoch + 1, agentId: null, slot: 0, passedJson: '[]' };
    yield* moveRun(transaction, run, 'withdraw', 'queued', back);
  }
  // The leap tells what an earlier state knows from what is new, and no decision that was made before it can be carried out.
  yield* change(
    `update "runs" set "wakeAt" = null, "reason" = 'recovering', "slot" = 0,
       "epoch" = case when "dueAt" <= ? then "epoch" + ? else "epoch" end
     where "endedAt" is null and "state" in ('planned', 'queued')`,
    recovery.windowTo,
    EPOCH_LEAP,
  );
  for (const run of yield* open(['starting', 'running'])) {
    // What a backup knows as going on has long moved on unheard.
    if (recovery.cause === 'restore') yield* loseRun(transaction, run, 'agentLost');
    else
      yield* change(
        'update "runs" set "contactLostAt" = coalesce("contactLostAt", ?), "wakeAt" = ? where "tenantId" = ? and "id" = ?',
        now,
        unheardUntil(run, now),
        run.tenantId,
        run.id,
      );
  }
}

function unheardUntil(run: RunRow, now: number): number | null {
  if (run.state === 'starting') return now + STARTING_LOST_MS;
  if (run.timeoutMs === null) return null;
  return Math.max(now + STARTING_LOST_MS, (run.startingAt ?? now) + surelyEndedMs(run.timeoutMs));
}

/** Watchers have read events with higher ids than those that will be given next: the ids must not come again. */
function* leapEventIds({ dialect }: Transaction): Operation<void> {
  if (dialect.name === 'postgres') {
    yield* rows(
      `select setval(pg_get_serial_sequence('"events"', 'id'), coalesce(max("id"), 0) + ?) from "events"`,
      EVENT_IDS_LEAP,
    );
    return;
  }
  yield* change(`update sqlite_sequence set seq = seq + ? where name = 'events'`, EVENT_IDS_LEAP);
}

function* recordRecovery(
  transaction: Transaction,
  tenantId: string,
  data: Record<string, unknown>,
): Operation<void> {
  yield* recordEvent(transaction, { tenantId, type: 'server', subjectId: 'database', jobId: null, data });
}

/** An agent that has not told yet what it did. */
export type AwaitedAgent = Pick<
  AgentRow,
  'tenantId' | 'id' | 'name' | 'orderNumber' | 'labelsJson' | 'enabled' | 'awaited'
>;

/** The last recovery, if there was one; while it is open, with the agents that have not told yet. */
export function* readRecovery(
  _transaction: Transaction,
  _input: Record<never, never>,
): Operation<{ recovery: RecoveryRow; awaited: AwaitedAgent[] } | null> {
  const recovery = yield* row<RecoveryRow>('select * from "recoveries" order by "id" desc limit 1');
  if (recovery === undefined) return null;
  const awaited =
    recovery.settledAt !== null
      ? []
      : yield* rows<AwaitedAgent>(
          `select "tenantId", "id", "name", "orderNumber", "labelsJson", "enabled", "awaited" from "agents"
           where "awaited" is not null and "removedAt" is null order by "tenantId", "orderNumber", "name"`,
        );
  return { recovery, awaited };
}

/** A run that is held, with its revision's document. */
export type HeldRun = RunRow & {
  documentJson: string | null;
  /** 1: it was asked for with a key, and so can be the same as one that is lost. */
  keyed: number;
};

/** Runs that are held, after a key, in order of it. */
export function* readHeldRuns(
  _transaction: Transaction,
  input: { after: { tenantId: string; id: string } | null; limit: number },
): Operation<HeldRun[]> {
  const after = input.after ?? { tenantId: '', id: '' };
  return yield* rows<HeldRun>(
    `select "runs".*, "jobRevisions"."documentJson",
       case when exists (select 1 from "idempotencyKeys" k where k."tenantId" = "runs"."tenantId" and k."jobId" = "runs"."jobId"
         and k."runId" = "runs"."id") then 1 else 0 end as "keyed"
     from "runs" left join "jobRevisions" on "jobRevisions"."tenantId" = "runs"."tenantId"
       and "jobRevisions"."jobId" = "runs"."jobId" and "jobRevisions"."revision" = "runs"."revision"
     where "runs"."reason" = 'recovering' and "runs"."wakeAt" is null and "runs"."endedAt" is null
       and ("runs"."tenantId", "runs"."id") > (?, ?)
     order by "runs"."tenantId", "runs"."id" limit ?`,
    after.tenantId,
    after.id,
    input.limit,
  );
}

/** How many runs of a tenant are held. */
export function* countHeldRuns(_transaction: Transaction, input: { tenantId: string }): Operation<number> {
  const counted = yield* row<{ runs: number }>(
    `select count(*) as "runs" from "runs" where "tenantId" = ? and "reason" = 'recovering' and "wakeAt" is null and "endedAt" is null`,
    input.tenantId,
  );
  return counted?.runs ?? 0;
}

/**
 * Lets runs go on that nobody can have started unheard. An instant that a later one of its job has overtaken gives way to it,
 * and what waited in a backup for longer than agents remember is not started. @returns how many were let go
 */
export function* releaseRuns(
  transaction: Transaction,
  input: { recoveryId: number; runs: { tenantId: string; id: string }[] },
): Operation<number> {
  const recovery = yield* row<RecoveryRow>(
    'select * from "recoveries" where "id" = ? and "settledAt" is null',
    input.recoveryId,
  );
  if (recovery === undefined || input.runs.length === 0) return 0;
  const held = yield* rows<RunRow>(
    `select * from "runs" where ("tenantId", "id") in (values ${input.runs.map(() => '(?, ?)').join(', ')})
       and "reason" = 'recovering' and "wakeAt" is null and "endedAt" is null order by "id" ${transaction.dialect.forUpdate}`,
    ...input.runs.flatMap(({ tenantId, id }) => [tenantId, id]),
  );
  for (const run of held) {
    if (recovery.cause === 'restore' && run.dueAt < recovery.detectedAt - LOSS_WINDOW_MS) {
      yield* moveRun(transaction, run, 'miss', 'missed', { reason: 'restored' });
      continue;
    }
    // Whoever asked for another attempt wants it also when later instants have come.
    const isRetry = yield* hasBeenTried(run);
    const later = run.kind === 'scheduled' && !isRetry ? yield* laterStart(run) : undefined;
    if (later !== undefined) {
      yield* moveRun(transaction, run, 'skip', 'skipped', {
        reason: 'superseded',
        detail: `by run ${later.id}`,
      });
      continue;
    }
    const nextAt = isRetry && run.state === 'queued' ? yield* nextTryAt(transaction, run) : null;
    const waits = nextAt !== null && nextAt > transaction.now;
    yield* change(
      `update "runs" set "wakeAt" = ?, "startBy" = ?, "reason" = ?, "epoch" = "epoch" + 1
       where "tenantId" = ? and "id" = ? and "epoch" = ?`,
      waits ? nextAt : run.state === 'planned' ? run.dueAt : transaction.now,
      isRetry ? Math.max(run.startBy, transaction.now + RETRY_WAIT_MS) : run.startBy,
      waits ? 'retryWait' : null,
      run.tenantId,
      run.id,
      run.epoch,
    );
  }
  return held.length;
}

/** A later instant of the same job that has been started. */
function* laterStart(run: RunRow): Operation<{ id: string } | undefined> {
  return yield* row<{ id: string }>(
    `select "id" from "runs" where "tenantId" = ? and "jobId" = ? and "dueAt" > ? and "kind" = 'scheduled' and "attempt" > 0
     order by "dueAt" limit 1`,
    run.tenantId,
    run.jobId,
    run.dueAt,
  );
}

/**
 * Gives open runs of a job its slot when it is free: a run that was found running at its agent could not have it while one
 * that had ended there was not known to have.
 */
export function* settleSlots(): Operation<void> {
  const without = yield* rows<Pick<RunRow, 'tenantId' | 'id' | 'jobId'>>(
    `select r."tenantId", r."jobId", min(r."id") as "id" from "runs" r where r."endedAt" is null and r."state" = 'running' and r."slot" = 0
       and r."kind" <> 'adHoc' and not exists (select 1 from "runs" s where s."tenantId" = r."tenantId" and s."jobId" = r."jobId" and s."slot" = 1)
     group by r."tenantId", r."jobId"`,
  );
  for (const { tenantId, id } of without)
    yield* change(
      `update "runs" set "slot" = 1 where "tenantId" = ? and "id" = ? and "state" = 'running'`,
      tenantId,
      id,
    );
}

/**
 * Ends a recovery when no agent is awaited, or when nothing is held any more and longer ago than agents remember nothing can
 * come. An agent that comes later is asked all the same. @returns whether it is settled
 */
export function* settleRecovery(transaction: Transaction, input: { recoveryId: number }): Operation<boolean> {
  const { now } = transaction;
  const recovery = yield* row<RecoveryRow>(
    `select * from "recoveries" where "id" = ? and "settledAt" is null ${transaction.dialect.forUpdate}`,
    input.recoveryId,
  );
  if (recovery === undefined) return true;
  const held = yield* row(
    `select "id" from "runs" where "reason" = 'recovering' and "wakeAt" is null and "endedAt" is null limit 1`,
  );
  const awaited = yield* row(
    'select "id" from "agents" where "awaited" is not null and "removedAt" is null limit 1',
  );
  if (held || (awaited && now < recovery.detectedAt + LOSS_WINDOW_MS)) return false;
  yield* change('update "recoveries" set "settledAt" = ? where "id" = ?', now, recovery.id);
  for (const { id } of yield* rows<{ id: string }>('select "id" from "tenants" order by "id"'))
    yield* recordRecovery(transaction, id, { state: 'recovered', cause: recovery.cause });
  return true;
}
