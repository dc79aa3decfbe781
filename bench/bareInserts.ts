import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { startDatabase } from '../test/support/database.ts';
import { repeated, type Spread } from './figures.ts';

const MEASURED_MS = 700;
const TURNS = 5;
const TABLE =
  'create table "rows" ("tenantId" text, "id" text, "state" text, "data" text, primary key ("tenantId", "id"))';
/** With its key about as many bytes as a run has. */
const DATA = 'x'.repeat(200);

/** Rows per second that a loop alone inserts into one table with one index, durably, by the server's driver of SQLite. */
export async function insertsIntoFile(rowsPerCommit: number): Promise<Spread> {
  const folder = mkdtempSync(path.join(tmpdir(), 'rota-bench-'));
  const database = new DatabaseSync(path.join(folder, 'bare.db'));
  database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma wal_autocheckpoint = 4000');
  database.exec(TABLE);
  const insert = database.prepare('insert into "rows" values (?, ?, ?, ?)');
  let next = 0;
  try {
    return await repeated(TURNS, () => {
      const before = next;
      const begin = performance.now();
      while (performance.now() - begin < MEASURED_MS) {
        database.exec('begin immediate');
        for (let row = 0; row < rowsPerCommit; row++) {
          next += 1;
          insert.run('tenant', `run-${next}`, 'planned', DATA);
        }
        database.exec('commit');
      }
      return ((next - before) / (performance.now() - begin)) * 1_000;
    });
  } finally {
    database.close();
    rmSync(folder, { recursive: true });
  }
}

const INSERT =
  'insert into "rows" select * from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as "row"';

/** The same into a PostgreSQL of its own by the server's driver: one statement a commit, on so many connections at once. */
export async function insertsIntoPostgres(rowsPerCommit: number, connections: number): Promise<Spread> {
  const postgres = await startDatabase([]);
  const clients = Array.from(
    { length: connections },
    () =>
      new pg.Client({ host: '127.0.0.1', port: postgres.port, user: 'postgres', database: postgres.name }),
  );
  let next = 0;
  async function insert(client: pg.Client, until: number): Promise<void> {
    while (performance.now() < until) {
      const ids = Array.from({ length: rowsPerCommit }, (_, index) => `run-${next + index}`);
      next += rowsPerCommit;
      const list = (value: string) => ids.map(() => value);
      const values = [list('tenant'), ids, list('planned'), list(DATA)];
      await client.query({ name: 'insert', text: INSERT, values });
    }
  }
  try {
    for (const client of clients) {
      client.on('error', () => {});
      await client.connect();
    }
    await clients[0]?.query(TABLE);
    return await repeated(TURNS, async () => {
      const before = next;
      const begin = performance.now();
      await Promise.all(clients.map((client) => insert(client, begin + MEASURED_MS)));
      return ((next - before) / (performance.now() - begin)) * 1_000;
    });
  } finally {
    await Promise.all(clients.map((client) => client.end()));
    await postgres.stop();
  }
}
