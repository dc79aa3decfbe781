import type { AttemptEnd, StepResult } from '@rota/contract';

/** How an attempt ends of which a test says nothing else. */
export const SUCCEEDED: AttemptEnd = {
  outcome: 'succeeded',
  reason: null,
  exitCode: 0,
  signal: null,
  error: null,
  durationMs: 5,
  cpuMs: 1,
  maxRssBytes: 1,
  outputBytes: 0,
  outputDroppedBytes: 0,
  http: null,
  steps: [],
  result: null,
  summary: null,
};

/** A step that has begun. */
export const BEGUN: StepResult = {
  index: 0,
  name: 'fetch',
  state: 'running',
  reason: null,
  detail: null,
  tries: 1,
  startedMs: 5,
  durationMs: null,
  exitCode: null,
  signal: null,
  error: null,
  http: null,
  result: null,
  summary: null,
  outputFrom: 0,
  outputTo: null,
};
