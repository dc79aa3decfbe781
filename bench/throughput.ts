// Durable runs per second from plan to end through a real server and a real WebSocket, with an agent that costs nothing:
// node bench/throughput.ts
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { repeated, type Spread, shown, shownSpread, spreadOf, table } from './figures.ts';
import { burst, withInstallation } from './installed.ts';
import { describeFdatasyncs, fdatasyncs } from './limits.ts';

const RUNS = 3_000;
const TURNS = 5;
const ROWS_PER_COMMIT = 256;
/** Inserts and updates of rows that one scheduled run takes. */
const ROWS_PER_RUN = 19;

interface Measured {
  /** Runs per second while they were planned, from due to ended, and over both. */
  planned: Spread;
  carriedOut: Spread;
  planToEnd: Spread;
}

async function scripted(): Promise<Measured> {
  return withInstallation(async (installation) => {
    await installation.startServer();
    const entry = path.join(import.meta.dirname, 'scriptedAgent.ts');
    const identity = path.join(installation.folder, 'scripted.json');
    spawn(process.execPath, [entry, installation.url(), identity], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { PATH: process.env.PATH ?? '', ROTA_JOIN_TOKEN: await installation.joinToken() },
    });
    await installation.whenOnline('scripted');
    const rates: { planned: number; carriedOut: number; planToEnd: number }[] = [];
    for (let turn = 0; turn <= TURNS; turn++) {
      const { dueAt, runs } = await burst(installation, {
        prefix: `through${turn}`,
        count: RUNS,
        command: ['/bin/true'],
      });
      if (turn === 0) continue;
      const created = runs.map((run) => run.createdAt);
      const planMs = Math.max(1, Math.max(...created) - Math.min(...created));
      const endMs = Math.max(...runs.map((run) => run.endedAt as number)) - dueAt;
      rates.push({
        planned: (RUNS / planMs) * 1_000,
        carriedOut: (RUNS / endMs) * 1_000,
        planToEnd: (RUNS / (planMs + endMs)) * 1_000,
      });
    }
    return {
      planned: spreadOf(rates.map((rate) => rate.planned)),
      carriedOut: spreadOf(rates.map((rate) => rate.carriedOut)),
      planToEnd: spreadOf(rates.map((rate) => rate.planToEnd)),
    };
  });
}

/** Rows per second that a loop alone inserts into one table with one index, durably, by the same driver. */
async function bareInserts(rowsPerCommit: number): Promise<Spread> {
  const folder = mkdtempSync(path.join(tmpdir(), 'rota-bench-'));
  const database = new DatabaseSync(path.join(folder, 'bare.db'));
  database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma wal_autocheckpoint = 4000');
  database.exec(
    'create table "rows" ("tenantId" text, "id" text, "state" text, "data" text, primary key ("tenantId", "id"))',
  );
  const insert = database.prepare('insert into "rows" values (?, ?, ?, ?)');
  const data = 'x'.repeat(200);
  let next = 0;
  try {
    return await repeated(TURNS, () => {
      const before = next;
      const begin = performance.now();
      while (performance.now() - begin < 700) {
        database.exec('begin immediate');
        for (let row = 0; row < rowsPerCommit; row++) {
          next += 1;
          insert.run('tenant', `run-${next}`, 'planned', data);
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

function times({ median, min, max }: Spread, factor: number): Spread {
  return { median: median * factor, min: min * factor, max: max * factor };
}

export async function measure(): Promise<string> {
  const disk = await fdatasyncs();
  const batched = await bareInserts(ROWS_PER_COMMIT);
  const single = await bareInserts(1);
  const { planned, carriedOut, planToEnd } = await scripted();
  const row = (name: string, rate: Spread) => [name, shownSpread(rate), shown(rate.median / batched.median)];
  return [
    `${RUNS} jobs due at one instant, through the server's process and one WebSocket to a scripted agent in another process,`,
    `which answers each message at once and keeps nothing. From plan to end one run is ${ROWS_PER_RUN} inserted or changed rows (of jobs,`,
    'runs, attempts, events and agents) in five commits that it shares with others, and one Ed25519 signature.',
    `${TURNS} times after one for warming up, median (min–max).`,
    '',
    table(
      ['', 'per second', '÷ bare batched inserts'],
      [
        row('runs planned', planned),
        row('runs from due to ended', carriedOut),
        row('**runs from plan to end**', planToEnd),
        row(`… as rows, ${ROWS_PER_RUN} a run`, times(planToEnd, ROWS_PER_RUN)),
        row(`bare inserts of one row, ${ROWS_PER_COMMIT} a commit`, batched),
        row('bare inserts of one row, one a commit', single),
      ],
    ),
    '',
    `Limit in the same run: ${describeFdatasyncs(disk)}.`,
  ].join('\n');
}

if (import.meta.main) console.log(await measure());
