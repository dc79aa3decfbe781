import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, test } from 'node:test';
import type { AttemptEnd } from '@rota/contract';
import { systemClock } from '../clock.ts';
import { openSpool, SPOOL_START, type Spool } from '../spool.ts';
import type { OutputRecord } from '../spoolFile.ts';
import { OutputWriter } from './outputWriter.ts';

let folder: string;
let spool: Spool;

beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/rota-spool-`);
  spool = openSpool(folder);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const begin = { attemptId: 'a', kind: 'command', startedBootMs: 5, timeoutMs: null, killGraceMs: 0 };
const end: AttemptEnd = {
  outcome: 'succeeded',
  reason: null,
  exitCode: 0,
  signal: null,
  error: null,
  durationMs: 1,
  cpuMs: null,
  maxRssBytes: null,
  outputBytes: 0,
  outputDroppedBytes: 0,
  http: null,
  steps: [],
  result: null,
  summary: null,
};

function makeWriter(headBytes: number, tailBytes: number, chunkBytes = 1_000): OutputWriter {
  const limits = { headBytes, tailBytes, chunkBytes };
  return new OutputWriter(`${folder}/a`, begin, limits, systemClock, () => {});
}

async function readAll(maxBytes = 700): Promise<OutputRecord[]> {
  const all: OutputRecord[] = [];
  for (let cursor = SPOOL_START; ; ) {
    const read = await spool.read('a', cursor, maxBytes);
    if (read.output.length === 0) return all;
    all.push(...read.output);
    cursor = read.cursor;
  }
}

function sizeOnDisk(): number {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true });
  return names
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(`${entry.parentPath}/${entry.name}`).size, 0);
}

test('output that fits is there whole, byte by byte, in order and by stream', async () => {
  const writer = makeWriter(100_000, 0);
  const all = Buffer.from(Array.from({ length: 5_000 }, (_, index) => index & 255));
  writer.write('stdout', all.subarray(0, 3_000));
  writer.write('stderr', all.subarray(3_000));
  writer.flush();
  const output = await readAll();
  assert.ok(Buffer.concat(output.map(({ data }) => data)).equals(all));
  assert.ok(output.every(({ data }) => data.length <= 1_000));
  assert.equal(output.findLast(({ stream }) => stream === 'stdout')?.position, 2_000);
  assert.equal(output.at(-1)?.stream, 'stderr');
  assert.equal(writer.position, 5_000);
  writer.close();
});

test('small pieces that follow each other become one', async () => {
  const writer = makeWriter(100_000, 0);
  for (let number = 0; number < 100; number++) writer.write('stdout', Buffer.from('x'));
  writer.flush();
  assert.equal((await readAll()).length, 1);
  writer.close();
});

test('of 50 MB the head and the tail are kept, on little disk', async () => {
  const writer = makeWriter(100_000, 100_000, 32_768);
  const block = Buffer.alloc(65_536);
  const blocks = 800;
  for (let number = 0; number < blocks; number++) {
    block.fill(number & 255);
    writer.write('stdout', block);
    if (number % 100 === 0) assert.ok(sizeOnDisk() < 500_000, `${sizeOnDisk()} bytes`);
  }
  writer.flush();
  const output = await readAll(50_000);
  const head = output.filter(({ position }) => position < 100_000);
  const tail = output.filter(({ position }) => position >= 100_000);
  assert.equal(
    head.reduce((sum, { data }) => sum + data.length, 0),
    100_000,
  );
  assert.ok(tail.reduce((sum, { data }) => sum + data.length, 0) >= 100_000);
  const last = output.at(-1) as OutputRecord;
  assert.equal(last.position + last.data.length, blocks * 65_536);
  assert.equal(await spool.outputBytes('a'), writer.position);
  for (const { position, data } of output) {
    for (const offset of [0, data.length - 1])
      assert.equal(data[offset], Math.floor((position + offset) / 65_536) & 255);
  }
  writer.close();
});

test('one byte at a time costs bounded disk too', () => {
  const writer = makeWriter(2_000, 2_000);
  for (let number = 0; number < 40_000; number++) {
    writer.write(number % 2 ? 'stdout' : 'stderr', Buffer.from('x'));
  }
  writer.flush();
  assert.ok(sizeOnDisk() < 350_000, `${sizeOnDisk()} bytes`);
  assert.equal(writer.position, 40_000);
  writer.close();
});

test('a reader that follows the writer sees everything while the tail turns over', async () => {
  const writer = makeWriter(10_000, 200_000);
  let cursor = SPOOL_START;
  let seen = 0;
  for (let number = 0; number < 300; number++) {
    writer.write('stdout', Buffer.alloc(5_000, number & 255));
    writer.flush();
    const read = await spool.read('a', cursor, 1_000_000);
    cursor = read.cursor;
    for (const { position, data } of read.output) {
      assert.equal(position, seen);
      seen += data.length;
    }
  }
  assert.equal(seen, 1_500_000);
  writer.close();
});

test('the end has its place from the beginning, and does not disturb the output', async () => {
  const writer = makeWriter(100_000, 0);
  writer.writeProcess({ pid: 12, startTime: 34 });
  writer.write('stdout', Buffer.from('hello'));
  writer.flush();
  assert.equal(await spool.readEnd('a'), null);
  writer.writeEnd({ ...end, error: 'é'.repeat(2_000), exitCode: 3 });
  assert.equal((await spool.readEnd('a'))?.exitCode, 3);
  assert.deepEqual(await spool.readTraces('a'), { begin, process: { pid: 12, startTime: 34 } });
  assert.equal((await readAll())[0]?.data.toString(), 'hello');
  writer.close();
});

test('an end that is too long for its place loses headers and text, never itself', async () => {
  const writer = makeWriter(0, 0);
  const headers = Object.fromEntries(
    Array.from({ length: 50 }, (_, index) => [`h${index}`, 'x'.repeat(300)]),
  );
  writer.writeEnd({ ...end, http: { status: 500, url: 'http://x', redirects: 0, headers } });
  assert.deepEqual((await spool.readEnd('a'))?.http, {
    status: 500,
    url: 'http://x',
    redirects: 0,
    headers: {},
  });
  writer.close();
});

test('an end record of which a part is missing is none', async () => {
  const writer = makeWriter(0, 0);
  writer.writeEnd(end);
  writer.close();
  const data = readFileSync(`${folder}/a`);
  data.fill(0, 60, 8_192);
  writeFileSync(`${folder}/a`, data);
  assert.equal(await spool.readEnd('a'), null);
});

test('the session can end an attempt whose file is lost, and remove what is done', async () => {
  await spool.writeEnd('gone', { ...end, reason: 'hostRestarted' });
  assert.equal((await spool.readEnd('gone'))?.reason, 'hostRestarted');
  assert.deepEqual(await spool.list(), ['gone']);
  const writer = makeWriter(10, 10);
  writer.write('stdout', Buffer.alloc(100));
  writer.flush();
  writer.close();
  await spool.remove('a');
  await spool.remove('gone');
  assert.deepEqual(await spool.list(), []);
  assert.equal(existsSync(`${folder}/a.tail`), false);
});

test('an attempt that has a file already is not begun again', () => {
  makeWriter(10, 10).close();
  assert.throws(() => makeWriter(10, 10), { code: 'EEXIST' });
});

for (const { where, headBytes } of [
  { where: 'in its head', headBytes: 100_000 },
  { where: 'in its tail', headBytes: 10_000 },
]) {
  test(`output goes on ${where} where a writer that died had stopped, over what it had written in part`, async () => {
    const all = Buffer.from(Array.from({ length: 90_000 }, (_, index) => (index * 7) & 255));
    const former = makeWriter(headBytes, 100_000);
    former.write('stdout', all.subarray(0, 50_000));
    former.flush();
    former.close();
    const newest =
      headBytes > 50_000 ? `${folder}/a` : `${folder}/a.tail/${readdirSync(`${folder}/a.tail`).length}`;
    appendFileSync(newest, Buffer.from([200, 0, 0, 0, 1, 2, 3, 4, 5]));
    const limits = { headBytes, tailBytes: 100_000, chunkBytes: 1_000 };
    const writer = new OutputWriter(`${folder}/a`, begin, limits, systemClock, () => {}, 'resume');
    assert.equal(writer.position, 50_000);
    writer.write('stdout', all.subarray(50_000));
    writer.flush();
    assert.equal(writer.position, 90_000);
    writer.writeEnd(end);
    writer.close();
    assert.ok(Buffer.concat((await readAll()).map(({ data }) => data)).equals(all));
    assert.equal((await spool.readEnd('a'))?.outcome, 'succeeded');
  });
}
