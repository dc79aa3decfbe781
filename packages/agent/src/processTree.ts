import { readdirSync, readFileSync } from 'node:fs';
import type { Clock } from './ports.ts';

/** A process as /proc shows it. Pid and start time together name a process for as long as the machine runs. */
export interface ProcessInfo {
  pid: number;
  parent: number;
  group: number;
  session: number;
  /** In clock ticks since boot. */
  startTime: number;
  /** Own and waited-for children's CPU time, in clock ticks. */
  cpuTicks: number;
  isZombie: boolean;
}

/** The process that an attempt started: it leads its own session. */
export interface Root {
  pid: number;
  /** Null where the system has no /proc. */
  startTime: number | null;
}

const hasProc = process.platform === 'linux';
/** Between two looks at whether all have gone. */
const POLL_MS = 50;
/** How long after KILL a process may still be there (in an uninterruptible call) before it is given up. */
const GIVE_UP_MS = 10_000;

/** Reads /proc/<pid>/stat; null when there is no such process. */
export function readProcess(pid: number): ProcessInfo | null {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return null;
  }
}

/** Parses the text of /proc/<pid>/stat (proc(5)). The name stands in brackets and may contain anything. */
export function parseStat(text: string): ProcessInfo {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number) => Number(fields[number - 3]);
  return {
    pid: Number.parseInt(text, 10),
    isZombie: fields[0] === 'Z' || fields[0] === 'X',
    parent: field(4),
    group: field(5),
    session: field(6),
    cpuTicks: field(14) + field(15) + field(16) + field(17),
    startTime: field(22),
  };
}

/** All processes of the machine that this user may see. */
export function readProcesses(): ProcessInfo[] {
  const found: ProcessInfo[] = [];
  for (const name of readdirSync('/proc')) {
    if (name.charCodeAt(0) < 48 || name.charCodeAt(0) > 57) continue;
    const info = readProcess(Number(name));
    if (info) found.push(info);
  }
  return found;
}

/**
 * Members of an attempt's tree among `processes`: its root, what descends from it, what is in its group or session,
 * what `isMarked`, and what descends from those. Pure.
 */
export function membersOf(
  processes: ProcessInfo[],
  root: Root,
  isMarked: (process: ProcessInfo) => boolean,
): ProcessInfo[] {
  const holder = processes.find((process) => process.pid === root.pid);
  // Once the root's pid belongs to someone else, so do its group and session.
  const isReused = holder !== undefined && root.startTime !== null && holder.startTime !== root.startTime;
  const members = new Map<number, ProcessInfo>();
  for (const process of processes) {
    const isOwn =
      !isReused &&
      (process.pid === root.pid || process.session === root.pid || process.group === root.pid) &&
      process.startTime >= (root.startTime ?? 0);
    if (isOwn || isMarked(process)) members.set(process.pid, process);
  }
  for (let grown = true; grown; ) {
    grown = false;
    for (const process of processes) {
      if (members.has(process.pid) || !members.has(process.parent)) continue;
      members.set(process.pid, process);
      grown = true;
    }
  }
  return [...members.values()].filter((process) => !process.isZombie);
}

/** What the environment of every process of an attempt has; of one step of it, when that is not null. */
export interface Mark {
  attemptId: string;
  step: string | null;
}

function carries(pid: number, { attemptId, step }: Mark): boolean {
  try {
    const environment = `\0${readFileSync(`/proc/${pid}/environ`, 'latin1')}`;
    return (
      environment.includes(`\0ROTA_ATTEMPT=${attemptId}\0`) &&
      (step === null || environment.includes(`\0ROTA_STEP=${step}\0`))
    );
  } catch {
    return false;
  }
}

/** What is alive of an attempt's tree. Without /proc: the root's group, as one entry. */
function findMembers(root: Root, mark: Mark): { pid: number; startTime: number }[] {
  if (!hasProc) return isGroupAlive(root.pid) ? [{ pid: -root.pid, startTime: 0 }] : [];
  return membersOf(
    readProcesses(),
    root,
    (candidate) => candidate.pid !== process.pid && carries(candidate.pid, mark),
  );
}

/** True while the root itself runs. */
export function isAlive(root: Root): boolean {
  if (!hasProc) return isGroupAlive(root.pid);
  const info = readProcess(root.pid);
  return info !== null && !info.isZombie && (root.startTime === null || info.startTime === root.startTime);
}

/** The oldest process that carries the mark in its environment: for when its pid was not written down. */
export function findRoot(mark: Mark): Root | null {
  if (!hasProc) return null;
  const carriers = readProcesses().filter((info) => !info.isZombie && carries(info.pid, mark));
  const oldest = carriers.sort((a, b) => a.startTime - b.startTime || a.pid - b.pid)[0];
  return oldest ? { pid: oldest.pid, startTime: oldest.startTime } : null;
}

/**
 * Ends the whole tree of an attempt, or of one step of it: TERM to each member, after `graceMs` KILL, again until none is left.
 * @returns pids that would not go
 */
export function endTree(root: Root, mark: Mark, graceMs: number, clock: Clock): Promise<number[]> {
  const begun = clock.bootMs();
  const told = new Set<string>();
  return new Promise((resolve) => {
    const look = () => {
      const members = findMembers(root, mark);
      if (members.length === 0) return resolve([]);
      const passed = clock.bootMs() - begun;
      if (passed >= graceMs + GIVE_UP_MS) return resolve(members.map((member) => member.pid));
      const kill = passed >= graceMs;
      for (const member of members) {
        const name = `${member.pid}/${member.startTime}`;
        if (kill) send(member.pid, 'SIGKILL');
        else if (!told.has(name)) send(member.pid, 'SIGTERM');
        told.add(name);
      }
      const untilKill = kill ? POLL_MS : Math.max(0, graceMs - passed);
      clock.after(Math.min(POLL_MS, untilKill), look);
    };
    look();
  });
}

function send(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has gone, or is not ours to end: the next look tells.
  }
}

function isGroupAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
