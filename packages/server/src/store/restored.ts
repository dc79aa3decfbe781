import { loseRun } from './dispatch.ts';
import { change, type Operation, rows, type Transaction } from './operation.ts';
import type { RunRow } from './tables.ts';

/** In place of an agent's nonce: its next session may resume with any nonce, once. */
export const RESTORED_NONCE = 'restored';

/**
 * Marks a database that was put back from a backup. Agents have gone on since then, so their nonces are newer than the ones
 * that are stored, and each may resume with any of its own once. What was going on has long moved on unheard: nobody knows
 * how it ended until its agent comes back or a person decides.
 * @returns how many runs are unknown now
 */
export function* markRestored(transaction: Transaction, _input: Record<never, never>): Operation<number> {
  yield* change(
    `update "agents" set "nonce" = ?, "pendingNonce" = null, "state" = case when "state" = 'online' then 'offline' else "state" end
     where "removedAt" is null and ("nonce" is not null or "pendingNonce" is not null)`,
    RESTORED_NONCE,
  );
  const going = yield* rows<RunRow>(
    `select * from "runs" where "endedAt" is null and "state" in ('starting', 'running') order by "id" ${transaction.dialect.forUpdate}`,
  );
  for (const run of going) yield* loseRun(transaction, run, 'agentLost');
  return going.length;
}
