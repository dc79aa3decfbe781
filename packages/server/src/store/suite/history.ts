import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isTerminal, type JournalledAttempt, type RunState } from '@rota/contract';
import fc from 'fast-check';
import { isLegal, RUN_EVENTS, type RunEvent } from '../../runs/machine.ts';
import type { EventRow, RunRow } from '../tables.ts';
import { type AttemptMessage, DAY, MINUTE, type Open, SECOND, World } from './world.ts';

const PAUSES = [1, 1, 1, SECOND, SECOND, 5 * SECOND, 10 * SECOND, 25 * SECOND, MINUTE, 3 * MINUTE, DAY];
const JOBS = ['a', 'b'];
const HISTORIES = 12;

/** How often each step comes; those along the way of a run most. */
const WEIGHTS = {
  pass: 5,
  plan: 7,
  queue: 9,
  offer: 12,
  accept: 12,
  deliver: 6,
  deliverNewest: 14,
  execute: 9,
  end: 6,
  refuse: 2,
  decline: 1,
  settle: 4,
  cancel: 1,
  resolve: 3,
  session: 5,
  stale: 3,
  edit: 1,
  shelve: 1,
} as const;
type Step = keyof typeof WEIGHTS;

type Message = { kind: 'accept' | 'decline' | 'refused' | 'started' | 'ended'; key: AttemptMessage };

/**
 * Two jobs, two agents that keep the protocol, and a network that loses, repeats and reorders all that they say.
 * `n` chooses among what is possible.
 */
class History {
  readonly world: World;
  readonly other: World;
  readonly journals = new Map<string, Map<string, JournalledAttempt>>();
  readonly sessions = new Map<string, { epoch: number; nonce: string; open: boolean }>();
  readonly offers: AttemptMessage[] = [];
  readonly permits: AttemptMessage[] = [];
  readonly messages: Message[] = [];
  /** Attempts that an agent has executed, by run. */
  readonly executed = new Map<string, string[]>();
  /** Runs that a person has sent off again without knowing. */
  readonly retried = new Set<string>();
  #epochs = new Map<string, number>();
  #seenEvent = 0;
  #states = new Map<string, RunState>();
  #fired = new Map<string, number>();

  constructor(world: World, other: World) {
    this.world = world;
    this.other = other;
  }

  static async begin(open: Open): Promise<History> {
    const world = await World.open(open);
    const history = new History(world, await world.other());
    for (const agent of ['one', 'two']) {
      await world.online(agent);
      history.journals.set(agent, new Map());
      history.sessions.set(agent, { epoch: 1, nonce: `${agent}-nonce`, open: true });
    }
    for (const job of JOBS) await world.job(job);
    return history;
  }

  readonly steps: Record<Step, (n: number) => Promise<unknown>> = {
    pass: async (n) => this.world.pass(PAUSES[n % PAUSES.length] as number),
    plan: async (n) => {
      const timeoutMs = n % 3 === 0 ? null : MINUTE;
      const job = JOBS[n % 2] as string;
      if ((await this.world.readJob(job)).deletedAt === null) await this.world.planned(job, { timeoutMs });
    },
    queue: () => this.world.queueDue(),
    offer: async (n) => {
      const run = pick(await this.runs('queued'), n);
      const agent = n % 2 === 0 ? 'one' : 'two';
      if (run && this.sessions.get(agent)?.open && (await this.world.offer(run.id, agent)))
        this.offers.push(await this.world.key(run.id));
    },
    accept: async (n) => {
      const key = pick(this.offers, n);
      if (!key || this.journal(key)) return;
      this.write(key, 'accepted');
      this.messages.push({ kind: 'accept', key });
    },
    deliver: (n) => this.deliver(pick(this.messages, n)),
    deliverNewest: (n) => this.deliver(this.messages.at(-1 - (n % 2))),
    execute: async (n) => {
      const key = pick(this.permits, n);
      if (!key || this.journal(key)?.state !== 'accepted') return;
      this.write(key, 'started');
      const runId = key.attemptId.slice(0, 20);
      this.executed.set(runId, [...(this.executed.get(runId) ?? []), key.attemptId]);
      this.messages.push({ kind: 'started', key });
    },
    end: async (n) => {
      const key = pick(this.entries('started'), n);
      if (!key) return;
      this.write(key, 'ended');
      this.messages.push({ kind: 'ended', key });
    },
    refuse: async (n) => {
      const key = pick(this.entries('accepted'), n);
      if (key) this.refuse(key);
    },
    decline: async (n) => {
      const key = pick(this.offers, n);
      if (key && !this.journal(key)) this.messages.push({ kind: 'decline', key });
    },
    settle: () => this.world.settle(),
    cancel: async (n) => {
      const run = pick(await this.runs(), n);
      if (run) await this.world.store.cancelRun({ tenantId: 'acme', runId: run.id, by: 'me' });
    },
    resolve: async (n) => {
      const run = pick(await this.runs('unknown'), n);
      if (!run) return;
      const as = (['failed', 'succeeded', 'retry'] as const)[n % 3] as 'retry';
      await this.world.store.resolveRun({ tenantId: 'acme', runId: run.id, as, note: '', by: 'me' });
      if (as === 'retry') this.retried.add(run.id);
    },
    session: (n) => this.toggleSession(n % 2 === 0 ? 'one' : 'two', n % 3 === 0),
    stale: async (n) => {
      const message = pick(this.messages, n);
      if (!message) return;
      const { key } = message;
      const before = await this.world.all();
      const stale = [
        { ...key, epoch: key.epoch + 100 },
        { ...key, agentId: 'three' },
        { ...key, tenantId: 'other' },
      ][n % 3] as AttemptMessage;
      await this.say({ ...message, key: stale }, 0);
      assert.equal(await this.world.all(), before, 'a message that is fenced off changes nothing');
      assert.deepEqual(await this.other.rows(`select * from "runs" where "tenantId" = 'other'`), []);
    },
    edit: (n) => this.world.job(JOBS[n % 2] as string, { command: `echo ${n}` }),
    shelve: async (n) => {
      const job = { tenantId: 'acme', name: JOBS[n % 2] as string, by: 'me' };
      if (n % 5 === 0) await this.world.store.deleteJob(job);
      else if (n % 5 === 1) await this.world.store.pauseJob({ ...job, note: '' });
      else await this.world.store.resumeJob(job);
    },
  };

  async runs(state?: RunState): Promise<RunRow[]> {
    const all = await this.world.rows<RunRow>('select * from "runs" order by "id"');
    return all.filter((run) => state === undefined || run.state === state);
  }

  journal(key: AttemptMessage): JournalledAttempt | undefined {
    return this.journals.get(key.agentId)?.get(`${key.attemptId}/${key.epoch}`);
  }

  write(key: AttemptMessage, state: JournalledAttempt['state']): void {
    const { attemptId, epoch } = key;
    this.journals.get(key.agentId)?.set(`${attemptId}/${epoch}`, { attemptId, epoch, state });
  }

  entries(state: JournalledAttempt['state']): AttemptMessage[] {
    return [...this.journals].flatMap(([agentId, journal]) =>
      [...journal.values()]
        .filter((entry) => entry.state === state)
        .map(({ attemptId, epoch }) => ({ tenantId: 'acme', agentId, attemptId, epoch })),
    );
  }

  refuse(key: AttemptMessage): void {
    this.write(key, 'refused');
    this.messages.push({ kind: 'refused', key });
  }

  async deliver(message: Message | undefined): Promise<void> {
    if (message && this.sessions.get(message.key.agentId)?.open) await this.say(message, 0);
  }

  async say({ kind, key }: Message, journalSeq: number): Promise<void> {
    switch (kind) {
      case 'accept':
        if (await this.world.accept(key, journalSeq)) this.permits.push(key);
        else if (this.journal(key)?.state === 'accepted') this.refuse(key);
        return;
      case 'decline':
        await this.world.store.declineOffer({ ...key, detail: '' });
        return;
      case 'refused':
        return this.world.refuse(key, journalSeq);
      case 'started':
        return this.world.start(key, journalSeq);
      case 'ended':
        await this.world.end(key, {}, journalSeq);
    }
  }

  async toggleSession(agentId: string, close: boolean): Promise<void> {
    const { world } = this;
    const session = this.sessions.get(agentId) as { epoch: number; nonce: string; open: boolean };
    if (session.open && !close) return;
    if (session.open) {
      await world.store.closeSession({ tenantId: 'acme', agentId, sessionEpoch: session.epoch });
      session.open = false;
      return;
    }
    const newNonce = `${session.nonce}+`;
    await world.connect(agentId, { lastNonce: session.nonce, newNonce });
    this.sessions.set(agentId, { epoch: session.epoch + 1, nonce: newNonce, open: true });
    const attempts = [...(this.journals.get(agentId)?.values() ?? [])];
    const steps = await world.store.reconcileSession({
      tenantId: 'acme',
      agentId,
      sessionEpoch: session.epoch + 1,
      attempts,
    });
    for (const step of steps) {
      if (step.action === 'cancel') continue;
      const { attemptId, epoch } = step.attempt;
      const key = { tenantId: 'acme', agentId, attemptId, epoch };
      if (step.action === 'withdraw') this.refuse(key);
      else if (step.action === 'permitAgain') {
        if (await world.store.permitAgain({ ...key, bootId: 'boot', permitUntilBootMs: 1 }))
          this.permits.push(key);
        else this.refuse(key);
      } else await this.say({ kind: step.action, key }, 0);
    }
  }

  /** What must hold after every step. */
  async check(): Promise<void> {
    const slots = new Set<string>();
    for (const run of await this.runs()) {
      const terminal = isTerminal(run.state);
      assert.equal(run.endedAt !== null, terminal, 'only what has ended has an end');
      assert(run.epoch >= (this.#epochs.get(run.id) ?? 0), 'the epoch never falls');
      this.#epochs.set(run.id, run.epoch);
      if (run.slot === 1) {
        assert(!terminal && !slots.has(run.jobId), 'one open run at most has the slot of a job');
        slots.add(run.jobId);
      }
      if (['offered', 'starting'].includes(run.state)) assert.equal(run.slot, 1);
      const waits =
        ['planned', 'queued', 'offered', 'starting'].includes(run.state) ||
        (run.state === 'running' && run.contactLostAt !== null && run.timeoutMs !== null);
      if (waits) assert.notEqual(run.wakeAt, null, `${run.state} without a time to look at it`);
      if (terminal || (run.state === 'running' && run.contactLostAt === null)) assert.equal(run.wakeAt, null);
      if (this.retried.has(run.id)) continue;
      assert(
        (this.executed.get(run.id) ?? []).length <= 1,
        'no run is executed twice unless a person asks for it',
      );
      const open = await this.world.rows(
        `select "id" from "attempts" where "runId" = ? and "state" in ('starting', 'running')`,
        run.id,
      );
      if (!terminal) assert(open.length <= 1, 'one attempt at most is neither proven nor ended');
    }
    for (const job of JOBS) {
      const { firedThrough } = await this.world.readJob(job);
      assert(firedThrough >= (this.#fired.get(job) ?? 0), 'firedThrough never falls');
      this.#fired.set(job, firedThrough);
    }
    await this.checkEvents();
  }

  /** Every change of a run's state that watchers saw is an arrow of the machine. */
  async checkEvents(): Promise<void> {
    const events = await this.world.store.readEvents({
      tenantId: 'acme',
      after: this.#seenEvent,
      limit: 10_000,
    });
    for (const event of events as EventRow[]) {
      this.#seenEvent = event.id;
      if (event.type !== 'run') continue;
      const to = JSON.parse(event.dataJson).state as RunState;
      const from = this.#states.get(event.subjectId) ?? 'planned';
      const legal = (Object.keys(RUN_EVENTS) as RunEvent[]).some((each) => isLegal(each, from, to));
      assert(legal, `${from} became ${to}`);
      this.#states.set(event.subjectId, to);
    }
    for (const run of await this.runs()) assert.equal(this.#states.get(run.id) ?? 'planned', run.state);
  }
}

/** One of the newest six. */
function pick<T>(choices: readonly T[], n: number): T | undefined {
  return choices[choices.length - 1 - (n % Math.min(6, choices.length))];
}

/** History is monotone under any sequence of operations. */
export function historySuite(open: Open): void {
  describe('any sequence of operations', () => {
    it('keeps ended runs ended, epochs rising, slots unique, and no run executed twice', async () => {
      const steps = Object.entries(WEIGHTS).flatMap(([step, weight]) =>
        Array<Step>(weight).fill(step as Step),
      );
      const step = fc.tuple(fc.constantFrom(...steps), fc.nat(1_000));
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { minLength: 100, maxLength: 250, size: 'max' }),
          async (sequence) => {
            const history = await History.begin(open);
            for (const [name, n] of sequence) {
              await history.steps[name](n);
              await history.check();
            }
          },
        ),
        { numRuns: HISTORIES },
      );
    });
  });
}
