import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import { createLoop } from '../loop.ts';
import type { RetentionCursor } from '../store/retention.ts';
import type { Store } from '../store/store.ts';

const DAY_MS = 86_400_000;

/** How long things are kept, in milliseconds since they ended. */
export interface Retention {
  runsMs: number;
  outputMs: number;
  eventsMs: number;
  auditMs: number;
}

export const RETENTION_DEFAULTS: Retention = {
  runsMs: 90 * DAY_MS,
  outputMs: 30 * DAY_MS,
  eventsMs: 3_600_000,
  auditMs: 365 * DAY_MS,
};

/** Time between two passes over what is old. */
const PASS_MS = 600_000;
/** A batch that took longer than this halves the next one, so that none holds the event loop over 20 ms. */
const LONG_BATCH_MS = 8;
const BATCH_MAX = 200;
/** Time between two batches, for everything else. */
const BREATH_MS = 5;

type Phase = 'runs' | 'output' | 'events' | 'audit';

/** Deletes what is older than its retention, batch by batch; a job's last run and last failure stay. */
export function createRetention(ports: { store: Store; clock: Clock; log: Logger; retention: Retention }) {
  const { store, clock, log, retention } = ports;
  let phase: Phase = 'runs';
  let cursor: RetentionCursor | null = null;
  let limit = 50;

  async function batch(): Promise<boolean> {
    const now = clock.now();
    switch (phase) {
      case 'runs': {
        const { next } = await store.deleteOldRuns({ before: now - retention.runsMs, after: cursor, limit });
        cursor = next;
        if (next === null) phase = 'output';
        return true;
      }
      case 'output': {
        const deleted = await store.deleteOldOutput({ before: now - retention.outputMs, limit });
        if (deleted === 0) phase = 'events';
        return true;
      }
      case 'events': {
        const deleted = await store.deleteOldEvents({ before: now - retention.eventsMs, limit });
        if (deleted < limit) phase = 'audit';
        return true;
      }
      case 'audit': {
        const deleted = await store.deleteOldAudit({ before: now - retention.auditMs, limit });
        if (deleted === limit) return true;
        phase = 'runs';
        return false;
      }
    }
  }

  async function step(): Promise<number | null> {
    const began = clock.now();
    const more = await batch();
    const took = clock.now() - began;
    limit = took > LONG_BATCH_MS ? Math.max(5, limit >> 1) : Math.min(BATCH_MAX, limit + 10);
    return clock.now() + (more ? BREATH_MS : PASS_MS);
  }

  return createLoop({ name: 'retention', clock, log, pollMs: PASS_MS, step });
}
