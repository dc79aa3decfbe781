import type { AttemptEnd, AttemptOutcome, ReasonCode } from '@rota/contract';
import type { HeldAttempt } from '../helperProtocol.ts';
import { endTree, findRoot, isAlive, type Root } from '../processTree.ts';
import type { Spool, Traces } from '../spool.ts';
import { unseenEnd } from '../spoolFile.ts';
import type { Runner, RunnerPorts } from './runner.ts';

/** Between two looks at whether an adopted process has gone. */
const POLL_MS = 250;

/**
 * Looks after an attempt whose helper has died: its exit status is lost, all else is not. It waits until the process
 * has gone, still holds it to its timeout, and writes an end that says what cannot be known any more.
 */
export function adoptAttempt(attemptId: string, spool: Spool, ports: RunnerPorts): Runner {
  const held: HeldAttempt = { attemptId, state: 'waiting', pid: null };
  let early: { outcome: AttemptOutcome; reason: ReasonCode } | null = null;
  let root: Root | null = null;
  /** Resolved with the grace once it is to be ended, also when that is before its process is found. */
  const wanted = Promise.withResolvers<number>();

  function endEarly(outcome: AttemptOutcome, reason: ReasonCode, graceMs: number): void {
    early ??= { outcome, reason };
    wanted.resolve(graceMs);
  }

  async function look(): Promise<void> {
    if (await spool.readEnd(attemptId)) return settle();
    const traces = await spool.readTraces(attemptId);
    if (!traces.begin) {
      const detail = 'the helper process ended before it began';
      ports.tell({ type: 'refused', attemptId, reason: 'notExecuted', detail });
      return ports.settled(attemptId);
    }
    root = traces.process ?? findRoot(attemptId);
    if (root && isAlive(root)) {
      held.state = 'running';
      held.pid = root.pid;
      ports.tell({ type: 'running', attemptId, pid: root.pid });
      const found = root;
      const treeEnded = wanted.promise.then((graceMs) => endTree(found, attemptId, graceMs, ports.clock));
      await untilGone(found, traces);
      if (early) await treeEnded;
    }
    await spool.writeEnd(attemptId, await lostEnd(traces));
    settle();
  }

  function untilGone(root: Root, { begin }: Traces): Promise<void> {
    const timeoutMs = begin?.timeoutMs ?? null;
    const deadline =
      timeoutMs === null
        ? null
        : ports.clock.after(Math.max(0, (begin?.startedBootMs ?? 0) + timeoutMs - ports.clock.bootMs()), () =>
            endEarly('timedOut', 'timeout', begin?.killGraceMs ?? 0),
          );
    return new Promise((resolve) => {
      const poll = () => {
        if (isAlive(root)) {
          ports.clock.after(POLL_MS, poll);
          return;
        }
        deadline?.cancel();
        resolve();
      };
      poll();
    });
  }

  async function lostEnd({ begin, process }: Traces): Promise<AttemptEnd> {
    const isHttp = begin?.kind === 'http';
    const wasSeen = process !== null || root !== null;
    return {
      ...unseenEnd(isHttp ? 'interrupted' : 'exitStatusLost', await spool.outputBytes(attemptId)),
      ...early,
      error: isHttp
        ? 'the helper process ended during the request'
        : wasSeen
          ? 'the helper process that watched the command ended before it'
          : 'the helper process ended just when it started the command: nobody can know whether it ran',
      durationMs: Math.max(0, Math.round(ports.clock.bootMs() - (begin?.startedBootMs ?? 0))),
    };
  }

  function settle(): void {
    held.state = 'ended';
    ports.tell({ type: 'ended', attemptId });
    ports.settled(attemptId);
  }

  look().catch(() => ports.settled(attemptId));
  return { held, end: (graceMs) => endEarly('cancelled', 'cancelledByUser', graceMs) };
}
