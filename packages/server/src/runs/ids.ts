import { createHash } from 'node:crypto';
import { base32 } from '../random.ts';

/** A run's id, from what makes it unique: a run that is made again after a lost commit has the same id. */
export function runIdOf(run: {
  tenantId: string;
  jobId: string;
  occurrenceKey: string;
  part: string;
}): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([run.tenantId, run.jobId, run.occurrenceKey, run.part]))
    .digest();
  return base32(digest.subarray(0, 13)).slice(0, 20);
}

/** An attempt's id, from its run and number. */
export function attemptIdOf(runId: string, number: number): string {
  return `${runId}-${number}`;
}

/** The run and number of an attempt's id; null when it is none. */
export function parseAttemptId(attemptId: string): { runId: string; number: number } | null {
  const match = /^([0-9a-z]{20})-([1-9]\d{0,8})$/.exec(attemptId);
  return match ? { runId: match[1] as string, number: Number(match[2]) } : null;
}

/** A number from 0 up to, but without, 1: the same of one id on every server, and spread evenly over all ids. */
export function fractionOf(id: string): number {
  return createHash('sha256').update(id).digest().readUInt32BE() / 2 ** 32;
}
