import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ROUTES, type Route } from '@rota/contract';
import { JOINING, startTestServer } from '../server.testing.ts';

test('An admin of one tenant neither sees nor changes anything of another', async (t) => {
  const server = await startTestServer(t);
  const stranger = await server.tokenOf('admin', 'other');
  await server.send('PUT', '/api/v1/jobs/a', { command: 'true', schedule: 'every 1h' });
  const { json: started } = await server.send('POST', '/api/v1/jobs/a/run', {});
  const { json: join } = await server.send('POST', '/api/v1/join-tokens', {});
  await server.send('POST', '/api/v1/agents/join', { token: join.token, name: 'db-1', ...JOINING }, null);
  const { json: unused } = await server.send('POST', '/api/v1/join-tokens', {});
  const { json: token } = await server.send('POST', '/api/v1/tokens', { name: 'ci', role: 'viewer' });

  const state = async () =>
    JSON.stringify(
      await Promise.all(
        ['jobs', 'runs', 'agents', 'join-tokens', 'export', 'jobs/a/revisions'].map(
          async (path) => (await server.send('GET', `/api/v1/${path}`)).json,
        ),
      ),
    );
  // The run stands still from when it waits for the agent that has joined.
  const ofRun = async () => (await server.send('GET', `/api/v1/runs/${started.run.id}`)).json.run;
  while ((await ofRun()).reason?.code !== 'noAgentOnline');
  const before = await state();
  const ids: Record<string, string> = {
    '/api/v1/runs': started.run.id,
    '/api/v1/tokens': token.view.id,
    '/api/v1/join-tokens': unused.joinToken.id,
  };
  const bodies: Record<string, object> = {
    resolveRun: { as: 'failed' },
    retryRun: { action: 'now' },
    setAgent: { enabled: false },
  };
  for (const [name, route] of Object.entries(ROUTES) as [string, Route][]) {
    if (!route.path.includes(':') || name === 'putJob' || name === 'putSecret') continue;
    const id = ids[route.path.split('/:')[0] ?? ''] ?? '';
    const path = route.path
      .replace(':name', route.path.includes('/agents/') ? 'db-1' : 'a')
      .replace(':id', id);
    const answer = await server.send(
      route.method,
      path,
      route.body ? (bodies[name] ?? {}) : undefined,
      stranger,
    );
    assert.equal(answer.status, 404, `${name}: ${answer.status} ${answer.text}`);
  }
  for (const path of ['jobs', 'runs', 'agents', 'join-tokens', 'runs?job=a', 'runs?agent=db-1'])
    assert.deepEqual((await server.send('GET', `/api/v1/${path}`, undefined, stranger)).json.items, [], path);
  assert.deepEqual((await server.send('GET', '/api/v1/export', undefined, stranger)).json.jobs, []);
  const own = await server.send('GET', '/api/v1/tokens', undefined, stranger);
  assert.equal(own.json.items.length, 1);

  const theirs = await server.send('PUT', '/api/v1/jobs/a', { command: 'false' }, stranger);
  assert.equal(theirs.json.change.action, 'created');
  assert.equal(await state(), before);
  const { json: joined } = await server.send('GET', '/api/v1/status', undefined, stranger);
  assert.deepEqual([joined.jobs.total, joined.agents.offline, joined.runs.queued], [1, 0, 0]);
});
