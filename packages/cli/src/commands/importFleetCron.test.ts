import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readDocument } from '@rota/contract';
import { parse } from 'yaml';
import { fakeServer, type Handlers, jobView } from '../fakeServer.testing.ts';
import { CONFIG, DAILY_REPORT, DATA_PIPELINE } from '../fleetcron/examples.testing.ts';
import { rota, temporaryFolder } from '../rota.testing.ts';

interface Body {
  document: { owner: string; jobs: { name: string; schedule: { timezone: string }; target?: unknown }[] };
  paused: boolean;
  dryRun: boolean;
}

const list = (items: unknown[]) => ({ json: { items, nextCursor: null } });
const secret = (name: string) => ({ name, job: null, from: 'server' });

async function world(t: TestContext, handlers: Handlers = {}) {
  const folder = temporaryFolder(t);
  const file = join(folder, 'jobs.json');
  const config = join(folder, 'fleetcron.config.json');
  writeFileSync(file, [DAILY_REPORT, DATA_PIPELINE].map((job) => JSON.stringify(job)).join('\n'));
  writeFileSync(config, JSON.stringify(CONFIG));
  const server = await fakeServer(t, {
    listJobs: () => list([]),
    listSecrets: () => list([secret('BASE_URL'), secret('API_SECRET')]),
    putSecret: ({ params }) => ({ json: { secret: secret(params.name as string), created: true } }),
    apply: ({ body }) => ({
      json: {
        dryRun: false,
        changes: (body as Body).document.jobs.map(({ name }) => ({
          name,
          action: 'created',
          revision: 1,
          fields: [],
        })),
      },
    }),
    ...handlers,
  });
  return { server, file, config };
}

test('import fleetcron makes paused jobs in the time zone of its configuration', async (t) => {
  const { server, file, config } = await world(t);
  const { code, out, err } = await rota(['import', 'fleetcron', file, '--config', config], server);
  assert.equal(code, 0, err);
  assert.match(out, /Daily Report\tdaily-report\t30 9 \* \* \*\tcreated\n/);
  assert.match(out, /Data Pipeline\tdata-pipeline\t0 \* \* \* \*\tcreated\n/);
  assert.match(err, /New jobs are paused, as FleetCron still runs them/);
  const { document, paused } = server.body<Body>('apply');
  assert.equal(paused, true);
  assert.equal(document.owner, 'fleetcron');
  assert.deepEqual(
    document.jobs.map(({ schedule }) => schedule.timezone),
    ['Europe/Berlin', 'Europe/Berlin'],
  );
});

test('--print writes a document that is right, and asks no server', async (t) => {
  const { file, config } = await world(t);
  const { code, out, err } = await rota(['import', 'fleetcron', file, '--config', config, '--print']);
  assert.equal(code, 0);
  const read = readDocument(parse(out), { timezone: 'UTC' });
  assert.ok('document' in read, JSON.stringify(read));
  assert.deepEqual(
    read.document.jobs.map(({ document }) => [document.name, document.owner]),
    [
      ['daily-report', 'fleetcron'],
      ['data-pipeline', 'fleetcron'],
    ],
  );
  assert.match(err, /rota secret set API_SECRET {3}# in the configuration\n/);
  assert.ok(!(out + err).includes('your-secret-key'));
});

test('Without its configuration the zone is that of FleetCron, unless one is given', async (t) => {
  const { file } = await world(t);
  const zone = async (...more: string[]) => {
    const { out } = await rota(['import', 'fleetcron', file, '--print', '--json', ...more]);
    return JSON.parse(out).jobs[0].schedule.timezone;
  };
  assert.equal(await zone(), 'Asia/Seoul');
  assert.equal(await zone('--timezone', 'Europe/Paris'), 'Europe/Paris');
});

test('Secrets that are missing are named with the commands that set them, and nothing is saved', async (t) => {
  const { server, file, config } = await world(t, { listSecrets: () => list([secret('BASE_URL')]) });
  const { code, out, err } = await rota(['import', 'fleetcron', file, '--config', config], server);
  assert.equal(code, 1);
  assert.match(err, / {2}rota secret set API_SECRET {3}# in the configuration\n/);
  assert.doesNotMatch(err, /rota secret set BASE_URL/);
  assert.match(err, /nothing was saved: a secret is missing: API_SECRET\n.*--set-secrets/s);
  assert.ok(!(out + err).includes('your-secret-key'));
  assert.ok(!server.calls.some(({ route }) => route === 'apply' || route === 'putSecret'));
});

test('--set-secrets sets those that there are not yet, and tells no value', async (t) => {
  const { server, file, config } = await world(t, { listSecrets: () => list([secret('BASE_URL')]) });
  const { code, out, err } = await rota(
    ['import', 'fleetcron', file, '--config', config, '--set-secrets'],
    server,
  );
  assert.equal(code, 0, err);
  const set = server.calls.filter(({ route }) => route === 'putSecret');
  assert.deepEqual(
    set.map(({ params, body }) => [params.name, body]),
    [['API_SECRET', { value: 'your-secret-key' }]],
  );
  assert.ok(!(out + err).includes('your-secret-key'));
  assert.ok(server.calls.some(({ route }) => route === 'apply'));
});

test('A secret that has the name of what every object has is missing where the configuration does not have it', async (t) => {
  const { server, config } = await world(t);
  const input = JSON.stringify([{ ...DAILY_REPORT, url: '{{BASE_URL}}/{{constructor}}' }]);
  const { code, err } = await rota(['import', 'fleetcron', '-', '--config', config, '--set-secrets'], {
    ...server,
    input,
  });
  assert.equal(code, 1);
  assert.match(err, /rota secret set constructor {3}# not in the configuration\n/);
  assert.ok(!server.calls.some(({ route }) => route === 'apply' || route === 'putSecret'));
});

test('A secret that the server refuses is said by its name, and nothing is saved', async (t) => {
  const { server, file, config } = await world(t, {
    listSecrets: () => list([]),
    putSecret: ({ params }) =>
      params.name === 'API_SECRET'
        ? { problem: 'document.invalid', detail: 'too short' }
        : { json: { secret: secret(params.name as string), created: true } },
  });
  const { code, err } = await rota(
    ['import', 'fleetcron', file, '--config', config, '--set-secrets'],
    server,
  );
  assert.equal(code, 1);
  assert.match(err, /Secret API_SECRET: not set: too short\nSecret BASE_URL: set\n/);
  assert.ok(!server.calls.some(({ route }) => route === 'apply'));
});

test('What is not carried over is said by job and field; a job that cannot be one ends with 1', async (t) => {
  const { server } = await world(t);
  const jobs = [
    { ...DAILY_REPORT, use_cloudscraper: true },
    { ...DATA_PIPELINE, minute: 99 },
  ];
  const { code, out, err } = await rota(['import', 'fleetcron', '-'], {
    ...server,
    input: JSON.stringify(jobs),
  });
  assert.equal(code, 1);
  assert.match(err, /-: Daily Report: use_cloudscraper is not carried over: has nothing like it here/);
  assert.match(err, /-: Data Pipeline: not imported: minute: 99 is not a whole number from 0 to 59/);
  assert.match(out, /daily-report/);
  assert.doesNotMatch(out, /data-pipeline/);
});

test('A second import finds its own jobs, and leaves those of others alone', async (t) => {
  const mine = jobView({ name: 'daily-report', document: { name: 'daily-report', owner: 'fleetcron' } });
  const others = jobView({ name: 'data-pipeline', document: { name: 'data-pipeline' } });
  const { server, file } = await world(t, { listJobs: () => list([mine, others]) });
  await rota(['import', 'fleetcron', file, '--agent', 'a', '--agent', 'b', '--dry-run'], server);
  const { document, dryRun } = server.body<Body>('apply');
  assert.equal(dryRun, true);
  assert.deepEqual(
    document.jobs.map(({ name, target }) => [name, target]),
    [
      ['daily-report', { agents: ['a', 'b'] }],
      ['data-pipeline-2', { agents: ['a', 'b'] }],
    ],
  );
});

test('A file that cannot be read is said so', async (t) => {
  const { file } = await world(t);
  writeFileSync(file, '{"name": }');
  const broken = await rota(['import', 'fleetcron', file, '--print']);
  assert.equal(broken.code, 2);
  assert.match(broken.err, /jobs\.json: line 1: .*\nnext: mongoexport/);
  assert.equal((await rota(['import', 'fleetcron', '/nowhere/x', '--print'])).code, 2);
  assert.equal((await rota(['import', 'fleetcron', file, '--set-secrets'])).code, 2);
});
