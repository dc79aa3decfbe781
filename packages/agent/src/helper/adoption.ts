import type { HeldAttempt, Task } from '../helperProtocol.ts';
import type { Mark, Root } from '../processTree.ts';
import type { Spool } from '../spool.ts';
import type { Early } from './chainEnd.ts';
import { createProgressNews, type ProgressNews } from './progressNews.ts';
import { CANCELLED, createStepNews, type Runner, type RunnerPorts } from './runner.ts';

/** Between two looks at whether an adopted process has gone. */
const POLL_MS = 250;

/** An attempt whose helper has died: what is known of it, and what may still come to it. */
export class Adoption implements Runner {
  readonly attemptId: string;
  readonly spool: Spool;
  readonly ports: RunnerPorts;
  readonly held: HeldAttempt;
  readonly news: ReturnType<typeof createStepNews>;
  readonly progress: ProgressNews;
  /** Set once it is to be ended. */
  early: Early | null = null;
  #graceMs = 0;
  #stop: ((graceMs: number) => void) | null = null;
  #answer: ((task: Task | null) => void) | null = null;

  constructor(attemptId: string, spool: Spool, ports: RunnerPorts) {
    this.attemptId = attemptId;
    this.spool = spool;
    this.ports = ports;
    this.held = { attemptId, state: 'waiting', pid: null };
    this.news = createStepNews(attemptId, ports);
    this.progress = createProgressNews(attemptId, ports, false);
  }

  end(graceMs: number): void {
    this.endEarly(CANCELLED, graceMs);
  }

  endEarly(cause: Early, graceMs: number): void {
    if (this.early === null) this.#graceMs = graceMs;
    this.early ??= cause;
    this.#stop?.(this.#graceMs);
  }

  /** Says who ends what goes on from now on; at once, when it is to be ended already. */
  onEarly(stop: ((graceMs: number) => void) | null): void {
    this.#stop = stop;
    if (this.early) stop?.(this.#graceMs);
  }

  tellAgain(): void {
    if (this.held.state !== 'running') return;
    this.news.again();
    this.progress.again();
    if (this.#answer) this.ports.tell({ type: 'continue', attemptId: this.attemptId });
  }

  answer(task: Task | null): void {
    this.#answer?.(task);
  }

  /** It was begun and has not ended, with this process of it. */
  running(pid: number | null): void {
    this.held.state = 'running';
    this.held.pid = pid;
    this.ports.tell({ type: 'running', attemptId: this.attemptId, pid });
  }

  /** Waits until the process has gone; it is ended at `untilBootMs`. @returns whether that was why */
  async untilGone(
    root: Root,
    mark: Mark,
    limit: { untilBootMs: number; graceMs: number } | null,
  ): Promise<boolean> {
    const { clock, machine } = this.ports;
    let treeEnded: Promise<unknown> | null = null;
    let isLate = false;
    this.onEarly((graceMs) => {
      treeEnded ??= machine.endTree(root, { ...mark, step: null }, graceMs);
    });
    while (machine.isAlive(root)) {
      await new Promise<void>((resolve) => clock.after(POLL_MS, resolve));
      if (limit === null || treeEnded || clock.bootMs() < limit.untilBootMs) continue;
      isLate = true;
      treeEnded = machine.endTree(root, mark, limit.graceMs);
    }
    this.onEarly(null);
    await treeEnded;
    return isLate;
  }

  /** Asks the server, through whatever session there is, whether it may go on; null when it may not, or is to be ended. */
  async askToGoOn(): Promise<Task | null> {
    const asked = Promise.withResolvers<Task | null>();
    this.#answer = asked.resolve;
    this.onEarly(() => asked.resolve(null));
    this.ports.tell({ type: 'continue', attemptId: this.attemptId });
    const task = await asked.promise;
    this.#answer = null;
    this.onEarly(null);
    return task;
  }

  /** How long ago that was. */
  since(bootMs: number): number {
    return Math.max(0, Math.round(this.ports.clock.bootMs() - bootMs));
  }
}
