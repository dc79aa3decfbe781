/**
 * The helper process: owns what the agent executes, so that it outlives the session process, and starting stays
 * cheap however big that one grows. Started as `helper/main.ts <state folder> <helper id>`, leader of its own session,
 * its outputs in a log file. It ends by itself when nothing runs and no session is connected.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { createServer } from 'node:net';
import { systemClock, systemRandom } from '../clock.ts';
import { helperPaths } from '../helperPaths.ts';
import type { Log } from '../ports.ts';
import { readProcess } from '../processTree.ts';
import { thisMachine } from './machine.ts';
import { createHelperService } from './service.ts';

const [folder, helperId] = process.argv.slice(2) as [string, string];
const paths = helperPaths(folder, helperId);

function write(level: string, fields: object, message: string): void {
  const { err, ...rest } = fields as { err?: unknown };
  const text = err instanceof Error ? { err: err.stack } : {};
  const time = new Date().toISOString();
  process.stdout.write(
    `${JSON.stringify({ time, level, pid: process.pid, msg: message, ...rest, ...text })}\n`,
  );
}
const log: Log = {
  debug() {},
  info: (fields, message) => write('info', fields, message),
  warn: (fields, message) => write('warn', fields, message),
  error: (fields, message) => write('error', fields, message),
};

const service = createHelperService({
  helperId,
  pid: process.pid,
  spoolFolder: paths.spool,
  machine: thisMachine({ spoolFolder: paths.spool, pipesFolder: paths.pipes, clock: systemClock }),
  clock: systemClock,
  random: systemRandom,
  log,
  idle: leave,
});

function leave(): void {
  server.close();
  rmSync(paths.socket, { force: true });
  rmSync(paths.process, { force: true });
  rmSync(paths.pipes, { recursive: true, force: true });
  process.exit(0);
}

// Whoever stops the agent may mean this process too: what runs goes on, and so does the one who watches it.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.on(signal, () => {
    log.info(
      { signal, busy: service.isBusy() },
      'told to stop; ends once nothing runs and no session is left',
    );
  });
}
process.on('uncaughtException', (error) => log.error({ err: error }, 'a fault that nobody caught'));
process.on('unhandledRejection', (error) => log.error({ err: error }, 'a fault that nobody caught'));

const server = createServer((socket) => service.serve(socket));
server.on('error', (error) => {
  log.error({ err: error }, 'cannot listen');
  process.exit(1);
});
process.umask(0o077);
writeFileSync(
  paths.process,
  JSON.stringify({ pid: process.pid, startTime: readProcess(process.pid)?.startTime ?? null }),
  { mode: 0o600 },
);
server.listen(paths.socket);
process.umask(0o022);
// Now, as a helper may be killed: the next one starts without a compiler.
flushCompileCache();
