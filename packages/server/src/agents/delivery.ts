import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { Hints } from '../hints.ts';
import { createLoop } from '../loop.ts';
import { type Definitions, kindsOf } from '../runs/definitions.ts';
import { attemptIdOf } from '../runs/ids.ts';
import type { OfferedRun } from '../store/delivery.ts';
import type { Store } from '../store/store.ts';
import type { Replica } from './replica.ts';
import type { Sessions } from './sessions.ts';

/** How often the store is looked at: while others may offer something to agents of this server and no hint may come, and else. */
const UNHINTED_MS = 200;
const HINTED_MS = 1_000;

/** Brings to the agents of this server what was decided anywhere. */
export interface Delivery {
  start(): void;
  stop(): Promise<void>;
  /** There may be something to bring. */
  nudge(): void;
}

/**
 * The state in the store is all that is needed: offers that stand and ends that were asked for are read there, and sent to
 * sessions that were not sent them yet; an offer that no longer stands is taken back.
 */
export function createDelivery(ports: {
  store: Store;
  clock: Clock;
  hints: Hints;
  log: Logger;
  definitions: Definitions;
  sessions: Sessions;
  replica: Pick<Replica, 'id' | 'hasOthers'>;
}): Delivery {
  const { store, clock, hints, log, definitions, sessions, replica } = ports;

  async function step(): Promise<number | null> {
    // Before the reading: what is offered after it is not in what was read.
    const open = sessions.openOffers();
    const { offers, cancels } = await store.readDeliveries({ replicaId: replica.id });
    const standing = new Set<string>();
    const away: OfferedRun[] = [];
    for (const run of offers) {
      const attemptId = attemptIdOf(run.id, run.attempt + 1);
      standing.add(`${attemptId}/${run.epoch}`);
      if (run.replicaId === null) away.push(run);
      else send(run, attemptId);
    }
    for (const offer of open) {
      if (standing.has(`${offer.attemptId}/${offer.epoch}`) || !sessions.isOpen(offer)) continue;
      sessions.withdraw(offer.session.agentId, offer);
    }
    for (const { id, attempt, epoch, agentId } of cancels)
      sessions.cancel(agentId, { attemptId: attemptIdOf(id, attempt), epoch });
    if (
      away.length > 0 &&
      (await store.withdrawFromAway({ runs: away.map(({ tenantId, id }) => ({ tenantId, id })) })) > 0
    )
      hints.give('dispatch');
    const isUnhinted = replica.hasOthers && !sessions.isEmpty && !hints.areHeard;
    return isUnhinted ? clock.now() + UNHINTED_MS : null;
  }

  function send(run: OfferedRun, attemptId: string): void {
    try {
      sessions.offer(run.agentId, { attemptId, epoch: run.epoch, kinds: kindsOf(definitions.ofRun(run)) });
    } catch (error) {
      log.error({ err: error, run: run.id }, 'an offered run cannot be read; its offer will be over');
    }
  }

  const loop = createLoop({ name: 'delivery', clock, log, pollMs: HINTED_MS, step });
  let unsubscribe: (() => void)[] = [];
  return {
    start() {
      unsubscribe = ['offers', 'cancels'].map((topic) => hints.on(topic, loop.nudge));
      loop.start();
    },
    async stop() {
      for (const each of unsubscribe) each();
      await loop.stop();
    },
    nudge: loop.nudge,
  };
}
