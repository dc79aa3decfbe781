import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RetentionCursor } from '../retention.ts';
import { request } from './planning.ts';
import { DAY, type Open, World } from './world.ts';

/** What is deleted when it is old, and what never is. */
export function retentionSuite(open: Open): void {
  const worldWithRuns = async (outcomes: ('succeeded' | 'failed')[]) => {
    const world = await World.open(open);
    await world.online('one');
    await world.job('a');
    const ids: string[] = [];
    for (const outcome of outcomes) {
      const id = await world.inState('running', 'a', 'one');
      const key = await world.key(id);
      const data = Buffer.from('hello');
      await world.store.storeOutput({
        ...key,
        chunks: [{ seq: 2, stream: 'stdout', atMs: 0, droppedBytes: 0, data }],
      });
      await world.end(key, { outcome });
      ids.push(id);
      world.pass(1_000);
    }
    return { world, ids };
  };
  const left = async (world: World) =>
    (await world.rows<{ id: string }>('select "id" from "runs" order by "dueAt"')).map((run) => run.id);
  const outputs = async (world: World) =>
    (await world.rows<{ id: string }>('select distinct "attemptId" as "id" from "output"')).length;
  const deleteAll = async (world: World, limit: number) => {
    let deleted = 0;
    let after: RetentionCursor | null = null;
    do {
      const batch: { next: RetentionCursor | null; deleted: number } = await world.store.deleteOldRuns({
        before: world.now - DAY,
        after,
        limit,
      });
      deleted += batch.deleted;
      after = batch.next;
    } while (after !== null);
    return deleted;
  };

  describe('deleteOldRuns', () => {
    for (const limit of [1, 2, 3, 100]) {
      it(`keeps a job's last run and last failure, in batches of ${limit}`, async () => {
        const { world, ids } = await worldWithRuns([
          'failed',
          'succeeded',
          'failed',
          'succeeded',
          'succeeded',
        ]);
        world.pass(2 * DAY);
        assert.equal(await deleteAll(world, limit), 3);
        assert.deepEqual(await left(world), [ids[2], ids[4]]);
        assert.equal((await world.rows('select * from "attempts"')).length, 2);
        assert.equal(await outputs(world), 2);
        assert.equal(await deleteAll(world, limit), 0);
      });
    }

    it('leaves what is young, what is open, and other tenants alone', async () => {
      const { world, ids } = await worldWithRuns(['succeeded', 'succeeded']);
      const other = await world.other();
      await other.job('a');
      world.pass(DAY - 1_500);
      await world.inState('running', 'a', 'one');
      const queued = await other.queued('a');
      assert.equal(await deleteAll(world, 10), 1);
      assert.deepEqual((await left(world)).slice(0, 1), [ids[1]]);
      await other.expect(queued, 'queued');
    });

    it('does not let an idempotency key be used again', async () => {
      const { world } = await worldWithRuns([]);
      const first = await request(world, 'a', 'key');
      await world.store.cancelRun({ tenantId: 'acme', runId: first.runId, by: 'me' });
      world.pass(1);
      const second = await request(world, 'a', 'later');
      await world.store.cancelRun({ tenantId: 'acme', runId: second.runId, by: 'me' });
      world.pass(2 * DAY);
      assert.equal(await deleteAll(world, 10), 1);
      assert.deepEqual(await request(world, 'a', 'key'), { runId: first.runId, created: false });
    });
  });

  describe('deleteOldOutput', () => {
    it('deletes the output of old attempts batch by batch, and looks at none twice', async () => {
      const { world, ids } = await worldWithRuns(['failed', 'succeeded', 'failed']);
      world.pass(2 * DAY);
      await world.inState('running', 'a', 'one');
      const pass = () => world.store.deleteOldOutput({ before: world.now - DAY, limit: 2 });
      assert.deepEqual([await pass(), await pass(), await pass()], [2, 1, 0]);
      assert.equal(await outputs(world), 0);
      assert.deepEqual((await left(world)).slice(0, 3), ids);
    });
  });

  describe('deleteOldEvents', () => {
    it('deletes a batch of the oldest', async () => {
      const { world } = await worldWithRuns(['succeeded']);
      const events = (await world.rows('select * from "events"')).length;
      world.pass(DAY);
      const pass = () => world.store.deleteOldEvents({ before: world.now - 1, limit: events - 1 });
      assert.deepEqual([await pass(), await pass(), await pass()], [events - 1, 1, 0]);
    });
  });
}
