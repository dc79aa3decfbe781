import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { AlreadyRunningError, SchemaTooNewError, startServer } from './main.ts';
import { JOINING, startTestServer } from './server.testing.ts';

test('A second start in the same folder names the pid and address of the first', async (t) => {
  const server = await startTestServer(t);
  await assert.rejects(
    startServer({ home: server.home, listen: '127.0.0.1:0', env: {} }),
    (error) => error instanceof AlreadyRunningError && error.pid === process.pid && error.url === server.url,
  );
  assert.equal(readFileSync(join(server.home, 'address'), 'utf8'), `${server.url}\n`);
  assert.equal((await server.send('GET', '/readyz')).status, 200);
});

test('A folder is free again after a stop, and the data is still there', async (t) => {
  const server = await startTestServer(t);
  await server.send('PUT', '/api/v1/jobs/a', { command: 'true' });
  await server.store.close();
  await server.stop();
  await server.stop();
  assert.equal(existsSync(join(server.home, 'pid')), false);
  const again = await startTestServer(t, { home: server.home });
  assert.equal(again.firstStart, false);
  assert.equal(again.token, server.token);
  assert.equal((await again.send('GET', '/api/v1/jobs/a')).status, 200);
});

test('A start that fails leaves the folder free', async (t) => {
  const server = await startTestServer(t);
  const { port } = new URL(server.url);
  const other = `${server.home}-other`;
  await assert.rejects(startServer({ home: other, listen: `127.0.0.1:${port}`, logTo: 'file', env: {} }), {
    message: `another program listens at 127.0.0.1:${port}: end it, or name another place with --listen`,
  });
  const second = await startTestServer(t, { home: other });
  assert.equal((await second.send('GET', '/readyz')).status, 200);
});

test('A database of a newer version is refused by name', async (t) => {
  const server = await startTestServer(t);
  await server.store.close();
  await server.stop();
  const database = new DatabaseSync(join(server.home, 'rota.db'));
  database.exec(`insert into kysely_migration (name, timestamp) values ('9999Future', '2030-01-01')`);
  database.close();
  await assert.rejects(
    startServer({ home: server.home, listen: '127.0.0.1:0', logTo: 'file', env: {} }),
    (error) => error instanceof SchemaTooNewError && /9999Future/.test(error.message),
  );
});

test('Stopping ends open streams and requests, and does not wait for them for long', async (t) => {
  const server = await startTestServer(t);
  const open = await fetch(`${server.url}/api/v1/events`, {
    headers: { authorization: `Bearer ${server.token}` },
  });
  assert.equal(open.status, 200);
  const began = performance.now();
  await server.stop();
  assert.ok(performance.now() - began < 5_000);
  await assert.rejects(async () => {
    for await (const _ of open.body ?? []);
  });
});

test('Someone can wait for an agent to come online', async (t) => {
  const server = await startTestServer(t);
  const token = await server.createLocalJoinToken();
  const { json } = await server.send(
    'POST',
    '/api/v1/agents/join',
    { token, name: 'db-1', ...JOINING },
    null,
  );
  const online = server.whenAgentOnline('db-1', new AbortController().signal);
  const tenant = await server.store.tenantByName({ name: 'default' });
  await server.store.registerReplica({ id: 'r', name: 'r' });
  const agent = { tenantId: tenant?.id ?? '', agentId: json.agentId as string };
  await server.store.openSession({
    ...agent,
    knownEpoch: 0,
    replicaId: 'r',
    lastNonce: null,
    newNonce: 'n',
    journalSeq: 0,
    bootId: 'b',
    facts: JOINING.facts,
    maxParallel: 1,
    draining: false,
  });
  assert(await server.store.readySession({ ...agent, sessionEpoch: 1 }));
  await online;
  const abort = new AbortController();
  const never = server.whenAgentOnline('db-2', abort.signal);
  abort.abort();
  await assert.rejects(never, { name: 'AbortError' });
  assert.equal(await server.activeRuns(), 0);
});
