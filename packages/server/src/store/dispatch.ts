import type { ReasonCode, RunKind } from '@rota/contract';
import { get, raise, set } from './byKey.ts';
import { holdDueRuns } from './holding.ts';
import { moveRun } from './moveRun.ts';
import {
  change,
  inTurn,
  type Operation,
  row,
  rows,
  type Transaction,
  together,
  type Value,
} from './operation.ts';
import { missRun } from './retry.ts';
import type { RunRow } from './tables.ts';
import { loseRun, settleUnknownRun } from './unknownRuns.ts';

/**
 * Settles what each due `planned` run becomes: queued, skipped because the job's slot is held, or missed.
 * A scheduled run that waits in the queue gives way to a later one (catchUp: latest). Who has a job's row decides about all
 * of its runs that have no agent yet.
 * @returns how many runs it looked at; as many as `limit` means that there may be more
 */
export function* queueDueRuns(transaction: Transaction, input: { limit: number }): Operation<number> {
  yield* holdDueRuns(transaction);
  // A job that someone else edits or settles at this instant is left to a later look.
  const due = yield* rows<RunRow>(
    `select "runs".* from "runs" join "jobs" on "jobs"."tenantId" = "runs"."tenantId" and "jobs"."id" = "runs"."jobId"
     where "runs"."state" = 'planned' and "runs"."wakeAt" <= ? order by "runs"."wakeAt" limit ? ${transaction.dialect.skipLocked}`,
    transaction.now,
    input.limit,
  );
  if (due.length === 0) return 0;
  const open = yield* readOpenRuns(due);
  const fired = new Map<string, RunRow>();
  const moves = new Map<string, Operation<unknown>[]>();
  const move = (run: RunRow, operation: Operation<unknown>) =>
    moves.set(jobKey(run), [...(moves.get(jobKey(run)) ?? []), operation]);
  for (const run of due) {
    const others = open.get(jobKey(run)) ?? [];
    const latest = fired.get(jobKey(run));
    if (run.kind === 'scheduled' && (!latest || latest.scheduledFor < run.scheduledFor))
      fired.set(jobKey(run), run);
    if (run.startBy < transaction.now) {
      move(run, moveRun(transaction, run, 'miss', 'missed', { reason: 'startDeadline' }));
      continue;
    }
    const holder = run.kind === 'adHoc' ? undefined : others.find(isHolder);
    if (holder) {
      move(run, skipActive(transaction, run, holder));
      continue;
    }
    if (run.kind === 'scheduled') {
      const waiting = others.filter(isWaiting);
      // Jitter can bring an earlier instant due after a later one.
      const later = waiting.find((other) => other.scheduledFor > run.scheduledFor);
      if (later) {
        move(run, skipSuperseded(transaction, run, later));
        continue;
      }
      for (const older of waiting) move(run, skipSuperseded(transaction, older, run));
    }
    const queuedAt = transaction.now;
    move(run, moveRun(transaction, run, 'queue', 'queued', { queuedAt, wakeAt: queuedAt }));
    const left = run.kind === 'scheduled' ? others.filter((other) => !isWaiting(other)) : others;
    open.set(jobKey(run), [...left, { ...run, state: 'queued', tried: 0 }]);
  }
  for (const run of fired.values()) {
    const { tenantId, jobId: id } = run;
    move(run, raise('jobs', { tenantId, id }, 'firedThrough', run.scheduledFor));
  }
  yield* together(transaction, [...moves.values()].map(inTurn));
  return due.length;
}

/** Whether a later instant may take the run's place; one that is unknown without a slot, or may have been started, may not. */
function isWaiting(run: OpenRun): boolean {
  return run.kind === 'scheduled' && run.state === 'queued' && run.tried === 0 && run.reason !== 'recovering';
}

/**
 * Whether a run keeps others of its job from starting: one that has the slot, or waits for another attempt. A queued run may have
 * the slot since its first offer, too, but nothing of it has begun.
 */
function isHolder(run: OpenRun): boolean {
  return run.state === 'queued' ? run.tried === 1 && run.reason !== 'recovering' : run.slot === 1;
}

function skipSuperseded(transaction: Transaction, run: RunRow, by: RunRow): Operation<boolean> {
  return moveRun(transaction, run, 'skip', 'skipped', { reason: 'superseded', detail: `by run ${by.id}` });
}

function skipActive(transaction: Transaction, run: Fenced, holder: Holder): Operation<boolean> {
  const reason = reasonOf(holder);
  return moveRun(transaction, run, 'skip', 'skipped', { reason, detail: `run ${holder.id}` });
}

/** A run that waits for another attempt gives way to nothing: it looks again, until the slot is free. */
function* waitForSlot(transaction: Transaction, run: Fenced, holder: Holder): Operation<void> {
  const { tenantId, id, epoch } = run;
  const wakeAt = transaction.now + SLOT_LOOK_MS;
  yield* set('runs', { tenantId, id, state: 'queued', epoch }, { reason: reasonOf(holder), wakeAt });
}

const SLOT_LOOK_MS = 1_000;

type Holder = Pick<RunRow, 'id' | 'state'>;

function reasonOf({ state }: Holder): ReasonCode {
  return state === 'unknown' ? 'previousRunUnknown' : 'previousRunActive';
}

/** Runs of one job take turns; ad hoc runs have nothing to do with each other. */
function jobKey(run: { tenantId: string; jobId: string; id: string; kind: RunKind }): string {
  return `${run.tenantId}/${run.kind === 'adHoc' ? run.id : run.jobId}`;
}

/** 1: the run waits for another attempt, since one was started or may have been. */
type OpenRun = RunRow & { tried: number };

const TRIED = `exists (select 1 from "attempts" t where t."tenantId" = "runs"."tenantId" and t."runId" = "runs"."id" and t."state" <> 'notStarted')`;

/** Whether an attempt of a run was started, or may have been. */
export function* hasBeenTried(run: Pick<RunRow, 'tenantId' | 'id'>): Operation<boolean> {
  const tried = yield* row(
    `select "id" from "runs" where "tenantId" = ? and "id" = ? and ${TRIED}`,
    run.tenantId,
    run.id,
  );
  return tried !== undefined;
}

/** Runs past `planned` that have not ended, of the jobs of `runs`. */
function* readOpenRuns(runs: RunRow[]): Operation<Map<string, OpenRun[]>> {
  const jobs = new Map(runs.filter((run) => run.kind !== 'adHoc').map((run) => [jobKey(run), run]));
  const open = new Map<string, OpenRun[]>();
  if (jobs.size === 0) return open;
  const values: Value[] = [...jobs.values()].flatMap((run) => [run.tenantId, run.jobId]);
  const found = yield* rows<OpenRun>(
    `select "runs".*, case when "state" = 'queued' and "attempt" > 0 and ${TRIED} then 1 else 0 end as "tried"
     from "runs" where ("tenantId", "jobId") in (values ${[...jobs].map(() => '(?, ?)').join(', ')})
       and "endedAt" is null and "state" in ('queued', 'offered', 'starting', 'running', 'unknown')`,
    ...values,
  );
  for (const run of found) open.set(jobKey(run), [...(open.get(jobKey(run)) ?? []), run]);
  return open;
}

export type QueuedRun = RunRow & { documentJson: string | null };

/** Queued runs that someone must find an agent for now, the longest due first, each with its revision's document. */
export function* readQueuedRuns(transaction: Transaction, input: { limit: number }): Operation<QueuedRun[]> {
  return yield* rows<QueuedRun>(
    `select "runs".*, "jobRevisions"."documentJson" from "runs"
     left join "jobRevisions" on "jobRevisions"."tenantId" = "runs"."tenantId" and "jobRevisions"."jobId" = "runs"."jobId"
       and "jobRevisions"."revision" = "runs"."revision"
     where "runs"."state" = 'queued' and "runs"."wakeAt" <= ? order by "runs"."wakeAt", "runs"."dueAt" limit ?`,
    transaction.now,
    input.limit,
  );
}

/** Makes runs that wait with one of `reasons` look for an agent again, of each reason the longest due first. */
export function* wakeQueuedRuns(
  transaction: Transaction,
  input: { tenantId: string; reasons: ReasonCode[]; limit: number },
): Operation<number> {
  let woken = 0;
  for (const reason of input.reasons) {
    woken += yield* change(
      // What is chosen stands first, so that PostgreSQL chooses once, not again for each row that it looks at.
      `with "chosen" as (select "id" from "runs" where "tenantId" = ? and "reason" = ? and "state" = 'queued' order by "dueAt" limit ?
         ${transaction.dialect.skipLocked})
       update "runs" set "wakeAt" = ? where "tenantId" = ? and "wakeAt" > ? and "id" in (select "id" from "chosen")`,
      input.tenantId,
      reason,
      input.limit - woken,
      transaction.now,
      input.tenantId,
      transaction.now,
    );
  }
  return woken;
}

type Fenced = Pick<
  RunRow,
  'tenantId' | 'id' | 'jobId' | 'state' | 'epoch' | 'kind' | 'offeredAt' | 'attempt'
>;

export type Decision =
  | { run: Fenced; action: 'offer'; agentId: string; offerMs: number; passed: string[] }
  | { run: Fenced; action: 'wait'; reason: ReasonCode; retryMs: number; passed: string[]; startBy: number }
  | { run: Fenced; action: 'miss'; startBy: number };

/** An offer that stands. */
export interface Offer {
  tenantId: string;
  runId: string;
  agentId: string;
  epoch: number;
}

/** Carries decisions of the dispatcher out, each by compare-and-set. @returns those offers that now stand */
export function* decideRuns(transaction: Transaction, input: { decisions: Decision[] }): Operation<Offer[]> {
  const free = yield* lockQueuedRuns(transaction, input.decisions);
  const ofJobs = new Map<string, Operation<Offer | null>[]>();
  for (const decision of input.decisions) {
    const { run } = decision;
    if (free !== null && !free.has(run.id)) continue;
    ofJobs.set(jobKey(run), [...(ofJobs.get(jobKey(run)) ?? []), decide(transaction, decision)]);
  }
  const offers = yield* together(transaction, [...ofJobs.values()].map(inTurn));
  return offers.flat().filter((offer) => offer !== null);
}

function* decide(transaction: Transaction, decision: Decision): Operation<Offer | null> {
  const { run } = decision;
  const { tenantId, id, jobId } = run;
  if (decision.action === 'miss') {
    // By the clock that counts: that of whoever asks may be ahead.
    if (decision.startBy < transaction.now) yield* missRun(transaction, run);
    return null;
  }
  const passedJson = JSON.stringify(decision.passed);
  if (decision.action === 'wait') {
    const { reason, retryMs, startBy } = decision;
    const wakeAt = Math.min(transaction.now + retryMs, startBy + 1);
    const { epoch } = run;
    yield* set('runs', { tenantId, id, state: 'queued', epoch }, { reason, passedJson, wakeAt });
    return null;
  }
  if (run.kind !== 'adHoc') {
    const holder = yield* get(transaction, 'runs', { tenantId, jobId }, { only: '"slot" = 1' });
    if (holder && holder.id !== id) {
      if (run.attempt > 0 && (yield* hasBeenTried(run))) yield* waitForSlot(transaction, run, holder);
      else yield* skipActive(transaction, run, holder);
      return null;
    }
  }
  const epoch = run.epoch + 1;
  const { agentId, offerMs } = decision;
  const moved = yield* moveRun(transaction, run, 'offer', 'offered', {
    epoch,
    agentId,
    slot: run.kind === 'adHoc' ? 0 : 1,
    reason: null,
    passedJson,
    offeredAt: run.offeredAt ?? transaction.now,
    wakeAt: transaction.now + offerMs,
  });
  return moved ? { tenantId, runId: id, agentId, epoch } : null;
}

/** The ids of those runs about which nobody else decides now; null: nobody ever does, since only one writes at a time. */
function* lockQueuedRuns({ dialect }: Transaction, decisions: Decision[]): Operation<Set<string> | null> {
  if (dialect.name === 'sqlite' || decisions.length === 0) return null;
  const found = yield* rows<{ id: string }>(
    `select "runs"."id" from json_to_recordset(cast(? as json)) as "chosen" ("tenantId" text, "id" text)
     join "runs" on "runs"."tenantId" = "chosen"."tenantId" and "runs"."id" = "chosen"."id"
     join "jobs" on "jobs"."tenantId" = "runs"."tenantId" and "jobs"."id" = "runs"."jobId"
     where "runs"."state" = 'queued' for update of "jobs", "runs" skip locked`,
    JSON.stringify(decisions.map(({ run: { tenantId, id } }) => ({ tenantId, id }))),
  );
  return new Set(found.map(({ id }) => id));
}

/** An offer that stands no longer; its agent should be told. */
export interface Withdrawal {
  tenantId: string;
  runId: string;
  agentId: string;
  /** Number that the offered attempt would have had. */
  number: number;
  epoch: number;
}

/**
 * Settles runs whose time to move has come without a message: offers that nobody took, starts whose agent is lost,
 * running ones whose timeout passed unheard, slots that an unknown run can no longer need, or its next attempt.
 */
export function* settleOverdueRuns(
  transaction: Transaction,
  input: { limit: number },
): Operation<Withdrawal[]> {
  const found = yield* together(
    transaction,
    ['offered', 'starting', 'running', 'unknown'].map((state) =>
      rows<RunRow>(
        `select * from "runs" where "state" = ? and "wakeAt" <= ? order by "wakeAt" limit ? ${transaction.dialect.skipLocked}`,
        state,
        transaction.now,
        input.limit,
      ),
    ),
  );
  const overdue = found.flat();
  const withdrawals = yield* together(
    transaction,
    overdue.map((run) => settleOverdue(transaction, run)),
  );
  return withdrawals.flat();
}

function* settleOverdue(transaction: Transaction, run: RunRow): Operation<Withdrawal[]> {
  if (run.state === 'offered') return yield* withdrawOffer(transaction, run, true);
  if (run.state === 'starting') yield* loseRun(transaction, run, 'agentLost');
  else if (run.state === 'running') yield* loseRun(transaction, run, 'timeoutUnheard');
  else yield* settleUnknownRun(transaction, run);
  return [];
}

/** Takes an offer back: to the queue, or to `missed` when its start deadline has passed. `pass`: not to this agent again in this round. */
export function* withdrawOffer(
  transaction: Transaction,
  run: RunRow,
  pass: boolean,
): Operation<Withdrawal[]> {
  const withdrawal = {
    tenantId: run.tenantId,
    runId: run.id,
    agentId: run.agentId as string,
    number: run.attempt + 1,
    epoch: run.epoch,
  };
  const passed = JSON.parse(run.passedJson) as string[];
  const moved =
    run.startBy < transaction.now
      ? yield* missRun(transaction, run)
      : yield* moveRun(transaction, run, 'withdraw', 'queued', {
          epoch: run.epoch + 1,
          agentId: null,
          wakeAt: transaction.now,
          passedJson: JSON.stringify(pass ? [...passed, run.agentId] : passed),
        });
  return moved ? [withdrawal] : [];
}

/** What an agent was offered or runs, as nobody else changes it meanwhile. */
export function* openRunsOfAgent(
  { dialect }: Transaction,
  input: { tenantId: string; agentId: string },
): Operation<RunRow[]> {
  return yield* rows<RunRow>(
    `select * from "runs" where "tenantId" = ? and "agentId" = ? and "endedAt" is null order by "id" ${dialect.forUpdate}`,
    input.tenantId,
    input.agentId,
  );
}

/** One look at an index for each state. */
const NEXT_WAKES = ['planned', 'queued', 'offered', 'starting', 'running', 'unknown'].map(
  (state) =>
    `select (select "wakeAt" from "runs" where "state" = '${state}' and "wakeAt" is not null order by "wakeAt" limit 1) as "wakeAt"`,
);
const NEXT_WAKE = `select min("wakeAt") as "wakeAt" from (${NEXT_WAKES.join(' union all ')}) as "first"`;

/** When the scheduler must look at any run next; null when nothing waits for time. */
export function* readNextWakeAt(
  _transaction: Transaction,
  _input: Record<never, never>,
): Operation<number | null> {
  const first = yield* row<{ wakeAt: number | null }>(NEXT_WAKE);
  return first?.wakeAt ?? null;
}
