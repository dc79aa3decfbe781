import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { replaceFile } from './disk.ts';
import { helperPaths } from './helperPaths.ts';
import {
  createLineReader,
  encodeLine,
  type FromHelper,
  HELPER_PROTOCOL,
  type HeldAttempt,
  type ToHelper,
} from './helperProtocol.ts';
import type { Clock, Disk, Log, Random } from './ports.ts';
import { isAlive, type Root } from './processTree.ts';

/** The session's side of the helper process. */
export interface Helper {
  readonly id: string;
  readonly pid: number;
  /** What it held when it was met. */
  readonly attempts: HeldAttempt[];
  send(message: ToHelper): void;
  /** Sets who hears what the helper says from now on; nothing is lost before. */
  listen(events: { message(message: FromHelper): void; lost(): void }): void;
  /** Leaves it; it goes on with what runs. */
  leave(): void;
}

export interface HelperOptions {
  folder: string;
  /** Program and arguments that start a helper; folder and id are added. */
  command: string[];
  env: Record<string, string>;
  clock: Clock;
  random: Random;
  disk: Disk;
  log: Log;
}

/** A helper of another version cannot be led, only be waited for: it owns what its session before had started. */
class OtherVersion extends Error {
  constructor(protocol: number) {
    super(
      `is of another version (it speaks protocol ${protocol}, this agent ${HELPER_PROTOCOL}): let its jobs end, then start the agent again`,
    );
  }
}

/** How long a new helper may take until it answers. */
const START_MS = 60_000;
const RETRY_MS = 10;
const LOG_MAX_BYTES = 1024 * 1024;

/** Meets the helper that is there, or starts one. @throws when it does not answer */
export async function meetHelper(options: HelperOptions): Promise<Helper> {
  const former = readCurrent(options.folder);
  if (former !== null) {
    const { socket: path } = helperPaths(options.folder, former);
    const socket = await tryConnect(path);
    let fault = `does not answer at ${path}: end it, or start the agent again`;
    try {
      if (socket) return await greet(socket, options);
    } catch (error) {
      // It may have been about to end; whether it has is checked next.
      options.log.info({ err: error }, 'the helper that was there is of no use');
      if (error instanceof OtherVersion) fault = error.message;
    }
    await checkGone(former, fault, options);
  }
  return startHelper(options);
}

/** Only a helper that is proven gone is replaced: two of them would each believe that the other's attempts never began. */
async function checkGone(helperId: string, fault: string, options: HelperOptions): Promise<void> {
  const paths = helperPaths(options.folder, helperId);
  const root = readJson<Root>(paths.process);
  const deadline = options.clock.bootMs() + 1_000;
  while (root && isAlive(root)) {
    if (options.clock.bootMs() > deadline)
      throw new Error(`the helper process (pid ${root.pid}) runs but ${fault}`);
    await wait(options.clock);
  }
  rmSync(paths.socket, { force: true });
  rmSync(paths.process, { force: true });
  rmSync(paths.pipes, { recursive: true, force: true });
}

async function startHelper(options: HelperOptions): Promise<Helper> {
  const { folder, clock } = options;
  const helperId = options.random.token(6);
  const paths = helperPaths(folder, helperId);
  await replaceFile(options.disk, folder, 'helper.json', JSON.stringify({ helperId }));
  const log = openSync(paths.log, sizeOf(paths.log) > LOG_MAX_BYTES ? 'w' : 'a', 0o600);
  const [program, ...args] = options.command as [string, ...string[]];
  const child = spawn(program, [...args, folder, helperId], {
    cwd: '/',
    env: options.env,
    detached: true,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  let fault: string | null = null;
  child.once('error', (error) => {
    fault = error.message;
  });
  child.once('exit', (code, signal) => {
    fault = `it ended with ${signal ?? `exit status ${code}`}; see ${paths.log}`;
  });
  child.unref();
  for (const deadline = clock.bootMs() + START_MS; clock.bootMs() < deadline; ) {
    const socket = await tryConnect(paths.socket);
    if (socket) return greet(socket, options);
    if (fault !== null) throw new Error(`the helper process could not be started: ${fault}`);
    await wait(clock);
  }
  throw new Error(`the helper process did not answer in ${START_MS / 1000} s; see ${paths.log}`);
}

/** Resolves with the helper once it has said what it holds. */
function greet(socket: Socket, options: HelperOptions): Promise<Helper> {
  const early: FromHelper[] = [];
  let events: { message(message: FromHelper): void; lost(): void } | null = null;
  let isGone = false;
  let hasLeft = false;
  return new Promise((resolve, reject) => {
    function meet(hello: Extract<FromHelper, { type: 'hello' }>): void {
      if (hello.protocol !== HELPER_PROTOCOL) {
        reject(new OtherVersion(hello.protocol));
        // With nothing to do it ends now, not only after it has waited for a session.
        socket.end(encodeLine({ type: 'bye' }));
        return;
      }
      resolve({
        id: hello.helperId,
        pid: hello.pid,
        attempts: hello.attempts,
        send(message) {
          if (!isGone) socket.write(encodeLine(message));
        },
        listen(listener) {
          events = listener;
          for (const message of early.splice(0)) listener.message(message);
          if (isGone && !hasLeft) listener.lost();
        },
        leave() {
          hasLeft = true;
          socket.end(encodeLine({ type: 'bye' }));
        },
      });
    }
    const read = createLineReader<FromHelper>((message) => {
      if (message.type === 'hello') meet(message);
      else if (events) events.message(message);
      else early.push(message);
    });
    socket.on('data', read);
    socket.on('error', (error) => options.log.debug({ err: error }, 'the socket to the helper failed'));
    socket.on('close', () => {
      isGone = true;
      reject(new Error('the helper process closed the connection'));
      if (!hasLeft) events?.lost();
    });
  });
}

function tryConnect(path: string): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
    socket.once('error', () => resolve(null));
  });
}

function wait(clock: Clock): Promise<void> {
  return new Promise((resolve) => clock.after(RETRY_MS, resolve));
}

function readCurrent(folder: string): string | null {
  return readJson<{ helperId: string }>(helperPaths(folder, '').current)?.helperId ?? null;
}

function readJson<T>(path: string): T | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch {
    return null;
  }
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    return 0;
  }
}
