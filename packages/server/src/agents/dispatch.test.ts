import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ReasonCode } from '@rota/contract';
import { change } from '../store/operation.ts';
import { Composition, START, TENANT } from './composition.testing.ts';
import { permitOf, type ScriptedAgent } from './scriptedAgent.testing.ts';

/** Waits until a run waits, and says why. */
async function waits(server: Composition, runId: string, reason: ReasonCode): Promise<void> {
  await server.until(
    async () => (await server.run(runId)).reason === reason,
    async () => `${(await server.run(runId)).reason} instead of ${reason}`,
  );
}

function offersTo(agent: ScriptedAgent): string[] {
  return agent.received.flatMap((message) => (message.type === 'offer' ? [message.attemptId] : []));
}

/** Takes an offer through to its end. */
async function carryOut(agent: ScriptedAgent): Promise<string> {
  const offer = await agent.next('offer');
  agent.accept(offer);
  await agent.next('permit');
  agent.started(offer);
  agent.ended(offer);
  return offer.attemptId;
}

describe('pick: first', () => {
  it('asks the agent that is first by order', async () => {
    const server = await Composition.start();
    await server.job('a');
    const second = await server.online('a-second', { orderNumber: 2 });
    const first = await server.online('b-first', { orderNumber: 1 });
    const id = await server.trigger('a');
    assert.equal(await carryOut(first), `${id}-1`);
    assert.deepEqual(offersTo(second), []);
    assert.equal((await server.becomes(id, 'succeeded')).agentId, first.disk.agentId);
  });

  it('goes to the second agent when the stagger of a silent first is over', async () => {
    const server = await Composition.start();
    await server.job('a', { target: { stagger: '20s' } });
    const first = await server.online('first', { orderNumber: 1 });
    const second = await server.online('second', { orderNumber: 2 });
    const id = await server.trigger('a');
    const silent = await first.next('offer');
    server.clock.advance(19_999);
    first.status();
    second.status();
    await server.quiet(first, second);
    assert.deepEqual(offersTo(second), []);
    server.clock.advance(1);
    assert.equal((await first.next('withdraw')).epoch, silent.epoch);
    assert.equal(await carryOut(second), `${id}-1`);
    // The first wakes up too late: its yes is refused, and nothing runs twice.
    first.accept(silent);
    assert.equal((await first.next('withdraw')).epoch, silent.epoch);
    first.refuse(silent);
    await first.next('ack');
    assert.equal((await server.becomes(id, 'succeeded')).agentId, second.disk.agentId);
    assert.equal(first.received.filter((message) => message.type === 'permit').length, 0);
  });

  it('waits a moment for a first that has lost its server, goes to the second then, and back when it returns', async () => {
    const server = await Composition.start();
    await server.job('a');
    const first = await server.online('first', { orderNumber: 1 });
    const second = await server.online('second', { orderNumber: 2 });
    const id = await server.trigger('a');
    await first.next('offer');
    await first.cut();
    await waits(server, id, 'agentReturning');
    server.clock.advance(999);
    await server.quiet(second);
    assert.deepEqual(offersTo(second), []);
    server.clock.advance(1);
    assert.equal(await carryOut(second), `${id}-1`);
    await server.becomes(id, 'succeeded');
    await server.connect(first);
    const next = await server.trigger('a');
    assert.equal(await carryOut(first), `${next}-1`);
  });

  it('goes to the next at once when an agent declines, and asks again when all have', async () => {
    const server = await Composition.start();
    await server.job('a');
    const first = await server.online('first', { orderNumber: 1 });
    const second = await server.online('second', { orderNumber: 2 });
    const id = await server.trigger('a');
    first.decline(await first.next('offer'));
    second.decline(await second.next('offer'));
    await waits(server, id, 'agentsDeclined');
    server.clock.advance(1_000);
    assert.equal((await first.next('offer')).epoch, 5);
    assert.equal((await server.run(id)).passedJson, '[]');
  });

  it('asks an agent that said it has no disk again only when its status has changed', async () => {
    const server = await Composition.start();
    await server.job('a');
    const agent = await server.online('one');
    const id = await server.trigger('a');
    agent.decline(await agent.next('offer'), 'diskFull');
    await waits(server, id, 'agentsDeclined');
    for (let second = 0; second < 5; second++) {
      server.clock.advance(1_000);
      agent.status({ blocked: 'diskFull' });
      await server.quiet(agent);
    }
    assert.equal(offersTo(agent).length, 1);
    agent.status();
    assert.equal(await carryOut(agent), `${id}-1`);
  });

  it('asks only the first so many, however long they are away', async () => {
    const server = await Composition.start();
    await server.job('a', { target: { max: 1 } });
    await server.agent('first', { orderNumber: 1 });
    const second = await server.online('second', { orderNumber: 2 });
    const id = await server.trigger('a');
    await waits(server, id, 'noAgentOnline');
    await second.flushed();
    assert.deepEqual(offersTo(second), []);
  });

  it('follows an edit of order, labels and enabled at once', async () => {
    const server = await Composition.start();
    await server.job('a');
    await server.job('b', { target: { labels: { role: 'db' } } });
    const first = await server.online('first', { orderNumber: 1 });
    const second = await server.online('second', { orderNumber: 2 });
    const set = async (name: string, more: object) => {
      await server.store.setAgent({ tenantId: TENANT, name, ...more });
      server.parts.hints.give('agents');
    };
    await set('first', { orderNumber: 3 });
    await server.trigger('a');
    await carryOut(second);
    const waiting = await server.trigger('b');
    await waits(server, waiting, 'noAgentMatches');
    await set('first', { labelsJson: '{"role":"db"}' });
    assert.equal(await carryOut(first), `${waiting}-1`);
    await server.becomes(waiting, 'succeeded');
    await set('first', { enabled: false });
    await waits(server, await server.trigger('b'), 'noAgentOnline');
  });

  it('finds an agent that has joined since agents were read last', async () => {
    const server = await Composition.start();
    await server.job('a');
    const id = await server.trigger('a');
    await waits(server, id, 'noAgentMatches');
    const agent = await server.online('new');
    assert.equal(await carryOut(agent), `${id}-1`);
  });
});

describe('the room of an agent', () => {
  it('is not overbooked, and is used again as soon as it is free', async () => {
    const server = await Composition.start();
    const agents = [
      await server.online('one', { maxParallel: 3 }),
      await server.online('two', { maxParallel: 5 }),
    ];
    const ids: string[] = [];
    for (let n = 0; n < 40; n++) {
      await server.job(`job-${n}`);
      ids.push(await server.trigger(`job-${n}`));
    }
    await server.until(() => agents.every((agent) => offersTo(agent).length === agent.maxParallel));
    let carried = 0;
    const carryOn = async (agent: ScriptedAgent) => {
      let open = 0;
      while (carried < ids.length) {
        const message = await agent.next('offer', 'permit');
        if (message.type === 'offer') {
          open += 1;
          assert(open <= agent.maxParallel);
          agent.accept(message);
          continue;
        }
        open -= 1;
        carried += 1;
        agent.ended(permitOf(message));
      }
      for (const each of agents) each.quitWaiting();
    };
    await Promise.all(
      agents.map((agent) => carryOn(agent).catch((error) => assert.match(error.message, /waiting/))),
    );
    for (const id of ids) await server.becomes(id, 'succeeded');
    assert.equal(server.clock.now(), START, 'nobody had to wait for a timer');
  });

  it('is given back when offers could not be stored', async () => {
    const server = await Composition.start();
    await server.job('a');
    const agent = await server.online('one', { maxParallel: 1 });
    const { store } = server;
    const { decideRuns } = store;
    store.decideRuns = async () => {
      store.decideRuns = decideRuns;
      throw new Error('disk full');
    };
    const id = await server.trigger('a');
    await server.until(() => server.errors.length > 0);
    server.clock.advance(1_000);
    assert.equal(await carryOut(agent), `${id}-1`);
  });

  it('is given back by everything that ends an offer', async () => {
    const server = await Composition.start();
    await server.job('a', { target: { stagger: '1s' } });
    const agent = await server.online('one', { maxParallel: 1 });
    const free = () => server.until(() => server.parts.sessions.get(agent.disk.agentId)?.active.size === 0);
    // Too late.
    const late = await server.trigger('a');
    await agent.next('offer');
    server.clock.advance(1_000);
    await agent.next('withdraw');
    await waits(server, late, 'agentsDeclined');
    // Declined.
    server.clock.advance(1_000);
    agent.decline(await agent.next('offer'));
    await free();
    await waits(server, late, 'agentsDeclined');
    // Cancelled.
    server.clock.advance(1_000);
    await agent.next('offer');
    await server.parts.runs.cancel({ tenantId: TENANT, runId: late, by: 'me' });
    await agent.next('withdraw');
    await free();
    // Refused.
    const refused = await server.trigger('a', 'refused');
    const offer = await agent.next('offer');
    agent.accept(offer);
    await agent.next('permit');
    agent.refuse(offer);
    await agent.next('ack');
    await free();
    await waits(server, refused, 'agentsDeclined');
  });
});

describe('the dispatcher', () => {
  it('misses a run that waits when its start deadline passes', async () => {
    const server = await Composition.start();
    await server.job('a', { startDeadline: '1m' });
    const id = await server.trigger('a');
    await waits(server, id, 'noAgentMatches');
    server.clock.advance(60_000);
    await server.quiet();
    assert.equal((await server.run(id)).state, 'queued');
    server.clock.advance(1);
    assert.equal((await server.becomes(id, 'missed')).reason, 'startDeadline');
  });

  it('makes a new attempt of one that was refused, not faster than once a second', async () => {
    const server = await Composition.start();
    await server.job('a');
    const agent = await server.online('one');
    const id = await server.trigger('a');
    for (let attempt = 1; attempt <= 3; attempt++) {
      const offer = await agent.next('offer');
      assert.equal(offer.attemptId, `${id}-${attempt}`);
      agent.accept(offer);
      const permit = permitOf(await agent.next('permit'));
      assert.equal(permit.run.number, attempt);
      agent.refuse(offer);
      await agent.next('ack');
      await waits(server, id, 'agentsDeclined');
      server.clock.advance(1_000);
    }
  });

  it('tells an agent to cancel what it runs', async () => {
    const server = await Composition.start();
    await server.job('a');
    const agent = await server.online('one');
    const id = await server.trigger('a');
    const offer = await agent.next('offer');
    agent.accept(offer);
    agent.started(offer);
    await server.becomes(id, 'running');
    assert.equal(await server.parts.runs.cancel({ tenantId: TENANT, runId: id, by: 'me' }), 'requested');
    assert.equal((await agent.next('cancel')).attemptId, `${id}-1`);
    // It is told again when it may have been lost.
    await agent.cut();
    await server.connect(agent);
    assert.equal((await agent.next('cancel')).attemptId, `${id}-1`);
    agent.ended(offer, { outcome: 'cancelled' });
    assert.equal((await server.becomes(id, 'cancelled')).detail, 'by me');
  });

  it('brings what the schedule says to agents on time', async () => {
    const server = await Composition.start();
    await server.job('a', { schedule: '*/10 * * * * *' });
    const agent = await server.online('one');
    for (let second = 1; second <= 35; second++) {
      await server.quiet(agent);
      server.clock.advance(1_000);
      agent.status();
      if (second % 10 === 0) await carryOut(agent);
    }
    const { runs } = await runsOf(server);
    const ended = runs.filter((run) => run.state === 'succeeded');
    assert.deepEqual(
      ended.map((run) => [run.scheduledFor, run.startedAt]),
      [1, 2, 3].map((n) => [START + n * 10_000, START + n * 10_000]),
    );
  });

  it('begins no transaction and writes nothing while nothing is due: it only reads when something will be', async () => {
    const server = await Composition.start();
    await server.job('later', { schedule: 'every 1h' });
    const agent = await server.online('one');
    await server.job('now');
    const id = await server.trigger('now');
    await carryOut(agent);
    await server.becomes(id, 'succeeded');
    await server.quiet(agent);
    assert.ok(server.dispatched.includes('decideRuns'), 'what is asked for is noted');
    server.dispatched.length = 0;
    for (let second = 1; second <= 30; second++) {
      server.clock.advance(1_000);
      agent.status();
      await server.quiet(agent);
    }
    assert.ok(server.dispatched.length >= 30, `${server.dispatched.length} looks in 30 s`);
    assert.deepEqual([...new Set(server.dispatched)], ['readNextWakeAt']);
  });

  it('is not held up by a queued run that cannot be read', async () => {
    const server = await Composition.start();
    await server.job('broken');
    await server.job('sound');
    const poison = await server.trigger('broken');
    await waits(server, poison, 'noAgentMatches');
    await server.parts.driver.write(() =>
      change(`update "runs" set "definitionJson" = '{' where "id" = ?`, poison),
    );
    const agent = await server.online('one');
    await waits(server, poison, 'jobUnreadable');
    const id = await server.trigger('sound');
    assert.equal(await carryOut(agent), `${id}-1`);
    assert.ok(server.errors.some((line) => line.includes('cannot be read')));
  });

  it('is not held up by a job that cannot be read', async () => {
    const server = await Composition.start();
    await server.job('broken', { schedule: '* * * * * *' });
    await server.job('sound', { schedule: '*/10 * * * * *' });
    await server.parts.driver.write(() =>
      change(
        `update "jobs" set "revision" = 2, "nextAt" = "plannedThrough", "documentJson" = ? where "id" = 'broken'`,
        '{"name":"broken","schedule":{"cron":"* * * * *","timezone":"Gone/Away"},"command":"true"}',
      ),
    );
    server.parts.hints.give('plan');
    const agent = await server.online('one');
    await server.quiet(agent);
    server.clock.advance(10_000);
    agent.status();
    await server.until(() => server.errors.some((line) => line.includes('could not be planned')));
    await server.until(async () =>
      (await runsOf(server)).runs.some((run) => run.jobId === 'sound' && run.state === 'offered'),
    );
  });
});

async function runsOf(server: Composition) {
  const runs = await server.parts.driver.read(function* () {
    const { rows } = yield { text: 'select * from "runs" order by "scheduledFor"', values: [], reads: true };
    return rows;
  });
  return { runs };
}
