import { closeSync, fdatasync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs';
import { type EndedStep, encodeStepRecord, type StepRecord } from '../stepsFile.ts';

/** Writes the steps' file of one attempt. */
export class StepLog {
  readonly #path: string;
  readonly #file: number;
  #size: number;

  private constructor(path: string, file: number, size: number) {
    this.#path = path;
    this.#file = file;
    this.#size = size;
  }

  /** Makes the file with its first records. @throws when it exists, or the disk is full */
  static create(path: string, records: StepRecord[]): StepLog {
    const log = new StepLog(path, openSync(path, 'wx', 0o600), 0);
    try {
      for (const record of records) log.append(record);
    } catch (error) {
      log.discard();
      throw error;
    }
    return log;
  }

  /** Goes on where whole records end. */
  static resume(path: string, size: number): StepLog {
    return new StepLog(path, openSync(path, 'r+'), size);
  }

  /** @throws on a disk error; nothing was added then */
  append(record: StepRecord): void {
    const data = encodeStepRecord(record);
    try {
      let done = 0;
      while (done < data.length)
        done += writeSync(this.#file, data, done, data.length - done, this.#size + done);
      this.#size += data.length;
    } catch (error) {
      this.#cut();
      throw error;
    }
  }

  /** Adds what may be missing: false when the disk did not take it. */
  tryAppend(record: StepRecord): boolean {
    try {
      this.append(record);
      return true;
    } catch {
      return false;
    }
  }

  /** Adds how a step ended, if need be without what is long: false when the disk took neither. */
  tryAppendEnd(step: EndedStep): boolean {
    if (this.tryAppend({ kind: 'ended', ...step })) return true;
    const { result } = step;
    const error = result.error?.slice(0, 200) ?? null;
    const short = { ...result, error, http: null, result: null };
    return this.tryAppend({ kind: 'ended', ...step, result: short, kept: null });
  }

  /** All that was added is on the disk when this resolves. */
  sync(): Promise<void> {
    return new Promise((resolve, reject) =>
      fdatasync(this.#file, (error) => (error ? reject(error) : resolve())),
    );
  }

  close(): void {
    closeSync(this.#file);
  }

  /** Nothing was begun: takes the file away. */
  discard(): void {
    closeSync(this.#file);
    rmSync(this.#path, { force: true });
  }

  /** A part of a record would hide what is added after it. */
  #cut(): void {
    try {
      ftruncateSync(this.#file, this.#size);
    } catch {
      // The next record is written over the part all the same.
    }
  }
}
