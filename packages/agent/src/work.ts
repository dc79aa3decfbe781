import type { AgentMessage, HistoryAttempt, JournalledAttempt, Permit, ServerMessage } from '@rota/contract';
import {
  decideOffer,
  decidePermit,
  decideToGoOn,
  type Entry,
  historyOf,
  isToBeRefused,
  type JournalRecord,
  journalledState,
  keptEnd,
  type RefusalReason,
  type Situation,
} from './attempts.ts';
import type { Helper } from './helperClient.ts';
import type { Journal } from './journal.ts';
import { type KeyRing, readPermit } from './permit.ts';
import type { Clock, Log, Timer } from './ports.ts';
import { createReports } from './reports.ts';
import type { Spool } from './spool.ts';
import { createStartedAttempts } from './startedAttempts.ts';
import { createTurns } from './turns.ts';

/**
 * The attempts of this agent, as the server sees them: what it asks for goes to the journal, and what is permitted goes on
 * to the started attempts. Messages of one attempt are settled one after the other.
 */
export interface Work {
  /** Takes over what an earlier session left; call it once, before the first connection. */
  recover(): Promise<void>;
  handle(message: WorkMessage): void;
  /**
   * Resolves once every message taken so far is settled, and the helper has said of each started attempt whether it was begun:
   * until then nothing may be said about what was started, since it may turn out that nothing was.
   */
  idle(): Promise<void>;
  /** For `resume`. */
  attempts(): JournalledAttempt[];
  /** All that the agent knows of what it started or refused, for a server that has lost commits. */
  history(): HistoryAttempt[];
  /** A proven session begins. */
  connected(send: (message: AgentMessage) => void, keyRing: KeyRing): void;
  disconnected(): void;
  situation(): Situation;
  /** Declines offers from now on. */
  drain(): void;
  /** Attempts accepted or running. */
  readonly active: number;
  close(): Promise<void>;
}

export type WorkMessage = Extract<
  ServerMessage,
  { type: 'offer' | 'withdraw' | 'permit' | 'cancel' | 'ack' }
>;

export interface WorkPorts {
  agentId: string;
  bootId: string;
  maxParallel: number;
  journal: Journal;
  spool: Spool;
  clock: Clock;
  log: Log;
  /** The agent's own environment, for secrets that refer to it. */
  environment: Record<string, string | undefined>;
  meetHelper(): Promise<Helper>;
  isDiskFull(): boolean;
  /** Something changed that a status tells. */
  changed(): void;
}

/** How often what is settled and expired is forgotten. */
const PRUNE_MS = 60_000;

export function createWork(ports: WorkPorts): Work {
  const { journal, spool, clock, log, bootId } = ports;
  const reports = createReports({ spool, log, journalSeq: () => journal.seq });
  const turns = createTurns(log);
  const { inTurn } = turns;
  const activeIds = new Set<string>();
  let send: ((message: AgentMessage) => void) | null = null;
  let keyRing: KeyRing | null = null;
  let isDraining = false;
  let pruneTimer: Timer | null = null;
  /** When the server said last that it had committed something. */
  let heardBootMs: number | null = null;
  const now = () => ({ bootId, bootMs: clock.bootMs() });
  const started = createStartedAttempts({
    bootId,
    journal,
    spool,
    clock,
    log,
    reports,
    turns,
    environment: ports.environment,
    meetHelper: ports.meetHelper,
    commit,
    refuse,
    freed: (attemptId) => setActive(attemptId, false),
  });

  async function commit(record: JournalRecord): Promise<void> {
    await journal.append(record);
    if (record.type === 'nonce') return;
    setActive(record.attemptId, record.type === 'accepted' || record.type === 'started');
  }

  function setActive(attemptId: string, isActive: boolean): void {
    const wasFull = activeIds.size >= ports.maxParallel;
    if (isActive) activeIds.add(attemptId);
    else activeIds.delete(attemptId);
    if (wasFull !== activeIds.size >= ports.maxParallel) ports.changed();
  }

  function situation(): Situation {
    return {
      draining: isDraining,
      diskFull: ports.isDiskFull(),
      journalFull: journal.full,
      active: activeIds.size,
      maxParallel: ports.maxParallel,
    };
  }

  // What the server says.

  async function onOffer(offer: Extract<WorkMessage, { type: 'offer' }>): Promise<void> {
    const { attemptId, epoch } = offer;
    const decision = decideOffer(journal.entries.get(attemptId), offer, situation());
    if (!decision.accept) return decline(offer, decision.code, decision.detail);
    // A place is taken while the disk writes: a burst of offers must not get past the limit.
    activeIds.add(attemptId);
    try {
      await commit({ type: 'accepted', attemptId, epoch, bootId });
    } catch (error) {
      activeIds.delete(attemptId);
      log.error({ err: error, attemptId }, 'an offer could not be written down');
      return decline(offer, 'journalFull', 'the journal could not be written');
    }
    sendAccept(attemptId, epoch);
  }

  function decline(
    offer: { attemptId: string; epoch: number },
    code: Extract<AgentMessage, { type: 'decline' }>['code'],
    detail: string,
  ): void {
    log.debug({ attemptId: offer.attemptId, code }, 'declined an offer');
    send?.({ type: 'decline', attemptId: offer.attemptId, epoch: offer.epoch, code, detail });
  }

  function sendAccept(attemptId: string, epoch: number): void {
    const bootMs = Math.floor(clock.bootMs());
    send?.({ type: 'accept', attemptId, epoch, bootId, bootMs, journalSeq: journal.seq });
  }

  function onPermitMessage(message: Extract<WorkMessage, { type: 'permit' }>): void {
    if (!keyRing) return;
    const reading = readPermit(message, keyRing, ports.agentId);
    if (reading.permit !== null) {
      const { permit } = reading;
      inTurn(permit.attemptId, () => onPermit(permit));
      return;
    }
    log.warn({ attemptId: reading.claims?.attemptId, fault: reading.fault }, 'refused a permit');
    const { claims } = reading;
    if (!claims) return;
    inTurn(claims.attemptId, async () => {
      const entry = journal.entries.get(claims.attemptId);
      if (entry?.state === 'accepted' && entry.epoch === claims.epoch)
        await refuse(claims.attemptId, claims.epoch, 'permitInvalid', null);
    });
  }

  async function onPermit(permit: Permit): Promise<void> {
    const { attemptId, epoch } = permit;
    const entry = journal.entries.get(attemptId);
    const goesOn = decideToGoOn(entry, permit, now());
    if (goesOn === 'yes' && started.goOn(attemptId, permit)) return;
    if (goesOn === 'expired') started.askAgain(attemptId);
    const decision = decidePermit(entry, permit, now());
    if (!decision.start) {
      if (decision.refuse === null) log.debug({ attemptId, epoch }, 'passed over a stale or repeated permit');
      else await refuse(attemptId, epoch, decision.refuse, permit.validUntilBootMs);
      return;
    }
    // Without a helper the permit runs out or a resume brings it up again.
    if (!(await started.start(permit)))
      await refuse(attemptId, epoch, 'notExecuted', permit.validUntilBootMs);
  }

  async function onWithdraw(attemptId: string, epoch: number, reason: RefusalReason): Promise<void> {
    const entry = journal.entries.get(attemptId);
    if (isToBeRefused(entry, epoch))
      return refuse(attemptId, epoch, reason, entry?.permitUntilBootMs ?? null);
    if (entry?.state === 'started' && epoch >= entry.epoch) started.goOn(attemptId, null);
    if (entry?.state === 'refused' && !entry.done) sendRefused(entry);
  }

  async function onCancel(message: Extract<WorkMessage, { type: 'cancel' }>): Promise<void> {
    const { attemptId, epoch, graceMs } = message;
    const entry = journal.entries.get(attemptId);
    if (entry?.state !== 'started') return onWithdraw(attemptId, epoch, 'cancelled');
    if (epoch >= entry.epoch) started.cancel(attemptId, graceMs);
  }

  async function onAck(message: Extract<WorkMessage, { type: 'ack' }>): Promise<void> {
    const { attemptId, epoch, seq, done } = message;
    heardBootMs = Math.floor(clock.bootMs());
    const entry = journal.entries.get(attemptId);
    // An answer to an earlier epoch says nothing about this one.
    if (!entry || entry.done || entry.epoch !== epoch) return;
    reports.ack(attemptId, seq);
    const end = started.endOf(attemptId);
    const isSettled = entry.state === 'refused' || (entry.state === 'started' && end !== null);
    if (!done || !isSettled) return;
    await commit({
      type: 'done',
      attemptId,
      end: end ? keptEnd(end) : null,
      bootId,
      bootMs: Math.floor(clock.bootMs()),
    });
    started.done(attemptId);
    await spool.remove(attemptId);
  }

  async function refuse(
    attemptId: string,
    epoch: number,
    reason: RefusalReason,
    permitUntilBootMs: number | null,
  ): Promise<void> {
    await commit({ type: 'refused', attemptId, epoch, bootId, reason, permitUntilBootMs });
    started.refused(attemptId);
    log.info({ attemptId, reason }, 'refused an attempt');
    sendRefused(journal.entries.get(attemptId) as Entry);
  }

  function sendRefused({ attemptId, epoch, reason }: Entry): void {
    if (reason !== null) send?.({ type: 'refused', attemptId, epoch, reason, journalSeq: journal.seq });
  }

  // What an earlier session, helper or boot left.

  async function recover(): Promise<void> {
    await started.meet();
    for (const entry of [...journal.entries.values()]) {
      if (entry.done) continue;
      if (entry.state === 'accepted') {
        if (entry.bootId === bootId) activeIds.add(entry.attemptId);
        else await refuse(entry.attemptId, entry.epoch, 'hostRestarted', null);
      } else if (entry.state === 'started') {
        activeIds.add(entry.attemptId);
        await started.settle(entry);
      }
    }
    for (const attemptId of await spool.list()) {
      const entry = journal.entries.get(attemptId);
      if (entry?.done || (entry && entry.state !== 'started')) await spool.remove(attemptId);
    }
    schedulePrune();
  }

  function schedulePrune(): void {
    pruneTimer = clock.after(PRUNE_MS, () => {
      journal.prune(now(), heardBootMs);
      schedulePrune();
    });
  }

  return {
    recover,
    handle(message) {
      switch (message.type) {
        case 'offer':
          return inTurn(message.attemptId, () => onOffer(message));
        case 'permit':
          return onPermitMessage(message);
        case 'withdraw':
          return inTurn(message.attemptId, () => onWithdraw(message.attemptId, message.epoch, 'withdrawn'));
        case 'cancel':
          return inTurn(message.attemptId, () => onCancel(message));
        case 'ack':
          return inTurn(message.attemptId, () => onAck(message));
        default:
          message satisfies never;
      }
    },
    async idle() {
      await turns.settled();
      while ([...journal.entries.values()].some(started.isInDoubt)) await turns.news();
    },
    attempts() {
      const found: JournalledAttempt[] = [];
      for (const entry of journal.entries.values()) {
        if (entry.done) continue;
        const { attemptId, epoch } = entry;
        found.push({ attemptId, epoch, state: journalledState(entry, started.endOf(attemptId) !== null) });
      }
      return found;
    },
    history() {
      const told: HistoryAttempt[] = [];
      for (const entry of journal.entries.values()) {
        const attempt = historyOf(entry, now());
        if (attempt) told.push(attempt);
      }
      return told;
    },
    connected(connection, keys) {
      send = connection;
      keyRing = keys;
      for (const entry of journal.entries.values()) {
        if (entry.done) continue;
        if (entry.state === 'refused') sendRefused(entry);
      }
      reports.connected(connection);
      started.connected(connection);
    },
    disconnected() {
      send = null;
      keyRing = null;
      reports.disconnected();
      started.disconnected();
    },
    situation,
    drain() {
      isDraining = true;
    },
    get active() {
      return activeIds.size;
    },
    async close() {
      pruneTimer?.cancel();
      await started.close();
    },
  };
}
