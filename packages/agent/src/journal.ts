import { HISTORY_MAX } from '@rota/contract';
import {
  applyRecord,
  type Entry,
  isDroppable,
  isPermitGood,
  type JournalRecord,
  type Moment,
  rebase,
} from './attempts.ts';
import type { Disk, DiskFile } from './ports.ts';
import { frame, readFrame } from './records.ts';

/**
 * The agent's memory of what it promised, on disk before anything depends on it.
 *
 * One file of frames, filled with zeros ahead of them so that a commit changes no size and a full disk leaves room
 * for refusals. Records that wait for the disk share one frame and one fdatasync; so a frame that is not whole can
 * only be the last one and was never acknowledged, and anything after it is damage. Each frame says its sequence
 * number, which grows by one with each record for as long as the agent lives. When most of the file is history,
 * the entries that are left are written to a new file, which replaces it by an atomic rename.
 */
export interface Journal {
  /** By attempt id; only what is durable. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** Sequence number of the last durable record. */
  readonly seq: number;
  /** The last nonce of the server. */
  readonly nonce: string | null;
  /** True when no further attempt should be promised: too many entries, the disk is full, or it is broken. */
  readonly full: boolean;
  /** Resolves with the record's sequence number once it is durable. @throws JournalError when it cannot be */
  append(record: JournalRecord): Promise<number>;
  /**
   * Forgets what is settled, whose permit has expired, and what no loss of the server's can reach any more, and looks
   * whether a full disk has room again. `heardBootMs`: when the server acknowledged something last.
   */
  prune(now: Moment, heardBootMs: number | null): void;
  /** Resolves once everything appended until now is settled. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

export class JournalError extends Error {
  constructor(message: string, cause: unknown) {
    super(message, { cause });
    this.name = 'JournalError';
  }
}

export interface JournalDamage {
  /** Where the first bytes stand that are no frame. */
  offset: number;
  /** Frames that could be read after it. */
  framesAfter: number;
  /** The damaged file's copy. */
  keptAs: string;
}

export interface JournalOptions {
  folder: string;
  disk: Disk;
  now: Moment;
  /** Entries that are not done, above which `full` is true. */
  maxEntries?: number;
  /** Entries that are done and kept all the same. */
  maxHistory?: number;
  /** Zeros written ahead at a time. */
  extentBytes?: number;
  /** Length of history from which the file is rewritten. */
  compactBytes?: number;
}

const MAX_ENTRIES = 40_000;
const EXTENT_BYTES = 256 * 1024;
const COMPACT_BYTES = 1024 * 1024;
/** History may be so many times as long as what is alive. */
const COMPACT_RATIO = 4;
const ENTRIES_PER_FRAME = 1_000;

/** A frame's payload: records with the sequence number of the first, or a part of a snapshot with that of the last. */
type Payload =
  | { seq: number; records: JournalRecord[] }
  | { seq: number; nonce: string | null; entries: Entry[] };

/** Opens the journal in `folder`, making it when there is none. Damage is kept aside and reported, never passed over. */
export async function openJournal(
  options: JournalOptions,
): Promise<{ journal: Journal; damage: JournalDamage | null }> {
  const { folder, disk } = options;
  const path = `${folder}/journal`;
  const data = (await disk.read(path)) ?? Buffer.alloc(0);
  const read = readJournal(data);
  let damage: JournalDamage | null = null;
  if (read.damagedAt !== null) {
    const keptAs = `journal.damaged-${read.seq}`;
    const copy = await disk.open(`${folder}/${keptAs}`);
    await copy.write(data, 0);
    await copy.sync();
    await copy.close();
    damage = { offset: read.damagedAt, framesAfter: read.framesAfter, keptAs };
  }
  const log = new JournalLog(options, read);
  for (const entry of log.entries.values()) rebase(entry, options.now);
  log.prune(options.now, null);
  // A fresh file, so that nothing torn or damaged stands before what is appended from now on.
  await log.rewrite().catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOSPC' || damage) throw error;
    return log.goOn(read.end, data.length);
  });
  return { journal: log, damage };
}

interface JournalContent {
  entries: Map<string, Entry>;
  seq: number;
  nonce: string | null;
  /** Where the last whole frame ends. */
  end: number;
  damagedAt: number | null;
  framesAfter: number;
}

/** Reads the content of a journal's file. Pure. */
export function readJournal(data: Buffer): JournalContent {
  const content: JournalContent = {
    entries: new Map(),
    seq: 0,
    nonce: null,
    end: 0,
    damagedAt: null,
    framesAfter: 0,
  };
  let offset = 0;
  while (true) {
    const read = readFrame(data, offset);
    if (read.kind === 'frame') {
      applyPayload(content, JSON.parse(read.payload.toString()) as Payload);
      if (content.damagedAt !== null) content.framesAfter++;
      offset = read.next;
      content.end = offset;
      continue;
    }
    const found = findFrame(data, offset + 1);
    if (found === null) return content;
    content.damagedAt ??= offset;
    offset = found;
  }
}

/** The next offset at which a whole frame stands. */
function findFrame(data: Buffer, from: number): number | null {
  for (let offset = from; offset < data.length; offset++) {
    if (data[offset] !== 0 && readFrame(data, offset).kind === 'frame') return offset;
  }
  return null;
}

function applyPayload(content: JournalContent, payload: Payload): void {
  if ('records' in payload) {
    for (const record of payload.records) {
      applyRecord(content.entries, record);
      if (record.type === 'nonce') content.nonce = record.nonce;
    }
    content.seq = Math.max(content.seq, payload.seq + payload.records.length - 1);
    return;
  }
  for (const entry of payload.entries) content.entries.set(entry.attemptId, entry);
  content.nonce = payload.nonce;
  content.seq = Math.max(content.seq, payload.seq);
}

interface Waiting {
  record: JournalRecord;
  resolve(seq: number): void;
  reject(error: JournalError): void;
}

class JournalLog implements Journal {
  readonly entries: Map<string, Entry>;
  seq: number;
  nonce: string | null;
  readonly #folder: string;
  readonly #disk: Disk;
  readonly #maxEntries: number;
  readonly #maxHistory: number;
  readonly #extentBytes: number;
  readonly #compactBytes: number;
  #file: DiskFile | null = null;
  /** Where the next frame goes, and up to where the file is filled with zeros. */
  #offset = 0;
  #size = 0;
  #snapshotBytes = 0;
  #waiting: Waiting[] = [];
  #commits: Promise<void> = Promise.resolve();
  #committing = false;
  #noRoom = false;
  #broken: unknown = null;
  /** Entries that are done. */
  #done = 0;

  constructor(options: JournalOptions, content: JournalContent) {
    this.entries = content.entries;
    this.seq = content.seq;
    this.nonce = content.nonce;
    this.#folder = options.folder;
    this.#disk = options.disk;
    this.#maxEntries = options.maxEntries ?? MAX_ENTRIES;
    this.#maxHistory = options.maxHistory ?? HISTORY_MAX;
    this.#extentBytes = options.extentBytes ?? EXTENT_BYTES;
    this.#compactBytes = options.compactBytes ?? COMPACT_BYTES;
  }

  get full(): boolean {
    return this.#broken !== null || this.#noRoom || this.entries.size - this.#done >= this.#maxEntries;
  }

  append(record: JournalRecord): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ record, resolve, reject });
      if (!this.#committing) this.#commits = this.#commitAll();
    });
  }

  prune(now: Moment, heardBootMs: number | null): void {
    this.#done = 0;
    for (const [attemptId, entry] of this.entries) {
      if (isDroppable(entry, now, heardBootMs)) this.entries.delete(attemptId);
      else if (entry.done !== null) this.#done += 1;
    }
    // The oldest stand first.
    for (const [attemptId, entry] of this.entries) {
      if (this.#done <= this.#maxHistory) break;
      if (entry.done === null || isPermitGood(entry, now)) continue;
      this.entries.delete(attemptId);
      this.#done -= 1;
    }
    if (this.#noRoom && !this.#committing) this.#commits = this.#commitAll();
  }

  async idle(): Promise<void> {
    await this.#commits;
  }

  async close(): Promise<void> {
    await this.#commits;
    await this.#file?.close();
    this.#file = null;
    this.#broken ??= new Error('the journal is closed');
  }

  /** Writes what is alive to a new file and puts it in place of the old one. */
  async rewrite(): Promise<void> {
    const all = [...this.entries.values()];
    const frames: Buffer[] = [];
    for (let from = 0; from === 0 || from < all.length; from += ENTRIES_PER_FRAME) {
      const entries = all.slice(from, from + ENTRIES_PER_FRAME);
      frames.push(encode({ seq: this.seq, nonce: this.nonce, entries }));
    }
    const content = Buffer.concat(frames);
    const size = content.length + this.#extentBytes;
    const path = `${this.#folder}/journal`;
    const file = await this.#disk.open(`${path}.new`);
    try {
      await file.truncate(0);
      await file.write(content, 0);
      await file.write(Buffer.alloc(size - content.length), content.length);
      await file.sync();
      await this.#disk.rename(`${path}.new`, path);
    } catch (error) {
      await file.close();
      throw error;
    }
    await this.#disk.syncFolder(this.#folder).catch((error) => {
      // Nobody knows which of the two files a crash would leave.
      this.#broken = error;
    });
    await this.#file?.close();
    this.#file = file;
    this.#offset = content.length;
    this.#size = size;
    this.#snapshotBytes = content.length;
    this.#noRoom = false;
  }

  /** Uses the file that is there, of `size` bytes, from `offset` on: when a full disk has no room for a fresh one. */
  async goOn(offset: number, size: number): Promise<void> {
    this.#file = await this.#disk.open(`${this.#folder}/journal`);
    this.#offset = offset;
    this.#size = size;
    this.#noRoom = true;
    await this.#clear(size - offset);
  }

  async #commitAll(): Promise<void> {
    this.#committing = true;
    if (this.#noRoom) await this.#makeRoom(0);
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        const seq = await this.#commit(batch.map((waiting) => waiting.record));
        for (const [index, waiting] of batch.entries()) waiting.resolve(seq + index);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        for (const waiting of batch)
          waiting.reject(new JournalError(`the journal could not be written: ${reason}`, error));
      }
    }
    this.#committing = false;
  }

  /** @returns the sequence number of the first record */
  async #commit(records: JournalRecord[]): Promise<number> {
    if (this.#offset > this.#compactBytes && this.#offset > COMPACT_RATIO * this.#snapshotBytes)
      await this.rewrite().catch(() => {});
    if (this.#broken !== null || !this.#file) throw this.#broken;
    const first = this.seq + 1;
    const data = encode({ seq: first, records });
    await this.#makeRoom(data.length);
    try {
      await this.#file.write(data, this.#offset);
    } catch (error) {
      await this.#clear(data.length);
      throw error;
    }
    try {
      await this.#file.sync();
    } catch (error) {
      // After a failed sync nobody knows what is on the disk: a promise must not stand on it.
      this.#broken = error;
      throw error;
    }
    this.#offset += data.length;
    this.seq += records.length;
    for (const record of records) {
      if (record.type === 'nonce') this.nonce = record.nonce;
      else {
        const isDone = () => (this.entries.get(record.attemptId)?.done ? 1 : 0);
        this.#done -= isDone();
        applyRecord(this.entries, record);
        this.#done += isDone();
      }
    }
    return first;
  }

  /** Fills the file with zeros ahead. On a full disk it takes what room there is. */
  async #makeRoom(length: number): Promise<void> {
    const file = this.#file as DiskFile;
    if (this.#size - this.#offset >= length + this.#extentBytes / 4) {
      this.#noRoom = false;
      return;
    }
    const size = this.#offset + length + this.#extentBytes;
    try {
      await file.write(Buffer.alloc(size - this.#size), this.#size);
      this.#size = size;
      this.#noRoom = false;
    } catch (error) {
      this.#noRoom = true;
      if (this.#size - this.#offset < length) throw error;
    }
  }

  /** Takes a frame back that was written in part. */
  async #clear(length: number): Promise<void> {
    try {
      await (this.#file as DiskFile).write(Buffer.alloc(length), this.#offset);
    } catch (error) {
      this.#broken = error;
    }
  }
}

function encode(payload: Payload): Buffer {
  return frame(Buffer.from(JSON.stringify(payload)));
}
