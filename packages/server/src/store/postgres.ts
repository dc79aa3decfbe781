import { DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely';
import pg from 'pg';
import type { Clock } from '../clock.ts';
import { CommitUnknownError, DatabaseUnavailableError, type Driver } from './driver.ts';
import { carryOut, Lanes, type Waiting } from './lanes.ts';
import { migrate, pendingMigrations } from './migrate.ts';
import { type Dialect, NO_LOCKS, type Operation, type Transaction } from './operation.ts';
import { Pipeline } from './pipeline.ts';
import {
  ConnectionLost,
  clientConfig,
  connectFault,
  isAway,
  isCollision,
  isShort,
  type PostgresAddress,
} from './postgresConnection.ts';
import { askIdentity, refusePooler, TIMELINE, TimelineChanged } from './postgresIdentity.ts';
import { readColumnTypes, Wire } from './postgresWire.ts';
import { type DatabaseIdentity, meetDatabase } from './recovery.ts';
import type { Tables } from './tables.ts';

/** Waits between tries while the database is away; then the operation fails. */
const AWAY_MS = [20, 50, 100, 200, 400, 800, 1_500, 2_000];
/** Tries of an operation that keeps colliding with those of others. */
const COLLISIONS_MAX = 10;

const WRITES: Dialect = {
  name: 'postgres',
  forUpdate: 'for update',
  skipLocked: 'for update skip locked',
};
const READS: Dialect = { name: 'postgres', ...NO_LOCKS };

/**
 * A process that stops in the middle of a transaction, or a network that does, must not hold others up: the database ends
 * such a transaction, and nobody waits for a lock for ever.
 */
const BEGIN_WRITE =
  "begin isolation level read committed read write; set local idle_in_transaction_session_timeout = '10s'; set local lock_timeout = '15s'; " +
  // Plans are kept, also those that were made while a table was empty (ADR 9).
  'set local enable_seqscan = off';
const BEGIN_READ = 'begin isolation level repeatable read read only';
const CLOCK = 'select floor(extract(epoch from clock_timestamp()) * 1000)::int8 as "now"';

const WENT_BACK = 'the database went on from an older state than this was asked for in';

/**
 * Opens a database, whose schema is made when it is not there.
 * `now` stands in for the database's clock, in tests; without `migrated` the schema is left as it is.
 * @throws SchemaTooNewError, DatabaseUnavailableError
 */
export async function openPostgres(
  address: PostgresAddress,
  clock: Pick<Clock, 'after'>,
  options: { now?: () => number; migrated?: boolean } = {},
): Promise<Driver> {
  const driver = new PostgresDriver(address, clock, options.now);
  try {
    await driver.refuseHiddenPooler();
    await driver.readSettings();
    if (options.migrated === false) return driver;
    if ((await driver.read(pendingMigrations)).length > 0) await driver.write(migrate);
    await driver.write(forgetOtherClusters);
    await driver.readColumns();
    await driver.meet();
  } catch (error) {
    await driver.close();
    throw error;
  }
  return driver;
}

/** Events that a dump brought from another cluster stand in the order of transactions that this one has not had yet. */
function* forgetOtherClusters(): Operation<void> {
  yield {
    text: 'delete from "events" where "txid" >= pg_snapshot_xmax(pg_current_snapshot())',
    values: [],
    reads: false,
  };
}

class PostgresDriver implements Driver {
  readonly #address: PostgresAddress;
  readonly #pool: pg.Pool;
  readonly #clock: Pick<Clock, 'after'>;
  readonly #now: (() => number) | undefined;
  readonly #wire: Wire;
  readonly #lanes = new Lanes();
  readonly #writers: number;
  readonly #query = new Kysely<Tables>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  });
  #beginWrite = `${BEGIN_WRITE}; ${CLOCK}`;
  /** What the database's clock said last, and when by this process's own. */
  #heard = { now: 0, at: 0 };
  #writing = 0;
  #reading = 0;
  #closed = false;
  #whenIdle: () => void = () => {};
  #onCommit: (durationMs: number) => void = () => {};
  #onRecovery: () => void = () => {};
  /** The database that was met; null: it has not been, or does not say which it is. */
  #identity: DatabaseIdentity | null = null;
  #meeting: Promise<void> | null = null;
  /** How often the database has gone on from an older state. */
  #losses = 0;

  constructor(address: PostgresAddress, clock: Pick<Clock, 'after'>, now?: () => number) {
    this.#address = address;
    this.#clock = clock;
    this.#now = now;
    this.#wire = new Wire({ named: !address.pooler });
    // Readers must always find a connection.
    this.#writers = Math.max(1, Math.ceil(address.poolSize / 2));
    this.#pool = new pg.Pool({ ...clientConfig(address), max: address.poolSize });
    // What a lost connection was doing fails by itself.
    this.#pool.on('connect', (client) => client.on('error', () => {}));
    this.#pool.on('error', () => {});
  }

  write<T>(
    operation: (transaction: Transaction) => Operation<T>,
    key?: string,
    subject?: string,
  ): Promise<T> {
    if (this.#closed) return Promise.reject(new Error('the store is closed'));
    const losses = this.#losses;
    const body = (transaction: Transaction) => {
      // It was asked for by someone who had read what is lost.
      if (losses !== this.#losses) throw new DatabaseUnavailableError(new Error(WENT_BACK));
      return operation(transaction);
    };
    return new Promise<T>((resolve, reject) => {
      this.#lanes.add(
        { operation: body, resolve: resolve as (value: unknown) => void, reject },
        key,
        subject,
      );
      this.#startWriters();
    });
  }

  async read<T>(operation: (transaction: Transaction) => Operation<T>): Promise<T> {
    if (this.#closed) throw new Error('the store is closed');
    this.#reading += 1;
    try {
      return await this.#whileAway(() => this.#readOnce(operation));
    } finally {
      this.#reading -= 1;
      this.#tellIdle();
    }
  }

  now(): number {
    return this.#now?.() ?? Math.floor(this.#heard.now + performance.now() - this.#heard.at);
  }

  onCommit(listener: (durationMs: number) => void): void {
    this.#onCommit = listener;
  }

  onRecovery(listener: () => void): void {
    this.#onRecovery = listener;
  }

  async backup(): Promise<void> {
    throw new Error('the data is in PostgreSQL: use pg_dump');
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#isIdle()) await new Promise<void>((resolve) => (this.#whenIdle = resolve));
    await this.#pool.end();
  }

  /** One that is not known of would carry out statements of others, which have the same names. */
  async refuseHiddenPooler(): Promise<void> {
    if (!this.#address.pooler) await this.#whileAway(() => this.#refusePoolerOnce());
  }

  async #refusePoolerOnce(): Promise<void> {
    const client = await this.#connect();
    try {
      await refusePooler(this.#wire, client);
      client.release();
    } catch (error) {
      await this.#giveBack(client, error);
      throw error;
    }
  }

  /** Commits are durable also where the database's own setting says that they need not be. */
  async readSettings(): Promise<void> {
    const [found] = await this.read(function* () {
      const { rows } = yield { text: 'show synchronous_commit', values: [], reads: true };
      return rows as { synchronous_commit: string }[];
    });
    if (found?.synchronous_commit === 'off')
      this.#beginWrite = `${BEGIN_WRITE}; set local synchronous_commit = on; ${CLOCK}`;
  }

  /** What the lists of statements that go as one are made of. */
  async readColumns(): Promise<void> {
    this.#wire.learn(await this.read(readColumnTypes));
  }

  /** Finds out which database this is. One that lacks what this or another process has seen begins to recover before anything else. */
  meet(): Promise<void> {
    this.#meeting ??= this.#whileAway(() => this.#meetOnce()).finally(() => {
      this.#meeting = null;
    });
    return this.#meeting;
  }

  async #meetOnce(): Promise<void> {
    const client = await this.#connect();
    try {
      const now = await this.#begin(client, `${BEGIN_WRITE}; set local synchronous_commit = on; ${CLOCK}`);
      const identity = await askIdentity(this.#wire, client);
      if (identity !== null) {
        const known = this.#identity;
        if (known !== null && known.systemId === identity.systemId && known.timeline > identity.timeline)
          throw new ConnectionLost(new Error('a database answers that another one has replaced'));
        const transaction = { now, query: this.#query, dialect: WRITES };
        const pipeline = new Pipeline();
        await this.#wire.run(client, meetDatabase(transaction, identity), pipeline);
        await this.#wire.send(client, pipeline.take(), 'commit');
        this.#identity = identity;
        if (known === null) this.#beginWrite += `, ${TIMELINE} as "timeline"`;
        else if (known.systemId !== identity.systemId || known.timeline !== identity.timeline) {
          this.#losses += 1;
          this.#onRecovery();
        }
      } else await this.#wire.ask(client, 'rollback');
      client.release();
    } catch (error) {
      await this.#giveBack(client, error);
      throw error;
    }
  }

  #isIdle(): boolean {
    return this.#writing === 0 && this.#reading === 0 && this.#lanes.isEmpty();
  }

  #tellIdle(): void {
    if (this.#isIdle()) this.#whenIdle();
  }

  #startWriters(): void {
    while (this.#writing < this.#writers) {
      const batch = this.#lanes.take(this.#writers - this.#writing);
      if (batch === null) return;
      this.#writing += 1;
      void this.#writeBatch(batch).finally(() => {
        this.#writing -= 1;
        this.#lanes.done(batch);
        this.#startWriters();
        this.#tellIdle();
      });
    }
  }

  /** Changes that wait share a commit; when one of them fails, each gets its own. */
  async #writeBatch(batch: Waiting[]): Promise<void> {
    try {
      const values = await this.#whileAway(() => this.#writeOnce(batch));
      for (const [index, { resolve }] of batch.entries()) resolve(values[index]);
    } catch (error) {
      const told = error instanceof CommitUnknownError || error instanceof DatabaseUnavailableError;
      if (told || (batch.length === 1 && !isCollision(error))) {
        for (const waiting of batch) this.#lanes.fail(waiting, error);
        return;
      }
      for (const waiting of batch) if (!waiting.failed) await this.#writeAlone(waiting);
    }
  }

  async #writeAlone(waiting: Waiting): Promise<void> {
    for (let collisions = 1; ; collisions += 1) {
      try {
        const [value] = await this.#whileAway(() => this.#writeOnce([waiting]));
        waiting.resolve(value);
        return;
      } catch (error) {
        if (isCollision(error) && collisions < COLLISIONS_MAX) continue;
        this.#lanes.fail(waiting, error);
        return;
      }
    }
  }

  /** Operations depend on nothing but their input and the database, so that what was not committed can be done again. */
  async #whileAway<T>(attempt: () => Promise<T>): Promise<T> {
    for (const waitMs of AWAY_MS) {
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof ConnectionLost) && !isAway(error)) throw error;
        if (this.#closed) throw new DatabaseUnavailableError(error);
        await new Promise<void>((resolve) => this.#clock.after(waitMs, resolve));
      }
    }
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof ConnectionLost || isAway(error) || isShort(error))
        throw new DatabaseUnavailableError(error);
      throw error;
    }
  }

  async #writeOnce(batch: Waiting[]): Promise<unknown[]> {
    const client = await this.#connect();
    const began = performance.now();
    let committing = false;
    try {
      const now = await this.#begin(client, this.#beginWrite);
      const transaction = { now, query: this.#query, dialect: WRITES };
      const pipeline = new Pipeline();
      const values = await this.#wire.run(client, carryOut(transaction, batch), pipeline);
      committing = true;
      await this.#wire.send(client, pipeline.take(), 'commit');
      client.release();
      this.#onCommit(performance.now() - began);
      return values;
    } catch (error) {
      await this.#giveBack(client, error);
      if (committing && error instanceof ConnectionLost) throw new CommitUnknownError(error);
      if (error instanceof TimelineChanged) {
        await this.meet();
        throw new DatabaseUnavailableError(error);
      }
      if (isShort(error)) throw new DatabaseUnavailableError(error);
      throw error;
    }
  }

  async #readOnce<T>(operation: (transaction: Transaction) => Operation<T>): Promise<T> {
    const client = await this.#connect();
    try {
      const now = await this.#begin(client, `${BEGIN_READ}; ${CLOCK}`);
      const transaction = { now, query: this.#query, dialect: READS };
      const value = await this.#wire.run(client, operation(transaction), new Pipeline());
      // Nothing depends on the end of a transaction that has only read.
      void this.#wire.ask(client, 'commit').then(
        () => client.release(),
        () => client.release(true),
      );
      return value;
    } catch (error) {
      await this.#giveBack(client, error);
      throw error;
    }
  }

  async #connect(): Promise<pg.PoolClient> {
    try {
      return await this.#pool.connect();
    } catch (error) {
      throw connectFault(error, this.#address);
    }
  }

  async #giveBack(client: pg.PoolClient, error: unknown): Promise<void> {
    if (error instanceof ConnectionLost) {
      client.release(true);
      return;
    }
    try {
      await this.#wire.ask(client, 'rollback');
      client.release();
    } catch {
      client.release(true);
    }
  }

  async #begin(client: pg.PoolClient, text: string): Promise<number> {
    const answers = (await this.#wire.ask(client, text)) as unknown as pg.QueryResult<{
      now: number;
      timeline?: number;
    }>[];
    const { now = 0, timeline } = answers.at(-1)?.rows[0] ?? {};
    if (timeline !== undefined && timeline !== this.#identity?.timeline)
      throw new TimelineChanged(`the database is on timeline ${timeline}`);
    this.#heard = { now, at: performance.now() };
    return this.#now?.() ?? now;
  }
}
