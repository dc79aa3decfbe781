import assert from 'node:assert/strict';
import { lookup } from 'node:dns';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { after, before, test } from 'node:test';
import type { CommandAction } from '@rota/contract';
import { systemClock } from '../clock.ts';
import { command, LOCAL_TIME, plainStep } from '../fakeServer.testing.ts';
import { createPipes, type Pipes } from '../helper/pipes.ts';
import { createUsageMeter } from '../helper/usage.ts';
import { NO_HTTP_SETTINGS } from '../helperProtocol.ts';
import { endTree, isAlive } from '../processTree.ts';
import { executeCommand } from './command.ts';
import type { Ending, Execution, StepTask } from './execution.ts';
import { createCookies } from './httpCookies.ts';

let folder: string;
let pipes: Pipes;
const usage = createUsageMeter(systemClock);
const isRoot = userInfo().uid === 0;

before(() => {
  folder = mkdtempSync(`${tmpdir()}/rota-command-`);
  pipes = createPipes(`${folder}/pipes`);
});
after(() => rmSync(folder, { recursive: true, force: true }));

let count = 0;
const taskOf = (step: CommandAction): StepTask => ({
  attemptId: `attempt-${process.pid}-${++count}`,
  epoch: 1,
  agent: { name: 'one', labels: {} },
  run: {
    id: 'run1',
    tenant: 'acme',
    job: 'backup',
    number: 2,
    scheduledFor: 0,
    kind: 'scheduled',
    local: LOCAL_TIME,
    params: {},
  },
  steps: [plainStep(step)],
  step: 'main',
  secrets: {},
  timeoutMs: null,
  killGraceMs: 0,
  validUntilBootMs: 0,
  output: { headBytes: 0, tailBytes: 0, chunkBytes: 0 },
});

interface Begun {
  execution: Execution;
  task: StepTask;
  stdout(): string;
  stderr(): string;
  /** Resolves once stdout has `text`. */
  said(text: string): Promise<void>;
}

async function begin(step: CommandAction): Promise<Begun> {
  const output = { stdout: '', stderr: '' };
  let look = (): void => {};
  const task = taskOf(step);
  const prepared = await executeCommand(task, step, {
    clock: systemClock,
    usage,
    pipes,
    folder,
    http: { settings: NO_HTTP_SETTINGS, lookup, cookies: createCookies() },
    output(stream, data) {
      output[stream] += data.toString('latin1');
      look();
    },
  });
  return {
    task,
    execution: prepared.begin(),
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    said: (text) =>
      new Promise((resolve) => {
        look = () => output.stdout.includes(text) && resolve();
        look();
      }),
  };
}

async function run(
  text: string | string[],
  changes: Partial<CommandAction> = {},
): Promise<Ending & { stdout: string; stderr: string }> {
  const begun = await begin(command(text, changes));
  const ending = await begun.execution.ended;
  return { ...ending, stdout: begun.stdout(), stderr: begun.stderr() };
}

test('exit statuses and signals are told apart', async () => {
  const ok = await run('true');
  assert.deepEqual([ok.outcome, ok.reason, ok.exitCode, ok.signal], ['succeeded', null, 0, null]);
  const status = await run('exit 9');
  assert.deepEqual([status.outcome, status.reason, status.exitCode], ['failed', 'exitStatus', 9]);
  const signal = await run('kill -SEGV $$');
  assert.deepEqual([signal.outcome, signal.reason, signal.signal], ['failed', 'killedBySignal', 'SIGSEGV']);
});

test('a string runs in sh or, strictly, in bash; a list runs as it is', async () => {
  assert.equal((await run('false | true; echo $0')).stdout, 'sh\n');
  const bash = await run('false | true; echo unreachable', { shell: 'bash' });
  assert.deepEqual([bash.exitCode, bash.stdout], [1, '']);
  assert.equal((await run(['printf', '%s|', '$HOME', 'a b', '*'])).stdout, '$HOME|a b|*|');
});

test('a program, folder or user that is not there is a start that failed, and says what', async () => {
  const program = await run(['no-such-program-here']);
  assert.deepEqual([program.outcome, program.reason], ['failed', 'spawnFailed']);
  assert.match(program.error ?? '', /no-such-program-here was not found/);
  await assert.rejects(run('true', { cwd: '/no/such/folder' }), /\/no\/such\/folder \(cwd\) does not exist/);
  await assert.rejects(run('true', { cwd: '/etc/passwd' }), /not a folder|cannot be entered/);
  await assert.rejects(run('true', { user: 'nobody-knows-me' }), /no user nobody-knows-me/);
  writeFileSync(`${folder}/plain`, 'text', { mode: 0o600 });
  assert.match((await run([`${folder}/plain`])).error ?? '', /may not be executed/);
});

test('the environment is a small base, the job and the run, and nothing of the agent', async () => {
  process.env.ROTA_TEST_SECRET = 'do not leak';
  const { stdout } = await run('env', { env: { MODE: 'full', LANG: 'de_DE.UTF-8', ROTA_RUN: 'forged' } });
  const env = Object.fromEntries(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split(/=(.*)/s).slice(0, 2)),
  );
  const own = userInfo();
  const { ROTA_ATTEMPT, PWD, _, SHLVL, ...rest } = env;
  assert.match(ROTA_ATTEMPT as string, /^attempt-/);
  assert.deepEqual(rest, {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: own.homedir,
    USER: own.username,
    LOGNAME: own.username,
    SHELL: '/bin/sh',
    LANG: 'de_DE.UTF-8',
    MODE: 'full',
    ROTA_JOB: 'backup',
    ROTA_RUN: 'run1',
    ROTA_ATTEMPT_NUMBER: '2',
    ROTA_STEP: 'main',
    ROTA_SCHEDULED_FOR: '1970-01-01T00:00:00.000Z',
    ROTA_TENANT: 'acme',
    ROTA_AGENT: 'one',
  });
});

test('folder, umask and input are the given ones', async () => {
  assert.equal((await run('pwd', { cwd: '/usr' })).stdout, '/usr\n');
  assert.equal((await run('pwd')).stdout, '/\n');
  assert.equal((await run('umask', { umask: '027' })).stdout, '0027\n');
  assert.equal(
    (await run(['sh', '-c', 'umask; echo "$1"', 'x', 'a b'], { umask: '077' })).stdout,
    '0077\na b\n',
  );
  assert.equal((await run('cat', { stdin: 'line\n' })).stdout, 'line\n');
  assert.equal((await run('cat /dev/stdin', { stdin: 'again' })).stdout, 'again');
  assert.equal((await run('cat')).stdout, '');
});

test('both outputs can be opened again by name, and carry any byte', async () => {
  const { stdout, stderr } = await run("echo a > /dev/stdout; echo b > /dev/stderr; printf '\\377\\000\\n'");
  assert.equal(stdout, 'a\n\xff\0\n');
  assert.equal(stderr, 'b\n');
});

test('as another user it has that one’s name, home and groups', {
  skip: !isRoot && 'needs root',
}, async () => {
  const { stdout, stderr, exitCode } = await run(
    'id -un; id -gn; echo $HOME $USER; umask; cat /dev/stdin > /dev/stderr',
    {
      user: 'daemon',
      stdin: 'x\n',
      umask: '027',
    },
  );
  assert.equal(stdout, 'daemon\ndaemon\n/usr/sbin daemon\n0027\n');
  assert.deepEqual([stderr, exitCode], ['x\n', 0]);
});

test('a command that leaves a daemon behind ends without waiting for it, and the daemon stays', async () => {
  const { stdout, outcome } = await run('sleep 1000 & echo $!');
  const pid = Number(stdout);
  assert.equal(outcome, 'succeeded');
  assert.ok(isAlive({ pid, startTime: null }));
  process.kill(pid, 'SIGKILL');
});

test('CPU time and peak memory are measured', {
  skip: process.platform !== 'linux' && 'needs /proc',
}, async () => {
  const busy =
    "x=$(head -c 60000000 /dev/zero | tr '\\0' y); i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
  const ending = await run(busy);
  assert.ok((ending.cpuMs as number) > 50, `${ending.cpuMs} ms`);
  assert.ok((ending.maxRssBytes as number) > 40_000_000, `${ending.maxRssBytes} bytes`);
  assert.ok(((await run('true')).cpuMs as number) < 1_000);
});

test('ending it early reaches every member: children, other sessions, orphans; bystanders live', async () => {
  const bystander = await begin(command('echo ready; exec sleep 1000'));
  await bystander.said('ready');
  const tree =
    'setsid sh -c "trap : TERM; while :; do sleep 0.02; done" & (setsid sleep 1000 &); sh -c "sleep 1000" & echo ready; wait';
  const begun = await begin(command(tree));
  await begun.said('ready');
  begun.execution.end(100, 'attempt');
  await begun.execution.ended;
  const left = await endTree(
    { pid: 2 ** 22 + 1, startTime: 0 },
    { attemptId: begun.task.attemptId, step: null },
    0,
    systemClock,
  );
  assert.deepEqual(left, []);
  const other = bystander.execution.root;
  assert.ok(other && isAlive(other));
  bystander.execution.end(1_000, 'attempt');
  assert.equal((await bystander.execution.ended).signal, 'SIGTERM');
});
