import type { Log } from './ports.ts';

/** Settles what concerns one attempt one after the other; attempts do not wait for each other. */
export interface Turns {
  /** Runs `step` once all earlier steps of the attempt are settled. */
  inTurn(attemptId: string, step: () => Promise<void>): void;
  /** Resolves once every step taken so far is settled. */
  settled(): Promise<void>;
  /** Resolves when the next step is settled: there may be news of its attempt. */
  news(): Promise<void>;
}

export function createTurns(log: Log): Turns {
  const chains = new Map<string, Promise<void>>();
  let waiting: (() => void)[] = [];
  return {
    inTurn(attemptId, step) {
      const chain = (chains.get(attemptId) ?? Promise.resolve()).then(step).catch((error) => {
        log.error({ err: error, attemptId }, 'a message about the attempt could not be settled');
      });
      chains.set(attemptId, chain);
      void chain.then(() => {
        if (chains.get(attemptId) === chain) chains.delete(attemptId);
        const told = waiting;
        waiting = [];
        for (const tell of told) tell();
      });
    },
    async settled() {
      await Promise.all(chains.values());
    },
    news: () => new Promise((resolve) => waiting.push(resolve)),
  };
}
