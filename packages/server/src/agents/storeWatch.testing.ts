import type { Driver } from '../store/driver.ts';
import type { Store } from '../store/store.ts';

/** Watches what a server asks of its database, and can keep it waiting. */
export class StoreWatch {
  /** What was asked for and has no answer yet. */
  #underWay = 0;
  #frozen: Promise<void> | null = null;

  get isFrozen(): boolean {
    return this.#frozen !== null;
  }

  /** Nothing that is asked for is answered until the server goes on. @returns what lets it go on */
  freeze(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#frozen = promise;
    return () => {
      this.#frozen = null;
      resolve();
    };
  }

  /** What has come about may be the middle of a step: lets it end, so that its timers are set before a test moves on. */
  async rest(): Promise<void> {
    for (let turns = 0; turns < 3; turns++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#underWay > 0) turns = -1;
    }
  }

  /** The same driver, watched. */
  over(driver: Driver): Driver {
    const counted = async <T>(work: () => Promise<T>): Promise<T> => {
      this.#underWay += 1;
      try {
        await this.#frozen;
        return await work();
      } finally {
        this.#underWay -= 1;
      }
    };
    return {
      write: (operation, key, subject) => counted(() => driver.write(operation, key, subject)),
      read: (operation) => counted(() => driver.read(operation)),
      now: () => driver.now(),
      onCommit: (listener) => driver.onCommit(listener),
      onRecovery: (listener) => driver.onRecovery(listener),
      backup: (file) => driver.backup(file),
      close: () => driver.close(),
    };
  }
}

/** The same store for one part of a server; each operation that it asks for is noted by name. */
export function noting(store: Store, asked: string[]): Store {
  return new Proxy(store, {
    get(target, name) {
      asked.push(String(name));
      return Reflect.get(target, name);
    },
  });
}
