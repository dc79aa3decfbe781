// What the machine itself can do: the disk's commits and the kernel's process starts. node bench/limits.ts
import { execFile, execFileSync } from 'node:child_process';
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { repeated, type Spread, shownSpread } from './figures.ts';

const MEASURED_MS = 700;
const TURNS = 5;

/** Appends of 4 KiB, each with its fdatasync, per second, on the disk where the benchmarks keep their data. */
export async function fdatasyncs(): Promise<Spread> {
  const folder = mkdtempSync(path.join(tmpdir(), 'rota-bench-'));
  const file = openSync(path.join(folder, 'appended'), 'w');
  const block = Buffer.alloc(4_096, 7);
  try {
    return await repeated(TURNS, () => {
      let count = 0;
      const begin = performance.now();
      while (performance.now() - begin < MEASURED_MS) {
        writeSync(file, block);
        fdatasyncSync(file);
        count += 1;
      }
      return (count / (performance.now() - begin)) * 1_000;
    });
  } finally {
    closeSync(file);
    rmSync(folder, { recursive: true });
  }
}

export interface BareStarts {
  /** child_process.spawn of a process that does nothing else, per second. */
  node: Spread;
  /** posix_spawn and wait from as many processes as there are cores, per second; null without a way to call it. */
  posix: Spread | null;
  /** What called posix_spawn. */
  posixBy: string;
}

/** Starts of /bin/true per second, waiting for its end. */
export async function bareStarts(): Promise<BareStarts> {
  const folder = mkdtempSync(path.join(tmpdir(), 'rota-bench-'));
  try {
    const node = await repeated(TURNS, () =>
      ratesOf(1, process.execPath, [
        path.join(import.meta.dirname, 'bareStarts.ts'),
        '16',
        String(MEASURED_MS),
      ]),
    );
    const posix = posixCommand(folder);
    return {
      node,
      posix:
        posix && (await repeated(TURNS, () => ratesOf(availableParallelism(), posix.program, posix.args))),
      posixBy: posix?.by ?? 'nothing here can call it',
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs a program that prints a rate several times at once; the sum. */
async function ratesOf(copies: number, program: string, args: string[]): Promise<number> {
  const runs = Array.from({ length: copies }, () => promisify(execFile)(program, args, { env: {} }));
  return (await Promise.all(runs)).reduce((sum, { stdout }) => sum + Number(stdout), 0);
}

const C_SOURCE = `
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
int main(void) {
  char *argv[] = {"/bin/true", 0}, *env[] = {0};
  double begin = now();
  long count = 0;
  while (now() - begin < ${MEASURED_MS / 1_000}) {
    pid_t pid;
    if (posix_spawn(&pid, argv[0], 0, 0, argv, env)) return 1;
    waitpid(pid, 0, 0);
    count++;
  }
  printf("%f", count / (now() - begin));
}`;

const PYTHON_SOURCE = `
import os, time
begin = time.monotonic(); count = 0
while time.monotonic() - begin < ${MEASURED_MS / 1_000}:
  os.waitpid(os.posix_spawn("/bin/true", ["/bin/true"], {}), 0); count += 1
print(count / (time.monotonic() - begin))`;

/** The leanest program here that calls posix_spawn. */
function posixCommand(folder: string): { program: string; args: string[]; by: string } | null {
  const program = path.join(folder, 'starts');
  try {
    writeFileSync(`${program}.c`, C_SOURCE);
    execFileSync('cc', ['-O2', '-o', program, `${program}.c`], { stdio: 'ignore' });
    return { program, args: [], by: 'C' };
  } catch {
    // no compiler
  }
  try {
    const python = String(execFileSync('python3', ['-c', 'import sys; print(sys.executable)'])).trim();
    return { program: python, args: ['-c', PYTHON_SOURCE], by: 'Python' };
  } catch {
    return null;
  }
}

export function describeStarts({ node, posix, posixBy }: BareStarts): string {
  return `bare starts of /bin/true per second: child_process.spawn from a small process ${shownSpread(node)}${
    posix ? `, posix_spawn from ${availableParallelism()} processes (${posixBy}) ${shownSpread(posix)}` : ''
  }`;
}

export function describeFdatasyncs(rate: Spread): string {
  return `fdatasync of 4 KiB appends per second: ${shownSpread(rate)}`;
}

if (import.meta.main) {
  console.log(describeFdatasyncs(await fdatasyncs()));
  console.log(describeStarts(await bareStarts()));
}
