import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorCode } from '@rota/contract';
import { fakeServer, jobView, runView } from './fakeServer.testing.ts';
import { rota } from './rota.testing.ts';

for (const [problem, code] of [
  ['auth.forbidden', 4],
  ['job.notFound', 5],
  ['job.revisionConflict', 6],
  ['document.invalid', 6],
  ['request.invalid', 2],
  ['request.tooMany', 1],
  ['server.internal', 1],
  ['server.draining', 3],
] as [ErrorCode, number][]) {
  test(`${problem} of the server ends with exit code ${code}`, async (t) => {
    const server = await fakeServer(t, { getJob: () => ({ problem, detail: `said by ${problem}` }) });
    const { code: ended, err, out } = await rota(['job', 'show', 'hello'], server);
    assert.equal(ended, code);
    assert.equal(out, '');
    assert.match(err, new RegExp(`said by ${problem}`));
  });
}

test('without a token it says where one comes from, and nothing of headers', async (t) => {
  const server = await fakeServer(t, {
    getJob: () => ({ problem: 'auth.missing', detail: 'Send the header' }),
  });
  const { code, err } = await rota(['job', 'show', 'hello'], { env: { ROTA_URL: server.url } });
  assert.equal(code, 4);
  assert.match(err, /^rota: A token is needed \(no token is known for this server\)\nnext: rota login\n$/);
});

test('a server that does not answer is exit code 3, and the next command to type', async () => {
  const { code, err } = await rota(['status'], { env: { ROTA_URL: 'http://127.0.0.1:1' } });
  assert.equal(code, 3);
  assert.match(err, /no answer from http:\/\/127\.0\.0\.1:1/);
  assert.match(err, /next: npx rota up/);
});

test('each fault of a document has a line with its path', async (t) => {
  const faults = [
    { path: 'schedule', code: 'value', message: 'is bad' },
    { path: 'command', code: 'missing', message: 'is required' },
  ];
  const server = await fakeServer(t, { putJob: () => ({ problem: 'document.invalid', faults }) });
  const { code, err } = await rota(['job', 'add', 'x', '--', 'true'], server);
  assert.equal(code, 6);
  assert.match(err, /\n {2}schedule: is bad\n {2}command: is required\n/);
});

test('with --json an error is one line of JSON on stderr', async (t) => {
  const server = await fakeServer(t, { getJob: () => ({ problem: 'job.notFound', detail: 'no job x' }) });
  const { code, out, err } = await rota(['job', 'show', 'x', '--json'], server);
  assert.deepEqual({ code, out }, { code: 5, out: '' });
  assert.deepEqual(JSON.parse(err), {
    error: { message: 'no job x', code: 'job.notFound', exitCode: 5, faults: [], next: 'rota job list' },
  });
});

test('wrong usage is exit code 2; help and version are no failure', async () => {
  assert.equal((await rota(['token', 'create', 'x'])).code, 2);
  assert.equal((await rota(['job'])).code, 2);
  assert.equal((await rota([])).code, 2);
  assert.equal((await rota(['--help'])).code, 0);
  assert.match((await rota(['--version'])).out, /^\d+\.\d+\.\d+\n$/);
});

test('every command has a description, and help shows the exit codes', async () => {
  assert.match((await rota(['--help'])).out, /Exit codes: 0 ok/);
  assert.match((await rota(['job', 'add', '--help'])).out, /When:/);
});

test('a list is a table with relative times for people', async (t) => {
  const server = await fakeServer(t, {
    listJobs: () => ({ json: { items: [jobView()], nextCursor: null } }),
  });
  const { out } = await rota(['job', 'list'], {
    ...server,
    tty: true,
    env: { ...server.env, NO_COLOR: '1' },
  });
  const [head, row] = out.split('\n');
  assert.match(head ?? '', /^NAME\s+STATE\s+SCHEDULE\s+NEXT\s+LAST\s+WHEN$/);
  assert.match(row ?? '', /^hello\s+enabled\s+every 1m\s+in 1m\s+succeeded\s+2m ago$/);
});

test('colours appear only on a terminal that wants them', async (t) => {
  const server = await fakeServer(t, {
    listJobs: () => ({ json: { items: [jobView()], nextCursor: null } }),
  });
  const colour = '\u001b[';
  assert.ok((await rota(['job', 'list'], { ...server, tty: true })).out.includes(colour));
  assert.ok(!(await rota(['job', 'list'], { ...server, tty: false })).out.includes(colour));
  const noColour = { ...server, tty: true, env: { ...server.env, NO_COLOR: '1' } };
  assert.ok(!(await rota(['job', 'list'], noColour)).out.includes(colour));
});

test('a piped list has one line each, tabs between, exact times and no head', async (t) => {
  const server = await fakeServer(t, {
    listRuns: () => ({ json: { items: [runView()], nextCursor: null } }),
  });
  const { out } = await rota(['run', 'list'], server);
  assert.equal(out, 'r1abcdef\thello\tsucceeded\t2026-03-01T11:58:00.000Z\t3s\tweb-1\t\n');
});

test('a list goes on over pages until its limit, and says when there is more', async (t) => {
  const server = await fakeServer(t, {
    listJobs: ({ query }) => ({
      json: {
        items: [jobView({ name: `job-${query.cursor ?? 0}` })],
        nextCursor: String(Number(query.cursor ?? 0) + 1),
      },
    }),
  });
  const { out, err } = await rota(['job', 'list', '--limit', '3', '--json'], server);
  assert.deepEqual(
    JSON.parse(out).map(({ name }: { name: string }) => name),
    ['job-0', 'job-1', 'job-2'],
  );
  assert.equal(err, '');
  assert.match((await rota(['job', 'list', '--limit', '3'], server)).err, /There are more/);
});

test('what others wrote cannot command the terminal', async (t) => {
  const title = 'x\u001b[2Jy\nz';
  const server = await fakeServer(t, {
    getJob: () => ({ json: jobView({ title }) }),
    listRuns: () => ({ json: { items: [runView({ job: null, title })], nextCursor: null } }),
  });
  assert.ok(!(await rota(['job', 'show', 'hello'], server)).out.includes('\u001b'));
  assert.ok((await rota(['run', 'list'], server)).out.includes('(x[2Jy z)'));
});
