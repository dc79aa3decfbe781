import {
  closeSync,
  fdatasync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import type { AttemptEnd } from '@rota/contract';
import type { Clock, Timer } from '../ports.ts';
import {
  type BeginRecord,
  END_RESERVE,
  encodeBegin,
  encodeEnd,
  encodeOutput,
  encodeProcess,
  type ProcessRecord,
  readRecord,
} from '../spoolFile.ts';

export interface OutputLimits {
  headBytes: number;
  tailBytes: number;
  chunkBytes: number;
}

/** One attempt's file in the spool, as far as writing goes. */
export interface AttemptOutput {
  /** Bytes that the attempt wrote. */
  readonly position: number;
  writeProcess(process: ProcessRecord): void;
  /** Takes output; pieces of one stream that follow each other closely become one. */
  write(stream: 'stdout' | 'stderr', data: Buffer): void;
  /** Writes what was gathered. */
  flush(): void;
  /** Writes the end record into its place. The caller syncs and then closes. @throws on a disk error */
  writeEnd(end: AttemptEnd): void;
  /** All that was written is on the disk when this resolves. */
  sync(): Promise<void>;
  close(): void;
}

/** How long small pieces of one stream are gathered. */
const GATHER_MS = 20;
/** The tail is kept in about so many segments. */
const SEGMENTS = 4;
const SEGMENT_MIN_BYTES = 16 * 1024;
/** Head and segments on disk may be so many times as long as their content: tiny pieces cost more than they hold. */
const OVERHEAD = 2;

/**
 * Writes one attempt's spool file: bounded on disk and in memory whatever the attempt writes.
 * Writes are synchronous: they go to the page cache, keep their order, and need no queue.
 * A full disk loses output, which is counted, and nothing else.
 */
export class OutputWriter implements AttemptOutput {
  position = 0;
  readonly #path: string;
  readonly #limits: OutputLimits;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #onWritten: () => void;
  readonly #file: number;
  #fileSize = END_RESERVE;
  #headOpen = true;
  #headBytes = 0;
  #tail: Segment[] = [];
  #tailCount = 0;
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #gatheredStream: 'stdout' | 'stderr' = 'stdout';
  #timer: Timer | null = null;

  /** Makes the file with its begin record, or goes on with one that has it. @throws when it exists, or the disk is full */
  constructor(
    path: string,
    begin: BeginRecord,
    limits: OutputLimits,
    clock: Clock,
    onWritten: () => void,
    start: 'new' | 'resume' = 'new',
  ) {
    this.#path = path;
    this.#limits = limits;
    this.#clock = clock;
    this.#startedMs = begin.startedBootMs;
    this.#onWritten = onWritten;
    this.#file = openSync(path, start === 'new' ? 'wx+' : 'r+', 0o600);
    try {
      if (start === 'new') this.#begin(begin);
      else this.#resume();
    } catch (error) {
      closeSync(this.#file);
      if (start === 'new') rmSync(path, { force: true });
      throw error;
    }
  }

  #begin(begin: BeginRecord): void {
    const start = Buffer.concat([Buffer.alloc(END_RESERVE), encodeBegin(begin)]);
    writeWhole(this.#file, start, 0);
    this.#fileSize = start.length;
  }

  /** Stands where the whole records of head and tail end. */
  #resume(): void {
    const head = measure(readFileSync(this.#path), END_RESERVE);
    this.#fileSize = head.size;
    this.#headBytes = head.bytes;
    this.position = head.position;
    this.#closeFullHead();
    for (const number of segmentNumbers(`${this.#path}.tail`)) {
      const path = `${this.#path}.tail/${number}`;
      const { size, bytes, position } = measure(readFileSync(path), 0);
      this.#tail.push({ number, file: openSync(path, 'r+'), size, bytes });
      this.#tailCount = number;
      this.#headOpen = false;
      this.position = Math.max(this.position, position);
    }
  }

  writeProcess(process: ProcessRecord): void {
    this.#append(encodeProcess(process));
  }

  write(stream: 'stdout' | 'stderr', data: Buffer): void {
    if (stream !== this.#gatheredStream) this.flush();
    this.#gatheredStream = stream;
    for (let from = 0; from < data.length; ) {
      const piece = data.subarray(from, from + this.#limits.chunkBytes - this.#gatheredBytes);
      this.#gathered.push(piece);
      this.#gatheredBytes += piece.length;
      from += piece.length;
      if (this.#gatheredBytes >= this.#limits.chunkBytes) this.flush();
    }
    if (this.#gatheredBytes > 0) this.#timer ??= this.#clock.after(GATHER_MS, () => this.flush());
  }

  flush(): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#gatheredBytes === 0) return;
    const data = this.#gathered.length === 1 ? (this.#gathered[0] as Buffer) : Buffer.concat(this.#gathered);
    this.#gathered = [];
    this.#gatheredBytes = 0;
    const atMs = Math.max(0, Math.round(this.#clock.bootMs() - this.#startedMs));
    const room = this.#headOpen ? this.#limits.headBytes - this.#headBytes : 0;
    const head = data.subarray(0, room);
    if (head.length > 0)
      this.#writeHead({ stream: this.#gatheredStream, position: this.position, atMs, data: head });
    this.position += head.length;
    const tail = data.subarray(room);
    if (tail.length > 0)
      this.#writeTail({ stream: this.#gatheredStream, position: this.position, atMs, data: tail });
    this.position += tail.length;
    this.#onWritten();
  }

  writeEnd(end: AttemptEnd): void {
    writeWhole(this.#file, encodeEnd(end), 0);
  }

  async sync(): Promise<void> {
    await Promise.all(this.#descriptors.map(syncFile));
  }

  get #descriptors(): number[] {
    return [this.#file, ...this.#tail.map((segment) => segment.file)];
  }

  close(): void {
    this.#timer?.cancel();
    for (const descriptor of this.#descriptors) closeSync(descriptor);
    this.#tail = [];
  }

  #writeHead(output: Parameters<typeof encodeOutput>[0]): void {
    this.#headBytes += output.data.length;
    this.#append(encodeOutput(output));
    this.#closeFullHead();
  }

  #closeFullHead(): void {
    const written = this.#fileSize - END_RESERVE;
    if (
      this.#headBytes >= this.#limits.headBytes ||
      written > OVERHEAD * this.#limits.headBytes + SEGMENT_MIN_BYTES
    )
      this.#headOpen = false;
  }

  #append(record: Buffer): void {
    if (tryAppend(this.#file, record, this.#fileSize)) this.#fileSize += record.length;
  }

  #writeTail(output: Parameters<typeof encodeOutput>[0]): void {
    this.#headOpen = false;
    const { tailBytes } = this.#limits;
    if (tailBytes === 0) return;
    const segmentBytes = Math.max(SEGMENT_MIN_BYTES, Math.ceil(tailBytes / SEGMENTS));
    const last = this.#tail.at(-1);
    const isFull = last && (last.bytes >= segmentBytes || last.size > OVERHEAD * segmentBytes);
    const segment = last && !isFull ? last : this.#nextSegment();
    if (!segment) return;
    const record = encodeOutput(output);
    if (!tryAppend(segment.file, record, segment.size)) return;
    segment.size += record.length;
    segment.bytes += output.data.length;
    this.#dropOldSegments(tailBytes);
  }

  #nextSegment(): Segment | null {
    try {
      if (this.#tailCount === 0) mkdirSync(`${this.#path}.tail`, { mode: 0o700, recursive: true });
      const number = this.#tailCount + 1;
      const file = openSync(`${this.#path}.tail/${number}`, 'w', 0o600);
      const segment = { number, file, size: 0, bytes: 0 };
      this.#tailCount = number;
      this.#tail.push(segment);
      return segment;
    } catch {
      return null;
    }
  }

  #dropOldSegments(tailBytes: number): void {
    let kept = this.#tail.reduce((sum, segment) => sum + segment.bytes, 0);
    while (
      this.#tail.length > SEGMENTS + 1 ||
      (this.#tail.length > 1 && kept - (this.#tail[0] as Segment).bytes >= tailBytes)
    ) {
      const oldest = this.#tail.shift() as Segment;
      kept -= oldest.bytes;
      closeSync(oldest.file);
      rmSync(`${this.#path}.tail/${oldest.number}`, { force: true });
    }
  }
}

interface Segment {
  number: number;
  file: number;
  /** Length of the file, and of the output in it. */
  size: number;
  bytes: number;
}

/** Where whole records end, and the output in them. */
function measure(data: Buffer, from: number): { size: number; bytes: number; position: number } {
  const sum = { size: from, bytes: 0, position: 0 };
  for (let read = readRecord(data, sum.size); read; read = readRecord(data, sum.size)) {
    sum.size = read.next;
    if (read.record.kind !== 'output') continue;
    const { position, data: piece } = read.record.output;
    sum.bytes += piece.length;
    sum.position = position + piece.length;
  }
  return sum;
}

function syncFile(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) =>
    fdatasync(descriptor, (error) => (error ? reject(error) : resolve())),
  );
}

function segmentNumbers(folder: string): number[] {
  try {
    return readdirSync(folder)
      .map(Number)
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

/** False when the disk took it not or in part; the part is taken back. */
function tryAppend(file: number, record: Buffer, position: number): boolean {
  try {
    writeWhole(file, record, position);
    return true;
  } catch {
    try {
      ftruncateSync(file, position);
    } catch {
      // The next record is written over the part all the same.
    }
    return false;
  }
}

function writeWhole(file: number, data: Buffer, position: number): void {
  let done = 0;
  while (done < data.length) done += writeSync(file, data, done, data.length - done, position + done);
}
