import { recordAudit } from './audit.ts';
import { insertNew } from './byKey.ts';
import { change, type Operation, placeholders, row, rows, type Transaction } from './operation.ts';
import type { MasterKeyRow } from './tables.ts';

/**
 * The ids of the master keys that this database's secrets are encrypted under, the active one first: never the keys. They
 * belong to the installation, not to a tenant.
 */
export function* readMasterKeys(
  _transaction: Transaction,
  _input: Record<never, never>,
): Operation<MasterKeyRow[]> {
  return yield* rows<MasterKeyRow>(
    'select * from "masterKeys" order by "active" desc, "createdAt" desc, "id"',
  );
}

/** Notes the first key of a database. @returns the active one, which is another when a server was faster */
export function* registerMasterKey(
  transaction: Transaction,
  input: { id: string; check: string },
): Operation<MasterKeyRow> {
  const active = yield* activeKey();
  if (active) return active;
  const key = { ...input, active: 1, createdAt: transaction.now };
  if (yield* insertNew('masterKeys', key)) return key;
  // Of two at one time, the other was first.
  return (yield* activeKey()) ?? key;
}

/** Makes a key the one that secrets are encrypted under from now on, if `instead` still is. @returns whether it is now */
export function* activateMasterKey(
  transaction: Transaction,
  input: { id: string; check: string; instead: string },
): Operation<boolean> {
  const { id, check, instead } = input;
  const retired = yield* change(
    'update "masterKeys" set "active" = 0 where "id" = ? and "active" = 1',
    instead,
  );
  if (retired === 0) return (yield* activeKey())?.id === id;
  const again = yield* change('update "masterKeys" set "active" = 1 where "id" = ?', id);
  if (again === 0) yield* insertNew('masterKeys', { id, check, active: 1, createdAt: transaction.now });
  return true;
}

/** Gives up keys that are lost, with the values under them, which nobody can read any more. @returns how many values */
export function* forgetMasterKeys(
  transaction: Transaction,
  input: { ids: string[]; by: string },
): Operation<number> {
  const { ids, by } = input;
  if (ids.length === 0) return 0;
  const lost = yield* rows<{ tenantId: string; job: string; name: string }>(
    `delete from "secrets" where "keyId" in (${placeholders(ids)}) returning "tenantId", "job", "name"`,
    ...ids,
  );
  for (const { tenantId, job, name } of lost) {
    const detail = 'its master key is lost';
    yield* recordAudit(transaction, {
      tenantId,
      action: 'delete',
      by,
      secrets: [name],
      job: job || null,
      detail,
    });
  }
  yield* change(`delete from "masterKeys" where "id" in (${placeholders(ids)})`, ...ids);
  return lost.length;
}

function* activeKey(): Operation<MasterKeyRow | undefined> {
  return yield* row<MasterKeyRow>('select * from "masterKeys" where "active" = 1');
}
