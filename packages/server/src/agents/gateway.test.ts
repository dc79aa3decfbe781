import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LIMITS } from '@rota/contract';
import { Composition } from './composition.testing.ts';
import { permitOf } from './scriptedAgent.testing.ts';

describe('a session', () => {
  it('is cut when its agent is silent for three heartbeats, and not before', async () => {
    const server = await Composition.start();
    const agent = await server.online('one');
    server.clock.advance(15_000);
    agent.status();
    await agent.flushed();
    server.clock.advance(15_000);
    await agent.flushed();
    assert.equal((await server.agentRow(agent)).state, 'online');
    server.clock.advance(5_001);
    await agent.closed();
    await server.until(async () => (await server.agentRow(agent)).state === 'offline');
  });

  it('ends with goodbye, and gets no offer after it', async () => {
    const server = await Composition.start();
    await server.job('a');
    const agent = await server.online('one');
    agent.send({ type: 'goodbye' });
    await agent.closed();
    await server.until(async () => (await server.agentRow(agent)).state === 'offline');
    const id = await server.trigger('a');
    await server.until(async () => (await server.run(id)).reason === 'noAgentOnline');
  });

  it('is told why when a message of it cannot be read', async () => {
    const server = await Composition.start();
    const agent = await server.online('one');
    agent.sendRaw('{"type":"ended"}');
    const answer = await agent.next('rejected');
    assert.equal(answer.code, 'protocol');
    await agent.closed();
    await server.until(async () => (await server.agentRow(agent)).state === 'offline');
  });

  it('carries an attempt from offer to end, each answer after its commit', async () => {
    const server = await Composition.start();
    await server.job('a', { command: 'echo hi', timeout: '5m' });
    const agent = await server.online('one');
    agent.bootMs = 7_000;
    const id = await server.trigger('a');
    const offer = await agent.next('offer');
    assert.deepEqual(offer, { type: 'offer', attemptId: `${id}-1`, epoch: 1, kinds: ['command'] });
    assert.equal((await server.run(id)).state, 'offered');

    agent.accept(offer);
    const permit = permitOf(await agent.next('permit'));
    assert.equal((await server.run(id)).state, 'starting');
    assert.deepEqual(
      [permit.attemptId, permit.agentId, permit.bootId, permit.validUntilBootMs, permit.timeoutMs],
      [`${id}-1`, agent.disk.agentId, 'boot', 22_000, 300_000],
    );
    const action = permit.steps[0]?.action;
    assert.equal(action?.kind === 'command' && action.command, 'echo hi');

    agent.started(offer);
    assert.deepEqual(await agent.next('ack'), {
      type: 'ack',
      attemptId: `${id}-1`,
      epoch: 1,
      seq: 1,
      done: false,
    });
    assert.equal((await server.run(id)).state, 'running');

    agent.output(offer, 2, 'hi\n');
    assert.equal((await agent.next('ack')).seq, 2);
    agent.ended(offer, { outputBytes: 3 });
    assert.deepEqual(await agent.next('ack'), {
      type: 'ack',
      attemptId: `${id}-1`,
      epoch: 1,
      seq: 99,
      done: true,
    });
    assert.equal((await server.run(id)).state, 'succeeded');
    const { chunks } = await server.store.readOutput({ tenantId: 'acme', runId: id, after: null, limit: 10 });
    assert.equal(Buffer.from(chunks[0]?.data ?? []).toString(), 'hi\n');
    assert.deepEqual([...(server.parts.sessions.get(agent.disk.agentId)?.active ?? [])], []);
  });

  it('keeps the order of messages that come in one piece', async () => {
    const server = await Composition.start();
    await server.job('a');
    const agent = await server.online('one');
    const id = await server.trigger('a');
    const offer = await agent.next('offer');
    agent.accept(offer);
    agent.started(offer);
    for (let seq = 2; seq < 98; seq++) agent.output(offer, seq, `${seq} `);
    agent.ended(offer);
    await server.becomes(id, 'succeeded');
    await server.quiet(agent);
    const acks = agent.received.flatMap((message) => (message.type === 'ack' ? [message.seq] : []));
    assert.deepEqual(acks, Array.from({ length: 97 }, (_, n) => n + 1).concat(99));
    const { chunks } = await server.store.readOutput({
      tenantId: 'acme',
      runId: id,
      after: null,
      limit: 500,
    });
    assert.equal(chunks.length, 96);
  });

  it('keeps the order of messages that follow ready at once', async () => {
    const server = await Composition.start();
    await server.job('a');
    const agent = await server.online('one');
    const id = await server.trigger('a');
    const offer = await agent.next('offer');
    agent.accept(offer);
    await agent.next('permit');
    await agent.cut();
    await agent.connect();
    agent.started(offer);
    agent.output(offer, 2, 'x');
    agent.ended(offer, { outputBytes: 1 });
    await server.becomes(id, 'succeeded');
    const { chunks } = await server.store.readOutput({ tenantId: 'acme', runId: id, after: null, limit: 9 });
    assert.equal(chunks.length, 1);
  });

  it('takes every message twice as once', async () => {
    const server = await Composition.start();
    await server.job('a');
    const agent = await server.online('one');
    const id = await server.trigger('a');
    const offer = await agent.next('offer');
    for (const say of ['accept', 'started', 'ended'] as const) {
      agent[say](offer);
      agent[say](offer);
      await server.quiet(agent);
    }
    assert.equal((await server.becomes(id, 'succeeded')).attempt, 1);
    assert.equal(agent.received.filter((message) => message.type === 'withdraw').length, 0);
    assert.equal(agent.received.filter((message) => message.type === 'permit').length, 2);
  });

  it('answers reports of attempts that nobody knows, so that the agent can forget them', async () => {
    const server = await Composition.start();
    const agent = await server.online('one');
    const nobody = { attemptId: `${'0'.repeat(20)}-1`, epoch: 1 };
    agent.started(nobody);
    assert.equal((await agent.next('ack')).seq, 1);
    agent.output(nobody, 5, 'x');
    assert.equal((await agent.next('ack')).seq, 5);
    agent.ended(nobody);
    assert.equal((await agent.next('ack')).done, true);
    agent.refuse(nobody);
    assert.equal((await agent.next('ack')).done, true);
    agent.accept(nobody);
    assert.equal((await agent.next('withdraw')).epoch, 1);
    assert.deepEqual(server.errors, []);
  });

  it('is not cut for an output chunk of the largest size, and is for a larger one', async () => {
    const server = await Composition.start();
    const agent = await server.online('one');
    agent.output({ attemptId: 'x-1', epoch: 1 }, 2, 'x'.repeat(LIMITS.outputChunkBytes));
    await agent.next('ack');
    agent.output({ attemptId: 'x-1', epoch: 1 }, 3, 'x'.repeat(LIMITS.outputChunkBytes + 1));
    await agent.closed();
  });

  it('tells its agent when the server stops, and leaves its jobs alone', async () => {
    const server = await Composition.start();
    await server.job('a');
    const agent = await server.online('one');
    const id = await server.trigger('a');
    const offer = await agent.next('offer');
    agent.accept(offer);
    agent.started(offer);
    await server.becomes(id, 'running');
    await server.stop();
    await agent.next('leaving');
    await agent.closed();
    await server.boot();
    assert.equal((await server.run(id)).state, 'running');
    assert.notEqual((await server.run(id)).contactLostAt, null);
    await server.connect(agent);
    assert.equal((await server.run(id)).contactLostAt, null);
  });
});

describe('a cut', () => {
  const ARROWS = ['offer', 'accept', 'permit', 'started', 'output', 'ended'] as const;
  const HOW = {
    'of the connection': (server: Composition, agent: { cut(): Promise<void> }) =>
      agent.cut().then(() => server),
    'of the server': async (server: Composition, agent: { cut(): Promise<void> }) => {
      await server.restart();
      await agent.cut();
      return server;
    },
  };

  for (const [how, cut] of Object.entries(HOW)) {
    for (const arrow of ARROWS) {
      it(`${how} after ${arrow}, whether it came through or not, ends with one attempt and one outcome`, async () => {
        for (const settled of [true, false]) {
          const server = await Composition.start();
          await server.job('a');
          const agent = await server.online('one');
          const id = await server.trigger('a');
          let offer = await agent.next('offer');
          const reached = ARROWS.indexOf(arrow);
          if (reached >= 1) agent.accept(offer);
          if (reached >= 2) await agent.next('permit');
          if (reached >= 3) agent.started(offer);
          if (reached >= 4) agent.output(offer, 2, 'x');
          if (reached >= 5) agent.ended(offer);
          if (settled) await server.quiet(agent);
          await cut(server, agent);
          await server.connect(agent);

          // From here on the agent does what its journal says.
          const entry = agent.disk.journal.find((each) => each.attemptId === offer.attemptId);
          if (!entry) {
            offer = await agent.next('offer');
            agent.accept(offer);
          }
          if (!entry || entry.state === 'accepted') {
            const answer = await agent.next('permit', 'withdraw');
            if (answer.type === 'withdraw') {
              agent.refuse(answer);
              offer = await agent.next('offer');
              agent.accept(offer);
              await agent.next('permit');
            }
          }
          agent.started(offer);
          agent.output(offer, 2, 'x');
          agent.ended(offer);
          const run = await server.becomes(id, 'succeeded');
          assert.equal(run.attempt, 1);
          assert.equal(run.slot, 0);
          const { chunks } = await server.store.readOutput({
            tenantId: 'acme',
            runId: id,
            after: null,
            limit: 9,
          });
          assert(chunks.length <= 1);
          assert.deepEqual(server.errors, []);
          await server.until(() => server.parts.sessions.get(agent.disk.agentId)?.active.size === 0);
        }
      });
    }
  }

  it('while a permit is out makes the run unknown in 5 s until its agent returns', async () => {
    for (const started of [true, false]) {
      const server = await Composition.start();
      await server.job('a');
      const agent = await server.online('one');
      const id = await server.trigger('a');
      const offer = await agent.next('offer');
      agent.accept(offer);
      await agent.next('permit');
      await agent.cut();
      await server.until(async () => (await server.run(id)).contactLostAt !== null);
      server.clock.advance(5_001);
      await server.becomes(id, 'unknown');
      if (started) agent.journal(offer, 'started');
      await agent.connect();
      if (!started) await agent.next('permit');
      await server.becomes(id, started ? 'running' : 'starting');
    }
  });
});
