import type { AttemptEnd, ReasonCode } from '@rota/contract';
import { frame, readFrame } from './records.ts';

/**
 * What one attempt leaves on disk until the server has it.
 *
 *   spool/<attemptId>             end record, zeros up to 8 KiB | begin | process | output … (the head)
 *   spool/<attemptId>.tail/<n>    output, in segments; the oldest go when the newer ones are enough
 *   spool/<attemptId>.steps       see `stepsFile.ts`
 *
 * The end record has its place from the beginning, so that a full disk cannot keep an end from being written.
 * Output frames say where in the whole output they stand; what lies between two of them was left out.
 */
export const END_RESERVE = 8 * 1024;

/** Written before anything is executed: without it, nothing was. */
export interface BeginRecord {
  attemptId: string;
  kind: string;
  startedBootMs: number;
  timeoutMs: number | null;
  killGraceMs: number;
}

/** The process that was started. */
export interface ProcessRecord {
  pid: number;
  /** In clock ticks since boot, as the kernel counts; null where it cannot be had. */
  startTime: number | null;
}

export interface OutputRecord {
  stream: 'stdout' | 'stderr';
  /** Bytes of output, of both streams, before this piece. */
  position: number;
  atMs: number;
  data: Buffer;
}

/** The end of an attempt that nobody saw end. */
export function unseenEnd(reason: ReasonCode, outputBytes: number): AttemptEnd {
  return {
    outcome: 'failed',
    reason,
    exitCode: null,
    signal: null,
    error: null,
    durationMs: 0,
    cpuMs: null,
    maxRssBytes: null,
    outputBytes,
    outputDroppedBytes: 0,
    http: null,
    steps: [],
    result: null,
    summary: null,
  };
}

export type SpoolRecord =
  | { kind: 'begin'; begin: BeginRecord }
  | { kind: 'process'; process: ProcessRecord }
  | { kind: 'output'; output: OutputRecord };

const BEGIN = 1;
const PROCESS = 2;
const STDOUT = 3;
const STDERR = 4;
const OUTPUT_HEADER = 17;

export function encodeBegin(begin: BeginRecord): Buffer {
  return encodeJson(BEGIN, begin);
}

export function encodeProcess(process: ProcessRecord): Buffer {
  return encodeJson(PROCESS, process);
}

export function encodeOutput(output: OutputRecord): Buffer {
  const payload = Buffer.allocUnsafe(OUTPUT_HEADER + output.data.length);
  payload[0] = output.stream === 'stdout' ? STDOUT : STDERR;
  payload.writeDoubleLE(output.position, 1);
  payload.writeDoubleLE(output.atMs, 9);
  output.data.copy(payload, OUTPUT_HEADER);
  return frame(payload);
}

/** An end record, cut down to its place: headers go first, then errors' texts. */
export function encodeEnd(end: AttemptEnd): Buffer {
  let record = frame(Buffer.from(JSON.stringify(end)));
  if (record.length > END_RESERVE && end.http) {
    const http = { ...end.http, headers: {}, url: end.http.url.slice(0, 500) };
    record = frame(Buffer.from(JSON.stringify({ ...end, http })));
  }
  if (record.length > END_RESERVE) {
    const cut = <T extends { error: string | null }>(part: T) => ({
      ...part,
      http: null,
      error: part.error?.slice(0, 300) ?? null,
    });
    const steps = end.steps.map((step) => ({ ...cut(step), detail: null, result: null, summary: null }));
    const summary = end.summary?.slice(0, 300) ?? null;
    record = frame(Buffer.from(JSON.stringify({ ...cut(end), steps, result: null, summary })));
  }
  return record;
}

/** The end record at the start of a spool file; null when there is none. */
export function decodeEnd(data: Buffer): AttemptEnd | null {
  const read = readFrame(data.subarray(0, END_RESERVE), 0);
  return read.kind === 'frame' ? (JSON.parse(read.payload.toString()) as AttemptEnd) : null;
}

/** Reads the record at `offset`; null when no whole one stands there. */
export function readRecord(data: Buffer, offset: number): { record: SpoolRecord; next: number } | null {
  const read = readFrame(data, offset);
  if (read.kind !== 'frame') return null;
  const record = decodeRecord(read.payload);
  return record && { record, next: read.next };
}

function decodeRecord(payload: Buffer): SpoolRecord | null {
  switch (payload[0]) {
    case BEGIN:
      return { kind: 'begin', begin: decodeJson<BeginRecord>(payload) };
    case PROCESS:
      return { kind: 'process', process: decodeJson<ProcessRecord>(payload) };
    case STDOUT:
    case STDERR:
      return {
        kind: 'output',
        output: {
          stream: payload[0] === STDOUT ? 'stdout' : 'stderr',
          position: payload.readDoubleLE(1),
          atMs: payload.readDoubleLE(9),
          data: payload.subarray(OUTPUT_HEADER),
        },
      };
    default:
      return null;
  }
}

function encodeJson(kind: number, value: object): Buffer {
  return frame(Buffer.concat([Buffer.from([kind]), Buffer.from(JSON.stringify(value))]));
}

function decodeJson<T>(payload: Buffer): T {
  return JSON.parse(payload.subarray(1).toString()) as T;
}
