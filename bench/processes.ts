import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Of the kernel's clock, in which /proc counts: fixed for programs on Linux. */
const TICKS_PER_SECOND = 100;

/** Seconds of processor time that processes have used, with those of their children that have ended. */
export function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + secondsOf(pid, 4), 0);
}

/** The same without their children. */
export function ownCpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + secondsOf(pid, 2), 0);
}

/** The first `count` of: own time in programs, in the kernel, and both for ended children. */
function secondsOf(pid: number, count: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // Behind the name, which may hold anything: utime, stime, cutime and cstime are the 14th to 17th of all.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = fields.slice(11, 11 + count).reduce((sum, field) => sum + Number(field), 0);
    return ticks / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}

/** A process and its children, as long as they live. */
export function withChildren(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim();
  return [pid, ...(children === '' ? [] : children.split(' ').map(Number))];
}

/** Resident memory, bytes. */
export function residentBytes(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return Number(kib) * 1_024;
}

/** Groups of processes by name, looked up anew when they are read: databases come with many, and some end. */
export type Groups = Record<string, () => number[]>;

/** Measures what part of the machine each group uses until the returned function is called. */
export function watchCpu(groups: Groups): () => Map<string, number> {
  const began = performance.now();
  const before = Object.entries(groups).map(([name, pids]) => [name, cpuSeconds(pids())] as const);
  return () => {
    const seconds = ((performance.now() - began) / 1_000) * availableParallelism();
    return new Map(
      before.map(([name, used]) => [name, (cpuSeconds(groups[name]?.() ?? []) - used) / seconds]),
    );
  };
}
