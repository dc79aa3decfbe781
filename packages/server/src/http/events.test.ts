import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createClient, type RunView, type ServerSentEvent } from '@rota/contract';
import { JOINING, startTestServer, type TestServer } from '../server.testing.ts';

/** Opens a stream and gives its events one by one. */
function follow(t: TestContext, server: TestServer, path: string, headers: Record<string, string> = {}) {
  const abort = new AbortController();
  t.after(() => abort.abort());
  const open = (url: string | URL | Request, init?: RequestInit) =>
    fetch(url, { ...init, headers: { ...(init?.headers as Record<string, string>), ...headers } });
  const client = createClient({ url: server.url, token: server.token, fetch: open });
  const [, id] = /runs\/(\w+)\/live/.exec(path) ?? [];
  const query = Object.fromEntries(new URL(path, server.url).searchParams);
  const events = id
    ? client.stream('followRun', { params: { id }, query, signal: abort.signal })
    : client.stream('events', { query: query as never, signal: abort.signal });
  return {
    async take(count: number): Promise<ServerSentEvent[]> {
      const taken: ServerSentEvent[] = [];
      while (taken.length < count) {
        const { value, done } = await events.next();
        if (done) break;
        taken.push(value);
      }
      return taken;
    },
    close: () => abort.abort(),
  };
}

test('Changes arrive as they are committed, and a reader that comes back by its last id misses none', async (t) => {
  const server = await startTestServer(t);
  const put = (command: string) => server.send('PUT', '/api/v1/jobs/a', { command });
  await put('1');
  const first = follow(t, server, '/api/v1/events?after=0');
  const [created] = await first.take(1);
  assert.equal(created?.event, 'job');
  assert.equal(JSON.parse(created?.data ?? '').action, 'created');
  await put('2');
  const [updated] = await first.take(1);
  assert.equal(JSON.parse(updated?.data ?? '').revision, 2);
  first.close();
  await put('3');
  await put('4');
  const again = follow(t, server, '/api/v1/events', { 'last-event-id': updated?.id ?? '' });
  const missed = await again.take(2);
  assert.deepEqual(
    missed.map(({ data }) => JSON.parse(data).revision),
    [3, 4],
  );
});

test('A reader chooses kinds of event and a job', async (t) => {
  const server = await startTestServer(t);
  for (const name of ['a', 'b']) await server.send('PUT', `/api/v1/jobs/${name}`, { command: 'true' });
  await server.send('POST', '/api/v1/jobs/b/run', {});
  const token = await server.createLocalJoinToken();
  await server.send('POST', '/api/v1/agents/join', { token, name: 'db-1', ...JOINING }, null);
  const [agent] = await follow(t, server, '/api/v1/events?after=0&types=agent').take(1);
  assert.equal(JSON.parse(agent?.data ?? '').state, 'joined');
  const [ofB] = await follow(t, server, '/api/v1/events?after=0&job=b&types=job').take(1);
  const { json } = await server.send('GET', '/api/v1/jobs/b');
  assert.equal(JSON.parse(ofB?.data ?? '').id, json.id);
  assert.equal((await server.send('GET', '/api/v1/events?types=runs')).status, 400);
  assert.equal((await server.send('GET', '/api/v1/events?job=nobody')).status, 404);
});

test('A reader that was away for longer than events are kept is told to read everything again', async (t) => {
  const server = await startTestServer(t);
  for (const name of ['a', 'b', 'c']) await server.send('PUT', `/api/v1/jobs/${name}`, { command: 'true' });
  await server.store.deleteOldEvents({ before: Number.MAX_SAFE_INTEGER, limit: 2 });
  const [reset, next] = await follow(t, server, '/api/v1/events?after=1').take(2);
  assert.equal(reset?.event, 'reset');
  assert.equal(next?.event, 'job');
});

test('A run is followed to its end: its state, its output in order, and `end`', async (t) => {
  const server = await startTestServer(t);
  const tenant = await server.store.tenantByName({ name: 'default' });
  const tenantId = tenant?.id ?? '';
  const joinToken = await server.createLocalJoinToken();
  const joined = await server.send(
    'POST',
    '/api/v1/agents/join',
    { token: joinToken, name: 'db-1', ...JOINING },
    null,
  );
  const { agentId } = joined.json;
  await server.send('PUT', '/api/v1/jobs/a', { command: 'true' });
  const { json } = await server.send('POST', '/api/v1/jobs/a/run', {});
  const runId = json.run.id as string;
  const live = follow(t, server, `/api/v1/runs/${runId}/live`);
  const [planned] = await live.take(1);
  assert.equal(planned?.event, 'run');

  // The agent's part, straight through the store.
  const { store } = server;
  let offer: { epoch: number } | undefined;
  while (!offer) {
    const [run] = (await store.runsByIds({ tenantId, ids: [runId] })).filter(
      ({ state }) => state === 'queued',
    );
    if (run)
      [offer] = await store.decideRuns({
        decisions: [{ run, action: 'offer', agentId, offerMs: 60_000, passed: [] }],
      });
    await new Promise((resolve) => setImmediate(resolve));
  }
  const attempt = { tenantId, agentId, attemptId: `${runId}-1`, epoch: offer.epoch };
  await store.acceptOffer({ ...attempt, bootId: 'b', permitUntilBootMs: 1, journalSeq: 1 });
  await store.startAttempt({ ...attempt, seq: 1, pid: 7, journalSeq: 2 });
  const chunks = ['one\n', 'two\n'].map((text, index) => ({
    seq: 2 + index,
    stream: 'stdout' as const,
    atMs: index,
    droppedBytes: 0,
    data: Buffer.from(text),
  }));
  await store.storeOutput({ tenantId, agentId, attemptId: attempt.attemptId, chunks });
  await store.endAttempt({
    ...attempt,
    seq: 9,
    journalSeq: 3,
    end: {
      outcome: 'failed',
      reason: 'exitStatus',
      exitCode: 7,
      signal: null,
      error: null,
      durationMs: 5,
      cpuMs: 1,
      maxRssBytes: 1,
      outputBytes: 8,
      outputDroppedBytes: 0,
      http: null,
      steps: [],
      result: null,
      summary: null,
    },
  });

  const rest = await live.take(1_000);
  assert.equal(rest.at(-1)?.event, 'end');
  const output = rest.filter(({ event }) => event === 'output');
  assert.equal(
    output.map(({ data }) => Buffer.from(JSON.parse(data).data, 'base64').toString()).join(''),
    'one\ntwo\n',
  );
  const last = JSON.parse(rest.filter(({ event }) => event === 'run').at(-1)?.data ?? '') as RunView;
  assert.deepEqual([last.state, last.exitCode, last.agent], ['failed', 7, 'db-1']);

  const resumed = await follow(t, server, `/api/v1/runs/${runId}/live?cursor=${output[0]?.id}`).take(10);
  assert.deepEqual(
    resumed.map(({ event }) => event),
    ['output', 'run', 'end'],
  );
  const page = await server.send('GET', `/api/v1/runs/${runId}/output?limit=1`);
  assert.deepEqual([page.json.chunks.length, page.json.complete], [1, false]);
  const next = await server.send(
    'GET',
    `/api/v1/runs/${runId}/output?limit=1&cursor=${page.json.nextCursor}`,
  );
  assert.deepEqual([next.json.chunks[0].seq, next.json.complete, next.json.nextCursor], [3, true, null]);
  const detail = await server.send('GET', `/api/v1/runs/${runId}`);
  assert.deepEqual([detail.json.attempts.length, detail.json.attempts[0].pid], [1, 7]);
  const status = await server.send('GET', '/api/v1/status');
  assert.equal(status.json.runs.failedLastDay, 1);
  assert.equal(status.json.lateness.runs, 1);
  assert.match((await server.send('GET', '/metrics')).text, /rota_runs_ended_total\{outcome="failed"\} 1/);
});
