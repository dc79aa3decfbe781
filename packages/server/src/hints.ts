/**
 * Says inside one process that there may be something new to read. A hint can be lost without harm:
 * whoever waits for one also looks by itself from time to time.
 *
 * Topics: `plan` (a job may be due), `dispatch` (a run may be queued), `events`, `run:<id>` (its state or output).
 */
export interface Hints {
  give(topic: string): void;
  /** Calls `listener` at each hint until the returned function is called. */
  on(topic: string, listener: () => void): () => void;
}

export function createHints(): Hints {
  const listeners = new Map<string, Set<() => void>>();
  return {
    give(topic) {
      for (const listener of listeners.get(topic) ?? []) listener();
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
