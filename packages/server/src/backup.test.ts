import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import {
  AlreadyRunningError,
  backupServer,
  loseSecrets,
  MasterKeyError,
  restoreServer,
  startServer,
} from './main.ts';
import { startTestServer, type TestServer, temporaryHome } from './server.testing.ts';
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

/** The tokens are in the backup, and the first one's file is not. */
function startRestored(t: TestContext, home: string, { token }: TestServer): Promise<TestServer> {
  writeFileSync(join(home, 'admin-token'), token);
  return startTestServer(t, { home });
}

test('A backup has no master key in it, and a restore of its secrets needs the file', async (t) => {
  const server = await startTestServer(t);
  const value = { value: 'a value of the backup' };
  assert.equal((await server.send('PUT', '/api/v1/secrets/TOKEN', value)).status, 200);
  const keyFile = join(server.home, 'master-key');
  const file = join(server.home, 'a.backup');
  await backupServer(server.home, file);
  const [{ id, key }] = JSON.parse(readFileSync(keyFile, 'utf8')).keys;
  const content = readFileSync(file);
  assert.ok(content.includes(id));
  for (const form of [key, Buffer.from(key, 'base64'), value.value]) assert.ok(!content.includes(form));

  const other = temporaryHome(t);
  await assert.rejects(restoreServer(other, file), (error: Error) => {
    assert.ok(error instanceof MasterKeyError);
    assert.match(error.message, new RegExp(`1 secrets of the backup .*${other}/master-key.*${id}`));
    return true;
  });
  assert.ok(!existsSync(join(other, 'rota.db')));
  copyFileSync(keyFile, join(other, 'master-key'));
  await restoreServer(other, file);
  const restored = await startRestored(t, other, server);
  assert.equal((await restored.send('GET', '/api/v1/secrets')).json.items[0].keyId, id);

  const without = temporaryHome(t);
  await restoreServer(without, file, { loseSecrets: true });
  const empty = await startRestored(t, without, server);
  assert.deepEqual((await empty.send('GET', '/api/v1/secrets')).json.items, []);
  assert.equal((await empty.send('PUT', '/api/v1/secrets/TOKEN', value)).status, 200);
});

test('A backup without secrets is restored without the master key, and gets a new one', async (t) => {
  const server = await startTestServer(t);
  const reference = { agentEnv: 'APP_TOKEN' };
  assert.equal((await server.send('PUT', '/api/v1/secrets/TOKEN', reference)).status, 200);
  const file = join(server.home, 'a.backup');
  await backupServer(server.home, file);
  const other = temporaryHome(t);
  await restoreServer(other, file);
  const restored = await startRestored(t, other, server);
  const { json } = await restored.send('GET', '/api/v1/secrets');
  assert.equal(json.items[0].reference, 'APP_TOKEN');
});

test('A server whose master key is lost does not start before its secrets are given up', async (t) => {
  const server = await startTestServer(t);
  assert.equal((await server.send('PUT', '/api/v1/secrets/TOKEN', { value: 'lost for good' })).status, 200);
  await server.store.close();
  const options = { home: server.home, listen: '127.0.0.1:0', logTo: 'file' as const, env: {} };
  await assert.rejects(loseSecrets(options), (error) => error instanceof AlreadyRunningError);
  await server.stop();
  assert.deepEqual(await loseSecrets(options), { secrets: 0, keys: [] });
  const keyFile = join(server.home, 'master-key');
  const [{ id }] = JSON.parse(readFileSync(keyFile, 'utf8')).keys;
  rmSync(keyFile);
  await assert.rejects(startServer(options), (error: Error) => {
    assert.ok(error instanceof MasterKeyError);
    for (const part of [keyFile, id, 'ROTA_MASTER_KEY_FILE']) assert.ok(error.message.includes(part));
    return true;
  });
  assert.ok(!existsSync(keyFile));
  // It may be anywhere.
  mkdirSync(join(server.home, 'elsewhere'));
  assert.deepEqual(await loseSecrets(options), { secrets: 1, keys: [id] });
  const masterKeyFile = join(server.home, 'elsewhere/key');
  const again = await startTestServer(t, { home: server.home, masterKeyFile });
  assert.deepEqual((await again.send('GET', '/api/v1/secrets')).json.items, []);
  assert.ok(existsSync(masterKeyFile) && !existsSync(keyFile));
});
