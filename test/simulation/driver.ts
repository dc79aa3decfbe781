import {
  CommitUnknownError,
  DatabaseUnavailableError,
  type Driver,
} from '../../packages/server/src/store/driver.ts';
import { Lanes, type Waiting } from '../../packages/server/src/store/lanes.ts';
import type { Operation, Transaction } from '../../packages/server/src/store/operation.ts';
import { meetDatabase } from '../../packages/server/src/store/recovery.ts';
import { LinkLost, type SimDatabase } from './database.ts';
import type { Kernel, Process } from './kernel.ts';

/** As the driver of PostgreSQL has it. */
const AWAY_MS = [20, 50, 100, 200, 400, 800, 1_500, 2_000];
const WRITERS = 4;
/** The database ends a transaction whose client says nothing for so long. */
const IDLE_MS = 10_000;

/** One replica's way to the database: the same promises, batches, retries and errors as the driver of PostgreSQL. */
export class SimDriver implements Driver {
  readonly #kernel: Kernel;
  readonly #process: Process;
  readonly #database: SimDatabase;
  readonly #lanes = new Lanes();
  /** Names of what waits, for the trace. */
  readonly #names = new WeakMap<object, string>();
  #writing = 0;
  #heard: { now: number; at: number };
  /** How fast this process's own clock runs, as it bridges the time between two words of the database. */
  readonly #rate: number;
  readonly #subject: { replica: number };
  #closed = false;
  #timeline: number | null = null;
  #meeting: Promise<void> | null = null;
  /** How often the database has gone on from an older state. */
  #losses = 0;
  #onRecovery: () => void = () => {};
  /** The operation that the store is about to ask for. */
  asking = '';

  constructor(options: {
    kernel: Kernel;
    process: Process;
    database: SimDatabase;
    rate: number;
    replica: number;
  }) {
    this.#kernel = options.kernel;
    this.#process = options.process;
    this.#database = options.database;
    this.#rate = options.rate;
    this.#subject = { replica: options.replica };
    this.#heard = { now: options.database.clock(), at: options.kernel.now };
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
      if (losses !== this.#losses) throw new DatabaseUnavailableError(new Error('the database went back'));
      return operation(transaction);
    };
    this.#names.set(body, this.asking);
    return new Promise<T>((resolve, reject) => {
      const change = { operation: body, resolve: resolve as (value: unknown) => void, reject };
      this.#lanes.add(change, key, subject);
      this.#startWriters();
    });
  }

  async read<T>(operation: (transaction: Transaction) => Operation<T>): Promise<T> {
    if (this.#closed) throw new Error('the store is closed');
    const name = this.asking;
    return await this.#whileAway(() => this.#readOnce(name, operation));
  }

  /** Most of what happens is this: it takes as few promises as it can. */
  #readOnce<T>(name: string, operation: (transaction: Transaction) => Operation<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const answer = (settle: () => void) => {
        this.#process.after(this.#database.draw() / 4, `answer to ${name}`, () => {
          this.#hear(now);
          settle();
        });
      };
      this.#kernel.after(this.#database.draw(), null, `read ${name}`, () => {
        try {
          const value = this.#database.read(operation);
          answer(() => resolve(value));
        } catch (error) {
          answer(() => reject(error));
        }
      });
      const now = this.#database.clock();
    });
  }

  now(): number {
    return Math.floor(this.#heard.now + (this.#kernel.now - this.#heard.at) * this.#rate);
  }

  onCommit(): void {}

  onRecovery(listener: () => void): void {
    this.#onRecovery = listener;
  }

  /** Finds out which database this is; one that lacks what was seen before begins to recover before anything else. */
  meet(): Promise<void> {
    this.#meeting ??= this.#whileAway(() => this.#meetOnce()).finally(() => {
      this.#meeting = null;
    });
    return this.#meeting;
  }

  async #meetOnce(): Promise<void> {
    await this.#process.pause(this.#database.draw(), 'meets the database');
    const { timeline } = this.#database;
    this.#database.commit(
      [(transaction) => meetDatabase(transaction, { systemId: 'simulated', timeline })],
      this.#database.clock(),
    );
    const known = this.#timeline;
    this.#timeline = timeline;
    if (known === null || known === timeline) return;
    this.#losses += 1;
    this.#onRecovery();
  }

  backup(): Promise<void> {
    return Promise.reject(new Error('nothing to copy'));
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #hear(now: number): void {
    this.#heard = { now, at: this.#kernel.now };
  }

  #startWriters(): void {
    while (this.#writing < WRITERS) {
      const batch = this.#lanes.take(WRITERS - this.#writing);
      if (batch === null) return;
      this.#writing += 1;
      void this.#writeBatch(batch).finally(() => {
        this.#writing -= 1;
        this.#lanes.done(batch);
        this.#startWriters();
      });
    }
  }

  async #writeBatch(batch: Waiting[]): Promise<void> {
    try {
      const values = await this.#whileAway(() => this.#writeOnce(batch));
      for (const [index, { resolve }] of batch.entries()) resolve(values[index]);
    } catch (error) {
      const told = error instanceof CommitUnknownError || error instanceof DatabaseUnavailableError;
      if (told || batch.length === 1) {
        for (const waiting of batch) this.#lanes.fail(waiting, error);
        return;
      }
      for (const waiting of batch) if (!waiting.failed) await this.#writeAlone(waiting);
    }
  }

  async #writeAlone(waiting: Waiting): Promise<void> {
    try {
      const [value] = await this.#whileAway(() => this.#writeOnce([waiting]));
      waiting.resolve(value);
    } catch (error) {
      this.#lanes.fail(waiting, error);
    }
  }

  /** The clock is read when the transaction begins; the commit goes its way also when this process dies meanwhile. */
  async #writeOnce(batch: Waiting[]): Promise<unknown[]> {
    const names = batch.map(({ operation }) => this.#names.get(operation) ?? '').join('+');
    const begun = await this.#begin(names);
    if (begun.timeline !== this.#timeline) {
      await this.meet();
      throw new DatabaseUnavailableError(new Error('the database is on another timeline'));
    }
    await this.#process.pause(this.#database.draw() / 2, `commits ${names}`);
    if (this.#kernel.now - begun.at > IDLE_MS) throw new LinkLost('the transaction was idle for too long');
    for (const { operation } of batch) {
      const name = this.#names.get(operation) ?? '';
      if (name !== '') this.#kernel.trace(this.#process.name, `before ${name}`, this.#subject);
    }
    const outcome = Promise.withResolvers<unknown[]>();
    let isCommitted = false;
    this.#kernel.after(this.#database.draw() / 2, null, `commit of ${this.#process.name}`, () => {
      try {
        // The connection was to the one that has failed.
        if (this.#database.timeline !== begun.timeline) throw new LinkLost('another database has taken over');
        const values = this.#database.commit(
          batch.map(({ operation }) => operation),
          begun.now,
        );
        isCommitted = true;
        for (const { operation } of batch) {
          const name = this.#names.get(operation) ?? '';
          if (name !== '') this.#kernel.trace(this.#process.name, `after ${name}`, this.#subject);
        }
        if (this.#database.losesAnswer()) throw new LinkLost('the answer was lost');
        outcome.resolve(values);
      } catch (error) {
        outcome.reject(error);
      }
    });
    try {
      const values = await outcome.promise;
      await this.#process.pause(this.#database.draw() / 4, `answer to ${names}`);
      this.#hear(begun.now);
      return values;
    } catch (error) {
      await this.#process.pause(this.#database.draw(), `no answer to ${names}`);
      // Whether it was cut before or after, whoever waits for the answer cannot tell.
      if (error instanceof LinkLost && (isCommitted || this.#database.away))
        throw new CommitUnknownError(error);
      throw error;
    }
  }

  async #begin(names: string): Promise<{ now: number; at: number; timeline: number }> {
    await this.#process.pause(this.#database.draw() / 2, `begins ${names}`);
    const database = this.#database;
    if (database.away) throw new LinkLost('the database is away');
    return { now: database.clock(), at: this.#kernel.now, timeline: database.timeline };
  }

  async #whileAway<T>(attempt: () => Promise<T>): Promise<T> {
    for (const waitMs of AWAY_MS) {
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof LinkLost)) throw error;
        await this.#process.pause(waitMs, 'tries the database again');
      }
    }
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof LinkLost) throw new DatabaseUnavailableError(error);
      throw error;
    }
  }
}
