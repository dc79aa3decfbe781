import type { Logger } from 'pino';
import type { Clock, Timer } from './clock.ts';

/**
 * Runs one step again and again. The step does what is due and says when it wants to look next; the loop owns
 * waiting, the poll that makes a lost hint harmless, back-off after an error, and stopping.
 * `start` and `stop` may be called in any order and more than once; `stop` resolves when no step is running.
 */
export interface Loop {
  start(): void;
  stop(): Promise<void>;
  /** There may be something to do now. */
  nudge(): void;
}

const ERROR_BACKOFF_MS = 1_000;

export function createLoop(ports: {
  name: string;
  clock: Clock;
  log: Logger;
  /** Longest time between two looks. */
  pollMs: number;
  /** @returns when to look next, epoch ms; null: at the next poll or nudge */
  step(): Promise<number | null>;
}): Loop {
  let running: Promise<void> | null = null;
  let timer: Timer | null = null;
  let stopped = true;
  let nudged = false;

  async function run(): Promise<void> {
    nudged = false;
    let wait = ports.pollMs;
    try {
      const next = await ports.step();
      if (next !== null) wait = Math.min(wait, Math.max(0, next - ports.clock.now()));
    } catch (error) {
      ports.log.error({ err: error, loop: ports.name }, 'a step failed; it will be tried again');
      wait = ERROR_BACKOFF_MS;
    }
    running = null;
    if (stopped) return;
    if (nudged) begin();
    else timer = ports.clock.after(wait, begin);
  }

  function begin(): void {
    timer?.cancel();
    timer = null;
    if (stopped || running) return;
    running = run();
  }

  return {
    start() {
      if (!stopped) return;
      stopped = false;
      begin();
    },
    async stop() {
      stopped = true;
      timer?.cancel();
      timer = null;
      await running;
    },
    nudge() {
      if (stopped) return;
      nudged = true;
      if (!running) begin();
    },
  };
}
