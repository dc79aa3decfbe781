import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely';
import { migrate } from '../../packages/server/src/store/migrate.ts';
import {
  type Dialect,
  NO_LOCKS,
  type Operation,
  type Result,
  type Row,
  type Statement,
  type Transaction,
  type Value,
} from '../../packages/server/src/store/operation.ts';
import { rowReader } from '../../packages/server/src/store/sqliteRows.ts';
import type { Tables } from '../../packages/server/src/store/tables.ts';
import type { Kernel } from './kernel.ts';
import { drawLatency, type Latency, type Seeded } from './random.ts';

/** Operations go the ways that they have for a database that several servers share; the texts are those of both. */
const DIALECT: Dialect = { name: 'postgres', ...NO_LOCKS };
const OWN_DIALECT: Dialect = { name: 'sqlite', ...NO_LOCKS };

const QUERY = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
});

/** Here only one writes at a time. */
const LOCKS = / for (update|share|key share|no key update)( of "\w+"(, "\w+")*)?( skip locked)?/g;
const RECORDS = /json_to_recordset\(cast\(\? as json\)\) as ("\w+") \(([^)]*)\)/g;

/** A text as SQLite understands it; what is written for PostgreSQL alone is little. */
function textOf(text: string): string {
  return text
    .replace(LOCKS, '')
    .replace(RECORDS, (_, name: string, columns: string) => {
      const named = columns.split(',').map((column) => /"(\w+)"/.exec(column)?.[1]);
      const selected = named.map((column) => `value ->> '$.${column}' as "${column}"`);
      return `(select ${selected.join(', ')} from json_each(?)) as ${name}`;
    })
    .replaceAll(/(= |limit )\?/g, '$1+?');
}

/** Only PostgreSQL has sequences; nobody watches events here. */
const SET_SEQUENCE = 'select setval';

/** Kept by the database itself, so that no code of the server can pass by: each state that a run or a job has had. */
const WITNESSES = [
  'create table "simRuns" ("seq" integer primary key autoincrement, "runId" text, "state" text, "at" integer)',
  `create trigger "simRunMade" after insert on "runs" begin
     insert into "simRuns" ("runId", "state", "at") values (new."id", new."state", committed()); end`,
  `create trigger "simRunMoved" after update on "runs" when new."state" <> old."state" begin
     insert into "simRuns" ("runId", "state", "at") values (new."id", new."state", committed()); end`,
  // A planned run that an edit takes back was never anybody's.
  `create trigger "simRunGone" after delete on "runs" begin
     insert into "simRuns" ("runId", "state", "at") values (old."id", 'gone from ' || old."state", committed()); end`,
  `create table "simJobs" ("seq" integer primary key autoincrement, "jobId" text, "revision" integer, "paused" integer,
     "deleted" integer, "firedThrough" integer, "at" integer)`,
  `create trigger "simJobMade" after insert on "jobs" begin
     insert into "simJobs" ("jobId", "revision", "paused", "deleted", "firedThrough", "at")
       values (new."id", new."revision", 0, 0, 0, begun()); end`,
  `create trigger "simJobChanged" after update on "jobs"
     when new."revision" <> old."revision" or new."pausedAt" is not old."pausedAt" begin
     insert into "simJobs" ("jobId", "revision", "paused", "deleted", "firedThrough", "at")
       values (new."id", new."revision", new."pausedAt" is not null, new."deletedAt" is not null, old."firedThrough", begun()); end`,
];

/** The clock as a transaction read it when it began, and as it was at the commit. */
interface Instants {
  begun: number;
  committed: number;
}

interface Prepared {
  statement: StatementSync;
  read: (values: readonly Value[]) => Row[];
  /** The tables that it names. */
  tables: Table[];
  /** What it read last, by its values, while nothing has changed since in its tables. */
  known: Map<string, Row[]>;
  knownAt: number;
}

interface Table {
  /** Grows with each change. */
  version: number;
}

const READ_KEPT = 16;
/** How a text names a table that it reads or changes. */
const NAMED = /\b(?:from|join|into|update) "(\w+)"/g;

class Copy {
  readonly database = new DatabaseSync(':memory:');
  readonly #prepared = new Map<string, Prepared>();
  #instants: Instants = { begun: 0, committed: 0 };
  readonly #tables = new Map<string, Table>();
  #isChanging = false;

  constructor() {
    this.database.function('begun', () => this.#instants.begun);
    this.database.function('committed', () => this.#instants.committed);
  }

  /** What is changed from here on is one transaction, until `commit` or `rollback`. */
  begin(instants: Instants): void {
    this.#instants = instants;
  }

  run({ text, values, reads }: Statement): Result {
    if (text.startsWith(SET_SEQUENCE)) return { rows: [], changes: 0 };
    const prepared = this.#prepare(text);
    if (reads) return { rows: this.#read(prepared, values), changes: 0 };
    if (!this.#isChanging) this.execute('begin');
    this.#isChanging = true;
    for (const table of prepared.tables) table.version += 1;
    return { rows: [], changes: Number(prepared.statement.run(...(values as Value[])).changes) };
  }

  commit(): void {
    if (this.#isChanging) this.execute('commit');
    this.#isChanging = false;
  }

  rollback(): void {
    if (this.#isChanging) this.execute('rollback');
    this.#isChanging = false;
    for (const table of this.#tables.values()) table.version += 1;
  }

  execute(text: string): void {
    this.#prepare(text).statement.run();
  }

  /** Most looks find what the look before found, which is nothing or one row; that is not asked for again. */
  #read(prepared: Prepared, values: readonly Value[]): Row[] {
    const { read, tables, known } = prepared;
    if (values.length > 2) return read(values);
    let version = 0;
    for (const table of tables) version += table.version;
    if (prepared.knownAt !== version || known.size > READ_KEPT) known.clear();
    prepared.knownAt = version;
    const key = values.join('\n');
    const found = known.get(key);
    if (found) return found;
    const rows = read(values);
    if (rows.length > 1) return rows;
    for (const row of rows) Object.freeze(row);
    known.set(key, rows);
    return rows;
  }

  #prepare(text: string): Prepared {
    let prepared = this.#prepared.get(text);
    if (!prepared) {
      // As the driver of SQLite does it, so that queries are not planned anew each time.
      const statement = this.database.prepare(textOf(text));
      const tables = this.#tablesOf(text);
      prepared = { statement, read: rowReader(statement), tables, known: new Map(), knownAt: -1 };
      if (this.#prepared.size > 500) this.#prepared.clear();
      this.#prepared.set(text, prepared);
    }
    return prepared;
  }

  #tablesOf(text: string): Table[] {
    const names = new Set([...text.matchAll(NAMED)].map(([, name]) => witnessed(name as string)));
    return [...names].map((name) => {
      const table = this.#tables.get(name) ?? { version: 0 };
      this.#tables.set(name, table);
      return table;
    });
  }
}

/** What the witnesses write, they write when another table changes. */
function witnessed(table: string): string {
  return { simRuns: 'runs', simJobs: 'jobs' }[table] ?? table;
}

/** The connection ended before the database said what became of a request. */
export class LinkLost extends Error {}

export interface DatabaseFaults {
  /** Shares of commits that fail before they take effect, and whose answer is lost. */
  failShare: number;
  loseAnswerShare: number;
}

/**
 * The one database of all replicas: real SQL, in memory. Transactions take effect one after the other, at the instant of
 * their commit, with the clock that they read when they began. A standby follows some time behind, if there is one.
 */
export class SimDatabase {
  readonly faults: DatabaseFaults = { failShare: 0, loseAnswerShare: 0 };
  latency: Latency;
  /** Grows with each failover, as PostgreSQL's timeline does. */
  timeline = 1;
  commits = 0;
  readonly #kernel: Kernel;
  readonly #random: Seeded;
  readonly #epochMs: number;
  #primary = new Copy();
  #standby: Copy | null = null;
  /** What the standby does not have yet. */
  #ahead: { at: number; instants: Instants; statements: Statement[] }[] = [];
  readonly #lagMs: number;
  #away = false;

  constructor(
    kernel: Kernel,
    random: Seeded,
    options: { epochMs: number; latency: Latency; standbyLagMs: number | null },
  ) {
    this.#kernel = kernel;
    this.#random = random;
    this.#epochMs = options.epochMs;
    this.latency = options.latency;
    this.#lagMs = options.standbyLagMs ?? 0;
    if (options.standbyLagMs !== null) this.#standby = new Copy();
    for (const copy of [this.#primary, this.#standby]) {
      if (!copy) continue;
      drive(migrate({ ...this.#transaction(this.clock()), dialect: OWN_DIALECT }), (statement) =>
        copy.run(statement),
      );
      copy.commit();
      for (const text of WITNESSES) copy.execute(text);
    }
  }

  /** Its clock: epoch ms. */
  clock(): number {
    return this.#epochMs + Math.floor(this.#kernel.now);
  }

  get away(): boolean {
    return this.#away;
  }

  draw(): number {
    return drawLatency(this.#random, this.latency);
  }

  /** Takes no connection and loses those that are there. */
  stop(): void {
    this.#away = true;
    this.#kernel.trace('database', 'goes away');
  }

  start(): void {
    this.#away = false;
    this.#kernel.trace('database', 'is back');
  }

  /** The standby takes over, without what it has not got yet. @returns how many commits are lost */
  failOver(): number {
    if (!this.#standby) return 0;
    this.#catchUp(this.#kernel.now - this.#lagMs);
    const lost = this.#ahead.length;
    this.#primary.database.close();
    this.#primary = this.#standby;
    this.#standby = null;
    this.#ahead = [];
    this.timeline += 1;
    this.#kernel.trace('database', `fails over and loses ${lost} commits`);
    return lost;
  }

  /** Runs operations as one transaction, now. @throws LinkLost, or what an operation throws */
  commit(operations: ((transaction: Transaction) => Operation<unknown>)[], now: number): unknown[] {
    if (this.#away || this.#random.chance(this.faults.failShare)) throw new LinkLost('cut before the commit');
    const statements: Statement[] = [];
    const transaction = this.#transaction(now);
    const instants = { begun: now, committed: this.clock() };
    this.#primary.begin(instants);
    let values: unknown[];
    try {
      values = operations.map((operation) =>
        drive(operation(transaction), (statement) => {
          if (this.#standby && !statement.reads) statements.push(statement);
          return this.#primary.run(statement);
        }),
      );
    } catch (error) {
      this.#primary.rollback();
      throw error;
    }
    this.#primary.commit();
    this.commits += 1;
    if (this.#standby) {
      this.#ahead.push({ at: this.#kernel.now, instants, statements });
      this.#catchUp(this.#kernel.now - this.#lagMs);
    }
    return values;
  }

  /** Whether the answer to the commit that was just made is lost. */
  losesAnswer(): boolean {
    return this.#random.chance(this.faults.loseAnswerShare);
  }

  read<T>(operation: (transaction: Transaction) => Operation<T>): T {
    if (this.#away) throw new LinkLost('the database is away');
    return drive(operation(this.#transaction(this.clock())), (statement) => this.#primary.run(statement));
  }

  /** Looks from outside: no time, no faults. */
  inspect<R>(text: string, ...values: Value[]): R[] {
    return this.#primary.run({ text, values, reads: true }).rows as R[];
  }

  close(): void {
    this.#primary.database.close();
    this.#standby?.database.close();
  }

  #transaction(now: number): Transaction {
    return { now, query: QUERY, dialect: DIALECT };
  }

  #catchUp(until: number): void {
    const standby = this.#standby as Copy;
    let behind = 0;
    for (const { at, instants, statements } of this.#ahead) {
      if (at > until) break;
      standby.begin(instants);
      for (const statement of statements) standby.run(statement);
      standby.commit();
      behind += 1;
    }
    this.#ahead.splice(0, behind);
  }
}

function drive<T>(body: Operation<T>, run: (statement: Statement) => Result): T {
  let step = body.next();
  while (!step.done) step = body.next(answer(step.value, run));
  return step.value;
}

function answer(asked: Statement, run: (statement: Statement) => Result): Result {
  if (!asked.parts) return run(asked);
  return { rows: [], changes: 0, each: asked.parts.map(({ statement }) => run(statement)) };
}
