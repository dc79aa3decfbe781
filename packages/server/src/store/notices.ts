import pg from 'pg';
import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock.ts';
import { ALL_RUNS } from '../hints.ts';
import { type Operation, rows, type Transaction } from './operation.ts';
import { clientConfig, type PostgresAddress } from './postgresConnection.ts';

const CHANNEL = 'rota';
/** Topics are collected so long, so that many make one notice: all of them take a lock of the whole database. */
const COLLECT_MS = 25;
/** PostgreSQL refuses notices of 8,000 bytes. */
const NOTICE_BYTES = 7_000;
/** Pauses between tries to listen again. */
const AGAIN_MS = [100, 500, 2_000, 5_000];
/**
 * A connection that only listens would never find that it is dead, or that what it listened on went to a pooler: each server gives
 * a notice to itself so often. After two that have not come back it counts as deaf.
 */
const ECHO_MS = 5_000;
const DEAF = 2;
const STOP_MS = 1_000;

/** Hints between the servers of one database. Any of them may be lost. */
export interface Notices {
  /** Gives a topic to the other servers. */
  tell(topic: string): void;
  /** Whether this server's own notices come back, and so those of others are likely to come, too. */
  readonly areHeard: boolean;
  stop(): Promise<void>;
}

interface Notice {
  from: string;
  topics: string[];
}

/** Gives a notice to all who listen. It must not stand in a transaction that writes: commits would wait for each other. */
export function* notify(_transaction: Transaction, input: { payload: string }): Operation<void> {
  yield* rows('select pg_notify(?, ?)', CHANNEL, input.payload);
}

/** Listens on a connection of its own, which a pooler in transaction mode could not give. */
export function openNotices(ports: {
  address: PostgresAddress;
  clock: Pick<Clock, 'after'>;
  log: Logger;
  /** Tells this process's own notices from those of others. */
  self: string;
  notify(input: { payload: string }): Promise<void>;
  hear(topic: string): void;
}): Notices {
  const { address, clock, log, self, hear } = ports;
  let topics = new Set<string>();
  let collecting: Timer | null = null;
  let client: pg.Client | null = null;
  let timer: Timer | null = null;
  let failures = 0;
  /** Notices to itself that went out since one came back. */
  let unheard = DEAF;
  let isStopped = false;

  function send(): void {
    collecting = clock.after(COLLECT_MS, () => {
      collecting = null;
      if (topics.size > 0) send();
    });
    const told = [...topics];
    topics = new Set();
    give(told);
  }

  function give(told: string[]): void {
    ports.notify({ payload: noticeOf(self, told) }).catch((error: unknown) => {
      log.debug({ err: error }, 'a notice to other servers was lost');
    });
  }

  async function listen(): Promise<void> {
    const mine = new pg.Client({ ...clientConfig(address), application_name: 'rota notices' });
    client = mine;
    mine.on('notification', ({ payload }) => {
      const notice = readNotice(payload);
      if (notice?.from === self) unheard = 0;
      if (notice === null || notice.from === self) return;
      for (const topic of notice.topics) hear(topic);
    });
    const lost = new Promise<unknown>((resolve) => {
      mine.on('error', resolve);
      mine.on('end', () => resolve(new Error('the connection ended')));
    });
    try {
      await mine.connect();
      await mine.query(`listen ${CHANNEL}`);
      failures = 0;
      watch(mine);
      throw await lost;
    } catch (error) {
      if (!isStopped) log.debug({ err: error }, 'cannot hear the notices of other servers; polling goes on');
    }
    timer?.cancel();
    unheard = DEAF;
    mine.end().catch(() => {});
    const waitMs = AGAIN_MS[Math.min(failures, AGAIN_MS.length - 1)] as number;
    failures += 1;
    if (!isStopped) timer = clock.after(waitMs, begin);
  }

  function watch(mine: pg.Client): void {
    unheard += 1;
    give([]);
    timer = clock.after(ECHO_MS, () => {
      mine.query('select 1').then(
        () => client === mine && !isStopped && watch(mine),
        () => void mine.end().catch(() => {}),
      );
    });
  }

  let listening: Promise<void> = Promise.resolve();
  function begin(): void {
    listening = listen();
  }

  begin();
  return {
    get areHeard() {
      return unheard < DEAF;
    },
    tell(topic) {
      if (isStopped) return;
      topics.add(topic);
      // The first goes at once, with all that is said in this turn.
      if (collecting === null) collecting = clock.after(0, send);
    },
    async stop() {
      isStopped = true;
      collecting?.cancel();
      timer?.cancel();
      client?.end().catch(() => {});
      // It may be in the middle of connecting, which takes what it takes.
      await Promise.race([listening, new Promise<void>((resolve) => clock.after(STOP_MS, resolve))]);
    },
  };
}

function noticeOf(from: string, topics: string[]): string {
  const text = JSON.stringify({ from, topics } satisfies Notice);
  if (Buffer.byteLength(text) <= NOTICE_BYTES) return text;
  const others = topics.filter((topic) => !topic.startsWith('run:'));
  return JSON.stringify({ from, topics: [...others, ALL_RUNS] } satisfies Notice);
}

function readNotice(payload: string | undefined): Notice | null {
  try {
    const { from, topics } = JSON.parse(payload ?? '') as Partial<Notice>;
    return typeof from === 'string' && Array.isArray(topics) ? { from, topics } : null;
  } catch {
    return null;
  }
}
