import { readFileSync } from 'node:fs';
import type { Clock } from '../ports.ts';
import { membersOf, type ProcessInfo, type Root, readProcesses } from '../processTree.ts';

/**
 * CPU time and peak memory of running commands, from /proc.
 *
 * CPU time: when one child is reaped alone, exactly what the kernel added for it and the children it waited for, in
 * steps of 10 ms; when several are reaped together, their last samples and an equal share of the rest.
 * Background processes that outlive the command are not counted. Memory: the highest sum over the tree at any sample,
 * or the highest mark of one process; a command that ends before its first sample has none.
 */
export interface UsageMeter {
  add(root: Root): void;
  /** To be called in the child's exit event. Resolves with what it used. */
  reaped(pid: number): Promise<Usage>;
}

export interface Usage {
  cpuMs: number | null;
  maxRssBytes: number | null;
}

/** USER_HZ is 100 wherever Node runs on Linux. */
const TICK_MS = 10;
const SAMPLE_FIRST_MS = 100;
const SAMPLE_MAX_MS = 2_000;
/** A sample may take this part of the time, so that thousands of processes do not slow the helper. */
const SAMPLE_SHARE = 20;

interface Measured {
  root: Root;
  cpuTicks: number;
  maxRssBytes: number | null;
}

/** A meter that finds nothing, for systems without /proc. */
const NO_METER: UsageMeter = {
  add() {},
  reaped: async () => ({ cpuMs: null, maxRssBytes: null }),
};

export function createUsageMeter(clock: Clock): UsageMeter {
  if (process.platform !== 'linux') return NO_METER;
  const measured = new Map<number, Measured>();
  let isSampling = false;
  let intervalMs = SAMPLE_FIRST_MS;
  let reapedTicks = readReapedTicks();
  let batch: { pid: number; resolve(usage: Usage): void }[] = [];

  function sample(): void {
    isSampling = false;
    const begun = clock.bootMs();
    const processes = readProcesses();
    for (const entry of measured.values()) sampleOne(entry, processes);
    const took = clock.bootMs() - begun;
    intervalMs = Math.max(Math.min(intervalMs * 2, SAMPLE_MAX_MS), took * SAMPLE_SHARE);
    if (measured.size > 0) sampleIn(intervalMs);
  }

  function sampleIn(ms: number): void {
    isSampling = true;
    clock.after(ms, sample);
  }

  function settle(): void {
    const ended = batch;
    batch = [];
    const total = readReapedTicks();
    const grown = total - reapedTicks;
    reapedTicks = total;
    const samples = ended.map(({ pid }) => measured.get(pid)?.cpuTicks ?? 0);
    const rest = Math.max(0, grown - samples.reduce((sum, ticks) => sum + ticks, 0)) / ended.length;
    for (const [index, { pid, resolve }] of ended.entries()) {
      const ticks = ended.length === 1 ? grown : (samples[index] as number) + rest;
      const maxRssBytes = measured.get(pid)?.maxRssBytes ?? null;
      measured.delete(pid);
      resolve({ cpuMs: Math.round(ticks * TICK_MS), maxRssBytes });
    }
  }

  return {
    add(root) {
      measured.set(root.pid, { root, cpuTicks: 0, maxRssBytes: null });
      if (intervalMs <= SAMPLE_MAX_MS) intervalMs = SAMPLE_FIRST_MS;
      if (!isSampling) sampleIn(intervalMs);
    },
    reaped(pid) {
      return new Promise((resolve) => {
        // All exits that the kernel reported together have been reaped by now.
        if (batch.length === 0) setImmediate(settle);
        batch.push({ pid, resolve });
      });
    },
  };
}

function sampleOne(entry: Measured, processes: ProcessInfo[]): void {
  let sum = 0;
  let cpuTicks = 0;
  let peak = 0;
  for (const member of membersOf(processes, entry.root, () => false)) {
    cpuTicks += member.cpuTicks;
    const memory = readMemory(member.pid);
    sum += memory.rssBytes;
    peak = Math.max(peak, memory.peakBytes);
  }
  entry.cpuTicks = Math.max(entry.cpuTicks, cpuTicks);
  const highest = Math.max(sum, peak);
  if (highest > 0) entry.maxRssBytes = Math.max(entry.maxRssBytes ?? 0, highest);
}

function readMemory(pid: number): { rssBytes: number; peakBytes: number } {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const bytes = (name: string) =>
      Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) * 1024;
    return { rssBytes: bytes('VmRSS'), peakBytes: bytes('VmHWM') };
  } catch {
    return { rssBytes: 0, peakBytes: 0 };
  }
}

/** CPU time of all children that this process has reaped, in clock ticks. */
function readReapedTicks(): number {
  const text = readFileSync('/proc/self/stat', 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return Number(fields[13]) + Number(fields[14]);
}
