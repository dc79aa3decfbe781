import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, describe, it } from 'node:test';
import pg from 'pg';
import { systemClock } from './clock.ts';
import { startServer } from './main.ts';
import { TestPooler } from './pooler.testing.ts';
import { testPostgres } from './postgres.testing.ts';
import { temporaryHome } from './server.testing.ts';
import type { Driver } from './store/driver.ts';
import { openPostgres } from './store/postgres.ts';
import type { PostgresAddress } from './store/postgresConnection.ts';
import { attemptsSuite } from './store/suite/attempts.ts';
import { dispatchSuite } from './store/suite/dispatch.ts';
import { outputSuite } from './store/suite/output.ts';
import { requestsSuite } from './store/suite/requests.ts';

/** Fewer connections than a driver opens, so that transactions wait for each other's. */
const CONNECTIONS = 3;

const opened: { driver: Driver; pooler: TestPooler; address: PostgresAddress }[] = [];
let moved = 0;

async function pooled(): Promise<{ pooler: TestPooler; address: PostgresAddress; through: PostgresAddress }> {
  const address = await (await testPostgres()).database();
  const pooler = new TestPooler(address, CONNECTIONS);
  return { pooler, address, through: { ...address, port: await pooler.listen(), pooler: true } };
}

describe('through a pooler in transaction mode', () => {
  afterEach(async () => {
    for (const { driver, pooler, address } of opened.splice(0)) {
      await driver.close();
      pooler.close();
      assert.deepEqual(pooler.misused, [], 'nothing leans on a session');
      moved += pooler.moved;
      await (await testPostgres()).release(address);
    }
  });
  after(() => assert(moved > 0, 'transactions of one client went over different connections'));

  const open = async (clock: { now(): number }) => {
    const { pooler, address, through } = await pooled();
    const driver = await openPostgres(through, systemClock, { now: () => clock.now() });
    opened.push({ driver, pooler, address });
    return driver;
  };
  dispatchSuite(open);
  attemptsSuite(open);
  requestsSuite(open);
  outputSuite(open);
});

it('a server works through a pooler, and leans on no session', async (t) => {
  const { pooler, address, through } = await pooled();
  const server = await startServer({
    home: temporaryHome(t),
    listen: '127.0.0.1:0',
    logTo: 'file',
    database: `postgres://${through.user}@127.0.0.1:${through.port}/${through.database}?pgbouncer=true`,
    env: { ROTA_DATABASE_POOL_SIZE: '6' },
  });
  t.after(async () => {
    await server.stop();
    pooler.close();
    await (await testPostgres()).release(address);
  });
  const authorization = `Bearer ${readFileSync(server.tokenFile, 'utf8').trim()}`;
  const send = (method: string, path: string, body?: object) =>
    fetch(`${server.url}/api/v1${path}`, {
      method,
      headers: { authorization, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
  assert((await send('PUT', '/jobs/a', { command: 'true', schedule: 'every 1h' })).ok);
  const started = (await (await send('POST', '/jobs/a/run', {})).json()) as { run: { id: string } };
  // Nobody takes it: it waits, which the dispatcher finds out over the pooler.
  for (;;) {
    const run = (await (await send('GET', `/runs/${started.run.id}`)).json()) as { reason: string | null };
    if (run.reason !== null) break;
  }
  assert.deepEqual(pooler.misused, []);
  assert(pooler.moved > 0);
});

it('a pooler that the configuration does not name is refused, before a statement goes over it by its name', async (t) => {
  const { pooler, address, through } = await pooled();
  t.after(async () => {
    pooler.close();
    await (await testPostgres()).release(address);
  });
  await assert.rejects(openPostgres({ ...through, pooler: false }, systemClock), {
    message: /^a pooler answers in place of the database.*: add pgbouncer=true to the URL/,
  });
  assert.deepEqual(pooler.misused, []);
});

it('a pooler for tests finds what leans on a session', async (t) => {
  const { pooler, address, through } = await pooled();
  t.after(async () => {
    pooler.close();
    await (await testPostgres()).release(address);
  });
  const client = new pg.Client({
    host: '127.0.0.1',
    port: through.port,
    user: through.user,
    database: through.database,
  });
  await client.connect();
  await client.query({ text: 'select 1', name: 'one' });
  await client.query('listen rota');
  await client.query("set lock_timeout = '1s'");
  await client.query("begin; set local lock_timeout = '1s'; commit");
  await client.end();
  assert.deepEqual(pooler.misused, [
    'a statement with the name one',
    'listen rota',
    "set lock_timeout = '1s'",
  ]);
});
