import type { AttemptEnd, StepResult } from '@rota/contract';
import { frame, readFrame } from './records.ts';
import type { ProcessRecord } from './spoolFile.ts';

/**
 * What the steps of an attempt leave on disk: `spool/<attemptId>.steps`, frames that are only ever added.
 * That a step begins is on the disk before it is begun, so that no step which may have begun is ever begun again.
 * One plain step has no such file, unless it gave a result: what an end record has no place for stands here.
 */
export type StepRecord =
  | { kind: 'plan'; steps: PlannedStep[]; isPlain: boolean }
  /** A try is about to be begun; nothing of it was before. */
  | {
      kind: 'started';
      index: number;
      /** Of the try, from 1. */
      number: number;
      bootMs: number;
      /** Of this try. */
      timeoutMs: number | null;
      outputFrom: number;
    }
  | { kind: 'process'; process: ProcessRecord }
  /** A try has failed; the next one is not to begin before `againBootMs`. */
  | { kind: 'retrying'; result: StepResult; againBootMs: number }
  | ({ kind: 'ended' } & EndedStep);

/** What of a permitted step is remembered when its permit is not. */
export interface PlannedStep {
  name: string;
  kind: string;
  continueOnFailure: boolean;
}

export interface EndedStep {
  result: StepResult;
  /** What later steps may read of it; null when there is none, or nothing was to be left on the disk. */
  kept: KeptText | null;
  /** Something that it told was masked. */
  isMasked: boolean;
  cpuMs: number | null;
  maxRssBytes: number | null;
}

/** Standard output, or the body of an answer. */
export interface KeptText {
  text: string;
  /** False when it is only a part. */
  isWhole: boolean;
}

/** A step that was begun and is not known to have ended. */
export interface OpenStep {
  index: number;
  number: number;
  /** When its first try began, and when its newest. */
  startedBootMs: number;
  tryBootMs: number;
  timeoutMs: number | null;
  outputFrom: number;
  process: ProcessRecord | null;
  /** Its newest try has failed, and the next one was not begun. */
  waiting: { result: StepResult; againBootMs: number } | null;
}

/** How far an attempt's steps came. */
export interface StepTraces {
  plan: PlannedStep[];
  isPlain: boolean;
  ended: EndedStep[];
  open: OpenStep | null;
  /** Where the next record is to stand. */
  size: number;
}

export function encodeStepRecord(record: StepRecord): Buffer {
  return frame(Buffer.from(JSON.stringify(record)));
}

/** Reads a file as far as its records are whole; null when not even the plan is. */
export function readStepTraces(data: Buffer): StepTraces | null {
  let traces: StepTraces | null = null;
  for (let offset = 0; ; ) {
    const read = readFrame(data, offset);
    if (read.kind !== 'frame') return traces;
    const record = JSON.parse(read.payload.toString()) as StepRecord;
    offset = read.next;
    if (record.kind === 'plan')
      traces = { plan: record.steps, isPlain: record.isPlain, ended: [], open: null, size: 0 };
    if (traces === null) return null;
    apply(traces, record);
    traces.size = offset;
  }
}

function apply(traces: StepTraces, record: StepRecord): void {
  const { open } = traces;
  switch (record.kind) {
    case 'plan':
      return;
    case 'started': {
      const { index, number, bootMs, timeoutMs, outputFrom } = record;
      const isAgain = open?.index === index;
      traces.open = {
        index,
        number,
        startedBootMs: isAgain ? open.startedBootMs : bootMs,
        tryBootMs: bootMs,
        timeoutMs,
        outputFrom: isAgain ? open.outputFrom : outputFrom,
        process: null,
        waiting: null,
      };
      return;
    }
    case 'process':
      if (open) open.process = record.process;
      return;
    case 'retrying':
      if (open) open.waiting = { result: record.result, againBootMs: record.againBootMs };
      return;
    case 'ended': {
      const { kind: _kind, ...ended } = record;
      traces.ended.push(ended);
      traces.open = null;
      return;
    }
    default:
      record satisfies never;
  }
}

/** A step of which nothing else is known: skipped, not run, or just about to begin. */
export function blankStep(
  index: number,
  name: string,
  state: StepResult['state'],
  outputAt: number,
): StepResult {
  return {
    index,
    name,
    state,
    reason: null,
    detail: null,
    tries: 0,
    startedMs: null,
    durationMs: null,
    exitCode: null,
    signal: null,
    error: null,
    http: null,
    result: null,
    summary: null,
    outputFrom: outputAt,
    outputTo: outputAt,
  };
}

/** The end record with what stands in the steps' file; `end.steps` has what that file did not take. */
export function joinEnd(end: AttemptEnd, traces: StepTraces | null): AttemptEnd {
  if (!traces) return end;
  const results = new Map(traces.ended.map(({ result }) => [result.index, result]));
  for (const result of end.steps) results.set(result.index, result);
  const { open } = traces;
  const steps = traces.plan.map(
    ({ name }, index) =>
      results.get(index) ??
      (open?.index === index
        ? { ...(open.waiting?.result ?? lostStep(open, name)), ...failedWith(end) }
        : blankStep(index, name, 'notRun', end.outputBytes)),
  );
  return {
    ...end,
    steps: traces.isPlain ? [] : steps,
    result: end.result ?? steps.findLast(({ result }) => result !== null)?.result ?? null,
  };
}

function lostStep(open: OpenStep, name: string): StepResult {
  return { ...blankStep(open.index, name, 'failed', open.outputFrom), tries: open.number };
}

/** The step that was under way when nobody was there to see its end. */
function failedWith(end: AttemptEnd): Partial<StepResult> {
  return {
    state: end.outcome === 'succeeded' ? 'failed' : end.outcome,
    reason: end.reason,
    outputTo: end.outputBytes,
  };
}
