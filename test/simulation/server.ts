import type { KeyObject } from 'node:crypto';
import type { Logger } from 'pino';
import { createDelivery } from '../../packages/server/src/agents/delivery.ts';
import { createDispatcher } from '../../packages/server/src/agents/dispatch.ts';
import { createGateway, type Gateway } from '../../packages/server/src/agents/gateway.ts';
import type { ServerKeys } from '../../packages/server/src/agents/permits.ts';
import { createPresences } from '../../packages/server/src/agents/presence.ts';
import { createRecovery } from '../../packages/server/src/agents/recovery.ts';
import { createReplica } from '../../packages/server/src/agents/replica.ts';
import { createRoster } from '../../packages/server/src/agents/roster.ts';
import { Sessions } from '../../packages/server/src/agents/sessions.ts';
import type { Clock } from '../../packages/server/src/clock.ts';
import { createHints, type Hints } from '../../packages/server/src/hints.ts';
import { createDefinitions } from '../../packages/server/src/runs/definitions.ts';
import { createRuns, type Runs } from '../../packages/server/src/runs/runs.ts';
import { createRetention, RETENTION_DEFAULTS } from '../../packages/server/src/scheduler/retention.ts';
import { createScheduler } from '../../packages/server/src/scheduler/scheduler.ts';
import { createStore, type Store } from '../../packages/server/src/store/store.ts';
import type { SimDatabase } from './database.ts';
import { SimDriver } from './driver.ts';
import { type Kernel, Process } from './kernel.ts';
import type { SimNetwork } from './network.ts';
import { Seeded } from './random.ts';

/** What an operator's request needs of the replica that takes it. */
export interface Served {
  store: Store;
  hints: Hints;
  runs: Runs;
  gateway: Gateway;
}

/** How long a supervisor waits until it starts a server again that could not start. */
const RESTART_MS = 1_000;

/** One server process of the real parts, composed as `server.ts` does it; started again whenever it ends. */
export class SimServer {
  readonly url: string;
  process: Process;
  /** Null while it does not take requests. */
  served: Served | null = null;
  readonly #kernel: Kernel;
  readonly #network: SimNetwork;
  readonly #database: SimDatabase;
  readonly #index: number;
  readonly #random: Seeded;
  readonly #keys: ServerKeys;
  #stop: (() => Promise<void>) | null = null;
  #hear: ((topic: string) => void) | null = null;
  /** All servers of the database. */
  peers: readonly SimServer[] = [];
  /** Share of the notices between servers that are lost. */
  readonly #noticeLoss: number;
  #starts = 0;

  constructor(options: {
    kernel: Kernel;
    network: SimNetwork;
    database: SimDatabase;
    index: number;
    seed: string;
    key: { privateKey: KeyObject; publicKey: string };
    noticeLoss: number;
  }) {
    this.#noticeLoss = options.noticeLoss;
    this.#kernel = options.kernel;
    this.#network = options.network;
    this.#database = options.database;
    this.#index = options.index;
    this.#random = new Seeded(`${options.seed} server ${options.index}`);
    this.url = `sim://server-${options.index}`;
    const { privateKey, publicKey } = options.key;
    this.#keys = { id: 'key', privateKey, published: [{ id: 'key', publicKey }] };
    this.process = new Process(options.kernel, `no server ${options.index}`);
    this.process.end();
  }

  /** As the other servers see it. */
  get name(): string {
    return `server-${this.#index}:${this.#starts}`;
  }

  start(): void {
    if (!this.process.ended) return;
    this.#starts += 1;
    const process = new Process(this.#kernel, `server ${this.#index}.${this.#starts}`);
    this.process = process;
    process.onEnd(() => {
      this.served = null;
      this.#hear = null;
      this.#stop = null;
    });
    process.after(100 + 300 * this.#random.unit(), 'starts', () => {
      this.#compose(process).catch((error) => {
        this.#kernel.trace(process.name, `cannot start: ${(error as Error).message}`);
        this.kill(RESTART_MS);
      });
    });
  }

  /** SIGKILL; a supervisor starts it again. */
  kill(restartMs: number): void {
    const { process } = this;
    if (process.ended) return;
    process.end();
    this.#network.processEnded(process, false);
    this.#kernel.after(restartMs, null, `server ${this.#index}: its supervisor looks`, () => this.start());
  }

  /** Stops by the book: agents are told, what is under way ends. */
  stop(restartMs: number): void {
    const { process } = this;
    const stop = this.#stop;
    if (!stop) {
      this.kill(restartMs);
      return;
    }
    this.#stop = null;
    this.served = null;
    this.#network.deafen(this.url);
    const leave = () => {
      if (this.process === process) this.kill(restartMs);
    };
    stop().then(leave, leave);
  }

  async #compose(process: Process): Promise<void> {
    const kernel = this.#kernel;
    const driver = new SimDriver({
      kernel,
      process,
      database: this.#database,
      rate: this.#random.pick([1, 1, 0.999, 1.001]),
      replica: this.#index,
    });
    const store = named(createStore(driver), driver);
    const clock: Clock = {
      now: () => driver.now(),
      after: (ms, callback) =>
        process.after(Math.max(0, ms + this.#random.unit() * 3 - 1), 'a timer', callback),
    };
    const random = { bytes: (count: number) => this.#random.bytes(count) };
    const log = this.#logOf(process);
    const hints = createHints(
      (topic) => {
        if (replica.hasOthers && topic !== 'plan' && topic !== 'dispatch') this.#tellOthers(topic);
      },
      () => this.#noticeLoss === 0,
    );
    const definitions = createDefinitions();
    const sessions = new Sessions();
    const { name } = this;
    const replica = createReplica({ name, store, clock, random, hints, log, sessions });
    const roster = createRoster({ store, clock, hints, sessions, replica });
    const presences = createPresences({ store, clock, sessions, roster, replica });
    const delivery = createDelivery({ store, clock, hints, log, definitions, sessions, replica });
    const dispatcher = createDispatcher({
      store,
      clock,
      hints,
      log,
      definitions,
      roster,
      sessions,
      presences,
    });
    const metrics = { runEnded() {} };
    const gateway = createGateway({
      store,
      clock,
      random,
      hints,
      log,
      metrics,
      definitions,
      sessions,
      dispatcher,
      keys: this.#keys,
      vault: { sourcesOf: () => ({}) },
      replica,
    });
    const scheduler = createScheduler({ store, clock, random, hints, definitions, log });
    const recovery = createRecovery({ store, clock, hints, log, definitions });
    const retention = createRetention({ store, clock, log, retention: RETENTION_DEFAULTS });
    const runs = createRuns({
      store,
      random,
      hints,
      agents: {
        cancel: gateway.cancel,
        withdraw: gateway.withdraw,
        onlineMatching: async () => [],
        knownNames: async () => [],
      },
    });
    await driver.meet();
    await replica.start();
    const loops = [scheduler, recovery, dispatcher, delivery, retention];
    for (const loop of loops) loop.start();
    this.served = { store, hints, runs, gateway };
    this.#hear = hints.hear;
    this.#stop = async () => {
      const gently = await replica.leave().catch(() => false);
      await gateway.stop({ gently });
      await Promise.all(loops.map((loop) => loop.stop()));
      await replica.stop();
    };
    this.#network.listen(this.url, { process, replica: this.#index, accept: gateway.accept });
  }

  /** A notice of the database: it may be lost. */
  #tellOthers(topic: string): void {
    for (const other of this.peers) {
      if (other === this || this.#database.away || this.#random.chance(this.#noticeLoss)) continue;
      const { process } = other;
      this.#kernel.after(this.#database.draw() + 25 * this.#random.unit(), process, `hears ${topic}`, () =>
        other.#hear?.(topic),
      );
    }
  }

  #logOf(process: Process): Logger {
    const say = (level: string) => (fields: unknown, message?: string) => {
      const error = (fields as { err?: Error } | null)?.err;
      const text = typeof fields === 'string' ? fields : message;
      this.#kernel.trace(process.name, `${level}: ${text}${error ? ` (${error.message})` : ''}`);
    };
    const silent = () => {};
    return { debug: silent, info: silent, warn: say('warns'), error: say('fails') } as unknown as Logger;
  }
}

/** The same store; the driver knows which operation is asked for. */
function named(store: Store, driver: SimDriver): Store {
  const named: Record<string, unknown> = {};
  for (const [name, operation] of Object.entries(store)) {
    named[name] = (input: never) => {
      driver.asking = name;
      return (operation as (input: never) => unknown)(input);
    };
  }
  return named as Store;
}
