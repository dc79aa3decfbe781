import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from './clock.ts';
import { restoredServer } from './main.ts';
import { testPostgres, urlOf } from './postgres.testing.ts';
import { JOINING, temporaryHome } from './server.testing.ts';
import { change } from './store/operation.ts';
import { openPostgres } from './store/postgres.ts';
import type { PostgresAddress } from './store/postgresConnection.ts';
import { createStore } from './store/store.ts';

const AGENT = { tenantId: 't', agentId: 'restored-agent' };

/** Uses a database as a server does, alone. */
async function on<T>(
  address: PostgresAddress,
  work: (store: ReturnType<typeof createStore>) => Promise<T>,
): Promise<T> {
  const store = createStore(await openPostgres(address, systemClock));
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

const resume = (address: PostgresAddress, lastNonce: string | null, newNonce: string) =>
  on(address, async (store) => {
    await store.registerReplica({ id: 'server', name: 'host:1' });
    const known = await store.readAgentById({ agentId: AGENT.agentId });
    const opened = await store.openSession({
      ...AGENT,
      knownEpoch: known?.sessionEpoch ?? 0,
      replicaId: 'server',
      lastNonce,
      newNonce,
      journalSeq: 0,
      bootId: 'boot',
      facts: JOINING.facts,
      maxParallel: 1,
      draining: false,
    });
    if ('sessionEpoch' in opened)
      await store.confirmSession({ ...AGENT, sessionEpoch: opened.sessionEpoch, nonce: newNonce });
    return 'rejected' in opened ? opened.rejected : 'opened';
  });

test('After a dump was put back, agents are believed once by `server restored`, and are copies without it', async (t) => {
  const postgres = await testPostgres();
  const address = await postgres.emptyDatabase();
  const driver = await openPostgres(address, systemClock);
  await createStore(driver).createTenant({ id: 't', name: 'default', timezone: 'UTC' });
  await driver.write(() =>
    change(
      `insert into "agents" ("tenantId", "id", "name", "publicKey", "orderNumber", "labelsJson", "enabled", "state", "sessionEpoch",
         "journalSeq", "maxParallel", "draining", "createdAt", "changedAt") values (?, ?, 'a', '', 100, '{}', 1, 'offline', 0, 0, 1, 0, 0, 0)`,
      AGENT.tenantId,
      AGENT.agentId,
    ),
  );
  await driver.close();
  assert.equal(await resume(address, null, 'first'), 'opened');
  // What pg_dump and pg_restore bring to the same cluster: the rows of this moment, in a database of another name.
  const restored = { ...address, database: `${address.database}restored` };
  const untold = { ...address, database: `${address.database}untold` };
  for (const { database } of [restored, untold])
    await postgres.admin(`create database "${database}" template "${address.database}"`);
  for (const [last, next] of [
    ['first', 'second'],
    ['second', 'third'],
  ] as const)
    assert.equal(await resume(address, last, next), 'opened');

  assert.equal(await resume(untold, 'third', 'fourth'), 'quarantined');
  await restoredServer({ home: temporaryHome(t), database: urlOf(restored), env: {} });
  assert.equal(await resume(restored, 'third', 'fourth'), 'opened');
  assert.equal(await resume(restored, 'second', 'fifth'), 'quarantined', 'only once');
});

test('A server whose data is a file is not told that PostgreSQL was put back', async (t) => {
  await assert.rejects(restoredServer({ home: temporaryHome(t), env: {} }), /name the PostgreSQL database/);
});
