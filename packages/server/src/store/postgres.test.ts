import { afterEach, describe } from 'node:test';
import { systemClock } from '../clock.ts';
import { testPostgres } from '../postgres.testing.ts';
import type { Driver } from './driver.ts';
import { openPostgres } from './postgres.ts';
import type { PostgresAddress } from './postgresConnection.ts';
import { operationSuite } from './suite/index.ts';

const opened: { driver: Driver; address: PostgresAddress }[] = [];

afterEach(async () => {
  const postgres = await testPostgres();
  for (const { driver, address } of opened.splice(0)) {
    await driver.close();
    await postgres.release(address);
  }
});

describe('PostgreSQL', () => {
  operationSuite(async (clock) => {
    const address = await (await testPostgres()).database();
    const driver = await openPostgres(address, systemClock, { now: () => clock.now() });
    opened.push({ driver, address });
    return driver;
  });
});
