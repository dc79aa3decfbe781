import { type Operation, type Transaction, together } from './operation.ts';

/** Changes that one commit takes: more would keep the locks of the first for long. */
const CHANGES_PER_COMMIT = 256;

/** A change that waits for its commit. */
export interface Waiting {
  readonly operation: (transaction: Transaction) => Operation<unknown>;
  /** What it is about, if about nothing else of its key. */
  readonly subject: string | undefined;
  resolve(value: unknown): void;
  reject(error: unknown): void;
  readonly lane: Lane;
  failed: boolean;
}

interface Lane {
  readonly key: string | undefined;
  waiting: Waiting[];
  /** On their way to a commit. */
  taken: Waiting[];
}

/**
 * The changes that wait, in lanes: those of one key stand in one lane, of which only one batch is on its way at a time; a
 * change without a key has a lane of its own. Lanes with keys share commits, since what agents report does not meet; the
 * others touch many rows and go alone.
 */
export class Lanes {
  readonly #byKey = new Map<string, Lane>();
  /** Lanes that nobody has taken, in the order in which they came. */
  #free: Lane[] = [];

  add(
    change: Pick<Waiting, 'operation' | 'resolve' | 'reject'>,
    key: string | undefined,
    subject?: string,
  ): void {
    let lane = key === undefined ? undefined : this.#byKey.get(key);
    if (lane === undefined) {
      lane = { key, waiting: [], taken: [] };
      if (key !== undefined) this.#byKey.set(key, lane);
      this.#free.push(lane);
    }
    lane.waiting.push({ ...change, subject, lane, failed: false });
  }

  /**
   * The next batch for one of so many that are free to take one; its lanes are not free until it is given to `done`.
   * Null when there is nothing to do.
   */
  take(takers: number): Waiting[] | null {
    const [first] = this.#free;
    if (first === undefined) return null;
    const waiting = this.#free.reduce((sum, lane) => sum + lane.waiting.length, 0);
    let room = Math.min(CHANGES_PER_COMMIT, Math.ceil(waiting / takers));
    const left: Lane[] = [];
    const batch: Waiting[] = [];
    for (const lane of this.#free) {
      const fits = lane === first || (room > 0 && first.key !== undefined && lane.key !== undefined);
      if (!fits) {
        left.push(lane);
        continue;
      }
      lane.taken = lane.waiting.splice(0, room);
      room -= lane.taken.length;
      batch.push(...lane.taken);
    }
    this.#free = left;
    return batch;
  }

  done(batch: Waiting[]): void {
    for (const lane of new Set(batch.map((waiting) => waiting.lane))) {
      lane.taken = [];
      if (lane.waiting.length > 0) this.#free.push(lane);
      else if (lane.key !== undefined) this.#byKey.delete(lane.key);
    }
  }

  /** Rejects a change, and those of its lane that wait behind it: they rely on it. */
  fail(waiting: Waiting, error: unknown): void {
    const { lane } = waiting;
    const behind = lane.taken.slice(lane.taken.indexOf(waiting) + 1);
    for (const each of [waiting, ...behind, ...lane.waiting.splice(0)]) {
      if (each.failed) continue;
      each.failed = true;
      each.reject(error);
    }
  }

  /** Whether nothing waits that nobody has taken. */
  isEmpty(): boolean {
    return this.#free.length === 0;
  }
}

/** Carries a batch out: of one key in order, but for those of different subjects, which do not meet; of different keys together. */
export function* carryOut(transaction: Transaction, batch: readonly Waiting[]): Operation<unknown[]> {
  const values: unknown[] = [];
  let left = batch.map((waiting, index) => ({ waiting, index }));
  while (left.length > 0) {
    const chains = new Map<unknown, typeof left>();
    /** Lanes in which something goes that is about the agent as a whole, and what is next in those waits for it. */
    const closed = new Set<unknown>();
    const later: typeof left = [];
    const open = new Set<unknown>();
    for (const each of left) {
      const { lane, subject } = each.waiting;
      if (closed.has(lane) || (subject === undefined && open.has(lane))) {
        closed.add(lane);
        later.push(each);
        continue;
      }
      open.add(lane);
      if (subject === undefined) closed.add(lane);
      const chain = subject ?? each;
      chains.set(chain, [...(chains.get(chain) ?? []), each]);
    }
    yield* together(
      transaction,
      [...chains.values()].map(function* (chain): Operation<void> {
        for (const { waiting, index } of chain) values[index] = yield* waiting.operation(transaction);
      }),
    );
    left = later;
  }
  return values;
}
