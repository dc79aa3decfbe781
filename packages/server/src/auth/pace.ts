import type { Clock } from '../clock.ts';

const WINDOW_MS = 60_000;

/** Counts what a token does of one kind, in bounded memory. */
export interface Pace {
  /** Counts one. @returns seconds to wait when there were too many within a minute, else 0 */
  count(tokenId: string): number;
}

/** A limit of so many a minute for each token. */
export function createPace(clock: Pick<Clock, 'now'>, perMinute: number): Pace {
  let window = { until: 0, counts: new Map<string, number>() };
  return {
    count(tokenId) {
      const now = clock.now();
      if (window.until <= now || window.until > now + WINDOW_MS)
        window = { until: now + WINDOW_MS, counts: new Map() };
      const count = (window.counts.get(tokenId) ?? 0) + 1;
      window.counts.set(tokenId, count);
      return count > perMinute ? Math.ceil((window.until - now) / 1_000) : 0;
    },
  };
}
