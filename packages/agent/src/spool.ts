import { open, readdir, rm } from 'node:fs/promises';
import type { AttemptEnd } from '@rota/contract';
import { FRAME_HEADER } from './records.ts';
import {
  type BeginRecord,
  decodeEnd,
  END_RESERVE,
  encodeEnd,
  type OutputRecord,
  type ProcessRecord,
  readRecord,
} from './spoolFile.ts';
import { joinEnd, readStepTraces, type StepTraces } from './stepsFile.ts';

/** Where a reader stands in an attempt's output. */
export interface SpoolCursor {
  /** 0 is the attempt's file, n the n-th segment of the tail. */
  segment: number;
  offset: number;
}

export const SPOOL_START: SpoolCursor = { segment: 0, offset: END_RESERVE };

/** What the spool has on how an attempt began. */
export interface Traces {
  begin: BeginRecord | null;
  process: ProcessRecord | null;
}

/** The spool as the session sees it. The helper writes it; see `spoolFile.ts` for its form. */
export interface Spool {
  /** Ids of the attempts that have anything. */
  list(): Promise<string[]>;
  /** The end of an attempt, its steps with it; null when it has none, or no file. */
  readEnd(attemptId: string): Promise<AttemptEnd | null>;
  /** Ends an attempt that nothing executes any more; durable when it resolves. */
  writeEnd(attemptId: string, end: AttemptEnd): Promise<void>;
  readTraces(attemptId: string): Promise<Traces>;
  /** How far its steps came; null when it has no file of steps. */
  readSteps(attemptId: string): Promise<StepTraces | null>;
  /** Output from `cursor` on, at least one record when there is one, about `maxBytes` at most. */
  read(
    attemptId: string,
    cursor: SpoolCursor,
    maxBytes: number,
  ): Promise<{ output: OutputRecord[]; cursor: SpoolCursor }>;
  /** Where the output ends that the spool has. */
  outputBytes(attemptId: string): Promise<number>;
  remove(attemptId: string): Promise<void>;
}

export function openSpool(folder: string): Spool {
  const pathOf = (attemptId: string) => `${folder}/${attemptId}`;
  const spool: Spool = {
    async list() {
      const names = await readdir(folder);
      return [...new Set(names.map((name) => name.replace(/\.(tail|steps)$/, '')))];
    },
    async readEnd(attemptId) {
      const data = await readPart(pathOf(attemptId), 0, END_RESERVE);
      const end = data && decodeEnd(data);
      return end && joinEnd(end, await spool.readSteps(attemptId));
    },
    async writeEnd(attemptId, end) {
      const file = await open(pathOf(attemptId), 'r+').catch(() => open(pathOf(attemptId), 'wx+', 0o600));
      try {
        await file.write(encodeEnd(end), 0, undefined, 0);
        await file.datasync();
      } finally {
        await file.close();
      }
      const names = await open(folder, 'r');
      await names.sync().finally(() => names.close());
    },
    async readTraces(attemptId) {
      const traces: Traces = { begin: null, process: null };
      const data = await readPart(pathOf(attemptId), END_RESERVE, 4096);
      let offset = 0;
      while (data) {
        const read = readRecord(data, offset);
        if (read?.record.kind === 'begin') traces.begin = read.record.begin;
        else if (read?.record.kind === 'process') traces.process = read.record.process;
        else break;
        offset = read.next;
      }
      return traces;
    },
    async readSteps(attemptId) {
      const data = await readPart(`${pathOf(attemptId)}.steps`, 0, Infinity);
      return data && readStepTraces(data);
    },
    async read(attemptId, from, maxBytes) {
      const output: OutputRecord[] = [];
      let cursor = from;
      let room = maxBytes;
      while (room > 0) {
        const path = cursor.segment === 0 ? pathOf(attemptId) : `${pathOf(attemptId)}.tail/${cursor.segment}`;
        const part = await readOutput(path, cursor.offset, room);
        output.push(...part.output);
        cursor = { segment: cursor.segment, offset: part.offset };
        room -= part.bytes;
        if (part.bytes > 0) continue;
        const next = await nextSegment(`${pathOf(attemptId)}.tail`, cursor.segment);
        if (next === null) break;
        // What was written between the two looks stands before the next segment.
        const rest = await readOutput(path, cursor.offset, room);
        output.push(...rest.output);
        room -= rest.bytes;
        cursor = rest.bytes > 0 ? { ...cursor, offset: rest.offset } : { segment: next, offset: 0 };
      }
      return { output, cursor };
    },
    async outputBytes(attemptId) {
      let cursor = SPOOL_START;
      for (let bytes = 0; ; ) {
        const read = await spool.read(attemptId, cursor, 256 * 1024);
        const last = read.output.at(-1);
        if (!last) return bytes;
        bytes = last.position + last.data.length;
        cursor = read.cursor;
      }
    },
    async remove(attemptId) {
      await rm(`${pathOf(attemptId)}.tail`, { recursive: true, force: true });
      await rm(`${pathOf(attemptId)}.steps`, { force: true });
      await rm(pathOf(attemptId), { force: true });
    },
  };
  return spool;
}

async function readOutput(
  path: string,
  from: number,
  maxBytes: number,
): Promise<{ output: OutputRecord[]; offset: number; bytes: number }> {
  const output: OutputRecord[] = [];
  let data = await readPart(path, from, maxBytes);
  // A record may be longer than what was asked for.
  if (data && data.length >= FRAME_HEADER && data.length >= maxBytes && !readRecord(data, 0))
    data = await readPart(path, from, FRAME_HEADER + data.readUInt32LE(0));
  let offset = 0;
  while (data) {
    const read = readRecord(data, offset);
    if (!read) break;
    if (read.record.kind === 'output') output.push(read.record.output);
    offset = read.next;
  }
  return { output, offset: from + offset, bytes: offset };
}

/** Null when there is no such file. */
async function readPart(path: string, from: number, length: number): Promise<Buffer | null> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (!file) return null;
  try {
    const { size } = await file.stat();
    const data = Buffer.allocUnsafe(Math.max(0, Math.min(length, size - from)));
    let filled = 0;
    while (filled < data.length) {
      const { bytesRead } = await file.read(data, filled, data.length - filled, from + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return data.subarray(0, filled);
  } finally {
    await file.close();
  }
}

async function nextSegment(folder: string, after: number): Promise<number | null> {
  const names = await readdir(folder).catch(() => []);
  const later = names.map(Number).filter((segment) => segment > after);
  return later.length > 0 ? Math.min(...later) : null;
}
