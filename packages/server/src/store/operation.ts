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
  /** Nobody looks at what it did: the operation goes on at once, and fails later if it fails. */
  readonly unheard?: boolean;
  /** What it has in common with others, so that a database far away can do many of them as one (see `byKey.ts`). */
  readonly shape?: Shape;
  /** In place of a text: statements that are asked for at once. A driver where only one writes at a time never meets it. */
  readonly parts?: readonly Part[];
}

/** A statement that waits for none of those beside it, but for those of its chain that stand before it. */
export interface Part {
  readonly chain: number;
  readonly statement: Statement;
}

/** A statement about one row of a table, all but its values; of each there is one object. */
export interface Shape {
  readonly kind: 'get' | 'insert' | 'update' | 'raise';
  readonly table: string;
  /** Columns of the values: first those that are written, then those that say which row. */
  readonly written: readonly string[];
  readonly where: readonly string[];
  /** A condition that is the same for all; empty: none. */
  readonly only: string;
  /** What follows: a lock, or what is done about a conflict. */
  readonly end: string;
}

export interface Result {
  rows: Row[];
  /** Rows that a write changed. */
  changes: number;
  /** Of a statement with parts: the result of each. */
  each?: readonly Result[];
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

const UNHEARD: Result = { rows: [], changes: 0 };

/**
 * Carries out operations that touch different rows, so that a database far away is asked for what all of them want at once.
 * Where one only writes at a time nothing is gained by that: one after the other.
 */
export function* together<T>({ dialect }: Transaction, operations: readonly Operation<T>[]): Operation<T[]> {
  // What a single one carries out together stays apart.
  if (dialect.name === 'sqlite' || operations.length === 1) return yield* inTurn(operations);
  const values: T[] = [];
  let waiting = operations.map((body, chain) => ({ body, chain, result: UNHEARD }));
  while (waiting.length > 0) {
    const parts: Part[] = [];
    const asked: { body: Operation<T>; chain: number; from: number; to: number | null }[] = [];
    for (const { body, chain, result } of waiting) {
      let step = body.next(result);
      while (!step.done && step.value.unheard) {
        for (const statement of statementsOf(step.value)) parts.push({ chain, statement });
        step = body.next(UNHEARD);
      }
      if (step.done) {
        values[chain] = step.value;
        continue;
      }
      const from = parts.length;
      for (const statement of statementsOf(step.value)) parts.push({ chain, statement });
      asked.push({ body, chain, from, to: step.value.parts === undefined ? null : parts.length });
    }
    if (parts.length === 0) break;
    const unheard = asked.length === 0;
    const { each = [] } = yield { text: '', values: [], reads: false, unheard, parts };
    waiting = asked.map(({ body, chain, from, to }) => ({
      body,
      chain,
      result: to === null ? (each[from] ?? UNHEARD) : { ...UNHEARD, each: each.slice(from, to) },
    }));
  }
  return values;
}

/** The same for a few of different kinds. */
export function* all<Values extends unknown[]>(
  transaction: Transaction,
  ...operations: { [Index in keyof Values]: Operation<Values[Index]> }
): Operation<Values> {
  return (yield* together(transaction, operations as Operation<unknown>[])) as Values;
}

function statementsOf(statement: Statement): readonly Statement[] {
  return statement.parts?.map((part) => part.statement) ?? [statement];
}

/** Carries out operations one after the other. */
export function* inTurn<T>(operations: readonly Operation<T>[]): Operation<T[]> {
  const values: T[] = [];
  for (const operation of operations) values.push(yield* operation);
  return values;
}
