import { closeSync, fsyncSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { ServerKey } from '@rota/contract';
import { generateKeys, type Identity } from '../packages/agent/src/identity.ts';
import { newId, systemRandom } from '../packages/server/src/random.ts';
import type { Database } from './database.ts';

const DAY_MS = 86_400_000;
const ROWS_PER_COMMIT = 50_000;

export interface FilledJob {
  name: string;
  schedule: string;
  nextAt: number;
}

/**
 * Writes jobs straight into a migrated database that nobody has open, each with its revision and, with `history`, one run
 * that ended a day ago.
 */
export function fillJobs(
  databaseFile: string,
  input: { tenantId: string; jobs: Iterable<FilledJob>; now: number; history: boolean },
): void {
  const database = new DatabaseSync(databaseFile);
  database.exec('pragma journal_mode = wal; pragma synchronous = off; pragma cache_size = -1000000');
  const job = database.prepare(
    `insert into "jobs" ("tenantId", "id", "name", "kind", "revision", "documentJson", "owner", "anchorsJson", "enabled",
       "plannedThrough", "firedThrough", "nextAt", "createdAt", "updatedAt")
     values (?, ?, ?, 'job', 1, ?, '', '{}', 1, ?, 0, ?, ?, ?)`,
  );
  const revision = database.prepare(
    `insert into "jobRevisions" ("tenantId", "jobId", "revision", "action", "documentJson", "at", "by")
     values (?, ?, 1, 'created', ?, ?, 'bench')`,
  );
  const run = database.prepare(
    `insert into "runs" ("tenantId", "id", "jobId", "revision", "kind", "occurrenceKey", "part", "scheduledFor", "dueAt",
       "startBy", "state", "epoch", "attempt", "slot", "passedJson", "queuedAt", "offeredAt", "startingAt", "startedAt",
       "endedAt", "exitCode", "createdAt")
     values (?, ?, ?, 1, 'scheduled', ?, '', ?, ?, ?, 'succeeded', 1, 1, 0, '[]', ?, ?, ?, ?, ?, 0, ?)`,
  );
  const { tenantId, now } = input;
  const ran = now - DAY_MS;
  let rows = 0;
  database.exec('begin');
  for (const { name, schedule, nextAt } of input.jobs) {
    const id = newId(systemRandom);
    const documentJson = JSON.stringify({
      name,
      title: `Benchmark ${name}`,
      labels: { team: 'bench' },
      schedule: { cron: schedule, timezone: 'UTC' },
      command: ['/bin/true'],
    });
    job.run(tenantId, id, name, documentJson, now, nextAt, now, now);
    revision.run(tenantId, id, documentJson, now);
    if (input.history)
      run.run(tenantId, newId(systemRandom), id, `s:${ran}`, ran, ran, now, ran, ran, ran, ran, ran, ran);
    rows += 1;
    if (rows % ROWS_PER_COMMIT === 0) database.exec('commit; begin');
  }
  database.exec('commit; pragma wal_checkpoint(truncate)');
  database.close();
  // What is not on the disk yet would be paid for by the first commits that are measured.
  const file = openSync(databaseFile, 'r+');
  fsyncSync(file);
  closeSync(file);
}

/** Jobs that are due once a day, none within the next hour. */
export function* dailyJobs(count: number, now: number): Generator<FilledJob> {
  for (let index = 0; index < count; index++) {
    const nextAt = now + 3_600_000 + (index % 1_300) * 60_000;
    const at = new Date(nextAt);
    yield {
      name: `daily-${String(index).padStart(7, '0')}`,
      schedule: `${at.getUTCMinutes()} ${at.getUTCHours()} * * *`,
      nextAt: Math.floor(nextAt / 60_000) * 60_000,
    };
  }
}

/**
 * Writes agents straight into a database, as if they had joined.
 * @returns what each of them has on its disk
 */
export async function fillAgents(
  database: Database,
  input: { tenantId: string; names: readonly string[]; now: number },
): Promise<Identity[]> {
  const keys = await database.all<ServerKey>('select "id", "publicKey" from "serverKeys"');
  const identities: Identity[] = [];
  await database.all('begin');
  for (const name of input.names) {
    const { privateKey, publicKey } = generateKeys();
    const agentId = newId(systemRandom);
    await database.all(
      `insert into "agents" ("tenantId", "id", "name", "publicKey", "orderNumber", "labelsJson", "enabled", "state", "sessionEpoch",
         "journalSeq", "maxParallel", "draining", "createdAt", "changedAt") values (?, ?, ?, ?, 100, '{}', 1, 'offline', 0, 0, 0, 0, ?, ?)`,
      input.tenantId,
      agentId,
      name,
      publicKey,
      input.now,
      input.now,
    );
    identities.push({ agentId, name, tenant: 'default', urls: [], privateKey, keys });
  }
  await database.all('commit');
  return identities;
}
