import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { after, before, describe, it, type TestContext } from 'node:test';
import { systemClock } from '../clock.ts';
import { testPostgres } from '../postgres.testing.ts';
import { CommitUnknownError, DatabaseUnavailableError, type Driver } from './driver.ts';
import { pendingMigrations, SchemaTooNewError } from './migrate.ts';
import { change, type Operation, row, rows } from './operation.ts';
import { openPostgres } from './postgres.ts';
import type { PostgresAddress } from './postgresConnection.ts';
import { numbered } from './postgresTexts.ts';

/** Waits take no time. */
const hurried = {
  after: (_delayMs: number, callback: () => void) => systemClock.after(0, callback),
};

/** Stands between a driver and the database, and cuts connections. */
class CuttingProxy {
  /** Called with what the driver sends; true: cut before the database's next answer. */
  cutAnswerTo: (sent: string) => boolean = () => false;
  down = false;
  readonly #server;
  readonly #sockets = new Set<Socket>();

  constructor(target: PostgresAddress) {
    this.#server = createServer((client) => {
      if (this.down) return client.destroy();
      const upstream = connect(target.port, target.host);
      let cut = false;
      const pair: [Socket, Socket][] = [
        [client, upstream],
        [upstream, client],
      ];
      for (const [one, other] of pair) {
        this.#sockets.add(one);
        one.on('error', () => {});
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      }
      client.on('data', (data) => {
        if (this.cutAnswerTo(data.toString('latin1'))) cut = true;
        upstream.write(data);
      });
      upstream.on('data', (data) => {
        if (cut) client.destroy();
        else client.write(data);
      });
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as { port: number }).port;
  }

  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.cutAll();
    this.#server.close();
  }
}

function* add(id: string): Operation<string> {
  yield* change(
    'insert into "tenants" ("id", "name", "timezone", "createdAt") values (?, ?, \'UTC\', 0)',
    id,
    id,
  );
  return id;
}

describe('a connection to PostgreSQL', () => {
  let address: PostgresAddress;
  let direct: Driver;
  before(async () => {
    address = await (await testPostgres()).database();
    direct = await openPostgres(address, systemClock);
  });
  after(async () => {
    await direct.close();
    await (await testPostgres()).release(address);
  });

  const through = async (t: TestContext) => {
    const proxy = new CuttingProxy(address);
    const port = await proxy.listen();
    const driver = await openPostgres({ ...address, port }, hurried);
    t.after(async () => {
      proxy.down = true;
      proxy.close();
      await driver.close();
    });
    return { proxy, driver };
  };

  const has = async (id: string) =>
    (await direct.read(() => row('select "id" from "tenants" where "id" = ?', id))) !== undefined;

  it('that is lost before a commit lets the change be made again, once', async (t) => {
    const { proxy, driver } = await through(t);
    let tries = 0;
    await driver.write(function* () {
      tries += 1;
      if (tries === 1) proxy.cutAll();
      yield* add('before');
    });
    assert.equal(tries, 2);
    assert(await has('before'));
  });

  it('that is lost between a commit and its answer says that nobody knows, and fails what waits behind', async (t) => {
    const { proxy, driver } = await through(t);
    proxy.cutAnswerTo = (sent) => sent.includes('commit\0');
    const answers = await Promise.allSettled([
      driver.write(() => add('lost'), 'one'),
      driver.write(() => add('behind'), 'one'),
      new Promise((resolve) => setImmediate(resolve)).then(() => driver.write(() => add('later'), 'one')),
    ]);
    for (const answer of answers)
      assert(answer.status === 'rejected' && answer.reason instanceof CommitUnknownError);
    assert(await has('lost'), 'this one was committed');
    assert(!(await has('later')));
    proxy.cutAnswerTo = () => false;
    assert.equal(await driver.write(() => add('again'), 'one'), 'again');
  });

  it('that cannot be made says that nothing was changed', async (t) => {
    const { proxy, driver } = await through(t);
    proxy.down = true;
    proxy.cutAll();
    await assert.rejects(
      driver.write(() => add('down')),
      DatabaseUnavailableError,
    );
    await assert.rejects(
      driver.read(() => row('select 1')),
      DatabaseUnavailableError,
    );
    proxy.down = false;
    assert.equal(await driver.write(() => add('up')), 'up');
    assert(!(await has('down')));
  });

  it('keeps statements prepared, but not behind a pooler', async () => {
    for (const pooler of [false, true]) {
      const driver = await openPostgres({ ...address, poolSize: 2, pooler }, systemClock);
      for (let n = 0; n < 10; n += 1) await driver.read(() => row('select 1 as "one"'));
      const prepared = await driver.read(() => rows('select "name" from pg_prepared_statements'));
      assert.equal(prepared.length > 0, !pooler);
      await driver.close();
    }
  });

  it('takes texts with a NUL in them', async () => {
    await direct.write(() => add('a\0b'));
    assert(await has('a\uFFFDb'));
  });

  it('tells the time of the database', async () => {
    const [found] = await direct.read(() =>
      rows<{ now: number }>('select floor(extract(epoch from clock_timestamp()) * 1000)::int8 as "now"'),
    );
    assert(Math.abs((found?.now ?? 0) - direct.now()) < 1_000);
    assert(Number.isInteger(direct.now()));
  });

  it('makes the schema once, however many servers start at one time', async () => {
    for (let round = 0; round < 3; round += 1) {
      const empty = { ...(await (await testPostgres()).emptyDatabase()), poolSize: 2 };
      const drivers = await Promise.all(Array.from({ length: 8 }, () => openPostgres(empty, systemClock)));
      for (const driver of drivers) {
        assert.deepEqual(await driver.read(pendingMigrations), []);
        await driver.close();
      }
    }
  });

  it('refuses a schema that a newer version has made, by name', async () => {
    await direct.write(() =>
      change(`insert into "kysely_migration" ("name", "timestamp") values ('9999Future', '')`),
    );
    await assert.rejects(
      openPostgres(address, systemClock),
      (error) => error instanceof SchemaTooNewError && /9999Future/.test(error.message),
    );
    await direct.write(() => change(`delete from "kysely_migration" where "name" = '9999Future'`));
  });

  it('numbers what stands for a value, and leaves alone what is in quotes', () => {
    assert.equal(
      numbered(`select '?', "a?" from t where a = ? and b = ?`),
      `select '?', "a?" from t where a = $1 and b = $2`,
    );
  });
});
