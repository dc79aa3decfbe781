import {
  type AgentMessage,
  type AttemptEnd,
  type DeclineCode,
  type HistoryAttempt,
  type JournalledAttempt,
  LOSS_WINDOW_MS,
  type RunKey,
} from '@rota/contract';

/**
 * What the agent's journal knows of attempts, and what that allows. Pure: no clock, no I/O.
 *
 *   accepted → started            a permit was good; from here on it may have run
 *   accepted → refused            withdrawn, cancelled, permit bad or expired, host restarted
 *   started  → refused            only with proof that nothing was executed
 *   any of the last two → done    the server has committed the end or the refusal
 *
 * That a started attempt has ended is written in its spool file; what is done takes the end along, without output: a
 * server whose database has lost its last commits asks for it.
 */
export type RefusalReason = Extract<AgentMessage, { type: 'refused' }>['reason'];

export type JournalRecord =
  | { type: 'accepted'; attemptId: string; epoch: number; bootId: string }
  | {
      type: 'started';
      attemptId: string;
      epoch: number;
      bootId: string;
      helperId: string;
      permitUntilBootMs: number;
      key: RunKey;
      bootMs: number;
    }
  | {
      type: 'refused';
      attemptId: string;
      epoch: number;
      bootId: string;
      reason: RefusalReason;
      /** Null when no permit was seen. */
      permitUntilBootMs: number | null;
    }
  /** `end` of what was started. */
  | { type: 'done'; attemptId: string; end: AttemptEnd | null; bootId: string; bootMs: number }
  /** The nonce that the server gave last. */
  | { type: 'nonce'; nonce: string };

export interface Entry {
  attemptId: string;
  /** Highest epoch known of it. */
  epoch: number;
  /** The boot of the machine in which this was written. */
  bootId: string;
  state: 'accepted' | 'started' | 'refused';
  /** The helper process that was to execute it; null before it was started. */
  helperId: string | null;
  permitUntilBootMs: number | null;
  reason: RefusalReason | null;
  /** What was started, and when on the clock of its boot. */
  key: RunKey | null;
  startedBootMs: number | null;
  /** The server has committed its end or refusal. */
  done: { bootId: string; bootMs: number; end: AttemptEnd | null } | null;
}

/** Applies one record. Records of an attempt that is not there any more are passed over. */
export function applyRecord(entries: Map<string, Entry>, record: JournalRecord): void {
  switch (record.type) {
    case 'accepted':
      entries.set(record.attemptId, {
        attemptId: record.attemptId,
        epoch: record.epoch,
        bootId: record.bootId,
        state: 'accepted',
        helperId: null,
        permitUntilBootMs: null,
        reason: null,
        key: null,
        startedBootMs: null,
        done: null,
      });
      return;
    case 'started':
      entries.set(record.attemptId, {
        attemptId: record.attemptId,
        epoch: record.epoch,
        bootId: record.bootId,
        state: 'started',
        helperId: record.helperId,
        permitUntilBootMs: record.permitUntilBootMs,
        reason: null,
        key: record.key,
        startedBootMs: record.bootMs,
        done: null,
      });
      return;
    case 'refused':
      entries.set(record.attemptId, {
        attemptId: record.attemptId,
        epoch: record.epoch,
        bootId: record.bootId,
        state: 'refused',
        helperId: null,
        permitUntilBootMs: record.permitUntilBootMs,
        reason: record.reason,
        key: null,
        startedBootMs: null,
        done: null,
      });
      return;
    case 'done': {
      const entry = entries.get(record.attemptId);
      const { bootId, bootMs, end } = record;
      if (entry) entry.done = { bootId, bootMs, end };
      return;
    }
    case 'nonce':
      return;
    default:
      record satisfies never;
  }
}

/** A reading of the machine's boot-time clock. */
export interface Moment {
  bootId: string;
  bootMs: number;
}

/**
 * True once nothing can be gained from remembering it: settled with the server, its permit is worthless, and the server has
 * acknowledged something so much later (`heardBootMs`) that a loss of its last commits cannot reach back to it.
 */
export function isDroppable(entry: Entry, now: Moment, heardBootMs: number | null): boolean {
  const { done } = entry;
  if (done === null || isPermitGood(entry, now)) return false;
  if (entry.permitUntilBootMs === null) return true;
  // Of an earlier boot nobody knows how old it is: it was taken over at the start of this one (see `rebase`).
  return heardBootMs !== null && done.bootId === now.bootId && heardBootMs - done.bootMs >= LOSS_WINDOW_MS;
}

/** Whether a permit that was seen may still be shown again. */
export function isPermitGood(entry: Entry, now: Moment): boolean {
  return (
    entry.permitUntilBootMs !== null && entry.bootId === now.bootId && now.bootMs <= entry.permitUntilBootMs
  );
}

/** Counts the age of what an earlier boot has done from now on. */
export function rebase(entry: Entry, now: Moment): void {
  if (entry.done !== null && entry.done.bootId !== now.bootId) entry.done = { ...entry.done, ...now };
}

/** The end as the journal keeps it: without what is long. */
export function keptEnd(end: AttemptEnd): AttemptEnd {
  const error = end.error?.slice(0, KEPT_ERROR_LENGTH) ?? null;
  return { ...end, error, http: null, steps: [], result: null };
}

const KEPT_ERROR_LENGTH = 300;

/** What a server is told of an attempt whose commits it may have lost; null when there is nothing to tell. */
export function historyOf(entry: Entry, now: Moment): HistoryAttempt | null {
  const { attemptId, epoch, state, key, done } = entry;
  if (state === 'accepted') return null;
  const ago = (bootMs: number | null) =>
    entry.bootId === now.bootId && bootMs !== null ? Math.max(0, Math.floor(now.bootMs - bootMs)) : null;
  const end = state === 'started' ? (done?.end ?? null) : null;
  return {
    attemptId,
    epoch,
    state: state === 'started' && end !== null ? 'ended' : state,
    permitted: entry.permitUntilBootMs !== null,
    key,
    startedMsAgo: ago(entry.startedBootMs),
    endedMsAgo: end !== null && done !== null ? ago(done.bootMs) : null,
    end,
  };
}

/** The state that a resume tells the server. */
export function journalledState(entry: Entry, hasEnded: boolean): JournalledAttempt['state'] {
  return entry.state === 'started' && hasEnded ? 'ended' : entry.state;
}

/** What an offer meets. */
export interface Situation {
  draining: boolean;
  diskFull: boolean;
  journalFull: boolean;
  active: number;
  maxParallel: number;
}

export const STEP_KINDS = ['command', 'http'] as const;

/** Attempt ids name files of the spool. */
const ATTEMPT_ID = /^[A-Za-z0-9_][A-Za-z0-9._:-]{0,63}$/;

export type OfferDecision = { accept: true } | { accept: false; code: DeclineCode; detail: string };

/** Whether to take an offer. */
export function decideOffer(
  entry: Entry | undefined,
  offer: { attemptId: string; epoch: number; kinds: string[] },
  situation: Situation,
): OfferDecision {
  if (!ATTEMPT_ID.test(offer.attemptId))
    return decline('unsupported', 'the attempt id has characters that no file name should have');
  if (entry && (offer.epoch <= entry.epoch || !mayBeOfferedAgain(entry)))
    return decline('alreadyKnown', `it is ${entry.state} with epoch ${entry.epoch}`);
  const unknown = offer.kinds.find((kind) => !(STEP_KINDS as readonly string[]).includes(kind));
  if (unknown !== undefined) return decline('unsupported', `this agent cannot do steps of kind ${unknown}`);
  const code = blockedBy(situation);
  return code === null ? { accept: true } : decline(code, SITUATION_DETAIL[code]);
}

/** Why any offer would be declined now; null when it would not. */
export function blockedBy(situation: Situation): 'draining' | 'diskFull' | 'journalFull' | 'full' | null {
  if (situation.draining) return 'draining';
  if (situation.diskFull) return 'diskFull';
  if (situation.journalFull) return 'journalFull';
  if (situation.active >= situation.maxParallel) return 'full';
  return null;
}

const SITUATION_DETAIL = {
  draining: 'the agent is stopping',
  diskFull: "the disk of the agent's state folder is nearly full",
  journalFull: "the agent's journal takes no more attempts",
  full: 'the agent runs as many attempts as it may',
} as const;

function decline(code: DeclineCode, detail: string): OfferDecision {
  return { accept: false, code, detail };
}

/** A higher epoch proves that the server permitted nothing before, unless the agent itself saw a permit or a cancel. */
function mayBeOfferedAgain(entry: Entry): boolean {
  if (entry.state === 'accepted') return true;
  return entry.state === 'refused' && entry.permitUntilBootMs === null && entry.reason !== 'cancelled';
}

export type PermitDecision =
  | { start: true }
  | { start: false; refuse: RefusalReason }
  /** Stale or repeated: nothing to do. */
  | { start: false; refuse: null };

/** Whether a permit, whose signature and addressee are proven, starts its attempt. */
export function decidePermit(
  entry: Entry | undefined,
  permit: { epoch: number; bootId: string; validUntilBootMs: number },
  now: { bootId: string; bootMs: number },
): PermitDecision {
  if (entry && permit.epoch < entry.epoch) return { start: false, refuse: null };
  if (!entry || permit.epoch > entry.epoch) return { start: false, refuse: 'permitInvalid' };
  if (entry.state !== 'accepted') return { start: false, refuse: null };
  if (entry.bootId !== now.bootId) return { start: false, refuse: 'hostRestarted' };
  if (permit.bootId !== now.bootId) return { start: false, refuse: 'permitInvalid' };
  if (now.bootMs > permit.validUntilBootMs) return { start: false, refuse: 'permitExpired' };
  return { start: true };
}

/** Whether a permit, whose signature and addressee are proven, lets a started chain go on that has asked for it. */
export function decideToGoOn(
  entry: Entry | undefined,
  permit: { epoch: number; bootId: string; validUntilBootMs: number },
  now: Moment,
): 'yes' | 'expired' | 'no' {
  if (entry?.state !== 'started' || permit.epoch !== entry.epoch) return 'no';
  if (permit.bootId !== now.bootId || entry.bootId !== now.bootId) return 'no';
  return now.bootMs <= permit.validUntilBootMs ? 'yes' : 'expired';
}

/** Whether a withdrawal or a cancel of this epoch is to be answered with a refusal. */
export function isToBeRefused(entry: Entry | undefined, epoch: number): boolean {
  if (!entry) return true;
  if (epoch < entry.epoch) return false;
  return entry.state === 'accepted' || (entry.state === 'refused' && epoch > entry.epoch);
}
