import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Ports } from './ports.ts';
import { run } from './program.ts';

export const NOW = Date.parse('2026-03-01T12:00:00Z');

export interface Run {
  code: number;
  out: string;
  err: string;
}

export interface RunOptions {
  env?: Record<string, string | undefined>;
  /** Whether out and err are a terminal. */
  tty?: boolean;
  /** What is piped in; without it the input is a terminal. */
  input?: string;
  /** Answers to questions, in their order. */
  answers?: string[];
  cwd?: string;
  stop?: AbortSignal;
  ports?: Partial<Ports>;
  /** Told of each piece of stdout as it comes. */
  onOut?(text: string): void;
}

/** Runs a command line in this process, in a world of its own: no home, no login, a clock that stands still. */
export async function rota(argv: string[], options: RunOptions = {}): Promise<Run> {
  const out: Uint8Array[] = [];
  const err: Uint8Array[] = [];
  const answers = [...(options.answers ?? [])];
  const sink = (chunks: Uint8Array[], tell?: (text: string) => void) => ({
    isTTY: options.tty === true,
    columns: 100,
    write(data: string | Uint8Array) {
      chunks.push(Buffer.from(data as string));
      tell?.(Buffer.from(data as string).toString());
    },
  });
  const ports: Ports = {
    out: sink(out, options.onOut),
    err: sink(err),
    stdin: {
      isTTY: options.input === undefined,
      text: async () => options.input ?? '',
      ask: async () => answers.shift() ?? '',
      closed: () => new Promise(() => undefined),
    },
    env: { ROTA_HOME: '/nowhere', XDG_CONFIG_HOME: '/nowhere', PATH: process.env.PATH, ...options.env },
    clock: { now: () => NOW, sleep: () => new Promise((resolve) => setImmediate(resolve)) },
    fetch: globalThis.fetch,
    uid: 1000,
    userHome: '/nowhere',
    cwd: options.cwd ?? '/nowhere',
    timezone: 'Europe/Berlin',
    freshId: () => 'fresh-id',
    stopSignal: () => options.stop ?? new AbortController().signal,
    canListen: async () => true,
    ...options.ports,
  };
  const code = await run(argv, ports);
  return { code, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() };
}

/** A folder that is gone after the test. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'rota-cli-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
