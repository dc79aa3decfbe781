import type { AttemptEnd } from '@rota/contract';
import { SPOOL_START, type Spool } from '../../packages/agent/src/spool.ts';
import type { BeginRecord, OutputRecord, ProcessRecord } from '../../packages/agent/src/spoolFile.ts';
import { DiskFull, type SimDisk } from './disk.ts';
import type { Process } from './kernel.ts';
import type { Seeded } from './random.ts';

interface SpoolEntry {
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

  entry(attemptId: string): SpoolEntry | undefined {
    return this.#entries.get(attemptId);
  }

  /** @throws when it exists, or the disk is full */
  begin(begin: BeginRecord): void {
    if (this.#disk.isFull) throw new DiskFull('no space left');
    if (this.#entries.has(begin.attemptId)) throw new Error('the spool file exists');
    this.#entries.set(begin.attemptId, { begin, process: null, output: [], end: null, isDurable: false });
  }

  /** The end has its place since the beginning: a full disk takes it. */
  writeEnd(attemptId: string, end: AttemptEnd): void {
    const entry = this.#entries.get(attemptId);
    if (entry) Object.assign(entry, { end, isDurable: true });
    else {
      this.#entries.set(attemptId, { begin: null, process: null, output: [], end, isDurable: true });
    }
  }

  outputBytes(attemptId: string): number {
    const last = this.#entries.get(attemptId)?.output.at(-1);
    return last ? last.position + last.data.length : 0;
  }

  /** Power is lost. */
  crash(): void {
    for (const [attemptId, entry] of this.#entries) {
      if (entry.isDurable) continue;
      const left = this.#random.int(0, 2);
      if (left === 0) this.#entries.delete(attemptId);
      if (left === 1) entry.output = entry.output.slice(0, this.#random.int(0, entry.output.length));
      entry.isDurable = true;
    }
  }

  copy(): ReadonlyMap<string, unknown> {
    return structuredClone(this.#entries);
  }

  restore(copy: ReadonlyMap<string, unknown>): void {
    this.#entries = structuredClone(copy) as Map<string, SpoolEntry>;
  }

  /** The spool as a session process uses it. */
  of(process: Process): Spool {
    const act = <T>(what: string, look: () => T): Promise<T> =>
      this.#disk.act(process, `${what} in the spool`, look);
    return {
      list: () => act('list', () => [...this.#entries.keys()]),
      readEnd: (attemptId) => act('read an end', () => this.#entries.get(attemptId)?.end ?? null),
      writeEnd: (attemptId, end) => act('write an end', () => this.writeEnd(attemptId, end)),
      readTraces: (attemptId) =>
        act('read traces', () => {
          const entry = this.#entries.get(attemptId);
          return { begin: entry?.begin ?? null, process: entry?.process ?? null };
        }),
      readSteps: () => act('read steps', () => null),
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
