import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DAY, MINUTE, type Open, SECOND, World } from './world.ts';

/** Which runs that nobody hears of are tried again, and when. */
export function unknownRunsSuite(open: Open): void {
  describe('an unknown run with onUnknown: retry', () => {
    const AGAIN = { onUnknown: 'retry', retry: { times: 1, delay: '10s' } };

    it('that may not have started is tried again once its permit has surely expired', async () => {
      const world = await World.withJob(open, AGAIN);
      const id = await world.inState('unknown', 'a', 'one');
      const key = await world.key(id);
      const { wakeAt, startingAt } = await world.run(id);
      assert((wakeAt as number) - (startingAt as number) > 25 * SECOND);
      world.pass((wakeAt as number) - world.now - 1);
      await world.settle();
      await world.expect(id, 'unknown');
      world.pass(1);
      await world.settle();
      await world.expect(id, 'queued', { reason: 'retryWait', wakeAt: world.now + 10 * SECOND, slot: 1 });
      world.pass(10 * SECOND);
      await world.startNext(id, 'two');
      const running = await world.run(id);
      await world.start(key);
      await world.end(key);
      assert.deepEqual(await world.run(id), running, 'late reports are evidence');
      const attempt = await world.attempt(key.attemptId);
      assert.deepEqual([attempt.state, attempt.outcome], ['ended', 'succeeded']);
      assert.match(attempt.evidenceJson as string, /ended/);
    });

    it('that ran is tried again when its timeout has passed unheard, not before', async () => {
      const world = await World.withJob(open, AGAIN);
      const id = await world.inState('running', 'a', 'one', { timeoutMs: MINUTE });
      await world.store.closeSession({ tenantId: 'acme', agentId: 'one', sessionEpoch: 1 });
      world.pass(MINUTE);
      await world.settle();
      await world.expect(id, 'running');
      world.pass(MINUTE);
      await world.settle();
      await world.expect(id, 'unknown', { reason: 'timeoutUnheard', wakeAt: world.now });
      await world.settle();
      await world.expect(id, 'queued', { reason: 'retryWait' });
    });

    it('that ran without a timeout waits until its agent is gone', async () => {
      const world = await World.withJob(open, AGAIN);
      const id = await world.inState('running', 'a', 'one');
      await world.connect('one', { lastNonce: 'one-nonce', journalSeq: 2, newNonce: 'again' });
      await world.store.reconcileSession({ tenantId: 'acme', agentId: 'one', sessionEpoch: 2, attempts: [] });
      await world.expect(id, 'unknown', { reason: 'journalDamaged', wakeAt: null });
      await world.store.removeAgent({ tenantId: 'acme', name: 'one', gone: true });
      const { wakeAt } = await world.run(id);
      assert(wakeAt !== null);
      await world.expect(id, 'unknown', { reason: 'agentGone', slot: 1 });
      world.pass(wakeAt - world.now);
      await world.settle();
      await world.expect(id, 'queued', { reason: 'retryWait', slot: 1 });
    });

    it('has no more attempts than it may, then it stays unknown', async () => {
      const world = await World.withJob(open, AGAIN);
      const id = await world.inState('unknown', 'a', 'one');
      world.pass(MINUTE);
      await world.settle();
      world.pass(10 * SECOND);
      assert(await world.offer(id, 'two'));
      assert(await world.accept(await world.key(id)));
      world.pass(25 * SECOND);
      await world.settle();
      await world.expect(id, 'unknown', { wakeAt: null });
      world.pass(DAY);
      await world.settle();
      await world.expect(id, 'unknown', { slot: 1 });
    });

    it('is not tried again once it is to be cancelled', async () => {
      const world = await World.withJob(open, AGAIN);
      const id = await world.inState('unknown', 'a', 'one', { timeoutMs: 10 * MINUTE });
      await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' });
      world.pass(MINUTE);
      await world.settle();
      await world.expect(id, 'unknown', { slot: 1 });
      world.pass(10 * MINUTE);
      await world.settle();
      await world.expect(id, 'unknown', { slot: 0, wakeAt: null });
    });

    it('goes on when its agent is back before', async () => {
      const world = await World.withJob(open, AGAIN);
      const id = await world.inState('unknown', 'a', 'one');
      await world.start(await world.key(id));
      await world.expect(id, 'running', { wakeAt: null });
      world.pass(DAY);
      await world.settle();
      await world.expect(id, 'running');
    });

    it('never is with onUnknown: hold, whatever its retry says', async () => {
      const world = await World.withJob(open, { retry: { times: 2, delay: '10s', backoff: 3 } });
      const id = await world.inState('unknown', 'a', 'one');
      world.pass(DAY);
      await world.settle();
      await world.expect(id, 'unknown');
      await world.store.removeAgent({ tenantId: 'acme', name: 'one', gone: true });
      world.pass(DAY);
      await world.settle();
      await world.expect(id, 'unknown', { slot: 0 });
    });
  });
}
