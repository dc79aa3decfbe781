import { type Evidence, gather } from './evidence.ts';
import type { History } from './history.ts';
import { latenessByFaultWindow, type Statistics, statisticsOf } from './lateness.ts';
import {
  acknowledgedIsDurable,
  everyInstantAccounted,
  missedIsLate,
  nothingExtra,
  settled,
  skipHasReason,
  terminalUnchanged,
  unknownJustified,
} from './outcomes.ts';
import { droppedNeverStarts, retriesAreUsed, retryIsAllowed } from './retries.ts';
import {
  neverEarly,
  nextAttemptHasProof,
  noAttemptTwice,
  noOverlap,
  notStartedNeverStarts,
  outcomeMatchesLog,
  startHasPermit,
} from './starts.ts';
import { noStepTwice, stepsInOrder, stepsMatchLog } from './steps.ts';

/** What every history must show, whatever was done to the system. The names are stable. */
export const INVARIANTS = {
  noAttemptTwice,
  startHasPermit,
  notStartedNeverStarts,
  nextAttemptHasProof,
  neverEarly,
  noOverlap,
  outcomeMatchesLog,
  noStepTwice,
  stepsInOrder,
  stepsMatchLog,
  retryIsAllowed,
  retriesAreUsed,
  droppedNeverStarts,
  everyInstantAccounted,
  nothingExtra,
  acknowledgedIsDurable,
  terminalUnchanged,
  settled,
  unknownJustified,
  missedIsLate,
  skipHasReason,
  latenessByFaultWindow,
} as const satisfies Record<string, (evidence: Evidence) => Iterable<string>>;

export type Invariant = keyof typeof INVARIANTS;
export const INVARIANT_NAMES = Object.keys(INVARIANTS) as Invariant[];

export interface Violation {
  invariant: Invariant;
  sentence: string;
}

/** Holds a history against the guarantees. Pure; the work grows as n log n. */
export function check(history: History): { violations: Violation[]; statistics: Statistics } {
  const evidence = gather(history);
  const violations: Violation[] = [];
  for (const invariant of INVARIANT_NAMES) {
    for (const sentence of INVARIANTS[invariant](evidence)) violations.push({ invariant, sentence });
  }
  return { violations, statistics: statisticsOf(evidence) };
}
