import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { JobInput } from './jobs.ts';
import { memoryStore, type StillClock, stillClock } from './store.testing.ts';
import type { Store } from './store.ts';

const NOW = Date.UTC(2026, 10, 21, 12, 0, 0);
const MINUTE = 60_000;

interface Setting {
  store: Store;
  clock: StillClock;
}

async function setting(t: TestContext): Promise<Setting> {
  const clock = stillClock(NOW);
  return { clock, store: await memoryStore(t, clock) };
}

function input(name: string, document: Record<string, unknown> = {}): JobInput {
  const schedule = 'schedule' in document ? document.schedule : 'every 1m';
  return {
    id: `id-${name}-${Math.random()}`,
    name,
    documentJson: JSON.stringify({ name, command: 'true', schedule, ...document }),
    enabled: document.enabled !== false,
    scheduled: schedule !== null,
    everyTexts: /^every (\S+)$/.exec(String(schedule))?.slice(1) ?? [],
  };
}

async function save(
  { store }: Setting,
  jobs: JobInput[],
  more: Partial<Parameters<Store['saveJobs']>[0]> = {},
) {
  const result = await store.saveJobs({
    tenantId: 't',
    by: 'me',
    jobs,
    paused: false,
    owner: null,
    prune: false,
    expectedRevision: null,
    ...more,
  });
  assert.ok('changes' in result, JSON.stringify(result));
  return result.changes;
}

/** Plans runs of a job at these instants, as the planner does. */
async function plan({ store }: Setting, name: string, instants: number[]) {
  const job = await jobOf({ store }, name);
  const through = Math.max(...instants);
  const planned = await store.storePlans({
    plans: [
      {
        tenantId: 't',
        jobId: job.id,
        revision: job.revision,
        recoveryId: 0,
        expectedThrough: job.plannedThrough,
        plannedThrough: through,
        nextAt: through + MINUTE,
        gaps: [],
        runs: instants.map((scheduledFor) => ({
          id: `run-${name}-${scheduledFor - NOW}`,
          occurrenceKey: `s:${scheduledFor}`,
          scheduledFor,
          dueAt: scheduledFor,
          startBy: scheduledFor + 86_400_000,
          timeoutMs: null,
        })),
      },
    ],
  });
  assert.equal(planned, 1);
}

async function jobOf({ store }: Pick<Setting, 'store'>, name: string) {
  const job = await store.findJob({ tenantId: 't', name });
  assert.ok(job);
  return job;
}

async function runsOf({ store }: Setting) {
  const runs = await store.listRuns({ tenantId: 't', filter: {}, before: null, limit: 100 });
  return runs
    .map(
      (run) =>
        `${(run.scheduledFor - NOW) / MINUTE} ${run.state}${run.reason ? ` ${run.reason}` : ''} r${run.revision}`,
    )
    .sort();
}

test('An edit takes back what is planned for later, and what is due already fires under the old revision', async (t) => {
  const at = await setting(t);
  await save(at, [input('a')]);
  await plan(at, 'a', [NOW + MINUTE, NOW + 2 * MINUTE, NOW + 3 * MINUTE]);
  at.clock.set(NOW + 2 * MINUTE);
  await save(at, [input('a', { command: 'false' })]);
  assert.deepEqual(await runsOf(at), ['1 planned r1', '2 planned r1']);
  const job = await jobOf(at, 'a');
  assert.deepEqual([job.revision, job.plannedThrough, job.nextAt], [2, NOW + 2 * MINUTE, NOW + 2 * MINUTE]);
  await at.store.queueDueRuns({ limit: 10 });
  const states = (await runsOf(at)).map((run) => run.split(' ').at(-1));
  assert.deepEqual(states, ['r1', 'r1']);
});

test('The cursor never goes back behind what has fired', async (t) => {
  const at = await setting(t);
  await save(at, [input('a')]);
  await plan(at, 'a', [NOW + MINUTE]);
  at.clock.set(NOW + MINUTE);
  await at.store.queueDueRuns({ limit: 10 });
  const { firedThrough } = await jobOf(at, 'a');
  assert.equal(firedThrough, NOW + MINUTE);
  at.clock.set(NOW - 10 * MINUTE);
  await save(at, [input('a', { command: 'false' })]);
  assert.equal((await jobOf(at, 'a')).plannedThrough, NOW + MINUTE);
});

test('A plan that was computed before an edit stores nothing after it', async (t) => {
  const at = await setting(t);
  await save(at, [input('a')]);
  const before = await jobOf(at, 'a');
  await save(at, [input('a', { command: 'false' })]);
  const planned = await at.store.storePlans({
    plans: [
      {
        tenantId: 't',
        jobId: before.id,
        revision: before.revision,
        recoveryId: 0,
        expectedThrough: before.plannedThrough,
        plannedThrough: NOW + MINUTE,
        nextAt: null,
        runs: [],
        gaps: [],
      },
    ],
  });
  assert.equal(planned, 0);
});

test('An unchanged document makes no revision and takes nothing back', async (t) => {
  const at = await setting(t);
  await save(at, [input('a')]);
  await plan(at, 'a', [NOW + MINUTE]);
  const [same] = await save(at, [
    { ...input('a'), documentJson: '{"schedule":"every 1m","command":"true","name":"a"}' },
  ]);
  assert.equal(same?.action, 'unchanged');
  assert.deepEqual(await runsOf(at), ['1 planned r1']);
});

test('The anchor of an interval changes only with its text', async (t) => {
  const at = await setting(t);
  await save(at, [input('a', { schedule: 'every 15m' })]);
  at.clock.set(NOW + 7 * MINUTE);
  await save(at, [input('a', { schedule: 'every 15m', command: 'false' })]);
  assert.deepEqual(JSON.parse((await jobOf(at, 'a')).anchorsJson), { '15m': NOW });
  await save(at, [input('a', { schedule: 'every 20m' })]);
  assert.deepEqual(JSON.parse((await jobOf(at, 'a')).anchorsJson), { '20m': NOW + 7 * MINUTE });
});

test('Pausing takes back what is later, skips what is due, and leaves what someone asked for', async (t) => {
  const at = await setting(t);
  await save(at, [input('a')]);
  await plan(at, 'a', [NOW + MINUTE, NOW + 2 * MINUTE]);
  const { id } = await jobOf(at, 'a');
  at.clock.set(NOW + MINUTE);
  await at.store.requestRuns({
    runs: [
      {
        id: 'asked',
        tenantId: 't',
        jobId: id,
        revision: 1,
        kind: 'triggered',
        occurrenceKey: 't:x',
        part: '',
        definitionJson: null,
        timeoutMs: null,
        createdBy: 'me',
        startDeadlineMs: 60_000,
        idempotencyKey: null,
      },
    ],
  });
  assert.equal(await at.store.pauseJob({ tenantId: 't', name: 'a', by: 'me', note: 'holiday' }), true);
  assert.deepEqual(await runsOf(at), ['1 planned r1', '1 skipped jobPaused r1']);
  const paused = await jobOf(at, 'a');
  assert.deepEqual([paused.nextAt, paused.firedThrough, paused.pausedNote], [null, NOW + MINUTE, 'holiday']);

  at.clock.set(NOW + 60 * MINUTE);
  await save(at, [input('a', { command: 'false' })]);
  assert.equal((await jobOf(at, 'a')).nextAt, null);
  assert.equal(await at.store.resumeJob({ tenantId: 't', name: 'a' }), true);
  const resumed = await jobOf(at, 'a');
  assert.deepEqual([resumed.pausedAt, resumed.nextAt], [null, NOW + 60 * MINUTE]);
});

test('A job that is switched off, or has no schedule, does not plan', async (t) => {
  const at = await setting(t);
  await save(at, [input('a', { enabled: false }), input('b', { schedule: null }), input('c')]);
  await plan(at, 'c', [NOW + MINUTE]);
  await save(at, [input('c', { enabled: false })]);
  for (const name of ['a', 'b', 'c']) assert.equal((await jobOf(at, name)).nextAt, null, name);
  assert.deepEqual(await runsOf(at), []);
});

test('Deleting cancels what waits, and the name comes back with its id and cursor', async (t) => {
  const at = await setting(t);
  await save(at, [input('a')]);
  const { id } = await jobOf(at, 'a');
  await plan(at, 'a', [NOW + MINUTE, NOW + 2 * MINUTE, NOW + 3 * MINUTE]);
  at.clock.set(NOW + MINUTE);
  await at.store.queueDueRuns({ limit: 10 });
  at.clock.set(NOW + 2 * MINUTE);
  assert.equal(await at.store.deleteJob({ tenantId: 't', name: 'a', by: 'me' }), true);
  assert.deepEqual(await runsOf(at), ['1 cancelled jobEdited r1', '2 cancelled jobEdited r1']);
  assert.equal(await at.store.getJob({ tenantId: 't', name: 'a' }), null);
  at.clock.set(NOW - MINUTE);
  const [revived] = await save(at, [input('a')]);
  assert.deepEqual([revived?.action, revived?.revision], ['created', 3]);
  const job = await jobOf(at, 'a');
  assert.deepEqual([job.id, job.deletedAt, job.plannedThrough], [id, null, NOW + 2 * MINUTE]);
});

test('A document is saved whole or not at all', async (t) => {
  const at = await setting(t);
  await save(at, [input('a')]);
  const broken = { ...input('c'), id: (await jobOf(at, 'a')).id };
  await assert.rejects(save(at, [input('a', { command: 'false' }), input('b'), broken]));
  assert.equal((await jobOf(at, 'a')).revision, 1);
  assert.equal(await at.store.findJob({ tenantId: 't', name: 'b' }), null);
});

test('A preview says what a save does', async (t) => {
  const at = await setting(t);
  await save(at, [input('a'), input('b')], { owner: 'me' });
  const next = {
    tenantId: 't',
    by: 'me',
    jobs: [input('a', { command: 'false' }), input('c')],
    paused: false,
    owner: 'me',
    prune: true,
    expectedRevision: null,
  };
  const preview = await at.store.previewJobs(next);
  assert.equal((await jobOf(at, 'a')).revision, 1);
  assert.deepEqual(await at.store.saveJobs(next), preview);
});

test('Each change of a job is an event', async (t) => {
  const at = await setting(t);
  await save(at, [input('a')]);
  await save(at, [input('a', { command: 'false' })]);
  await at.store.pauseJob({ tenantId: 't', name: 'a', by: 'me', note: '' });
  await at.store.resumeJob({ tenantId: 't', name: 'a' });
  await at.store.deleteJob({ tenantId: 't', name: 'a', by: 'me' });
  const events = await at.store.readEvents({ tenantId: 't', after: 0, limit: 100 });
  assert.deepEqual(
    events.map((event) => JSON.parse(event.dataJson).action),
    ['created', 'updated', 'paused', 'resumed', 'deleted'],
  );
});
