import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Client, createClient } from '@rota/contract';
import { until } from './until.ts';

/** Compiled modules, shared by all installations: only the first start on a machine compiles. */
const CACHE = path.join(tmpdir(), 'rota-test-cache');
const ROTA = path.resolve(import.meta.dirname, '../../packages/cli/bin/rota.js');

/** A process of `rota`, whose output goes to a log file in the folder of its installation. */
export interface RotaProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/**
 * One folder with a server and agents that run as real processes, by the real command.
 * `home(name)` is the `$ROTA_HOME` of the server (`server`) or of an agent.
 */
export class Installation {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'rota-test-'));
  readonly #running = new Set<RotaProcess>();

  home(name: string): string {
    return path.join(this.folder, name);
  }

  /** Runs `rota` in the background. */
  start(name: string, args: string[], env: Record<string, string> = {}): RotaProcess {
    const log = openSync(path.join(this.folder, `${name}.log`), 'a');
    const child = spawn(process.execPath, [ROTA, ...args], {
      stdio: ['ignore', log, log],
      env: {
        PATH: process.env.PATH ?? '',
        HOME: this.folder,
        XDG_CACHE_HOME: CACHE,
        ROTA_HOME: this.home(name),
        ...env,
      },
    });
    closeSync(log);
    const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    const started: RotaProcess = {
      child,
      exited,
      async kill(signal = 'SIGKILL') {
        child.kill(signal);
        await exited;
      },
    };
    this.#running.add(started);
    void exited.then(() => this.#running.delete(started));
    return started;
  }

  /** Runs `rota` to its end. */
  async run(args: string[], options: { env?: Record<string, string>; input?: string; name?: string } = {}) {
    const child = spawn(process.execPath, [ROTA, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: this.folder,
      env: {
        PATH: process.env.PATH ?? '',
        HOME: this.folder,
        XDG_CACHE_HOME: CACHE,
        ROTA_HOME: this.home(options.name ?? 'server'),
        NO_COLOR: '1',
        ...options.env,
      },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin.end(options.input ?? '');
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, stdout, stderr };
  }

  /** Starts a server and waits until it takes work; one of several has a name of its own. */
  async startServer(
    args: string[] = ['--listen', '127.0.0.1:0'],
    options: { name?: string; env?: Record<string, string> } = {},
  ): Promise<RotaProcess> {
    const { name = 'server', env = {} } = options;
    rmSync(this.#addressFile(name), { force: true });
    const server = this.start(name, ['server', 'start', ...args], env);
    const isReady = async () => {
      const { exitCode, signalCode } = server.child;
      if (exitCode !== null || signalCode !== null)
        throw new Error(`the server ended (${exitCode ?? signalCode}): ${this.log(name)}`);
      return this.address(name) !== null && (await fetch(`${this.url(name)}/readyz`)).ok;
    };
    await until(`server ${name}`, isReady, 180_000);
    return server;
  }

  #addressFile(name: string): string {
    return path.join(this.home(name), 'server/address');
  }

  url(name = 'server'): string {
    return readFileSync(this.#addressFile(name), 'utf8').split('\n')[0] as string;
  }

  /** Where a server listens, or has listened when it was killed; null before that. */
  address(name = 'server'): { host: string; port: number } | null {
    const url = existsSync(this.#addressFile(name)) ? this.url(name) : '';
    // It may be just about to be written.
    if (!URL.canParse(url)) return null;
    const { hostname, port } = new URL(url);
    return { host: hostname, port: Number(port) };
  }

  token(name = 'server'): string {
    return readFileSync(path.join(this.home(name), 'server/admin-token'), 'utf8').trim();
  }

  client(): Client {
    return createClient({ url: this.url(), token: this.token(), fetch });
  }

  databaseFile(): string {
    return path.join(this.home('server'), 'server/rota.db');
  }

  /** A join token, as an administrator makes it. */
  async joinToken(labels: Record<string, string> = {}): Promise<string> {
    return (await this.client().call('createJoinToken', { body: { labels } })).token;
  }

  /** Starts an agent by name; it joins when it has no identity yet. `url` may be that of a proxy. */
  async startAgent(
    name: string,
    options: { url?: string; args?: string[]; joinToken?: () => Promise<string> } = {},
  ): Promise<RotaProcess> {
    const { url = this.url(), args = [], joinToken = () => this.joinToken() } = options;
    const joined = existsSync(path.join(this.home(name), 'agent/identity.json'));
    const env: Record<string, string> = joined ? {} : { ROTA_JOIN_TOKEN: await joinToken() };
    return this.start(name, ['agent', 'start', '--name', name, '--url', url, ...args], env);
  }

  async whenOnline(name: string): Promise<void> {
    const isOnline = async () => {
      const agent = await this.client().call('getAgent', { params: { name } });
      return agent.state === 'online';
    };
    await until(`agent ${name} online`, isOnline, 120_000);
  }

  log(name: string): string {
    return readFileSync(path.join(this.folder, `${name}.log`), 'utf8');
  }

  /** Ends everything that was started here, helpers and jobs too. */
  async kill(): Promise<void> {
    await Promise.all([...this.#running].map((running) => running.kill('SIGKILL')));
    killAllWith(this.folder);
  }

  /** Ends everything and removes the folder. */
  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Kills what still has the folder in its command line or environment: helpers and jobs outlive their session by design. */
function killAllWith(folder: string): void {
  for (const pid of processesWith(folder)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has just ended
    }
  }
}

/** Ids of the processes that have `text` in their command line or environment. */
export function processesWith(text: string): number[] {
  const found: number[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    try {
      const shown =
        readFileSync(`/proc/${entry}/cmdline`, 'latin1') + readFileSync(`/proc/${entry}/environ`, 'latin1');
      if (shown.includes(text)) found.push(Number(entry));
    } catch {
      // it has just ended, or is not ours
    }
  }
  return found;
}
