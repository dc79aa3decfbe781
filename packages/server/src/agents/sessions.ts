import type { DeclineCode, ServerMessage } from '@rota/contract';
import type { Presence } from './select.ts';

/** A live session of an agent with this server. */
export interface Session {
  readonly tenantId: string;
  readonly agentId: string;
  readonly sessionEpoch: number;
  /** Attempts that were offered to it or that it runs. */
  readonly active: Set<string>;
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

/** The sessions that this process holds: what dispatch may use, nothing that is not also in the store. */
export class Sessions {
  readonly #sessions = new Map<string, Session>();

  add(session: Session): void {
    this.#sessions.get(session.agentId)?.close('a newer session of the same agent began');
    this.#sessions.set(session.agentId, session);
  }

  /** Removes this very session; one that has replaced it stays. */
  remove(session: Session): void {
    if (this.#sessions.get(session.agentId) === session) this.#sessions.delete(session.agentId);
  }

  get(agentId: string): Session | undefined {
    return this.#sessions.get(agentId);
  }

  all(): Session[] {
    return [...this.#sessions.values()];
  }

  presenceOf(agentId: string): Presence {
    const session = this.#sessions.get(agentId);
    if (!session?.ready) return 'away';
    if (session.draining || session.blocked !== null) return 'blocked';
    return session.active.size >= session.maxParallel ? 'full' : 'ready';
  }

  send(agentId: string, message: ServerMessage): void {
    this.#sessions.get(agentId)?.send(message);
  }

  /** The agent has room for one more. */
  release(agentId: string, attemptId: string): void {
    this.#sessions.get(agentId)?.active.delete(attemptId);
  }
}
