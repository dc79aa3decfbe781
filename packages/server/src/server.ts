import { createPrivateKey } from 'node:crypto';
import type { JobDefinition } from '@rota/contract';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { createDelivery } from './agents/delivery.ts';
import { createDispatcher } from './agents/dispatch.ts';
import { createGateway, type Gateway } from './agents/gateway.ts';
import type { ServerKeys } from './agents/permits.ts';
import { createPresences } from './agents/presence.ts';
import { createRecovery } from './agents/recovery.ts';
import { createReplica } from './agents/replica.ts';
import { createRoster } from './agents/roster.ts';
import { Sessions } from './agents/sessions.ts';
import { createAuthenticator } from './auth/authenticate.ts';
import { createFailures } from './auth/failures.ts';
import type { Keyring } from './auth/masterKey.ts';
import { createPace } from './auth/pace.ts';
import { createVault } from './auth/secrets.ts';
import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import { createHints, type Hints } from './hints.ts';
import { createApp } from './http/app.ts';
import { createHandlers } from './http/handlers.ts';
import type { Services } from './http/services.ts';
import { createStreams } from './http/streams.ts';
import { createMetrics } from './metrics.ts';
import { newId, type Random } from './random.ts';
import { createDefinitions } from './runs/definitions.ts';
import { createRuns } from './runs/runs.ts';
import { createRetention, RETENTION_DEFAULTS } from './scheduler/retention.ts';
import { createScheduler } from './scheduler/scheduler.ts';
import { type Notices, openNotices } from './store/notices.ts';
import type { Store } from './store/store.ts';

/** Changes of secrets that one token may make in a minute. */
const SECRET_CHANGES_PER_MINUTE = 300;

/** All parts of a server, composed and not yet listening. */
export interface Composed {
  app: FastifyInstance;
  hints: Hints;
  /** Makes this server known to the others on its database, so that agents may come; to be done before it listens. */
  join(): Promise<void>;
  /** Begins planning, dispatch and retention; to be done once it listens, since nobody reaches a server that cannot. */
  start(): void;
  /** Tells agents and readers to go, lets requests end, and stops all work. The store is the caller's to close. */
  stop(): Promise<void>;
}

/** The composition root: fills every port. */
export async function composeServer(ports: {
  config: Config;
  store: Store;
  keyring: Keyring;
  clock: Clock;
  random: Random;
  log: Logger;
  version: string;
  /** host:pid, for people who look at all servers. */
  name: string;
}): Promise<Composed> {
  const { config, store, keyring, clock, random, log, version, name } = ports;
  let notices: Notices | null = null;
  const hints = createHints(
    (topic) => {
      // Whoever has heard that there is work does it; others need not look for it, too.
      if (replica.hasOthers && topic !== 'plan' && topic !== 'dispatch') notices?.tell(topic);
    },
    () => notices?.areHeard ?? false,
  );
  const definitions = createDefinitions();
  const metrics = createMetrics({ store, version, now: clock.now() });
  const sessions = new Sessions();
  const replica = createReplica({ name, store, clock, random, hints, log, sessions });
  const roster = createRoster({ store, clock, hints, sessions, replica });
  const presences = createPresences({ store, clock, sessions, roster, replica });
  const delivery = createDelivery({ store, clock, hints, log, definitions, sessions, replica });
  const keys = await loadKeys(store);
  const vault = createVault({ keyring, store, random });
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
    keys,
    vault,
    replica,
  });
  const scheduler = createScheduler({ store, clock, random, hints, definitions, log });
  const recovery = createRecovery({ store, clock, hints, log, definitions });
  const retention = createRetention({
    store,
    clock,
    log,
    retention: { ...RETENTION_DEFAULTS, ...config.retention },
  });
  const runs = createRuns({
    store,
    random,
    hints,
    agents: {
      cancel: gateway.cancel,
      withdraw: gateway.withdraw,
      onlineMatching: async (tenantId: string, target: JobDefinition['target']) => {
        await roster.refresh({ atOnce: true });
        return roster
          .candidates(tenantId, target)
          .filter(({ id, enabled }) => enabled && presences.isOnline(tenantId, id))
          .map(({ name }) => name);
      },
      knownNames: async (tenantId: string, names: string[]) => {
        await roster.refresh({ atOnce: true });
        const known = roster.names(tenantId);
        return [...new Set(names)].filter((name) => known.has(name));
      },
    },
  });

  let draining = false;
  const failures = createFailures(clock);
  const streams = createStreams({ clock, hints });
  const authenticator = createAuthenticator({ store, clock, failures });
  const services: Services = {
    store,
    clock,
    random,
    hints,
    log,
    metrics,
    definitions,
    runs,
    authenticator,
    failures,
    vault,
    pace: createPace(clock, SECRET_CHANGES_PER_MINUTE),
    streams,
    disconnectAgent: gateway.disconnect,
    replica,
    draining: () => draining,
    version,
    startedAt: clock.now(),
  };
  const app: FastifyInstance = await createApp({
    authenticator,
    handlers: createHandlers(services, () => app),
    random,
    log,
    metrics,
    tls: config.tls,
    version,
  });
  takeUpgrades(app, gateway);

  return {
    app,
    hints,
    join: () => replica.start(),
    start() {
      const { database: address } = config;
      if (address !== null && !address.pooler) {
        const { notify } = store;
        notices = openNotices({ address, clock, log, self: newId(random), notify, hear: hints.hear });
      }
      scheduler.start();
      recovery.start();
      dispatcher.start();
      delivery.start();
      retention.start();
    },
    async stop() {
      draining = true;
      await gateway.stop({ gently: await replica.leave() });
      streams.stop();
      const loops = [scheduler, dispatcher, delivery, retention, recovery];
      await Promise.all(loops.map((loop) => loop.stop()));
      await notices?.stop();
      await replica.stop();
      await app.close();
    },
  };
}

/** Agents come in by an upgrade of exactly this path; there is no other. */
function takeUpgrades(app: FastifyInstance, gateway: Gateway): void {
  app.server.on('upgrade', (request, socket, head) => {
    if (request.url === '/agent') gateway.handleUpgrade(request, socket, head);
    else socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
  });
}

async function loadKeys(store: Store): Promise<ServerKeys> {
  const rows = await store.serverKeys({});
  const active = rows.find((row) => row.active === 1);
  if (!active) throw new Error('the database has no active server key');
  const der = Buffer.from(active.privateKey, 'base64url');
  return {
    id: active.id,
    privateKey: createPrivateKey({ key: der, type: 'pkcs8', format: 'der' }),
    published: rows.map(({ id, publicKey }) => ({ id, publicKey })),
  };
}
