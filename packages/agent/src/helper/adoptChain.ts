import type { ReasonCode, StepResult } from '@rota/contract';
import type { Task } from '../helperProtocol.ts';
import type { BeginRecord } from '../spoolFile.ts';
import { blankStep, type EndedStep, type OpenStep, type PlannedStep, type StepTraces } from '../stepsFile.ts';
import type { Adoption } from './adoption.ts';
import { createChain, planOf } from './chain.ts';
import { chainEnd, type Early, goesOnAfter, nextAfter } from './chainEnd.ts';
import { writeEnd } from './runner.ts';
import { StepLog } from './stepLog.ts';

const INTERRUPTED: Early = {
  outcome: 'failed',
  reason: 'chainInterrupted',
  error: 'the helper process ended between two steps, and the server did not let the chain go on',
};
const CHANGED: Early = {
  ...INTERRUPTED,
  error: 'the helper process ended between two steps, and the permit to go on had other steps',
};
const UNWRITTEN: Early = {
  outcome: 'failed',
  reason: 'stepNotWritten',
  error: 'the helper process ended, and the disk has not taken how the step before ended',
};

/** What cannot be known of a step whose helper has died. */
export function whatIsLost(kind: string, wasSeen: boolean): { reason: ReasonCode; error: string } {
  if (kind === 'http') return { reason: 'interrupted', error: 'the helper process ended during the request' };
  return {
    reason: 'exitStatusLost',
    error: wasSeen
      ? 'the helper process that watched the command ended before it'
      : 'the helper process ended just when it started the command: nobody can know whether it ran',
  };
}

/**
 * Settles the step that ran when its helper died, and goes on with the next step that was never begun, if the chain may go on
 * and the server gives the permit's content again. Whatever was begun is never begun again.
 */
export async function adoptChain(
  adoption: Adoption,
  begin: BeginRecord,
  { plan, ended: former, open, size }: StepTraces,
): Promise<void> {
  const { attemptId, spool, ports, news } = adoption;
  const log = StepLog.resume(ports.machine.openSteps(attemptId, 'resume'), size);
  const ended = [...former];
  const unwritten: StepResult[] = [];
  const waiting = open?.waiting ? { ...open, waiting: open.waiting } : null;

  function settle(result: StepResult): void {
    const step: EndedStep = { result, kept: null, isMasked: false, cpuMs: null, maxRssBytes: null };
    ended.push(step);
    if (!log.tryAppendEnd(step)) unwritten.push(result);
    news.tell(result);
  }

  if (!open || waiting) adoption.running(null);
  for (const { result } of former) news.tell(result);
  if (waiting) news.tell(waiting.waiting.result);
  else if (open) settle(await untilLost(adoption, begin, plan, open));

  const isUnfinished = mayGoOn(plan, ended);
  if (isUnfinished && unwritten.length > 0) adoption.early ??= UNWRITTEN;
  if (isUnfinished && adoption.early === null) {
    const task = await adoption.askToGoOn();
    if (task && hasPlan(task, plan)) return goOn(task);
    adoption.early ??= task ? CHANGED : INTERRUPTED;
  }
  const { early } = adoption;
  if (waiting && early) {
    const { outcome, reason } = early;
    settle({
      ...waiting.waiting.result,
      state: outcome,
      reason,
      outputTo: await spool.outputBytes(attemptId),
    });
  }
  const outputBytes = await spool.outputBytes(attemptId);
  const end = chainEnd(plan, ended, early, { durationMs: adoption.since(begin.startedBootMs), outputBytes });
  await log.sync().catch(() => {});
  log.close();
  await spool.writeEnd(attemptId, { ...end, steps: unwritten, result: null });

  async function goOn(task: Task): Promise<void> {
    const chain = createChain(
      task,
      { ...ports, running: () => {}, tell: (step) => news.tell(step), progress: adoption.progress.say },
      { ended, open: waiting },
    );
    adoption.onEarly((graceMs) => chain.stop(adoption.early as Early, graceMs));
    const tellOutput = () => ports.tell({ type: 'output', attemptId });
    const writer = ports.machine.openOutput(begin, task.output, tellOutput, 'resume');
    const outcome = await chain.run({ writer, log, startedBootMs: begin.startedBootMs });
    adoption.onEarly(null);
    adoption.progress.end();
    await writeEnd({ writer, log }, outcome, ports);
  }
}

/** Whether there is a next step, and the last one lets the chain go on to it. */
function mayGoOn(plan: PlannedStep[], ended: EndedStep[]): boolean {
  const last = ended.at(-1)?.result;
  if (nextAfter(ended) === plan.length) return false;
  return last === undefined || goesOnAfter(last, plan[last.index] as PlannedStep);
}

function hasPlan(task: Task, plan: PlannedStep[]): boolean {
  return JSON.stringify(planOf(task.steps)) === JSON.stringify(plan);
}

/** Waits until what the step started has gone, and says what can be known of it. */
async function untilLost(
  adoption: Adoption,
  begin: BeginRecord,
  plan: PlannedStep[],
  open: OpenStep,
): Promise<StepResult> {
  const { attemptId, spool } = adoption;
  const { machine } = adoption.ports;
  const { name, kind } = plan[open.index] as PlannedStep;
  const mark = { attemptId, step: name };
  const root = open.process ?? machine.findRoot(mark);
  const isRunning = root !== null && machine.isAlive(root);
  adoption.running(isRunning ? root.pid : null);
  const running: StepResult = {
    ...blankStep(open.index, name, 'running', open.outputFrom),
    tries: open.number,
    startedMs: Math.max(0, Math.round(open.startedBootMs - begin.startedBootMs)),
    outputTo: null,
  };
  adoption.news.tell(running);
  const { tryBootMs, timeoutMs } = open;
  const limit =
    timeoutMs === null ? null : { untilBootMs: tryBootMs + timeoutMs, graceMs: begin.killGraceMs };
  const isLate = isRunning && (await adoption.untilGone(root, mark, limit));
  const { early } = adoption;
  return {
    ...running,
    state: 'failed',
    ...whatIsLost(kind, root !== null),
    ...(isLate ? { state: 'timedOut', reason: 'timeout' } : {}),
    ...(early ? { state: early.outcome, reason: early.reason } : {}),
    durationMs: adoption.since(open.startedBootMs),
    outputTo: await spool.outputBytes(attemptId),
  };
}
