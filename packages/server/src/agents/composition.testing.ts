import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after } from 'node:test';
import { type RunState, readJob } from '@rota/contract';
import { pino } from 'pino';
import { HandClock } from '../clock.testing.ts';
import { createHints } from '../hints.ts';
import { systemRandom } from '../random.ts';
import { createDefinitions } from '../runs/definitions.ts';
import { createRuns } from '../runs/runs.ts';
import { createScheduler } from '../scheduler/scheduler.ts';
import { change } from '../store/operation.ts';
import { createStore } from '../store/store.ts';
import type { AgentRow, RunRow } from '../store/tables.ts';
import { type TestDatabase, testDatabase } from '../store.testing.ts';
import { createDelivery } from './delivery.ts';
import { createDispatcher } from './dispatch.ts';
import { createGateway } from './gateway.ts';
import type { ServerKeys } from './permits.ts';
import { createPresences } from './presence.ts';
import { createRecovery } from './recovery.ts';
import { createReplica } from './replica.ts';
import { createRoster } from './roster.ts';
import { ScriptedAgent } from './scriptedAgent.testing.ts';
import { Sessions } from './sessions.ts';
import { noting, StoreWatch } from './storeWatch.testing.ts';

export const START = Date.UTC(2026, 2, 1);
export const TENANT = 'acme';

/** A server's core over a real file and real sockets, with a clock that the test moves. */
export class Composition {
  readonly clock: HandClock;
  readonly keys: ServerKeys;
  /** What was logged as an error. */
  readonly errors: string[] = [];
  /** The operations of the store that the dispatcher has asked for, by name. */
  readonly dispatched: string[] = [];
  readonly #database: TestDatabase;
  readonly #watch = new StoreWatch();
  #parts: Awaited<ReturnType<Composition['compose']>> | null = null;
  #http: Server | null = null;
  /** All servers on this database, this one too, and whether they give each other hints. */
  readonly #servers: Set<Composition>;
  readonly #hints: boolean;

  constructor(database: TestDatabase, beside: Composition | null = null, hints = true) {
    this.#database = database;
    this.clock = beside?.clock ?? new HandClock(START);
    this.keys = beside?.keys ?? newServerKeys();
    this.#servers = beside === null ? new Set() : beside.#servers;
    this.#servers.add(this);
    this.#hints = hints;
  }

  static async start(): Promise<Composition> {
    const composition = new Composition(await testDatabase());
    running.add(composition);
    await composition.boot();
    await composition.store.createTenant({ id: TENANT, name: 'acme', timezone: 'UTC' });
    return composition;
  }

  /** Another server on the same database; without hints all that they know of each other is what they read. */
  async beside({ hints = true } = {}): Promise<Composition> {
    const other = new Composition(this.#database, this, hints);
    running.add(other);
    await other.boot();
    await this.comes(() => [...this.#servers].every((server) => server.parts.replica.hasOthers));
    return other;
  }

  /** Waits until something is so while time goes by for all servers, each step of it after all has come to rest. */
  async comes(condition: () => boolean | Promise<boolean>, ...agents: ScriptedAgent[]): Promise<void> {
    // Shorter than the silence after which an agent is cut off.
    for (let ms = 0; ms < 14_000; ms += 100) {
      for (const agent of agents) await agent.flushed();
      for (const server of this.#servers)
        if (server.#parts && !server.#watch.isFrozen) await server.#watch.rest();
      if (await condition()) return;
      this.clock.advance(100);
    }
    throw new Error(`${String(condition)}: it did not come to that`);
  }

  /** Stands still: nothing that it asks of the database is answered until it goes on. */
  freeze(): () => void {
    return this.#watch.freeze();
  }

  async boot(): Promise<void> {
    this.#parts = await this.compose();
    const { gateway } = this.#parts;
    this.#http = createServer();
    this.#http.on('upgrade', (request, socket, head) => gateway.handleUpgrade(request, socket, head));
    await new Promise<void>((resolve) => this.#http?.listen(0, '127.0.0.1', resolve));
  }

  async compose() {
    const { clock, keys } = this;
    const driver = this.#watch.over(await this.#database.open(clock));
    const store = createStore(driver);
    const errors = { write: (line: string) => this.errors.push(line) };
    const log = pino({ level: 'error' }, errors);
    const hints = createHints(
      (topic) => {
        if (!this.#hints || topic === 'plan' || topic === 'dispatch') return;
        for (const other of this.#servers) if (other !== this) other.#parts?.hints.hear(topic);
      },
      () => this.#hints,
    );
    const definitions = createDefinitions();
    const sessions = new Sessions();
    const random = systemRandom;
    const replica = createReplica({ name: 'test', store, clock, random, hints, log, sessions });
    const roster = createRoster({ store, clock, hints, sessions, replica });
    const presences = createPresences({ store, clock, sessions, roster, replica });
    const delivery = createDelivery({ store, clock, hints, log, definitions, sessions, replica });
    const dispatcher = createDispatcher({
      store: noting(store, this.dispatched),
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
      sessions,
      dispatcher,
      keys,
      vault: { sourcesOf: () => ({}) },
      definitions,
      metrics,
      replica,
    });
    const scheduler = createScheduler({ store, clock, random, hints, definitions, log });
    const agents = {
      cancel: gateway.cancel,
      withdraw: gateway.withdraw,
      onlineMatching: async () => [],
      knownNames: async () => [],
    };
    const runs = createRuns({ store, random, hints, agents });
    await replica.start();
    const recovery = createRecovery({ store, clock, hints, log, definitions });
    recovery.start();
    dispatcher.start();
    delivery.start();
    scheduler.start();
    return {
      driver,
      replica,
      recovery,
      store,
      hints,
      sessions,
      roster,
      dispatcher,
      delivery,
      gateway,
      scheduler,
      runs,
    };
  }

  get store() {
    return this.parts.store;
  }

  get parts() {
    assert(this.#parts, 'the server is down');
    return this.#parts;
  }

  get url(): string {
    assert(this.#http);
    return `ws://127.0.0.1:${(this.#http.address() as AddressInfo).port}/agent`;
  }

  /** Ends the server as a crash does: nothing more is committed. Then a new one starts over the same file. */
  async restart(): Promise<void> {
    await this.crash();
    await this.boot();
  }

  async crash(): Promise<void> {
    const { driver, gateway, dispatcher, delivery, scheduler, replica, recovery } = this.parts;
    await driver.close();
    await Promise.all([
      gateway.stop(),
      dispatcher.stop(),
      delivery.stop(),
      scheduler.stop(),
      recovery.stop(),
      replica.stop(),
    ]);
    await new Promise((resolve) => this.#http?.close(resolve));
    this.errors.length = 0;
    this.#parts = null;
  }

  async stop(): Promise<void> {
    if (!this.#parts) return;
    const { driver, gateway, dispatcher, delivery, scheduler, replica, recovery } = this.parts;
    await gateway.stop();
    await Promise.all([dispatcher, delivery, scheduler, recovery].map((loop) => loop.stop()));
    await replica.stop();
    await driver.close();
    await new Promise((resolve) => this.#http?.close(resolve));
    this.#parts = null;
  }

  /** Gives the database back; no test uses this server any more. */
  async leave(): Promise<void> {
    await this.stop();
    this.#servers.delete(this);
    if (this.#servers.size === 0) await this.#database.release();
  }

  /** An agent that has joined; it is not connected. */
  async agent(name: string, more: { orderNumber?: number; labels?: Record<string, string> } = {}) {
    const agent = new ScriptedAgent(name, () => this.url);
    // What was read from it is carried out, too: a network database takes its time.
    const read = agent.flushed.bind(agent);
    agent.flushed = async () => {
      await read();
      if (this.#parts) await this.#watch.rest();
    };
    await this.parts.driver.write(() =>
      change(
        `insert into "agents" ("tenantId", "id", "name", "publicKey", "orderNumber", "labelsJson", "enabled", "state", "sessionEpoch",
           "journalSeq", "maxParallel", "draining", "createdAt", "changedAt") values (?, ?, ?, ?, ?, ?, 1, 'offline', 0, 0, 0, 0, ?, ?)`,
        TENANT,
        agent.disk.agentId,
        name,
        agent.publicKey,
        more.orderNumber ?? 100,
        JSON.stringify(more.labels ?? {}),
        this.clock.now(),
        this.clock.now(),
      ),
    );
    return agent;
  }

  /** An agent that is connected and ready. */
  async online(
    name: string,
    more: { orderNumber?: number; maxParallel?: number } = {},
  ): Promise<ScriptedAgent> {
    const agent = await this.agent(name, more);
    if (more.maxParallel !== undefined) agent.maxParallel = more.maxParallel;
    await this.connect(agent);
    return agent;
  }

  async connect(agent: ScriptedAgent): Promise<void> {
    agent.dials = () => this.url;
    await agent.connect();
    await this.until(
      async () =>
        this.parts.sessions.get(agent.disk.agentId)?.ready === true &&
        (await this.agentRow(agent)).state === 'online',
    );
  }

  async job(name: string, fields: Record<string, unknown> = {}): Promise<void> {
    const read = readJob({ name, command: 'true', ...fields }, { timezone: 'UTC' });
    assert('job' in read, JSON.stringify(read));
    const { document, definition } = read.job;
    await this.store.saveJobs({
      tenantId: TENANT,
      by: 'test',
      jobs: [
        {
          id: name,
          name,
          documentJson: JSON.stringify(document),
          enabled: true,
          scheduled: definition.schedules.length > 0,
          everyTexts: definition.schedules.flatMap(({ every }) => (every === undefined ? [] : [every])),
        },
      ],
      paused: false,
      owner: null,
      prune: false,
      expectedRevision: null,
    });
    this.parts.hints.give('plan');
  }

  async trigger(jobId: string, idempotencyKey: string | null = null): Promise<string> {
    const answer = await this.parts.runs.trigger({
      tenantId: TENANT,
      jobId,
      idempotencyKey,
      agent: null,
      by: 'me',
    });
    assert('runId' in answer);
    return answer.runId;
  }

  async run(runId: string): Promise<RunRow> {
    const run = await this.store.readRun({ tenantId: TENANT, runId });
    assert(run);
    return run;
  }

  async agentRow(agent: ScriptedAgent): Promise<AgentRow> {
    const row = await this.store.readAgentById({ agentId: agent.disk.agentId });
    assert(row);
    return row;
  }

  /** Waits until a run is in a state. */
  async becomes(runId: string, state: RunState): Promise<RunRow> {
    await this.until(
      async () => (await this.run(runId)).state === state,
      async () => `the run is ${(await this.run(runId)).state}, not ${state}`,
    );
    return this.run(runId);
  }

  /** Waits until something is so, without letting the clock move. */
  async until(condition: () => boolean | Promise<boolean>, why?: () => Promise<string>): Promise<void> {
    const end = performance.now() + 30_000;
    while (!(await condition())) {
      if (performance.now() > end)
        throw new Error(`${why ? await why() : String(condition)}: it did not come to that`);
      await new Promise((resolve) => setImmediate(resolve));
      // Timers of no time, as loops set them that have more to do.
      this.clock.advance(0);
    }
    await this.#watch.rest();
  }

  /** Lets all that is under way come to rest: what was sent is read, committed and answered. */
  async quiet(...agents: ScriptedAgent[]): Promise<void> {
    for (let turn = 0; turn < 4; turn++) {
      for (const agent of agents) await agent.flushed();
      await this.#watch.rest();
      this.clock.advance(0);
    }
  }
}

const running = new Set<Composition>();
after(async () => {
  for (const composition of running) await composition.leave();
});

function newServerKeys(): ServerKeys {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const published = {
    id: 'key',
    publicKey: publicKey.export({ format: 'der', type: 'spki' }).toString('base64url'),
  };
  return { id: 'key', privateKey, published: [published] };
}
