import type { EventType } from '@rota/contract';
import { insert } from './byKey.ts';
import { type Operation, row, rows, type Transaction } from './operation.ts';
import type { EventRow } from './tables.ts';

export interface NewEvent {
  tenantId: string;
  type: EventType;
  subjectId: string;
  jobId: string | null;
  data: Record<string, unknown>;
}

/** Adds an event to the change that it is part of, so that watchers see it exactly when it is committed. */
export function* recordEvent(transaction: Transaction, event: NewEvent): Operation<void> {
  const { tenantId, type, subjectId, jobId, data } = event;
  const at = transaction.now;
  yield* insert('events', { tenantId, type, subjectId, jobId, at, dataJson: JSON.stringify(data) });
}

/** Adds the event that an agent's state has changed. */
export function* recordAgentEvent(
  transaction: Transaction,
  agent: { tenantId: string; id: string },
  state: string,
): Operation<void> {
  yield* recordEvent(transaction, {
    tenantId: agent.tenantId,
    type: 'agent',
    subjectId: agent.id,
    jobId: null,
    data: { state },
  });
}

/**
 * A tenant's events after one, in order. PostgreSQL commits transactions in another order than their events took ids in: there
 * the order is that of the transactions, and only those are read that began before the oldest one that still runs, so that no
 * event comes to stand before one that was read. An event that is gone was older than all that are left.
 */
export function* readEvents(
  { dialect }: Transaction,
  input: { tenantId: string; after: number; limit: number },
): Operation<EventRow[]> {
  if (dialect.name === 'sqlite') {
    return yield* rows<EventRow>(
      'select * from "events" where "id" > ? and "tenantId" = ? order by "id" limit ?',
      input.after,
      input.tenantId,
      input.limit,
    );
  }
  const last = yield* row<{ txid: string }>(
    'select "txid"::text as "txid" from "events" where "id" = ?',
    input.after,
  );
  return yield* rows<EventRow>(
    `select "id", "tenantId", "type", "subjectId", "jobId", "at", "dataJson" from "events"
     where "tenantId" = ? and ("txid", "id") > (cast(cast(? as text) as xid8), ?) and "id" > ? and "txid" < pg_snapshot_xmin(pg_current_snapshot())
     order by "txid", "id" limit ?`,
    input.tenantId,
    last?.txid ?? '0',
    input.after,
    last === undefined ? input.after : 0,
    input.limit,
  );
}

/** Where a watcher that asks for no past begins: the id of the last event that can be read, 0 when there is none. */
export function* lastEventId({ dialect }: Transaction, _input: Record<never, never>): Operation<number> {
  const last = yield* row<{ id: number | null }>(
    dialect.name === 'sqlite'
      ? 'select max("id") as "id" from "events"'
      : 'select "id" from "events" where "txid" < pg_snapshot_xmin(pg_current_snapshot()) order by "txid" desc, "id" desc limit 1',
  );
  return last?.id ?? 0;
}

/** The id of the oldest event that is still there, 0 when there is none: a watcher that asks for older ones has missed some. */
export function* firstEventId(_transaction: Transaction, _input: Record<never, never>): Operation<number> {
  const first = yield* row<{ id: number | null }>('select min("id") as "id" from "events"');
  return first?.id ?? 0;
}
