import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { isTerminal } from '@rota/contract';
import { CONFIG, DAILY_REPORT, DATA_PIPELINE } from '../../packages/cli/src/fleetcron/examples.testing.ts';
import { Installation } from '../support/installation.ts';
import { until } from '../support/until.ts';

/** The jobs that FleetCron's documentation shows, taken over and run as it says that they run. */
const installation = new Installation();
const SECRET = CONFIG.secrets.API_SECRET;
/** A zone in which it is noon now, and one in which it is early morning. */
const [NOON, MORNING] = [12, 6].map((hour) => {
  // From -11 to 12: there are zones for these.
  const offset = ((hour - new Date().getUTCHours() + 35) % 24) - 11;
  return offset === 0 ? 'Etc/GMT' : `Etc/GMT${offset > 0 ? '-' : '+'}${Math.abs(offset)}`;
}) as [string, string];

interface Seen {
  method: string;
  url: string;
  authorization: string | undefined;
  agent: string | undefined;
  body: string;
  atMs: number;
}

let web: Server;
let seen: Seen[] = [];
/** Answers that are due, by path; 200 once there are no more. */
let statuses: Record<string, number[]> = {};

before(async () => {
  web = createServer((request: IncomingMessage, response) => {
    const { method = '', url = '', headers } = request;
    const atMs = performance.now();
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      seen.push({
        method,
        url,
        authorization: headers.authorization,
        agent: headers['user-agent'],
        body,
        atMs,
      });
      response.writeHead(statuses[url]?.shift() ?? 200, { 'content-type': 'application/json' });
      response.end('{"ok":true}');
    });
  });
  await new Promise<void>((resolve) => {
    web.listen(0, '127.0.0.1', resolve);
  });
  await installation.startServer();
  await installation.startAgent('one');
  await installation.whenOnline('one');
});

after(async () => {
  web.closeAllConnections();
  web.close();
  await installation.remove();
});

async function importJobs(jobs: object[], more: string[] = []) {
  const { port } = web.address() as AddressInfo;
  const config = { ...CONFIG, secrets: { ...CONFIG.secrets, BASE_URL: `http://127.0.0.1:${port}` } };
  writeFileSync(path.join(installation.folder, 'config.json'), JSON.stringify(config));
  const input = jobs.map((job) => JSON.stringify(job)).join('\n');
  const args = ['import', 'fleetcron', '-', '--config', 'config.json', '--set-secrets', ...more];
  const { code, stdout, stderr } = await installation.run(args, { input });
  assert.equal(code, 0, stderr);
  assert.ok(!(stdout + stderr).includes(SECRET));
}

/** Runs a job to its end; with the hour of its nominal instant in a zone. */
async function run(name: string, given: Record<string, number[]> = {}, zone = 'UTC') {
  seen = [];
  statuses = given;
  const client = installation.client();
  const { run } = await client.call('runJob', { params: { name }, body: {} });
  const answer = await until(
    `the run of ${name} to end`,
    async () => {
      const now = await client.call('getRun', { params: { id: run.id } });
      return isTerminal(now.run.state) ? now : null;
    },
    120_000,
  );
  const hour = new Intl.DateTimeFormat('en', { hour: 'numeric', hourCycle: 'h23', timeZone: zone }).format(
    new Date(answer.run.scheduledFor),
  );
  const steps = answer.attempts.at(-1)?.steps.map(({ name, state, tries }) => `${name} ${state} ${tries}`);
  return { ...answer.run, hour: Number(hour), steps };
}

test('Both jobs run at the times that their documents name, in the zone of the configuration', async () => {
  await importJobs([DAILY_REPORT, DATA_PIPELINE]);
  const client = installation.client();
  const schedule = async (name: string) =>
    (await client.call('getJob', { params: { name } })).document.schedule;
  assert.deepEqual(await schedule('daily-report'), { cron: '30 9 * * *', timezone: CONFIG.tz });
  assert.deepEqual(await schedule('data-pipeline'), { cron: '0 * * * *', timezone: CONFIG.tz });
});

test('The daily report is asked for with its secret, and again five seconds after a failure', async () => {
  await importJobs([DAILY_REPORT]);
  const { state, steps } = await run('daily-report', { '/report': [503] });
  assert.equal(state, 'succeeded');
  assert.deepEqual(steps, ['request succeeded 2']);
  assert.deepEqual(
    seen.map(({ method, url, authorization }) => [method, url, authorization]),
    Array(2).fill(['GET', '/report', `Bearer ${SECRET}`]),
  );
  const [first, second] = seen as [Seen, Seen];
  assert.ok(second.atMs - first.atMs >= 4_900, `${second.atMs - first.atMs} ms`);
});

for (const zone of [NOON, MORNING]) {
  test(`The pipeline does its second step only at the hours that it names, in ${zone === NOON ? 'a zone with noon' : 'a zone with morning'}`, async () => {
    await importJobs([DATA_PIPELINE], ['--timezone', zone]);
    const { state, hour, steps } = await run('data-pipeline', {}, zone);
    assert.equal(state, 'succeeded');
    const holds = [0, 12].includes(hour);
    const requests = seen.map(({ method, url }) => `${method} ${url}`);
    assert.deepEqual(
      requests,
      holds ? ['GET /api/data', 'POST /api/process'] : ['GET /api/data'],
      `it was ${hour} o'clock`,
    );
    assert.deepEqual(steps, [
      'fetch-data succeeded 1',
      `process-data ${holds ? 'succeeded 1' : 'skipped 0'}`,
    ]);
  });
}

test('The pipeline stops at its first failure', async () => {
  await importJobs([DATA_PIPELINE], ['--timezone', NOON]);
  const { state, steps } = await run('data-pipeline', { '/api/data': [500] });
  assert.equal(state, 'failed');
  assert.deepEqual(
    seen.map(({ url }) => url),
    ['/api/data'],
  );
  assert.deepEqual(steps, ['fetch-data failed 1', 'process-data notRun 0']);
});

test('With continue_on_failure the pipeline goes on after a failure, and has not failed', async () => {
  const [fetchData, processData] = DATA_PIPELINE.actions as [object, object];
  const actions = [
    { ...fetchData, continue_on_failure: true },
    { ...processData, when: undefined },
  ];
  await importJobs([{ ...DATA_PIPELINE, name: 'Going On', actions }]);
  const { state, steps } = await run('going-on', { '/api/data': [500] });
  assert.equal(state, 'succeeded');
  assert.deepEqual(
    seen.map(({ url }) => url),
    ['/api/data', '/api/process'],
  );
  assert.deepEqual(steps, ['fetch-data failed 1', 'process-data succeeded 1']);
});

test('Headers, parameters and bodies are sent with their secrets, and a request that fails is tried again, each time later', async () => {
  const action = {
    type: 'http',
    name: 'Send',
    method: 'POST',
    url: '{{BASE_URL}}/send',
    headers: { 'User-Agent': 'FleetCron/3.0', Authorization: 'Bearer {{API_SECRET}}' },
    params: { q: 'a b', key: '{{API_SECRET}}' },
    body: { key: '{{API_SECRET}}', plain: '{{ not a key }}', list: [1, { deep: 'x{{API_SECRET}}' }] },
    retry: { retries: 2, delay_sec: 0.3, backoff: 2 },
  };
  const last = {
    type: 'http',
    name: 'Last',
    method: 'DELETE',
    url: '{{BASE_URL}}/last',
    body: 'raw {{API_SECRET}}',
  };
  await importJobs([{ ...DATA_PIPELINE, name: 'Everything', actions: [action, last] }]);
  const path = `/send?q=a+b&key=${SECRET}`;
  const { state, steps } = await run('everything', { [path]: [500, 503] });
  assert.deepEqual([state, steps], ['succeeded', ['send succeeded 3', 'last succeeded 1']]);
  const [first, second, third, fourth] = seen as [Seen, Seen, Seen, Seen];
  assert.equal(seen.length, 4);
  for (const { method, url, authorization, agent, body } of [first, second, third]) {
    assert.deepEqual(
      [method, url, authorization, agent],
      ['POST', path, `Bearer ${SECRET}`, 'FleetCron/3.0'],
    );
    const list = [1, { deep: `x${SECRET}` }];
    assert.deepEqual(JSON.parse(body), { key: SECRET, plain: '{{ not a key }}', list });
  }
  assert.ok(second.atMs - first.atMs >= 290, `${second.atMs - first.atMs} ms`);
  assert.ok(third.atMs - second.atMs >= 590, `${third.atMs - second.atMs} ms`);
  assert.deepEqual([fourth.method, fourth.url, fourth.body], ['DELETE', '/last', `raw ${SECRET}`]);
  const failed = await run('everything', { [path]: [500, 500, 500] });
  assert.deepEqual([failed.state, failed.steps], ['failed', ['send failed 3', 'last notRun 0']]);
  assert.equal(seen.length, 3);
});
