import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { attemptIdOf } from '../../runs/ids.ts';
import type { Decision } from '../dispatch.ts';
import { EPOCH_LEAP } from '../holding.ts';
import { ended, recover, resume, runIdIn, told } from './afterLoss.ts';
import { DAY, MINUTE, type Open, SECOND, START, World } from './world.ts';

async function held(world: World): Promise<string[]> {
  return (await world.store.readHeldRuns({ after: null, limit: 100 })).map(({ id }) => id);
}

/** What happens when a database goes on from an older state. */
export function recoverySuite(open: Open): void {
  describe('beginRecovery', () => {
    it('ends every session, and lets each agent resume once with any nonce, after which it is asked', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.agent('two');
      await recover(world);
      const agents = await world.rows<{ id: string; awaited: string; state: string; sessionEpoch: number }>(
        'select "id", "awaited", "state", "sessionEpoch" from "agents" order by "id"',
      );
      assert.deepEqual(
        agents.map((agent) => ({ ...agent })),
        [
          { id: 'one', awaited: 'online', state: 'offline', sessionEpoch: 1 + EPOCH_LEAP },
          { id: 'two', awaited: 'offline', state: 'offline', sessionEpoch: EPOCH_LEAP },
        ],
      );
      assert.deepEqual(await world.rows('select * from "replicas"'), []);
      const session = await resume(world, 'one');
      assert(await world.store.endHistory(session));
      const again = await world.connect('one', { lastNonce: 'one-nonce', journalSeq: 1_000 });
      assert.equal('recovering' in again, false);
      const found = await world.store.readRecovery({});
      assert.deepEqual(
        found?.awaited.map(({ id }) => id),
        ['two'],
      );
    });

    for (const state of ['planned', 'queued', 'offered'] as const) {
      it(`holds a run that is ${state}, and nothing that was decided before moves it`, async () => {
        const world = await World.open(open);
        await world.online('one');
        await world.job('a');
        const id = await world.inState(state, 'a', 'one');
        const before = await world.run(id);
        await recover(world);
        const now = state === 'planned' ? 'planned' : 'queued';
        await world.expect(id, now, { wakeAt: null, reason: 'recovering', slot: 0, agentId: null });
        world.pass(MINUTE);
        await world.queueDue();
        await world.settle();
        assert.deepEqual(await world.store.readQueuedRuns({ limit: 10 }), []);
        const decision: Decision = {
          run: { ...before, state: 'queued' },
          action: 'offer',
          agentId: 'one',
          offerMs: 1_000,
          passed: [],
        };
        assert.deepEqual(await world.store.decideRuns({ decisions: [decision] }), []);
        if (state === 'offered') {
          const attemptId = attemptIdOf(id, 1);
          const key = { tenantId: 'acme', agentId: 'one', attemptId, epoch: before.epoch };
          assert.equal(await world.accept(key), null);
        }
        await world.expect(id, now, { reason: 'recovering' });
      });
    }

    it('knows that nobody hears what is going on; of a backup nobody knows whether it is', async () => {
      for (const [cause, state] of [
        ['failover', 'running'],
        ['restore', 'unknown'],
      ] as const) {
        const world = await World.open(open);
        await world.online('one');
        await world.job('a');
        const id = await world.inState('running', 'a', 'one');
        await recover(world, cause);
        await world.expect(id, state, { contactLostAt: world.now, slot: 1 });
      }
    });

    it('gives no id of an event twice, and tells watchers', async () => {
      const world = await World.open(open);
      await world.job('a');
      const before = await world.store.lastEventId({});
      await recover(world);
      const [event] = await world.store.readEvents({ tenantId: 'acme', after: before, limit: 10 });
      assert.equal(event?.type, 'server');
      assert(event && event.id > before + 1_000);
    });

    it('takes no plan that was made from what is lost', async () => {
      const world = await World.open(open);
      await world.job('a');
      await recover(world);
      assert.equal(await world.plan('a', [world.instant('a', START + MINUTE)]), 0);
      assert.equal((await world.readJob('a')).plannedThrough, START);
      const [due] = await world.store.readDueJobs({ horizon: START + MINUTE, limit: 1 });
      assert.equal(due?.recoveryId, 1);
    });

    it('holds what comes due while its job may be running unheard, but nothing that is let go', async () => {
      const world = await World.open(open);
      await world.agent('one');
      await world.job('a');
      const { id: recoveryId, holdUntil } = await recover(world);
      const job = await world.readJob('a');
      const run = world.instant('a', world.now + 10 * SECOND);
      const plan = { tenantId: 'acme', jobId: 'a', revision: 1, recoveryId, nextAt: world.now, gaps: [] };
      await world.store.storePlans({
        plans: [{ ...plan, expectedThrough: job.plannedThrough, plannedThrough: run.dueAt, runs: [run] }],
      });
      world.pass(10 * SECOND);
      await world.queueDue();
      await world.expect(run.id, 'planned', { reason: 'recovering', wakeAt: null });
      assert.equal(
        await world.store.releaseRuns({ recoveryId, runs: [{ tenantId: 'acme', id: run.id }] }),
        1,
      );
      await world.queueDue();
      await world.expect(run.id, 'queued', { reason: null });
      world.pass(holdUntil - world.now);
      const later = world.instant('a', world.now);
      await world.store.storePlans({
        plans: [{ ...plan, expectedThrough: run.dueAt, plannedThrough: later.dueAt, runs: [later] }],
      });
      await world.queueDue();
      await world.expect(later.id, 'queued');
      await world.expect(run.id, 'skipped', { reason: 'superseded' });
    });
  });

  describe('a held run whose start deadline passes', () => {
    for (const state of ['planned', 'queued'] as const) {
      it(`stays held when it is ${state}, can be cancelled, and is missed only when it is let go`, async () => {
        const world = await World.open(open);
        await world.online('one');
        await world.job('a');
        await world.job('b');
        const id = await world.inState(state, 'a', 'one', { startBy: START + 15 * SECOND });
        const unwanted = await world.inState(state, 'b', 'one', { startBy: START + 15 * SECOND });
        const { id: recoveryId } = await recover(world);
        world.pass(11 * MINUTE);
        await world.queueDue();
        await world.settle();
        assert.deepEqual(await world.store.readQueuedRuns({ limit: 10 }), []);
        await world.expect(id, state, { reason: 'recovering', endedAt: null });
        assert.equal(await world.store.settleRecovery({ recoveryId }), false);
        await world.store.cancelRun({ tenantId: 'acme', runId: unwanted, by: 'me' });
        await world.expect(unwanted, 'cancelled');
        await world.store.releaseRuns({ recoveryId, runs: [{ tenantId: 'acme', id }] });
        await world.queueDue();
        for (const run of await world.store.readQueuedRuns({ limit: 10 })) {
          await world.store.decideRuns({ decisions: [{ run, action: 'miss', startBy: run.startBy }] });
        }
        await world.expect(id, 'missed', { reason: 'startDeadline' });
      });
    }

    it('is what its agent tells of it, however late that is', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const startBy = START + 15 * SECOND;
      const id = await world.inState('queued', 'a', 'one', { startBy });
      await recover(world);
      world.pass(20 * MINUTE);
      await world.queueDue();
      const attempt = ended('a', START, { startedMsAgo: 20 * MINUTE - 5 * SECOND });
      await world.store.adoptAttempts({ ...(await resume(world, 'one')), attempts: [attempt] });
      await world.expect(id, 'succeeded', { startBy, startedAt: START + 5 * SECOND });
    });

    it('stays held when an agent did not start it, since a later attempt may be lost', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const id = await world.inState('starting', 'a', 'one', { startBy: START + 15 * SECOND });
      const { epoch } = await world.run(id);
      await recover(world);
      world.pass(MINUTE);
      const refused = told('a', START, { state: 'refused', epoch, key: null, startedMsAgo: null });
      await world.store.adoptAttempts({ ...(await resume(world, 'one')), attempts: [refused] });
      await world.expect(id, 'queued', { reason: 'recovering', wakeAt: null, slot: 0 });
    });
  });

  describe('releaseRuns', () => {
    it('keeps the attempt that a person asked for, also when a later instant has been started', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const id = await world.inState('unknown', 'a', 'one');
      const recovery = await recover(world);
      await world.store.resolveRun({ tenantId: 'acme', runId: id, as: 'retry', note: '', by: 'me' });
      await world.expect(id, 'queued', { reason: 'recovering', wakeAt: null });
      world.pass(5 * SECOND);
      const session = await resume(world, 'one');
      await world.store.adoptAttempts({ ...session, attempts: [ended('a', START + 2_000)] });
      world.pass(2 * DAY);
      await world.store.releaseRuns({ recoveryId: recovery.id, runs: [{ tenantId: 'acme', id }] });
      await world.expect(id, 'queued', { reason: null, wakeAt: world.now, startBy: world.now + DAY });
    });

    it('changes nothing in the name of a recovery that is not the last', async () => {
      const world = await World.open(open);
      await world.job('a');
      const id = await world.inState('queued', 'a', 'one');
      const first = await recover(world);
      const second = await recover(world);
      const runs = [{ tenantId: 'acme', id }];
      assert.equal(await world.store.releaseRuns({ recoveryId: first.id, runs }), 0);
      await world.expect(id, 'queued', { reason: 'recovering' });
      assert.equal(await world.store.releaseRuns({ recoveryId: second.id, runs }), 1);
      await world.expect(id, 'queued', { reason: null, wakeAt: world.now });
    });

    it('skips an instant that a later one of its job has overtaken', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const id = await world.inState('queued', 'a', 'one');
      const recovery = await recover(world);
      const session = await resume(world, 'one');
      const later = ended('a', START + 2_000);
      world.pass(5 * SECOND);
      await world.store.adoptAttempts({ ...session, attempts: [later] });
      await world.store.releaseRuns({ recoveryId: recovery.id, runs: [{ tenantId: 'acme', id }] });
      await world.expect(id, 'skipped', { reason: 'superseded', detail: `by run ${runIdIn(later)}` });
    });

    it('starts nothing that waited in a backup for longer than agents remember', async () => {
      const world = await World.open(open);
      await world.job('a');
      const id = await world.inState('queued', 'a', 'one');
      world.pass(11 * MINUTE);
      const recovery = await recover(world, 'restore');
      await world.store.releaseRuns({ recoveryId: recovery.id, runs: [{ tenantId: 'acme', id }] });
      await world.expect(id, 'missed', { reason: 'restored' });
    });
  });

  describe('settleRecovery', () => {
    it('waits for what is held and who is awaited; an agent that is gone is not', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const id = await world.inState('queued', 'a', 'one');
      const { id: recoveryId } = await recover(world);
      assert.equal(await world.store.settleRecovery({ recoveryId }), false);
      assert.equal(await world.store.removeAgent({ tenantId: 'acme', name: 'one', gone: false }), 'active');
      await world.store.removeAgent({ tenantId: 'acme', name: 'one', gone: true });
      assert.deepEqual((await world.store.readRecovery({}))?.awaited, []);
      assert.deepEqual(await held(world), [id]);
      assert.equal(await world.store.countHeldRuns({ tenantId: 'acme' }), 1);
      assert.equal(await world.store.settleRecovery({ recoveryId }), false);
      await world.store.releaseRuns({ recoveryId, runs: [{ tenantId: 'acme', id }] });
      assert.equal(await world.store.settleRecovery({ recoveryId }), true);
      assert.notEqual((await world.store.readRecovery({}))?.recovery.settledAt, null);
    });

    it('waits no longer than agents remember when nothing is held, and asks one that comes later', async () => {
      const world = await World.open(open);
      await world.online('one');
      const { id: recoveryId } = await recover(world);
      world.pass(9 * MINUTE);
      assert.equal(await world.store.settleRecovery({ recoveryId }), false);
      world.pass(2 * MINUTE);
      assert.equal(await world.store.settleRecovery({ recoveryId }), true);
      await resume(world, 'one');
    });
  });
}
