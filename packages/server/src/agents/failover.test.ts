import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { HandClock } from '../clock.testing.ts';
import { systemClock } from '../clock.ts';
import { type PostgresPair, startPair } from '../postgresPair.testing.ts';
import { openPostgres } from '../store/postgres.ts';
import { Composition, TENANT } from './composition.testing.ts';
import type { ScriptedAgent } from './scriptedAgent.testing.ts';

/** A server on a primary that has a standby. */
async function start(t: TestContext): Promise<{ server: Composition; pair: PostgresPair }> {
  const pair = await startPair();
  const server = new Composition({
    open: (clock) =>
      openPostgres(pair.address, systemClock, clock instanceof HandClock ? { now: () => clock.now() } : {}),
    release: async () => pair.close(),
  });
  await server.boot();
  t.after(() => server.leave());
  await server.store.createTenant({ id: TENANT, name: 'acme', timezone: 'UTC' });
  return { server, pair };
}

/** Takes the next offer up to its start. */
async function begin(agent: ScriptedAgent) {
  const offer = await agent.next('offer');
  agent.accept(offer);
  await agent.next('permit');
  agent.started(offer);
  await agent.next('ack');
  return offer;
}

const offersTo = (agent: ScriptedAgent) =>
  agent.received.flatMap((message) => (message.type === 'offer' ? [message.attemptId] : []));

const runOf = ({ attemptId }: { attemptId: string }) => attemptId.slice(0, -2);

describe('a standby that takes over under a running server', () => {
  it('is told by the agents what it lacks, and starts nothing that had been started', async (t) => {
    const { server, pair } = await start(t);
    const one = await server.online('one');
    const two = await server.online('two');
    await server.job('often', { schedule: '*/10 * * * * *', target: { agents: ['one'] } });
    await server.job('twos', { target: { agents: ['two'] } });
    await server.job('ones', { target: { agents: ['one'] } });
    const kept = await server.trigger('ones');
    const asked = await one.next('offer');
    await pair.caughtUp();
    pair.loseCommits();
    // All of this was committed, and none of it is on the standby.
    one.accept(asked);
    await one.next('permit');
    one.started(asked);
    await one.settle(asked, { outcome: 'failed', exitCode: 3 });
    server.clock.advance(10_000);
    const instant = await begin(one);
    await one.settle(instant);
    const lost = await server.trigger('twos');
    const going = await begin(two);
    await pair.failOver();

    // Each server finds out by itself, ends its sessions, and takes none back that does not tell.
    const left = Promise.all([one.closed(), two.closed()]);
    let cut = false;
    void left.then(() => {
      cut = true;
    });
    await server.until(async () => {
      server.clock.advance(1_000);
      await server.quiet();
      if (!cut || (await server.store.readRecovery({})) === null) return false;
      const { id } = server.parts.replica;
      return (await server.store.listReplicas({})).some((replica) => replica.id === id);
    });
    const { recovery, awaited } = (await server.store.readRecovery({})) ?? { awaited: [] };
    assert.deepEqual([recovery?.cause, recovery?.settledAt], ['failover', null]);
    assert.deepEqual(
      awaited.map(({ name }) => name),
      ['one', 'two'],
    );
    assert.equal((await server.run(kept)).reason, 'recovering');
    assert.equal(await server.store.readRun({ tenantId: TENANT, runId: lost }), undefined);

    await server.connect(one);
    assert.equal((await server.becomes(kept, 'failed')).exitCode, 3);
    assert.equal((await server.becomes(runOf(instant), 'succeeded')).attempt, 1);
    // What is `one`'s alone goes on, though `two` is away.
    server.clock.advance(10_000);
    await server.until(async () => {
      server.clock.advance(250);
      one.status();
      await server.quiet(one);
      return offersTo(one).length > 0;
    });
    assert.equal(offersTo(one).includes(instant.attemptId), false);
    assert.equal(await server.store.readRun({ tenantId: TENANT, runId: lost }), undefined);

    await server.connect(two);
    assert.equal((await server.becomes(lost, 'running')).agentId, two.disk.agentId);
    two.ended(going);
    await server.becomes(lost, 'succeeded');
    await server.quiet(one, two);
    const offered = [...offersTo(one), ...offersTo(two)];
    for (const { attemptId } of [asked, instant, going]) assert.equal(offered.includes(attemptId), false);
    await server.until(async () => {
      server.clock.advance(0);
      server.parts.hints.give('recovery');
      return (await server.store.readRecovery({}))?.recovery.settledAt !== null;
    });
  });
});
