import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunk, fakeServer, jobView, runView } from './fakeServer.testing.ts';
import { rota } from './rota.testing.ts';

const RUN = runView({ state: 'running', endedAt: null });
const word = (progress: number | null, more = {}) => ({
  event: 'run',
  data: { ...RUN, steps: [], progress, ...more },
});
const written = (seq: number, text: string) => ({ event: 'output', data: chunk(seq, text), id: `c${seq}` });
const END = [word(null, { state: 'succeeded', endedAt: RUN.startedAt }), { event: 'end', data: {} }];
const bar = (percent: number, rest = '') => {
  const done = Math.round(percent * 0.3);
  return `[${'#'.repeat(done)}${'-'.repeat(30 - done)}] ${percent} %${rest}`;
};
const ERASE = '\r\u001b[K';

function follows(events: object[]) {
  return {
    runJob: () => ({ json: { run: RUN, created: true } }),
    getJob: () => ({ json: jobView() }),
    listRuns: () => ({ json: { items: [RUN], nextCursor: null } }),
    getRun: () => ({ json: { run: RUN, attempts: [] } }),
    followRun: () => ({ events: events as never }),
  };
}

test('on a terminal one line says how far a run is; output goes above it, and at its end it goes', async (t) => {
  const server = await fakeServer(
    t,
    follows([word(null), word(0), word(0), word(40), written(1, 'one\n'), word(90), ...END]),
  );
  const { code, err, out } = await rota(['job', 'run', 'hello', '--wait'], { ...server, tty: true });
  assert.equal(code, 0);
  assert.equal(out, 'one\n');
  assert.equal(err, `${bar(0)}${ERASE}${bar(40)}${ERASE}${bar(40)}${ERASE}${bar(90)}${ERASE}`);
});

test('a line of the command that has no end yet is not touched', async (t) => {
  const server = await fakeServer(
    t,
    follows([word(10), written(1, 'do'), word(20), written(2, 'ne\n'), ...END]),
  );
  const { err, out } = await rota(['job', 'run', 'hello', '--wait'], { ...server, tty: true });
  assert.equal(out, 'done\n');
  assert.equal(err, `${bar(10)}${ERASE}${bar(20)}${ERASE}`);
});

test('the line has the step that runs', async (t) => {
  const step = { name: 'fetch', index: 1, state: 'running', tries: 1, durationMs: null };
  const done = { ...step, name: 'first', index: 0, state: 'succeeded' };
  const server = await fakeServer(t, follows([word(50, { steps: [done, step] }), ...END]));
  const { err } = await rota(['job', 'run', 'hello', '--wait'], { ...server, tty: true });
  assert.equal(err, `${bar(50, ' fetch')}${ERASE}`);
});

test('what is no terminal gets the output alone', async (t) => {
  const server = await fakeServer(t, follows([word(10), written(1, 'rota:progress 10%\n'), ...END]));
  const plain = await rota(['job', 'run', 'hello', '--wait'], server);
  assert.deepEqual([plain.out, plain.err], ['rota:progress 10%\n', '']);
  const dumb = await rota(['job', 'run', 'hello', '--wait'], {
    ...server,
    tty: true,
    env: { ...server.env, TERM: 'dumb' },
  });
  assert.equal(dumb.err, '');
});

test('as JSON each word is a record', async (t) => {
  const server = await fakeServer(t, follows([word(null), word(10), word(10), word(20), ...END]));
  const { out } = await rota(['job', 'run', 'hello', '--wait', '--json'], server);
  const records = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    records.filter((record) => 'progress' in record).map(({ run, progress }) => [run, progress]),
    [
      [RUN.id, 10],
      [RUN.id, 20],
      [RUN.id, null],
    ],
  );
});

test('logs --follow has the line too', async (t) => {
  const server = await fakeServer(t, {
    ...follows([word(30), ...END]),
    getJob: () => ({ problem: 'job.notFound' }),
  });
  const { err } = await rota(['logs', '-f', 'r1abcdef'], { ...server, tty: true });
  assert.equal(err, `${bar(30)}${ERASE}`);
});
