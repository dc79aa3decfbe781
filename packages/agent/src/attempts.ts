import type { AgentMessage, DeclineCode, JournalledAttempt } from '@rota/contract';

/**
 * What the agent's journal knows of attempts, and what that allows. Pure: no clock, no I/O.
 *
 *   accepted → started            a permit was good; from here on it may have run
 *   accepted → refused            withdrawn, cancelled, permit bad or expired, host restarted
 *   started  → refused            only with proof that nothing was executed
 *   any of the last two → done    the server has committed the end or the refusal
 *
 * That a started attempt has ended is written in its spool file, not here.
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
  | { type: 'done'; attemptId: string }
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
  done: boolean;
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
        done: false,
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
        done: false,
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
        done: false,
      });
      return;
    case 'done': {
      const entry = entries.get(record.attemptId);
      if (entry) entry.done = true;
      return;
    }
    case 'nonce':
      return;
    default:
      record satisfies never;
  }
}

/** True once nothing can be gained from remembering it: settled with the server, and its permit is worthless. */
export function isDroppable(entry: Entry, now: { bootId: string; bootMs: number }): boolean {
  if (!entry.done) return false;
  if (entry.permitUntilBootMs === null || entry.bootId !== now.bootId) return true;
  return now.bootMs > entry.permitUntilBootMs;
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
  offer: { attemptId: string; epoch: number; kind: string },
  situation: Situation,
): OfferDecision {
  if (!ATTEMPT_ID.test(offer.attemptId))
    return decline('unsupported', 'the attempt id has characters that no file name should have');
  if (entry && (offer.epoch <= entry.epoch || !mayBeOfferedAgain(entry)))
    return decline('alreadyKnown', `it is ${entry.state} with epoch ${entry.epoch}`);
  if (!(STEP_KINDS as readonly string[]).includes(offer.kind))
    return decline('unsupported', `this agent cannot do steps of kind ${offer.kind}`);
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

/** Whether a withdrawal or a cancel of this epoch is to be answered with a refusal. */
export function isToBeRefused(entry: Entry | undefined, epoch: number): boolean {
  if (!entry) return true;
  if (epoch < entry.epoch) return false;
  return entry.state === 'accepted' || (entry.state === 'refused' && epoch > entry.epoch);
}
