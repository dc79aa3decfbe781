import type pg from 'pg';
import { ConnectionLost } from './postgresConnection.ts';
import type { Wire } from './postgresWire.ts';
import type { DatabaseIdentity } from './recovery.ts';

/** Another one: a standby took over. A standby that only reads has none, and cannot be written to anyway. */
export const TIMELINE = `('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int`;
const SYSTEM = 'select "system_identifier"::text as "systemId" from pg_control_system()';

/** A transaction has begun on another timeline than the one before. */
export class TimelineChanged extends Error {}

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
