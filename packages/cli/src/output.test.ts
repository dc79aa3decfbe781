import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes, createOutput, oneLine, printable, relative, took } from './output.ts';
import type { Ports } from './ports.ts';

test('distances in time read as people say them', () => {
  const samples: [number, string][] = [
    [0, 'now'],
    [999, 'now'],
    [180_000, 'in 3m'],
    [-7_200_000, '2h ago'],
    [-86_400_000 * 3, '3d ago'],
    [59_400, 'in 59s'],
    [59_600, 'in 1m'],
    [3_599_600, 'in 1h'],
  ];
  for (const [ms, text] of samples) assert.equal(relative(ms), text);
});

test('durations and sizes have a unit that fits', () => {
  assert.deepEqual([null, 340, 4_200, 3_000, 190_000, 7_500_000].map(took), [
    '-',
    '340ms',
    '4.2s',
    '3s',
    '3m10s',
    '2h5m',
  ]);
  assert.deepEqual([0, 512, 3_565_158].map(bytes), ['0 B', '512 B', '3.4 MiB']);
});

test('text of others is cut, and rid of what a terminal would obey', () => {
  assert.equal(oneLine('a\n\tb  c'), 'a b c');
  assert.equal(oneLine('abcdef', 4), 'abc…');
  assert.equal(printable('a\n\u001b[31mb\u0007'), 'a\n[31mb');
});

test('a fact of several lines is one line with marks between when it is piped', () => {
  let written = '';
  const pipe = { isTTY: false, write: (text: string) => (written += text) };
  const ports = { out: pipe, err: pipe, env: {}, clock: { now: () => 0 } };
  createOutput(ports as unknown as Ports, {}).facts([['why', 'It failed.\nLook there.']]);
  assert.equal(written, 'why\tIt failed. | Look there.\n');
});
