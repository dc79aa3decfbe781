import { type Evidence, outside, touches, windowsOf } from './evidence.ts';
import { type Fault, groupBy, type History, iso, lowerBound, type StoredRun } from './history.ts';

/** Reasons by which a due run or instant is given up because it had to wait. */
const GIVEN_UP = new Set(['superseded', 'startDeadline', 'catchUp']);

/**
 * From due to start, only so much time passes that no fault disturbs; the same for what was given up because it had to wait.
 * Time within the window of a fault, which includes the recovery time of its kind, does not count.
 */
export function* latenessByFaultWindow({
  history,
  firstStart,
  jobs,
  decidedAt,
  disturbed,
}: Evidence): Generator<string> {
  const { healthyMs, clockErrorMs } = history.limits;
  for (const run of history.runs) {
    const job = jobs.get(run.jobId);
    if (job && run.kind === 'scheduled' && run.dueAt > run.scheduledFor + job.jitterMs)
      yield `run ${run.id} was due ${run.dueAt - run.scheduledFor} ms after its instant, its jitter is ${job.jitterMs} ms`;
    const start = firstStart.get(run.id);
    const gaveUpAt = run.reason !== null && GIVEN_UP.has(run.reason) ? run.endedAt : null;
    const until = start?.at ?? gaveUpAt;
    if (until === null) continue;
    // What nobody knew waited for a person, and what a person wants again waits from then on.
    const decided = (decidedAt.get(run.id) ?? []).filter((at) => at <= until);
    const waited = outside(disturbed, Math.max(run.dueAt, ...decided), until);
    if (waited > healthyMs + clockErrorMs)
      yield `run ${run.id} ${start ? 'started' : `was given up (${run.reason})`} ${until - run.dueAt} ms after it was due at ${iso(run.dueAt)}; for ${waited} ms of them nothing disturbed it`;
  }
  for (const gap of history.gaps) {
    if (gap.reason === null || !GIVEN_UP.has(gap.reason)) continue;
    const waited = outside(disturbed, gap.fromAt, gap.recordedAt);
    if (waited > healthyMs + clockErrorMs)
      yield `job ${jobs.get(gap.jobId)?.name}: the gap from ${iso(gap.fromAt)} was left ${gap.recordedAt - gap.fromAt} ms after it began; for ${waited} ms of them nothing disturbed it`;
  }
}

export interface Lateness {
  starts: number;
  p50: number;
  p99: number;
  worst: number;
}

export interface Statistics {
  starts: number;
  runs: number;
  /** Runs by state; instants of gaps by their outcome and reason. */
  byState: Record<string, number>;
  everUnknown: number;
  faults: Record<string, number>;
  /** Of first starts, in ms; by the kind of fault that was in effect, `none` where none was. */
  lateness: Record<string, Lateness>;
}

export function statisticsOf({ history, firstStart, runs, starts }: Evidence): Statistics {
  const byState: Record<string, number> = {};
  for (const run of history.runs) byState[run.state] = (byState[run.state] ?? 0) + 1;
  for (const gap of history.gaps) {
    const name = `${gap.outcome} in gaps`;
    byState[name] = (byState[name] ?? 0) + gap.count;
  }
  const started: { run: StoredRun; at: number }[] = [];
  for (const [runId, { at }] of firstStart) {
    const run = runs.get(runId);
    if (run) started.push({ run, at });
  }
  const byKind = groupBy(history.faults, (fault) => fault.kind);
  const lateBy = new Map<string, number[]>([['none', []], ...[...byKind.keys()].map(emptyList)]);
  const kindsOf = kindsInEffect(byKind, history);
  for (const { run, at } of started)
    for (const kind of kindsOf(run.dueAt, Math.max(at, run.dueAt))) lateBy.get(kind)?.push(at - run.dueAt);
  const unknown = new Set(
    history.changes.filter(({ state }) => state === 'unknown').map(({ runId }) => runId),
  );
  return {
    starts: [...starts.values()].reduce((sum, { length }) => sum + length, 0),
    runs: history.runs.length,
    byState,
    everUnknown: unknown.size,
    faults: Object.fromEntries([...byKind].map(([kind, { length }]) => [kind, length])),
    lateness: Object.fromEntries([...lateBy].map(([kind, values]) => [kind, summary(values)])),
  };
}

const emptyList = (kind: string): [string, number[]] => [kind, []];

/**
 * Which kinds of fault a start is told under: those that were going on between due and start; else that which had ended last,
 * while it still was within its recovery time.
 */
function kindsInEffect(
  byKind: Map<string, Fault[]>,
  { faults, limits }: History,
): (from: number, to: number) => string[] {
  const windows = [...byKind].map(([kind, list]) => ({ kind, windows: windowsOf(list, {}) }));
  const byEnd = faults.toSorted((a, b) => a.to - b.to);
  const ends = byEnd.map(({ to }) => to);
  return (from, to) => {
    const going = windows.filter((each) => touches(each.windows, from, to)).map(({ kind }) => kind);
    const last = byEnd[lowerBound(ends, from) - 1];
    if (going.length > 0) return going;
    return last && from <= last.to + (limits.recoveryMs[last.kind] ?? 0) ? [last.kind] : ['none'];
  };
}

function summary(values: number[]): Lateness {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
  return { starts: sorted.length, p50: at(0.5), p99: at(0.99), worst: sorted.at(-1) ?? 0 };
}
