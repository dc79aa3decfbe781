import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { LIMITS } from '@rota/contract';
import { Composition } from './composition.testing.ts';
import { permitOf } from './scriptedAgent.testing.ts';

const strange = generateKeyPairSync('ed25519').privateKey;

describe('the handshake', () => {
  it('brings an agent online', async () => {
    const server = await Composition.start();
    const agent = await server.agent('one');
    const welcome = await agent.connect();
    assert(welcome.type === 'welcome');
    assert.deepEqual(welcome.keys, server.keys.published);
    await server.until(async () => (await server.agentRow(agent)).nonce === welcome.nonce);
    assert.equal((await server.agentRow(agent)).state, 'online');
  });

  for (const [what, faults, code] of [
    ['of an unknown agent', { agentId: 'nobody' }, 'unknownAgent'],
    ['in another version', { protocol: 2 }, 'protocol'],
    ['signed by another key', { signWith: strange }, 'badSignature'],
    ['with a nonce that was never given', { resume: { lastNonce: 'made up' } }, 'quarantined'],
  ] as const) {
    it(`${what} is rejected, and the connection ends`, async () => {
      const server = await Composition.start();
      const agent = await server.agent('one');
      const answer = await agent.connect(faults);
      assert.equal(answer.type === 'rejected' && answer.code, code);
      await agent.closed();
      assert.deepEqual(server.parts.sessions.all(), []);
      assert.deepEqual(server.errors, []);
    });
  }

  it('proves the server before the agent shows anything', async () => {
    const server = await Composition.start();
    const agent = await server.agent('one');
    const challenge = await agent.connect({ stopAfter: 'hello' });
    assert(challenge.type === 'challenge' && challenge.keyId === 'key' && challenge.signature !== '');
  });

  for (const [what, say] of [
    [
      'a report before hello',
      '{"type":"accept","attemptId":"a","epoch":1,"bootId":"b","bootMs":0,"journalSeq":0}',
    ],
    ['ready before hello', '{"type":"ready","nonce":"n"}'],
    ['text that is no JSON', 'hello'],
    ['an unknown message', '{"type":"toString"}'],
    ['a message without its fields', '{"type":"hello"}'],
    ['a binary frame', Buffer.from('{}')],
    ['garbage', randomBytes(100).toString('latin1')],
    ['a frame that is too large', 'x'.repeat(LIMITS.messageBytes + 1)],
    ['very many messages', null],
  ] as const) {
    it(`ends at ${what}`, async () => {
      const server = await Composition.start();
      const agent = await server.agent('one');
      await agent.open();
      if (say === null) {
        const hello = {
          type: 'hello',
          protocol: 1,
          agentId: agent.disk.agentId,
          clientNonce: 'n',
          agentVersion: '0',
        };
        for (let n = 0; n < 100; n++) agent.sendRaw(JSON.stringify(hello));
      } else agent.sendRaw(say);
      await agent.closed();
      assert.deepEqual(server.errors, []);
      await server.connect(agent);
    });
  }

  it('ends at a second hello', async () => {
    const server = await Composition.start();
    const agent = await server.agent('one');
    await agent.connect({ stopAfter: 'hello' });
    agent.send({
      type: 'hello',
      protocol: 1,
      agentId: agent.disk.agentId,
      clientNonce: 'n',
      agentVersion: '0',
    });
    await agent.closed();
  });

  it('ends at a nonce that was not the one given, and at silence', async () => {
    const server = await Composition.start();
    const agent = await server.agent('one');
    await agent.connect({ readyNonce: 'other', loseNonce: true });
    await agent.closed();
    await agent.open();
    server.clock.advance(10_000);
    await agent.closed();
    await server.connect(agent);
  });

  it('reconciles once, however often ready comes', async () => {
    const server = await Composition.start();
    await server.job('a');
    const agent = await server.agent('one');
    const welcome = await agent.connect();
    assert(welcome.type === 'welcome');
    const id = await server.trigger('a');
    const offer = await agent.next('offer');
    agent.send({ type: 'ready', nonce: welcome.nonce });
    agent.accept(offer);
    await agent.next('permit');
    agent.send({ type: 'ready', nonce: welcome.nonce });
    await server.quiet(agent);
    assert.equal((await server.run(id)).state, 'starting');
  });

  it('quarantines a copied state folder, and ends the session of the other', async () => {
    const server = await Composition.start();
    const agent = await server.online('one');
    const copy = agent.copy();
    await server.connect(agent);
    const answer = await copy.connect();
    assert.equal(answer.type === 'rejected' && answer.code, 'quarantined');
    await agent.closed();
    assert.equal((await server.agentRow(agent)).state, 'quarantined');
    const again = await agent.connect();
    assert.equal(again.type === 'rejected' && again.code, 'quarantined');
    assert.deepEqual(server.parts.sessions.all(), []);
  });

  it('lets the newer of two connections with one identity speak', async () => {
    const server = await Composition.start();
    await server.job('a');
    const agent = await server.online('one');
    const copy = agent.copy();
    await server.connect(copy);
    await agent.closed();
    const id = await server.trigger('a');
    assert.equal((await copy.next('offer')).attemptId, `${id}-1`);
    assert.equal((await server.agentRow(agent)).state, 'online');
  });

  it('goes on after a nonce that did not reach the disk, and after one that did unsaid', async () => {
    const server = await Composition.start();
    const agent = await server.online('one');
    const { lastNonce } = agent.disk;
    await agent.connect({ stopAfter: 'resume' });
    await agent.cut();
    assert.equal(agent.disk.lastNonce, lastNonce);
    const welcome = await agent.connect({ stopAfter: 'resume' });
    assert(welcome.type === 'welcome');
    await agent.cut();
    agent.disk.lastNonce = welcome.nonce;
    await server.connect(agent);
  });
});

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
