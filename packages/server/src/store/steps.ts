import type { AttemptEnd, ReasonCode, StepResult } from '@rota/contract';
import { type AttemptKey, isCurrent, keyOf, lockAttempt, runOfAttempt } from './attemptMessages.ts';
import { compareAndSet, get, insert, set } from './byKey.ts';
import { change, type Operation, placeholders, rows, type Transaction } from './operation.ts';
import type { AttemptRow, StepRow } from './tables.ts';

/** Steps that go on: only these can change by a live report. */
const OPEN: readonly StepRow['state'][] = ['running', 'retrying'];

/**
 * An agent tells how a step gets on. Only of the newest attempt, and never backwards: a step that has ended stays as it is until
 * the attempt's end says all for good. @returns whether it is news
 */
export function* storeStep(
  transaction: Transaction,
  input: AttemptKey & { step: StepResult },
): Operation<boolean> {
  const run = yield* runOfAttempt(transaction, input);
  if (!run || !isCurrent(run, input) || run.endedAt !== null) return false;
  const attempt = yield* lockAttempt(transaction, input);
  if (attempt?.state !== 'starting' && attempt?.state !== 'running') return false;
  const { tenantId, attemptId } = input;
  const key = { tenantId, attemptId, index: input.step.index };
  const before = yield* get(transaction, 'steps', key);
  if (before && !isNews(before, input.step)) return false;
  if (before) yield* set('steps', key, columnsOf(input.step));
  else yield* insert('steps', { ...key, ...columnsOf(input.step) });
  return true;
}

function isNews(before: StepRow, step: StepResult): boolean {
  if (!OPEN.includes(before.state) || step.tries < before.tries) return false;
  return step.tries > before.tries || before.state === 'running' || step.state !== 'running';
}

function columnsOf(step: StepResult): Omit<StepRow, 'tenantId' | 'attemptId' | 'index'> {
  const { index: _, http, result, ...rest } = step;
  return { ...rest, httpJson: http === null ? null : JSON.stringify(http), resultJson: result };
}

/** The end of an attempt says what became of each of its steps: that stands, whatever was told live. */
export function* settleSteps(
  key: AttemptKey,
  { steps, outcome }: Pick<AttemptEnd, 'steps' | 'outcome'>,
  reason: ReasonCode | null,
): Operation<void> {
  const { tenantId, attemptId } = key;
  if (steps.length > 0) {
    yield* change('delete from "steps" where "tenantId" = ? and "attemptId" = ?', tenantId, attemptId);
    // An agent may say anything; one row for each place.
    const byIndex = new Map(steps.map((step) => [step.index, step]));
    for (const [index, step] of byIndex)
      yield* insert('steps', { tenantId, attemptId, index, ...columnsOf(step) });
    return;
  }
  // Whoever ended it no longer knew its steps: the one that went on ended with it.
  yield* change(
    `update "steps" set "state" = ?, "reason" = ? where "tenantId" = ? and "attemptId" = ? and "state" in ('running', 'retrying')`,
    outcome,
    reason,
    tenantId,
    attemptId,
  );
}

/** How far an attempt is, as it says itself; null when that holds no more. @returns whether it goes on */
export function* storeProgress(
  _transaction: Transaction,
  input: AttemptKey & { percent: number | null },
): Operation<boolean> {
  const { agentId, epoch, percent } = input;
  const of = { ...keyOf(input), agentId, epoch, state: 'running' as const };
  return yield* compareAndSet('attempts', of, { progress: percent === null ? null : Math.floor(percent) });
}

/** A run's attempt with the name of its agent and its steps. */
export type AttemptWithSteps = AttemptRow & { agentName: string | null; steps: StepRow[] };

/** A run's attempts in order, or only the newest, with the names of their agents and their steps. */
export function* attemptsOfRun(
  _transaction: Transaction,
  input: { tenantId: string; runId: string; newest?: boolean },
): Operation<AttemptWithSteps[]> {
  const { tenantId, runId } = input;
  const attempts = yield* rows<AttemptRow & { agentName: string | null }>(
    `select a.*, g."name" as "agentName" from "attempts" a
     left join "agents" g on g."tenantId" = a."tenantId" and g."id" = a."agentId"
     where a."tenantId" = ? and a."runId" = ? order by a."number" desc limit ?`,
    tenantId,
    runId,
    input.newest ? 1 : 1_000,
  );
  if (attempts.length === 0) return [];
  const ids = attempts.map(({ id }) => id);
  const steps = yield* rows<StepRow>(
    `select * from "steps" where "tenantId" = ? and "attemptId" in (${placeholders(ids)}) order by "index"`,
    tenantId,
    ...ids,
  );
  const byAttempt = Map.groupBy(steps, ({ attemptId }) => attemptId);
  return attempts.reverse().map((attempt) => ({ ...attempt, steps: byAttempt.get(attempt.id) ?? [] }));
}
