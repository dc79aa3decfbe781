import { type Evidence, touches, type Windows, windowsOf } from './evidence.ts';
import { iso, lowerBound, type StateChange, type StoredRun, TERMINAL } from './history.ts';

/** What must hold of each instant and each run, as the database shows them. Each function names what breaks its invariant. */

/** Each instant that the oracle demands has one outcome: a run of its own, or a place in one gap that counts rightly. */
export function* everyInstantAccounted({ history, runsOf }: Evidence): Generator<string> {
  for (const job of history.jobs) {
    const { instants } = job;
    /** Outcomes of each instant; gaps are added as differences, and summed up at last. */
    const counts = new Int32Array(instants.length + 1);
    const gapsFrom = new Int32Array(instants.length + 1);
    for (const run of runsOf.get(job.id) ?? []) {
      if (run.kind !== 'scheduled') continue;
      const index = lowerBound(instants, run.scheduledFor);
      if (instants[index] === run.scheduledFor) counts[index] = (counts[index] as number) + 1;
    }
    for (const gap of history.gaps) {
      if (gap.jobId !== job.id) continue;
      const first = lowerBound(instants, gap.fromAt);
      const after = lowerBound(instants, gap.toAt + 1);
      if (after - first !== gap.count)
        yield `job ${job.name}: the gap ${iso(gap.fromAt)} to ${iso(gap.toAt)} counts ${gap.count} instants but spans ${after - first}`;
      if (after <= first) continue;
      gapsFrom[first] = (gapsFrom[first] as number) + 1;
      gapsFrom[after] = (gapsFrom[after] as number) - 1;
    }
    let gaps = 0;
    for (const [index, instant] of instants.entries()) {
      gaps += gapsFrom[index] as number;
      const runs = counts[index] as number;
      if (runs + gaps === 0) yield `job ${job.name}: instant ${iso(instant)} has no outcome`;
      else if (runs + gaps > 1)
        yield `job ${job.name}: instant ${iso(instant)} has ${runs + gaps} outcomes: ${runs} runs and ${gaps} gaps`;
    }
  }
}

/** Nothing ran, and nothing was planned, that no schedule and nobody asked for. */
export function* nothingExtra({ history, jobs, runs, starts }: Evidence): Generator<string> {
  for (const run of history.runs) {
    const job = jobs.get(run.jobId);
    if (!job) yield `run ${run.id} belongs to no job`;
    if (!job || run.kind !== 'scheduled' || run.scheduledFor > job.instantsUntil) continue;
    if (job.instants[lowerBound(job.instants, run.scheduledFor)] !== run.scheduledFor)
      yield `job ${job.name}: run ${run.id} is for ${iso(run.scheduledFor)}, which the schedule does not demand`;
  }
  for (const [attemptId, [start]] of starts) {
    const run = start && runs.get(start.runId);
    if (start && !run) yield `attempt ${attemptId} started for run ${start.runId}, which does not exist`;
    if (start && run && start.scheduledFor !== run.scheduledFor)
      yield `attempt ${attemptId} started for ${iso(start.scheduledFor)} but its run is for ${iso(run.scheduledFor)}`;
  }
}

/** What a client was told to be stored is stored. */
export function* acknowledgedIsDurable({ history, runs }: Evidence): Generator<string> {
  for (const runId of history.acknowledged) {
    if (!runs.has(runId)) yield `run ${runId} was acknowledged but is not there`;
  }
}

/** A terminal state is the last one of its run, and the one that the run has. */
export function* terminalUnchanged({ changesOf, runs }: Evidence): Generator<string> {
  for (const [runId, changes] of changesOf) {
    const first = changes.findIndex(({ state }) => TERMINAL.has(state));
    if (first !== -1 && first !== changes.length - 1)
      yield `run ${runId} changed after its end: ${changes.map(({ state }) => state).join(' → ')}`;
    const last = changes.at(-1)?.state;
    const stored = runs.get(runId)?.state;
    if (stored !== undefined && last !== stored)
      yield `run ${runId} is ${stored} but its last change made it ${last}`;
  }
}

/** All has come to its end, or is unknown for a cause that lasts. */
export function* settled({ history, jobs }: Evidence): Generator<string> {
  const online = new Set(history.agents.filter(({ state }) => state === 'online').map(({ id }) => id));
  const slots = new Map<string, StoredRun>();
  for (const run of history.runs) {
    if (TERMINAL.has(run.state)) {
      if (run.slot === 1) yield `run ${run.id} is ${run.state} but still holds its job's slot`;
      if (run.endedAt === null) yield `run ${run.id} is ${run.state} but has no time of its end`;
      continue;
    }
    if (run.slot === 1 && jobs.get(run.jobId)?.concurrency !== 'allow') {
      const other = slots.get(run.jobId);
      if (other) yield `runs ${other.id} and ${run.id} both hold their job's slot`;
      slots.set(run.jobId, run);
    }
    if (run.state === 'planned' && run.dueAt > history.readAt) continue;
    if (run.state !== 'unknown')
      yield `run ${run.id} of ${iso(run.scheduledFor)} has not settled: ${run.state} (${run.reason})`;
    else if (run.reason === null) yield `run ${run.id} is unknown without a reason`;
    else if (WHILE_AWAY.has(run.reason) && run.agentId !== null && online.has(run.agentId))
      yield `run ${run.id} is unknown (${run.reason}) although its agent has come back`;
  }
}

/** Reasons for `unknown` that end when the agent is back. */
const WHILE_AWAY = new Set(['agentLost', 'timeoutUnheard']);

/** Nobody loses sight of a run unless a fault touched its agent, a replica or the database while its permit was out. */
export function* unknownJustified({ history, changesOf, attemptsOf, runs }: Evidence): Generator<string> {
  const { recoveryMs } = history.limits;
  const ofAll = windowsOf(
    history.faults.filter(({ agents }) => agents === null),
    recoveryMs,
  );
  const ofAgents = new Map<string, Windows>();
  for (const { id } of history.agents) {
    const own = history.faults.filter(({ agents }) => agents?.includes(id));
    ofAgents.set(id, windowsOf(own, recoveryMs));
  }
  for (const [runId, changes] of changesOf) {
    for (const change of changes) {
      if (change.state !== 'unknown') continue;
      const attempt = attemptsOf.get(runId)?.findLast(({ startingAt }) => startingAt <= change.at);
      if (!attempt) {
        yield `run ${runId} was unknown at ${iso(change.at)} although no permit was out`;
        continue;
      }
      const own = ofAgents.get(attempt.agentId);
      const touched =
        touches(ofAll, attempt.startingAt, change.at) ||
        (own !== undefined && touches(own, attempt.startingAt, change.at));
      if (!touched)
        yield `run ${runId} was unknown at ${iso(change.at)} (${runs.get(runId)?.reason}) although nothing had touched its agent since its permit of ${iso(attempt.startingAt)}`;
    }
  }
}

/** What is missed really passed its deadline without a start. */
export function* missedIsLate({ history, jobs, firstStart }: Evidence): Generator<string> {
  for (const run of history.runs) {
    if (run.state !== 'missed') continue;
    if (run.endedAt !== null && run.endedAt <= run.startBy)
      yield `run ${run.id} was missed at ${iso(run.endedAt)}, before its deadline ${iso(run.startBy)}`;
    const start = firstStart.get(run.id);
    if (start) yield `run ${run.id} was missed but started at ${iso(start.at)}`;
  }
  for (const gap of history.gaps) {
    const job = jobs.get(gap.jobId);
    if (gap.outcome === 'missed' && job && gap.toAt + job.startDeadlineMs >= gap.recordedAt)
      yield `job ${job.name}: the gap up to ${iso(gap.toAt)} was missed at ${iso(gap.recordedAt)}, before its deadline`;
  }
}

/** What was skipped or missed says why, and the why is true as far as the history shows it. */
export function* skipHasReason({ history, runsOf, changesOf }: Evidence): Generator<string> {
  for (const gap of history.gaps) {
    if (gap.reason === null) yield `job ${gap.jobId}: the gap from ${iso(gap.fromAt)} has no reason`;
  }
  for (const [jobId, runs] of runsOf) {
    const scheduled = runs.filter(({ kind }) => kind === 'scheduled');
    const latest = scheduled.reduce(
      (last, run) => Math.max(last, run.scheduledFor),
      Number.NEGATIVE_INFINITY,
    );
    const held = heldTimes(runs, changesOf, history.limits.transactionMs ?? 0);
    for (const run of runs) {
      if (run.state !== 'skipped' && run.state !== 'missed') continue;
      if (run.reason === null) yield `run ${run.id} is ${run.state} without a reason`;
      if (run.reason === 'superseded' && run.scheduledFor >= latest)
        yield `run ${run.id} of job ${jobId} gave way to a later one, but there is none`;
      const wasHeld = run.reason === 'previousRunActive' || run.reason === 'previousRunUnknown';
      if (wasHeld && run.endedAt !== null && !touches(held, run.endedAt, run.endedAt))
        yield `run ${run.id} was skipped at ${iso(run.endedAt)} because of another run, but none was going on`;
    }
  }
}

/** When a run of a job may have been seen with its job's slot: from its first offer, also back in the queue, to its end. */
function heldTimes(
  runs: StoredRun[],
  changesOf: ReadonlyMap<string, StateChange[]>,
  transactionMs: number,
): Windows {
  const held: { kind: string; from: number; to: number; what: string; agents: null }[] = [];
  for (const run of runs) {
    let from: number | null = null;
    for (const { state, at } of changesOf.get(run.id) ?? []) {
      if (TERMINAL.has(state)) {
        if (from !== null) held.push({ kind: '', from, to: at + transactionMs, what: '', agents: null });
        from = null;
      } else if (state !== 'planned' && state !== 'queued') from ??= at - transactionMs;
    }
    if (from !== null) held.push({ kind: '', from, to: Number.POSITIVE_INFINITY, what: '', agents: null });
  }
  return windowsOf(held, {});
}
