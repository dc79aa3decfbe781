import type { AttemptEnd } from '@rota/contract';
import type { Spool } from '../spool.ts';
import { type BeginRecord, type ProcessRecord, unseenEnd } from '../spoolFile.ts';
import { adoptChain, whatIsLost } from './adoptChain.ts';
import { Adoption } from './adoption.ts';
import { type Runner, type RunnerPorts, TIMED_OUT } from './runner.ts';

/**
 * Looks after an attempt whose helper has died: its exit status is lost, all else is not. It waits until the process
 * has gone, still holds it to its timeout, and writes an end that says what cannot be known any more. A chain goes on
 * where it may.
 */
export function adoptAttempt(attemptId: string, spool: Spool, ports: RunnerPorts): Runner {
  const adoption = new Adoption(attemptId, spool, ports);
  const { held } = adoption;

  async function look(): Promise<void> {
    if (await spool.readEnd(attemptId)) return settle();
    const { begin, process } = await spool.readTraces(attemptId);
    if (!begin) {
      const detail = 'the helper process ended before it began';
      ports.tell({ type: 'refused', attemptId, reason: 'notExecuted', detail });
      return ports.settled(attemptId);
    }
    const steps = await spool.readSteps(attemptId);
    const { timeoutMs, startedBootMs, killGraceMs } = begin;
    const deadline =
      timeoutMs === null
        ? null
        : ports.clock.after(Math.max(0, startedBootMs + timeoutMs - ports.clock.bootMs()), () =>
            adoption.endEarly(TIMED_OUT, killGraceMs),
          );
    if (steps) await adoptChain(adoption, begin, steps);
    else await spool.writeEnd(attemptId, await plainEnd(begin, process));
    deadline?.cancel();
    settle();
  }

  async function plainEnd(begin: BeginRecord, process: ProcessRecord | null): Promise<AttemptEnd> {
    const mark = { attemptId, step: null };
    const root = process ?? ports.machine.findRoot(mark);
    if (root && ports.machine.isAlive(root)) {
      adoption.running(root.pid);
      await adoption.untilGone(root, mark, null);
    }
    const { reason, error } = whatIsLost(begin.kind, root !== null);
    return {
      ...unseenEnd(reason, await spool.outputBytes(attemptId)),
      ...adoption.early,
      error,
      durationMs: adoption.since(begin.startedBootMs),
    };
  }

  function settle(): void {
    held.state = 'ended';
    ports.tell({ type: 'ended', attemptId });
    ports.settled(attemptId);
  }

  look().catch(() => ports.settled(attemptId));
  return adoption;
}
