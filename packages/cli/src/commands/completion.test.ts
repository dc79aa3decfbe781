import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fakeServer, jobView } from '../fakeServer.testing.ts';
import { rota } from '../rota.testing.ts';
import { SHELLS } from './completion.ts';

const words = (out: string) =>
  out
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t')[0]);

for (const shell of SHELLS) {
  test(`the completion script of ${shell} is one that ${shell} can read`, async (t) => {
    const { code, out } = await rota(['completion', shell]);
    assert.equal(code, 0);
    const check = spawnSync(shell, ['-n'], { input: out, encoding: 'utf8' });
    if (check.error) return t.skip(`${shell} is not installed here`);
    assert.deepEqual({ status: check.status, stderr: check.stderr }, { status: 0, stderr: '' });
  });
}

test('bash completes through its script', async (t) => {
  const { out } = await rota(['completion', 'bash']);
  const script = `${out}\nrota() { printf 'job\\tjobs\\njoin\\t\\n'; }\nCOMP_WORDS=(rota jo); COMP_CWORD=1; _rota rota jo rota; echo "\${COMPREPLY[@]}"`;
  const { stdout, error } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
  if (error) return t.skip('bash is not installed here');
  assert.equal(stdout, 'job join\n');
});

test('commands, subcommands, flags and choices are completed from the tree', async () => {
  assert.deepEqual(words((await rota(['complete', '--', 'lo'])).out), ['logs', 'login']);
  assert.deepEqual(words((await rota(['complete', '--', 'run', ''])).out), [
    'list',
    'show',
    'cancel',
    'resolve',
    'retry',
  ]);
  assert.deepEqual(words((await rota(['complete', '--', 'logs', '--f'])).out), ['--follow']);
  const outcomes = await rota(['complete', '--', 'run', 'resolve', 'x', '--as', '']);
  assert.deepEqual(words(outcomes.out), ['failed', 'succeeded', 'retry']);
  assert.equal((await rota(['complete', '--', 'apply', '-f', ''])).out, ':files\t\n');
  assert.equal((await rota(['complete', '--', 'exec', '--', ''])).out, '');
});

test('names of jobs come from the server, and nothing comes without one', async (t) => {
  const server = await fakeServer(t, {
    listJobs: ({ query }) => ({
      json: { items: [jobView({ name: `${query.prefix}llo` })], nextCursor: null },
    }),
  });
  for (const argv of [
    ['job', 'run', 'he'],
    ['logs', '-f', 'he'],
    ['run', 'list', 'he'],
  ]) {
    assert.deepEqual(words((await rota(['complete', '--', ...argv], server)).out), ['hello'], argv.join(' '));
  }
  assert.deepEqual(await rota(['complete', '--', 'job', 'run', 'he']), { code: 0, out: '', err: '' });
});
