import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { HandClock } from '../clock.testing.ts';
import { change, row } from './operation.ts';
import { openSqlite } from './sqlite.ts';
import { operationSuite } from './suite/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'rota-sqlite-'));
const empty = join(folder, 'empty.db');
const closes: (() => Promise<void>)[] = [];
let files = 0;

before(async () => {
  await (await openSqlite(empty, new HandClock(0))).close();
});

after(async () => {
  for (const close of closes) await close();
  rmSync(folder, { recursive: true });
});

describe('SQLite', () => {
  operationSuite(async (clock) => {
    files += 1;
    const file = join(folder, `${files}.db`);
    copyFileSync(empty, file);
    const driver = await openSqlite(file, clock);
    closes.push(() => driver.close());
    return driver;
  });

  it('loses no acknowledged change when its process is killed', async () => {
    const file = join(folder, 'killed.db');
    copyFileSync(empty, file);
    const child = spawn(process.execPath, [join(import.meta.dirname, 'suite', 'writer.testing.ts'), file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let acknowledged = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Number(line);
      if (acknowledged >= 300) child.kill('SIGKILL');
    }
    assert(acknowledged >= 300);
    const driver = await openSqlite(file, new HandClock(0));
    const stored = await driver.read(() => row<{ n: number }>('select count(*) as "n" from "tenants"'));
    assert((stored?.n ?? 0) >= acknowledged, `${stored?.n} of ${acknowledged}`);
    await driver.close();
  });

  it('finishes what waits when it is closed, and takes nothing more', async () => {
    const file = join(folder, 'closed.db');
    copyFileSync(empty, file);
    const driver = await openSqlite(file, new HandClock(0));
    const add = (id: string) => () =>
      change(
        'insert into "tenants" ("id", "name", "timezone", "createdAt") values (?, ?, \'UTC\', 0)',
        id,
        id,
      );
    const waiting = [1, 2, 3].map((n) => driver.write(add(`t${n}`)));
    await driver.close();
    assert.deepEqual(await Promise.all(waiting), [1, 1, 1]);
    await assert.rejects(driver.write(add('late')), /closed/);
    await assert.rejects(
      driver.read(() => row('select 1')),
      /closed/,
    );
  });
});
