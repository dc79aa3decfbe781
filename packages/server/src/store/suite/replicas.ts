import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ReplicaRow } from '../tables.ts';
import { type Open, SECOND, World } from './world.ts';

/** Servers that share a database: who lives, whose sessions are over, and what each has to bring to its agents. */
export function replicasSuite(open: Open): void {
  const replicas = async (world: World) => (await world.store.listReplicas({})).map(({ id }) => id);
  const agent = async (world: World, id = 'one') => {
    const found = await world.store.readAgentById({ agentId: id });
    assert(found);
    return found;
  };
  const lose = async (world: World, id = 'server') => {
    const [row] = await world.rows<ReplicaRow>('select * from "replicas" where "id" = ?', id);
    return world.store.loseReplica({ id, seenAt: row?.seenAt ?? 0 });
  };
  const worldWithJob = async () => {
    const world = await World.open(open);
    await world.online('one');
    await world.online('two');
    await world.job('a');
    return world;
  };

  describe('a server among others', () => {
    it('is seen by them as long as it says that it lives', async () => {
      const world = await World.open(open);
      await world.store.registerReplica({ id: 'a', name: 'host:1' });
      await world.replica('b');
      world.pass(SECOND);
      const seen = await world.store.touchReplica({ id: 'a' });
      assert.deepEqual(seen?.map(({ id, seenAt }) => [id, world.now - seenAt]).sort(), [
        ['a', 0],
        ['b', SECOND],
      ]);
      await world.store.leaveReplica({ id: 'a' });
      const [first] = await world.store.listReplicas({});
      assert.deepEqual([first?.id, first?.leavingAt, first?.agents], ['a', world.now, 0]);
    });

    it('is not given up when it was seen after all', async () => {
      const world = await World.open(open);
      await world.replica('a');
      const seenAt = world.now;
      world.pass(SECOND);
      await world.store.touchReplica({ id: 'a' });
      assert.equal(await world.store.loseReplica({ id: 'a', seenAt }), false);
      assert.notEqual(await world.store.touchReplica({ id: 'a' }), null);
    });

    it('that was given up cannot say that it lives, nor open a session', async () => {
      const world = await World.open(open);
      await world.agent('one');
      await world.replica('server');
      assert.equal(await lose(world), true);
      assert.equal(await lose(world), false);
      assert.equal(await world.store.touchReplica({ id: 'server' }), null);
      const answer = await world.connect('one');
      assert.equal('rejected' in answer && answer.rejected, 'draining');
      assert.equal((await agent(world)).sessionEpoch, 0);
    });

    it('that is lost has its sessions ended a few at a time, and is forgotten then', async () => {
      const world = await worldWithJob();
      await world.job('b');
      const running = await world.inState('running', 'a', 'one');
      const offered = await world.inState('offered', 'b', 'two');
      await lose(world);
      assert.equal(await world.store.closeLostSessions({ limit: 1 }), 1);
      assert.deepEqual(await replicas(world), ['server']);
      assert.equal(await world.store.closeLostSessions({ limit: 5 }), 1);
      assert.deepEqual(await replicas(world), []);
      assert.equal(await world.store.closeLostSessions({ limit: 5 }), 0);
      await world.expect(running, 'running', { contactLostAt: world.now });
      await world.expect(offered, 'queued', { passedJson: '[]' });
      const { state, replicaId, vanishedAt } = await agent(world);
      assert.deepEqual([state, replicaId, vanishedAt], ['offline', null, world.now]);
    });

    it('leaves sessions alone that have gone to another', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.replica('b');
      await world.connect('one', { lastNonce: 'one-nonce', newNonce: 'n2', replicaId: 'b' });
      await lose(world);
      assert.equal(await world.store.closeLostSessions({ limit: 5 }), 0);
      assert.deepEqual([(await agent(world)).state, (await agent(world)).replicaId], ['online', 'b']);
      assert.deepEqual(await replicas(world), ['b']);
    });

    it('that ends is forgotten, unless it leaves sessions behind', async () => {
      const world = await World.open(open);
      await world.replica('a');
      await world.online('one');
      await world.store.endReplica({ id: 'a' });
      await world.store.endReplica({ id: 'server' });
      assert.deepEqual(await replicas(world), ['server']);
      assert.equal(await world.store.closeLostSessions({ limit: 5 }), 1);
      assert.deepEqual(await replicas(world), []);
    });
  });

  describe('an agent', () => {
    it('is online only once it is reconciled', async () => {
      const world = await World.open(open);
      await world.agent('one');
      await world.connect('one', { confirm: false });
      assert.deepEqual([(await agent(world)).state, (await agent(world)).replicaId], ['offline', 'server']);
      const session = { tenantId: 'acme', agentId: 'one', sessionEpoch: 1 };
      assert.equal(await world.store.readySession({ ...session, sessionEpoch: 2 }), false);
      assert.equal(await world.store.readySession(session), true);
      assert.equal((await agent(world)).state, 'online');
      await world.store.closeSession(session);
      assert.equal(await world.store.readySession(session), false);
    });

    it('has vanished when its session ends without a goodbye, or by another session, until it is ready again', async () => {
      const world = await World.open(open);
      await world.online('one');
      world.pass(SECOND);
      await world.connect('one', { lastNonce: 'one-nonce', newNonce: 'n2', confirm: false });
      assert.equal((await agent(world)).vanishedAt, world.now);
      const session = { tenantId: 'acme', agentId: 'one', sessionEpoch: 2 };
      await world.store.readySession(session);
      assert.equal((await agent(world)).vanishedAt, null);
      await world.store.closeSession({ ...session, goodbye: true });
      assert.equal((await agent(world)).vanishedAt, null);
      await world.connect('one', { lastNonce: 'n2', newNonce: 'n3' });
      await world.store.closeSession({ ...session, sessionEpoch: 3 });
      assert.equal((await agent(world)).vanishedAt, world.now);
    });

    it('is read again by all that changes what others must know, and by nothing else', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.online('two');
      const session = { tenantId: 'acme', agentId: 'one', sessionEpoch: 1 };
      const status = { ...session, maxParallel: 10, draining: false, blocked: null };
      const changed = async (change: () => Promise<unknown>) => {
        world.pass(SECOND);
        await change();
        const { now, agents } = await world.store.readRoster({ since: world.now });
        assert.equal(now, world.now);
        return agents.map(({ id }) => id);
      };
      const { store } = world;
      assert.deepEqual(await changed(() => store.storeAgentStatus(status)), []);
      assert.deepEqual(await changed(() => store.storeAgentStatus({ ...status, blocked: 'diskFull' })), [
        'one',
      ]);
      assert.deepEqual(await changed(() => store.storeAgentStatus({ ...status, draining: true })), ['one']);
      assert.deepEqual(
        await changed(() => store.setAgent({ tenantId: 'acme', name: 'two', enabled: false })),
        ['two'],
      );
      assert.deepEqual(await changed(() => store.closeSession(session)), ['one']);
      const again = { lastNonce: 'one-nonce', newNonce: 'n2', confirm: false };
      assert.deepEqual(await changed(() => world.connect('one', again)), ['one']);
      assert.deepEqual(await changed(() => store.readySession({ ...session, sessionEpoch: 2 })), ['one']);
      assert.deepEqual(await changed(() => world.connect('one', { lastNonce: 'copied', confirm: false })), [
        'one',
      ]);
      assert.deepEqual(
        await changed(() => store.removeAgent({ tenantId: 'acme', name: 'two', gone: false })),
        ['two'],
      );
      assert.deepEqual(
        (await store.readRoster({})).agents.map(({ id }) => id),
        ['one'],
      );
    });
  });

  describe('what a server has to bring', () => {
    it('are the offers and cancels of its own agents, as long as they stand', async () => {
      const world = await worldWithJob();
      await world.replica('b');
      await world.connect('two', { lastNonce: 'two-nonce', newNonce: 'n2', replicaId: 'b' });
      await world.job('b');
      await world.job('c');
      const offered = await world.inState('offered', 'a', 'one');
      const running = await world.inState('running', 'b', 'one');
      const other = await world.inState('offered', 'c', 'two');
      await world.store.cancelRun({ tenantId: 'acme', runId: running, by: 'me' });
      const read = async (replicaId: string) => {
        const { offers, cancels } = await world.store.readDeliveries({ replicaId });
        assert(offers.every(({ documentJson }) => documentJson !== null));
        return [
          offers.map(({ id }) => id),
          cancels.map(({ id, attempt, epoch }) => `${id}-${attempt}/${epoch}`),
        ];
      };
      assert.deepEqual(await read('server'), [[offered], [`${running}-1/1`]]);
      assert.deepEqual(await read('b'), [[other], []]);
      await world.store.cancelRun({ tenantId: 'acme', runId: offered, by: 'me' });
      await world.end(await world.key(running), { outcome: 'cancelled' });
      assert.deepEqual(await read('server'), [[], []]);
    });

    it('goes back when the agent had left before it was offered', async () => {
      const world = await worldWithJob();
      await world.store.closeSession({ tenantId: 'acme', agentId: 'one', sessionEpoch: 1 });
      const away = await world.inState('offered', 'a', 'one');
      await world.job('b');
      const here = await world.inState('offered', 'b', 'two');
      const { offers } = await world.store.readDeliveries({ replicaId: 'server' });
      assert.deepEqual(
        offers.map(({ id, replicaId }) => [id, replicaId]).sort(),
        [
          [away, null],
          [here, 'server'],
        ].sort(),
      );
      const runs = [away, here].map((id) => ({ tenantId: 'acme', id }));
      assert.equal(await world.store.withdrawFromAway({ runs }), 1);
      assert.equal(await world.store.withdrawFromAway({ runs }), 0);
      await world.expect(away, 'queued', { passedJson: '[]', agentId: null });
      await world.expect(here, 'offered');
    });

    it('is counted for each agent', async () => {
      const world = await worldWithJob();
      for (const state of ['unknown', 'offered', 'starting', 'running', 'queued'] as const) {
        await world.job(state);
        await world.inState(state, state, 'one');
      }
      const loads = await world.store.readAgentLoads({});
      assert.deepEqual(
        loads.map(({ agentId, runs }) => [agentId, runs]),
        [['one', 3]],
      );
    });
  });
}
