import type { TestContext } from 'node:test';
import type { Clock } from '../clock.ts';
import { openSqlite } from './sqlite.ts';
import { createStore, type Store } from './store.ts';

/** A clock that stands still until a test moves it; nothing here waits by it. */
export interface StillClock extends Clock {
  set(now: number): void;
}

export function stillClock(now: number): StillClock {
  let at = now;
  return {
    now: () => at,
    set(next) {
      at = next;
    },
    after: () => ({ cancel: () => {} }),
  };
}

/** A store in memory with one tenant, `t`. */
export async function memoryStore(t: TestContext, clock: Clock): Promise<Store> {
  const store = createStore(await openSqlite(':memory:', clock));
  t.after(() => store.close());
  await store.createTenant({ id: 't', name: 'default', timezone: 'UTC' });
  return store;
}
