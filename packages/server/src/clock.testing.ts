import type { Clock, Timer } from './clock.ts';

interface Waiting {
  at: number;
  callback: () => void;
}

/** A clock that a test moves by hand. */
export class HandClock implements Clock {
  #now: number;
  readonly #waiting = new Set<Waiting>();

  constructor(now: number) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  after(delayMs: number, callback: () => void): Timer {
    const waiting = { at: this.#now + Math.max(0, delayMs), callback };
    this.#waiting.add(waiting);
    // What is due by now does not wait for a test to move on.
    if (delayMs <= 0) setImmediate(() => this.#waiting.delete(waiting) && callback());
    return { cancel: () => this.#waiting.delete(waiting) };
  }

  /** Moves on, and calls each timer that is due when its time has come. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      let first: Waiting | null = null;
      for (const each of this.#waiting) if (each.at <= end && (!first || each.at < first.at)) first = each;
      if (!first) break;
      this.#waiting.delete(first);
      this.#now = Math.max(this.#now, first.at);
      first.callback();
    }
    this.#now = end;
  }

  /** Sets the time, as an operator or NTP does, also back; timers are called when it comes to them. */
  set(now: number): void {
    this.#now = now;
  }
}
