import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { systemClock } from '../clock.ts';
import { type PostgresPair, startPair } from '../postgresPair.testing.ts';
import { DatabaseUnavailableError, type Driver } from './driver.ts';
import { change, rows } from './operation.ts';
import { openPostgres } from './postgres.ts';
import type { RecoveryRow } from './tables.ts';

/** Waits take no time. */
const hurried = {
  after: (_delayMs: number, callback: () => void) => systemClock.after(1, callback),
};

const add = (id: string) => () =>
  change(`insert into "tenants" ("id", "name", "timezone", "createdAt") values (?, ?, 'UTC', 0)`, id, id);

const tenants = async (driver: Driver) =>
  (await driver.read(() => rows<{ id: string }>('select "id" from "tenants" order by "id"'))).map(
    ({ id }) => id,
  );

const recoveries = (driver: Driver) =>
  driver.read(() => rows<RecoveryRow>('select * from "recoveries" order by "id"'));

describe('a standby that takes over and lacks the last commits', () => {
  let pair: PostgresPair;
  let one: Driver;
  let two: Driver;
  let told = 0;
  before(async () => {
    pair = await startPair();
    one = await openPostgres(pair.address, systemClock);
    two = await openPostgres(pair.address, systemClock);
    one.onRecovery(() => {
      told += 1;
    });
    await one.write(add('kept'));
    await pair.caughtUp();
    pair.loseCommits();
    await one.write(add('lost'));
    await pair.failOver();
  });
  after(async () => {
    await Promise.all([one?.close(), two?.close()]);
    pair?.close();
  });

  it('is noticed before anything is changed there, once for all servers, and what was asked for before fails', async () => {
    const asked = await Promise.allSettled([one.write(add('a')), one.write(add('b')), two.write(add('c'))]);
    for (const each of asked) {
      assert.equal(each.status, 'rejected');
      assert(each.reason instanceof DatabaseUnavailableError, String(each.reason));
    }
    assert.equal(told, 1);
    assert.deepEqual(
      (await recoveries(one)).map(({ id, cause, settledAt }) => ({ id, cause, settledAt })),
      [{ id: 1, cause: 'failover', settledAt: null }],
    );
    assert.deepEqual(await tenants(two), ['kept']);
    await Promise.all([one.write(add('d')), two.write(add('e'))]);
    assert.deepEqual(await tenants(one), ['d', 'e', 'kept']);
    assert.equal((await recoveries(two)).length, 1);
  });

  it('is noticed by a server that starts only then', async () => {
    const other = await openPostgres(pair.address, systemClock);
    assert.equal((await recoveries(other)).length, 1);
    await other.write(add('f'));
    await other.close();
  });

  it('is not left again for the old primary, when that comes back', async () => {
    const driver = await openPostgres(pair.address, hurried);
    await driver.write(add('g'));
    await pair.resurrect();
    await assert.rejects(driver.write(add('h')), DatabaseUnavailableError);
    pair.way.lead(pair.standby);
    await driver.write(add('i'));
    assert.deepEqual((await tenants(driver)).slice(-3), ['g', 'i', 'kept']);
    await driver.close();
  });
});
