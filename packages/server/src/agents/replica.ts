import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { Hints } from '../hints.ts';
import { createLoop } from '../loop.ts';
import { newId, type Random } from '../random.ts';
import type { Store } from '../store/store.ts';
import type { ReplicaRow } from '../store/tables.ts';
import type { Sessions } from './sessions.ts';

/** How often a server says that it lives, and how long the others wait for it before its sessions are over. */
export const REPLICA_TOUCH_MS = 1_000;
export const REPLICA_LOST_MS = 5_000;
/** Who did not hear the others for so long, because it or the database was away, begins to wait for them anew. */
const DEAF_MS = 2_500;
/** How long a server that stops tries to say so. */
const STOP_MS = 1_000;
/** Sessions of a lost server that one commit ends. */
const CLOSED_AT_ONCE = 50;

/** This server process among those that share the database. */
export interface Replica {
  /** Of this start; another one after the others gave it up. */
  readonly id: string;
  /** Whether other servers live, as was seen last. */
  readonly hasOthers: boolean;
  /** From now on others see it; sessions that nobody holds any more are over. */
  start(): Promise<void>;
  /** Says that its agents go elsewhere. @returns whether there is another server that they can go to */
  leave(): Promise<boolean>;
  stop(): Promise<void>;
}

/**
 * Says again and again that this server lives, and gives up others that do not. Silence counts only while this server itself
 * hears the database, so that neither an outage nor a clock that was set makes servers give each other up.
 */
export function createReplica(ports: {
  /** host:pid, for people. */
  name: string;
  store: Store;
  clock: Clock;
  random: Random;
  hints: Hints;
  log: Logger;
  sessions: Sessions;
}): Replica {
  const { name, store, clock, random, hints, log, sessions } = ports;
  let id = newId(random);
  let isShared = false;
  let isStopping = false;
  let others: ReplicaRow[] = [];
  /** What each of the others said last, and when that was heard first. */
  const heard = new Map<string, { seenAt: number; at: number }>();
  let lookedAt = Number.NEGATIVE_INFINITY;

  async function step(): Promise<null> {
    const all = await store.touchReplica({ id });
    if (all === null) {
      if (!isStopping) await beginAgain();
      return null;
    }
    others = all.filter((each) => each.id !== id && each.lostAt === null);
    for (const { id: silent, name: who, seenAt } of findSilent()) {
      if (await store.loseReplica({ id: silent, seenAt }))
        log.warn({ replica: who }, 'another server is lost');
      others = others.filter((each) => each.id !== silent);
    }
    if (all.length > others.length + 1) await closeLost();
    return null;
  }

  function findSilent(): ReplicaRow[] {
    const now = clock.now();
    if (now < lookedAt || now - lookedAt > DEAF_MS) heard.clear();
    lookedAt = now;
    for (const each of [...heard.keys()]) if (!others.some((other) => other.id === each)) heard.delete(each);
    return others.filter((other) => {
      const last = heard.get(other.id);
      if (last?.seenAt === other.seenAt) return now - last.at >= REPLICA_LOST_MS;
      heard.set(other.id, { seenAt: other.seenAt, at: now });
      return false;
    });
  }

  async function closeLost(): Promise<void> {
    while ((await store.closeLostSessions({ limit: CLOSED_AT_ONCE })) > 0) {
      for (const topic of ['agents', 'dispatch', 'events']) hints.give(topic);
    }
  }

  /** The process stood still: its agents are elsewhere by now, or have to say again what they have. */
  async function beginAgain(): Promise<void> {
    log.warn('this server was away too long; its agents have to come again');
    id = newId(random);
    for (const session of sessions.all()) session.close('this server was away too long');
    await store.registerReplica({ id, name });
  }

  /** The database may be away when a server stops: the others find out by themselves. */
  async function within(work: Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.after(STOP_MS, resolve);
    const logged = work.catch((error: unknown) =>
      log.warn({ err: error }, 'the others were not told that this server stops'),
    );
    await Promise.race([logged, promise]);
    timer.cancel();
  }

  const loop = createLoop({ name: 'replica', clock, log, pollMs: REPLICA_TOUCH_MS, step });
  return {
    get id() {
      return id;
    },
    get hasOthers() {
      return others.length > 0;
    },
    async start() {
      isShared = await store.registerReplica({ id, name });
      if (!isShared) return closeLost();
      await step();
      loop.start();
    },
    async leave() {
      if (!isShared) return false;
      await within(store.leaveReplica({ id }));
      return others.some((other) => other.leavingAt === null);
    },
    async stop() {
      isStopping = true;
      await within(loop.stop());
      await within(store.endReplica({ id }));
    },
  };
}
