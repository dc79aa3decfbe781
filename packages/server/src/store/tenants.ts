import { change, type Operation, row, type Transaction } from './operation.ts';
import type { ServerKeyRow, TenantRow, TokenRow } from './tables.ts';

/** Id and name of the hidden job that a tenant's ad hoc runs belong to. */
export const AD_HOC_JOB = { id: 'adhoc', name: '~adhoc' } as const;

export interface NewTenant {
  id: string;
  name: string;
  /** IANA zone of schedules that name none. */
  timezone: string;
}

/** What a first start makes, all or nothing; `created: false` when a start before has made it. */
export function* setUp(
  transaction: Transaction,
  input: {
    tenant: NewTenant;
    token: Pick<TokenRow, 'id' | 'name' | 'hash' | 'role'>;
    key: Omit<ServerKeyRow, 'active' | 'createdAt'>;
  },
): Operation<{ created: boolean }> {
  const existing = yield* row('select "id" from "tenants" where "name" = ?', input.tenant.name);
  // Of servers that start at one time the second fails on the name, runs this again, and finds the tenant.
  if (existing) return { created: false };
  yield* createTenant(transaction, input.tenant);
  yield* change(
    'insert into "tokens" ("tenantId", "id", "name", "hash", "role", "createdAt") values (?, ?, ?, ?, ?, ?)',
    input.tenant.id,
    input.token.id,
    input.token.name,
    input.token.hash,
    input.token.role,
    transaction.now,
  );
  yield* change(
    'insert into "serverKeys" ("id", "publicKey", "privateKey", "active", "createdAt") values (?, ?, ?, 1, ?)',
    input.key.id,
    input.key.publicKey,
    input.key.privateKey,
    transaction.now,
  );
  return { created: true };
}

/** Makes a tenant with its ad hoc job. */
export function* createTenant(transaction: Transaction, input: NewTenant): Operation<void> {
  yield* change(
    'insert into "tenants" ("id", "name", "timezone", "createdAt") values (?, ?, ?, ?)',
    input.id,
    input.name,
    input.timezone,
    transaction.now,
  );
  yield* change(
    `insert into "jobs" ("tenantId", "id", "name", "kind", "revision", "documentJson", "owner", "anchorsJson", "enabled",
       "plannedThrough", "firedThrough", "createdAt", "updatedAt")
     values (?, ?, ?, 'adHoc', 1, ?, '', '{}', 1, ?, 0, ?, ?)`,
    input.id,
    AD_HOC_JOB.id,
    AD_HOC_JOB.name,
    JSON.stringify({ name: AD_HOC_JOB.name }),
    transaction.now,
    transaction.now,
    transaction.now,
  );
}

/** A tenant by its name. */
export function* tenantByName(
  _transaction: Transaction,
  input: { name: string },
): Operation<TenantRow | null> {
  return (yield* row<TenantRow>('select * from "tenants" where "name" = ?', input.name)) ?? null;
}

/** Changes a tenant's default zone. Jobs keep the zone that they were saved with. */
export function* setTimezone(
  _transaction: Transaction,
  input: { tenantId: string; timezone: string },
): Operation<void> {
  yield* change('update "tenants" set "timezone" = ? where "id" = ?', input.timezone, input.tenantId);
}
