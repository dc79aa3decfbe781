import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { openStdin } from './stdin.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'rota-stdin-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const TEXT = 'pass-word\n'.repeat(20_000);

const TMPFS = 0x01021994;
const hasMemory = existsSync('/dev/shm') && statfsSync('/dev/shm').type === TMPFS;

test('standard input is in memory and has no name', {
  skip: !hasMemory && 'needs a tmpfs at /dev/shm',
}, (t) => {
  const reader = openStdin(TEXT, folder, 'one');
  t.after(() => closeSync(reader));
  assert.match(readlinkSync(`/proc/self/fd/${reader}`), /^\/dev\/shm\/.* \(deleted\)$/);
  assert.equal(statfsSync(`/proc/self/fd/${reader}`).type, TMPFS);
  assert.deepEqual(readdirSync(folder), []);
  assert.equal(readFileSync(reader, 'utf8'), TEXT);
  assert.equal(readFileSync(`/proc/self/fd/${reader}`, 'utf8'), TEXT, 'it can be opened again');
});

for (const [what, memory] of [
  ['no such memory', `${folder}/none`],
  ['a disk in its place', '/proc'],
] as const)
  test(`with ${what} it is a file of the folder, which has no name, either`, (t) => {
    const reader = openStdin(TEXT, folder, 'one', memory);
    t.after(() => closeSync(reader));
    assert.equal(readlinkSync(`/proc/self/fd/${reader}`), `${folder}/one.stdin (deleted)`);
    assert.deepEqual(readdirSync(folder), []);
    assert.equal(readFileSync(`/proc/self/fd/${reader}`, 'utf8'), TEXT);
  });
