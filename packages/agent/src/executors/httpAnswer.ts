import { pipeline, type Readable, type Transform } from 'node:stream';
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib';
import type { HttpResult } from '@rota/contract';
import type { ExecutorPorts } from './execution.ts';
import { HttpFault } from './httpFault.ts';

/** How much of an answer is read, unpacked: what is checked, and what tells whether a sample is all there was. */
export const ANSWER_BYTES = 1024 * 1024;
const CODINGS_MAX = 2;
/** A server may ask for no larger window (RFC 9659). */
const ZSTD_WINDOW_LOG = 23;

const HEADERS_MAX = 50;
const HEADER_LENGTH = 300;
const HEADERS_BYTES = 4 * 1024;

export type AnswerHeaders = Record<string, string | string[] | undefined>;

export interface Answer {
  /** The first `ANSWER_BYTES` of it. */
  data: Buffer;
  isWhole: boolean;
}

/** Reads the body of an answer, unpacked, and keeps a sample of it as output. */
export async function readAnswer(
  body: Readable,
  headers: AnswerHeaders,
  sampleBytes: number,
  output: ExecutorPorts['output'],
): Promise<Answer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const data of unpacked(body, headers, output)) {
    if (bytes < sampleBytes) output('stdout', data.subarray(0, sampleBytes - bytes));
    parts.push(data.subarray(0, Math.max(0, ANSWER_BYTES - bytes)));
    bytes += data.length;
    if (bytes > ANSWER_BYTES) break;
  }
  return { data: Buffer.concat(parts), isWhole: bytes <= ANSWER_BYTES };
}

function unpacked(
  body: Readable,
  headers: AnswerHeaders,
  output: ExecutorPorts['output'],
): AsyncIterable<Buffer> {
  const codings = String(headers['content-encoding'] ?? '')
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== '' && coding !== 'identity');
  if (codings.length > CODINGS_MAX || codings.some((coding) => !Object.hasOwn(UNPACKERS, coding))) {
    const text = `warning: the answer is packed as ${cut(codings.join(', '), 100)}, which is not unpacked\n`;
    output('stderr', Buffer.from(text));
    return body;
  }
  return codings.reduceRight<AsyncIterable<Buffer>>((source, coding) => unpack(source, coding), body);
}

/** For each coding, what unpacks it; the first bytes tell the two kinds of `deflate` apart. */
const UNPACKERS: Record<string, (first: Buffer) => Transform> = {
  gzip: () => createGunzip(),
  'x-gzip': () => createGunzip(),
  deflate: (first) => (((first[0] ?? 0) & 0x0f) === 8 ? createInflate() : createInflateRaw()),
  br: () => createBrotliDecompress(),
  zstd: () => createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } }),
};

/** Unpacks as fast as it is read, and no faster. An empty body stays empty. */
async function* unpack(source: AsyncIterable<Buffer>, coding: string): AsyncGenerator<Buffer> {
  const packed = source[Symbol.asyncIterator]();
  const first = await packed.next();
  if (first.done) return;
  async function* whole(): AsyncGenerator<Buffer> {
    try {
      for (let each = first; !each.done; each = await packed.next()) yield each.value;
    } finally {
      await packed.return?.();
    }
  }
  const unpacker = (UNPACKERS[coding] as (first: Buffer) => Transform)(first.value as Buffer);
  // Whatever fails comes out of the unpacker.
  pipeline(whole(), unpacker, () => {});
  try {
    yield* unpacker as AsyncIterable<Buffer>;
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (!/^(Z_|ERR_.*BROTLI|ERR__ERROR|ZSTD_|ERR_ZSTD)/.test(code)) throw error;
    throw new HttpFault('httpFailed', `the answer cannot be unpacked (${coding}): ${message}`);
  } finally {
    unpacker.destroy();
  }
}

/** The text of an answer, in the character set that it names, else UTF-8. */
export function textOf(answer: Answer, headers: AnswerHeaders): string {
  const charset = /;\s*charset="?([\w.:-]+)/i.exec(String(headers['content-type'] ?? ''))?.[1];
  try {
    return new TextDecoder(charset).decode(answer.data);
  } catch {
    return new TextDecoder().decode(answer.data);
  }
}

/** A text that was cut ends with `…`, by which the masking of secrets knows it. */
export function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** Bounded, and without cookies: they are keys. */
export function sampleHeaders(headers: AnswerHeaders): HttpResult['headers'] {
  const sample: Record<string, string> = {};
  let room = HEADERS_BYTES;
  for (const [name, value] of Object.entries(headers).slice(0, HEADERS_MAX)) {
    if (value === undefined || name === 'set-cookie') continue;
    const text = cut(String(value), HEADER_LENGTH);
    room -= Buffer.byteLength(name) + Buffer.byteLength(text);
    if (room < 0) break;
    sample[name] = text;
  }
  return sample;
}
