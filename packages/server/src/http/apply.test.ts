import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertProblem, startTestServer } from '../server.testing.ts';

const changesOf = (answer: { json: { changes: { name: string; action: string }[] } }) =>
  answer.json.changes.map(({ name, action }) => `${name} ${action}`);

test('A document is applied once: the second time changes nothing', async (t) => {
  const server = await startTestServer(t);
  const document = `
defaults: { timezone: America/New_York }
jobs:
  - { name: a, command: echo a, schedule: "30 2 * * *" }
  - { name: b, command: [echo, b], schedule: every 15m, labels: { team: data } }
`;
  const first = await server.send('POST', '/api/v1/apply', { document });
  assert.deepEqual(changesOf(first), ['a created', 'b created']);
  const second = await server.send('POST', '/api/v1/apply', { document });
  assert.deepEqual(changesOf(second), ['a unchanged', 'b unchanged']);
  const { json: a } = await server.send('GET', '/api/v1/jobs/a');
  assert.deepEqual([a.revision, a.schedules[0].timezone], [1, 'America/New_York']);
  assert.match(a.schedules[0].description, /02:30/);
});

test('A dry run tells each field that differs and changes nothing', async (t) => {
  const server = await startTestServer(t);
  await server.send('PUT', '/api/v1/jobs/a', { command: 'old', target: { labels: { role: 'db' } } });
  const document = {
    jobs: [{ name: 'a', command: 'new', target: { labels: { role: 'db', zone: 'eu' } }, timeout: '1h' }],
  };
  const dry = await server.send('POST', '/api/v1/apply', { document, dryRun: true });
  assert.equal(dry.json.dryRun, true);
  assert.deepEqual(dry.json.changes, [
    {
      name: 'a',
      action: 'updated',
      revision: 2,
      fields: [
        { path: 'target.labels.zone', before: null, after: 'eu' },
        { path: 'command', before: 'old', after: 'new' },
        { path: 'timeout', before: null, after: '1h' },
      ],
    },
  ]);
  assert.equal((await server.send('GET', '/api/v1/jobs/a')).json.document.command, 'old');
  const { json } = await server.send('POST', '/api/v1/apply', { document });
  assert.deepEqual(json.changes, dry.json.changes);
});

test('Pruning deletes what the same owner applied before and lists no more, and nothing else', async (t) => {
  const server = await startTestServer(t);
  const apply = (owner: string, names: string[], prune = false) =>
    server.send('POST', '/api/v1/apply', {
      document: { owner, jobs: names.map((name) => ({ name, command: 'true' })) },
      prune,
    });
  await apply('team-a', ['a1', 'a2', 'a3']);
  await apply('team-b', ['b1']);
  await server.send('PUT', '/api/v1/jobs/by-hand', { command: 'true', owner: 'team-a' });
  await server.send('PUT', '/api/v1/jobs/a2', { command: 'changed by hand', owner: 'team-a' });
  assert.deepEqual(changesOf(await apply('team-a', ['a1'], true)), [
    'a1 unchanged',
    'a2 deleted',
    'a3 deleted',
  ]);
  const { json } = await server.send('GET', '/api/v1/jobs');
  assert.deepEqual(
    json.items.map((job: { name: string }) => job.name),
    ['a1', 'b1', 'by-hand'],
  );
  const ownerless = await server.send('POST', '/api/v1/apply', { document: { jobs: [] }, prune: true });
  assert.equal(assertProblem(ownerless, 'document.invalid').faults?.[0]?.path, 'owner');
});

test('Jobs arrive paused when asked to, and applying again does not resume or pause any', async (t) => {
  const server = await startTestServer(t);
  const document = { jobs: [{ name: 'a', command: 'true', schedule: 'every 1m' }] };
  await server.send('POST', '/api/v1/apply', { document, paused: true });
  const paused = (await server.send('GET', '/api/v1/jobs/a')).json;
  assert.ok(paused.paused);
  assert.deepEqual(paused.next, []);
  const changed = { jobs: [{ name: 'a', command: 'false', schedule: 'every 1m' }] };
  await server.send('POST', '/api/v1/apply', { document: changed });
  assert.ok((await server.send('GET', '/api/v1/jobs/a')).json.paused);
  const resumed = await server.send('POST', '/api/v1/jobs/a/resume');
  assert.equal(resumed.json.paused, null);
  assert.equal(resumed.json.next.length, 5);
  await server.send('POST', '/api/v1/apply', { document, paused: true });
  assert.equal((await server.send('GET', '/api/v1/jobs/a')).json.paused, null);
});

test('An export can be applied again and changes nothing', async (t) => {
  const server = await startTestServer(t);
  await server.send('POST', '/api/v1/apply', {
    document: {
      owner: 'me',
      jobs: Array.from({ length: 600 }, (_, n) => ({
        name: `job-${n}`,
        command: 'true',
        schedule: '@daily',
        labels: { part: n % 2 === 0 ? 'even' : 'odd' },
      })),
    },
  });
  const { json } = await server.send('GET', '/api/v1/export');
  assert.equal(json.jobs.length, 600);
  const again = await server.send('POST', '/api/v1/apply', { document: json });
  assert.ok(again.json.changes.every((change: { action: string }) => change.action === 'unchanged'));
  const odd = await server.send('GET', '/api/v1/export?label=part%3Dodd');
  assert.equal(odd.json.jobs.length, 300);
});
