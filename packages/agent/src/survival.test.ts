import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { type Action, defineHttp } from '@rota/contract';
import {
  agents,
  folder,
  gated,
  helperPid,
  isRunning,
  moveFolder,
  server,
  start,
  startSession,
} from './agentFixture.testing.ts';
import { systemDisk } from './disk.ts';
import { readBootId } from './facts.ts';
import { command, key, silent } from './fakeServer.testing.ts';
import { openJournal } from './journal.ts';
import { startAgent } from './main.ts';
import { isAlive } from './processTree.ts';

test('a job outlives a killed session, and the next one reports its exit status and all its output', async () => {
  const session = await startSession();
  const gate = `${folder}/gate`;
  const id = await server.run(command(gated(gate)));
  await isRunning(id);
  session.kill('SIGKILL');
  await once(session, 'exit');
  appendFileSync(gate, '');
  await startSession();
  const end = await server.ended(id);
  assert.equal(end.outcome, 'failed');
  assert.equal(end.exitCode, 7);
  assert.equal(server.of(id).output, 'begun\ndone\n');
  assert.equal(server.messages.filter(({ type }) => type === 'accept').length, 1);
});

test('a job outlives a stop of session and helper by TERM', async () => {
  const session = await startSession();
  const gate = `${folder}/gate`;
  const id = await server.run(command(gated(gate)));
  await isRunning(id);
  process.kill(helperPid() as number, 'SIGTERM');
  session.kill('SIGTERM');
  await once(session, 'exit');
  await server.heard('goodbye');
  appendFileSync(gate, '');
  await startSession();
  const end = await server.ended(id);
  assert.equal(end.exitCode, 7);
  assert.equal(server.of(id).output, 'begun\ndone\n');
});

test('when the helper dies, what it ran is waited for and ends with what can be known', async () => {
  await start();
  const gate = `${folder}/gate`;
  const id = await server.run(command(gated(gate).replace('echo done', ':')));
  await isRunning(id);
  const started = await server.heard('started');
  process.kill(helperPid() as number, 'SIGKILL');
  assert.equal(await runUntilTaken('exit 4'), 4);
  assert.equal(server.of(id).end, null);
  assert.ok(isAlive({ pid: started.pid as number, startTime: null }));
  appendFileSync(gate, '');
  const end = await server.ended(id);
  assert.equal(end.outcome, 'failed');
  assert.equal(end.reason, 'exitStatusLost');
  assert.equal(server.of(id).output, 'begun\n');
});

for (const [title, signal] of [
  ['a job that outran its timeout while its helper stood still is ended when that goes on', 'SIGCONT'],
  ['a job that outran its timeout while its helper stood still is ended when that is replaced', 'SIGKILL'],
] as const) {
  test(title, async () => {
    await start();
    const late = `${folder}/late`;
    execFileSync('mkfifo', [late]);
    const heard = await open(late, 'r+');
    // Where this machine is so slow that the helper is not stopped in time, the job says so when it is ended.
    const job = command(`trap 'echo > ${late}' TERM; echo begun; sleep 3.5; echo > ${late}; sleep 1000`);
    const id = await server.run(job, { timeoutMs: 3_000 });
    await isRunning(id);
    const helper = helperPid() as number;
    process.kill(helper, 'SIGSTOP');
    await heard.read();
    await heard.close();
    process.kill(helper, signal);
    const end = await server.ended(id);
    assert.deepEqual([end.outcome, end.reason], ['timedOut', 'timeout']);
  });
}

/** While there is no helper, a permit is refused as not executed: the server may try again. */
async function runUntilTaken(text: string): Promise<number | null> {
  for (;;) {
    const id = await server.run(command(text));
    const { end, refused } = await server.until(() => (server.of(id).ends > 0 ? server.of(id) : null));
    if (end) return end.exitCode;
    assert.equal(refused, 'notExecuted');
  }
}

test('what a dead helper left behind can still be cancelled', async () => {
  await start();
  const id = await server.run(command('echo begun; sleep 1000'));
  await isRunning(id);
  process.kill(helperPid() as number, 'SIGKILL');
  server.send({ type: 'cancel', attemptId: id, epoch: 1, graceMs: 5_000 });
  const end = await server.ended(id);
  assert.equal(end.outcome, 'cancelled');
});

test('after a restart of the machine, what was accepted is refused and what had started has failed', async () => {
  const { journal } = await openJournal({ folder, disk: systemDisk, now: { bootId: 'former', bootMs: 0 } });
  await journal.append({ type: 'accepted', attemptId: 'waiting', epoch: 1, bootId: 'former' });
  const start = { attemptId: 'begun', epoch: 4, bootId: 'former', helperId: 'h', permitUntilBootMs: 1 };
  await journal.append({ type: 'started', ...start, key, bootMs: 0 });
  await journal.close();
  await startAgent({ stateFolder: folder, log: silent }).then((agent) => agents.push(agent));
  const refused = await server.heard('refused');
  assert.deepEqual([refused.attemptId, refused.reason], ['waiting', 'hostRestarted']);
  const ended = await server.heard('ended');
  assert.deepEqual([ended.attemptId, ended.epoch, ended.end.reason], ['begun', 4, 'hostRestarted']);
});

test('a start that never reached a helper is proven not executed', async () => {
  const bootId = readBootId();
  const { journal } = await openJournal({ folder, disk: systemDisk, now: { bootId, bootMs: 0 } });
  const start = { attemptId: 'a', epoch: 1, bootId, helperId: 'gone', permitUntilBootMs: 9e15 };
  await journal.append({ type: 'started', ...start, key, bootMs: 0 });
  await journal.close();
  await startAgent({ stateFolder: folder, log: silent }).then((agent) => agents.push(agent));
  assert.equal((await server.heard('refused')).reason, 'notExecuted');
});

test('a request is made, and one whose helper dies was interrupted', async () => {
  const asked: string[] = [];
  const arrived = Promise.withResolvers<void>();
  const target = createServer((request, response) => {
    asked.push(request.headers['idempotency-key'] as string);
    if (request.url === '/slow') arrived.resolve();
    else response.end('hello');
  });
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve));
  try {
    await start();
    const { port } = target.address() as AddressInfo;
    const step = (path: string): Action =>
      defineHttp({ url: `http://127.0.0.1:${port}${path}`, timeout: '60s', redirects: 0 });
    const id = await server.run(step('/'));
    const end = await server.ended(id);
    assert.deepEqual([end.outcome, end.http?.status, server.of(id).output], ['succeeded', 200, 'hello']);
    const slow = await server.run(step('/slow'));
    await arrived.promise;
    process.kill(helperPid() as number, 'SIGKILL');
    assert.equal((await server.ended(slow)).reason, 'interrupted');
    assert.deepEqual(asked, [id, slow]);
  } finally {
    target.closeAllConnections();
    target.close();
  }
});

const canMount = process.platform === 'linux' && process.getuid?.() === 0;
test('on a full disk a running job goes on and its end is reported, while offers are declined', {
  skip: !canMount && 'needs root to mount a small disk',
}, async () => {
  const disk = mkdtempSync(`${tmpdir()}/rota-disk-`);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', disk]);
  try {
    moveFolder(disk);
    await start({ minFreeBytes: 4 * 1024 * 1024 });
    const gate = mkdtempSync(`${tmpdir()}/rota-gate-`);
    const id = await server.run(
      command(
        `echo begun; while [ -d ${gate} ] && [ ! -e ${gate}/go ]; do sleep 0.02; done; head -c 300000 /dev/zero; exit 7`,
      ),
    );
    await isRunning(id);
    assert.throws(() => writeFileSync(`${disk}/filler`, Buffer.alloc(32 * 1024 * 1024)), { code: 'ENOSPC' });
    server.offer('declined');
    assert.equal((await server.heard('decline')).code, 'diskFull');
    appendFileSync(`${gate}/go`, '');
    const end = await server.ended(id);
    assert.equal(end.exitCode, 7);
    assert.equal(end.outputBytes, 300_006);
    assert.equal(server.of(id).output.length + end.outputDroppedBytes, 300_006);
    assert.ok(end.outputDroppedBytes > 0);
    rmSync(`${disk}/filler`);
    assert.equal((await server.ended(await server.run(command('exit 2')))).exitCode, 2);
    await Promise.all(agents.splice(0).map((agent) => agent.stop()));
    rmSync(gate, { recursive: true });
  } finally {
    execFileSync('umount', ['-l', disk]);
    rmSync(disk, { recursive: true, force: true });
  }
});
