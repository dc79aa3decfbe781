import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunView } from '@rota/contract';
import { type Answer, chunk, fakeServer, runView } from '../fakeServer.testing.ts';
import { rota } from '../rota.testing.ts';

const started = (id: string, agent: string | null = null) =>
  runView({
    id,
    job: null,
    kind: 'adHoc',
    title: 'x',
    state: 'queued',
    agent,
    startedAt: null,
    endedAt: null,
  });

function live(run: RunView, ...chunks: ReturnType<typeof chunk>[]): Answer {
  return {
    events: [
      ...chunks.map((data) => ({ event: 'output', data, id: `${data.attempt}.${data.seq}` })),
      { event: 'run', data: run },
      { event: 'end', data: {} },
    ],
  };
}

test('exec without --wait prints the ids of the runs', async (t) => {
  const server = await fakeServer(t, {
    exec: () => ({ json: { runs: [started('run1'), started('run2', 'web-2')] } }),
  });
  const { code, out } = await rota(['exec', '--all', '--', 'uname', '-a'], server);
  assert.equal(code, 0);
  assert.equal(out, 'run1\nrun2\tweb-2\n');
  assert.deepEqual(server.calls[0]?.body, {
    command: ['uname', '-a'],
    all: true,
    idempotencyKey: 'fresh-id',
  });
});

test('one word after -- goes to the shell as a text', async (t) => {
  const server = await fakeServer(t, { exec: () => ({ json: { runs: [started('run1')] } }) });
  await rota(['exec', '--agent', 'a', '--agent', 'b', '-l', 'k=v', '--', 'date | wc'], server);
  const { idempotencyKey: _, ...body } = server.body('exec');
  assert.deepEqual(body, { command: 'date | wc', agents: ['a', 'b'], labels: { k: 'v' } });
});

test('exec --wait streams both outputs apart and ends with the exit code of the command', async (t) => {
  const server = await fakeServer(t, {
    exec: () => ({ json: { runs: [started('run1')] } }),
    followRun: () =>
      live(
        runView({ id: 'run1', state: 'failed', exitCode: 7 }),
        chunk(1, 'out '),
        chunk(2, 'err\n', { stream: 'stderr' }),
        chunk(3, 'out\n'),
      ),
  });
  const { code, out, err } = await rota(['exec', '--wait', '--', 'x'], server);
  assert.equal(code, 7);
  assert.equal(out, 'out out\n');
  assert.equal(err, 'err\nrun run1 failed with exit code 7 on web-1 after 3s\n');
});

test('several agents get their lines prefixed, and the first failure decides', async (t) => {
  const agents: Record<string, string> = { run1: 'a', run2: 'b', run3: 'c' };
  const codes: Record<string, number> = { run1: 0, run2: 3, run3: 4 };
  const server = await fakeServer(t, {
    exec: () => ({ json: { runs: Object.keys(agents).map((id) => started(id)) } }),
    followRun: ({ params: { id = '' } }) => {
      const exitCode = codes[id] as number;
      const state = exitCode === 0 ? 'succeeded' : 'failed';
      return live(
        runView({ id, agent: agents[id] as string, state, exitCode }),
        chunk(1, 'one\ntw'),
        chunk(2, 'o'),
      );
    },
  });
  const { code, out } = await rota(['exec', '--all', '--wait', '--', 'x'], server);
  assert.equal(code, 3);
  assert.deepEqual(out.trimEnd().split('\n').sort(), [
    'a | one',
    'a | two',
    'b | one',
    'b | two',
    'c | one',
    'c | two',
  ]);
});

for (const [fields, code] of [
  [{ state: 'succeeded' }, 0],
  [{ state: 'failed', exitCode: null, signal: 'SIGKILL' }, 137],
  [{ state: 'failed', exitCode: null }, 1],
  [{ state: 'timedOut', exitCode: null }, 124],
  [{ state: 'cancelled', exitCode: null }, 130],
  [{ state: 'missed', exitCode: null }, 125],
  [{ state: 'skipped', exitCode: null }, 125],
] as [Partial<RunView>, number][]) {
  const how =
    fields.signal ?? `${fields.state}${fields.exitCode === undefined ? '' : ' without an exit code'}`;
  test(`a run that ends ${how} makes exec --wait end with ${code}`, async (t) => {
    const server = await fakeServer(t, {
      exec: () => ({ json: { runs: [started('run1')] } }),
      followRun: () => live(runView({ id: 'run1', ...fields })),
    });
    assert.equal((await rota(['exec', '--wait', '--', 'x'], server)).code, code);
  });
}

test('a run that stays unknown ends the wait with 125', async (t) => {
  const server = await fakeServer(t, {
    exec: () => ({ json: { runs: [started('run1')] } }),
    followRun: () => ({ events: [{ event: 'run', data: runView({ state: 'unknown' }) }], cut: true }),
  });
  assert.equal((await rota(['exec', '--wait', '--', 'x'], server)).code, 125);
});

test('the reason why a run waits is said once, with its remedy', async (t) => {
  const reason = { code: 'noAgentOnline' as const, sentence: 'No agent.', remedy: 'Start one.' };
  const waiting = runView({ id: 'run1', state: 'queued', reason });
  const server = await fakeServer(t, {
    exec: () => ({ json: { runs: [waiting] } }),
    followRun: () => ({
      events: [
        { event: 'run', data: waiting },
        { event: 'run', data: waiting },
        { event: 'run', data: runView({ id: 'run1' }) },
        { event: 'end', data: {} },
      ],
    }),
  });
  assert.equal((await rota(['exec', '--wait', '--', 'x'], server)).err, 'waiting: No agent. Start one.\n');
});

test('Ctrl-C during exec --wait cancels the runs', async (t) => {
  const stop = new AbortController();
  const server = await fakeServer(t, {
    exec: () => ({ json: { runs: [started('run1')] } }),
    followRun: () => new Promise(() => stop.abort()),
    cancelRun: () => ({ json: runView({ id: 'run1', state: 'cancelled' }) }),
  });
  const { code } = await rota(['exec', '--wait', '--', 'x'], { ...server, stop: stop.signal });
  assert.equal(code, 130);
  assert.deepEqual(
    server.calls.map(({ route }) => route),
    ['exec', 'followRun', 'cancelRun'],
  );
});

test('Ctrl-C during job run --wait leaves the run alone and says how to end it', async (t) => {
  const stop = new AbortController();
  const server = await fakeServer(t, {
    runJob: () => ({ json: { run: started('run1'), created: true } }),
    followRun: () => new Promise(() => stop.abort()),
  });
  const { code, err } = await rota(['job', 'run', 'hello', '--wait'], { ...server, stop: stop.signal });
  assert.equal(code, 130);
  assert.match(err, /the run goes on\. To end it: rota run cancel run1/);
});

test('exec --wait --json gives a line for each chunk and one for the end', async (t) => {
  const server = await fakeServer(t, {
    exec: () => ({ json: { runs: [started('run1')] } }),
    followRun: () => live(runView({ id: 'run1' }), chunk(1, 'hi\n')),
  });
  const { out } = await rota(['exec', '--wait', '--json', '--', 'x'], server);
  const [first, last] = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(first.text, 'hi\n');
  assert.equal(last.end.state, 'succeeded');
});

test('job run --wait ends with the exit code of the command too', async (t) => {
  const server = await fakeServer(t, {
    runJob: () => ({ json: { run: started('run1'), created: true } }),
    followRun: () => live(runView({ id: 'run1', state: 'failed', exitCode: 9 })),
  });
  assert.equal((await rota(['job', 'run', 'hello', '--wait'], server)).code, 9);
});
