import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertProblem, startTestServer, type TestServer } from '../server.testing.ts';

test('The jobs of the status are enabled, paused or disabled, each counted once', async (t) => {
  const server = await startTestServer(t);
  for (const name of ['on', 'paused', 'off', 'both'])
    await server.send('PUT', `/api/v1/jobs/${name}`, {
      command: 'true',
      enabled: name === 'on' || name === 'paused',
    });
  for (const name of ['paused', 'both']) await server.send('POST', `/api/v1/jobs/${name}/pause`, {});
  const { json } = await server.send('GET', '/api/v1/status');
  assert.deepEqual(json.jobs, { total: 4, enabled: 1, paused: 1 });
});

test('A job is saved, shown, listed, changed and deleted', async (t) => {
  const server = await startTestServer(t);
  const made = await server.send('PUT', '/api/v1/jobs/hello', { schedule: '30 2 * * *', command: 'echo hi' });
  assert.equal(made.status, 200);
  assert.deepEqual(made.json.change, { name: 'hello', action: 'created', revision: 1, fields: [] });
  assert.deepEqual(made.json.job.document.schedule, { cron: '30 2 * * *', timezone: 'Europe/Berlin' });
  assert.equal(made.json.job.next.length, 5);
  const changed = await server.send('PUT', '/api/v1/jobs/hello', {
    schedule: '30 2 * * *',
    command: 'echo ho',
  });
  assert.deepEqual([changed.json.job.revision, changed.json.job.id], [2, made.json.job.id]);
  const same = await server.send('PUT', '/api/v1/jobs/hello', { command: 'echo ho', schedule: '30 2 * * *' });
  assert.deepEqual([same.json.change.action, same.json.job.revision], ['unchanged', 2]);
  assert.equal((await server.send('DELETE', '/api/v1/jobs/hello')).status, 204);
  assertProblem(await server.send('GET', '/api/v1/jobs/hello'), 'job.notFound');
  assertProblem(await server.send('DELETE', '/api/v1/jobs/hello'), 'job.notFound');
  assertProblem(await server.send('POST', '/api/v1/jobs/hello/pause'), 'job.notFound');
  const revived = await server.send('PUT', '/api/v1/jobs/hello', { command: 'echo again' });
  assert.deepEqual([revived.json.job.revision, revived.json.job.id], [4, made.json.job.id]);
  const { json } = await server.send('GET', '/api/v1/jobs/hello/revisions');
  assert.deepEqual(
    json.items.map((each: { revision: number; action: string }) => `${each.revision} ${each.action}`),
    ['4 revived', '3 deleted', '2 updated', '1 created'],
  );
  assert.equal(json.items[1].document, null);
});

test('A save that insists on a revision is refused when someone was faster', async (t) => {
  const server = await startTestServer(t);
  const put = (revision: number, command: string) =>
    server.send('PUT', `/api/v1/jobs/a?revision=${revision}`, { command });
  assertProblem(await put(1, 'x'), 'job.revisionConflict');
  assert.equal((await put(0, 'x')).status, 200);
  assertProblem(await put(0, 'y'), 'job.revisionConflict');
  assert.equal((await put(1, 'y')).status, 200);
  const answers = await Promise.all(['p', 'q', 'r', 's'].map((command) => put(2, command)));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409, 409, 409]);
  await server.send('DELETE', '/api/v1/jobs/a');
  assert.equal((await put(0, 'z')).status, 200);
});

test('Ad hoc runs have a job that no list, name or document reaches', async (t) => {
  const server = await startTestServer(t);
  assert.deepEqual((await server.send('GET', '/api/v1/jobs')).json.items, []);
  for (const name of ['~adhoc', '%7Eadhoc', 'adhoc'])
    assert.ok([400, 404].includes((await server.send('GET', `/api/v1/jobs/${name}`)).status));
  const { json } = await server.send('POST', '/api/v1/exec', { command: 'echo hi', title: 'Say hi' });
  assert.deepEqual([json.runs[0].job, json.runs[0].kind, json.runs[0].title], [null, 'adHoc', 'Say hi']);
});

async function namesOf(server: TestServer, query: string, between: () => Promise<unknown> = async () => {}) {
  const names: string[] = [];
  let pages = 0;
  for (let cursor: string | null = ''; cursor !== null; pages += 1) {
    const { json } = await server.send('GET', `/api/v1/jobs?${query}${cursor && `&cursor=${cursor}`}`);
    names.push(...json.items.map((job: { name: string }) => job.name));
    cursor = json.nextCursor;
    await between();
  }
  return { names, pages };
}

test('Pages stay complete and without repeats while jobs are added and deleted', async (t) => {
  const server = await startTestServer(t);
  const before = Array.from({ length: 23 }, (_, n) => `job-${String(n).padStart(2, '0')}`);
  await server.send('POST', '/api/v1/apply', {
    document: { jobs: before.map((name) => ({ name, command: 'true' })) },
  });
  let added = 0;
  const { names, pages } = await namesOf(server, 'limit=5', async () => {
    added += 1;
    await server.send('PUT', `/api/v1/jobs/aaa-${added}`, { command: 'true' });
    await server.send('PUT', `/api/v1/jobs/job-${added}x`, { command: 'true' });
  });
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual(
    names.filter((name) => before.includes(name)),
    before,
  );
  assert.ok(pages >= 5);
});

test('Filters of a list work together, and a rare label is found behind many jobs', async (t) => {
  const server = await startTestServer(t);
  const applied = await server.send('POST', '/api/v1/apply', {
    document: {
      jobs: Array.from({ length: 2_600 }, (_, n) => ({
        name: `j-${String(n).padStart(4, '0')}`,
        command: 'true',
        enabled: n % 2 === 0,
        ...(n === 2_500 ? { labels: { rare: 'yes' } } : {}),
      })),
    },
  });
  assert.equal(applied.status, 200, JSON.stringify(applied.json));
  const { names } = await namesOf(server, 'label=rare%3Dyes&limit=50');
  assert.deepEqual(names, ['j-2500']);
  assert.deepEqual((await namesOf(server, 'label=rare&prefix=j-25&enabled=true')).names, ['j-2500']);
  assert.deepEqual((await namesOf(server, 'label=rare&enabled=false')).names, []);
  assert.equal((await namesOf(server, 'prefix=j-00&limit=500')).names.length, 100);
  assert.equal((await namesOf(server, 'enabled=false&limit=500')).names.length, 1_300);
});

test('A run is made by hand once for each idempotency key', async (t) => {
  const server = await startTestServer(t);
  await server.send('PUT', '/api/v1/jobs/a', { command: 'true' });
  const run = (body: object) => server.send('POST', '/api/v1/jobs/a/run', body);
  const [first, second] = [await run({ idempotencyKey: 'k' }), await run({ idempotencyKey: 'k' })];
  assert.deepEqual([first.status, first.json.created, second.json.created], [201, true, false]);
  assert.equal(first.json.run.id, second.json.run.id);
  assert.equal(first.json.run.createdBy, 'admin');
  assertProblem(await run({ agent: 'nobody' }), 'agent.notFound');
  const { json } = await server.send('GET', `/api/v1/runs/${first.json.run.id.slice(0, 8)}`);
  assert.deepEqual([json.run.id, json.attempts], [first.json.run.id, []]);
  assertProblem(await server.send('GET', '/api/v1/runs/0000'), 'run.notFound');
  const cancelled = await server.send('POST', `/api/v1/runs/${first.json.run.id}/cancel`, {});
  assert.deepEqual(
    [cancelled.status, cancelled.json.state, cancelled.json.reason.code],
    [202, 'cancelled', 'cancelledByUser'],
  );
  assertProblem(await server.send('POST', `/api/v1/runs/${first.json.run.id}/cancel`, {}), 'run.ended');
  assertProblem(
    await server.send('POST', `/api/v1/runs/${first.json.run.id}/resolve`, { as: 'failed' }),
    'run.ended',
  );
  const listed = await server.send('GET', '/api/v1/runs?job=a&state=cancelled&kind=triggered');
  assert.equal(listed.json.items.length, 1);
});
