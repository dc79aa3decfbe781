import { adoptAttempt } from '../../packages/agent/src/helper/adopt.ts';
import { type Runner, type RunnerPorts, startRunner } from '../../packages/agent/src/helper/runner.ts';
import type { Helper } from '../../packages/agent/src/helperClient.ts';
import {
  type FromHelper,
  HELPER_PROTOCOL,
  NO_HTTP_SETTINGS,
  type Task,
  type ToHelper,
} from '../../packages/agent/src/helperProtocol.ts';
import type { Spool } from '../../packages/agent/src/spool.ts';
import { type Kernel, Process, type Timer } from './kernel.ts';
import type { Machine } from './machine.ts';

const IDLE_MS = 10_000;
const PIPE_MS = 0.2;

/** One direction of a local socket: in order, to a process that runs. */
class Pipe<T> {
  readonly #to: Process;
  readonly #deliver: (item: T) => void;
  #items: T[] = [];

  constructor(to: Process, deliver: (item: T) => void) {
    this.#to = to;
    this.#deliver = deliver;
  }

  send(item: T): void {
    this.#items.push(item);
    if (this.#items.length === 1) this.#move();
  }

  #move(): void {
    this.#to.after(PIPE_MS, 'something comes from the other process', () => {
      const item = this.#items[0] as T;
      this.#deliver(item);
      this.#items.shift();
      if (this.#items.length > 0) this.#move();
    });
  }
}

/** A session's connection to a helper. */
interface Contact {
  toHelper: Pipe<ToHelper | 'closed'>;
  toSession: Pipe<FromHelper | 'lost'>;
  isOpen: boolean;
}

/** The process that owns what a machine executes: the real parts, but for `helper/service.ts`, of which it does what that does. */
export class SimHelper {
  readonly id: string;
  readonly process: Process;
  readonly #machine: Machine;
  readonly #spool: Spool;
  readonly #ports: RunnerPorts;
  readonly #runners = new Map<string, Runner>();
  readonly #running = new Set<string>();
  readonly #starts: Task[] = [];
  #contact: Contact | null = null;
  #waiting: Contact[] = [];
  #isLeft = false;
  #idleTimer: Timer | null = null;

  constructor(kernel: Kernel, machine: Machine, id: string) {
    this.#machine = machine;
    this.id = id;
    this.process = new Process(kernel, `helper of ${machine.name}`);
    this.process.onEnd(() => {
      machine.leaveJobs();
      for (const contact of [this.#contact, ...this.#waiting]) contact?.toSession.send('lost');
    });
    this.#spool = machine.spool.of(this.process);
    this.#ports = {
      clock: machine.clockOf(this.process),
      random: machine.random,
      machine: machine.of(this.process),
      http: NO_HTTP_SETTINGS,
      tell: (message) => this.#tell(message),
      settled: (attemptId) => this.#settled(attemptId),
    };
    this.#endWhenIdle();
  }

  /** Meets it: resolves once it serves this session. @throws when it ends before */
  meet(session: Process): Promise<Helper> {
    const met = Promise.withResolvers<Helper>();
    const early: FromHelper[] = [];
    let events: Parameters<Helper['listen']>[0] | null = null;
    let isLost = false;
    let hasLeft = false;
    const contact: Contact = {
      isOpen: true,
      toHelper: new Pipe(this.process, (item) => {
        if (item === 'closed') this.#closed(contact);
        else this.#obey(item);
      }),
      toSession: new Pipe(session, (item) => {
        if (item === 'lost') {
          isLost = true;
          met.reject(new Error('the helper process closed the connection'));
          if (!hasLeft) events?.lost();
        } else if (item.type === 'hello') met.resolve(helper(item));
        else if (events) events.message(item);
        else early.push(item);
      }),
    };
    const helper = (hello: Extract<FromHelper, { type: 'hello' }>): Helper => ({
      id: hello.helperId,
      pid: hello.pid,
      attempts: hello.attempts,
      send: (message) => {
        if (!isLost) contact.toHelper.send(message);
      },
      listen: (listener) => {
        events = listener;
        for (const message of early.splice(0)) listener.message(message);
        if (isLost && !hasLeft) listener.lost();
      },
      leave: () => {
        hasLeft = true;
        contact.toHelper.send({ type: 'bye' });
        contact.toHelper.send('closed');
      },
    });
    session.onEnd(() => {
      if (!hasLeft) contact.toHelper.send('closed');
    });
    this.process.after(PIPE_MS, 'a session connects', () => {
      if (this.#contact) this.#waiting.push(contact);
      else this.#serve(contact);
    });
    if (this.process.ended) contact.toSession.send('lost');
    return met.promise;
  }

  #serve(contact: Contact): void {
    if (!contact.isOpen) return;
    this.#contact = contact;
    this.#isLeft = false;
    this.#idleTimer?.cancel();
    const attempts = [...this.#runners.values()].map(({ held }) => ({ ...held }));
    for (const { attemptId } of this.#starts)
      if (!this.#runners.has(attemptId)) attempts.push({ attemptId, state: 'waiting', pid: null });
    this.#tell({ type: 'hello', protocol: HELPER_PROTOCOL, helperId: this.id, pid: 1, attempts });
    for (const runner of this.#runners.values()) runner.tellAgain();
  }

  #closed(contact: Contact): void {
    contact.isOpen = false;
    this.#waiting = this.#waiting.filter((waiting) => waiting !== contact);
    if (this.#contact !== contact) return;
    this.#contact = null;
    const next = this.#waiting.shift();
    if (next) this.#serve(next);
    else this.#endWhenIdle();
  }

  #tell(message: FromHelper): void {
    this.#contact?.toSession.send(message);
  }

  #obey(message: ToHelper): void {
    switch (message.type) {
      case 'settings':
        return;
      case 'start':
        this.#starts.push(message.task);
        if (this.#starts.length === 1) this.#startNext();
        return;
      case 'continue':
        this.#runners.get(message.attemptId)?.answer(message.task);
        return;
      case 'adopt':
        if (this.#runners.has(message.attemptId)) return;
        this.#running.add(message.attemptId);
        this.#runners.set(message.attemptId, adoptAttempt(message.attemptId, this.#spool, this.#ports));
        return;
      case 'end': {
        const runner = this.#runners.get(message.attemptId);
        if (runner) {
          runner.end(message.graceMs);
          return;
        }
        const index = this.#starts.findIndex(({ attemptId }) => attemptId === message.attemptId);
        if (index === -1) return;
        this.#starts.splice(index, 1);
        this.#tell({
          type: 'refused',
          attemptId: message.attemptId,
          reason: 'notExecuted',
          detail: 'it was cancelled before it began',
        });
        return;
      }
      case 'forget':
        if (!this.#running.has(message.attemptId)) this.#runners.delete(message.attemptId);
        return;
      case 'bye':
        this.#isLeft = true;
        return;
      default:
        message satisfies never;
    }
  }

  #startNext(): void {
    this.process.after(this.#machine.spawnDelay(), 'takes the next start', () => {
      const task = this.#starts.shift();
      if (task && !this.#runners.has(task.attemptId)) {
        this.#running.add(task.attemptId);
        this.#runners.set(task.attemptId, startRunner(task, this.#ports));
      }
      if (this.#starts.length > 0) this.#startNext();
    });
  }

  #settled(attemptId: string): void {
    this.#running.delete(attemptId);
    if (this.#runners.get(attemptId)?.held.state === 'waiting') this.#runners.delete(attemptId);
    this.#endWhenIdle();
  }

  #endWhenIdle(): void {
    this.#idleTimer?.cancel();
    this.#idleTimer = null;
    if (this.#contact || this.#isBusy()) return;
    this.#idleTimer = this.process.after(this.#isLeft ? 0 : IDLE_MS, 'has nothing to do', () => {
      if (!this.#contact && this.#waiting.length === 0 && !this.#isBusy()) this.process.end();
    });
  }

  #isBusy(): boolean {
    return this.#running.size > 0 || this.#starts.length > 0;
  }
}
