import type pg from 'pg';
import { ConnectionLost } from './postgresConnection.ts';
import type { Wire } from './postgresWire.ts';
import type { DatabaseIdentity } from './recovery.ts';

/** Another one: a standby took over. A standby that only reads has none, and cannot be written to anyway. */
export const TIMELINE = `('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int`;
const SYSTEM = 'select "system_identifier"::text as "systemId" from pg_control_system()';

/** A transaction has begun on another timeline than the one before. */
export class TimelineChanged extends Error {}

const HIDDEN_POOLER =
  'a pooler answers in place of the database, and the configuration names none: add pgbouncer=true to the URL, or set databasePooler: true';

/** A pooler gives its clients numbers that are not those of the database's processes. @throws Error when it is one */
export async function refusePooler(wire: Wire, client: pg.PoolClient): Promise<void> {
  const { rows: found } = await wire.ask(client, 'select pg_backend_pid() as "pid"');
  const given = (client as { processID?: number | null }).processID;
  if ((found[0] as { pid: number }).pid !== given) throw new Error(HIDDEN_POOLER);
}

/** Which database answers. Null: it does not say, or not to this user. */
export async function askIdentity(wire: Wire, client: pg.PoolClient): Promise<DatabaseIdentity | null> {
  const ask = async <R>(text: string): Promise<R | null> => {
    await wire.ask(client, 'savepoint "identity"');
    try {
      const { rows: found } = await wire.ask(client, text);
      return (found[0] as R | undefined) ?? null;
    } catch (error) {
      if (error instanceof ConnectionLost) throw error;
      await wire.ask(client, 'rollback to "identity"');
      return null;
    }
  };
  const timeline = await ask<{ timeline: number }>(`select ${TIMELINE} as "timeline"`);
  const system = await ask<{ systemId: string }>(SYSTEM);
  return timeline === null ? null : { ...timeline, systemId: system?.systemId ?? '' };
}
