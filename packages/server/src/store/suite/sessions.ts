import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { JournalledAttempt } from '@rota/contract';
import { MINUTE, type Open, SECOND, World } from './world.ts';

/** Who may speak for an agent, and what its journal settles. */
export function sessionsSuite(open: Open): void {
  const worldWithJob = async () => {
    const world = await World.open(open);
    await world.online('one');
    await world.online('two');
    await world.job('a');
    return world;
  };
  const agent = async (world: World, id = 'one') => {
    const found = await world.store.readAgentById({ agentId: id });
    assert(found);
    return found;
  };
  const isQuarantined = async (world: World, answer: object) => {
    assert('rejected' in answer && answer.rejected === 'quarantined', JSON.stringify(answer));
    assert.equal((await agent(world)).state, 'quarantined');
  };

  describe('openSession', () => {
    it('gives each session a higher epoch and takes the nonce that was given last', async () => {
      const world = await World.open(open);
      await world.agent('one');
      assert.deepEqual(await world.connect('one', { newNonce: 'n1' }), { sessionEpoch: 1 });
      assert.deepEqual(await world.connect('one', { lastNonce: 'n1', newNonce: 'n2' }), { sessionEpoch: 2 });
      const { state, nonce, pendingNonce } = await agent(world);
      assert.deepEqual([state, nonce, pendingNonce], ['online', 'n2', 'n2']);
    });

    it('takes the nonce before the last when the agent ended before it stored the last', async () => {
      const world = await World.open(open);
      await world.agent('one');
      await world.connect('one', { newNonce: 'n1', confirm: false });
      await world.connect('one', { newNonce: 'n2' });
      await world.connect('one', { lastNonce: 'n2', newNonce: 'n3', confirm: false });
      assert.deepEqual(await world.connect('one', { lastNonce: 'n2', newNonce: 'n4' }), { sessionEpoch: 4 });
    });

    it('takes the last nonce when the agent ended after it stored it and before it said so', async () => {
      const world = await World.open(open);
      await world.agent('one');
      await world.connect('one', { newNonce: 'n1', confirm: false });
      assert.deepEqual(await world.connect('one', { lastNonce: 'n1', newNonce: 'n2' }), { sessionEpoch: 2 });
      await isQuarantined(world, await world.connect('one', { lastNonce: 'n1', newNonce: 'n3' }));
    });

    it('quarantines a copy, whichever of the two connects first', async () => {
      const world = await World.open(open);
      await world.agent('one');
      await world.connect('one', { newNonce: 'n1' });
      await world.connect('one', { lastNonce: 'n1', newNonce: 'n2' });
      await isQuarantined(world, await world.connect('one', { lastNonce: 'n1', newNonce: 'n3' }));
      await isQuarantined(world, await world.connect('one', { lastNonce: 'n2', newNonce: 'n4' }));
    });

    it('turns away a handshake that another one has overtaken, and quarantines nobody for what it showed', async () => {
      const world = await World.open(open);
      await world.agent('one');
      await world.connect('one', { newNonce: 'n1' });
      const overtaken = { knownEpoch: 1, lastNonce: 'n1', newNonce: 'late' };
      await world.connect('one', { lastNonce: 'n1', newNonce: 'n2', confirm: false });
      for (const confirmed of [false, true]) {
        const answer = await world.connect('one', overtaken);
        assert('rejected' in answer && answer.rejected === 'superseded', JSON.stringify(answer));
        const { sessionEpoch, pendingNonce } = await agent(world);
        assert.deepEqual([sessionEpoch, pendingNonce], [confirmed ? 3 : 2, confirmed ? 'n3' : 'n2']);
        if (!confirmed) await world.connect('one', { lastNonce: 'n2', newNonce: 'n3' });
      }
      assert.deepEqual(await world.connect('one', { lastNonce: 'n3', newNonce: 'n4' }), { sessionEpoch: 4 });
    });

    it('quarantines an agent that shows no nonce although it has had one', async () => {
      const world = await World.open(open);
      await world.online('one');
      await isQuarantined(world, await world.connect('one', { lastNonce: null }));
    });

    it('quarantines a journal that is older than one seen before, in a session or in a message', async () => {
      for (const inMessage of [false, true]) {
        const world = await World.open(open);
        await world.agent('one');
        await world.connect('one', { newNonce: 'n1', journalSeq: inMessage ? 0 : 50 });
        if (inMessage) {
          await world.job('a');
          const key = await world.key(await world.inState('offered', 'a', 'one'));
          await world.accept(key, 50);
        }
        await isQuarantined(world, await world.connect('one', { lastNonce: 'n1', journalSeq: 49 }));
      }
    });

    it('settles what the session of a quarantined agent had open', async () => {
      const world = await worldWithJob();
      await world.job('b');
      const offered = await world.inState('offered', 'a', 'one');
      const starting = await world.inState('starting', 'b', 'one');
      await isQuarantined(world, await world.connect('one', { lastNonce: 'copied' }));
      await world.expect(offered, 'queued');
      world.pass(5 * SECOND);
      await world.settle();
      await world.expect(starting, 'unknown', { reason: 'agentLost' });
    });

    it('tells an agent that it was removed', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.store.removeAgent({ tenantId: 'acme', name: 'one', gone: false });
      const answer = await world.connect('one', { lastNonce: 'one-nonce' });
      assert.equal('rejected' in answer && answer.rejected, 'removed');
    });

    it('knows no agent of another tenant', async () => {
      const world = await World.open(open);
      await world.online('one');
      const other = await world.other();
      const before = await world.all();
      const answer = await other.connect('one');
      assert.equal('rejected' in answer && answer.rejected, 'removed');
      assert.equal(await world.all(), before);
    });
  });

  describe('the end of a session', () => {
    it('counts only when it is still the one that speaks for the agent', async () => {
      const world = await worldWithJob();
      const id = await world.inState('offered', 'a', 'one');
      await world.connect('one', { lastNonce: 'one-nonce', newNonce: 'n2' });
      assert.equal(
        await world.store.closeSession({ tenantId: 'acme', agentId: 'one', sessionEpoch: 1 }),
        false,
      );
      await world.expect(id, 'offered');
      assert.equal(
        await world.store.closeSession({ tenantId: 'acme', agentId: 'one', sessionEpoch: 2 }),
        true,
      );
      await world.expect(id, 'queued');
      assert.equal((await agent(world)).state, 'offline');
    });

    it('does not let a nonce be confirmed that is not of the session', async () => {
      const world = await World.open(open);
      await world.agent('one');
      await world.connect('one', { newNonce: 'n1', confirm: false });
      const confirm = (sessionEpoch: number, nonce: string, tenantId = 'acme') =>
        world.store.confirmSession({ tenantId, agentId: 'one', sessionEpoch, nonce });
      assert.equal(await confirm(1, 'other'), false);
      assert.equal(await confirm(0, 'n1'), false);
      assert.equal(await confirm(1, 'n1', 'other'), false);
      assert.equal(await confirm(1, 'n1'), true);
    });

    it('stops its status from being stored', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.connect('one', { lastNonce: 'one-nonce', newNonce: 'n2' });
      const status = { tenantId: 'acme', agentId: 'one', maxParallel: 3, draining: true, blocked: null };
      await world.store.storeAgentStatus({ ...status, sessionEpoch: 1 });
      assert.equal((await agent(world)).maxParallel, 10);
      await world.store.storeAgentStatus({ ...status, sessionEpoch: 2 });
      assert.equal((await agent(world)).maxParallel, 3);
    });
  });

  describe('reconcileSession', () => {
    const reconcile = (world: World, attempts: JournalledAttempt[], sessionEpoch = 1) =>
      world.store.reconcileSession({ tenantId: 'acme', agentId: 'one', sessionEpoch, attempts });

    type Journal = JournalledAttempt['state'] | 'nothing' | 'other epoch';
    type State = 'offered' | 'starting' | 'running' | 'unknown';
    /** What the server asks for, and the state that the run has then. */
    const TABLE: Record<State, Record<Journal, [steps: string, state: string]>> = {
      offered: {
        nothing: ['', 'queued'],
        'other epoch': ['withdraw', 'queued'],
        accepted: ['accept', 'offered'],
        started: ['', 'offered'],
        ended: ['', 'offered'],
        refused: ['refused', 'offered'],
      },
      starting: {
        nothing: ['', 'unknown'],
        'other epoch': ['withdraw', 'unknown'],
        accepted: ['permitAgain', 'starting'],
        started: ['started', 'starting'],
        ended: ['', 'starting'],
        refused: ['refused', 'starting'],
      },
      running: {
        nothing: ['', 'unknown'],
        'other epoch': ['withdraw', 'unknown'],
        accepted: ['withdraw', 'unknown'],
        started: ['started', 'running'],
        ended: ['', 'running'],
        refused: ['refused', 'unknown'],
      },
      unknown: {
        nothing: ['', 'unknown'],
        'other epoch': ['withdraw', 'unknown'],
        accepted: ['permitAgain', 'unknown'],
        started: ['started', 'unknown'],
        ended: ['', 'unknown'],
        refused: ['refused', 'unknown'],
      },
    };

    for (const [state, line] of Object.entries(TABLE) as [State, (typeof TABLE)[State]][]) {
      for (const [journal, [steps, then]] of Object.entries(line) as [Journal, [string, string]][]) {
        it(`of a run that is ${state} with a journal that says ${journal}: ${steps || 'nothing'}, then ${then}`, async () => {
          const world = await worldWithJob();
          const id = await world.inState(state, 'a', 'one');
          const { attemptId, epoch } = await world.key(id);
          const entry: JournalledAttempt = {
            attemptId,
            epoch: journal === 'other epoch' ? epoch + 1 : epoch,
            state: journal === 'other epoch' || journal === 'nothing' ? 'accepted' : journal,
          };
          const asked = await reconcile(world, journal === 'nothing' ? [] : [entry]);
          assert.deepEqual(asked, steps === '' ? [] : [{ action: steps, attempt: entry }]);
          const run = await world.run(id);
          assert.equal(run.state, then);
          if (then === 'unknown' && steps !== 'started' && steps !== 'permitAgain' && journal !== 'ended')
            assert.equal(
              run.reason,
              journal === 'refused' && state === 'unknown' ? 'agentLost' : 'journalDamaged',
            );
          if (run.state !== 'unknown' && run.state !== 'running') assert.notEqual(run.wakeAt, null);
        });
      }
    }

    it('tells apart what a journal says of one attempt under several epochs', async () => {
      const world = await worldWithJob();
      const id = await world.inState('offered', 'a', 'one');
      world.pass(10 * SECOND);
      await world.settle();
      await world.offer(id, 'one');
      const attemptId = `${id}-1`;
      const accepted: JournalledAttempt = { attemptId, epoch: 3, state: 'accepted' };
      const refused: JournalledAttempt = { attemptId, epoch: 1, state: 'refused' };
      assert.deepEqual(await reconcile(world, [accepted, refused]), [
        { action: 'accept', attempt: accepted },
        { action: 'refused', attempt: refused },
      ]);
      await world.expect(id, 'offered');
    });

    it('brings running runs back in contact', async () => {
      const world = await worldWithJob();
      const id = await world.inState('running', 'a', 'one', { timeoutMs: MINUTE });
      const { attemptId, epoch } = await world.key(id);
      await world.store.closeSession({ tenantId: 'acme', agentId: 'one', sessionEpoch: 1 });
      await world.connect('one', { lastNonce: 'one-nonce', newNonce: 'n2', journalSeq: 2 });
      await reconcile(world, [{ attemptId, epoch, state: 'started' }], 2);
      await world.expect(id, 'running', { contactLostAt: null, wakeAt: null });
    });

    it('changes nothing for a session that is over', async () => {
      const world = await worldWithJob();
      const id = await world.inState('running', 'a', 'one', { timeoutMs: MINUTE });
      const { attemptId, epoch } = await world.key(id);
      await world.store.closeSession({ tenantId: 'acme', agentId: 'one', sessionEpoch: 1 });
      const before = await world.all();
      assert.deepEqual(await reconcile(world, [{ attemptId, epoch, state: 'started' }]), []);
      assert.equal(await world.all(), before);
    });

    it('asks again for the end of what is to be cancelled', async () => {
      for (const [state, journal, action] of [
        ['starting', 'accepted', 'withdraw'],
        ['running', 'started', 'cancel'],
      ] as const) {
        const world = await worldWithJob();
        const id = await world.inState(state, 'a', 'one');
        const { attemptId, epoch } = await world.key(id);
        await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' });
        const steps = await reconcile(world, [{ attemptId, epoch, state: journal }]);
        assert.equal(steps.at(-1)?.action, action);
      }
    });

    it('withdraws what belongs to no open run, and takes refusals of it', async () => {
      const world = await worldWithJob();
      const attemptId = `${'0'.repeat(20)}-1`;
      const steps = await reconcile(world, [
        { attemptId, epoch: 1, state: 'accepted' },
        { attemptId, epoch: 2, state: 'refused' },
        { attemptId, epoch: 3, state: 'started' },
        { attemptId, epoch: 4, state: 'ended' },
      ]);
      assert.deepEqual(
        steps.map((step) => step.action),
        ['withdraw', 'refused'],
      );
    });
  });

  describe('removeAgent', () => {
    it('keeps an agent that has something open, unless it is gone', async () => {
      const world = await worldWithJob();
      await world.job('b');
      const running = await world.inState('running', 'a', 'one');
      const offered = await world.inState('offered', 'b', 'one');
      const remove = (gone: boolean) => world.store.removeAgent({ tenantId: 'acme', name: 'one', gone });
      assert.equal(await remove(false), 'active');
      assert.deepEqual(await remove(true), { agentId: 'one' });
      await world.expect(running, 'unknown', { reason: 'agentGone', slot: 0, wakeAt: null });
      await world.expect(offered, 'queued');
      assert.equal(await remove(true), 'notFound');
      assert.deepEqual(
        (await world.store.readRoster({})).agents.map((each) => each.id),
        ['two'],
      );
      const next = await world.queued('a');
      assert.equal(next, running, 'the same instant is the same run');
      world.pass(1);
      await world.expect(await world.queued('a'), 'queued');
    });
  });
}
