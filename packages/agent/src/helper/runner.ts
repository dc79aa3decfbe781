import type { AttemptEnd, StepResult } from '@rota/contract';
import type { FromHelper, HeldAttempt, HttpSettings, Task } from '../helperProtocol.ts';
import type { Clock, Random, Timer } from '../ports.ts';
import { type ChainOutcome, type ChainStore, createChain, isPlain, planOf } from './chain.ts';
import type { Early } from './chainEnd.ts';
import type { HelperMachine } from './machine.ts';
import { createProgressNews } from './progressNews.ts';
import { StepLog } from './stepLog.ts';

/** One attempt in the helper: from the order to start it to its durable end record. */
export interface Runner {
  readonly held: HeldAttempt;
  /** Cancels it. */
  end(graceMs: number): void;
  /** Tells again what a new session has to know of it. */
  tellAgain(): void;
  /** Only for one that asked to go on: with what the permit says, or not at all. */
  answer(task: Task | null): void;
}

export interface RunnerPorts {
  clock: Clock;
  random: Random;
  machine: HelperMachine;
  http: HttpSettings;
  tell(message: FromHelper): void;
  /** It runs no more: whatever was told before this is final. */
  settled(attemptId: string): void;
}

export const CANCELLED: Early = { outcome: 'cancelled', reason: 'cancelledByUser' };
export const TIMED_OUT: Early = { outcome: 'timedOut', reason: 'timeout' };

/** Between two tries to write an end record that the disk did not take. */
const END_RETRY_MS = 1_000;

export function startRunner(task: Task, ports: RunnerPorts): Runner {
  const { attemptId } = task;
  const held: HeldAttempt = { attemptId, state: 'waiting', pid: null };
  const told = createStepNews(attemptId, ports);
  const progress = createProgressNews(attemptId, ports, true);
  const chain = createChain(task, {
    clock: ports.clock,
    random: ports.random,
    machine: ports.machine,
    http: ports.http,
    running(pid) {
      held.state = 'running';
      held.pid = pid;
      ports.tell({ type: 'running', attemptId, pid });
    },
    tell: told.tell,
    progress: progress.say,
  });

  async function run(): Promise<void> {
    await chain.prepare();
    if (chain.stopped) return refuse('notExecuted', 'it was cancelled before it began');
    if (ports.clock.bootMs() > task.validUntilBootMs)
      return refuse('permitExpired', 'its permit expired before it began');
    const startedBootMs = ports.clock.bootMs();
    let store: ChainStore;
    try {
      store = makeStore(startedBootMs);
    } catch (error) {
      return refuse('notExecuted', `its spool files could not be written: ${(error as Error).message}`);
    }
    const deadline = watchDeadline(task.timeoutMs);
    const outcome = await chain.run(store);
    deadline?.cancel();
    progress.end();
    await writeEnd({ ...store, log: store.log ?? keepResult(outcome.end) }, outcome, ports);
    held.state = 'ended';
    ports.tell({ type: 'ended', attemptId });
    ports.settled(attemptId);
  }

  /** The begin record comes last: without it, nothing was executed. @throws when the disk takes it not */
  function makeStore(startedBootMs: number): ChainStore {
    const log = isPlain(task.steps)
      ? null
      : StepLog.create(ports.machine.openSteps(attemptId, 'new'), chain.firstRecords(startedBootMs));
    const begin = {
      attemptId,
      kind: task.steps[0]?.action.kind ?? '',
      startedBootMs,
      timeoutMs: shortest(task.timeoutMs, log ? null : (task.steps[0]?.timeoutMs ?? null)),
      killGraceMs: task.killGraceMs,
    };
    try {
      const tellOutput = () => ports.tell({ type: 'output', attemptId });
      const writer = ports.machine.openOutput(begin, task.output, tellOutput, 'new');
      return { writer, log, startedBootMs };
    } catch (error) {
      log?.discard();
      throw error;
    }
  }

  function watchDeadline(timeoutMs: number | null): Timer | null {
    return timeoutMs === null
      ? null
      : ports.clock.after(timeoutMs, () => chain.stop(TIMED_OUT, task.killGraceMs));
  }

  /** What one plain step gave and an end record has no place for, goes into a file of its own. */
  function keepResult({ result: given, steps }: AttemptEnd): StepLog | null {
    if (given === null) return null;
    const result = steps[0] as StepResult;
    const step = { result, kept: null, isMasked: false, cpuMs: null, maxRssBytes: null };
    try {
      return StepLog.create(ports.machine.openSteps(attemptId, 'new'), [
        { kind: 'plan', steps: planOf(task.steps), isPlain: true },
        { kind: 'ended', ...step },
      ]);
    } catch {
      // The disk is full: the rest of the end is worth more.
      return null;
    }
  }

  function refuse(reason: 'notExecuted' | 'permitExpired', detail: string): void {
    chain.discard();
    ports.tell({ type: 'refused', attemptId, reason, detail });
    ports.settled(attemptId);
  }

  void run();
  return {
    held,
    end: (graceMs) => chain.stop(CANCELLED, graceMs),
    tellAgain() {
      if (held.state !== 'running') return;
      told.again();
      progress.again();
    },
    answer() {},
  };
}

/** Null is no limit. */
function shortest(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.min(one, other);
}

/** Tells how the steps of an attempt get on, and knows what was told last of each. */
export function createStepNews(attemptId: string, ports: Pick<RunnerPorts, 'tell'>) {
  const newest = new Map<number, Extract<FromHelper, { type: 'step' }>>();
  return {
    tell(step: Extract<FromHelper, { type: 'step' }>['step']): void {
      const message: FromHelper = { type: 'step', attemptId, step };
      newest.set(step.index, message);
      ports.tell(message);
    },
    again(): void {
      for (const message of newest.values()) ports.tell(message);
    },
  };
}

/** Writes the end until the disk takes it, and makes all of the attempt durable. */
export async function writeEnd(
  { writer, log }: Omit<ChainStore, 'startedBootMs'>,
  { end, unwritten }: ChainOutcome,
  { clock, machine }: Pick<RunnerPorts, 'clock' | 'machine'>,
): Promise<void> {
  // The steps' file has all the rest.
  const record: AttemptEnd = { ...end, steps: unwritten, result: null };
  while (true) {
    try {
      // Where power is lost, no end may stand without the steps that it is the end of.
      await log?.sync();
      writer.writeEnd(record);
      await writer.sync();
      await machine.syncFolder();
      break;
    } catch {
      await new Promise<void>((resolve) => clock.after(END_RETRY_MS, resolve));
    }
  }
  writer.close();
  log?.close();
}
