import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROTOCOL_VERSION } from '@rota/contract';
import { Admission } from './admission.ts';
import { Composition } from './composition.testing.ts';

test('no more than allowed are in at one time, and who waits comes in the order of coming', () => {
  const admission = new Admission(2);
  const begun: string[] = [];
  const [one, two] = ['one', 'two', 'three', 'four'].map((name) => admission.enter(() => begun.push(name)));
  assert.deepEqual(begun, ['one', 'two']);
  two?.();
  assert.deepEqual(begun, ['one', 'two', 'three']);
  one?.();
  assert.deepEqual(begun, ['one', 'two', 'three', 'four']);
});

test('who leaves while waiting is passed over, and who leaves twice frees one place', () => {
  const admission = new Admission(1);
  const begun: string[] = [];
  const [one, two] = ['one', 'two', 'three', 'four'].map((name) => admission.enter(() => begun.push(name)));
  two?.();
  one?.();
  one?.();
  assert.deepEqual(begun, ['one', 'three']);
});

test('who leaves as soon as it is in makes room for the next', () => {
  const admission = new Admission(1);
  const begun: string[] = [];
  const first = admission.enter(() => begun.push('first'));
  const second = admission.enter(() => {
    begun.push('second');
    queueMicrotask(second);
  });
  const third = admission.enter(() => begun.push('third'));
  first();
  second();
  assert.deepEqual(begun, ['first', 'second', 'third']);
  third();
});

test('an agent that comes while very many do not finish their handshake waits, and its own time begins with its turn', async () => {
  const server = await Composition.start();
  const slow = await server.agent('slow');
  const copies = Array.from({ length: 200 }, () => slow.copy());
  await Promise.all(copies.map((copy) => copy.connect({ stopAfter: 'hello' })));
  const late = await server.agent('late');
  server.clock.advance(9_000);
  await late.open();
  const { agentId } = late.disk;
  late.send({ type: 'hello', protocol: PROTOCOL_VERSION, agentId, clientNonce: 'nonce', agentVersion: '0' });
  await late.flushed();
  await server.agentRow(late);
  await late.flushed();
  assert.deepEqual(late.received, []);
  server.clock.advance(1_001);
  await Promise.all(copies.map((copy) => copy.closed()));
  await late.next('challenge');
  // More than the time of a handshake since it came, but not since its turn.
  server.clock.advance(9_500);
  await Promise.race([late.flushed(), late.closed().then(() => assert.fail('it was closed'))]);
});
