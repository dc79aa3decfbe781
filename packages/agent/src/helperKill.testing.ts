/**
 * Loaded into a helper before its own code: ends it by SIGKILL at the n-th point where it touches the spool or begins a process.
 * The file `killAt` of the state folder says which point that is, and who dies with it; it is gone once it has happened.
 */
import childProcess from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

export interface KillAt {
  point: number;
  /** Another process to end just before; null for none. */
  also: number | null;
}

const { openSync, writeSync, fdatasync, readFileSync, rmSync } = fs;
const { spawn } = childProcess;
const path = `${process.argv[2]}/killAt`;
const spoolFiles = new Set<number>();
let passed = 0;

function point(): void {
  let order: KillAt;
  try {
    order = JSON.parse(readFileSync(path, 'utf8')) as KillAt;
  } catch {
    passed = 0;
    return;
  }
  passed += 1;
  if (passed < order.point) return;
  rmSync(path);
  if (order.also !== null) process.kill(order.also, 'SIGKILL');
  process.kill(process.pid, 'SIGKILL');
}

/** The same, with a point before and after it. */
function between<T extends (...values: never[]) => unknown>(
  act: T,
  is: (...values: Parameters<T>) => boolean,
): T {
  return ((...values: Parameters<T>) => {
    if (!is(...values)) return act(...values);
    point();
    const answer = act(...values);
    point();
    return answer;
  }) as T;
}

const isSpool = (file: number) => spoolFiles.has(file);
fs.openSync = ((file: string, ...rest: [string, number]) => {
  const descriptor = openSync(file, ...rest);
  if (String(file).includes('/spool/')) spoolFiles.add(descriptor);
  else spoolFiles.delete(descriptor);
  return descriptor;
}) as typeof openSync;
fs.writeSync = between(writeSync as never, isSpool as never) as typeof writeSync;
fs.fdatasync = between(fdatasync as never, isSpool as never) as typeof fdatasync;
childProcess.spawn = between(spawn as never, () => true) as typeof spawn;
syncBuiltinESMExports();
