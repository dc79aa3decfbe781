import type { Database } from './database.ts';

const LOOK_MS = 25;

/** What the connections of servers to PostgreSQL were doing inside transactions. */
export interface Waits {
  /** How many of them were in a transaction, on average. */
  inTransaction: number;
  /** Parts of that time. */
  shares: Map<string, number>;
}

/** Looks again and again at what the other connections do, until the returned function is called. */
export function watchWaits(database: Database): () => Promise<Waits> {
  const counts = new Map<string, number>();
  let looks = 0;
  let stopped = false;
  async function watch(): Promise<void> {
    while (!stopped) {
      const found = await database.all<{ state: string; type: string | null; event: string | null }>(
        `select "state", "wait_event_type" as "type", "wait_event" as "event" from pg_stat_activity
         where "backend_type" = 'client backend' and "pid" <> pg_backend_pid() and "state" <> 'idle'`,
      );
      looks += 1;
      for (const each of found) {
        const what = doing(each);
        counts.set(what, (counts.get(what) ?? 0) + 1);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
  const watching = watch();
  return async () => {
    stopped = true;
    await watching;
    const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
    const shares = [...counts].toSorted(([, one], [, other]) => other - one);
    return {
      inTransaction: all / looks,
      shares: new Map(shares.map(([what, count]) => [what, count / all])),
    };
  };
}

function doing({ state, type, event }: { state: string; type: string | null; event: string | null }): string {
  if (state.startsWith('idle') || event === 'ClientRead') return 'waits for the server process';
  if (type === null) return 'works or waits for a core';
  if (/^Wal|^WAL/.test(event ?? '')) return 'waits for the disk at a commit';
  if (type === 'Lock') return "waits for another transaction's lock";
  return `waits: ${type} ${event}`;
}
