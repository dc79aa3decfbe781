import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Cli } from './cli.ts';
import { rotaHome } from './connection.ts';

/** Set by `rota up` for its own agent: it stops when the pipe of its input is closed, also by a crash. */
export const STOP_WITH_INPUT = 'ROTA_AGENT_STOP_WITH_INPUT';

/** The agent of `rota up`: a process of its own, started again when it dies. */
export interface LocalAgent {
  name: string;
  /** Why the agent is not started any more; pending while it runs. */
  failed: Promise<string>;
  /** Ends the agent's process; what it runs goes on under its helper. */
  stop(): Promise<void>;
}

const FIRST_RESTART_MS = 1_000;
const LAST_RESTART_MS = 30_000;
/** An agent that dies so soon, so often in a row, will not get better by itself. */
const SOON_MS = 10_000;
const TRIES = 4;
/** An agent that does not end when asked is killed. */
const STOP_WITHIN_MS = 10_000;

export async function startLocalAgent(
  cli: Cli,
  options: { url: string; caFile?: string; name?: string; joinToken(): Promise<string> },
): Promise<LocalAgent> {
  const { ports } = cli;
  const home = rotaHome(ports);
  const joinedAs = joinedName(home);
  const name = joinedAs ?? options.name ?? agentNameOf(hostname());
  const joinToken = joinedAs === null ? await options.joinToken() : null;
  const stopping = new AbortController();
  const failed = Promise.withResolvers<string>();
  let child = start();
  const supervised = supervise();

  return {
    name,
    failed: failed.promise,
    async stop() {
      stopping.abort();
      child.process.kill('SIGTERM');
      const ended = new AbortController();
      const late = ports.clock.sleep(STOP_WITHIN_MS, ended.signal).then(() => {
        if (!ended.signal.aborted) child.process.kill('SIGKILL');
      });
      await supervised;
      ended.abort();
      await late;
    },
  };

  function start(): { process: ChildProcess; ended: Promise<string>; startedAt: number } {
    mkdirSync(home, { recursive: true, mode: 0o700 });
    const log = openSync(join(home, 'agent.log'), 'a', 0o600);
    const words = [ROTA, 'agent', 'start', '--url', options.url, '--name', name];
    if (options.caFile !== undefined) words.push('--ca-file', options.caFile);
    // A group of its own, so that Ctrl-C in the terminal reaches it only through us.
    const process = spawn(NODE, words, {
      detached: true,
      stdio: ['pipe', log, log],
      env: {
        ...ports.env,
        ROTA_HOME: home,
        [STOP_WITH_INPUT]: '1',
        ...(joinToken !== null && { ROTA_JOIN_TOKEN: joinToken }),
      },
    });
    closeSync(log);
    const ended = new Promise<string>((resolve) => {
      process.on('error', (error) => resolve(error.message));
      process.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    process.stdin?.on('error', () => undefined);
    return { process, ended, startedAt: ports.clock.now() };
  }

  async function supervise(): Promise<void> {
    let soon = 0;
    for (let waitMs = FIRST_RESTART_MS; ; waitMs = Math.min(waitMs * 2, LAST_RESTART_MS)) {
      const reason = await child.ended;
      if (stopping.signal.aborted) return;
      if (ports.clock.now() - child.startedAt > SOON_MS) {
        soon = 0;
        waitMs = FIRST_RESTART_MS;
      } else if (++soon === TRIES) {
        failed.resolve(lastLine(join(home, 'agent.log')) ?? reason);
        return;
      }
      await ports.clock.sleep(waitMs, stopping.signal);
      if (stopping.signal.aborted) return;
      child = start();
    }
  }
}

const NODE = process.execPath;
const ROTA = fileURLToPath(new URL('../bin/rota.js', import.meta.url));

/** The name by which this machine's agent joined a server; null when it has not. */
export function joinedName(home: string): string | null {
  try {
    const { name } = JSON.parse(readFileSync(join(home, 'agent', 'identity.json'), 'utf8')) as {
      name: string;
    };
    return name;
  } catch {
    return null;
  }
}

function lastLine(file: string): string | null {
  return readFileSync(file, 'utf8').trimEnd().split('\n').at(-1) || null;
}

/** A host name as an agent's name. */
export function agentNameOf(host: string): string {
  return (
    host
      .replace(/[^A-Za-z0-9._-]+/g, '-')
      .replace(/^[._-]+/, '')
      .slice(0, 100) || 'local'
  );
}
