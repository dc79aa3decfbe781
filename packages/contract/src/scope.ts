import type { Labels } from './labels.ts';
import type { ParamValue } from './params.ts';
import type { Permit } from './permit.ts';
import type { StepState } from './step.ts';
import type { LocalTime } from './when.ts';

/** What templates and conditions can name, as plain data. */

/** Stands where a value is that must not be used: what names it fails, and says why. */
export class Withheld {
  readonly why: string;
  constructor(why: string) {
    this.why = why;
  }
}

/** Why something of a value cannot be used; null when all of it can. */
export function withheldIn(value: unknown): string | null {
  if (value instanceof Withheld) return value.why;
  if (value === null || typeof value !== 'object') return null;
  for (const each of Object.values(value)) {
    const why = withheldIn(each);
    if (why !== null) return why;
  }
  return null;
}

/** An earlier step. A null field says nothing: the step has no such thing. */
export interface StepScope {
  state: StepState;
  /** Of the HTTP answer. */
  status: number | null;
  /** Of the HTTP answer, names in lower case. */
  headers: Record<string, string | Withheld>;
  /** The HTTP answer, or a command's whole standard output, read as JSON; undefined when it is none. */
  json: unknown;
  exitCode: number | null;
  /** What a command wrote to its standard output, or the body of the answer, as text without the last newline. */
  output: string | Withheld;
  durationMs: number | null;
  /** What it gave as `rota:result`; undefined when it gave none. */
  result: unknown;
  summary: string | Withheld | null;
  tries: number;
}

export interface Scope {
  /** Values by name: those that the permit brought, and those read from the agent's environment or files. */
  secrets: Record<string, string>;
  run: {
    id: string;
    /** Of the attempt, from 1. */
    number: number;
    /** RFC 3339 in UTC. */
    scheduledFor: string;
    kind: string;
  };
  job: { name: string };
  agent: { name: string; labels: Labels };
  params: Record<string, ParamValue>;
  /** Those that came before, by name; also skipped ones. */
  steps: Record<string, StepScope>;
}

/** What a condition can look at: no secrets, but the time of day. */
export type Situation = Omit<Scope, 'secrets'> & { local: LocalTime };

/** What a step can name that runs under a permit, after these steps. */
export function situationOf(
  { run, agent }: Pick<Permit, 'run' | 'agent'>,
  steps: Record<string, StepScope>,
): Situation {
  return {
    run: {
      id: run.id,
      number: run.number,
      scheduledFor: new Date(run.scheduledFor).toISOString(),
      kind: run.kind,
    },
    job: { name: run.job },
    agent,
    params: run.params,
    steps,
    local: run.local,
  };
}
