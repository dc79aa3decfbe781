import type { Disk, DiskFile } from '../../packages/agent/src/ports.ts';
import type { Kernel, Process } from './kernel.ts';
import { drawLatency, type Latency, type Seeded } from './random.ts';

interface SimFile {
  /** What programs see. */
  content: Buffer;
  /** What a loss of power leaves. */
  durable: Buffer;
  /** Writes since the last sync: after a loss of power each may be there, in part, or not at all. */
  unsynced: { data: Buffer; position: number }[];
}

/** What a folder holds, for a copy that is put back or started elsewhere. */
export type FolderCopy = ReadonlyMap<string, Buffer>;

export class DiskFull extends Error {
  readonly code = 'ENOSPC';
}

/** The disk of one machine: a page cache over what is durable. Names, too, are durable only after a sync of their folder. */
export class SimDisk {
  isFull = false;
  latency: Latency;
  readonly #kernel: Kernel;
  readonly #random: Seeded;
  readonly #name: string;
  #files = new Map<string, SimFile>();
  #durableNames = new Map<string, SimFile>();

  constructor(kernel: Kernel, random: Seeded, name: string, latency: Latency) {
    this.#kernel = kernel;
    this.#random = random;
    this.#name = name;
    this.latency = latency;
  }

  /** Does something to the disk after a while, and tells a process of it, if that is still there. */
  act<T>(process: Process, what: string, change: () => T, factor = 1): Promise<T> {
    const answer = Promise.withResolvers<T>();
    const delay = () => drawLatency(this.#random, this.latency) * factor;
    this.#kernel.after(delay(), null, `disk of ${this.#name}: ${what}`, () => {
      let value: T;
      try {
        value = change();
      } catch (error) {
        process.after(delay() / 4, `could not ${what}`, () => answer.reject(error));
        return;
      }
      process.after(delay() / 4, `did ${what}`, () => answer.resolve(value));
    });
    return answer.promise;
  }

  /** The disk as one process uses it. */
  of(process: Process, agent: number): Disk {
    const open = async (path: string): Promise<DiskFile> => {
      const file = await this.act(process, 'open', () => {
        const found = this.#files.get(path);
        if (found) return found;
        if (this.isFull) throw new DiskFull('no space left');
        const made: SimFile = { content: Buffer.alloc(0), durable: Buffer.alloc(0), unsynced: [] };
        this.#files.set(path, made);
        return made;
      });
      return {
        write: (data, position) => this.act(process, 'write', () => this.#write(file, data, position)),
        sync: async () => {
          this.#kernel.trace(this.#name, 'before sync', { agent });
          await this.act(process, 'sync', () => this.#sync(file), 3);
          this.#kernel.trace(this.#name, 'after sync', { agent });
        },
        truncate: (length) =>
          this.act(process, 'truncate', () => {
            file.content = Buffer.from(file.content.subarray(0, length));
            file.unsynced.push({ data: Buffer.alloc(0), position: -length - 1 });
          }),
        close: async () => {},
      };
    };
    return {
      read: (path) =>
        this.act(process, 'read', () => {
          const file = this.#files.get(path);
          return file ? Buffer.from(file.content) : null;
        }),
      open,
      rename: (from, to) =>
        this.act(process, 'rename', () => {
          const file = this.#files.get(from);
          if (!file) throw new Error(`no ${from}`);
          this.#files.delete(from);
          this.#files.set(to, file);
        }),
      syncFolder: () =>
        this.act(
          process,
          'sync folder',
          () => {
            this.#durableNames = new Map(this.#files);
          },
          2,
        ),
    };
  }

  /** Power is lost: what was not synced is there, torn, or gone. */
  crash(): void {
    // A rename that was not synced may have come through or not.
    if (this.#random.chance(0.5)) this.#files = new Map(this.#durableNames);
    else this.#durableNames = new Map(this.#files);
    for (const file of new Set(this.#files.values())) {
      let content = file.durable;
      for (const { data, position } of file.unsynced) {
        const kept = this.#random.pick([0, 0, 1, 1, this.#random.unit()]);
        if (position < 0) content = kept >= 1 ? Buffer.from(content.subarray(0, -position - 1)) : content;
        else content = overwrite(content, data.subarray(0, Math.floor(data.length * kept)), position);
      }
      file.content = content;
      file.durable = Buffer.from(content);
      file.unsynced = [];
    }
  }

  /** Some bytes in the middle of a file cannot be read any more. */
  damage(path: string): void {
    const file = this.#files.get(path);
    const end = file?.content.findLastIndex((byte) => byte !== 0) ?? 0;
    if (!file || end < 100) return;
    const from = this.#random.int(0, end - 60);
    for (const content of [file.content, file.durable])
      content.fill(0x55, from, from + this.#random.int(1, 40));
  }

  copy(): FolderCopy {
    return new Map([...this.#files].map(([name, file]) => [name, Buffer.from(file.content)]));
  }

  restore(copy: FolderCopy): void {
    this.#files = new Map(
      [...copy].map(([name, content]) => [
        name,
        { content: Buffer.from(content), durable: Buffer.from(content), unsynced: [] },
      ]),
    );
    this.#durableNames = new Map(this.#files);
  }

  #write(file: SimFile, data: Uint8Array, position: number): void {
    if (this.isFull && position + data.length > file.content.length) throw new DiskFull('no space left');
    const copy = Buffer.from(data);
    file.content = overwrite(file.content, copy, position);
    file.unsynced.push({ data: copy, position });
  }

  #sync(file: SimFile): void {
    for (const { data, position } of file.unsynced) {
      if (position < 0) file.durable = Buffer.from(file.durable.subarray(0, -position - 1));
      else file.durable = overwrite(file.durable, data, position);
    }
    file.unsynced = [];
  }
}

/** Writes into the buffer, or into a longer one when it does not fit. */
function overwrite(content: Buffer, data: Buffer, position: number): Buffer {
  const end = position + data.length;
  if (end > content.length) {
    const grown = Buffer.alloc(end);
    content.copy(grown);
    data.copy(grown, position);
    return grown;
  }
  data.copy(content, position);
  return content;
}
