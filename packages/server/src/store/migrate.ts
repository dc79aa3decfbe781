import * as initial from './migrations/0001Initial.ts';
import { change, type Operation, rows, type Transaction } from './operation.ts';

/** In order; a name is never changed or removed once released. */
const MIGRATIONS: { name: string; up(transaction: Transaction): Operation<void> }[] = [
  { name: '0001Initial', up: initial.up },
];

/** Any number that no other program takes a lock of in this database. */
const MIGRATION_LOCK = 7_682_001;

/** The database was migrated by a newer version of Rota. */
export class SchemaTooNewError extends Error {
  constructor(found: string) {
    super(
      `the database has the schema "${found}", which this version of Rota does not know; use the newer version that made it`,
    );
    this.name = 'SchemaTooNewError';
  }
}

/** A change of the schema, and when it was made; null: not yet. */
export interface MigrationStatus {
  name: string;
  at: string | null;
}

/** What was done to the schema, and what is still to do. @throws SchemaTooNewError */
export function* migrationStatus(transaction: Transaction): Operation<MigrationStatus[]> {
  const done = new Map<string, string>();
  if (yield* hasTable(transaction)) {
    for (const { name, timestamp } of yield* rows<{ name: string; timestamp: string }>(
      'select "name", "timestamp" from "kysely_migration" order by "name"',
    ))
      done.set(name, timestamp);
  }
  const unknown = [...done.keys()].find((name) => !MIGRATIONS.some((migration) => migration.name === name));
  if (unknown !== undefined) throw new SchemaTooNewError(unknown);
  return MIGRATIONS.map(({ name }) => ({ name, at: done.get(name) ?? null }));
}

/** Names of the migrations that are still to do. @throws SchemaTooNewError */
export function* pendingMigrations(transaction: Transaction): Operation<string[]> {
  return (yield* migrationStatus(transaction)).filter(({ at }) => at === null).map(({ name }) => name);
}

/**
 * Brings the schema up to date, all or nothing. Of processes that start at one time one does it, and the others find it done.
 * @throws SchemaTooNewError
 */
export function* migrate(transaction: Transaction): Operation<void> {
  // The lock is the transaction's, since a session behind a pooler is nobody's.
  if (transaction.dialect.name === 'postgres') yield* rows('select pg_advisory_xact_lock(?)', MIGRATION_LOCK);
  yield* change(
    'create table if not exists "kysely_migration" ("name" varchar(255) not null primary key, "timestamp" varchar(255) not null)',
  );
  const pending = yield* pendingMigrations(transaction);
  for (const { name, up } of MIGRATIONS) {
    if (!pending.includes(name)) continue;
    yield* up(transaction);
    yield* change(
      'insert into "kysely_migration" ("name", "timestamp") values (?, ?)',
      name,
      new Date(transaction.now).toISOString(),
    );
  }
}

function* hasTable({ dialect }: Transaction): Operation<boolean> {
  const found = yield* rows(
    dialect.name === 'sqlite'
      ? `select "name" from sqlite_master where "name" = 'kysely_migration'`
      : `select 1 as "found" where to_regclass('"kysely_migration"') is not null`,
  );
  return found.length > 0;
}
