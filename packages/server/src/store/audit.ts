import type { AuditAction } from '@rota/contract';
import { insert } from './byKey.ts';
import { change, type Operation, rows, type Transaction, type Value } from './operation.ts';
import type { AuditRow } from './tables.ts';

export interface NewAudit {
  tenantId: string;
  action: AuditAction;
  /** Names, never values. */
  secrets: readonly string[];
  by?: string | null;
  /** The name of the job that used them, or whose they are. */
  job?: string | null;
  runId?: string | null;
  attemptId?: string | null;
  agentId?: string | null;
  detail?: string | null;
}

/** Puts on record what the transaction does with secrets: it is there exactly when that is committed. */
export function* recordAudit(transaction: Transaction, audit: NewAudit): Operation<void> {
  const { tenantId, action, secrets, by = null, job = null, detail = null } = audit;
  const { runId = null, attemptId = null, agentId = null } = audit;
  yield* insert('audit', {
    tenantId,
    at: transaction.now,
    action,
    by,
    secretsJson: JSON.stringify(secrets),
    job,
    runId,
    attemptId,
    agentId,
    detail,
  });
}

export interface AuditFilter {
  action?: AuditAction;
  secret?: string;
  job?: string;
  runId?: string;
}

/** Rows that one read looks at when it is filtered: a rare name must not cost a walk through all that there is. */
const LOOKED_AT = 5_000;

/** A page of the audit trail, newest first. @returns `next` when there is more: the next page begins below that id */
export function* listAudit(
  _transaction: Transaction,
  input: { tenantId: string; filter: AuditFilter; before: number | null; limit: number },
): Operation<{ rows: (AuditRow & { agentName: string | null })[]; next: number | null }> {
  const { tenantId, filter, limit } = input;
  const conditions: string[] = [];
  const values: Value[] = [];
  const only = (condition: string, value: string | undefined) => {
    if (value === undefined) return;
    conditions.push(condition);
    values.push(value);
  };
  only('"action" = ?', filter.action);
  only('"job" = ?', filter.job);
  only('"runId" = ?', filter.runId);
  // The name in its quotes; `like` would take "_" for any character.
  const quoted = filter.secret === undefined ? undefined : JSON.stringify(filter.secret);
  only(`replace("secretsJson", cast(? as text), '') <> "secretsJson"`, quoted);
  const window = conditions.length === 0 ? limit : Math.max(limit, LOOKED_AT);
  const before = input.before ?? Number.MAX_SAFE_INTEGER;
  const found = yield* rows<AuditRow & { agentName: string | null }>(
    `with "window" as (select * from "audit" where "tenantId" = ? and "id" < ? order by "id" desc limit ?)
     select w.*, a."name" as "agentName" from "window" w left join "agents" a on a."tenantId" = w."tenantId" and a."id" = w."agentId"
     ${conditions.length === 0 ? '' : `where ${conditions.map((each) => each.replace(/"(\w+)"/g, 'w."$1"')).join(' and ')}`}
     order by w."id" desc limit ?`,
    tenantId,
    before,
    window,
    ...values,
    limit,
  );
  const last = found.at(-1);
  if (found.length === limit && last) return { rows: found, next: last.id };
  if (conditions.length === 0) return { rows: found, next: null };
  const ends = yield* rows<{ lowest: number | null; looked: number }>(
    `select min("id") as "lowest", count(*) as "looked" from
       (select "id" from "audit" where "tenantId" = ? and "id" < ? order by "id" desc limit ?) w`,
    tenantId,
    before,
    window,
  );
  const [end] = ends;
  return { rows: found, next: end && end.looked === window ? end.lowest : null };
}

/** Deletes one batch of the audit trail that is older than `before`. @returns how many */
export function* deleteOldAudit(
  { dialect }: Transaction,
  input: { before: number; limit: number },
): Operation<number> {
  return yield* change(
    `with "old" as (select "id" from "audit" where "at" < ? order by "at" limit ? ${dialect.skipLocked})
     delete from "audit" where "id" in (select "id" from "old")`,
    input.before,
    input.limit,
  );
}
