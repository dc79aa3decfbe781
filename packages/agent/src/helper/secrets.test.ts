import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { SecretSource } from '@rota/contract';
import { readSecrets } from './secrets.ts';

test("A secret's value comes from the server, or from the agent's file without the newline at its end", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'rota-secret-files-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = (name: string, content: string | Uint8Array): SecretSource => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return { from: 'agentFile', path };
  };
  const { values, faults } = await readSecrets({
    GIVEN: { from: 'server', value: 'as it is\n' },
    LINE: file('line', 'one line\n'),
    WINDOWS: file('windows', 'one line\r\n'),
    LINES: file('lines', 'two\nlines\n\n'),
    EMPTY: file('empty', ''),
    LONGEST: file('longest', 'x'.repeat(64 * 1024)),
  });
  assert.deepEqual(values, {
    GIVEN: 'as it is\n',
    LINE: 'one line',
    WINDOWS: 'one line',
    LINES: 'two\nlines\n',
    EMPTY: '',
    LONGEST: 'x'.repeat(64 * 1024),
  });
  assert.equal(faults.size, 0);
});

test('Values have so much room together, also those of files', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'rota-secret-files-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'long');
  writeFileSync(path, 'x'.repeat(64 * 1024));
  const names = ['A', 'B', 'C', 'D', 'E'];
  const sources = Object.fromEntries(names.map((name) => [name, { from: 'agentFile', path } as const]));
  const { values, faults } = await readSecrets({ ...sources, EMPTY: { from: 'server', value: '' } });
  assert.deepEqual(Object.keys(values), ['A', 'B', 'C', 'D', 'EMPTY']);
  assert.deepEqual([...faults.keys()], ['E']);
  assert.match(faults.get('E') ?? '', /more than 256 KiB together/);
});

test('What has no value is told by its place, and holds nothing else up', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'rota-secret-files-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = (name: string) => join(folder, name);
  writeFileSync(path('long'), 'x'.repeat(64 * 1024 + 1));
  mkdirSync(path('folder'));
  execFileSync('mkfifo', [path('pipe')]);
  const sources = Object.fromEntries(
    ['missing', 'long', 'folder', 'pipe'].map((name) => [
      name,
      { from: 'agentFile', path: path(name) } as const,
    ]),
  );
  const { values, faults } = await readSecrets({
    ...sources,
    env: { from: 'agentEnv', name: 'APP_TOKEN' },
    given: { from: 'server', value: 'text' },
  });
  assert.deepEqual(values, { given: 'text' });
  assert.deepEqual([...faults.keys()].sort(), ['env', 'folder', 'long', 'missing', 'pipe']);
  for (const name of ['missing', 'long', 'folder', 'pipe'])
    assert.ok(faults.get(name)?.includes(path(name)), name);
  assert.match(faults.get('env') ?? '', /APP_TOKEN/);
  assert.match(faults.get('missing') ?? '', /ENOENT/);
  assert.match(faults.get('long') ?? '', /longer than 64 KiB/);
});
