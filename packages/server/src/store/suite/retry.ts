import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AttemptEnd } from '@rota/contract';
import type { RunRow } from '../tables.ts';
import { DAY, MINUTE, type Open, SECOND, World } from './world.ts';

const RETRY = { times: 2, delay: '10s', backoff: 3 };
const FAILURE = { outcome: 'failed', exitCode: 3 } satisfies Partial<AttemptEnd>;

/** Further attempts of runs: after an end, and what people do about them. */
export function retrySuite(open: Open): void {
  const retryWorld = (document: Record<string, unknown> = {}) =>
    World.withJob(open, { retry: RETRY, ...document });
  const fails = async (world: World, id: string, end: Partial<AttemptEnd> = FAILURE) =>
    world.end(await world.key(id), end);
  const retry = (world: World, runId: string, action: 'now' | 'drop') =>
    world.store.retryRun({ tenantId: 'acme', runId, action, by: 'me' });
  const ids = async (world: World) =>
    (await world.store.readQueuedRuns({ limit: 10 })).map((queued) => queued.id);

  describe('a run that is retried', () => {
    it('waits for its next attempt, which may go to any agent, and keeps its slot', async () => {
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one');
      const key = await world.key(id);
      assert.equal(await fails(world, id), null);
      await world.expect(id, 'queued', {
        reason: 'retryWait',
        agentId: null,
        attempt: 1,
        epoch: key.epoch + 1,
        slot: 1,
        passedJson: '[]',
        retriesLeft: 1,
        wakeAt: world.now + 10 * SECOND,
        endedAt: null,
      });
      assert.deepEqual(
        [(await world.attempt(key.attemptId)).outcome, (await world.attempt(key.attemptId)).exitCode],
        ['failed', 3],
      );
      assert.deepEqual(await ids(world), []);
      world.pass(10 * SECOND);
      assert.deepEqual(await ids(world), [id]);
      await world.startNext(id, 'two');
      await world.expect(id, 'running', { attempt: 2, reason: null });
      assert.deepEqual((await world.end(await world.key(id)))?.state, 'succeeded');
      await world.expect(id, 'succeeded', { slot: 0, exitCode: 0 });
    });

    it('waits no shorter where the database has gone on from an older state meanwhile', async () => {
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one');
      await fails(world, id);
      const recovery = await world.store.beginRecovery({ cause: 'failover' });
      const release = () =>
        world.store.releaseRuns({ recoveryId: recovery.id, runs: [{ tenantId: 'acme', id }] });
      await world.expect(id, 'queued', { reason: 'recovering', wakeAt: null });
      world.pass(4 * SECOND);
      await release();
      await world.expect(id, 'queued', { reason: 'retryWait', wakeAt: world.now + 6 * SECOND });
    });

    it('is as late as its first start: what it waits for a further attempt is no lateness', async () => {
      const lateness = ({ queuedAt, offeredAt, permitAt, startedAt }: RunRow) => [
        queuedAt,
        offeredAt,
        permitAt,
        startedAt,
      ];
      for (const isStartReported of [true, false]) {
        const world = await retryWorld();
        const due = world.now;
        const id = await world.inState('offered', 'a', 'one');
        world.pass(1);
        await world.accept(await world.key(id));
        world.pass(2);
        if (isStartReported) await world.start(await world.key(id));
        assert.equal(await fails(world, id), null);
        const first = [due, due, due + 1, due + 3];
        assert.deepEqual(lateness(await world.run(id)), first);
        world.pass(10 * SECOND);
        await world.startNext(id, 'two');
        const run = await world.run(id);
        assert.deepEqual([lateness(run), run.startingAt], [first, world.now]);
        assert.deepEqual(await world.end(await world.key(id)), { state: 'succeeded', latenessMs: 3 });
      }
    });

    it('waits longer each time, and ends as its last attempt did', async () => {
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one');
      for (const [delay, left] of [
        [10, 1],
        [30, 0],
      ] as const) {
        await fails(world, id);
        await world.expect(id, 'queued', { wakeAt: world.now + delay * SECOND, retriesLeft: left });
        world.pass(delay * SECOND);
        await world.startNext(id, 'one');
      }
      await fails(world, id, { outcome: 'timedOut', reason: 'timeout', exitCode: null });
      await world.expect(id, 'timedOut', { reason: 'timeout', attempt: 3, slot: 0, retriesLeft: 0 });
    });

    it('took from its first start to the end of its last attempt, which the agent measured', async () => {
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one');
      world.pass(20 * SECOND);
      await fails(world, id, { ...FAILURE, durationMs: 5_000 });
      await world.expect(id, 'queued', { durationMs: 5_000 });
      world.pass(10 * SECOND);
      await world.startNext(id, 'two');
      await world.expect(id, 'running', { durationMs: null });
      world.pass(20 * SECOND);
      await world.end(await world.key(id), { durationMs: 7_000 });
      await world.expect(id, 'succeeded', { durationMs: 37_000 });
    });

    it('is not retried after an end that its policy does not list, a cancel, or a lost fate', async () => {
      for (const end of [
        { outcome: 'failed', exitCode: 4 },
        { outcome: 'cancelled' },
        { outcome: 'timedOut' },
        { outcome: 'failed', reason: 'exitStatusLost', exitCode: null },
        { outcome: 'succeeded' },
      ] satisfies Partial<AttemptEnd>[]) {
        const world = await retryWorld({ retry: { times: 3, outcomes: ['exit:3'] } });
        const id = await world.inState('running', 'a', 'one');
        await fails(world, id, end);
        await world.expect(id, end.outcome, { retriesLeft: null });
      }
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one');
      await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' });
      await fails(world, id);
      await world.expect(id, 'failed');
    });

    it('takes the end of an attempt twice as once, also when the next one goes on', async () => {
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one');
      const first = await world.key(id);
      await world.end(first, FAILURE);
      const waiting = await world.all();
      await world.end(first, FAILURE);
      await world.end(first);
      await world.start(first);
      await world.refuse(first, 0);
      assert.equal(await world.accept(first, 0), null);
      const { evidenceJson } = await world.attempt(first.attemptId);
      assert(evidenceJson === null || /refused/.test(evidenceJson));
      await world.expect(id, 'queued', { reason: 'retryWait' });
      assert(waiting.length > 0);
      world.pass(10 * SECOND);
      await world.startNext(id, 'one');
      const running = await world.run(id);
      await world.end(first, FAILURE);
      assert.deepEqual(await world.run(id), running);
    });

    it('holds its job: later instants are skipped while it waits', async () => {
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one');
      await fails(world, id);
      world.pass(MINUTE);
      const later = await world.queued('a');
      await world.expect(later, 'skipped', { reason: 'previousRunActive' });
      await world.expect(id, 'queued', { reason: 'retryWait' });
    });

    it('is not held to the start deadline of its first attempt', async () => {
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one', { startBy: world.now + SECOND });
      world.pass(MINUTE);
      await fails(world, id);
      world.pass(10 * SECOND);
      await world.startNext(id, 'two');
      await world.expect(id, 'running', { attempt: 2 });
    });

    it('that no agent takes for a day ends as its last attempt did', async () => {
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one');
      await fails(world, id);
      world.pass(DAY + MINUTE);
      const run = await world.run(id);
      await world.store.decideRuns({ decisions: [{ run, action: 'miss', startBy: run.startBy }] });
      await world.expect(id, 'failed', { reason: 'exitStatus', exitCode: 3, slot: 0 });

      await world.job('b', { retry: RETRY });
      const offered = await world.inState('running', 'b', 'one');
      await fails(world, offered);
      world.pass(10 * SECOND);
      assert(await world.offer(offered, 'two'));
      world.pass(2 * DAY);
      await world.settle();
      await world.expect(offered, 'failed', { reason: 'exitStatus', slot: 0 });
    });

    it('whose next attempt is taken, but not started in time, ends as its last attempt did, however that comes out', async () => {
      const [late, refused, lost] = [0, 1, 2];
      for (const how of [late, refused, lost]) {
        const world = await retryWorld();
        const id = await world.inState('running', 'a', 'one');
        await fails(world, id);
        world.pass(10 * SECOND);
        assert(await world.offer(id, 'two'));
        const key = await world.key(id);
        if (how !== late) assert(await world.accept(key));
        if (how === lost) {
          world.pass(25 * SECOND);
          await world.settle();
          await world.expect(id, 'unknown');
        }
        world.pass(2 * DAY);
        if (how === late) assert.equal(await world.accept(key), null);
        else await world.refuse(key);
        await world.expect(id, 'failed', { exitCode: 3, reason: 'exitStatus', slot: 0, wakeAt: null });
        assert.match((await world.run(id)).detail as string, /attempt 2 could not start in time/);
      }
    });

    it('an attempt that was proven not started costs none of its tries', async () => {
      const world = await retryWorld({ retry: { times: 1, delay: '10s' } });
      const id = await world.inState('starting', 'a', 'one');
      await world.refuse(await world.key(id));
      await world.startNext(id, 'two');
      await fails(world, id);
      await world.expect(id, 'queued', { reason: 'retryWait', attempt: 2, retriesLeft: 0 });
    });

    it('ends as cancelled when it is cancelled while it waits', async () => {
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one');
      await fails(world, id);
      await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' });
      await world.expect(id, 'cancelled', { reason: 'cancelledByUser', slot: 0, wakeAt: null });
    });

    it('without a job has the policy of its own definition', async () => {
      const world = await retryWorld();
      const retryPolicy = {
        times: 1,
        delayMs: 5_000,
        backoff: 1,
        maxDelayMs: 5_000,
        jitterMs: 0,
        outcomes: ['failed'],
      };
      const id = await world.inState('running', 'a', 'one');
      await world.change(
        `update "runs" set "definitionJson" = ? where "id" = ?`,
        JSON.stringify({ retry: retryPolicy, onUnknown: 'hold' }),
        id,
      );
      await fails(world, id);
      await world.expect(id, 'queued', { wakeAt: world.now + 5 * SECOND, retriesLeft: 0 });
    });

    it('waits up to its jitter longer, by as much on every server', async () => {
      const world = await retryWorld({ retry: { times: 1, delay: '10s', jitter: '1m' } });
      const id = await world.inState('running', 'a', 'one');
      await fails(world, id);
      const { wakeAt } = await world.run(id);
      const jitter = (wakeAt as number) - world.now - 10 * SECOND;
      assert(jitter >= 0 && jitter <= MINUTE, String(jitter));
    });
  });

  describe('retryRun', () => {
    it('begins the next attempt at once', async () => {
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one');
      await fails(world, id);
      assert.deepEqual(await retry(world, id, 'now'), { result: 'done', withdraw: null });
      assert.deepEqual(await ids(world), [id]);
      await world.startNext(id, 'two');
      assert.deepEqual(await retry(world, id, 'now'), { result: 'notWaiting' });
    });

    it('drops it: the run ends with the outcome of its last attempt', async () => {
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one');
      await fails(world, id, { outcome: 'timedOut', reason: 'timeout', exitCode: null, signal: 'SIGTERM' });
      assert.deepEqual(await retry(world, id, 'drop'), { result: 'done', withdraw: null });
      await world.expect(id, 'timedOut', { reason: 'timeout', signal: 'SIGTERM', slot: 0, wakeAt: null });
      assert.match((await world.run(id)).detail as string, /no further attempt, by me/);
      assert.deepEqual(await retry(world, id, 'drop'), { result: 'ended' });
    });

    it('takes the offer of an attempt back that it drops', async () => {
      const world = await retryWorld();
      const id = await world.inState('running', 'a', 'one');
      await fails(world, id);
      assert(await world.offer(id, 'two'));
      const offered = await world.key(id);
      const { tenantId: _, ...withdraw } = offered;
      assert.deepEqual(await retry(world, id, 'drop'), { result: 'done', withdraw });
      await world.expect(id, 'failed', { exitCode: 3 });
      assert.equal(await world.accept(offered), null);
      await world.expect(id, 'failed');
    });

    it('finds nothing to do with a run that waits for its first attempt, runs, is unknown, or is not there', async () => {
      const world = await retryWorld();
      for (const [index, state] of (['queued', 'offered', 'running', 'unknown'] as const).entries()) {
        await world.job(`j${index}`);
        const id = await world.inState(state, `j${index}`, 'one');
        for (const action of ['now', 'drop'] as const)
          assert.deepEqual(await retry(world, id, action), { result: 'notWaiting' }, `${state} ${action}`);
        await world.expect(id, state);
      }
      assert.deepEqual(await retry(world, '0'.repeat(20), 'now'), { result: 'notFound' });
      const other = await world.other();
      const id = await world.inState('running', 'a', 'one');
      const answer = await world.store.retryRun({
        tenantId: other.tenantId,
        runId: id,
        action: 'drop',
        by: 'me',
      });
      assert.deepEqual(answer, { result: 'notFound' });
    });
  });
}
