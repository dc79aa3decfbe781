import type { AttemptEnd } from '@rota/contract';
import type { AttemptOutput } from '../../packages/agent/src/helper/outputWriter.ts';
import type { StepFile } from '../../packages/agent/src/helper/stepLog.ts';
import { SPOOL_START, type Spool } from '../../packages/agent/src/spool.ts';
import type { BeginRecord, OutputRecord, ProcessRecord } from '../../packages/agent/src/spoolFile.ts';
import { joinEnd, readStepTraces } from '../../packages/agent/src/stepsFile.ts';
import { DiskFull, type SimDisk } from './disk.ts';
import type { Process } from './kernel.ts';
import type { Seeded } from './random.ts';

interface SpoolEntry {
  /** The file of its steps: its bytes, and how many of them are durable. */
  steps: { bytes: Buffer; synced: number } | null;
  begin: BeginRecord | null;
  process: ProcessRecord | null;
  output: OutputRecord[];
  end: AttemptEnd | null;
  /** All of it survives a loss of power. */
  isDurable: boolean;
}

/** What the attempts of one machine leave on its disk; the helper writes it, and the session reads it. */
export class SimSpool {
  #entries = new Map<string, SpoolEntry>();
  readonly #disk: SimDisk;
  readonly #random: Seeded;

  constructor(disk: SimDisk, random: Seeded) {
    this.#disk = disk;
    this.#random = random;
  }

  /** The attempt's file, as its helper writes it. @throws when a new one exists, or the disk is full */
  openOutput(
    helper: Process,
    begin: BeginRecord,
    bootMs: () => number,
    onWritten: () => void,
    opening: 'new' | 'resume',
  ): AttemptOutput {
    const { attemptId } = begin;
    if (opening === 'new') {
      if (this.#disk.isFull) throw new DiskFull('no space left');
      const known = this.#entries.get(attemptId);
      if (known?.begin || known?.end) throw new Error('the spool file exists');
      this.#of(attemptId).begin = begin;
    }
    const entry = this.#of(attemptId);
    let position = this.outputBytes(attemptId);
    return {
      get position() {
        return position;
      },
      writeProcess: (process) => {
        // It may be killed before.
        helper.after(0.02, 'writes down what it has executed', () => {
          if (!this.#disk.isFull) entry.process = process;
        });
      },
      write: (stream, data) => {
        const atMs = Math.max(0, Math.round(bootMs() - begin.startedBootMs));
        if (!this.#disk.isFull) entry.output.push({ stream, position, atMs, data });
        position += data.length;
        onWritten();
      },
      flush: () => {},
      // The end has its place since the beginning: a full disk takes it.
      writeEnd: (end) => {
        entry.end = end;
      },
      sync: () =>
        this.#disk.act(
          helper,
          'sync an end',
          () => {
            entry.isDurable = true;
          },
          3,
        ),
      close: () => {},
    };
  }

  /** The file of an attempt's steps, as its helper writes it. @throws when a new one exists, or the disk is full */
  openSteps(
    helper: Process,
    attemptId: string,
    opening: 'new' | 'resume',
    synced: (what: 'before' | 'after') => void,
  ): StepFile {
    const known = this.#entries.get(attemptId)?.steps;
    if (opening === 'resume' && !known) throw new Error('no file of steps');
    if (opening === 'new' && known) throw new Error('the file of steps exists');
    if (opening === 'new' && this.#disk.isFull) throw new DiskFull('no space left');
    const file = known ?? { bytes: Buffer.alloc(0), synced: 0 };
    const entry = this.#of(attemptId);
    entry.steps = file;
    return {
      write: (data, position) => {
        const left = file.bytes.length - position;
        if (this.#disk.isFull && data.length > left) throw new DiskFull('no space left');
        file.synced = Math.min(file.synced, position);
        file.bytes = Buffer.concat([
          file.bytes.subarray(0, position),
          data,
          file.bytes.subarray(position + data.length),
        ]);
      },
      truncate: (length) => {
        file.bytes = file.bytes.subarray(0, length);
        file.synced = Math.min(file.synced, length);
      },
      sync: async () => {
        synced('before');
        await this.#disk.act(
          helper,
          'sync steps',
          () => {
            file.synced = file.bytes.length;
          },
          3,
        );
        synced('after');
      },
      close: () => {},
      remove: () => {
        entry.steps = null;
        if (entry.begin === null && entry.end === null) this.#entries.delete(attemptId);
      },
    };
  }

  #of(attemptId: string): SpoolEntry {
    const known = this.#entries.get(attemptId);
    if (known) return known;
    const made = { steps: null, begin: null, process: null, output: [], end: null, isDurable: false };
    this.#entries.set(attemptId, made);
    return made;
  }

  /** Its end as far as it is written, with what stands of its steps. */
  #endOf(attemptId: string): AttemptEnd | null {
    const entry = this.#entries.get(attemptId);
    if (!entry?.end) return null;
    return joinEnd(entry.end, entry.steps && readStepTraces(entry.steps.bytes));
  }

  outputBytes(attemptId: string): number {
    const last = this.#entries.get(attemptId)?.output.at(-1);
    return last ? last.position + last.data.length : 0;
  }

  /** Power is lost. */
  crash(): void {
    for (const [attemptId, entry] of this.#entries) {
      const { steps } = entry;
      if (steps && !entry.isDurable) {
        steps.bytes = steps.bytes.subarray(0, this.#random.int(steps.synced, steps.bytes.length));
        steps.synced = steps.bytes.length;
      }
      if (entry.isDurable) continue;
      const left = this.#random.int(0, 2);
      if (left === 0) this.#entries.delete(attemptId);
      if (left !== 2) entry.end = null;
      if (left === 1) entry.output = entry.output.slice(0, this.#random.int(0, entry.output.length));
      entry.isDurable = true;
    }
  }

  copy(): ReadonlyMap<string, unknown> {
    return structuredClone(this.#entries);
  }

  restore(copy: ReadonlyMap<string, unknown>): void {
    this.#entries = structuredClone(copy) as Map<string, SpoolEntry>;
    // What is cloned is no buffer any more.
    for (const { steps } of this.#entries.values()) if (steps) steps.bytes = Buffer.from(steps.bytes);
  }

  /** The spool as a session process uses it. */
  of(process: Process): Spool {
    const act = <T>(what: string, look: () => T): Promise<T> =>
      this.#disk.act(process, `${what} in the spool`, look);
    return {
      list: () => act('list', () => [...this.#entries.keys()]),
      readEnd: (attemptId) => act('read an end', () => this.#endOf(attemptId)),
      writeEnd: (attemptId, end) =>
        act('write an end', () => {
          Object.assign(this.#of(attemptId), { end, isDurable: true });
        }),
      readTraces: (attemptId) =>
        act('read traces', () => {
          const entry = this.#entries.get(attemptId);
          return { begin: entry?.begin ?? null, process: entry?.process ?? null };
        }),
      readSteps: (attemptId) =>
        act('read steps', () => {
          const steps = this.#entries.get(attemptId)?.steps;
          return steps ? readStepTraces(steps.bytes) : null;
        }),
      read: (attemptId, cursor) =>
        act('read output', () => {
          const pieces = this.#entries.get(attemptId)?.output ?? [];
          const from = cursor.offset - SPOOL_START.offset;
          const output = pieces.slice(from, from + 2);
          return { output, cursor: { segment: 0, offset: cursor.offset + output.length } };
        }),
      outputBytes: (attemptId) => act('measure output', () => this.outputBytes(attemptId)),
      remove: (attemptId) =>
        act('remove', () => {
          this.#entries.delete(attemptId);
        }),
    };
  }
}
