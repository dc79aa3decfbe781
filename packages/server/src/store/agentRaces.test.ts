import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { both, checkHistory, ROUNDS, type TwoServers, twoServers } from './races.testing.ts';
import { DAY, START, type World } from './suite/world.ts';

/** Sessions and identities of agents when two servers are asked at one instant. */
describe('two servers at one instant', () => {
  const time = { now: START };
  let servers: TwoServers;
  let a: World;
  let b: World;

  before(async () => {
    servers = await twoServers(time);
    ({ a, b } = servers);
  });

  after(() => servers.close());

  beforeEach(() => servers.empty());

  it('begin a session for one of two handshakes that an agent had under way at once', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const id = `agent${round}`;
      await a.agent(id);
      const connect = (world: World, newNonce: string) => () =>
        world.connect(id, { newNonce, confirm: false, knownEpoch: 0 });
      const answers = await both(round, connect(a, 'n1'), connect(b, 'n2'));
      const told = answers.map((answer) => ('rejected' in answer ? answer.rejected : answer.sessionEpoch));
      assert.deepEqual(told.sort(), [1, 'superseded']);
      const { sessionEpoch, pendingNonce } = (await a.store.readAgentById({ agentId: id })) ?? {};
      const winner = 'rejected' in answers[0] ? 'n2' : 'n1';
      assert.deepEqual([sessionEpoch, pendingNonce], [1, winner]);
    }
  });

  it('end a session or find what it has lost, and leave no offer with an agent that is away', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `session${round}`;
      const agent = `leaving${round}`;
      await a.online(agent);
      await a.job(name);
      const id = await a.inState('offered', name, agent);
      const key = await a.key(id);
      const [grant] = await both<unknown>(
        round,
        () => a.accept(key),
        () => b.store.closeSession({ tenantId: 'acme', agentId: agent, sessionEpoch: 1 }),
      );
      await a.expect(id, grant === null ? 'queued' : 'starting');
      if (grant !== null && (await a.run(id)).contactLostAt === null)
        assert.fail('the session is over, and the run does not know it');
    }
    await checkHistory(a);
  });

  it('open a session at a server or give the server up, and leave no session that nobody holds', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const id = `held${round}`;
      const replicaId = `replica${round}`;
      await a.agent(id);
      await a.replica(replicaId);
      const [answer] = await both<unknown>(
        round,
        () => a.connect(id, { replicaId, confirm: false }),
        () => b.store.endReplica({ id: replicaId }),
      );
      const isOpen = 'sessionEpoch' in (answer as object);
      const left = (await a.store.listReplicas({})).find((replica) => replica.id === replicaId);
      assert.equal(left?.lostAt !== null && left !== undefined, isOpen, 'who has a session is not forgotten');
      await both(
        round,
        () => a.store.closeLostSessions({ limit: 10 }),
        () => b.store.closeLostSessions({ limit: 10 }),
      );
      await a.store.closeLostSessions({ limit: 10 });
      const agent = await a.store.readAgentById({ agentId: id });
      assert.deepEqual([agent?.state, agent?.replicaId], ['offline', null]);
      assert(!(await a.store.listReplicas({})).some((replica) => replica.id === replicaId));
    }
  });

  it('end the sessions of a lost server once, and none that has moved', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const replicaId = `lost${round}`;
      const [stays, moves] = [`stays${round}`, `moves${round}`];
      await a.replica(replicaId);
      for (const id of [stays, moves]) {
        await a.agent(id);
        await a.connect(id, { replicaId });
      }
      await a.store.endReplica({ id: replicaId });
      const [closed, , moved] = await Promise.all([
        a.store.closeLostSessions({ limit: 10 }),
        b.store.closeLostSessions({ limit: 10 }),
        b.connect(moves, { lastNonce: `${moves}-nonce`, newNonce: 'n2' }),
      ]);
      assert(closed <= 2 && 'sessionEpoch' in moved);
      while ((await a.store.closeLostSessions({ limit: 10 })) > 0);
      assert.equal((await a.store.readAgentById({ agentId: stays }))?.state, 'offline');
      const there = await a.store.readAgentById({ agentId: moves });
      assert.deepEqual([there?.state, there?.replicaId], ['online', 'server']);
    }
  });

  it('take an offer back from an agent that is away once, or let it stand when the agent has come', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `away${round}`;
      await a.agent(name);
      await a.job(name);
      const id = await a.inState('offered', name, name);
      const runs = [{ tenantId: 'acme', id }];
      const [withdrawn] = await both<unknown>(
        round,
        () => a.store.withdrawFromAway({ runs }),
        () => b.connect(name),
      );
      const again = await b.store.withdrawFromAway({ runs });
      assert.equal(again, 0);
      await a.expect(id, withdrawn === 1 ? 'queued' : 'offered');
    }
    await checkHistory(a);
  });

  it('trade a join token for one identity, and give a name to one agent', async () => {
    const token = async (id: string) => {
      const hash = createHash('sha256').update('secret').digest('base64url');
      await a.store.createJoinToken({
        tenantId: 'acme',
        id,
        hash,
        labelsJson: '{}',
        createdBy: null,
        expiresInMs: DAY,
      });
    };
    const join = (world: World, id: string, name: string, agentId: string) => () =>
      world.store.joinAgent({
        token: { id, secret: 'secret' },
        agentId,
        name,
        publicKey: '',
        labels: {},
        orderNumber: 100,
        facts: {} as never,
      });
    for (let round = 0; round < ROUNDS; round += 1) {
      await token(`same${round}`);
      const same = await both<unknown>(
        round,
        join(a, `same${round}`, `x${round}`, `x${round}`),
        join(b, `same${round}`, `y${round}`, `y${round}`),
      );
      assert.equal(same.filter((answer) => answer === 'tokenInvalid').length, 1);
      await token(`one${round}`);
      await token(`two${round}`);
      const named = await both<unknown>(
        round,
        join(a, `one${round}`, `z${round}`, `za${round}`),
        join(b, `two${round}`, `z${round}`, `zb${round}`),
      );
      assert.equal(named.filter((answer) => answer === 'nameConflict').length, 1);
    }
  });
});
