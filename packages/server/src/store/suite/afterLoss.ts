import assert from 'node:assert/strict';
import type { HistoryAttempt } from '@rota/contract';
import { SUCCEEDED } from '../../attemptReports.testing.ts';
import { attemptIdOf, runIdOf } from '../../runs/ids.ts';
import type { RecoveryRow } from '../tables.ts';
import { MINUTE, type World } from './world.ts';

/** An attempt of a scheduled run as its agent tells of it. */
export function told(
  jobId: string,
  scheduledFor: number,
  more: Partial<HistoryAttempt> = {},
): HistoryAttempt {
  const occurrenceKey = `s:${scheduledFor}`;
  const runId = runIdOf({ tenantId: 'acme', jobId, occurrenceKey, part: '' });
  return {
    attemptId: attemptIdOf(runId, 1),
    epoch: 1,
    state: 'started',
    permitted: true,
    key: {
      jobId,
      revision: 1,
      kind: 'scheduled',
      occurrenceKey,
      part: '',
      scheduledFor,
      dueAt: scheduledFor,
      startBy: scheduledFor + MINUTE,
      timeoutMs: null,
    },
    startedMsAgo: 3_000,
    endedMsAgo: null,
    end: null,
    ...more,
  };
}

/** One that has ended. */
export const ended = (jobId: string, scheduledFor: number, more: Partial<HistoryAttempt> = {}) =>
  told(jobId, scheduledFor, {
    state: 'ended',
    end: { ...SUCCEEDED, exitCode: 0 },
    endedMsAgo: 1_000,
    ...more,
  });

export const runIdIn = ({ attemptId }: HistoryAttempt) => attemptId.replace(/-\d+$/, '');

/** Begins a recovery, and gives what it is. */
export async function recover(world: World, cause: RecoveryRow['cause'] = 'failover'): Promise<RecoveryRow> {
  return world.store.beginRecovery({ cause });
}

/** An agent resumes, and is asked. @returns its session */
export async function resume(world: World, agentId: string) {
  const answer = await world.connect(agentId, { lastNonce: 'any', journalSeq: 1_000, confirm: false });
  assert('sessionEpoch' in answer && answer.recovering === true);
  return { tenantId: world.tenantId, agentId, sessionEpoch: answer.sessionEpoch };
}
