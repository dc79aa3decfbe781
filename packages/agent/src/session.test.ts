import assert from 'node:assert/strict';
import { once } from 'node:events';
import { appendFileSync, watch } from 'node:fs';
import { test } from 'node:test';
import {
  agents,
  folder,
  gated,
  helperPid,
  isRunning,
  server,
  start,
  startSession,
} from './agentFixture.testing.ts';
import { command, FakeServer, silent } from './fakeServer.testing.ts';
import { startAgent } from './main.ts';
import { isAlive } from './processTree.ts';

test('reports that were not acknowledged come again after a cut, and nothing is counted twice', async () => {
  await start();
  server.acks = false;
  const id = await server.run(command('echo begun; echo more; exit 5'));
  await server.ended(id);
  server.cut();
  server.acks = true;
  const again = server.messages.length;
  await server.heard('ended', (message) => message.attemptId === id, again);
  await server.until(() => server.of(id).ends === 2);
  assert.equal(server.of(id).output, 'begun\nmore\n');
  server.cut();
  const resume = await server.heard('resume', () => true, again + 5);
  assert.deepEqual(
    resume.attempts.filter((attempt) => attempt.attemptId === id && attempt.state !== 'ended'),
    [],
  );
});

test('an attempt that is accepted, started or ended is named in the next resume', async () => {
  await start();
  server.acks = false;
  const accepted = server.offer('accepted');
  await server.heard('accept');
  const gate = `${folder}/gate`;
  const running = await server.run(command(gated(gate)));
  await isRunning(running);
  const ended = await server.run(command('true'));
  await server.ended(ended);
  const seen = server.messages.length;
  server.cut();
  const resume = await server.heard('resume', () => true, seen);
  const states = Object.fromEntries(resume.attempts.map(({ attemptId, state }) => [attemptId, state]));
  assert.deepEqual(states, { [accepted]: 'accepted', [running]: 'started', [ended]: 'ended' });
  appendFileSync(gate, '');
  server.acks = true;
});

test('a server that has lost commits hears before ready what was done, also what it had acknowledged', async () => {
  await start();
  const forgotten = server.messages.length;
  const ended = await server.run(command('exit 7'));
  await server.ended(ended);
  const gate = `${folder}/gate`;
  const running = await server.run(command(gated(gate)));
  await isRunning(running);
  server.recovering = true;
  server.cut();
  const history = await server.heard('history');
  await server.heard('ready', () => true, forgotten);
  assert.deepEqual(
    server.messages.map(({ type }) => type).filter((type) => type === 'history' || type === 'ready'),
    ['ready', 'history', 'ready'],
  );
  assert.equal(history.last, true);
  const told = new Map(history.attempts.map((attempt) => [attempt.attemptId, attempt]));
  assert.equal(told.get(ended)?.state, 'ended');
  assert.equal(told.get(ended)?.end?.exitCode, 7);
  assert.equal(told.get(ended)?.key?.occurrenceKey, 's:0');
  assert.equal(told.get(running)?.state, 'started');
  assert.equal(told.get(running)?.end, null);
  appendFileSync(gate, '');
  await server.ended(running);
});

test('the nonce of the last session is shown in the next one, also by the next process', async () => {
  const session = await startSession();
  assert.equal((await server.heard('resume')).lastNonce, null);
  session.kill('SIGKILL');
  await once(session, 'exit');
  const seen = server.messages.length;
  await startSession();
  const resume = await server.heard('resume', () => true, seen);
  assert.equal(resume.lastNonce, server.nonces[0]);
  assert.ok(resume.journalSeq >= 1);
});

test('an agent that is asked to leave is at the next server at once', async () => {
  const other = await FakeServer.start();
  other.joins(server);
  const delays: number[] = [];
  const warn = ({ delayMs }: { delayMs?: number }) => delayMs !== undefined && delays.push(delayMs);
  try {
    const online = Promise.withResolvers<string>();
    const agent = await startAgent({
      stateFolder: folder,
      urls: [server.url, other.url],
      log: { ...silent, warn },
      onState: (state) => state.state === 'online' && online.resolve(state.url),
    });
    agents.push(agent);
    const [left, next] = (await online.promise) === server.url ? [server, other] : [other, server];
    await left.heard('status');
    left.send({ type: 'leaving' });
    await next.heard('status');
    assert.ok(delays.length === 1 && (delays[0] ?? 0) <= 200, `${delays} ms`);
    assert.equal((await next.heard('resume')).lastNonce, left.nonces[0]);
    assert.ok(!left.messages.some(({ type }) => type === 'goodbye'));
  } finally {
    await Promise.all(agents.splice(0).map((agent) => agent.stop()));
    await other.stop();
  }
});

test('nothing is said to a server that does not prove itself', async () => {
  server.isImpostor = true;
  const states: string[] = [];
  const lost = Promise.withResolvers<string>();
  const agent = await startAgent({
    stateFolder: folder,
    log: silent,
    onState(state) {
      states.push(state.state);
      if (state.state === 'connecting' && state.detail !== null) lost.resolve(state.detail);
    },
  });
  agents.push(agent);
  assert.match(await lost.promise, /did not prove/);
  assert.deepEqual([...new Set(server.messages.map(({ type }) => type))], ['hello']);
});

test('an agent that is quarantined stays, and says why', async () => {
  server.rejection = { type: 'rejected', code: 'quarantined', message: 'a copy' };
  const rejected = Promise.withResolvers<string>();
  const agent = await startAgent({
    stateFolder: folder,
    log: silent,
    onState: (state) => state.state === 'rejected' && rejected.resolve(state.message),
  });
  agents.push(agent);
  assert.equal(await rejected.promise, 'a copy');
  assert.equal(agent.state.state, 'rejected');
});

test('an agent that was removed ends by itself, and says why', async () => {
  server.rejection = { type: 'rejected', code: 'removed', message: 'not here any more' };
  const agent = await startAgent({ stateFolder: folder, log: silent });
  agents.push(agent);
  assert.match((await agent.closed).reason, /not here any more/);
});

test('a second agent on the same folder is told the pid of the first', async () => {
  await start();
  await assert.rejects(startAgent({ stateFolder: folder, log: silent }), new RegExp(`pid ${process.pid}\\b`));
});

test('a stopping agent says goodbye, and its helper ends when nothing runs', async () => {
  const agent = await start();
  const pid = helperPid() as number;
  const gone = new Promise<void>((resolve) => {
    const watcher = watch(folder, () => {
      if (isAlive({ pid, startTime: null }) && helperPid() !== null) return;
      watcher.close();
      resolve();
    });
  });
  await agent.stop();
  await server.heard('goodbye');
  assert.equal((await server.heard('status', (message) => message.draining)).blocked, 'draining');
  await gone;
});
