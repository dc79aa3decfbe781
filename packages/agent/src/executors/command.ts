import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, statSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { CommandAction } from '@rota/contract';
import { type Account, accountOf } from '../helper/users.ts';
import type { Clock } from '../ports.ts';
import { endTree, type Root, readProcess } from '../processTree.ts';
import {
  type Ending,
  type Execution,
  type ExecutorPorts,
  NO_ENDING,
  type Prepare,
  type StepTask,
} from './execution.ts';
import { openStdin } from './stdin.ts';

const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** After the command has ended: how long its pipes may be quiet before they are taken as held by a daemon. */
const DRAIN_QUIET_MS = 200;

/** Runs a command as the leader of its own session. Its environment has nothing of the agent's. */
export const executeCommand: Prepare<CommandAction> = async (task, step, ports) => {
  const account = await accountOf(step.user);
  if (step.cwd !== null) checkFolder(step.cwd);
  const argv = commandLine(step, account);
  const env = commandEnvironment(task, step, account);
  await ports.pipes.reserve(2);
  return {
    begin: () => start(argv, env, task, step, ports),
    discard: () => ports.pipes.release(2),
  };
};

/** The argv that executes a step: what changes user and umask stands before the command itself. */
export function commandLine(step: CommandAction, account: Account): string[] {
  const command =
    typeof step.command !== 'string'
      ? step.command
      : step.shell === 'bash'
        ? ['bash', '-eo', 'pipefail', '-c', step.command]
        : ['sh', '-c', step.command];
  const masked =
    step.umask === null ? command : ['sh', '-c', `umask ${step.umask} && exec "$@"`, 'sh', ...command];
  if (account.isSelf) return masked;
  const identity = [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--init-groups'];
  return ['setpriv', ...identity, '--', ...masked];
}

/** A small base as cron gives, then the job's own variables, then what tells the run. */
export function commandEnvironment(
  task: StepTask,
  step: CommandAction,
  account: Account,
): Record<string, string> {
  return {
    PATH: SEARCH_PATH,
    HOME: account.home,
    USER: account.name,
    LOGNAME: account.name,
    SHELL: '/bin/sh',
    LANG: 'C.UTF-8',
    ...step.env,
    ROTA_JOB: task.run.job,
    ROTA_RUN: task.run.id,
    ROTA_ATTEMPT: task.attemptId,
    ROTA_ATTEMPT_NUMBER: String(task.run.number),
    ROTA_STEP: task.step,
    ROTA_SCHEDULED_FOR: new Date(task.run.scheduledFor).toISOString(),
    ROTA_TENANT: task.run.tenant,
    ROTA_AGENT: task.agent.name,
  };
}

function checkFolder(path: string): void {
  let isFolder: boolean;
  try {
    isFolder = statSync(path).isDirectory();
    accessSync(path, constants.X_OK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new Error(
      code === 'ENOENT'
        ? `the folder ${path} (cwd) does not exist`
        : `the folder ${path} (cwd) cannot be entered: ${code}`,
    );
  }
  if (!isFolder) throw new Error(`${path} (cwd) is not a folder`);
}

function start(
  argv: string[],
  env: Record<string, string>,
  task: StepTask,
  step: CommandAction,
  ports: ExecutorPorts,
): Execution {
  const given: number[] = [];
  const outputs: Socket[] = [];
  let child: ChildProcess;
  try {
    const stdin = step.stdin === '' ? null : openStdin(step.stdin, ports.folder, task.attemptId);
    if (stdin !== null) given.push(stdin);
    for (const stream of ['stdout', 'stderr'] as const) {
      const { reader, writer } = ports.pipes.open();
      given.push(writer);
      outputs.push(reader);
      reader.on('data', (data: Buffer) => ports.output(stream, data));
      reader.on('error', () => {});
    }
    child = spawn(argv[0] as string, argv.slice(1), {
      env,
      cwd: step.cwd ?? '/',
      detached: true,
      stdio: stdin === null ? ['ignore', ...given] : given,
    });
  } catch (error) {
    for (const reader of outputs) reader.destroy();
    throw error;
  } finally {
    for (const descriptor of given) closeSync(descriptor);
  }
  if (child.pid === undefined) {
    const ended = new Promise<Ending>((resolve) => {
      child.once('error', (error: NodeJS.ErrnoException) => {
        for (const reader of outputs) reader.destroy();
        resolve({ ...NO_ENDING, outcome: 'failed', reason: 'spawnFailed', error: spawnFault(error, argv) });
      });
    });
    return { root: null, ended, end() {} };
  }
  const root: Root = { pid: child.pid, startTime: readProcess(child.pid)?.startTime ?? null };
  ports.usage.add(root);

  let treeEnded: Promise<unknown> | null = null;
  const stuck = Promise.withResolvers<Ending>();
  const watched = watch(child, outputs, ports).then((ending) =>
    Promise.resolve(treeEnded).then(() => ending),
  );
  return {
    root,
    ended: Promise.race([watched, stuck.promise]),
    end(graceMs, extent) {
      const mark = { attemptId: task.attemptId, step: extent === 'step' ? task.step : null };
      treeEnded ??= endTree(root, mark, graceMs, ports.clock).then((left) => {
        if (left.length === 0) return;
        const error = `these processes could not be ended: ${left.join(', ')}`;
        stuck.resolve({ ...NO_ENDING, outcome: 'failed', reason: 'exitStatusLost', error });
      });
    },
  };
}

/** Resolves once the command has ended and its output has been read as far as it is its own. */
async function watch(child: ChildProcess, outputs: Socket[], ports: ExecutorPorts): Promise<Ending> {
  const closed = Promise.all(
    outputs.map((output) => new Promise<void>((resolve) => output.once('close', resolve))),
  );
  const { code, signal, usage } = await new Promise<{
    code: number | null;
    signal: string | null;
    usage: ReturnType<ExecutorPorts['usage']['reaped']>;
  }>((resolve) => {
    child.once('exit', (code, signal) =>
      resolve({ code, signal, usage: ports.usage.reaped(child.pid as number) }),
    );
  });
  await Promise.race([closed, quiet(outputs, ports.clock)]);
  for (const output of outputs) output.destroy();
  return { ...NO_ENDING, ...(await usage), exitCode: code, signal, ...verdict(code, signal) };
}

/** Resolves once nothing has come for a while. */
function quiet(outputs: Socket[], clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    let timer = clock.after(DRAIN_QUIET_MS, resolve);
    for (const output of outputs) {
      output.on('data', () => {
        timer.cancel();
        timer = clock.after(DRAIN_QUIET_MS, resolve);
      });
    }
  });
}

function verdict(code: number | null, signal: string | null): Pick<Ending, 'outcome' | 'reason'> {
  if (signal !== null) return { outcome: 'failed', reason: 'killedBySignal' };
  return code === 0 ? { outcome: 'succeeded', reason: null } : { outcome: 'failed', reason: 'exitStatus' };
}

function spawnFault(error: NodeJS.ErrnoException, argv: string[]): string {
  const program = argv[0] as string;
  if (error.code === 'ENOENT') return `the program ${program} was not found (PATH is ${SEARCH_PATH})`;
  if (error.code === 'EACCES') return `the program ${program} may not be executed`;
  return `the program ${program} could not be started: ${error.message}`;
}
