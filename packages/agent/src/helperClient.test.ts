import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock, systemRandom } from './clock.ts';
import { systemDisk } from './disk.ts';
import { silent } from './fakeServer.testing.ts';
import { type HelperOptions, meetHelper } from './helperClient.ts';
import { helperPaths } from './helperPaths.ts';
import { HELPER_PROTOCOL } from './helperProtocol.ts';
import { isAlive } from './processTree.ts';

let folder: string;
let old: ChildProcess;

beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/rota-helper-`);
  mkdirSync(helperPaths(folder, '').spool);
});

afterEach(() => {
  old.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** A helper that an upgrade of the agent has left: it greets as of `protocol`, and ends at a goodbye unless it has work. */
const OLD_HELPER = `
  const [, socket, protocol, isBusy] = process.argv;
  const hello = { type: 'hello', protocol: Number(protocol), helperId: 'old', pid: process.pid, attempts: [] };
  require('node:net').createServer((session) => {
    session.write(JSON.stringify(hello) + '\\n');
    session.on('error', () => {});
    session.on('data', (data) => {
      if (isBusy === 'false' && data.includes('"bye"')) process.exit(0);
    });
  }).listen(socket, () => console.log('listening'));
`;

async function startOldHelper(isBusy: boolean): Promise<number> {
  const { socket, process: processFile, current } = helperPaths(folder, 'old');
  const args = ['-e', OLD_HELPER, socket, String(HELPER_PROTOCOL - 1), String(isBusy)];
  old = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  assert.ok(old.stdout);
  await once(old.stdout, 'data');
  writeFileSync(processFile, JSON.stringify({ pid: old.pid, startTime: null }));
  writeFileSync(current, JSON.stringify({ helperId: 'old' }));
  return old.pid as number;
}

/** `readingMs`: how much time passes from one reading of the clock to the next. */
function options(readingMs: number): HelperOptions {
  let nowMs = 0;
  return {
    folder,
    command: [process.execPath, fileURLToPath(new URL('./helper/main.ts', import.meta.url))],
    env: {},
    clock: { ...systemClock, bootMs: () => (nowMs += readingMs) },
    random: systemRandom,
    disk: systemDisk,
    log: silent,
  };
}

test('a helper of an earlier version that has work is neither led nor replaced, and the error says what to do', async () => {
  const pid = await startOldHelper(true);
  await assert.rejects(meetHelper(options(600)), {
    message: `the helper process (pid ${pid}) runs but is of another version (it speaks protocol ${HELPER_PROTOCOL - 1}, this agent ${HELPER_PROTOCOL}): let its jobs end, then start the agent again`,
  });
  assert.ok(isAlive({ pid, startTime: null }));
  assert.equal(JSON.parse(readFileSync(helperPaths(folder, '').current, 'utf8')).helperId, 'old');
});

test('a helper of an earlier version that has nothing to do gives way to one of this version', async () => {
  const pid = await startOldHelper(false);
  const gone = once(old, 'exit');
  const helper = await meetHelper(options(0));
  await gone;
  const left = Promise.withResolvers<void>();
  assert.notEqual(helper.pid, pid);
  assert.notEqual(helper.id, 'old');
  helper.listen({ message() {}, lost: left.resolve });
  process.kill(helper.pid, 'SIGKILL');
  await left.promise;
});
