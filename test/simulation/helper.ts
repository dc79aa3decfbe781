import type { AttemptEnd } from '@rota/contract';
import type { Helper } from '../../packages/agent/src/helperClient.ts';
import {
  type FromHelper,
  HELPER_PROTOCOL,
  type HeldAttempt,
  type Task,
  type ToHelper,
} from '../../packages/agent/src/helperProtocol.ts';
import { unseenEnd } from '../../packages/agent/src/spoolFile.ts';
import { type Kernel, Process, type Timer } from './kernel.ts';
import type { JobProcess, Machine } from './machine.ts';

const IDLE_MS = 10_000;
const POLL_MS = 250;
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

interface Runner {
  readonly held: HeldAttempt;
  end(graceMs: number): void;
}

/** The process that owns what a machine executes; it does what `helper/service.ts`, `runner.ts` and `adopt.ts` do. */
export class SimHelper {
  readonly id: string;
  readonly process: Process;
  readonly #kernel: Kernel;
  readonly #machine: Machine;
  readonly #runners = new Map<string, Runner>();
  readonly #running = new Set<string>();
  readonly #starts: Task[] = [];
  #contact: Contact | null = null;
  #waiting: Contact[] = [];
  #isLeft = false;
  #idleTimer: Timer | null = null;

  constructor(kernel: Kernel, machine: Machine, id: string) {
    this.#kernel = kernel;
    this.#machine = machine;
    this.id = id;
    this.process = new Process(kernel, `helper of ${machine.name}`);
    this.process.onEnd(() => {
      machine.leaveJobs();
      for (const contact of [this.#contact, ...this.#waiting]) contact?.toSession.send('lost');
    });
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
        // Its jobs have one step each.
        return;
      case 'adopt':
        if (this.#runners.has(message.attemptId)) return;
        this.#running.add(message.attemptId);
        this.#runners.set(message.attemptId, this.#adopt(message.attemptId));
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
        this.#refuse(message.attemptId, 'notExecuted');
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
        this.#runners.set(task.attemptId, this.#run(task));
      }
      if (this.#starts.length > 0) this.#startNext();
    });
  }

  #refuse(attemptId: string, reason: 'notExecuted' | 'permitExpired'): void {
    this.#tell({ type: 'refused', attemptId, reason, detail: '' });
    this.#settled(attemptId);
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

  #run(task: Task): Runner {
    const { attemptId } = task;
    const held: HeldAttempt = { attemptId, state: 'waiting', pid: null };
    const machine = this.#machine;
    let job: JobProcess | null = null;
    let early: Pick<AttemptEnd, 'outcome' | 'reason'> | null = null;
    const endEarly = (outcome: AttemptEnd['outcome'], reason: AttemptEnd['reason'], graceMs: number) => {
      early ??= { outcome, reason };
      if (job) machine.endJob(job, graceMs);
    };
    const run = async (): Promise<void> => {
      await this.process.pause(machine.spawnDelay(), 'prepares a start');
      if (early) return this.#refuse(attemptId, 'notExecuted');
      if (machine.bootMs() > task.validUntilBootMs) return this.#refuse(attemptId, 'permitExpired');
      const startedBootMs = machine.bootMs();
      try {
        machine.spool.begin({
          attemptId,
          kind: (task.steps[0] as Task['steps'][number]).action.kind,
          startedBootMs,
          timeoutMs: task.timeoutMs,
          killGraceMs: task.killGraceMs,
        });
      } catch {
        return this.#refuse(attemptId, 'notExecuted');
      }
      this.#kernel.trace(machine.name, 'before exec', machine.subject);
      await this.process.pause(0.01, 'executes');
      job = machine.execute(task);
      this.#kernel.trace(machine.name, 'after exec', machine.subject);
      await this.process.pause(0.01, 'writes down what it has executed');
      const entry = machine.spool.entry(attemptId);
      if (entry && job) entry.process = { pid: job.pid, startTime: null };
      held.state = 'running';
      held.pid = job?.pid ?? null;
      this.#tell({ type: 'running', attemptId, pid: held.pid });
      // A cancel that came in between.
      if (early && job) machine.endJob(job, task.killGraceMs);
      const deadline =
        task.timeoutMs === null
          ? null
          : this.process.after(task.timeoutMs, 'a timeout', () =>
              endEarly('timedOut', 'timeout', task.killGraceMs),
            );
      if (job) await this.#untilEnd(job, (data) => this.#output(attemptId, data, startedBootMs));
      deadline?.cancel();
      const end: AttemptEnd = {
        ...unseenEnd('exitStatus', machine.spool.outputBytes(attemptId)),
        outcome: job?.exitCode === 0 ? 'succeeded' : 'failed',
        reason: job === null ? 'spawnFailed' : job.exitCode === 0 ? null : 'exitStatus',
        exitCode: job?.exitCode ?? null,
        ...(early as Pick<AttemptEnd, 'outcome' | 'reason'> | null),
        durationMs: Math.max(0, Math.round(machine.bootMs() - startedBootMs)),
      };
      await machine.disk.act(this.process, 'write an end', () => machine.spool.writeEnd(attemptId, end), 3);
      held.state = 'ended';
      this.#tell({ type: 'ended', attemptId });
      this.#settled(attemptId);
    };
    void run();
    return { held, end: (graceMs) => endEarly('cancelled', 'cancelledByUser', graceMs) };
  }

  #output(attemptId: string, data: Buffer, startedBootMs: number): void {
    const entry = this.#machine.spool.entry(attemptId);
    if (!entry || this.#machine.disk.isFull) return;
    const atMs = Math.max(0, Math.round(this.#machine.bootMs() - startedBootMs));
    const position = this.#machine.spool.outputBytes(attemptId);
    entry.output.push({ stream: 'stdout', position, atMs, data });
    this.#tell({ type: 'output', attemptId });
  }

  #untilEnd(job: JobProcess, output: (data: Buffer) => void): Promise<void> {
    return new Promise((resolve) => {
      job.watch({
        output: (data) => this.process.after(PIPE_MS, 'reads output', () => output(data)),
        ended: () => this.process.after(PIPE_MS, 'sees a job end', resolve),
      });
    });
  }

  #adopt(attemptId: string): Runner {
    const held: HeldAttempt = { attemptId, state: 'waiting', pid: null };
    const machine = this.#machine;
    let early: Pick<AttemptEnd, 'outcome' | 'reason'> | null = null;
    let graceMs = 0;
    let job: JobProcess | null = null;
    const endEarly = (outcome: AttemptEnd['outcome'], reason: AttemptEnd['reason'], grace: number) => {
      early ??= { outcome, reason };
      graceMs = grace;
      if (job) machine.endJob(job, grace);
    };
    const look = async (): Promise<void> => {
      const entry = await machine.disk.act(this.process, 'look for an end', () => {
        const found = machine.spool.entry(attemptId);
        return found ? { end: found.end, begin: found.begin } : null;
      });
      const settle = () => {
        held.state = 'ended';
        this.#tell({ type: 'ended', attemptId });
        this.#settled(attemptId);
      };
      if (entry?.end) return settle();
      const begin = entry?.begin;
      if (!begin) return this.#refuse(attemptId, 'notExecuted');
      job = machine.jobOf(attemptId);
      if (job) {
        held.state = 'running';
        held.pid = job.pid;
        machine.watchAgain(job);
        this.#tell({ type: 'running', attemptId, pid: job.pid });
        if (early) machine.endJob(job, graceMs);
        const deadline =
          begin.timeoutMs === null
            ? null
            : this.process.after(
                Math.max(0, begin.startedBootMs + begin.timeoutMs - machine.bootMs()),
                'a timeout',
                () => endEarly('timedOut', 'timeout', begin.killGraceMs),
              );
        while (job.isAlive) await this.process.pause(POLL_MS, 'looks after an adopted job');
        deadline?.cancel();
      }
      const end = { ...unseenEnd('exitStatusLost', machine.spool.outputBytes(attemptId)), ...early };
      await machine.disk.act(this.process, 'write an end', () => machine.spool.writeEnd(attemptId, end), 3);
      settle();
    };
    void look();
    return { held, end: (grace) => endEarly('cancelled', 'cancelledByUser', grace) };
  }
}
