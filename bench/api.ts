// Requests per second of the API beside a bare fastify route: node bench/api.ts
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Pool } from 'undici';
import { percentile, repeated, type Spread, shown, shownSpread, table } from './figures.ts';
import { dailyJobs, fillJobs } from './fill.ts';
import { withInstallation } from './installed.ts';

const JOBS = 10_000;
const CONNECTIONS = 8;
const MEASURED_MS = 1_500;
const TURNS = 5;

interface Load {
  perSecond: Spread;
  /** Of the last turn, ms. */
  p50: number;
  p99: number;
  bytes: number;
}

/** Asks again and again on every connection, the next request when the answer has been read. */
async function load(url: string, path: string, token: string): Promise<Load> {
  const pool = new Pool(url, { connections: CONNECTIONS, pipelining: 1 });
  const headers = { authorization: `Bearer ${token}` };
  let times: number[] = [];
  let bytes = 0;
  const ask = async (until: number) => {
    while (performance.now() < until) {
      const begin = performance.now();
      const { statusCode, body } = await pool.request({ path, method: 'GET', headers });
      const answer = await body.arrayBuffer();
      if (statusCode !== 200) throw new Error(`${path}: ${statusCode} ${Buffer.from(answer)}`);
      bytes = answer.byteLength;
      times.push(performance.now() - begin);
    }
  };
  try {
    const perSecond = await repeated(TURNS, async () => {
      times = [];
      const begin = performance.now();
      await Promise.all(Array.from({ length: CONNECTIONS }, () => ask(begin + MEASURED_MS)));
      return (times.length / (performance.now() - begin)) * 1_000;
    });
    const sorted = times.toSorted((one, other) => one - other);
    return { perSecond, p50: percentile(sorted, 50), p99: percentile(sorted, 99), bytes };
  } finally {
    await pool.close();
  }
}

/** A fastify server in a process of its own that answers every path with these bytes of JSON. */
async function startBare(): Promise<{ url: string; child: ChildProcess }> {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'bareServer.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(child.stdout as NodeJS.ReadableStream, 'data');
  return { url: String(line).trim(), child };
}

function fillTenant(file: string): void {
  const database = new DatabaseSync(file, { readOnly: true });
  const { id } = database.prepare('select "id" from "tenants"').get() as { id: string };
  database.close();
  const now = Date.now();
  fillJobs(file, { tenantId: id, jobs: dailyJobs(JOBS, now), now, history: true });
}

export async function measure(): Promise<string> {
  const rota = await withInstallation(async (installation) => {
    const first = await installation.startServer();
    await first.kill('SIGTERM');
    fillTenant(installation.databaseFile());
    await installation.startServer();
    const url = installation.url();
    const token = installation.token();
    return {
      health: await load(url, '/healthz', token),
      job: await load(url, '/api/v1/jobs/daily-0005000', token),
      list: await load(url, '/api/v1/jobs?limit=50', token),
    };
  });
  const { url, child } = await startBare();
  let bare: { job: Load; list: Load };
  try {
    bare = {
      job: await load(url, `/bytes/${rota.job.bytes}`, 'none'),
      list: await load(url, `/bytes/${rota.list.bytes}`, 'none'),
    };
  } finally {
    child.kill();
  }
  const row = (name: string, { perSecond, p50, p99, bytes }: Load, limit: Load | null) => [
    name,
    shownSpread(perSecond),
    shown(p50),
    shown(p99),
    shown(bytes),
    limit === null ? '–' : shown(perSecond.median / limit.perSecond.median),
  ];
  return [
    `${shown(JOBS)} stored jobs, each with a run. ${CONNECTIONS} keep-alive connections (undici), one request at a time on each, from another process on`,
    `the same machine; ${MEASURED_MS / 1_000} s, ${TURNS} times after one for warming up, median (min–max). The bare route is fastify in a process of`,
    'its own that answers as many bytes of JSON from memory, without authentication.',
    '',
    table(
      ['', 'requests per second', 'p50, ms', 'p99, ms', 'bytes', '÷ bare route'],
      [
        row('GET a job by name', rota.job, bare.job),
        row('GET a list of 50 jobs', rota.list, bare.list),
        row('GET /healthz', rota.health, null),
        row('bare fastify route, the size of a job', bare.job, null),
        row('bare fastify route, the size of the list', bare.list, null),
      ],
    ),
  ].join('\n');
}

if (import.meta.main) console.log(await measure());
