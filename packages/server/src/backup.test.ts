import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { AlreadyRunningError, backupServer, restoreServer } from './main.ts';
import { startTestServer, temporaryHome } from './server.testing.ts';
import { RESTORED_NONCE } from './store/recovery.ts';

test('A backup that is made while the server writes is whole, and a restore brings back what it held', async (t) => {
  const server = await startTestServer(t);
  const file = join(server.home, 'a.backup');
  let writing = true;
  let saved = 0;
  const writer = (async () => {
    while (writing) {
      assert.equal((await server.send('PUT', `/api/v1/jobs/job-${saved}`, { command: 'true' })).status, 200);
      saved += 1;
    }
  })();
  while (saved < 20) await new Promise((resolve) => setImmediate(resolve));
  const before = saved;
  const { bytes } = await backupServer(server.home, file);
  writing = false;
  await writer;
  assert.equal(statSync(file).size, bytes);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(existsSync(`${file}.partial`), false);

  await assert.rejects(restoreServer(server.home, file), (error) => error instanceof AlreadyRunningError);
  const total = (await server.send('GET', '/api/v1/status')).json.jobs.total as number;
  const keys = await server.store.serverKeys({});
  await server.store.close();
  await server.stop();
  await restoreServer(server.home, file);

  const again = await startTestServer(t, { home: server.home });
  assert.equal(again.firstStart, false);
  const restored = (await again.send('GET', '/api/v1/status')).json.jobs.total as number;
  assert.ok(restored >= before && restored <= total, `${before} ${restored} ${total}`);
  assert.deepEqual(await again.store.serverKeys({}), keys);
  assert.ok(existsSync(join(server.home, 'rota.db.before-restore')));
});

test('A restored database lets each agent resume once with a newer nonce, and knows that it does not know what ran', async (t) => {
  const server = await startTestServer(t);
  const database = new DatabaseSync(join(server.home, 'rota.db'));
  const tenantId = (database.prepare('select id from tenants').get() as { id: string }).id;
  database
    .prepare(
      `insert into agents (tenantId, id, name, publicKey, orderNumber, labelsJson, enabled, state, sessionEpoch, journalSeq, nonce,
         pendingNonce, maxParallel, draining, createdAt, changedAt) values (?, 'g', 'db-1', 'k', 1, '{}', 1, 'quarantined', 3, 5, 'old', 'new', 1, 0, 1, 1)`,
    )
    .run(tenantId);
  database
    .prepare(
      `insert into runs (tenantId, id, jobId, revision, kind, occurrenceKey, part, scheduledFor, dueAt, startBy, state, epoch, attempt,
         agentId, slot, passedJson, createdAt) values (?, 'aaaaaaaaaaaaaaaaaaaa', 'adhoc', 0, 'adHoc', 't:x', '', 1, 1, 1, 'running', 1, 1, 'g', 0, '[]', 1)`,
    )
    .run(tenantId);
  database.close();
  const file = join(server.home, 'a.backup');
  await backupServer(server.home, file);
  const other = temporaryHome(t);
  await restoreServer(other, file);
  const restored = new DatabaseSync(join(other, 'rota.db'), { readOnly: true });
  t.after(() => restored.close());
  const agent = restored.prepare('select nonce, pendingNonce, state from agents').get();
  assert.deepEqual({ ...agent }, { nonce: RESTORED_NONCE, pendingNonce: null, state: 'quarantined' });
  assert.deepEqual(
    { ...restored.prepare('select state, reason from runs').get() },
    { state: 'unknown', reason: 'agentLost' },
  );
});

test('What is not a whole backup is refused before anything is touched', async (t) => {
  const server = await startTestServer(t);
  await server.store.close();
  await server.stop();
  const before = readFileSync(join(server.home, 'rota.db'));
  const bad = join(server.home, 'bad.backup');
  await assert.rejects(restoreServer(server.home, bad), /there is no file/);
  writeFileSync(bad, 'not a database, but long enough to look at'.repeat(100));
  await assert.rejects(restoreServer(server.home, bad), /cannot be restored/);
  new DatabaseSync(join(server.home, 'other.db')).exec('create table jobs (a)');
  await assert.rejects(restoreServer(server.home, join(server.home, 'other.db')), /not a backup of Rota/);
  const cut = join(server.home, 'cut.backup');
  writeFileSync(cut, before.subarray(0, before.length - 8_192));
  await assert.rejects(restoreServer(server.home, cut), /cannot be restored/);
  assert.deepEqual(readFileSync(join(server.home, 'rota.db')), before);
  await assert.rejects(backupServer(join(server.home, 'nowhere'), bad), /there is no data/);
});
