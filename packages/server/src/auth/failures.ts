import { isIPv6 } from 'node:net';
import type { Clock } from '../clock.ts';

const WINDOW_MS = 60_000;
const FAILURES_PER_WINDOW = 20;
/** Addresses remembered; beyond them the oldest window is forgotten. */
const ADDRESSES = 10_000;

/** Counts failed authentications by address, in bounded memory. */
export interface Failures {
  /** Counts one. @returns seconds to wait when the address has failed too often, else 0 */
  count(address: string): number;
}

/** A limit of 20 failures a minute for each address; an IPv6 network of /64 counts as one address. */
export function createFailures(clock: Clock): Failures {
  const windows = new Map<string, { until: number; failures: number }>();
  return {
    count(address) {
      const key = networkOf(address);
      const now = clock.now();
      let window = windows.get(key);
      if (!window || window.until <= now) {
        windows.delete(key);
        window = { until: now + WINDOW_MS, failures: 0 };
        windows.set(key, window);
        if (windows.size > ADDRESSES) windows.delete(windows.keys().next().value as string);
      }
      window.failures += 1;
      return window.failures > FAILURES_PER_WINDOW ? Math.ceil((window.until - now) / 1_000) : 0;
    },
  };
}

function networkOf(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const last = tail ? tail.split(':') : [];
  const zeros = tail === undefined ? 0 : 8 - groups.length - last.length;
  return [...groups, ...Array<string>(zeros).fill('0'), ...last].slice(0, 4).join(':');
}
