import type { LookupFunction } from 'node:net';
import type { Action, AttemptEnd, AttemptOutcome, ReasonCode } from '@rota/contract';
import type { Pipes } from '../helper/pipes.ts';
import type { UsageMeter } from '../helper/usage.ts';
import type { HttpSettings, Task } from '../helperProtocol.ts';
import type { Clock } from '../ports.ts';
import type { Root } from '../processTree.ts';
import type { Cookies } from './httpCookies.ts';

/** What an executor knows of how its step ended. */
export interface Ending {
  outcome: AttemptOutcome;
  reason: ReasonCode | null;
  exitCode: number | null;
  signal: string | null;
  error: string | null;
  cpuMs: number | null;
  maxRssBytes: number | null;
  http: AttemptEnd['http'];
  /** The body of an HTTP answer, as far as it was read. */
  answer: { isWhole: boolean; text(): string } | null;
}

/** A step that has been begun. */
export interface Execution {
  /** Null when no process belongs to it. */
  root: Root | null;
  /** Never rejects. */
  ended: Promise<Ending>;
  /** Ends it early: all that belongs to it, TERM first and KILL after `graceMs`; with the attempt, also what earlier steps left. */
  end(graceMs: number, extent: 'step' | 'attempt'): void;
}

export interface HttpPorts {
  settings: HttpSettings;
  /** Asks for the addresses of a name. */
  lookup: LookupFunction;
  /** Those of the attempt, for all its steps. */
  cookies: Cookies;
}

export interface ExecutorPorts {
  clock: Clock;
  usage: UsageMeter;
  pipes: Pipes;
  /** For files that live as long as the start. */
  folder: string;
  http: HttpPorts;
  output(stream: 'stdout' | 'stderr', data: Buffer): void;
}

export const NO_ENDING: Ending = {
  outcome: 'succeeded',
  reason: null,
  exitCode: null,
  signal: null,
  error: null,
  cpuMs: null,
  maxRssBytes: null,
  http: null,
  answer: null,
};

/** A task, and which of its steps is to be executed. */
export interface StepTask extends Task {
  step: string;
}

/** A step that is ready to begin; one of the two is to be called. */
export interface Prepared {
  begin(): Execution;
  discard(): void;
}

/** Looks up what beginning needs. @throws with a message for people */
export type Prepare<A extends Action> = (
  task: StepTask,
  action: A,
  ports: ExecutorPorts,
) => Promise<Prepared>;
