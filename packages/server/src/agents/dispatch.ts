import type { JobDefinition, ReasonCode } from '@rota/contract';
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { Hints } from '../hints.ts';
import { createLoop } from '../loop.ts';
import { type Definitions, kindsOf } from '../runs/definitions.ts';
import { attemptIdOf } from '../runs/ids.ts';
import type { Decision, QueuedRun } from '../store/dispatch.ts';
import type { Store } from '../store/store.ts';
import type { Presences } from './presence.ts';
import type { Roster } from './roster.ts';
import { choose } from './select.ts';
import { RETURNING_MS, type Sessions } from './sessions.ts';

const RUNS_PER_STEP = 500;
const POLL_MS = 1_000;
/** What stays due, because another server has it just now, is looked at so often in a row, and then at this pace. */
const LOOKS_AT_ONCE = 20;
const TAKEN_MS = 20;
/** An offer stands at least this long, also with a stagger of nothing. */
const OFFER_MIN_MS = 1_000;

/** When a run that waits looks again by itself; events wake it sooner. */
const RETRY_MS: Partial<Record<ReasonCode, number>> = {
  agentsDeclined: 1_000,
  agentsFull: 5_000,
  noAgentOnline: 30_000,
  noAgentMatches: 30_000,
};

/** A definition that cannot be read is looked at again after this. */
const UNREADABLE_RETRY_MS = 60_000;

const WAIT_REASONS: ReasonCode[] = [
  'noAgentOnline',
  'noAgentMatches',
  'agentsFull',
  'agentsDeclined',
  'agentReturning',
  'secretUnreadable',
];

export interface Dispatcher {
  start(): void;
  stop(): Promise<void>;
  /** An agent has room again: the longest waiting run may go to it. */
  roomFor(tenantId: string): void;
  /** An agent came or changed: all that wait look again. */
  agentsChanged(agent: { tenantId: string; agentId: string }): void;
}

/**
 * Brings queued runs to agents: settles what is due, picks an agent for each, commits the offers, and only then sends them.
 */
export function createDispatcher(ports: {
  store: Store;
  clock: Clock;
  hints: Hints;
  log: Logger;
  definitions: Definitions;
  roster: Roster;
  sessions: Sessions;
  presences: Presences;
}): Dispatcher {
  const { store, clock, hints, log, definitions, roster, sessions, presences } = ports;
  /** Rooms that became free, by tenant, since the last step. */
  const rooms = new Map<string, number>();
  const changed = new Set<string>();
  /** What was due first at the last step that found something due, and at how many before it in a row. */
  let overdue = { at: 0, looks: 0 };

  async function step(): Promise<number | null> {
    await roster.refresh();
    await wakeWaiting();
    const next = await store.readNextWakeAt({});
    // Most looks find nothing: they must cost a database that many servers share next to nothing.
    if (next === null || next > clock.now()) return next;
    overdue = { at: next, looks: next === overdue.at ? overdue.looks + 1 : 0 };
    await settleDue();
    hints.give('events');
    return clock.now() + (overdue.looks > LOOKS_AT_ONCE ? TAKEN_MS : 0);
  }

  async function settleDue(): Promise<void> {
    let looked = RUNS_PER_STEP;
    while (looked === RUNS_PER_STEP) looked = await store.queueDueRuns({ limit: RUNS_PER_STEP });
    await withdrawOverdue();
    for (;;) {
      const queued = await store.readQueuedRuns({ limit: RUNS_PER_STEP });
      if (queued.length > 0) await offerAll(queued);
      if (queued.length < RUNS_PER_STEP) return;
    }
  }

  async function withdrawOverdue(): Promise<void> {
    for (const { runId, agentId, number, epoch } of await store.settleOverdueRuns({ limit: RUNS_PER_STEP })) {
      if (!sessions.withdraw(agentId, { attemptId: attemptIdOf(runId, number), epoch })) hints.give('offers');
    }
  }

  async function wakeWaiting(): Promise<void> {
    for (const tenantId of roster.takeChanged()) changed.add(tenantId);
    for (const tenantId of changed) {
      await store.wakeQueuedRuns({ tenantId, reasons: WAIT_REASONS, limit: 100_000 });
      rooms.delete(tenantId);
    }
    changed.clear();
    for (const [tenantId, count] of rooms) {
      await store.wakeQueuedRuns({ tenantId, reasons: ['agentsFull'], limit: count * 2 });
    }
    rooms.clear();
  }

  async function offerAll(queued: QueuedRun[]): Promise<void> {
    await presences.refresh();
    const decisions = queued.map(decide);
    const runs = new Map(queued.map((run) => [run.id, run]));
    const offers = new Set<string>();
    let elsewhere = false;
    try {
      for (const offer of await store.decideRuns({ decisions })) {
        offers.add(offer.runId);
        const run = runs.get(offer.runId) as QueuedRun;
        if (!sessions.get(offer.agentId)?.ready) {
          elsewhere = true;
          continue;
        }
        sessions.offer(offer.agentId, {
          attemptId: attemptIdOf(run.id, run.attempt + 1),
          epoch: offer.epoch,
          kinds: kindsOf(definitions.ofRun(run)),
        });
      }
    } finally {
      for (const decision of decisions) {
        if (decision.action !== 'offer' || offers.has(decision.run.id)) continue;
        const run = runs.get(decision.run.id) as QueuedRun;
        sessions.release(decision.agentId, attemptIdOf(run.id, run.attempt + 1));
      }
      if (elsewhere) hints.give('offers');
    }
  }

  function targetOf(run: QueuedRun): JobDefinition['target'] | null {
    try {
      return definitions.ofRun(run).target;
    } catch (error) {
      log.error({ err: error, run: run.id }, 'a queued run cannot be read; it waits');
      return null;
    }
  }

  /** Decides for one run and keeps the room that the offer takes. */
  function decide(run: QueuedRun): Decision {
    if (run.startBy < clock.now()) return { run, action: 'miss', startBy: run.startBy };
    const target = targetOf(run);
    // One run that cannot be read must not stop the others.
    if (target === null) {
      return {
        run,
        action: 'wait',
        reason: 'jobUnreadable',
        retryMs: UNREADABLE_RETRY_MS,
        passed: [],
        startBy: run.startBy,
      };
    }
    const passed = JSON.parse(run.passedJson) as string[];
    const graceMs = Math.min(target.staggerMs, RETURNING_MS);
    const chooseBut = (those: readonly string[]) =>
      choose(
        roster.candidates(run.tenantId, target),
        (id) => presences.of(run.tenantId, id, graceMs),
        new Set(those),
      );
    let choice = chooseBut(passed);
    // It has waited for its secrets: when all agents were asked, the next round begins at once.
    if (choice.kind === 'wait' && choice.roundOver && run.reason === 'secretUnreadable')
      choice = chooseBut([]);
    if (choice.kind === 'wait') {
      return {
        run,
        action: 'wait',
        reason: choice.reason,
        retryMs:
          choice.agentId === undefined
            ? (RETRY_MS[choice.reason] ?? POLL_MS)
            : presences.returningMs(run.tenantId, choice.agentId, graceMs),
        passed: choice.roundOver ? [] : passed,
        startBy: run.startBy,
      };
    }
    presences.take(choice.agentId, attemptIdOf(run.id, run.attempt + 1));
    return { run, action: 'offer', agentId: choice.agentId, offerMs: offerMs(target), passed };
  }

  const loop = createLoop({ name: 'dispatch', clock, log, pollMs: POLL_MS, step });
  let unsubscribe: (() => void)[] = [];
  return {
    start() {
      unsubscribe = [
        hints.on('dispatch', loop.nudge),
        // Agents changed: the roster reads them, and runs that wait for one of them look again.
        hints.on('agents', loop.nudge),
      ];
      loop.start();
    },
    async stop() {
      for (const each of unsubscribe) each();
      await loop.stop();
    },
    roomFor(tenantId) {
      rooms.set(tenantId, (rooms.get(tenantId) ?? 0) + 1);
      loop.nudge();
    },
    agentsChanged({ tenantId, agentId }) {
      roster.expect(tenantId, agentId);
      changed.add(tenantId);
      loop.nudge();
    },
  };
}

function offerMs(target: JobDefinition['target']): number {
  return Math.max(OFFER_MIN_MS, target.staggerMs);
}
