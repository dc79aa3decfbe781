import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import type { AttemptView, StepView } from '@rota/contract';
import { chunk, fakeServer, jobView, runView } from '../fakeServer.testing.ts';
import { rota } from '../rota.testing.ts';

const STEP: StepView = {
  index: 0,
  name: 'fetch',
  state: 'succeeded',
  reason: null,
  detail: null,
  tries: 2,
  startedAt: '2026-03-01T11:58:00.020Z',
  durationMs: 1_200,
  exitCode: null,
  signal: null,
  error: null,
  http: { status: 200, url: 'http://x/', redirects: 0, headers: {} },
  result: null,
  summary: 'fetched 3',
  outputFrom: 0,
  outputTo: 4,
};
const REASON = { code: 'exitStatus', sentence: 'The command ended badly.', remedy: 'Read it.' } as const;
const STEPS: StepView[] = [
  STEP,
  {
    ...STEP,
    index: 1,
    name: 'night',
    state: 'skipped',
    detail: 'hour is 12, not 3',
    http: null,
    summary: null,
  },
  {
    ...STEP,
    index: 2,
    name: 'store',
    state: 'failed',
    reason: REASON,
    exitCode: 3,
    http: null,
    summary: null,
    outputFrom: 4,
    outputTo: 9,
  },
  {
    ...STEP,
    index: 3,
    name: 'tell',
    state: 'notRun',
    tries: 0,
    startedAt: null,
    durationMs: null,
    http: null,
    summary: null,
  },
];
const ATTEMPT: AttemptView = {
  id: 'r1abcdef-1',
  number: 1,
  agent: 'web-1',
  state: 'ended',
  outcome: 'failed',
  reason: REASON,
  startingAt: '2026-03-01T11:58:00.003Z',
  startedAt: '2026-03-01T11:58:00.010Z',
  endedAt: '2026-03-01T11:58:03.010Z',
  pid: 7,
  exitCode: 3,
  signal: null,
  error: null,
  cpuMs: null,
  maxRssBytes: null,
  durationMs: 3_000,
  http: null,
  outputBytes: 9,
  outputDroppedBytes: 0,
  progress: 40,
  result: { rows: 3 },
  summary: 'three rows',
  steps: STEPS,
};

test('run show has the steps of each attempt, and why each was skipped, not run or failed', async (t) => {
  const run = runView({
    state: 'queued',
    endedAt: null,
    retryAt: '2026-03-01T12:01:00.000Z',
    retriesLeft: 1,
    params: { mode: 'full' },
  });
  const server = await fakeServer(t, { getRun: () => ({ json: { run, attempts: [ATTEMPT] } }) });
  const { code, out } = await rota(['run', 'show', 'r1abcdef'], { ...server, tty: true });
  assert.equal(code, 0);
  const plain = stripVTControlCharacters(out);
  assert.match(plain, /STEP +STATE +TRIES +STARTED +TOOK +RESULT +WHY/);
  assert.match(plain, /fetch +succeeded +2 .*1\.2s +HTTP 200 +fetched 3/);
  assert.match(plain, /night +skipped .*hour is 12, not 3/);
  assert.match(plain, /store +failed .*exit 3 +The command ended badly\./);
  assert.match(plain, /tell +not run .*the chain had ended before it/);
  assert.match(plain, /^ +step store failed after 2 tries: exit 3: The command ended badly\.$/m);
  assert.match(plain, /params +mode=full/);
  assert.match(plain, /retry +next attempt in 1m .*1 more after that/);
  assert.match(plain, /progress 40 %/);
  assert.match(plain, /summary: three rows/);
  assert.match(plain, /result: \{"rows":3\}/);
  const piped = await rota(['run', 'show', 'r1abcdef'], server);
  assert.match(piped.out, /^store\tfailed\t2\t.*\texit 3\tThe command ended badly\.$/m);
  const json = JSON.parse((await rota(['run', 'show', 'r1abcdef', '--json'], server)).out);
  assert.deepEqual(json.attempts[0].steps, STEPS);
});

test('run show names the step that decided, and those whose failure was passed over', async (t) => {
  const [fetch, , store, tell] = STEPS as [StepView, StepView, StepView, StepView];
  const show = async (attempt: Partial<AttemptView>) => {
    const attempts = [{ ...ATTEMPT, ...attempt }];
    const server = await fakeServer(t, { getRun: () => ({ json: { run: runView(), attempts } }) });
    const { out } = await rota(['run', 'show', 'r1abcdef'], { ...server, tty: true });
    return stripVTControlCharacters(out);
  };
  const late = {
    code: 'timeout',
    sentence: 'It ran longer than its timeout and was ended.',
    remedy: '',
  } as const;
  const slow: StepView = {
    ...store,
    name: 'slow',
    state: 'timedOut',
    tries: 1,
    exitCode: null,
    reason: late,
  };
  const passed = /^.*passed over: step store failed after 2 tries: exit 3: The command ended badly\.$/m;
  const decided = await show({ outcome: 'timedOut', reason: late, steps: [store, slow, tell] });
  assert.match(decided, /step slow timed out after 1 try: It ran longer than its timeout and was ended\.$/m);
  assert.match(decided, passed);
  const succeeded = await show({ outcome: 'succeeded', reason: null, steps: [store, fetch] });
  assert.match(succeeded, passed);
  assert.doesNotMatch(succeeded, /(?<!passed over: )step store failed/);
  const cancelled = { code: 'cancelledByUser', sentence: 'Someone cancelled it.', remedy: '' } as const;
  const between = await show({ outcome: 'cancelled', reason: cancelled, steps: [fetch, tell] });
  assert.match(between, /Someone cancelled it\./);
});

test('a run took as long as its work, and run show says how much later the server was told', async (t) => {
  const ended = { endedAt: '2026-03-01T11:58:48.510Z', durationMs: 30_200 };
  const run = runView(ended);
  const attempts = [{ ...ATTEMPT, outcome: 'succeeded', ...ended, reason: null, steps: [] }];
  const server = await fakeServer(t, {
    getRun: () => ({ json: { run, attempts } }),
    listRuns: () => ({ json: { items: [run], nextCursor: null } }),
  });
  const shown = (await rota(['run', 'show', 'r1abcdef'], server)).out;
  assert.match(shown, /^took\t30\.2s$/m);
  assert.match(shown, /^attempt 1\t.*, 30\.2s, told 18\.3s later,/m);
  assert.match((await rota(['run', 'list'], server)).out, /\t30\.2s\t/);
});

test('run retry hurries or drops the next attempt, and wants to be told which', async (t) => {
  const server = await fakeServer(t, {
    retryRun: ({ body }) => ({
      json: runView({ state: (body as { action: string }).action === 'drop' ? 'failed' : 'queued' }),
    }),
  });
  const hurried = await rota(['run', 'retry', 'r1abcdef', '--now'], server);
  assert.deepEqual([hurried.code, hurried.out], [0, 'r1abcdef: begins its next attempt\n']);
  assert.deepEqual(server.body('retryRun'), { action: 'now' });
  const dropped = await rota(['run', 'retry', 'r1abcdef', '--drop', '--json'], server);
  assert.equal(JSON.parse(dropped.out).state, 'failed');
  assert.deepEqual(server.body('retryRun'), { action: 'drop' });
  assert.equal((await rota(['run', 'retry', 'r1abcdef'], server)).code, 2);
  assert.equal((await rota(['run', 'retry', 'r1abcdef', '--now', '--drop'], server)).code, 2);
});

test('job run gives parameters, and with --follow says once what becomes of each step', async (t) => {
  const run = runView({ state: 'running', endedAt: null });
  const [fetch, night, store, tell] = STEPS as [StepView, StepView, StepView, StepView];
  const begun = { ...fetch, state: 'running', tries: 1, durationMs: null, summary: null };
  const event = (steps: unknown[], more = {}) => ({
    event: 'run',
    data: { ...run, ...more, steps, progress: null },
  });
  const server = await fakeServer(t, {
    runJob: () => ({ json: { run, created: true } }),
    followRun: () => ({
      events: [
        event([begun]),
        event([begun]),
        event([fetch, night]),
        event([fetch, night, store, tell], { state: 'failed', exitCode: 3 }),
        { event: 'end', data: {} },
      ],
    }),
  });
  const { code, err } = await rota(
    ['job', 'run', 'hello', '--param', 'mode=full', '--param', 'n=3', '--follow'],
    server,
  );
  assert.equal(code, 3);
  assert.deepEqual(server.body('runJob'), { params: { mode: 'full', n: '3' } });
  assert.deepEqual(err.split('\n').slice(0, 5), [
    'step fetch: running',
    'step fetch: succeeded (try 2) after 1.2s: fetched 3',
    'step night: skipped (try 2) after 1.2s: hour is 12, not 3',
    'step store: failed (try 2) after 1.2s: The command ended badly.',
    'step tell: not run: the chain had ended before it',
  ]);
});

test("logs --step prints a step's share of the output, in every attempt", async (t) => {
  const attempts = [ATTEMPT, { ...ATTEMPT, id: 'r1abcdef-2', number: 2 }];
  const server = await fakeServer(t, {
    getJob: () => ({ problem: 'job.notFound' }),
    getRun: () => ({ json: { run: runView(), attempts } }),
    runOutput: () => ({
      json: {
        chunks: [
          chunk(1, 'one\ntw'),
          chunk(2, 'o\n', { stream: 'stderr' }),
          { ...chunk(1, 'e\n', { attempt: 2 }), droppedBytes: 7 },
        ],
        nextCursor: null,
        complete: true,
      },
    }),
  });
  const fetched = await rota(['logs', 'r1abcdef', '--step', 'fetch'], server);
  assert.deepEqual([fetched.out, fetched.err], ['one\n', '… 4 B left out …\n']);
  const stored = await rota(['logs', 'r1abcdef', '--step', 'store'], server);
  assert.deepEqual([stored.out, stored.err], ['twe\n', 'o\n… 3 B left out …\n']);
  const none = await rota(['logs', 'r1abcdef', '--step', 'tlel'], server);
  assert.equal(none.code, 5);
  assert.match(none.err, /no step "tlel"; its steps: fetch, night, store, tell/);
  assert.equal((await rota(['logs', 'r1abcdef', '-f', '--step', 'fetch'], server)).code, 2);
});

test('logs --step main of a job with one plain step prints all', async (t) => {
  const server = await fakeServer(t, {
    getJob: () => ({ json: jobView() }),
    listRuns: () => ({ json: { items: [runView()], nextCursor: null } }),
    getRun: () => ({ json: { run: runView(), attempts: [{ ...ATTEMPT, steps: [] }] } }),
    runOutput: () => ({ json: { chunks: [chunk(1, 'hi\n')], nextCursor: null, complete: true } }),
  });
  assert.equal((await rota(['logs', 'hello', '--step', 'main'], server)).out, 'hi\n');
});
