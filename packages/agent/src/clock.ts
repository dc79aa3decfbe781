import { randomBytes } from 'node:crypto';
import { uptime } from 'node:os';
import type { Clock, Random, Timer } from './ports.ts';

/** Timers stop while a machine sleeps; a long wait looks at the boot clock this often, so that it is over soon after that. */
const SLICE_MS = 1_000;

/** The machine's own clock. `bootMs` has a resolution of 10 ms on Linux (/proc/uptime). */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  bootMs: () => uptime() * 1000,
  after(ms, callback): Timer {
    if (ms <= 1_000) {
      const handle = setTimeout(callback, ms);
      return { cancel: () => clearTimeout(handle) };
    }
    const due = systemClock.bootMs() + ms;
    let handle: NodeJS.Timeout;
    const wait = () => {
      const left = due - systemClock.bootMs();
      if (left <= 0) callback();
      else handle = setTimeout(wait, Math.min(left, SLICE_MS));
    };
    wait();
    return { cancel: () => clearTimeout(handle) };
  },
};

export const systemRandom: Random = {
  unit: () => Math.random(),
  token: (bytes) => randomBytes(bytes).toString('base64url'),
};
