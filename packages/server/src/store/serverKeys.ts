import { type Operation, rows, type Transaction } from './operation.ts';
import type { ServerKeyRow } from './tables.ts';

/** The server's keys, the active one first. They belong to the server, not to a tenant. */
export function* serverKeys(
  _transaction: Transaction,
  _input: Record<never, never>,
): Operation<ServerKeyRow[]> {
  return yield* rows<ServerKeyRow>(
    'select * from "serverKeys" order by "active" desc, "createdAt" desc, "id"',
  );
}
