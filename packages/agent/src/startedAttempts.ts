import type { AgentMessage, AttemptEnd, Permit } from '@rota/contract';
import type { Entry, JournalRecord, RefusalReason } from './attempts.ts';
import type { Helper } from './helperClient.ts';
import type { FromHelper } from './helperProtocol.ts';
import type { Journal } from './journal.ts';
import { taskOf } from './permit.ts';
import type { Clock, Log } from './ports.ts';
import type { Reports } from './reports.ts';
import type { Spool } from './spool.ts';
import { unseenEnd } from './spoolFile.ts';
import type { Turns } from './turns.ts';

/**
 * The attempts that the journal has as started: the helper executes them, and what it says becomes reports. A helper that
 * dies is followed by another, and what became of each attempt is found out, as far as anyone can know.
 */
export interface StartedAttempts {
  /** Meets the helper. */
  meet(): Promise<void>;
  /** Writes down that it is started, then gives it to the helper. @returns false when there is no helper, and nothing was done */
  start(permit: Permit): Promise<boolean>;
  /** Finds out what became of what an earlier session, helper or boot left. */
  settle(entry: Entry): Promise<void>;
  cancel(attemptId: string, graceMs: number): void;
  /** The server answers whether a chain may go on, with its permit or with null; false when none asks. */
  goOn(attemptId: string, permit: Permit | null): boolean;
  /** The answer came too late to be used. */
  askAgain(attemptId: string): void;
  connected(send: (message: AgentMessage) => void): void;
  disconnected(): void;
  /** Null while it has not ended. */
  endOf(attemptId: string): AttemptEnd | null;
  /** Whether nobody can say yet if it was begun. */
  isInDoubt(entry: Entry): boolean;
  /** The server has committed its end or its refusal. */
  done(attemptId: string): void;
  /** It was refused: nothing of it is to be reported or cancelled any more. */
  refused(attemptId: string): void;
  /** Leaves the helper once all is settled; it goes on with what runs. */
  close(): Promise<void>;
}

export interface StartedPorts {
  bootId: string;
  journal: Journal;
  spool: Spool;
  clock: Clock;
  log: Log;
  reports: Reports;
  turns: Turns;
  /** The agent's own environment, for secrets that refer to it. */
  environment: Record<string, string | undefined>;
  meetHelper(): Promise<Helper>;
  commit(record: JournalRecord): Promise<void>;
  refuse(
    attemptId: string,
    epoch: number,
    reason: RefusalReason,
    permitUntilBootMs: number | null,
  ): Promise<void>;
  /** It has ended, and its place is free. */
  freed(attemptId: string): void;
}

/** Between two tries to start a helper. */
const HELPER_RETRY_MS = 1_000;

export function createStartedAttempts(ports: StartedPorts): StartedAttempts {
  const { journal, spool, clock, log, bootId, reports, commit, refuse } = ports;
  const { inTurn } = ports.turns;
  /** Ends of started attempts that are not done. */
  const ends = new Map<string, AttemptEnd>();
  /** Cancels of started attempts, for the helper that comes after one that died. */
  const cancels = new Map<string, number>();
  /** Started attempts that the helper is known to have begun; of the others nobody can say yet whether they were. */
  const begun = new Set<string>();
  /** Chains that wait for the server to let them go on. */
  const asking = new Set<string>();
  let send: ((message: AgentMessage) => void) | null = null;
  let helper: Helper | null = null;
  let isClosed = false;

  async function start(permit: Permit): Promise<boolean> {
    const { attemptId, epoch } = permit;
    const executor = helper;
    if (!executor) return false;
    await commit({
      type: 'started',
      attemptId,
      epoch,
      bootId,
      helperId: executor.id,
      permitUntilBootMs: permit.validUntilBootMs,
      key: permit.key,
      bootMs: Math.floor(clock.bootMs()),
    });
    executor.send({ type: 'start', task: taskOf(permit, ports.environment) });
    // It was lost in between, and with it the order: settle it like the others that it had.
    if (executor !== helper) await settle(journal.entries.get(attemptId) as Entry);
    return true;
  }

  function onHelperMessage(message: FromHelper): void {
    if (message.type === 'hello') return;
    const { attemptId } = message;
    if (message.type === 'output') {
      reports.grown(attemptId);
      return;
    }
    inTurn(attemptId, async () => {
      const entry = journal.entries.get(attemptId);
      if (entry?.state !== 'started' || entry.done) return;
      if (message.type === 'running') {
        begun.add(attemptId);
        reports.add({ attemptId, epoch: entry.epoch, pid: message.pid });
      } else if (message.type === 'step') reports.step(attemptId, message.step);
      else if (message.type === 'progress') reports.progress(attemptId, message.percent);
      else if (message.type === 'continue') {
        asking.add(attemptId);
        ask(attemptId);
      } else if (message.type === 'ended') await onEnded(entry);
      else await refuse(attemptId, entry.epoch, message.reason, entry.permitUntilBootMs);
    });
  }

  function ask(attemptId: string): void {
    const { epoch } = journal.entries.get(attemptId) as Entry;
    send?.({ type: 'continue', attemptId, epoch, bootId, bootMs: Math.floor(clock.bootMs()) });
  }

  async function onEnded(entry: Entry): Promise<void> {
    const end = await spool.readEnd(entry.attemptId);
    if (!end) throw new Error('its end record is not in the spool');
    report(entry, end);
  }

  function report(entry: Entry, end: AttemptEnd): void {
    const { attemptId, epoch } = entry;
    ends.set(attemptId, end);
    begun.add(attemptId);
    cancels.delete(attemptId);
    asking.delete(attemptId);
    ports.freed(attemptId);
    reports.add({ attemptId, epoch, pid: null });
    reports.ended(attemptId, end);
    log.info({ attemptId, outcome: end.outcome, reason: end.reason }, 'an attempt has ended');
  }

  /** Finds out what became of a started attempt, as far as anyone can know. */
  async function settle(entry: Entry): Promise<void> {
    const { attemptId, epoch } = entry;
    const end = await spool.readEnd(attemptId);
    if (end) return report(entry, end);
    if (entry.bootId !== bootId) {
      await spool.writeEnd(attemptId, unseenEnd('hostRestarted', await spool.outputBytes(attemptId)));
      return onEnded(entry);
    }
    const held = helper?.attempts.find((attempt) => attempt.attemptId === attemptId);
    if (held?.state === 'running') {
      begun.add(attemptId);
      return reports.add({ attemptId, epoch, pid: held.pid });
    }
    if (held) return;
    // This helper read all that the session before had sent, and does not know it.
    if (entry.helperId === helper?.id)
      return refuse(attemptId, epoch, 'notExecuted', entry.permitUntilBootMs);
    helper?.send({ type: 'adopt', attemptId });
    const graceMs = cancels.get(attemptId);
    if (graceMs !== undefined) helper?.send({ type: 'end', attemptId, graceMs });
  }

  async function onHelperLost(): Promise<void> {
    helper = null;
    // The next helper asks for itself.
    asking.clear();
    if (isClosed) return;
    log.error({}, 'the helper process is gone; starting another');
    let found: Helper;
    try {
      found = await ports.meetHelper();
    } catch (error) {
      log.error({ err: error }, 'no helper process');
      clock.after(HELPER_RETRY_MS, () => void onHelperLost());
      return;
    }
    if (isClosed) return found.leave();
    listenTo(found);
    for (const entry of journal.entries.values()) {
      if (entry.state === 'started' && !entry.done && !ends.has(entry.attemptId))
        inTurn(entry.attemptId, () => settle(entry));
    }
  }

  function listenTo(found: Helper): void {
    helper = found;
    helper.listen({ message: onHelperMessage, lost: () => void onHelperLost() });
  }

  return {
    meet: async () => listenTo(await ports.meetHelper()),
    start,
    settle,
    cancel(attemptId, graceMs) {
      if (ends.has(attemptId)) return;
      cancels.set(attemptId, graceMs);
      helper?.send({ type: 'end', attemptId, graceMs });
    },
    goOn(attemptId, permit) {
      if (!asking.delete(attemptId)) return false;
      const task = permit && taskOf(permit, ports.environment);
      helper?.send({ type: 'continue', attemptId, task });
      return true;
    },
    askAgain(attemptId) {
      if (asking.has(attemptId)) ask(attemptId);
    },
    connected(connection) {
      send = connection;
      for (const attemptId of asking) ask(attemptId);
    },
    disconnected() {
      send = null;
    },
    endOf: (attemptId) => ends.get(attemptId) ?? null,
    isInDoubt: (entry) => entry.state === 'started' && !entry.done && !begun.has(entry.attemptId),
    done(attemptId) {
      reports.remove(attemptId);
      ends.delete(attemptId);
      begun.delete(attemptId);
      helper?.send({ type: 'forget', attemptId });
    },
    refused(attemptId) {
      reports.remove(attemptId);
      cancels.delete(attemptId);
      asking.delete(attemptId);
    },
    async close() {
      isClosed = true;
      await ports.turns.settled();
      helper?.leave();
    },
  };
}
