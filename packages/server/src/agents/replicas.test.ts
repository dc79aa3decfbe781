import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rows } from '../store/operation.ts';
import type { RunRow } from '../store/tables.ts';
import { useStore } from '../store.testing.ts';
import { Composition, TENANT } from './composition.testing.ts';
import type { ScriptedAgent } from './scriptedAgent.testing.ts';
import type { AttemptKey } from './sessions.ts';

useStore('postgres');

function offersTo(agent: ScriptedAgent): string[] {
  return agent.received.flatMap((message) => (message.type === 'offer' ? [message.attemptId] : []));
}

const heard = (agent: ScriptedAgent, type: string) => agent.received.some((message) => message.type === type);

/** Takes an offer through to its end. */
async function carryOut(agent: ScriptedAgent): Promise<string> {
  const offer = await agent.next('offer');
  agent.accept(offer);
  await agent.next('permit');
  agent.started(offer);
  agent.ended(offer);
  return offer.attemptId;
}

async function runsOf(server: Composition): Promise<RunRow[]> {
  return server.parts.driver.read(() => rows<RunRow>('select * from "runs" order by "scheduledFor"'));
}

const replicasOf = async (server: Composition) => (await server.store.listReplicas({})).map(({ id }) => id);

for (const hints of [true, false]) {
  describe(`two servers ${hints ? 'that give each other hints' : 'that only read'}`, () => {
    const two = async () => {
      const a = await Composition.start();
      return { a, b: await a.beside({ hints }) };
    };

    it('bring an offer that one has decided to an agent of the other', async () => {
      const { a, b } = await two();
      await a.parts.dispatcher.stop();
      await b.job('a');
      const agent = await a.online('one');
      const id = await b.trigger('a');
      await b.comes(() => heard(agent, 'offer'), agent);
      assert.equal(await carryOut(agent), `${id}-1`);
      assert.equal((await b.becomes(id, 'succeeded')).attempt, 1);
      assert.deepEqual(offersTo(agent), [`${id}-1`]);
    });

    it('bring a cancel that came to one to an agent of the other, once', async () => {
      const { a, b } = await two();
      await a.job('a');
      const agent = await a.online('one');
      const id = await a.trigger('a');
      await a.comes(() => heard(agent, 'offer'), agent);
      const offer = await agent.next('offer');
      agent.accept(offer);
      agent.started(offer);
      await a.becomes(id, 'running');
      assert.equal(await b.parts.runs.cancel({ tenantId: TENANT, runId: id, by: 'me' }), 'requested');
      await b.comes(() => heard(agent, 'cancel'), agent);
      assert.equal((await agent.next('cancel')).attemptId, `${id}-1`);
      b.clock.advance(1_000);
      await a.quiet(agent);
      assert.equal(agent.received.filter(({ type }) => type === 'cancel').length, 1);
      agent.ended(offer, { outcome: 'cancelled' });
      await b.becomes(id, 'cancelled');
    });

    it('take back an offer that was cancelled at the other, and free its room', async () => {
      const { a, b } = await two();
      await a.job('a');
      const agent = await a.online('one', { maxParallel: 1 });
      const id = await a.trigger('a');
      await a.comes(() => heard(agent, 'offer'), agent);
      assert.equal(await b.parts.runs.cancel({ tenantId: TENANT, runId: id, by: 'me' }), 'cancelled');
      await b.comes(() => heard(agent, 'withdraw'), agent);
      assert.equal((await agent.next('withdraw')).attemptId, `${id}-1`);
      assert.equal(a.parts.sessions.get(agent.disk.agentId)?.active.size, 0);
    });

    it('wake a run that waits at one when an agent comes to the other', async () => {
      const { a, b } = await two();
      await a.parts.dispatcher.stop();
      await b.job('a');
      const id = await b.trigger('a');
      await b.comes(async () => (await b.run(id)).reason === 'noAgentMatches');
      const agent = await a.online('one');
      await b.comes(() => heard(agent, 'offer'), agent);
      assert.equal(await carryOut(agent), `${id}-1`);
    });

    it('end a session whose agent was removed or has connected to the other', async () => {
      const { a, b } = await two();
      const agent = await a.online('one');
      const moved = agent.copy();
      await b.connect(moved);
      await b.comes(() => a.parts.sessions.all().length === 0, moved);
      await agent.closed();
      await b.store.removeAgent({ tenantId: TENANT, name: 'one', gone: false });
      a.parts.hints.give('agents');
      await b.comes(() => b.parts.sessions.all().length === 0);
    });

    it('give an agent of the other no more than it may run', async () => {
      const { a, b } = await two();
      await a.parts.dispatcher.stop();
      const agent = await a.online('one', { maxParallel: 2 });
      const ids: string[] = [];
      for (let n = 0; n < 6; n += 1) {
        await b.job(`job-${n}`);
        ids.push(await b.trigger(`job-${n}`));
      }
      await b.comes(
        async () => (await runsOf(b)).filter(({ reason }) => reason === 'agentsFull').length === 4,
        agent,
      );
      await b.comes(() => offersTo(agent).length === 2, agent);
      a.parts.dispatcher.start();
      for (let n = 0; n < 6; n += 1) {
        await b.comes(() => offersTo(agent).length > n, agent);
        const offer = agent.received.filter((message) => message.type === 'offer')[n] as AttemptKey;
        agent.accept(offer);
        agent.started(offer);
        agent.ended(offer);
      }
      for (const id of ids) await b.becomes(id, 'succeeded');
    });
  });
}

describe('a server that is lost', () => {
  it('has its sessions ended by another: offers go back, and starts become unknown', async () => {
    const a = await Composition.start();
    const b = await a.beside();
    for (const name of ['offered', 'starting', 'running']) await a.job(name);
    const agent = await a.online('one');
    const ids: Record<string, string> = {};
    for (const name of ['offered', 'starting', 'running']) {
      const id = await a.trigger(name);
      ids[name] = id;
      await a.comes(() => offersTo(agent).includes(`${id}-1`), agent);
      const offer = await agent.next('offer');
      if (name === 'offered') continue;
      agent.accept(offer);
      await agent.next('permit');
      if (name === 'running') agent.started(offer);
    }
    await a.becomes(ids.running as string, 'running');
    await a.crash();
    const at = b.clock.now();
    await b.comes(async () => (await b.agentRow(agent)).state === 'offline');
    const took = b.clock.now() - at;
    assert(took >= 4_000 && took <= 7_000, `${took} ms`);
    assert.equal((await b.run(ids.offered as string)).state, 'queued');
    assert.notEqual((await b.run(ids.starting as string)).contactLostAt, null);
    await b.comes(async () => (await replicasOf(b)).length === 1);
    await b.comes(async () => (await b.run(ids.starting as string)).state === 'unknown');
    assert.equal((await b.run(ids.running as string)).state, 'running');
    // What it was doing is settled by the server that it comes to.
    await b.connect(agent);
    await b.becomes(ids.running as string, 'running');
    assert.equal((await b.run(ids.running as string)).contactLostAt, null);
    assert.equal((await b.run(ids.starting as string)).state, 'starting');
  });

  it('does not shift the work of its agent, which comes back before that is noticed', async () => {
    const a = await Composition.start();
    const b = await a.beside();
    await b.job('a');
    const first = await a.online('first', { orderNumber: 1 });
    const second = await b.online('second', { orderNumber: 2 });
    await b.comes(async () => (await b.agentRow(first)).state === 'online', second);
    await a.crash();
    const id = await b.trigger('a');
    await b.comes(async () => (await b.run(id)).state === 'offered', second);
    await b.connect(first);
    await b.comes(() => heard(first, 'offer'), first, second);
    assert.equal(await carryOut(first), `${id}-1`);
    await b.becomes(id, 'succeeded');
    assert.deepEqual(offersTo(second), []);
  });

  it('does not shift the work of an agent that is on its way, and does so after a second', async () => {
    const a = await Composition.start();
    const b = await a.beside();
    await b.job('a');
    const first = await a.online('first', { orderNumber: 1 });
    const second = await b.online('second', { orderNumber: 2 });
    await first.cut();
    await b.comes(async () => (await b.agentRow(first)).state === 'offline', second);
    const id = await b.trigger('a');
    await b.comes(async () => (await b.run(id)).reason === 'agentReturning', second);
    await b.connect(first);
    await b.comes(() => heard(first, 'offer'), first, second);
    assert.equal(await carryOut(first), `${id}-1`);
    await b.becomes(id, 'succeeded');
    await first.cut();
    const next = await b.trigger('a');
    const at = b.clock.now();
    await b.comes(() => heard(second, 'offer'), second);
    assert(b.clock.now() - at <= 1_500, `${b.clock.now() - at} ms`);
    assert.equal(await carryOut(second), `${next}-1`);
  });

  it('that only stood still closes its sockets when it goes on, and does no harm', async () => {
    const a = await Composition.start();
    const b = await a.beside();
    await a.job('a');
    const agent = await a.online('one');
    const id = await a.trigger('a');
    await a.comes(() => heard(agent, 'offer'), agent);
    const offer = await agent.next('offer');
    agent.accept(offer);
    await agent.next('permit');
    await a.quiet(agent);
    const before = a.parts.replica.id;
    const thaw = a.freeze();
    // It reads this, and cannot store it.
    agent.started(offer);
    await b.comes(async () => (await b.agentRow(agent)).state === 'offline');
    const moved = agent.copy();
    await b.connect(moved);
    await b.becomes(id, 'running');
    moved.ended(offer);
    await b.becomes(id, 'succeeded');
    thaw();
    await agent.closed();
    await b.comes(() => a.parts.replica.id !== before && a.parts.replica.hasOthers, moved);
    const run = await b.run(id);
    assert.deepEqual([run.state, run.attempt, run.agentId], ['succeeded', 1, agent.disk.agentId]);
    assert.deepEqual(a.parts.sessions.all(), []);
    assert.equal((await b.agentRow(agent)).state, 'online');
    const next = await a.trigger('a');
    await b.comes(() => heard(moved, 'offer'), moved);
    assert.equal(await carryOut(moved), `${next}-1`);
    await b.becomes(next, 'succeeded');
  });

  it('is not one that could not hear because the database was away', async () => {
    const a = await Composition.start();
    const b = await a.beside();
    const agent = await a.online('one');
    const ids = [a.parts.replica.id, b.parts.replica.id];
    const thaw = [a.freeze(), b.freeze()];
    a.clock.advance(14_000);
    for (const each of thaw) each();
    for (let second = 0; second < 8; second += 1) {
      agent.status();
      await a.quiet(agent);
      await b.quiet();
      a.clock.advance(1_000);
    }
    assert.deepEqual([a.parts.replica.id, b.parts.replica.id], ids);
    assert.equal((await b.agentRow(agent)).state, 'online');
  });
});

describe('two servers', () => {
  it('plan and dispatch the same due jobs: no instant twice, no slot twice, each attempt offered once', async () => {
    const a = await Composition.start();
    const b = await a.beside();
    const agents = [await a.online('one', { maxParallel: 50 }), await b.online('two', { maxParallel: 50 })];
    for (let n = 0; n < 10; n += 1)
      await (n % 2 === 0 ? a : b).job(`job-${n}`, {
        schedule: '*/2 * * * * *',
        target: { agents: [n % 3 === 0 ? 'one' : 'two'] },
      });
    const taken = new Set<string>();
    for (let step = 0; step < 40; step += 1) {
      for (const agent of agents) {
        agent.status();
        for (const message of agent.received) {
          if (message.type !== 'offer' || taken.has(message.attemptId)) continue;
          taken.add(message.attemptId);
          agent.accept(message);
          agent.started(message);
          agent.ended(message);
        }
      }
      for (const server of [a, b]) await server.quiet(...agents);
      a.clock.advance(250);
    }
    const runs = await runsOf(b);
    const instants = runs.map(({ jobId, scheduledFor }) => `${jobId}@${scheduledFor}`);
    assert.equal(new Set(instants).size, instants.length);
    const ended = runs.filter(({ state }) => state === 'succeeded');
    assert(ended.length >= 30, `${ended.length} runs ended`);
    assert(ended.every(({ attempt }) => attempt === 1));
    const offers = agents.flatMap(offersTo);
    assert.equal(new Set(offers).size, offers.length, 'no attempt was offered twice');
    const slots = runs.filter(({ slot }) => slot === 1).map(({ jobId }) => jobId);
    assert.equal(new Set(slots).size, slots.length);
    assert.deepEqual([...a.errors, ...b.errors], []);
  });

  it('do not count what comes over the socket that an agent had before it moved', async () => {
    const a = await Composition.start();
    const b = await a.beside({ hints: false });
    await a.job('a');
    const agent = await a.online('one');
    const id = await a.trigger('a');
    await a.comes(() => heard(agent, 'offer'), agent);
    const offer = await agent.next('offer');
    const moved = agent.copy();
    await b.connect(moved);
    // The first server has not noticed yet.
    agent.status({ draining: true });
    agent.accept(offer);
    await agent.next('withdraw');
    assert.equal((await b.agentRow(agent)).draining, 0);
    await b.comes(() => heard(moved, 'offer'), moved);
    assert.notEqual((await moved.next('offer')).epoch, offer.epoch);
    await b.comes(() => a.parts.sessions.all().length === 0, moved);
    await agent.closed();
    assert.equal((await b.run(id)).state, 'offered');
    assert.equal((await b.agentRow(agent)).state, 'online');
  });
});

describe('a server that stops beside another', () => {
  it('sends its agents away a few at a time, and nothing is lost or shifted', async () => {
    const a = await Composition.start();
    const b = await a.beside();
    await a.job('a');
    const agents: ScriptedAgent[] = [];
    for (let n = 0; n < 10; n += 1) agents.push(await a.online(`agent-${n}`, { orderNumber: n }));
    const [first] = agents as [ScriptedAgent];
    const running = await a.trigger('a');
    await a.comes(() => heard(first, 'offer'), ...agents);
    const offer = await first.next('offer');
    first.accept(offer);
    first.started(offer);
    await a.becomes(running, 'running');

    assert.equal(await a.parts.replica.leave(), true);
    const stopped = a.parts.gateway.stop({ gently: true });
    await agents[0]?.next('leaving');
    assert(!heard(agents[9] as ScriptedAgent, 'leaving'));
    for (const agent of agents) {
      await b.comes(() => heard(agent, 'leaving'));
      await agent.cut();
      await b.connect(agent);
    }
    b.clock.advance(2_000);
    await stopped;
    assert.equal((await b.run(running)).state, 'running');
    assert.equal((await b.run(running)).contactLostAt, null);
    first.ended(offer);
    await b.becomes(running, 'succeeded');
    const next = await b.trigger('a');
    await b.comes(() => heard(first, 'offer'), ...agents);
    assert.equal(await carryOut(first), `${next}-1`);
    await a.parts.replica.stop();
    assert.deepEqual(await replicasOf(b), [b.parts.replica.id]);
  });
});
