import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { JobInput } from '../jobs.ts';
import type { JobRow } from '../tables.ts';
import { MINUTE, type Open, START, World } from './world.ts';

/** Documents of jobs, as they are applied. */
export function jobsSuite(open: Open): void {
  const input = (name: string, command = 'true'): JobInput => ({
    id: `id-${name}`,
    name,
    documentJson: JSON.stringify({ name, schedule: 'every 1m', command }),
    enabled: true,
    scheduled: true,
    everyTexts: ['1m'],
  });
  const save = async (world: World, jobs: JobInput[], owner = 'file') => {
    const { tenantId } = world;
    const rest = { paused: false, prune: true, expectedRevision: null };
    const saved = await world.store.saveJobs({ tenantId, by: 'test', jobs, owner, ...rest });
    assert.ok('changes' in saved);
    return saved.changes;
  };
  /** Name, revision, owner and whether it is there, of all jobs. */
  const jobsOf = async (world: World) => {
    const found = await world.rows<JobRow>(`select * from "jobs" where "kind" = 'job' order by "name"`);
    return found.map((job) => [job.name, job.revision, job.owner, job.deletedAt === null ? 'there' : 'gone']);
  };

  describe('saveJobs', () => {
    it('makes, changes, takes over, revives and deletes many jobs at once, and tells each', async () => {
      const world = await World.open(open);
      const all = (count: number, command?: string) =>
        Array.from({ length: count }, (_, index) => input(`a${1_000 + index}`, command));
      await save(world, all(600));
      await save(world, [input('of-others')], 'others');
      await save(world, [...all(599), input('of-others')]);
      world.pass(MINUTE);
      const changes = await save(world, [...all(600, 'false').slice(300), input('new')]);
      assert.equal(new Set(changes.map(({ name }) => name)).size, changes.length);
      const told = Map.groupBy(changes, ({ action }) => action);
      assert.deepEqual(
        ['created', 'updated', 'deleted', 'unchanged'].map(
          (action) => told.get(action as never)?.length ?? 0,
        ),
        [2, 299, 301, 0],
      );
      const stored = await jobsOf(world);
      assert.equal(stored.length, 602);
      assert.deepEqual(stored[0], ['a1000', 2, 'file', 'gone']);
      assert.deepEqual(stored[300], ['a1300', 2, 'file', 'there']);
      assert.deepEqual(stored[599], ['a1599', 3, 'file', 'there']);
      assert.deepEqual(stored.slice(-2), [
        ['new', 1, 'file', 'there'],
        ['of-others', 2, 'file', 'gone'],
      ]);
      const actions = await world.rows<{ action: string; n: number }>(
        'select "action", count(*) as "n" from "jobRevisions" group by "action" order by "action"',
      );
      assert.deepEqual(
        actions.map(({ action, n }) => [action, Number(n)]),
        [
          ['created', 602],
          ['deleted', 302],
          ['revived', 1],
          ['updated', 299],
        ],
      );
      const [events] = await world.rows<{ n: number }>(
        `select count(*) as "n" from "events" where "type" = 'job'`,
      );
      assert.equal(Number(events?.n), 602 + 302 + 1 + 299);
    });

    it('takes back what changed and deleted jobs had planned for later, and drops what waits of the deleted', async () => {
      const world = await World.open(open);
      const names = ['changed', 'deleted', 'same'];
      await save(
        world,
        names.map((name) => input(name)),
      );
      await world.store.storePlans({
        plans: names.map((name) => ({
          tenantId: world.tenantId,
          jobId: `id-${name}`,
          revision: 1,
          recoveryId: 0,
          expectedThrough: START,
          plannedThrough: START + 2 * MINUTE,
          nextAt: START + 3 * MINUTE,
          runs: [1, 2].map((minute) => world.instant(`id-${name}`, START + minute * MINUTE)),
          gaps: [],
        })),
      });
      world.pass(MINUTE);
      await save(world, [input('changed', 'false'), input('same')]);
      const left = await world.rows<{ jobId: string; state: string; reason: string | null }>(
        'select "jobId", "state", "reason" from "runs" order by "jobId", "scheduledFor"',
      );
      assert.deepEqual(left.map(Object.values), [
        ['id-changed', 'planned', null],
        ['id-deleted', 'cancelled', 'jobEdited'],
        ['id-same', 'planned', null],
        ['id-same', 'planned', null],
      ]);
      assert.equal((await world.readJob('changed')).plannedThrough, START + MINUTE);
    });

    it('writes all or nothing', async () => {
      const world = await World.open(open);
      await save(world, [input('a'), input('b')]);
      const before = await world.all();
      const twice = { ...input('d'), id: 'id-c' };
      await assert.rejects(save(world, [input('a', 'false'), input('c'), twice]));
      assert.equal(await world.all(), before);
    });
  });
}
