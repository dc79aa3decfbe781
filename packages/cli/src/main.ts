import { randomUUID } from 'node:crypto';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Input, Ports, Sink } from './ports.ts';
import { run } from './program.ts';

/** Runs the command line of this process. */
export async function main(): Promise<void> {
  process.exitCode = await run(process.argv.slice(2), processPorts());
}

function processPorts(): Ports {
  return {
    out: sinkOf(process.stdout),
    err: sinkOf(process.stderr),
    stdin: processInput(),
    env: process.env,
    clock: {
      now: () => Date.now(),
      sleep: (ms, signal) =>
        sleep(ms, undefined, signal && { signal }).catch((error: Error) => {
          if (error.name !== 'AbortError') throw error;
        }),
    },
    fetch: globalThis.fetch,
    uid: process.getuid?.() ?? -1,
    userHome: homedir(),
    cwd: process.cwd(),
    timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    freshId: () => randomUUID(),
    stopSignal: stopSignal(),
    canListen,
  };
}

function sinkOf(stream: NodeJS.WriteStream): Sink {
  // A reader that has gone (`rota job list | head`) is no failure.
  stream.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  return {
    isTTY: stream.isTTY === true,
    columns: stream.columns ?? 100,
    write: (data) => void stream.write(data),
  };
}

function processInput(): Input {
  const { stdin } = process;
  return {
    isTTY: stdin.isTTY === true,
    async text() {
      stdin.setEncoding('utf8');
      let text = '';
      for await (const chunk of stdin) text += chunk;
      return text;
    },
    async ask(question, secret) {
      const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
      const asking = createInterface({
        input: stdin,
        output: secret ? silent : process.stderr,
        terminal: true,
      });
      if (secret) process.stderr.write(question);
      try {
        return await asking.question(secret ? '' : question);
      } finally {
        asking.close();
        if (secret) process.stderr.write('\n');
      }
    },
    closed: () =>
      new Promise((resolve) => {
        stdin.on('end', resolve).on('close', resolve).on('error', resolve).resume();
        // To listen for the end alone keeps no process alive.
        stdin.unref?.();
      }),
  };
}

function stopSignal(): () => AbortSignal {
  const stop = new AbortController();
  let listening = false;
  return () => {
    if (!listening) {
      listening = true;
      // Whoever asks twice means it.
      const onSignal = () => (stop.signal.aborted ? process.exit(130) : stop.abort());
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
    }
    return stop.signal;
  };
}

function canListen(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port }, () => server.close(() => resolve(true)));
  });
}
