import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ERRORS } from '@rota/contract';
import { createMetrics } from './metrics.ts';

const rowsOf = (file: string) =>
  readFileSync(new URL(`../../../docs/${file}`, import.meta.url), 'utf8')
    .split('\n')
    .flatMap((line) => /^\| `([^`]+)` \| (.*) \|$/.exec(line)?.slice(1, 3).join(' | ') ?? []);

test('docs/errors.md lists exactly the errors that there are', () => {
  const expected = Object.entries(ERRORS).map(
    ([code, { status, title }]) => `${code} | ${status} | ${title}`,
  );
  const found = rowsOf('errors.md').map((row) => row.split(' | ').slice(0, 3).join(' | '));
  assert.deepEqual(found.sort(), expected.sort());
});

test('docs/metrics.md lists exactly the metrics that there are', () => {
  const metrics = createMetrics({ store: { onCommit() {} } as never, version: '0', now: 0 });
  const expected = metrics.catalogue().map(({ name, help }) => `${name} | ${help}`);
  const found = rowsOf('metrics.md').map((row) => {
    const [name, , help] = row.split(' | ');
    return `${name} | ${help}`;
  });
  assert.deepEqual(found.sort(), expected.sort());
});

test('docs/failures.md names tests that there are', () => {
  const root = new URL('../../../', import.meta.url).pathname;
  const sources = globSync(
    ['packages/*/src/**/*.test.ts', 'packages/*/src/**/suite/*.ts', 'test/**/*.test.ts'],
    {
      cwd: root,
    },
  )
    .map((file) => readFileSync(`${root}${file}`, 'utf8'))
    .join('\n');
  const named = readFileSync(`${root}docs/failures.md`, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .flatMap(
      (line) =>
        line
          .split(' | ')
          .at(-1)
          ?.match(/"[^"]+"/g) ?? [],
    )
    .map((title) => title.slice(1, -1));
  assert.ok(named.length > 20);
  assert.deepEqual(
    named.filter((title) => !sources.includes(title)),
    [],
  );
});
