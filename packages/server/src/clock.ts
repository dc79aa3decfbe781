/** Time as the server sees it. The composition root gives the real one; a simulation gives its own. */
export interface Clock {
  /** Epoch ms. With SQLite this is the database's clock, since both are one machine. */
  now(): number;
  /** Runs `callback` once after `delayMs` or a little later; never early by more than a timer's error. */
  after(delayMs: number, callback: () => void): Timer;
}

export interface Timer {
  cancel(): void;
}

/** Longest delay that a timer of the runtime can hold; longer ones would fire at once. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;

/** The machine's clock and timers. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(0, delayMs), LONGEST_DELAY_MS));
    return { cancel: () => clearTimeout(timer) };
  },
};
