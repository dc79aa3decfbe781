import { change, type Operation, row, rows, type Transaction } from './operation.ts';
import type { TenantRow, TokenRow } from './tables.ts';

/** A token with what a request needs to know of its tenant. */
export type TokenOfTenant = TokenRow & { tenantName: TenantRow['name']; timezone: TenantRow['timezone'] };

/** A token by its id, which is unique among all tenants; null when there is none or it has expired. */
export function* findToken(transaction: Transaction, input: { id: string }): Operation<TokenOfTenant | null> {
  const found = yield* row<TokenOfTenant>(
    `select t.*, n."name" as "tenantName", n."timezone" as "timezone"
     from "tokens" t join "tenants" n on n."id" = t."tenantId"
     where t."id" = ? and (t."expiresAt" is null or t."expiresAt" > ?)`,
    input.id,
    transaction.now,
  );
  return found ?? null;
}

/** Notes that a token was used, unless that was noted less than `everyMs` ago. */
export function* touchToken(
  transaction: Transaction,
  input: { tenantId: string; id: string; everyMs: number },
): Operation<void> {
  yield* change(
    'update "tokens" set "lastUsedAt" = ? where "tenantId" = ? and "id" = ? and ("lastUsedAt" is null or "lastUsedAt" <= ?)',
    transaction.now,
    input.tenantId,
    input.id,
    transaction.now - input.everyMs,
  );
}

/** Adds a token; null when one of that name exists. */
export function* createToken(
  transaction: Transaction,
  input: Omit<TokenRow, 'createdAt' | 'expiresAt' | 'lastUsedAt'> & { expiresInMs: number | null },
): Operation<TokenRow | null> {
  const taken = yield* row(
    'select "id" from "tokens" where "tenantId" = ? and "name" = ?',
    input.tenantId,
    input.name,
  );
  if (taken) return null;
  const { expiresInMs, ...given } = input;
  const token: TokenRow = {
    ...given,
    createdAt: transaction.now,
    expiresAt: expiresInMs === null ? null : transaction.now + expiresInMs,
    lastUsedAt: null,
  };
  yield* change(
    `insert into "tokens" ("tenantId", "id", "name", "hash", "role", "createdAt", "createdBy", "expiresAt")
     values (?, ?, ?, ?, ?, ?, ?, ?)`,
    token.tenantId,
    token.id,
    token.name,
    token.hash,
    token.role,
    token.createdAt,
    token.createdBy,
    token.expiresAt,
  );
  return token;
}

/** A page of a tenant's tokens by name, after a name. */
export function* listTokens(
  _transaction: Transaction,
  input: { tenantId: string; after: string; limit: number },
): Operation<TokenRow[]> {
  return yield* rows<TokenRow>(
    'select * from "tokens" where "tenantId" = ? and "name" > ? order by "name" limit ?',
    input.tenantId,
    input.after,
    input.limit,
  );
}

/** Revokes a token by its id or name, but never the last admin token that does not expire. */
export function* deleteToken(
  { dialect }: Transaction,
  input: { tenantId: string; idOrName: string },
): Operation<'deleted' | 'notFound' | 'lastAdmin'> {
  const token = yield* row<TokenRow>(
    'select * from "tokens" where "tenantId" = ? and ("id" = ? or "name" = ?) order by "id" = ? desc limit 1',
    input.tenantId,
    input.idOrName,
    input.idOrName,
    input.idOrName,
  );
  if (!token) return 'notFound';
  if (token.role === 'admin' && token.expiresAt === null) {
    // All of them, so that of two that go at one time the second sees that the first is gone.
    const admins = yield* rows<{ id: string }>(
      `select "id" from "tokens" where "tenantId" = ? and "role" = 'admin' and "expiresAt" is null order by "id" ${dialect.forUpdate}`,
      input.tenantId,
    );
    if (!admins.some(({ id }) => id !== token.id)) return 'lastAdmin';
  }
  yield* change('delete from "tokens" where "tenantId" = ? and "id" = ?', input.tenantId, token.id);
  return 'deleted';
}
