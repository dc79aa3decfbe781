import { attemptIdOf, parseAttemptId } from '../runs/ids.ts';
import { get, set } from './byKey.ts';
import type { Operation, Transaction } from './operation.ts';
import type { AttemptRow, RunRow } from './tables.ts';

/** What a message of an agent says about an attempt; `agentId` and `tenantId` are those of its session. */
export interface AttemptKey {
  tenantId: string;
  agentId: string;
  attemptId: string;
  epoch: number;
}

/** The key of the attempt's row. */
export function keyOf({ tenantId, attemptId }: AttemptKey): { tenantId: string; id: string } {
  return { tenantId, id: attemptId };
}

/** Whether a message is about the run's newest attempt, by its agent and under its epoch. */
export function isCurrent(run: RunRow, input: AttemptKey): boolean {
  return (
    run.epoch === input.epoch &&
    run.agentId === input.agentId &&
    attemptIdOf(run.id, run.attempt) === input.attemptId
  );
}

/** The run that an attempt is of, as nobody else changes it meanwhile. */
export function* runOfAttempt(transaction: Transaction, input: AttemptKey): Operation<RunRow | undefined> {
  const parsed = parseAttemptId(input.attemptId);
  if (parsed === null) return undefined;
  return yield* get(transaction, 'runs', { tenantId: input.tenantId, id: parsed.runId }, { lock: true });
}

/** An attempt, if it is this agent's under this epoch, as nobody else changes it meanwhile. */
export function* lockAttempt(transaction: Transaction, input: AttemptKey): Operation<AttemptRow | undefined> {
  const { agentId, epoch } = input;
  return yield* get(transaction, 'attempts', { ...keyOf(input), agentId, epoch }, { lock: true });
}

/** History is monotone: what comes after a run's end changes nothing, but is not forgotten. */
export function* keepEvidence(
  transaction: Transaction,
  attempt: AttemptRow,
  report: Record<string, unknown>,
): Operation<void> {
  const evidence = JSON.parse(attempt.evidenceJson ?? '[]') as unknown[];
  if (evidence.length >= 20) return;
  const { tenantId, id } = attempt;
  const evidenceJson = JSON.stringify([...evidence, { at: transaction.now, ...report }]);
  yield* set('attempts', { tenantId, id }, { evidenceJson });
}
