import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Call, fakeServer, jobView } from '../fakeServer.testing.ts';
import { rota, temporaryFolder } from '../rota.testing.ts';

const change = { name: 'hello', action: 'created', revision: 1, fields: [] };
const saved = { json: { job: jobView(), change } };

test('job add makes a document of its flags, and only when the job is new', async (t) => {
  const server = await fakeServer(t, { putJob: () => saved });
  const argv =
    'job add hello --every 10s --cron @daily --timezone UTC --agent a --agent b -l role=db --env A=1=2';
  const { code, out } = await rota(
    [...argv.split(' '), '--timeout', '5m', '--paused', '--', 'echo', 'hi'],
    server,
  );
  assert.equal(code, 0);
  assert.match(out, /^hello: created, Every 1m; next run 2026-03-01T12:01:00.000Z\n$/);
  assert.deepEqual(server.calls[0]?.query, { revision: '0', paused: 'true' });
  assert.deepEqual(server.calls[0]?.body, {
    name: 'hello',
    schedule: [
      { every: '10s', timezone: 'UTC' },
      { cron: '@daily', timezone: 'UTC' },
    ],
    target: { agents: ['a', 'b'], labels: { role: 'db' } },
    command: ['echo', 'hi'],
    env: { A: '1=2' },
    timeout: '5m',
  });
});

test('flags of the command behind -- are its own', async (t) => {
  const server = await fakeServer(t, { putJob: () => saved });
  await rota(['job', 'add', 'hello', '--', 'ls', '--json', '-l'], server);
  assert.deepEqual(server.body('putJob').command, ['ls', '--json', '-l']);
});

test('job add over a job that exists says how to change it', async (t) => {
  const server = await fakeServer(t, { putJob: () => ({ problem: 'job.revisionConflict' }) });
  const { code, err } = await rota(['job', 'add', 'hello', '--', 'x'], server);
  assert.equal(code, 6);
  assert.match(err, /there is a job hello already\nnext: rota job edit hello/);
});

test('job add without a command or with two actions is wrong usage', async () => {
  assert.equal((await rota(['job', 'add', 'x', '--every', '1m'])).code, 2);
  assert.equal((await rota(['job', 'add', 'x', '--http', 'http://x', '--', 'y'])).code, 2);
});

/** A shell script as the editor; what it was shown the n-th time is in `seen-n`. */
function editor(t: TestContext, script: string): { env: Record<string, string>; seen(n: number): string } {
  const folder = temporaryFolder(t);
  const path = join(folder, 'editor');
  const text = `#!/bin/sh\ncd ${folder}\nn=1; while [ -e seen-$n ]; do n=$((n+1)); done\ncp "$1" seen-$n\n${script}\n`;
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return {
    env: { EDITOR: path, TMPDIR: folder },
    seen: (n) => readFileSync(join(folder, `seen-${n}`), 'utf8'),
  };
}

test('job edit opens the document in the editor and saves it as the next revision', async (t) => {
  const { env, seen } = editor(t, 'sed -i "s/echo hi/echo ho/" "$1"');
  const server = await fakeServer(t, { getJob: () => ({ json: jobView() }), putJob: () => saved });
  const { code } = await rota(['job', 'edit', 'hello'], { env: { ...server.env, ...env } });
  assert.equal(code, 0);
  assert.match(seen(1), /^# Job hello, revision 3\..*\nname: hello\nschedule: every 1m\ncommand: echo hi\n$/);
  const put = server.calls.at(-1) as Call;
  assert.deepEqual(put.query, { revision: '3' });
  assert.deepEqual(put.body, { name: 'hello', schedule: 'every 1m', command: 'echo ho' });
});

test('job edit of a text that is left as it is, or emptied, changes nothing', async (t) => {
  for (const script of ['true', ': > "$1"']) {
    const { env } = editor(t, script);
    const server = await fakeServer(t, { getJob: () => ({ json: jobView() }) });
    const { code, err } = await rota(['job', 'edit', 'hello'], { env: { ...server.env, ...env } });
    assert.equal(code, 0);
    assert.match(err, /nothing changed/);
    assert.equal(server.calls.length, 1);
  }
});

test('job edit opens again with the faults as comments, first of YAML, then of the document', async (t) => {
  const { env, seen } = editor(
    t,
    'case $n in 1) echo "timeout: [" >> "$1";; 2) sed -i "s/timeout: \\[/timeout: 1x/" "$1";; 3) sed -i "s/1x/1m/" "$1";; esac',
  );
  const server = await fakeServer(t, {
    getJob: () => ({ json: jobView() }),
    putJob: ({ body }) =>
      (body as { timeout: string }).timeout === '1m'
        ? saved
        : {
            problem: 'document.invalid',
            faults: [{ path: 'timeout', code: 'value', message: '"1x" is bad' }],
          },
  });
  const { code } = await rota(['job', 'edit', 'hello'], { env: { ...server.env, ...env } });
  assert.equal(code, 0);
  assert.match(seen(2), /^# FAULT /);
  assert.match(seen(3), /^# FAULT timeout: "1x" is bad\n# Job hello/);
  assert.equal(server.body('putJob').timeout, '1m');
});

test('job edit that is given up with faults, or meets a newer revision, keeps the text', async (t) => {
  const faulty = editor(t, '[ $n = 1 ] && sed -i "s/every 1m/never/" "$1"; true');
  const refusing = await fakeServer(t, {
    getJob: () => ({ json: jobView() }),
    putJob: () => ({
      problem: 'document.invalid',
      faults: [{ path: 'schedule', code: 'value', message: 'bad' }],
    }),
  });
  const newer = editor(t, 'sed -i "s/every 1m/never/" "$1"');
  const conflicting = await fakeServer(t, {
    getJob: () => ({ json: jobView() }),
    putJob: () => ({ problem: 'job.revisionConflict' }),
  });
  for (const [server, { env }] of [
    [refusing, faulty],
    [conflicting, newer],
  ] as const) {
    const { code, err } = await rota(['job', 'edit', 'hello'], { env: { ...server.env, ...env } });
    assert.equal(code, 6);
    const kept = /your text is in (\S+)/.exec(err)?.[1] ?? '';
    assert.ok(existsSync(kept));
    assert.match(readFileSync(kept, 'utf8'), /schedule: never/);
  }
});

test('job edit says so when the editor fails', async (t) => {
  const server = await fakeServer(t, { getJob: () => ({ json: jobView() }) });
  const { code, err } = await rota(['job', 'edit', 'hello'], { env: { ...server.env, EDITOR: 'false' } });
  assert.equal(code, 1);
  assert.match(err, /the editor \(false\) ended with exit code 1; nothing was saved/);
});

test('job show tells what it does and when', async (t) => {
  const server = await fakeServer(t, { getJob: () => ({ json: jobView() }) });
  const { out } = await rota(['job', 'show', 'hello'], server);
  assert.match(out, /^name\thello$/m);
  assert.match(out, /^schedule\tevery 1m {1,2}Every 1m$/m);
  assert.match(out, /^next\t2026-03-01T12:01:00.000Z$/m);
});
