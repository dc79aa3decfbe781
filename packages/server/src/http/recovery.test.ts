import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { startTestServer } from '../server.testing.ts';

test('Status, metrics and the page say which agents are awaited, until one that is gone is removed', async (t) => {
  const server = await startTestServer(t);
  const database = new DatabaseSync(join(server.home, 'rota.db'), { timeout: 5_000 });
  const { id } = database.prepare('select id from tenants').get() as { id: string };
  database
    .prepare(
      `insert into agents (tenantId, id, name, publicKey, orderNumber, labelsJson, enabled, state, sessionEpoch, journalSeq, maxParallel,
         draining, createdAt, changedAt) values (?, 'g', 'db-1', 'k', 1, '{}', 1, 'offline', 3, 5, 1, 0, 1, 1)`,
    )
    .run(id);
  database.close();
  const status = async () => (await server.send('GET', '/api/v1/status')).json.recovery;
  assert.equal(await status(), null);
  const { detectedAt } = await server.store.beginRecovery({ cause: 'failover' });
  assert.deepEqual(await status(), {
    since: new Date(detectedAt).toISOString(),
    cause: 'failover',
    awaited: ['db-1'],
    heldRuns: 0,
  });
  const text = async (path: string) => (await server.send('GET', path)).text;
  assert.match(await text('/metrics'), /^rota_agents_awaited 1$/m);
  assert.match(await text('/'), /older state/);
  const refused = await server.send('DELETE', '/api/v1/agents/db-1');
  assert.equal(refused.json.code, 'agent.active');
  await server.send('DELETE', '/api/v1/agents/db-1?gone=true');
  assert.deepEqual((await server.store.readRecovery({}))?.awaited, []);
});
