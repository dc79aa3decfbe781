import type { Kysely } from 'kysely';
import type { Tables } from './tables.ts';

/** What a database column can hold. */
export type Value = string | number | null | Uint8Array;
export type Row = Record<string, Value>;

/** One statement with `?` for each value. */
export interface Statement {
  readonly text: string;
  readonly values: readonly Value[];
  /** Whether rows come back, or only a count. */
  readonly reads: boolean;
}

export interface Result {
  rows: Row[];
  /** Rows that a write changed. */
  changes: number;
}

/**
 * The body of a store operation: it yields statements and gets their results, and so can be run by a driver
 * that never awaits (SQLite: no other work between BEGIN and COMMIT) as well as by one that does.
 * All statements of one operation are one atomic change.
 */
export type Operation<T> = Generator<Statement, T, Result>;

/** What an operation knows of its transaction. */
export interface Transaction {
  /** The database's clock, epoch ms: the only "now" that a decision may use. */
  readonly now: number;
  /** Builds queries; it cannot execute them (see `select` and `change`). */
  readonly query: Kysely<Tables>;
  readonly dialect: Dialect;
}

/** What the databases want written differently. Texts are the same but for these, and for the few that ask for `name`. */
export interface Dialect {
  readonly name: 'sqlite' | 'postgres';
  /**
   * Ends a select of rows that the operation decides on: who else wants them waits, and then sees what became of them.
   * Empty where only one writes at a time, and in reading operations.
   * Locks are taken in one order, so that nobody waits in a circle: jobs, agents, runs, attempts; of each by id.
   */
  readonly forUpdate: string;
  /** The same, but rows that someone else has now are left out: theirs to settle. */
  readonly skipLocked: string;
}

/** Nothing to lock: one writer at a time, or a reading operation. */
export const NO_LOCKS = { forUpdate: '', skipLocked: '' } as const;

/** Rows of a query text. */
export function* rows<R = Row>(text: string, ...values: Value[]): Operation<R[]> {
  const result = yield { text, values, reads: true };
  return result.rows as R[];
}

/** The first row of a query text, if any. */
export function* row<R = Row>(text: string, ...values: Value[]): Operation<R | undefined> {
  return (yield* rows<R>(text, ...values))[0];
}

/** Runs a change and says how many rows it touched. */
export function* change(text: string, ...values: Value[]): Operation<number> {
  const result = yield { text, values, reads: false };
  return result.changes;
}

/** Rows of a query that was built with `Transaction.query`. */
export function* select<R>(query: {
  compile(): { sql: string; parameters: readonly unknown[] };
}): Operation<R[]> {
  const { sql, parameters } = query.compile();
  return yield* rows<R>(sql, ...(parameters as Value[]));
}

/** `?, ?, ?` for a list of values. */
export function placeholders(values: readonly unknown[]): string {
  return values.map(() => '?').join(', ');
}
