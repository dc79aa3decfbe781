import type { AgentSocket } from './connection.ts';

/** Messages of one agent, and their bytes, that may be under way at one time before its socket is read no further. */
const UNDER_WAY_MAX = 500;
const UNDER_WAY_BYTES = 16 * 1024 * 1024;

/** The messages of one connection that are being carried out, or wait for that. */
export class Inbox {
  readonly #socket: Pick<AgentSocket, 'readyState' | 'OPEN' | 'isPaused' | 'pause' | 'resume'>;
  #underWay = 0;
  #bytes = 0;
  /** Those that wait for the ones before them. */
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(socket: AgentSocket) {
    this.#socket = socket;
  }

  get isEmpty(): boolean {
    return this.#underWay === 0;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Carries a message out at once, unless there are some that it must not overtake. `carryOut` never rejects. */
  take(bytes: number, carryOut: () => Promise<void>): Promise<void> {
    if (this.#waiting > 0) return this.takeInTurn(bytes, carryOut);
    this.#begin(bytes);
    return carryOut().finally(() => this.#end(bytes));
  }

  /** Carries a message out after those before it, if the connection is open then. `carryOut` never rejects. */
  takeInTurn(bytes: number, carryOut: () => Promise<void>): Promise<void> {
    this.#begin(bytes);
    this.#waiting += 1;
    const socket = this.#socket;
    this.#last = this.#last
      .then(() => (socket.readyState === socket.OPEN ? carryOut() : undefined))
      .finally(() => {
        this.#waiting -= 1;
        this.#end(bytes);
      });
    return this.#last;
  }

  #begin(bytes: number): void {
    this.#underWay += 1;
    this.#bytes += bytes;
    if (this.#underWay >= UNDER_WAY_MAX || this.#bytes >= UNDER_WAY_BYTES) this.#socket.pause();
  }

  #end(bytes: number): void {
    this.#underWay -= 1;
    this.#bytes -= bytes;
    const isFew = this.#underWay <= UNDER_WAY_MAX / 2 && this.#bytes <= UNDER_WAY_BYTES / 2;
    if (isFew && this.#socket.isPaused) this.#socket.resume();
  }
}
