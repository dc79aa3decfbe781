/**
 * Says that there may be something new to read, here and to other servers. A hint can be lost without harm:
 * whoever waits for one also looks by itself from time to time.
 *
 * Topics: `plan` (a job may be due), `dispatch` (a run may be queued), `agents` (one came, left or changed), `offers` (an agent
 * may have to be told of one, or that it no longer stands), `cancels`, `events`, `run:<id>` (its state or output).
 */
export interface Hints {
  give(topic: string): void;
  /** Gives it to other servers alone: here it is known. */
  tell(topic: string): void;
  /** Calls `listener` at each hint until the returned function is called. */
  on(topic: string, listener: () => void): () => void;
  /** Whether what other servers give is known to arrive: then looking by oneself may be rarer. */
  readonly areHeard: boolean;
}

/** In place of very many runs. */
export const ALL_RUNS = 'run:*';

/** `tell` gives a topic to other servers; what they give comes in by `hear`, while `areHeard` says so. */
export function createHints(
  tell: (topic: string) => void = () => {},
  areHeard: () => boolean = () => false,
): Hints & { hear(topic: string): void } {
  const listeners = new Map<string, Set<() => void>>();
  function hear(topic: string): void {
    for (const listener of listeners.get(topic) ?? []) listener();
    if (topic !== ALL_RUNS) return;
    for (const [each, set] of listeners) if (each.startsWith('run:')) for (const listener of set) listener();
  }

  return {
    hear,
    tell,
    get areHeard() {
      return areHeard();
    },
    give(topic) {
      hear(topic);
      tell(topic);
    },
    on(topic, listener) {
      let set = listeners.get(topic);
      if (!set) {
        set = new Set();
        listeners.set(topic, set);
      }
      set.add(listener);
      return () => {
        set.delete(listener);
        if (set.size === 0) listeners.delete(topic);
      };
    },
  };
}
