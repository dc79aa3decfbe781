import type { Operation, Transaction } from './operation.ts';

/** Runs operations: each whole or not at all, durable before its promise resolves. */
export interface Driver {
  /**
   * Runs a change; one that throws undoes only itself. Changes that wait may share one commit. Those with the same `key`
   * take effect in the order in which they were asked for, and when one of them fails, so do those that wait behind it. Those
   * with different subjects under one key touch nothing in common, and so may take turns.
   * @throws CommitUnknownError, DatabaseUnavailableError
   */
  write<T>(operation: (transaction: Transaction) => Operation<T>, key?: string, subject?: string): Promise<T>;
  /** Runs a reading operation against what is committed. @throws DatabaseUnavailableError */
  read<T>(operation: (transaction: Transaction) => Operation<T>): Promise<T>;
  /** The database's clock as it was heard last, carried on; for when to look, never for a decision. */
  now(): number;
  /** Tells how long each commit took from now on, in ms, with the changes that shared it. */
  onCommit(listener: (durationMs: number) => void): void;
  /**
   * Tells from now on when the database has gone on from an older state than it had been in. All that was asked for before
   * has failed by then, with DatabaseUnavailableError, and `beginRecovery` is committed.
   */
  onRecovery(listener: () => void): void;
  /** Copies the database, consistently, while it is in use. */
  backup(file: string): Promise<void>;
  /** Finishes what waits, and takes nothing more. */
  close(): Promise<void>;
}

/** The database cannot be reached, or cannot take this now. Nothing was changed. */
export class DatabaseUnavailableError extends Error {
  constructor(cause: unknown) {
    super(`the database cannot take this now: ${(cause as Error).message}`, { cause });
    this.name = 'DatabaseUnavailableError';
  }
}

/**
 * The connection was lost between a commit and its answer: the change is there whole, or not at all, and nobody here knows.
 * Who asked for it has to look again; an agent is not answered, so that it reports again.
 */
export class CommitUnknownError extends Error {
  constructor(cause: unknown) {
    super(`nobody knows whether the change was committed: ${(cause as Error).message}`, { cause });
    this.name = 'CommitUnknownError';
  }
}

/** The database is there, and is not believed to be the one that was meant. */
export class DatabaseUntrustedError extends DatabaseUnavailableError {
  constructor(fault: string, cause: unknown) {
    super(cause);
    this.name = 'DatabaseUntrustedError';
    this.message = fault;
  }
}
