import type { DeclineCode, ServerMessage } from '@rota/contract';
import { KILL_GRACE_MS } from '../store/unknownRuns.ts';

/** An agent whose session ended without a goodbye counts as present for at most so long. */
export const RETURNING_MS = 1_000;
/** Offers of a session that are remembered, so that none is sent twice. */
const SENT_MAX = 2_000;

/** A live session of an agent with this server. */
export interface Session {
  readonly tenantId: string;
  readonly agentId: string;
  readonly sessionEpoch: number;
  /** Attempts that were offered to it or that it runs. */
  readonly active: Set<string>;
  /** Epochs of the offers that it was sent, by attempt: a second one would be declined. */
  readonly sent: Map<string, number>;
  /** Ends that it was asked for. */
  readonly cancelled: Set<string>;
  maxParallel: number;
  draining: boolean;
  blocked: DeclineCode | null;
  /** It has stored its nonce and is reconciled: it may get offers. */
  ready: boolean;
  /** It is over: nothing that is said in its name counts any more. */
  ended: boolean;
  /** Its agent said that it leaves. */
  goodbye: boolean;
  send(message: ServerMessage): void;
  close(reason: string): void;
}

/** An attempt under an epoch: what messages about it carry. */
export interface AttemptKey {
  attemptId: string;
  epoch: number;
}

/** An offer that an agent has not answered. */
export type OpenOffer = AttemptKey & { readonly session: Session };

/** The sessions that this process holds: what dispatch may use, nothing that is not also in the store. */
export class Sessions {
  readonly #sessions = new Map<string, Session>();
  readonly #open = new Map<string, OpenOffer>();
  /** When sessions ended without a goodbye, the first one first. */
  readonly #vanished = new Map<string, number>();
  readonly #numbers = new WeakMap<Session, number>();
  #added = 0;

  add(session: Session): void {
    this.#sessions.get(session.agentId)?.close('a newer session of the same agent began');
    this.#sessions.set(session.agentId, session);
    this.#added += 1;
    this.#numbers.set(session, this.#added);
  }

  /** Removes this very session; one that has replaced it stays. */
  remove(session: Session, now: number): void {
    for (const [attemptId, offer] of this.#open) if (offer.session === session) this.#open.delete(attemptId);
    if (this.#sessions.get(session.agentId) !== session) return;
    this.#sessions.delete(session.agentId);
    for (const [agentId, at] of this.#vanished) {
      if (now - at < RETURNING_MS && now >= at) break;
      this.#vanished.delete(agentId);
    }
    this.#vanished.delete(session.agentId);
    if (!session.goodbye) this.#vanished.set(session.agentId, now);
  }

  get(agentId: string): Session | undefined {
    return this.#sessions.get(agentId);
  }

  all(): Session[] {
    return [...this.#sessions.values()];
  }

  /** Whether no agent is connected here. */
  get isEmpty(): boolean {
    return this.#sessions.size === 0;
  }

  /** How many sessions were added so far; see `isOlder`. */
  get added(): number {
    return this.#added;
  }

  /** Whether a session was there already when `added` was read. */
  isOlder(session: Session, added: number): boolean {
    return (this.#numbers.get(session) ?? 0) <= added;
  }

  /** When the agent's session here ended without a goodbye; null when it did not, or long ago. */
  vanishedAt(agentId: string): number | null {
    return this.#vanished.get(agentId) ?? null;
  }

  send(agentId: string, message: ServerMessage): void {
    this.#sessions.get(agentId)?.send(message);
  }

  /** Sends an offer that is committed, once, however often it is asked for. */
  offer(agentId: string, { attemptId, epoch, kinds }: AttemptKey & { kinds: string[] }): void {
    const session = this.#sessions.get(agentId);
    if (!session?.ready || (session.sent.get(attemptId) ?? -1) >= epoch) return;
    session.sent.set(attemptId, epoch);
    for (const [oldest] of session.sent) {
      if (session.sent.size <= SENT_MAX) break;
      session.sent.delete(oldest);
    }
    session.active.add(attemptId);
    this.#open.set(attemptId, { session, attemptId, epoch });
    session.send({ type: 'offer', attemptId, epoch, kinds });
  }

  /** The agent has said something about an attempt: its offer waits for no answer any more. */
  answered(session: Session, attemptId: string): void {
    if (this.#open.get(attemptId)?.session === session) this.#open.delete(attemptId);
  }

  /** Offers that wait for an answer. */
  openOffers(): OpenOffer[] {
    return [...this.#open.values()];
  }

  isOpen(offer: OpenOffer): boolean {
    return this.#open.get(offer.attemptId) === offer;
  }

  /** Says that an offer no longer stands. @returns whether the agent is here */
  withdraw(agentId: string, { attemptId, epoch }: AttemptKey): boolean {
    const session = this.#sessions.get(agentId);
    if (!session) return false;
    // It may have been offered again by now.
    if ((this.#open.get(attemptId)?.epoch ?? 0) <= epoch) {
      this.answered(session, attemptId);
      session.active.delete(attemptId);
    }
    session.send({ type: 'withdraw', attemptId, epoch });
    return true;
  }

  /** Asks for the end of an attempt, once. @returns whether the agent is here; before it is ready it is told when it resumes */
  cancel(agentId: string, { attemptId, epoch }: AttemptKey): boolean {
    const session = this.#sessions.get(agentId);
    if (!session) return false;
    const key = `${attemptId}/${epoch}`;
    if (!session.ready || session.cancelled.has(key)) return true;
    session.cancelled.add(key);
    session.send({ type: 'cancel', attemptId, epoch, graceMs: KILL_GRACE_MS });
    return true;
  }

  /** The agent has room for one more. */
  release(agentId: string, attemptId: string): void {
    this.#sessions.get(agentId)?.active.delete(attemptId);
  }
}
