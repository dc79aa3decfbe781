import { createHash } from 'node:crypto';

export interface Timer {
  cancel(): void;
}

class Event implements Timer {
  readonly at: number;
  /** Seeded, so that the order of what happens at one instant is no habit. */
  readonly tie: number;
  readonly process: Process | null;
  readonly what: string;
  run: (() => void) | null;

  constructor(at: number, tie: number, process: Process | null, what: string, run: () => void) {
    this.at = at;
    this.tie = tie;
    this.process = process;
    this.what = what;
    this.run = run;
  }

  cancel(): void {
    this.run = null;
  }
}

/** What a point in the trace is about: a fault that waits for it strikes these. */
export interface Subject {
  replica?: number;
  agent?: number;
}

/** Events that run in one turn of the runtime's loop; all promises are settled between any two of them. */
const EVENTS_PER_TURN = 200;
/** More than this at one virtual millisecond is a loop that waits for nothing. */
const EVENTS_PER_MS_MAX = 20_000;

/**
 * Virtual time: one event after the other, in the order of their instants. Nothing runs but by an event, and each event's
 * promises are settled before the next one begins, so that a seed determines all that happens.
 */
export class Kernel {
  /** Milliseconds since the world began. */
  now = 0;
  events = 0;
  readonly #heap: Event[] = [];
  readonly #tie: () => number;
  readonly #hash = createHash('sha256');
  #lines: string[] = [];
  readonly #waiting = new Map<string, { left: number; strike: (subject: Subject) => void }[]>();
  readonly #listener: ((line: string) => void) | null;
  #busyMs = 0;
  #busyEvents = 0;

  constructor(tie: () => number, listener: ((line: string) => void) | null = null) {
    this.#tie = tie;
    this.#listener = listener;
  }

  /** Calls back at an instant that is not before now. Events of a process wait while it is frozen, and die with it. */
  at(instant: number, process: Process | null, what: string, run: () => void): Timer {
    // Never at the very same instant: time goes on, even in a loop that asks for no delay.
    const at = Math.max(this.now + 0.001, Math.round(instant * 1_000) / 1_000);
    const event = new Event(at, this.#tie(), process, what, run);
    this.#push(event);
    return event;
  }

  after(delayMs: number, process: Process | null, what: string, run: () => void): Timer {
    return this.at(this.now + delayMs, process, what, run);
  }

  /** Writes something down that happens now. */
  trace(actor: string, what: string, subject: Subject = {}): void {
    this.#write(`${this.now} ${actor} ${what}`);
    this.#strike(what, subject);
  }

  /** Calls `strike` when `what` is traced for the n-th time from now on. */
  when(what: string, nth: number, strike: (subject: Subject) => void): void {
    const waiting = this.#waiting.get(what);
    if (waiting) waiting.push({ left: nth, strike });
    else this.#waiting.set(what, [{ left: nth, strike }]);
  }

  /** Runs all events up to an instant. */
  run(until: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let ended = false;
      const step = () => {
        if (ended) return;
        try {
          const event = this.#pop(until);
          if (event === null) {
            ended = true;
            this.now = until;
            resolve();
          } else this.#execute(event);
        } catch (error) {
          ended = true;
          reject(error);
        }
      };
      const turn = () => {
        if (ended) return;
        // Between two of these the runtime settles all promises, to the last.
        for (let index = 0; index < EVENTS_PER_TURN; index++) setImmediate(step);
        setImmediate(turn);
      };
      turn();
    });
  }

  /** SHA-256 over everything that has happened. */
  digest(): string {
    this.#flush();
    return this.#hash.copy().digest('hex');
  }

  #execute(event: Event): void {
    this.now = event.at;
    const { process, run } = event;
    if (run === null || process?.ended) return;
    if (process?.frozen) {
      process.keep(() => this.at(this.now, process, event.what, run));
      return;
    }
    this.events += 1;
    if (event.at - this.#busyMs > 1) {
      this.#busyMs = event.at;
      this.#busyEvents = 0;
    } else if (++this.#busyEvents > EVENTS_PER_MS_MAX) throw new Error(`time stands still at ${event.what}`);
    this.#write(`${event.at} ${process?.name ?? '-'} ${event.what}`);
    run();
  }

  #strike(what: string, subject: Subject): void {
    const waiting = this.#waiting.get(what);
    if (!waiting) return;
    for (const each of waiting) {
      each.left -= 1;
      if (each.left === 0) each.strike(subject);
    }
  }

  #write(line: string): void {
    this.#listener?.(line);
    this.#lines.push(line);
    if (this.#lines.length >= 1_000) this.#flush();
  }

  #flush(): void {
    if (this.#lines.length > 0) this.#hash.update(`${this.#lines.join('\n')}\n`);
    this.#lines = [];
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(event, heap[parent] as Event)) break;
      heap[index] = heap[parent] as Event;
      index = parent;
    }
    heap[index] = event;
  }

  #pop(until: number): Event | null {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined || first.at > until) return null;
    const last = heap.pop() as Event;
    if (heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child += 1;
      if (!isBefore(heap[child] as Event, last)) break;
      heap[index] = heap[child] as Event;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at === b.at ? a.tie < b.tie : a.at < b.at;
}

/** Something that can be frozen and killed: nothing of it runs then. */
export class Process {
  readonly name: string;
  readonly kernel: Kernel;
  ended = false;
  #frozenUntil = 0;
  #kept: (() => void)[] = [];
  readonly #atEnd: (() => void)[] = [];

  constructor(kernel: Kernel, name: string) {
    this.kernel = kernel;
    this.name = name;
  }

  get frozen(): boolean {
    return this.kernel.now < this.#frozenUntil;
  }

  /** Stops it, as SIGSTOP does; what comes meanwhile waits. */
  freeze(forMs: number): void {
    if (this.ended) return;
    this.#frozenUntil = Math.max(this.#frozenUntil, this.kernel.now + forMs);
    this.kernel.at(this.#frozenUntil + 0.001, null, `${this.name} goes on`, () => {
      if (this.frozen) return;
      for (const go of this.#kept.splice(0)) go();
    });
  }

  keep(go: () => void): void {
    this.#kept.push(go);
  }

  after(delayMs: number, what: string, run: () => void): Timer {
    return this.kernel.after(delayMs, this, what, run);
  }

  /** Resolves after a while, unless it has ended by then. */
  pause(delayMs: number, what: string): Promise<void> {
    return new Promise((resolve) => {
      this.after(delayMs, what, resolve);
    });
  }

  onEnd(listener: () => void): void {
    this.#atEnd.push(listener);
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.#kept = [];
    for (const listener of this.#atEnd) listener();
  }
}
