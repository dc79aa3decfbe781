import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { define, RETRY_DEFAULTS, readDocument, readJob, renderText, TemplateError } from '@rota/contract';
import { parse } from 'yaml';

const guide = readFileSync(new URL('../../../docs/steps.md', import.meta.url), 'utf8');
const examples = [...guide.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => parse(text as string));

test('Every example of docs/steps.md is a job as it stands', () => {
  assert.ok(examples.length >= 5);
  for (const example of examples) {
    const read =
      'jobs' in example ? readDocument(example, { timezone: 'UTC' }) : readJob(example, { timezone: 'UTC' });
    assert.deepEqual('faults' in read ? read.faults : [], [], JSON.stringify(example));
  }
});

/** The first cells of the table behind a head. */
function firstColumn(head: string): string[] {
  const rows = guide
    .slice(guide.indexOf(`| ${head} |`))
    .split('\n')
    .slice(2);
  return rows.slice(0, rows.indexOf('')).map((row) => row.split(' | ')[0]?.replace('| ', '') ?? '');
}

test('docs/steps.md lists the filters that there are', () => {
  const filters = firstColumn('filter').map((cell) => cell.replaceAll('`', '').replace('…', 'x'));
  assert.equal(filters.length, 4);
  for (const filter of filters) assert.doesNotThrow(() => renderText(`{{ "a" | ${filter} }}`, {} as never));
  assert.throws(() => renderText('{{ "a" | other }}', {} as never), TemplateError);
});

test('docs/steps.md lists the defaults of retry', () => {
  const { retry } = define({ name: 'a', command: 'x', retry: { times: 1 } }, 'UTC');
  assert.deepEqual(retry, { times: 1, jitterMs: 0, ...RETRY_DEFAULTS });
  const rows = guide.split('\n').filter((line) => /^\| `(delay|backoff|maxDelay|outcomes)` /.test(line));
  assert.deepEqual(
    rows.map((row) => row.split(' | ')[1]),
    ['`10s`', '`2`', '`10m`', '`[failed, timedOut]`'],
  );
  assert.deepEqual(RETRY_DEFAULTS, {
    delayMs: 10_000,
    backoff: 2,
    maxDelayMs: 600_000,
    outcomes: ['failed', 'timedOut'],
  });
});
