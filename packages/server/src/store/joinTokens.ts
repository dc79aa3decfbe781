import { change, type Operation, row, rows, type Transaction } from './operation.ts';
import type { JoinTokenRow } from './tables.ts';

/** Adds a join token. */
export function* createJoinToken(
  transaction: Transaction,
  input: Pick<JoinTokenRow, 'tenantId' | 'id' | 'hash' | 'labelsJson' | 'createdBy'> & {
    expiresInMs: number;
  },
): Operation<JoinTokenRow> {
  const { expiresInMs, ...given } = input;
  const expiresAt = transaction.now + expiresInMs;
  yield* change(
    `insert into "joinTokens" ("tenantId", "id", "hash", "labelsJson", "expiresAt", "createdAt", "createdBy")
     values (?, ?, ?, ?, ?, ?, ?)`,
    given.tenantId,
    given.id,
    given.hash,
    given.labelsJson,
    expiresAt,
    transaction.now,
    given.createdBy,
  );
  return { ...given, expiresAt, createdAt: transaction.now, usedAt: null, usedBy: null };
}

/** A page of a tenant's join tokens, newest first, before a key. */
export function* listJoinTokens(
  _transaction: Transaction,
  input: { tenantId: string; before: { createdAt: number; id: string } | null; limit: number },
): Operation<JoinTokenRow[]> {
  const before = input.before ?? { createdAt: Number.MAX_SAFE_INTEGER, id: '' };
  return yield* rows<JoinTokenRow>(
    `select * from "joinTokens" where "tenantId" = ? and ("createdAt", "id") < (?, ?)
     order by "createdAt" desc, "id" desc limit ?`,
    input.tenantId,
    before.createdAt,
    before.id,
    input.limit,
  );
}

/** Takes a join token back; false when there is none. */
export function* deleteJoinToken(
  _transaction: Transaction,
  input: { tenantId: string; id: string },
): Operation<boolean> {
  const changes = yield* change(
    'delete from "joinTokens" where "tenantId" = ? and "id" = ?',
    input.tenantId,
    input.id,
  );
  return changes > 0;
}

/** A join token that can still be redeemed: not used, not expired. Its hash is for the caller to compare. */
export function* openJoinToken(
  transaction: Transaction,
  input: { id: string },
): Operation<JoinTokenRow | null> {
  const token = yield* row<JoinTokenRow>(
    'select * from "joinTokens" where "id" = ? and "usedAt" is null and "expiresAt" > ?',
    input.id,
    transaction.now,
  );
  return token ?? null;
}
