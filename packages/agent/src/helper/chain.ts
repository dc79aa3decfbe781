import type { AttemptEnd, Situation, Step, StepResult } from '@rota/contract';
import type { Execution, Prepared } from '../executors/execution.ts';
import { createCookies } from '../executors/httpCookies.ts';
import type { HttpSettings, Task } from '../helperProtocol.ts';
import type { Clock, Random, Timer } from '../ports.ts';
import { blankStep, type EndedStep, type OpenStep, type PlannedStep, type StepRecord } from '../stepsFile.ts';
import { chainEnd, type Early, goesOnAfter, nextAfter } from './chainEnd.ts';
import type { HelperMachine } from './machine.ts';
import type { AttemptOutput } from './outputWriter.ts';
import { createAttemptSecrets } from './secrets.ts';
import type { StepLog } from './stepLog.ts';
import { createStepOutput, isMaskedIn, keptAnswer, type StepOutput } from './stepOutput.ts';
import { prepareStep, type StepFault } from './steps.ts';
import {
  add,
  detailOf,
  endBefore,
  endedBy,
  failureOf,
  resultOf,
  type Tried,
  type TryEnding,
  textOf,
} from './tryResult.ts';

/** Executes the steps of one attempt, in sequence. */
export interface Chain {
  /** Makes the first step ready, before it is sure that it begins; not for a chain that goes on. */
  prepare(): Promise<void>;
  /** What the steps' file is to begin with, when there is one. */
  firstRecords(startedBootMs: number): StepRecord[];
  /** Begins, at once when there is nothing left to write down; resolves once nothing runs any more. Never rejects. */
  run(store: ChainStore): Promise<ChainOutcome>;
  /** Ends it early: what runs is ended, what waits runs no more. */
  stop(early: Early, graceMs: number): void;
  readonly stopped: Early | null;
  /** Instead of `run`. */
  discard(): void;
}

export interface ChainPorts {
  clock: Clock;
  random: Random;
  machine: Pick<HelperMachine, 'prepare'>;
  http: HttpSettings;
  /** The first step that could begin has begun; null when no process belongs to it. */
  running(pid: number | null): void;
  /** How a step of a chain gets on. */
  tell(step: StepResult): void;
  /** How far it is, in percent, as its commands say; null when a step or a try begins, which has said nothing yet. */
  progress(percent: number | null): void;
}

/** Where what is executed leaves its traces. */
export interface ChainStore {
  writer: AttemptOutput;
  /** Null for one plain step, of which nothing else is to be remembered. */
  log: StepLog | null;
  startedBootMs: number;
}

/** What an earlier helper left of the chain. */
export interface ChainPast {
  ended: EndedStep[];
  /** The step whose next try is waited for. */
  open: (OpenStep & { waiting: NonNullable<OpenStep['waiting']> }) | null;
}

export interface ChainOutcome {
  end: AttemptEnd;
  /** Results that the disk did not take. */
  unwritten: StepResult[];
}

/** A try that can begin, or the reason why it cannot. */
type Ready = { prepared: Prepared } | { prepared: null; fault: StepFault };

/** One step that neither waits nor is waited for: it needs no notes. */
export function isPlain(steps: Step[]): boolean {
  const [step, ...others] = steps as [Step, ...Step[]];
  return others.length === 0 && step.retry === null && step.when === null && !step.continueOnFailure;
}

export function planOf(steps: Step[]): PlannedStep[] {
  return steps.map(({ name, action, continueOnFailure }) => ({ name, kind: action.kind, continueOnFailure }));
}

export function createChain(task: Task, ports: ChainPorts, past: ChainPast | null = null): Chain {
  const { clock } = ports;
  const plan = planOf(task.steps);
  const cookies = createCookies();
  const secrets = createAttemptSecrets(task.secrets);
  const ended: EndedStep[] = [];
  /** The same with what later steps may read of them. */
  const known: EndedStep[] = [];
  const unwritten: StepResult[] = [];
  let first: { index: number; ready: Ready } | null = null;
  let stopped: Early | null = null;
  let store: ChainStore | null = null;
  let execution: Execution | null = null;
  let passage: StepOutput | null = null;
  let wake: (() => void) | null = null;
  /** The note that the first step begins is one of `firstRecords`. */
  let isFirstNoted = past === null;
  let isRunningTold = false;

  for (const step of past?.ended ?? []) remember(step);

  /** Skipped steps that were found before there was a store are in `firstRecords`. */
  function remember(step: EndedStep): void {
    ended.push({ ...step, kept: null });
    known.push(step);
  }

  // What templates and conditions need is large: it is read by the first step that has some.
  async function situation(): Promise<Situation> {
    const { situationAfter } = await import('./stepScope.ts');
    return situationAfter(task, known);
  }

  /** Null when the step is to run. */
  async function unmet({ when }: Step): Promise<string | null> {
    if (when === null) return null;
    await secrets.read();
    const { unmetBy } = await import('@rota/contract');
    return unmetBy(when, await situation());
  }

  /** How long to wait for the next try; null when there is none. */
  async function delayAfter({ retry }: Step, number: number, ending: TryEnding): Promise<number | null> {
    if (!retry || number > retry.times) return null;
    const { isRetried, retryDelayMs } = await import('@rota/contract');
    const { outcome, reason, exitCode, http } = ending;
    return isRetried(retry, { outcome, reason, exitCode, http })
      ? retryDelayMs(retry, number, ports.random.unit)
      : null;
  }

  /** Passes over steps whose condition does not hold, up to the next one that is to begin; null when none is left. */
  async function prepareFrom(from: number): Promise<{ index: number; ready: Ready } | null> {
    for (let index = from; index < task.steps.length; index++) {
      const step = task.steps[index] as Step;
      let detail: string | null;
      try {
        detail = await unmet(step);
      } catch (error) {
        const fault: StepFault = { reason: 'conditionFailed', error: (error as Error).message };
        return { index, ready: { prepared: null, fault } };
      }
      if (detail === null) return { index, ready: await prepareTry(step) };
      const skipped = blankStep(index, step.name, 'skipped', position());
      skipped.detail = secrets.masker.text(detail).slice(0, 500);
      settle({ result: skipped, kept: null, cpuMs: null, maxRssBytes: null });
    }
    return null;
  }

  async function prepareTry(step: Step): Promise<Ready> {
    return prepareStep(task, step, situation, await secrets.read(), {
      machine: ports.machine,
      http: ports.http,
      cookies,
      output: (stream, data) => passage?.write(stream, data),
    });
  }

  function position(): number {
    store?.writer.flush();
    return store?.writer.position ?? 0;
  }

  /** The step runs no more. */
  function settle({ kept, ...rest }: Tried & { result: StepResult }): void {
    const step = { ...rest, isMasked: kept?.isSecret ?? false };
    remember({ ...step, kept });
    if (!store?.log) return;
    const isLast = step.result.index === plan.length - 1;
    const written = isLast || !kept || kept.isSecret ? null : { text: kept.text, isWhole: kept.isWhole };
    if (!store.log.tryAppendEnd({ ...step, kept: written })) unwritten.push(step.result);
    ports.tell(step.result);
  }

  /** Null once it is on the disk that the try begins, so that nobody begins it again. */
  async function note(index: number, number: number, outputFrom: number): Promise<StepFault | null> {
    if (isFirstNoted) {
      isFirstNoted = false;
      return null;
    }
    if (!store?.log) return null;
    const { timeoutMs } = task.steps[index] as Step;
    try {
      // What is not known to have ended must stay the last that has begun.
      if (unwritten.length > 0) throw new Error('nor could how the step before it ended');
      store.log.append({ kind: 'started', index, number, bootMs: clock.bootMs(), timeoutMs, outputFrom });
      await store.log.sync();
      return null;
    } catch (error) {
      const { message } = error as Error;
      return { reason: 'stepNotWritten', error: `the note that it begins could not be written: ${message}` };
    }
  }

  /** All tries of a step, from the one that is ready on, or from the wait for it. */
  async function runStep(index: number, begin: Ready | NonNullable<ChainPast['open']>): Promise<StepResult> {
    const step = task.steps[index] as Step;
    const { startedBootMs } = store as ChainStore;
    const since = (from: number) => Math.max(0, Math.round(clock.bootMs() - from));
    let stepBootMs = clock.bootMs();
    let result = blankStep(index, step.name, 'running', position());
    let last: Tried = { kept: null, cpuMs: null, maxRssBytes: null };
    let ready: Ready | null;
    if ('waiting' in begin) {
      stepBootMs = begin.startedBootMs;
      ({ result } = begin.waiting);
      await wait(begin.waiting.againBootMs - clock.bootMs());
      ready = stopped ? null : await prepareTry(step);
    } else ready = begin;
    for (;;) {
      if (stopped || !ready) {
        ready?.prepared?.discard();
        result =
          result.tries === 0 ? { ...result, state: 'notRun' } : { ...result, ...endedBy(stopped as Early) };
        break;
      }
      const number = result.tries + 1;
      const fault = ready.prepared ? await note(index, number, position()) : ready.fault;
      if (fault) {
        ready.prepared?.discard();
        const error = textOf(fault.error, secrets.masker);
        result = { ...result, state: 'failed', reason: fault.reason, error };
        break;
      }
      if (stopped) continue;
      const { prepared } = ready as { prepared: Prepared };
      const before = endBefore(result);
      result = {
        ...blankStep(index, step.name, 'running', result.outputFrom),
        tries: number,
        startedMs: Math.max(0, Math.round(stepBootMs - startedBootMs)),
        outputTo: null,
      };
      const ending = await runTry(step, prepared, result);
      last = add(last, ending);
      result = {
        ...result,
        ...resultOf(ending, secrets.masker),
        detail: detailOf(secrets.note, before, ending),
        ...(stopped ? endedBy(stopped) : {}),
      };
      const delayMs = stopped ? null : await delayAfter(step, number, ending);
      if (delayMs === null) break;
      result = { ...result, state: 'retrying', durationMs: since(stepBootMs), outputTo: null };
      store?.log?.tryAppend({ kind: 'retrying', result, againBootMs: clock.bootMs() + delayMs });
      ports.tell(result);
      await wait(delayMs);
      ready = stopped ? null : await prepareTry(step);
    }
    if (result.tries > 0) result = { ...result, durationMs: since(stepBootMs) };
    settle({ result: { ...result, outputTo: position() }, ...last });
    return result;
  }

  async function runTry(step: Step, prepared: Prepared, result: StepResult): Promise<TryEnding> {
    const { writer, log } = store as ChainStore;
    const isKept = result.index < plan.length - 1;
    const output = createStepOutput(
      { write: (stream, data) => writer.write(stream, data), progress: ports.progress },
      { kind: step.action.kind, isKept },
      secrets.masker,
    );
    ports.progress(null);
    if (!log && secrets.note) output.write('stderr', Buffer.from(`warning: ${secrets.note}\n`));
    passage = output;
    const begun = prepared.begin();
    execution = begun;
    const { root } = begun;
    if (root && log) log.tryAppend({ kind: 'process', process: root });
    else if (root) writer.writeProcess(root);
    if (!isRunningTold) ports.running(root?.pid ?? null);
    isRunningTold = true;
    if (log) ports.tell(result);
    let isLate = false;
    let deadline: Timer | null = null;
    if (step.timeoutMs !== null)
      deadline = clock.after(step.timeoutMs, () => {
        isLate = true;
        begun.end(task.killGraceMs, 'step');
      });
    const ending = await begun.ended;
    deadline?.cancel();
    execution = null;
    passage = null;
    const { answer } = ending;
    const reported = output.end();
    // A plain step's end has no place for them.
    if (!log) for (const text of reported.notes) writer.write('stderr', Buffer.from(`warning: ${text}\n`));
    const stdout = output.kept();
    const kept = isKept && answer ? keptAnswer(answer, secrets.masker) : stdout;
    const isSecret = kept.isSecret || isMaskedIn(ending.http, secrets.masker);
    return {
      ...ending,
      ...(isLate ? { outcome: 'timedOut', reason: 'timeout' } : failureOf(ending, reported)),
      kept: { ...kept, isSecret },
      reported,
    };
  }

  /** Resolves once the time has passed, or the chain is stopped. */
  function wait(ms: number): Promise<void> {
    if (stopped || ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = clock.after(ms, done);
      function done(): void {
        timer.cancel();
        wake = null;
        resolve();
      }
      wake = done;
    });
  }

  async function firstToRun(): Promise<{
    index: number;
    ready: Ready | NonNullable<ChainPast['open']>;
  } | null> {
    if (!past) return first;
    return past.open ? { index: past.open.index, ready: past.open } : prepareFrom(nextAfter(ended));
  }

  async function runSteps(): Promise<void> {
    let next = await firstToRun();
    while (next) {
      const result = await runStep(next.index, next.ready);
      if (stopped || !goesOnAfter(result, plan[result.index] as PlannedStep)) return;
      next = await prepareFrom(result.index + 1);
    }
  }

  return {
    async prepare() {
      first = await prepareFrom(0);
    },
    firstRecords(startedBootMs) {
      const records: StepRecord[] = [{ kind: 'plan', steps: plan, isPlain: false }];
      for (const step of ended) records.push({ kind: 'ended', ...step });
      if (!first?.ready.prepared) return records;
      const { index } = first;
      const { timeoutMs } = task.steps[index] as Step;
      records.push({ kind: 'started', index, number: 1, bootMs: startedBootMs, timeoutMs, outputFrom: 0 });
      return records;
    },
    async run(chainStore) {
      store = chainStore;
      if (!first?.ready.prepared) {
        ports.running(null);
        isRunningTold = true;
        isFirstNoted = false;
      }
      if (!past && store.log) for (const { result } of ended) ports.tell(result);
      await runSteps();
      const outputBytes = position();
      const durationMs = Math.max(0, Math.round(clock.bootMs() - chainStore.startedBootMs));
      const end = chainEnd(plan, ended, stopped, { durationMs, outputBytes });
      return { end, unwritten };
    },
    stop(early, graceMs) {
      stopped ??= early;
      execution?.end(graceMs, 'attempt');
      wake?.();
    },
    get stopped() {
      return stopped;
    },
    discard() {
      first?.ready.prepared?.discard();
    },
  };
}
