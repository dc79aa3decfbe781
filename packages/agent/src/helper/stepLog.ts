import { closeSync, fdatasync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs';
import { type EndedStep, encodeStepRecord, type StepRecord } from '../stepsFile.ts';

/** The steps' file of one attempt, as far as writing goes. */
export interface StepFile {
  /** @throws on a disk error; a part may have been written then */
  write(data: Buffer, position: number): void;
  truncate(length: number): void;
  /** All that was written is on the disk when this resolves. */
  sync(): Promise<void>;
  close(): void;
  /** Takes it away. */
  remove(): void;
}

/** Writes the steps' file of one attempt. */
export class StepLog {
  readonly #file: StepFile;
  #size: number;

  private constructor(file: StepFile, size: number) {
    this.#file = file;
    this.#size = size;
  }

  /** Begins a new file with its first records. @throws when the disk is full */
  static create(file: StepFile, records: StepRecord[]): StepLog {
    const log = new StepLog(file, 0);
    try {
      for (const record of records) log.append(record);
    } catch (error) {
      log.discard();
      throw error;
    }
    return log;
  }

  /** Goes on where whole records end. */
  static resume(file: StepFile, size: number): StepLog {
    return new StepLog(file, size);
  }

  /** @throws on a disk error; nothing was added then */
  append(record: StepRecord): void {
    const data = encodeStepRecord(record);
    try {
      this.#file.write(data, this.#size);
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
    return this.#file.sync();
  }

  close(): void {
    this.#file.close();
  }

  /** Nothing was begun: takes the file away. */
  discard(): void {
    this.#file.close();
    this.#file.remove();
  }

  /** A part of a record would hide what is added after it. */
  #cut(): void {
    try {
      this.#file.truncate(this.#size);
    } catch {
      // The next record is written over the part all the same.
    }
  }
}

/** @throws when a new one exists, or one that is to be added to does not */
export function openStepFile(path: string, opening: 'new' | 'resume'): StepFile {
  const file = openSync(path, opening === 'new' ? 'wx' : 'r+', 0o600);
  return {
    write(data, position) {
      let done = 0;
      while (done < data.length) done += writeSync(file, data, done, data.length - done, position + done);
    },
    truncate: (length) => ftruncateSync(file, length),
    sync: () =>
      new Promise((resolve, reject) => fdatasync(file, (error) => (error ? reject(error) : resolve()))),
    close: () => closeSync(file),
    remove: () => rmSync(path, { force: true }),
  };
}
