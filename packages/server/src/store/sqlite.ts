import { backup, DatabaseSync, type StatementSync } from 'node:sqlite';
import { DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely';
import type { Clock } from '../clock.ts';
import type { Driver } from './driver.ts';
import { migrate, pendingMigrations } from './migrate.ts';
import {
  NO_LOCKS,
  type Operation,
  type Result,
  type Row,
  type Statement,
  type Transaction,
  type Value,
} from './operation.ts';
import { rowReader } from './sqliteRows.ts';
import type { Tables } from './tables.ts';

interface Waiting {
  key: string | undefined;
  operation: (transaction: Transaction) => Operation<unknown>;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** More operations than this wait for the next commit, so that one commit cannot hold the event loop for long. */
const OPERATIONS_PER_COMMIT = 256;

/**
 * Opens the database file, which is made with its schema when it is not there.
 * Commits are durable (`synchronous=FULL`). Without `migrated` the schema is left as it is.
 * @throws SchemaTooNewError when a newer version of Rota has migrated it
 */
export async function openSqlite(
  file: string,
  clock: Clock,
  options: { migrated?: boolean } = {},
): Promise<Driver> {
  const database = new DatabaseSync(file, { timeout: 5_000 });
  database.exec(
    'pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on; pragma temp_store = memory;',
  );
  database.exec('pragma cache_size = -65536; pragma wal_autocheckpoint = 4000;');
  const driver = new SqliteDriver(database, clock);
  if (options.migrated === false) return driver;
  try {
    if ((await driver.read(pendingMigrations)).length > 0) await driver.write(migrate);
  } catch (error) {
    await driver.close();
    throw error;
  }
  return driver;
}

const DIALECT = { name: 'sqlite', ...NO_LOCKS } as const;

interface Prepared {
  readonly statement: StatementSync;
  readonly read: (values: readonly Value[]) => Row[];
}

class SqliteDriver implements Driver {
  readonly #database: DatabaseSync;
  readonly #clock: Clock;
  readonly #statements = new Map<string, Prepared>();
  readonly #query = new Kysely<Tables>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  });
  #waiting: Waiting[] = [];
  #scheduled = false;
  #closed = false;
  #onCommit: (durationMs: number) => void = () => {};

  constructor(database: DatabaseSync, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  write<T>(operation: (transaction: Transaction) => Operation<T>, key?: string): Promise<T> {
    if (this.#closed) return Promise.reject(new Error('the store is closed'));
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ key, operation, resolve: resolve as (value: unknown) => void, reject });
      this.#schedule();
    });
  }

  async read<T>(operation: (transaction: Transaction) => Operation<T>): Promise<T> {
    if (this.#closed) throw new Error('the store is closed');
    return this.#run(operation);
  }

  now(): number {
    return this.#clock.now();
  }

  onCommit(listener: (durationMs: number) => void): void {
    this.#onCommit = listener;
  }

  /** A file goes on from where it is: `rota server restore` begins the recovery itself. */
  onRecovery(): void {}

  async backup(file: string): Promise<void> {
    await backup(this.#database, file);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    while (this.#waiting.length > 0) this.#commit();
    this.#closed = true;
    this.#statements.clear();
    this.#database.close();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (!this.#closed) this.#commit();
      if (this.#waiting.length > 0) this.#schedule();
    });
  }

  /** Runs what waits, a savepoint each, and commits once; the answers follow the commit. */
  #commit(): void {
    const batch = this.#waiting.splice(0, OPERATIONS_PER_COMMIT);
    if (batch.length === 0) return;
    const answers: (() => void)[] = [];
    /** Why the change before failed, by key. */
    const failed = new Map<string | undefined, unknown>();
    const began = performance.now();
    try {
      this.#execute('begin immediate');
      for (const waiting of batch) {
        if (failed.has(waiting.key)) {
          answers.push(() => waiting.reject(failed.get(waiting.key)));
          continue;
        }
        this.#execute('savepoint one');
        try {
          const value = this.#run(waiting.operation);
          this.#execute('release one');
          answers.push(() => waiting.resolve(value));
        } catch (error) {
          this.#execute('rollback to one');
          this.#execute('release one');
          answers.push(() => waiting.reject(error));
          if (waiting.key !== undefined) failed.set(waiting.key, error);
        }
      }
      this.#execute('commit');
      this.#onCommit(performance.now() - began);
    } catch (error) {
      if (this.#database.isTransaction) this.#execute('rollback');
      for (const waiting of batch) {
        waiting.reject(error);
        if (waiting.key !== undefined) failed.set(waiting.key, error);
      }
      this.#failBehind(failed);
      return;
    }
    for (const answer of answers) answer();
    this.#failBehind(failed);
  }

  /** What was asked for behind a change that failed relies on it. */
  #failBehind(failed: Map<string | undefined, unknown>): void {
    if (failed.size === 0) return;
    const behind = this.#waiting.filter((waiting) => failed.has(waiting.key));
    this.#waiting = this.#waiting.filter((waiting) => !failed.has(waiting.key));
    for (const waiting of behind) waiting.reject(failed.get(waiting.key));
  }

  #run<T>(operation: (transaction: Transaction) => Operation<T>): T {
    const body = operation({ now: this.#clock.now(), query: this.#query, dialect: DIALECT });
    let step = body.next();
    while (!step.done) step = body.next(this.#statement(step.value));
    return step.value;
  }

  #statement({ text, values, reads }: Statement): Result {
    const { statement, read } = this.#prepare(text);
    if (reads) return { rows: read(values), changes: 0 };
    return { rows: [], changes: Number(statement.run(...(values as Value[])).changes) };
  }

  #execute(text: string): void {
    this.#prepare(text).statement.run();
  }

  #prepare(text: string): Prepared {
    let prepared = this.#statements.get(text);
    if (!prepared) {
      // A bare value in a limit, or beside a column that a partial index names, makes SQLite plan the query anew each time
      // it is bound: that takes fifty times as long as a lookup. A sign in front, which does nothing, keeps the plan.
      const statement = this.#database.prepare(text.replaceAll(/(= |limit )\?/g, '$1+?'));
      // Texts with lists of varying length must not fill the memory.
      if (this.#statements.size > 500) this.#statements.clear();
      prepared = { statement, read: rowReader(statement) };
      this.#statements.set(text, prepared);
    }
    return prepared;
  }
}
