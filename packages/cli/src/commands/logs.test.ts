import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunk, fakeServer, jobView, runView } from '../fakeServer.testing.ts';
import { rota } from '../rota.testing.ts';

test('logs of a run prints all its pages, both outputs apart', async (t) => {
  const server = await fakeServer(t, {
    getJob: () => ({ problem: 'job.notFound' }),
    getRun: () => ({ json: { run: runView(), attempts: [] } }),
    runOutput: ({ query }) => ({
      json:
        query.cursor === undefined
          ? {
              chunks: [chunk(1, 'one\n'), chunk(2, 'oops\n', { stream: 'stderr' })],
              nextCursor: '2',
              complete: false,
            }
          : { chunks: [chunk(3, 'two\n')], nextCursor: null, complete: true },
    }),
  });
  const { code, out, err } = await rota(['logs', 'r1abcdef'], server);
  assert.deepEqual({ code, out, err }, { code: 0, out: 'one\ntwo\n', err: 'oops\n' });
});

test('logs of a job prints its newest run', async (t) => {
  const server = await fakeServer(t, {
    getJob: () => ({ json: jobView() }),
    listRuns: () => ({ json: { items: [runView()], nextCursor: null } }),
    runOutput: () => ({ json: { chunks: [chunk(1, 'hi\n')], nextCursor: null, complete: true } }),
  });
  const { out, err } = await rota(['logs', 'hello'], server);
  assert.equal(out, 'hi\n');
  assert.match(err, /── run r1abcdef on web-1, due 2026-03-01T11:58:00.000Z, succeeded ──/);
});

test('what is neither a job nor a run is not found', async (t) => {
  const server = await fakeServer(t, {
    getJob: () => ({ problem: 'job.notFound' }),
    getRun: () => ({ problem: 'run.notFound' }),
  });
  const { code, err } = await rota(['logs', 'nope'], server);
  assert.equal(code, 5);
  assert.match(err, /no job and no run "nope"/);
});

test('bytes that were left out are marked', async (t) => {
  const server = await fakeServer(t, {
    getJob: () => ({ problem: 'job.notFound' }),
    getRun: () => ({ json: { run: runView(), attempts: [] } }),
    runOutput: () => ({
      json: { chunks: [{ ...chunk(9, 'end\n'), droppedBytes: 2048 }], nextCursor: null, complete: true },
    }),
  });
  assert.match((await rota(['logs', 'r1abcdef'], server)).err, /2\.0 KiB left out/);
});

test('following survives a server that goes away: it goes on behind what was told last', async (t) => {
  let visits = 0;
  const server = await fakeServer(t, {
    getJob: () => ({ problem: 'job.notFound' }),
    getRun: () => ({ json: { run: runView(), attempts: [] } }),
    followRun() {
      visits += 1;
      if (visits === 1)
        return { events: [{ event: 'output', data: chunk(1, 'one\n'), id: 'c1' }], cut: true };
      if (visits === 2) return { problem: 'server.draining' };
      return {
        events: [
          // A chunk that was told before is not told again.
          { event: 'output', data: chunk(1, 'one\n'), id: 'c1' },
          { event: 'output', data: chunk(2, 'two\n'), id: 'c2' },
          { event: 'run', data: runView() },
          { event: 'end', data: {} },
        ],
      };
    },
  });
  const { code, out, err } = await rota(['logs', '-f', 'r1abcdef'], server);
  assert.equal(code, 0);
  assert.equal(out, 'one\ntwo\n');
  assert.match(err, /connection lost .*\nrota: connected again\n/);
  const cursors = server.calls.filter(({ route }) => route === 'followRun').map(({ query }) => query.cursor);
  assert.deepEqual(cursors, [undefined, 'c1', 'c1']);
});

test('following stops when the server says that it is not allowed', async (t) => {
  const server = await fakeServer(t, {
    getJob: () => ({ problem: 'job.notFound' }),
    getRun: () => ({ json: { run: runView(), attempts: [] } }),
    followRun: () => ({ problem: 'auth.invalid' }),
  });
  assert.equal((await rota(['logs', '-f', 'r1abcdef'], server)).code, 4);
});

test('following a job goes from run to run, oldest first, each once', async (t) => {
  let asked = 0;
  const run = (id: string) => runView({ id });
  const lists = [['r1'], ['r1'], ['r3', 'r2', 'r1'], ['r3', 'r2', 'r1']];
  const server = await fakeServer(t, {
    getJob: () => ({ json: jobView() }),
    listRuns: () => {
      const ids = lists[asked++];
      // The test ends where there is no answer any more.
      return ids ? { json: { items: ids.map(run), nextCursor: null } } : { problem: 'auth.invalid' };
    },
    followRun: ({ params }) => ({
      events: [
        { event: 'output', data: chunk(1, `${params.id}\n`), id: 'c' },
        { event: 'run', data: run(params.id as string) },
        { event: 'end', data: {} },
      ],
    }),
  });
  const { out } = await rota(['logs', '-f', 'hello'], server);
  assert.equal(out, 'r1\nr2\nr3\n');
});
