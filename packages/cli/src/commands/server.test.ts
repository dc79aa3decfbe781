import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startServer } from '@rota/server';
import { testPostgres, urlOf } from '../../../server/src/postgres.testing.ts';
import { rota, temporaryFolder } from '../rota.testing.ts';

/** The data of a server that has run and stopped. */
async function stoppedServer(t: TestContext): Promise<{ env: { ROTA_HOME: string }; file: string }> {
  const ROTA_HOME = temporaryFolder(t);
  const home = join(ROTA_HOME, 'server');
  const server = await startServer({ home, listen: '127.0.0.1:0', logTo: 'file', env: {} });
  await server.stop();
  return { env: { ROTA_HOME }, file: join(home, 'rota.db') };
}

test('migrate --status lists what was done, and does nothing where there is no data', async (t) => {
  const { env } = await stoppedServer(t);
  const listed = await rota(['server', 'migrate', '--status'], { env });
  assert.deepEqual([listed.code, listed.err], [0, '']);
  assert.match(listed.out, /^0001Initial {2}\d{4}-\d\d-\d\dT\S+Z\n$/);
  const json = JSON.parse((await rota(['server', 'migrate', '--status', '--json'], { env })).out);
  assert.equal(json.migrations[0].name, '0001Initial');

  const nobody = { ROTA_HOME: temporaryFolder(t) };
  const missing = await rota(['server', 'migrate'], { env: nobody });
  assert.notEqual(missing.code, 0);
  assert.match(missing.err, /there is no data of a server in/);
  assert.equal(existsSync(join(nobody.ROTA_HOME, 'server/rota.db')), false);
});

test('migrate makes the schema of an empty PostgreSQL database, which --status had only listed', async (t) => {
  const database = urlOf(await (await testPostgres()).emptyDatabase());
  const env = { ROTA_HOME: temporaryFolder(t) };
  const run = (...words: string[]) => rota(['server', 'migrate', '--database', database, ...words], { env });
  assert.equal((await run('--status')).out, '0001Initial  to do\n');
  assert.equal((await run('--status')).out, '0001Initial  to do\n');
  assert.match((await run()).out, /^0001Initial {2}\d{4}/);
});

test('copy takes a file to an empty database once, and says how much', async (t) => {
  const { env, file } = await stoppedServer(t);
  const to = urlOf(await (await testPostgres()).emptyDatabase());
  const copied = await rota(['server', 'copy', '--to', to], { env });
  assert.equal(copied.code, 0, copied.err);
  assert.match(copied.out, /^Copied \d+ rows, counted on both sides\.\n$/);
  assert.match(copied.err, /tenants: 1\n/);
  const again = await rota(['server', 'copy', '--from', `sqlite:${file}`, '--to', to], { env });
  assert.notEqual(again.code, 0);
  assert.match(again.err, /is not empty/);
});

test('copy says which of its words is wrong', async (t) => {
  const { env } = await stoppedServer(t);
  const fails = async (words: string[], expected: RegExp) => {
    const { code, out, err } = await rota(['server', 'copy', ...words], { env });
    assert.notEqual(code, 0);
    assert.equal(out, '');
    assert.match(err, expected);
  };
  await fails(['--from', 'rota.db'], /--from rota\.db is not a file of a server; write sqlite:/);
  await fails([], /name the PostgreSQL database to copy to: --to/);
  await fails(
    ['--from', 'sqlite:/nowhere/rota.db', '--to', 'postgres://u@127.0.0.1:1/d'],
    /there is no file/,
  );
  await fails(['--to', 'mysql://u@h/d'], /only postgres: is known/);
});

test('copy does not touch the file of a server that runs', async (t) => {
  const env = { ROTA_HOME: temporaryFolder(t) };
  const home = join(env.ROTA_HOME, 'server');
  const server = await startServer({ home, listen: '127.0.0.1:0', logTo: 'file', env: {} });
  t.after(() => server.stop());
  const { code, err } = await rota(['server', 'copy', '--to', 'postgres://u@127.0.0.1:1/d'], { env });
  assert.notEqual(code, 0);
  assert.match(err, /a server runs already: pid \d+/);
});

test('restored tells a PostgreSQL database that it was put back, and needs one', async (t) => {
  const env = { ROTA_HOME: temporaryFolder(t) };
  const database = urlOf(await (await testPostgres()).emptyDatabase());
  assert.equal((await rota(['server', 'migrate', '--database', database], { env })).code, 0);
  const told = await rota(['server', 'restored', '--database', database], { env });
  assert.equal(told.code, 0, told.err);
  assert.match(told.out, /Each agent may resume once/);
  const without = await rota(['server', 'restored'], { env });
  assert.notEqual(without.code, 0);
  assert.match(without.err, /name the PostgreSQL database that was put back/);
});
