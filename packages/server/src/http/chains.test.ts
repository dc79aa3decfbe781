import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type AttemptEnd, REASONS, type StepResult } from '@rota/contract';
import { SUCCEEDED } from '../attemptReports.testing.ts';
import { JOINING, startTestServer, type TestServer } from '../server.testing.ts';

const STEP: StepResult = {
  index: 0,
  name: 'fetch',
  state: 'succeeded',
  reason: null,
  detail: null,
  tries: 2,
  startedMs: 10,
  durationMs: 7,
  exitCode: null,
  signal: null,
  error: null,
  http: { status: 200, url: 'http://x/', redirects: 0, headers: {} },
  result: '{"n":1}',
  summary: 'fetched',
  outputFrom: 0,
  outputTo: 4,
};
const END: AttemptEnd = { ...SUCCEEDED, outcome: 'failed', reason: 'exitStatus', exitCode: 3 };

/** A server with a job, whose agent's part is played straight through the store. */
async function playing(t: TestContext, document: Record<string, unknown>) {
  const server = await startTestServer(t);
  const tenantId = (await server.store.tenantByName({ name: 'default' }))?.id ?? '';
  const token = await server.createLocalJoinToken();
  const joined = await server.send('POST', '/api/v1/agents/join', { token, name: 'db-1', ...JOINING }, null);
  const { agentId } = joined.json as { agentId: string };
  assert.equal((await server.send('PUT', '/api/v1/jobs/a', document)).status, 200);
  return { server, tenantId, agentId };
}

/** Starts the next attempt of a run that is due. */
async function startNext(
  { server, tenantId, agentId }: { server: TestServer; tenantId: string; agentId: string },
  runId: string,
) {
  const { store } = server;
  for (;;) {
    const [run] = await store.runsByIds({ tenantId, ids: [runId] });
    assert(run);
    if (run.state === 'queued') {
      const [offer] = await store.decideRuns({
        decisions: [{ run, action: 'offer', agentId, offerMs: 60_000, passed: [] }],
      });
      if (offer) {
        const key = { tenantId, agentId, attemptId: `${runId}-${run.attempt + 1}`, epoch: offer.epoch };
        const accepted = { ...key, bootId: 'b', permitUntilBootMs: 1, journalSeq: 1 };
        // The server may have withdrawn it, as no session of the agent is there.
        if ((await store.acceptOffer(accepted)) === null) continue;
        await store.startAttempt({ ...key, seq: 1, pid: 7, journalSeq: 2 });
        return key;
      }
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('A run shows its attempts with their steps, its parameters, and when it is tried again', async (t) => {
  const played = await playing(t, {
    steps: [
      { name: 'fetch', command: 'true' },
      { name: 'store', command: 'true', when: { hour: 3 } },
    ],
    params: { mode: { default: 'full' }, count: { type: 'number', default: 1 } },
    retry: { times: 2, delay: '10m' },
  });
  const { server } = played;
  const made = await server.send('POST', '/api/v1/jobs/a/run', { params: { count: '3' } });
  assert.equal(made.status, 201);
  assert.deepEqual(made.json.run.params, { mode: 'full', count: 3 });
  const runId = made.json.run.id as string;
  const key = await startNext(played, runId);
  const skipped: StepResult = {
    ...STEP,
    index: 1,
    name: 'store',
    state: 'skipped',
    detail: 'hour is 3',
    tries: 0,
    startedMs: null,
    durationMs: null,
    http: null,
    result: null,
    summary: null,
  };
  await server.store.storeProgress({ ...key, percent: 40 });
  await server.store.endAttempt({
    ...key,
    seq: 9,
    journalSeq: 3,
    end: { ...END, steps: [STEP, skipped], result: '[1]', summary: 'half' },
  });
  const { json } = await server.send('GET', `/api/v1/runs/${runId}`);
  assert.deepEqual([json.run.state, json.run.reason.code, json.run.retriesLeft], ['queued', 'retryWait', 1]);
  assert.match(json.run.reason.remedy, new RegExp(`rota run retry ${runId} --now`));
  assert(Date.parse(json.run.retryAt) > Date.parse(json.run.startedAt));
  const [attempt] = json.attempts;
  assert.deepEqual(
    [attempt.outcome, attempt.result, attempt.summary, attempt.progress],
    ['failed', [1], 'half', 40],
  );
  const [fetch, store] = attempt.steps;
  assert.deepEqual(
    [fetch.state, fetch.tries, fetch.durationMs, fetch.http.status, fetch.result, fetch.outputTo],
    ['succeeded', 2, 7, 200, { n: 1 }, 4],
  );
  assert.equal(Date.parse(fetch.startedAt) - Date.parse(attempt.startedAt), 10);
  assert.deepEqual([store.state, store.detail, store.startedAt], ['skipped', 'hour is 3', null]);
});

test('Of steps that were not run it is said what had ended their chain', async (t) => {
  const notRun: StepResult = { ...STEP, index: 1, name: 'store', state: 'notRun', tries: 0, startedMs: null };
  const failed: StepResult = { ...STEP, state: 'failed', reason: 'exitStatus', exitCode: 3 };
  const cases: [Partial<AttemptEnd>, StepResult, string][] = [
    [{}, failed, 'step fetch had failed'],
    [
      { outcome: 'timedOut', reason: 'timeout' },
      { ...failed, state: 'timedOut', reason: 'timeout' },
      'step fetch had timed out',
    ],
    // Its failure had been passed over.
    [{ outcome: 'cancelled', reason: 'cancelledByUser' }, failed, REASONS.cancelledByUser.sentence],
    [{ reason: 'chainInterrupted' }, STEP, REASONS.chainInterrupted.sentence],
  ];
  for (const [end, step, why] of cases) {
    const played = await playing(t, { command: 'true' });
    const made = await played.server.send('POST', '/api/v1/jobs/a/run', {});
    const runId = made.json.run.id as string;
    const key = await startNext(played, runId);
    await played.server.store.endAttempt({
      ...key,
      seq: 9,
      journalSeq: 3,
      end: { ...END, ...end, steps: [step, notRun] },
    });
    const { json } = await played.server.send('GET', `/api/v1/runs/${runId}`);
    assert.deepEqual([json.attempts[0].steps[1].state, json.attempts[0].steps[1].detail], ['notRun', why]);
  }
});

test('How far a run is stands while it runs and when it has failed, not when it has succeeded', async (t) => {
  const played = await playing(t, { command: 'true' });
  const { server } = played;
  const start = async () => {
    const { json } = await server.send('POST', '/api/v1/jobs/a/run', {});
    const key = await startNext(played, json.run.id);
    await server.store.storeProgress({ ...key, percent: 60 });
    return { runId: json.run.id as string, key };
  };
  const progress = async (runId: string) =>
    (await server.send('GET', `/api/v1/runs/${runId}`)).json.attempts[0].progress;
  for (const [outcome, shown] of [
    ['succeeded', null],
    ['failed', 60],
    ['cancelled', 60],
  ] as const) {
    const { runId, key } = await start();
    assert.equal(await progress(runId), 60);
    await server.store.endAttempt({
      ...key,
      seq: 9,
      journalSeq: 3,
      end: { ...END, outcome, exitCode: null },
    });
    assert.equal(await progress(runId), shown, outcome);
  }
});

test('The next attempt of a run is begun at once, or dropped, and only while the run waits for it', async (t) => {
  const played = await playing(t, { command: 'true', retry: { times: 5, delay: '10m' } });
  const { server } = played;
  const { json } = await server.send('POST', '/api/v1/jobs/a/run', {});
  const runId = json.run.id as string;
  const retry = (action: string) => server.send('POST', `/api/v1/runs/${runId}/retry`, { action });
  const first = await startNext(played, runId);
  const early = await retry('drop');
  assert.deepEqual([early.status, early.json.code], [409, 'run.notWaiting']);
  await server.store.endAttempt({ ...first, seq: 9, journalSeq: 3, end: END });
  assert.equal((await retry('now')).status, 200);
  const second = await startNext(played, runId);
  assert.equal(second.attemptId, `${runId}-2`);
  await server.store.endAttempt({ ...second, seq: 9, journalSeq: 3, end: END });
  const dropped = await retry('drop');
  assert.deepEqual([dropped.status, dropped.json.state, dropped.json.exitCode], [200, 'failed', 3]);
  assert.equal((await retry('drop')).json.code, 'run.ended');
  assert.equal((await retry('other')).status, 400);
  assert.equal((await server.send('POST', '/api/v1/runs/zzzzzz/retry', { action: 'now' })).status, 404);
});

test('Parameters that a job does not have, or of the wrong kind, are refused by name', async (t) => {
  const server = await startTestServer(t);
  await server.send('PUT', '/api/v1/jobs/a', {
    command: 'true',
    params: { mode: { choices: ['full', 'part'] }, count: { type: 'number', default: 1 } },
  });
  const run = async (params: unknown) => {
    const { status, json } = await server.send('POST', '/api/v1/jobs/a/run', { params });
    return [status, json.errors ?? json.faults ?? json.detail];
  };
  for (const [params, path] of [
    [{ mode: 'full', cuont: 2 }, 'params.cuont'],
    [{ mode: 'all' }, 'params.mode'],
    [{ mode: 'full', count: 'many' }, 'params.count'],
    [{}, 'params.mode'],
  ] as const) {
    const [status, faults] = await run(params);
    assert.equal(status, 400);
    assert.match(JSON.stringify(faults), new RegExp(path.replace('.', '\\.')));
  }
  const [status] = await run({ mode: 'part' });
  assert.equal(status, 201);
});
