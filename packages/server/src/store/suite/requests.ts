import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DAY, MINUTE, type Open, SECOND, START, World } from './world.ts';

/** What people ask of a run: that it ends, or that it counts as what they know of it. */
export function requestsSuite(open: Open): void {
  const worldWithJob = () => World.withJob(open);

  describe('cancelRun', () => {
    for (const state of ['planned', 'queued', 'offered'] as const) {
      it(`ends a ${state} run at once`, async () => {
        const world = await worldWithJob();
        const id = await world.inState(state, 'a', 'one');
        const key = await world.key(id);
        const answer = await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' });
        const { tenantId: _, ...withdraw } = key;
        assert.deepEqual(answer, { result: 'cancelled', withdraw: state === 'offered' ? withdraw : null });
        await world.expect(id, 'cancelled', {
          reason: 'cancelledByUser',
          detail: 'by me',
          slot: 0,
          wakeAt: null,
        });
        assert.equal(await world.accept(key), null);
        await world.expect(id, 'cancelled');
      });
    }

    for (const state of ['starting', 'running', 'unknown'] as const) {
      it(`asks for the end of a ${state} run, and its end decides`, async () => {
        const world = await worldWithJob();
        const id = await world.inState(state, 'a', 'one');
        const key = await world.key(id);
        const { tenantId: _, ...named } = key;
        assert.deepEqual(await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' }), {
          result: 'requested',
          ...named,
        });
        await world.expect(id, state, { cancelRequestedAt: world.now, cancelRequestedBy: 'me' });
        assert.equal(await world.permitAgain(key), null);
        await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'you' });
        await world.end(key, { outcome: 'cancelled' });
        await world.expect(id, 'cancelled', { detail: 'by me' });
      });
    }

    it('finds nothing in an ended run, an unknown id, or another tenant', async () => {
      const world = await worldWithJob();
      const other = await world.other();
      const id = await world.inState('running', 'a', 'one');
      const cancel = (tenantId: string, runId: string) =>
        world.store.cancelRun({ tenantId, runId, by: 'me' }).then((answer) => answer.result);
      assert.equal(await cancel(other.tenantId, id), 'notFound');
      assert.equal(await cancel('acme', 'nothing'), 'notFound');
      await world.end(await world.key(id));
      assert.equal(await cancel('acme', id), 'ended');
    });
  });

  describe('resolveRun', () => {
    const resolve = (world: World, runId: string, as: 'failed' | 'succeeded' | 'retry') =>
      world.store.resolveRun({ tenantId: world.tenantId, runId, as, note: 'seen', by: 'me' });

    it('decides an unknown run, and no other', async () => {
      const world = await worldWithJob();
      const id = await world.inState('running', 'a', 'one');
      assert.equal(await resolve(world, id, 'failed'), 'notUnknown');
      await world.end(await world.key(id));
      assert.equal(await resolve(world, id, 'failed'), 'ended');
      assert.equal(await resolve(world, 'nothing', 'failed'), 'notFound');
      for (const as of ['failed', 'succeeded'] as const) {
        world.pass(1);
        const unknown = await world.inState('unknown', 'a', 'one');
        assert.equal(await resolve(world, unknown, as), 'done');
        await world.expect(unknown, as, { reason: 'resolvedByUser', detail: `${as} by me: seen`, slot: 0 });
      }
    });

    it('makes a new attempt, and keeps what the old one says as evidence', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one');
      const old = await world.key(id);
      assert.equal(await resolve(world, id, 'retry'), 'done');
      await world.expect(id, 'queued', { wakeAt: world.now, agentId: null, contactLostAt: null, slot: 1 });
      await world.offer(id, 'two');
      assert(await world.accept(await world.key(id)));
      await world.end(old);
      await world.expect(id, 'starting', { attempt: 2, agentId: 'two' });
      await world.end(await world.key(id), { outcome: 'failed' });
      await world.expect(id, 'failed');
    });

    it('makes an attempt that gives way to no later instant while it waits: those are skipped', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one', { startBy: START + MINUTE });
      world.pass(MINUTE);
      await resolve(world, id, 'retry');
      await world.expect(id, 'queued', { startBy: world.now + DAY });
      const later = await world.queued('a');
      await world.expect(later, 'skipped', { reason: 'previousRunActive', detail: `run ${id}` });
      assert(await world.offer(id, 'two'));
      world.pass(10 * SECOND);
      await world.settle();
      await world.expect(await world.queued('a'), 'skipped', { reason: 'previousRunActive' });
      await world.expect(id, 'queued');
    });

    it('makes an attempt that waits while another run has the slot', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one', { timeoutMs: SECOND });
      world.pass(MINUTE);
      await world.settle();
      await world.expect(id, 'unknown', { slot: 0 });
      const other = await world.inState('running', 'a', 'two');
      await resolve(world, id, 'retry');
      assert.equal(await world.offer(id, 'one'), null);
      await world.expect(id, 'queued', {
        reason: 'previousRunActive',
        slot: 0,
        wakeAt: world.now + SECOND,
      });
      await world.end(await world.key(other));
      world.pass(SECOND);
      await world.expect(await world.queued('a'), 'skipped', { detail: `run ${id}` });
      assert(await world.offer(id, 'one'));
      await world.expect(id, 'offered', { slot: 1, reason: null });
    });
  });
}
