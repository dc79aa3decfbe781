import assert from 'node:assert/strict';
import { appendFileSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { appears, folder, gated, isRunning, server, start } from './agentFixture.testing.ts';
import { command } from './fakeServer.testing.ts';
import { isAlive } from './processTree.ts';

test('an attempt is accepted, started once, and its output and end are reported', async () => {
  await start();
  const id = await server.run(command('echo out; echo err >&2; exit 3'));
  const end = await server.ended(id);
  assert.equal(end.outcome, 'failed');
  assert.equal(end.reason, 'exitStatus');
  assert.equal(end.exitCode, 3);
  assert.equal(end.outputBytes, 8);
  assert.equal(end.outputDroppedBytes, 0);
  assert.deepEqual(server.of(id).output.split('\n').sort(), ['', 'err', 'out']);
  const started = await server.heard('started', (message) => message.attemptId === id);
  assert.equal(started.seq, 1);
  assert.ok((started.pid ?? 0) > 1);
});

test('a permit that comes twice starts once', async () => {
  await start();
  const mark = `${folder}/mark`;
  const id = server.offer();
  const accept = await server.heard('accept');
  const permit = server.permit(accept, command(`echo x >> ${mark}`));
  server.send(permit);
  server.send(permit);
  await server.ended(id);
  server.send(permit);
  server.cut();
  await server.heard('status', () => true, server.messages.length);
  server.send(permit);
  const next = await server.run(command('true'));
  await server.ended(next);
  assert.equal(readFileSync(mark, 'utf8'), 'x\n');
});

test('an agent with a full house declines, and takes again when an attempt has ended', async () => {
  await start({ maxParallel: 2 });
  const gate = `${folder}/gate`;
  const [first, second] = [await server.run(command(gated(gate))), await server.run(command(gated(gate)))];
  await isRunning(first);
  await isRunning(second);
  server.offer('third');
  assert.equal((await server.heard('decline')).code, 'full');
  const blocked = await server.heard('status', (message) => message.blocked === 'full');
  assert.equal(blocked.active, 2);
  appendFileSync(gate, '');
  await server.ended(first);
  await server.ended(second);
  await server.heard('status', (message) => message.blocked === null, server.messages.indexOf(blocked));
  server.offer('third', 2);
  await server.heard('accept', (message) => message.attemptId === 'third');
});

test('a burst of offers does not get past the limit', async () => {
  await start({ maxParallel: 3 });
  for (let number = 0; number < 10; number++) server.offer();
  await server.until(
    () => server.messages.filter(({ type }) => type === 'accept' || type === 'decline').length === 10,
  );
  assert.equal(server.messages.filter(({ type }) => type === 'accept').length, 3);
});

test('an offer of an epoch that is known is declined, one of a higher epoch is accepted', async () => {
  await start();
  const id = server.offer('a', 3);
  await server.heard('accept');
  server.offer(id, 3);
  assert.equal((await server.heard('decline')).code, 'alreadyKnown');
  server.offer(id, 4);
  await server.heard('accept', (message) => message.epoch === 4);
});

test('an offer of a kind that it cannot do is declined', async () => {
  await start();
  server.offer('a', 1, ['command', 'kubernetes']);
  assert.equal((await server.heard('decline')).code, 'unsupported');
});

test('a withdrawn attempt is refused, and its permit is worth nothing any more', async () => {
  await start();
  const id = server.offer();
  const accept = await server.heard('accept');
  server.send({ type: 'withdraw', attemptId: id, epoch: 1 });
  assert.equal((await server.heard('refused')).reason, 'withdrawn');
  server.send(server.permit(accept, command(`touch ${folder}/mark`)));
  await server.ended(await server.run(command('true')));
  assert.throws(() => readFileSync(`${folder}/mark`));
  server.offer(id, 2);
  await server.heard('accept', (message) => message.epoch === 2);
});

test('an attempt that is cancelled before its permit is refused for good', async () => {
  await start();
  const id = server.offer();
  await server.heard('accept');
  server.send({ type: 'cancel', attemptId: id, epoch: 1, graceMs: 0 });
  assert.equal((await server.heard('refused')).reason, 'cancelled');
});

test('a permit that is expired, forged, for another boot or another agent starts nothing', async () => {
  await start();
  const cases = [
    { change: { validUntilBootMs: 1 }, reason: 'permitExpired' },
    { change: { bootId: 'another' }, reason: 'permitInvalid' },
    { change: { agentId: 'another' }, reason: 'permitInvalid' },
    { change: { epoch: 2 }, reason: 'permitInvalid' },
  ];
  for (const { change, reason } of cases) {
    const id = await server.run(command(`touch ${folder}/mark`), change);
    assert.equal((await server.heard('refused', (message) => message.attemptId === id)).reason, reason);
  }
  const id = server.offer();
  const accept = await server.heard('accept', (message) => message.attemptId === id);
  const permit = server.permit(accept, command(`touch ${folder}/mark`));
  server.send({ ...permit, payload: permit.payload.replace('touch', 'xouch') });
  const refused = await server.heard('refused', (message) => message.attemptId === id);
  assert.equal(refused.reason, 'permitInvalid');
  assert.throws(() => readFileSync(`${folder}/mark`));
});

test('a cancel ends the whole tree, also what left its session', async () => {
  await start();
  const id = await server.run(
    command('setsid sleep 1000 & (sleep 1000 &) ; echo $!; echo begun; sleep 1000'),
  );
  await isRunning(id);
  const daemon = Number(server.of(id).output.split('\n')[0]);
  assert.ok(isAlive({ pid: daemon, startTime: null }));
  server.send({ type: 'cancel', attemptId: id, epoch: 1, graceMs: 5_000 });
  const end = await server.ended(id);
  assert.equal(end.outcome, 'cancelled');
  assert.equal(end.reason, 'cancelledByUser');
  assert.equal(end.signal, 'SIGTERM');
  assert.equal(isAlive({ pid: daemon, startTime: null }), false);
});

test('a timeout ends an attempt, by KILL when TERM is ignored', async () => {
  await start();
  const stubborn = "trap '' TERM; echo begun; while :; do sleep 0.02; done";
  const id = await server.run(command(stubborn), { timeoutMs: 300, killGraceMs: 100 });
  const end = await server.ended(id);
  assert.equal(end.outcome, 'timedOut');
  assert.equal(end.reason, 'timeout');
  assert.equal(end.signal, 'SIGKILL');
});

test('the middle of a very long output is left out, its head and tail are not, and the sums agree', async () => {
  await start();
  const bytes = 20_000_000;
  const text = command(`head -c ${bytes} /dev/zero | tr '\\0' x; echo end; touch ${folder}/written`);
  const output = { headBytes: 100_000, tailBytes: 100_000 };
  server.acks = false;
  const id = await server.run(text, { output });
  await appears(`${folder}/written`);
  await server.until(() => server.of(id).output.length >= 100_000);
  server.acks = true;
  server.send({ type: 'ack', attemptId: id, epoch: 1, seq: server.of(id).seq, done: false });
  const end = await server.ended(id);
  const { output: got, droppedBytes } = server.of(id);
  assert.equal(end.outputBytes, bytes + 4);
  assert.ok(got.endsWith('xend\n'));
  assert.ok(droppedBytes > 0);
  assert.equal(end.outputDroppedBytes, droppedBytes);
  assert.equal(got.length + droppedBytes, end.outputBytes);
});

test('many attempts at one time each run once and keep their own output', async () => {
  await start({ maxParallel: 200 });
  const ids = await Promise.all(
    Array.from({ length: 100 }, (_, index) => server.run(command(`echo ${index}`))),
  );
  await Promise.all(ids.map((id) => server.ended(id)));
  assert.deepEqual(
    ids.map((id) => server.of(id).output),
    ids.map((_, index) => `${index}\n`),
  );
});
