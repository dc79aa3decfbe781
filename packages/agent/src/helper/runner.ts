import { fdatasync } from 'node:fs';
import type { AttemptEnd, AttemptOutcome, ReasonCode } from '@rota/contract';
import type { Ending, Execution, Prepared } from '../executors/execution.ts';
import type { FromHelper, HeldAttempt, HttpSettings, Task } from '../helperProtocol.ts';
import type { Clock, Timer } from '../ports.ts';
import { OutputWriter } from './outputWriter.ts';
import type { Pipes } from './pipes.ts';
import { prepareSteps } from './steps.ts';
import type { UsageMeter } from './usage.ts';

/** One attempt in the helper: from the order to start it to its durable end record. */
export interface Runner {
  readonly held: HeldAttempt;
  /** Cancels it. */
  end(graceMs: number): void;
}

export interface RunnerPorts {
  clock: Clock;
  usage: UsageMeter;
  pipes: Pipes;
  /** The spool's folder. */
  folder: string;
  http: HttpSettings;
  /** Makes the names in the spool's folder durable. */
  syncFolder(): Promise<void>;
  tell(message: FromHelper): void;
  /** It runs no more: whatever was told before this is final. */
  settled(attemptId: string): void;
}

/** Between two tries to write an end record that the disk did not take. */
const END_RETRY_MS = 1_000;

export function startRunner(task: Task, ports: RunnerPorts): Runner {
  const { attemptId } = task;
  const held: HeldAttempt = { attemptId, state: 'waiting', pid: null };
  let execution: Execution | null = null;
  let deadline: Timer | null = null;
  let early: { outcome: AttemptOutcome; reason: ReasonCode } | null = null;

  function endEarly(outcome: AttemptOutcome, reason: ReasonCode, graceMs: number): void {
    early ??= { outcome, reason };
    execution?.end(graceMs);
  }

  async function run(): Promise<void> {
    let writer: OutputWriter | null = null;
    const prepared = await prepareSteps(task, {
      clock: ports.clock,
      usage: ports.usage,
      pipes: ports.pipes,
      folder: ports.folder,
      http: ports.http,
      output: (stream, data) => writer?.write(stream, data),
    });
    if (early !== null) return refuse(prepared, 'notExecuted', 'it was cancelled before it began');
    if (ports.clock.bootMs() > task.validUntilBootMs)
      return refuse(prepared, 'permitExpired', 'its permit expired before it began');
    const startedBootMs = ports.clock.bootMs();
    try {
      writer = new OutputWriter(
        `${ports.folder}/${attemptId}`,
        {
          attemptId,
          kind: task.steps[0]?.action.kind ?? '',
          startedBootMs,
          timeoutMs: task.timeoutMs,
          killGraceMs: task.killGraceMs,
        },
        task.output,
        ports.clock,
        () => ports.tell({ type: 'output', attemptId }),
      );
    } catch (error) {
      return refuse(prepared, 'notExecuted', `its spool file could not be written: ${messageOf(error)}`);
    }
    execution = prepared.begin();
    if (execution.root) writer.writeProcess(execution.root);
    held.state = 'running';
    held.pid = execution.root?.pid ?? null;
    ports.tell({ type: 'running', attemptId, pid: held.pid });
    if (task.timeoutMs !== null) {
      deadline = ports.clock.after(task.timeoutMs, () => endEarly('timedOut', 'timeout', task.killGraceMs));
    }
    const ending = await execution.ended;
    (deadline as Timer | null)?.cancel();
    writer.flush();
    const durationMs = Math.max(0, Math.round(ports.clock.bootMs() - startedBootMs));
    await writeEnd(writer, attemptEnd(ending, early, durationMs, writer.position), ports);
    held.state = 'ended';
    ports.tell({ type: 'ended', attemptId });
    ports.settled(attemptId);
  }

  function refuse(prepared: Prepared, reason: 'notExecuted' | 'permitExpired', detail: string): void {
    prepared.discard();
    ports.tell({ type: 'refused', attemptId, reason, detail });
    ports.settled(attemptId);
  }

  void run();
  return { held, end: (graceMs) => endEarly('cancelled', 'cancelledByUser', graceMs) };
}

/** What is reported: that it was ended early counts for more than how it went down. */
function attemptEnd(
  ending: Ending,
  early: { outcome: AttemptOutcome; reason: ReasonCode } | null,
  durationMs: number,
  outputBytes: number,
): AttemptEnd {
  const error = ending.error?.slice(0, 2_000) ?? null;
  return {
    ...ending,
    ...early,
    error,
    durationMs,
    outputBytes,
    outputDroppedBytes: 0,
    steps: [],
    result: null,
    summary: null,
  };
}

/** Writes the end until the disk takes it, and makes all of the attempt durable. */
async function writeEnd(writer: OutputWriter, end: AttemptEnd, ports: RunnerPorts): Promise<void> {
  while (true) {
    try {
      writer.writeEnd(end);
      await Promise.all(writer.descriptors.map(sync));
      await ports.syncFolder();
      writer.close();
      return;
    } catch {
      await new Promise<void>((resolve) => ports.clock.after(END_RETRY_MS, resolve));
    }
  }
}

function sync(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) =>
    fdatasync(descriptor, (error) => (error ? reject(error) : resolve())),
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
