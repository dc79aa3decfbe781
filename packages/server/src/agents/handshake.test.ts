import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { LIMITS } from '@rota/contract';
import { Composition } from './composition.testing.ts';

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
