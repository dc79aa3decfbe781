// How fast secrets are masked in output, beside reading it at all: node bench/masking.ts
import { randomBytes } from 'node:crypto';
import { createMasker } from '../packages/agent/src/masking.ts';
import { repeated, type Spread, shown, shownSpread, table } from './figures.ts';

const CHUNK = 64 * 1024;
const CHUNKS = 32;
const MEASURED_MS = 150;
const TURNS = 5;
const COUNTS = [0, 1, 10, 100];

const token = () => randomBytes(24).toString('base64url');

/** So many bytes of these lines. */
function filled(lines: (index: number) => string): Buffer {
  let text = '';
  for (let index = 0; text.length < CHUNK * CHUNKS; index++) text += `${lines(index)}\n`;
  return Buffer.from(text).subarray(0, CHUNK * CHUNKS);
}

const LOG = filled((index) => {
  const at = new Date(Date.UTC(2026, 0, 1) + index * 37).toISOString();
  return `${at} INFO [worker-${index % 16}] request ${((index * 7_919) % 1e6).toString(36)} GET /api/v1/items/${index} 200 ${index % 97}ms`;
});

/** Megabytes per second of something that is done with each chunk. */
function throughput(data: Buffer, take: (chunk: Buffer) => void): Promise<Spread> {
  return repeated(TURNS, () => {
    let bytes = 0;
    const begin = performance.now();
    while (performance.now() - begin < MEASURED_MS) {
      for (let at = 0; at < data.length; at += CHUNK) take(data.subarray(at, at + CHUNK));
      bytes += data.length;
    }
    return bytes / 1e3 / (performance.now() - begin);
  });
}

function masked(data: Buffer, values: string[]): Promise<Spread> {
  const stream = createMasker(values).stream();
  return throughput(data, (chunk) => stream.write(chunk));
}

function buildMs(values: string[]): Promise<Spread> {
  return repeated(TURNS, () => {
    const begin = performance.now();
    createMasker(values);
    return performance.now() - begin;
  });
}

export async function measure(): Promise<string> {
  const target = Buffer.alloc(CHUNK);
  const copied = await throughput(LOG, (chunk) => chunk.copy(target));
  const searched = await throughput(LOG, (chunk) => chunk.indexOf('a-word-that-is-not-there'));
  const rows: string[][] = [];
  for (const count of COUNTS) {
    const values = Array.from({ length: count }, token);
    const near = filled((index) => (values[index % count] ?? token()).replace(/.$/, '~'));
    // Each value is one byte longer than the one before, and all of the output is the beginning of all.
    const nested = values.map((_, index) => `${'a'.repeat(8 + index)}b`);
    const log = await masked(LOG, values);
    const worst = await masked(Buffer.alloc(CHUNK * CHUNKS, 'a'), nested);
    rows.push([
      String(count),
      shown((await buildMs(values)).median),
      shownSpread(log),
      shown(log.median / searched.median),
      shownSpread(await masked(near, values)),
      shownSpread(worst),
      shown(CHUNK / 1e3 / worst.median),
    ]);
  }
  return [
    `Output in chunks of 64 KiB through one stream of the masker, MB/s, ${TURNS} times after one for warming up, median (min–max). Values are`,
    'random tokens of 32 characters, looked for in all their spellings. Ordinary text are lines of a log; near misses are the values',
    'but for their last character; the worst case are values that begin alike, in output that is nothing but that beginning.',
    '',
    table(
      [
        'secrets',
        'made ready, ms',
        'ordinary text',
        '÷ bare `indexOf`',
        'near misses',
        'worst case',
        '… ms a chunk',
      ],
      rows,
    ),
    '',
    `In the same run, MB/s of ordinary text: \`Buffer.copy\` ${shownSpread(copied)}, one \`indexOf\` of a word that is not there ${shownSpread(searched)}.`,
  ].join('\n');
}

if (import.meta.main) console.log(await measure());
