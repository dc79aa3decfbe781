import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { surelyEndedMs } from '../unknownRuns.ts';
import { request } from './planning.ts';
import { DAY, MINUTE, type Open, SECOND, START, World } from './world.ts';

/** Decisions, offers, and what time alone settles. */
export function dispatchSuite(open: Open): void {
  const worldWithJob = async () => {
    const world = await World.open(open);
    await world.online('one');
    await world.online('two');
    await world.job('a');
    return world;
  };

  describe('decideRuns', () => {
    it('offers a queued run, takes the slot and raises the epoch', async () => {
      const world = await worldWithJob();
      const id = await world.queued('a');
      assert.deepEqual(await world.offer(id, 'one', ['two']), {
        tenantId: 'acme',
        runId: id,
        agentId: 'one',
        epoch: 1,
      });
      await world.expect(id, 'offered', {
        agentId: 'one',
        epoch: 1,
        slot: 1,
        wakeAt: START + 10 * SECOND,
        passedJson: '["two"]',
        offeredAt: START,
      });
    });

    it('skips a second run of a job whose slot is held', async () => {
      const world = await worldWithJob();
      const scheduled = await world.queued('a');
      const triggered = (await request(world, 'a', 'k')).runId;
      await world.queueDue();
      assert(await world.offer(triggered, 'one'));
      assert.equal(await world.offer(scheduled, 'two'), null);
      await world.expect(scheduled, 'skipped', { reason: 'previousRunActive', detail: `run ${triggered}` });
    });

    it('lets ad hoc runs be offered side by side', async () => {
      const world = await worldWithJob();
      const a = (await request(world, 'a', 'k')).runId;
      const b = (await request(world, 'a', 'l')).runId;
      await world.change(`update "runs" set "kind" = 'adHoc'`);
      await world.queueDue();
      assert(await world.offer(a, 'one'));
      assert(await world.offer(b, 'one'));
    });

    it('changes nothing when the run has moved on since it was read', async () => {
      const world = await worldWithJob();
      const id = await world.queued('a');
      const run = await world.run(id);
      await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' });
      const before = await world.all();
      const offers = await world.store.decideRuns({
        decisions: [
          { run, action: 'offer', agentId: 'one', offerMs: 1, passed: [] },
          { run, action: 'wait', reason: 'agentsFull', retryMs: 1, passed: [], startBy: 0 },
          { run, action: 'miss', startBy: 0 },
        ],
      });
      assert.deepEqual(offers, []);
      assert.equal(await world.all(), before);
    });

    it('lets a run wait with a reason, but no longer than its start deadline', async () => {
      const world = await worldWithJob();
      const id = await world.queued('a', { startBy: START + SECOND });
      const run = await world.run(id);
      await world.store.decideRuns({
        decisions: [
          { run, action: 'wait', reason: 'noAgentOnline', retryMs: 30_000, passed: [], startBy: run.startBy },
        ],
      });
      await world.expect(id, 'queued', { reason: 'noAgentOnline', wakeAt: START + SECOND + 1 });
      assert.equal(await world.store.readNextWakeAt({}), START + SECOND + 1);
    });
  });

  describe('an offer', () => {
    it('goes back to the queue when its time is over, past the agent that let it pass', async () => {
      const world = await worldWithJob();
      const id = await world.inState('offered', 'a', 'one');
      world.pass(10 * SECOND - 1);
      assert.deepEqual(await world.settle(), []);
      world.pass(1);
      assert.deepEqual(await world.settle(), [
        { tenantId: 'acme', runId: id, agentId: 'one', number: 1, epoch: 1 },
      ]);
      await world.expect(id, 'queued', {
        epoch: 2,
        agentId: null,
        wakeAt: world.now,
        passedJson: '["one"]',
        slot: 1,
      });
      assert(await world.offer(id, 'two', ['one']));
      await world.expect(id, 'offered', { epoch: 3, attempt: 0, offeredAt: START });
    });

    it('is missed when its start deadline passed meanwhile', async () => {
      const world = await worldWithJob();
      const id = await world.inState('offered', 'a', 'one', { startBy: START + SECOND });
      world.pass(10 * SECOND);
      assert.equal((await world.settle()).length, 1);
      await world.expect(id, 'missed', { reason: 'startDeadline', slot: 0 });
    });

    it('goes on at once when its agent declines it', async () => {
      const world = await worldWithJob();
      const id = await world.inState('offered', 'a', 'one');
      assert.equal(await world.store.declineOffer({ ...(await world.key(id)), detail: 'full' }), true);
      await world.expect(id, 'queued', { passedJson: '["one"]', detail: 'full', wakeAt: world.now });
    });

    it('goes on at once, and may come back, when its agent goes away', async () => {
      const world = await worldWithJob();
      const id = await world.inState('offered', 'a', 'one');
      await world.store.closeSession({ tenantId: 'acme', agentId: 'one', sessionEpoch: 1 });
      await world.expect(id, 'queued', { passedJson: '[]', epoch: 2, wakeAt: world.now });
    });

    it('does not make the list of passed agents grow from round to round', async () => {
      const world = await worldWithJob();
      const id = await world.queued('a');
      for (let round = 0; round < 5; round++) {
        const run = await world.run(id);
        await world.store.decideRuns({
          decisions: [
            { run, action: 'wait', reason: 'agentsDeclined', retryMs: 0, passed: [], startBy: run.startBy },
          ],
        });
        await world.offer(id, 'one');
        world.pass(10 * SECOND);
        await world.settle();
        await world.expect(id, 'queued', { passedJson: '["one"]' });
      }
    });
  });

  describe('wakeQueuedRuns', () => {
    it('wakes the longest due first, of one tenant, and only those that wait for a reason named', async () => {
      const world = await worldWithJob();
      const ids: string[] = [];
      for (const name of ['x', 'y', 'z']) {
        await world.job(name);
        ids.push(await world.queued(name));
        world.pass(1);
      }
      const wait = async (id: string, reason: 'agentsFull' | 'noAgentMatches', retryMs: number) => {
        const run = await world.run(id);
        await world.store.decideRuns({
          decisions: [{ run, action: 'wait', reason, retryMs, passed: [], startBy: run.startBy }],
        });
      };
      await wait(ids[0] as string, 'agentsFull', 9_000);
      await wait(ids[1] as string, 'agentsFull', 5_000);
      await wait(ids[2] as string, 'noAgentMatches', 5_000);
      assert.equal(
        await world.store.wakeQueuedRuns({ tenantId: 'other', reasons: ['agentsFull'], limit: 1 }),
        0,
      );
      assert.equal(
        await world.store.wakeQueuedRuns({ tenantId: 'acme', reasons: ['agentsFull'], limit: 1 }),
        1,
      );
      assert.deepEqual(
        (await world.store.readQueuedRuns({ limit: 10 })).map((run) => run.id),
        [ids[0]],
      );
    });
  });

  describe('time', () => {
    it('makes a start unknown whose agent says nothing', async () => {
      const world = await worldWithJob();
      const id = await world.inState('starting', 'a', 'one');
      world.pass(25 * SECOND - 1);
      await world.settle();
      await world.expect(id, 'starting');
      world.pass(1);
      await world.settle();
      await world.expect(id, 'unknown', { reason: 'agentLost', slot: 1, wakeAt: null });
    });

    it('makes a start unknown 5 s after its agent is lost', async () => {
      const world = await worldWithJob();
      const id = await world.inState('starting', 'a', 'one');
      await world.store.closeSession({ tenantId: 'acme', agentId: 'one', sessionEpoch: 1 });
      const lostAt = world.now;
      world.pass(5 * SECOND - 1);
      await world.settle();
      await world.expect(id, 'starting', { contactLostAt: lostAt });
      world.pass(1);
      await world.settle();
      await world.expect(id, 'unknown', { reason: 'agentLost' });
    });

    it('lets a running job without a timeout run on for ever while its agent is away', async () => {
      const world = await worldWithJob();
      const id = await world.inState('running', 'a', 'one');
      await world.store.closeSession({ tenantId: 'acme', agentId: 'one', sessionEpoch: 1 });
      await world.expect(id, 'running', { contactLostAt: world.now, wakeAt: null });
      world.pass(300 * DAY);
      await world.settle();
      await world.expect(id, 'running', { slot: 1 });
    });

    it('makes a running job unknown when its timeout has passed unheard, and frees its slot only then', async () => {
      const world = await worldWithJob();
      const id = await world.inState('running', 'a', 'one', { timeoutMs: MINUTE });
      await world.store.closeSession({ tenantId: 'acme', agentId: 'one', sessionEpoch: 1 });
      const sure = surelyEndedMs(MINUTE);
      assert(sure > MINUTE + 25 * SECOND, 'permit, timeout and grace are in it');
      world.pass(sure - 1);
      await world.settle();
      await world.expect(id, 'running', { slot: 1 });
      world.pass(1);
      await world.settle();
      await world.expect(id, 'unknown', { reason: 'timeoutUnheard' });
      await world.settle();
      await world.expect(id, 'unknown', { slot: 0, wakeAt: null });
    });

    it('holds the slot of an unknown start until permit, timeout and grace have passed', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one', { timeoutMs: MINUTE });
      world.pass(surelyEndedMs(MINUTE) - 25 * SECOND - 1);
      await world.settle();
      const skipped = await world.queued('a');
      await world.expect(skipped, 'skipped', { reason: 'previousRunUnknown' });
      world.pass(1);
      await world.settle();
      await world.expect(id, 'unknown', { slot: 0 });
      await world.expect(await world.queued('a'), 'queued');
    });

    it('counts a permit that was given again from then, so that the slot is not freed too early', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one', { timeoutMs: MINUTE });
      world.pass(MINUTE);
      const key = await world.key(id);
      assert(await world.store.permitAgain({ ...key, bootId: 'boot', permitUntilBootMs: 1 }));
      const again = world.now;
      world.pass(25 * SECOND);
      await world.settle();
      await world.expect(id, 'unknown', { wakeAt: again + surelyEndedMs(MINUTE) });
    });
  });
}
