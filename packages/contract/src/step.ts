import { type Static, Type } from 'typebox';
import { LIMITS } from './names.ts';
import { REASON_CODES } from './reasons.ts';
import { HttpResult, type STEP_STATES, StepStateName } from './run.ts';

/** What is told of each step of an attempt, live and at its end. */

export type StepState = (typeof STEP_STATES)[number];

const Count = Type.Integer({ minimum: 0 });
const Nullable = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) =>
  Type.Union([type, Type.Null()]);

export const StepResult = Type.Object({
  /** Its place in the chain, from 0. */
  index: Count,
  name: Type.String({ maxLength: LIMITS.stepNameLength }),
  state: StepStateName,
  reason: Nullable(Type.Enum([...REASON_CODES])),
  /** What is particular to this step beside its reason, such as the condition that did not hold. */
  detail: Nullable(Type.String({ maxLength: 500 })),
  /** Tries that were begun; 0 when it did not run. */
  tries: Count,
  /** Since the attempt's start, by the agent's boot-time clock. */
  startedMs: Nullable(Count),
  /** Of all its tries and the waits between them. */
  durationMs: Nullable(Count),
  exitCode: Nullable(Type.Integer()),
  signal: Nullable(Type.String({ maxLength: 20 })),
  error: Nullable(Type.String({ maxLength: 2_000 })),
  http: Nullable(HttpResult),
  /** JSON text of what it gave as `rota:result`. */
  result: Nullable(Type.String({ maxLength: LIMITS.resultBytes })),
  summary: Nullable(Type.String({ maxLength: LIMITS.summaryLength })),
  /** Its share of the attempt's output, in bytes from the start of all that was written; an open end while it runs. */
  outputFrom: Count,
  outputTo: Nullable(Count),
});
export type StepResult = Static<typeof StepResult>;
