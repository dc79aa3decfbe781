import type { Socket } from 'node:net';
import {
  createLineReader,
  encodeLine,
  type FromHelper,
  HELPER_PROTOCOL,
  NO_HTTP_SETTINGS,
  type Task,
  type ToHelper,
} from '../helperProtocol.ts';
import type { Clock, Log, Random, Timer } from '../ports.ts';
import { openSpool } from '../spool.ts';
import { adoptAttempt } from './adopt.ts';
import type { HelperMachine } from './machine.ts';
import { type Runner, type RunnerPorts, startRunner } from './runner.ts';

/** How long a helper without a session and without work waits for the next session. */
const IDLE_MS = 10_000;
/** A session that does not read is cut off before what is waiting for it fills the memory. */
const UNREAD_MAX_BYTES = 64 * 1024 * 1024;

export interface HelperService {
  /** A session has connected. */
  serve(socket: Socket): void;
  /** True while something runs that would be lost with the helper. */
  isBusy(): boolean;
}

/** Owns the attempts that run, whoever the session is. */
export function createHelperService(options: {
  helperId: string;
  pid: number;
  spoolFolder: string;
  machine: HelperMachine;
  clock: Clock;
  random: Random;
  log: Log;
  /** Nothing runs and nobody is there: end. */
  idle(): void;
}): HelperService {
  const { clock, log } = options;
  const spool = openSpool(options.spoolFolder);
  const runners = new Map<string, Runner>();
  const running = new Set<string>();
  const waitingStarts: Task[] = [];
  const waitingSessions: Socket[] = [];
  let session: Socket | null = null;
  let idleTimer: Timer | null = null;
  /** The last session left on purpose. */
  let isLeft = false;
  const ports: RunnerPorts = {
    clock,
    random: options.random,
    machine: options.machine,
    http: NO_HTTP_SETTINGS,
    tell,
    settled(attemptId) {
      running.delete(attemptId);
      if (runners.get(attemptId)?.held.state === 'waiting') runners.delete(attemptId);
      endWhenIdle();
    },
  };

  function tell(message: FromHelper): void {
    if (!session) return;
    session.write(encodeLine(message));
    if (session.writableLength > UNREAD_MAX_BYTES) session.destroy();
  }

  function serve(socket: Socket): void {
    if (session) {
      // Its orders come first: what they started must be known to the next session.
      waitingSessions.push(socket);
      socket.on('error', () => {});
      return;
    }
    session = socket;
    isLeft = false;
    idleTimer?.cancel();
    idleTimer = null;
    const read = createLineReader<ToHelper>(obey);
    socket.on('data', (data: Buffer) => {
      try {
        read(data);
      } catch (error) {
        log.error({ err: error }, 'the session sent what cannot be read');
        socket.destroy();
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      session = null;
      const next = waitingSessions.splice(0).find((waiting) => !waiting.destroyed);
      if (next) serve(next);
      else endWhenIdle();
    });
    const attempts = [...runners.values()].map((runner) => runner.held);
    const known = new Set(attempts.map((attempt) => attempt.attemptId));
    for (const task of waitingStarts)
      if (!known.has(task.attemptId))
        attempts.push({ attemptId: task.attemptId, state: 'waiting', pid: null });
    tell({
      type: 'hello',
      protocol: HELPER_PROTOCOL,
      helperId: options.helperId,
      pid: options.pid,
      attempts,
    });
    for (const runner of runners.values()) runner.tellAgain();
  }

  function obey(message: ToHelper): void {
    switch (message.type) {
      case 'settings':
        ports.http = message.http;
        return;
      case 'start':
        waitingStarts.push(message.task);
        if (waitingStarts.length === 1) setImmediate(startNext);
        return;
      case 'adopt':
        if (runners.has(message.attemptId)) return;
        running.add(message.attemptId);
        runners.set(message.attemptId, adoptAttempt(message.attemptId, spool, ports));
        return;
      case 'continue':
        runners.get(message.attemptId)?.answer(message.task);
        return;
      case 'end':
        end(message.attemptId, message.graceMs);
        return;
      case 'forget':
        if (!running.has(message.attemptId)) runners.delete(message.attemptId);
        return;
      case 'bye':
        isLeft = true;
        return;
      default:
        message satisfies never;
    }
  }

  /** One start per turn of the loop: starting blocks it, and output and timeouts must not wait for a burst. */
  function startNext(): void {
    const task = waitingStarts.shift();
    if (task && !runners.has(task.attemptId)) {
      running.add(task.attemptId);
      runners.set(task.attemptId, startRunner(task, ports));
    }
    if (waitingStarts.length > 0) setImmediate(startNext);
  }

  function end(attemptId: string, graceMs: number): void {
    const runner = runners.get(attemptId);
    if (runner) {
      runner.end(graceMs);
      return;
    }
    const index = waitingStarts.findIndex((task) => task.attemptId === attemptId);
    if (index === -1) return;
    waitingStarts.splice(index, 1);
    tell({ type: 'refused', attemptId, reason: 'notExecuted', detail: 'it was cancelled before it began' });
  }

  function isBusy(): boolean {
    return running.size > 0 || waitingStarts.length > 0;
  }

  function endWhenIdle(): void {
    idleTimer?.cancel();
    idleTimer = null;
    if (session || isBusy()) return;
    idleTimer = clock.after(isLeft ? 0 : IDLE_MS, () => {
      // Where the process stood still, a session may have connected meanwhile: it is let in first.
      setImmediate(() => {
        if (!session && !isBusy()) options.idle();
      });
    });
  }

  endWhenIdle();
  return { serve, isBusy };
}
