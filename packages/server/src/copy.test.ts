import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from './clock.ts';
import { parseDatabaseUrl } from './databaseUrl.ts';
import {
  AlreadyRunningError,
  ConfigError,
  copyServer,
  MasterKeyError,
  migrateServer,
  NotEmptyError,
  startServer,
} from './main.ts';
import { testPostgres, urlOf } from './postgres.testing.ts';
import { JOINING, startTestServer, temporaryHome } from './server.testing.ts';
import { openPostgres } from './store/postgres.ts';
import { createStore } from './store/store.ts';

test('A server goes on from PostgreSQL with all that its file had', async (t) => {
  const server = await startTestServer(t);
  await server.send('PUT', '/api/v1/jobs/a', { command: 'true', schedule: 'every 1h' });
  const join_ = await server.createLocalJoinToken();
  await server.send('POST', '/api/v1/agents/join', { token: join_, name: 'db-1', ...JOINING }, null);
  const { json: started } = await server.send('POST', '/api/v1/jobs/a/run', {});
  const keys = await server.store.serverKeys({});
  const [agent] = (await server.store.readRoster({})).agents;
  const { publicKey } = (await server.store.readAgentById({ agentId: agent?.id ?? '' })) ?? {};
  const file = join(server.home, 'rota.db');
  const address = await (await testPostgres()).emptyDatabase();
  const options = {
    home: temporaryHome(t),
    listen: '127.0.0.1:0',
    logTo: 'file' as const,
    database: urlOf(address),
    masterKeyFile: join(server.home, 'master-key'),
    env: {},
  };

  await assert.rejects(
    copyServer(options, file, () => {}),
    AlreadyRunningError,
  );
  await server.store.close();
  await server.stop();
  const told: string[] = [];
  const copied = await copyServer(options, file, ({ table }) => told.push(table));
  assert.equal(copied.find(({ table }) => table === 'agents')?.rows, 1);
  assert(told.includes('runs'));
  await assert.rejects(
    copyServer(options, file, () => {}),
    NotEmptyError,
  );

  assert.deepEqual(
    (await migrateServer(options, { migrate: false })).filter(({ at }) => at === null),
    [],
  );
  const next = await startServer(options);
  t.after(() => next.stop());
  assert.equal(next.firstStart, false);
  const store = createStore(await openPostgres(address, systemClock));
  t.after(() => store.close());
  assert.equal((await store.serverKeys({}))[0]?.privateKey, keys[0]?.privateKey);
  assert.equal((await store.readAgentById({ agentId: agent?.id ?? '' }))?.publicKey, publicKey);
  const found = await fetch(`${next.url}/api/v1/runs/${started.run.id}`, {
    headers: { authorization: `Bearer ${server.token}` },
  });
  assert.equal(found.status, 200, await found.text());
});

test('Servers that start at one time on one empty database share what one of them has made', async (t) => {
  const address = await (await testPostgres()).emptyDatabase();
  const masterKeyFile = `${temporaryHome(t)}-master-key`;
  const servers = await Promise.all(
    [1, 2, 3].map(() =>
      startServer({
        home: temporaryHome(t),
        listen: '127.0.0.1:0',
        logTo: 'file',
        database: urlOf(address),
        masterKeyFile,
        env: { ROTA_DATABASE_POOL_SIZE: '4' },
      }),
    ),
  );
  assert.equal(servers.filter(({ firstStart }) => firstStart).length, 1);
  await assert.rejects(
    startServer({
      home: temporaryHome(t),
      listen: '127.0.0.1:0',
      logTo: 'file',
      database: urlOf(address),
      env: { ROTA_DATABASE_POOL_SIZE: '4' },
    }),
    (error) =>
      error instanceof MasterKeyError && /All servers on a database need the same/.test(error.message),
  );
  for (const server of servers) await server.stop();
});

test('A password is not taken from a flag, and is in no message', async (t) => {
  const start = (database: string) => startServer({ home: temporaryHome(t), database, env: {} });
  for (const url of ['postgres://a:canary@h/d', 'postgres://a:canary@h/d?sslmod=x', 'mysql://a:canary@h/d']) {
    await assert.rejects(
      start(url),
      (error) => error instanceof ConfigError && !error.message.includes('canary'),
    );
  }
});

test('Other machines are spoken to by TLS that is checked, unless the URL says otherwise', () => {
  const verify = (url: string) => {
    const parsed = parseDatabaseUrl(url);
    return typeof parsed === 'string' ? parsed : parsed.verify;
  };
  assert.equal(verify('postgres://u@db.example/d'), 'full');
  assert.equal(verify('postgres://u@db.example/d?sslmode=verify-ca'), 'chain');
  assert.equal(verify('postgres://u@db.example/d?sslmode=require'), 'none');
  assert.equal(verify('postgres://u@db.example/d?sslmode=disable'), null);
  assert.equal(verify('postgres://u@127.0.0.1/d'), null);
  assert.equal(verify('postgres:///d?host=/run/postgresql&user=u'), null);
  assert.match(String(verify('postgres://u@h/d?sslmode=prefer')), /one of: disable, require/);
  assert.match(String(verify('postgres://h/d')), /no user/);
});
