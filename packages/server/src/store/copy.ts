import { DatabaseSync } from 'node:sqlite';
import type { Driver } from './driver.ts';
import { change, type Operation, row, rows, type Value } from './operation.ts';

/** What is copied, in this order. Events are not: watchers read everything again when they come to another server. */
const TABLES = [
  'tenants',
  'serverKeys',
  'tokens',
  'joinTokens',
  'agents',
  'replicas',
  'jobs',
  'jobRevisions',
  'runs',
  'attempts',
  'steps',
  'output',
  'gaps',
  'idempotencyKeys',
  'recoveries',
  'masterKeys',
  'secrets',
  'audit',
] as const;

/** Rows of one statement, and their bytes of output. */
const ROWS_AT_ONCE = 500;
const BYTES_AT_ONCE = 4 * 1024 * 1024;

/** A table that is copied whole. */
export interface CopiedTable {
  table: string;
  rows: number;
}

/** There is something in the database that was to be filled. */
export class NotEmptyError extends Error {
  constructor(table: string) {
    super(`the database that is to be filled is not empty: it has rows in "${table}"; name an empty one`);
    this.name = 'NotEmptyError';
  }
}

/**
 * Copies all of a SQLite file, which nobody writes, to an empty PostgreSQL database: history and keys too, so that agents
 * stay enrolled. All or nothing; every table is counted on both sides before that is settled.
 * @throws NotEmptyError
 */
export async function copyToPostgres(
  file: string,
  target: Driver,
  onProgress: (copied: CopiedTable) => void,
): Promise<CopiedTable[]> {
  const source = new DatabaseSync(file, { readOnly: true });
  try {
    return await target.write(function* () {
      for (const table of TABLES) {
        if (yield* row(`select 1 as "found" from "${table}" limit 1`)) throw new NotEmptyError(table);
      }
      const copied: CopiedTable[] = [];
      for (const table of TABLES) {
        yield* copyTable(source, table, onProgress);
        copied.push({ table, rows: yield* verify(source, table) });
      }
      // Their sessions are over; whoever starts here first settles what they had open.
      yield* change('update "replicas" set "lostAt" = "seenAt"');
      yield* continueIds(source, 'events');
      yield* continueIds(source, 'audit');
      return copied;
    });
  } finally {
    source.close();
  }
}

function* copyTable(
  source: DatabaseSync,
  table: string,
  onProgress: (copied: CopiedTable) => void,
): Operation<void> {
  let batch: Record<string, Value>[] = [];
  let bytes = 0;
  let copied = 0;
  for (const found of source.prepare(`select * from "${table}"`).iterate()) {
    const each = found as Record<string, Value>;
    batch.push(each);
    if (each.data instanceof Uint8Array) bytes += each.data.byteLength;
    if (batch.length < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE) continue;
    yield* insert(table, batch);
    copied += batch.length;
    onProgress({ table, rows: copied });
    batch = [];
    bytes = 0;
  }
  yield* insert(table, batch);
  onProgress({ table, rows: copied + batch.length });
}

function* insert(table: string, batch: Record<string, Value>[]): Operation<void> {
  const [first] = batch;
  if (!first) return;
  const columns = Object.keys(first);
  const tuple = `(${columns.map(() => '?').join(', ')})`;
  yield* change(
    `insert into "${table}" (${columns.map((name) => `"${name}"`).join(', ')}) values ${batch.map(() => tuple).join(', ')}`,
    ...batch.flatMap((each) => columns.map((name) => each[name] as Value)),
  );
}

function* verify(source: DatabaseSync, table: string): Operation<number> {
  const text = `select count(*) as "n" from "${table}"`;
  const { n: expected } = source.prepare(text).get() as { n: number };
  const [found] = yield* rows<{ n: number }>(text);
  if (found?.n !== expected)
    throw new Error(`"${table}" has ${expected} rows, of which ${found?.n} came over; nothing was copied`);
  return expected;
}

/**
 * No number is given twice: what was copied has its own, and a watcher that comes back with the id of an event of the old
 * database must not wait for that number to come again.
 */
function* continueIds(source: DatabaseSync, table: 'events' | 'audit'): Operation<void> {
  const { last } = source.prepare(`select max("id") as "last" from "${table}"`).get() as {
    last: number | null;
  };
  if (last !== null) yield* rows(`select setval(pg_get_serial_sequence('"${table}"', 'id'), ?)`, last + 1);
}
