import { type Static, Type } from 'typebox';
import { AgentName, CommandField, commandFields, JobName } from '../job.ts';
import { Labels } from '../labels.ts';
import { LIMITS } from '../names.ts';
import { AttemptView, RunView } from '../run.ts';
import { listOf, Nullable, page, type Route, strict } from './route.ts';

const RunParams = Type.Object(
  {
    id: Type.String({
      pattern: '^[a-z0-9]{4,32}$',
      description: "must be a run's id or at least its first 4 characters",
    }),
  },
  strict,
);
export const OutputView = Type.Object({
  chunks: Type.Array(
    Type.Object({
      attempt: Type.Integer(),
      seq: Type.Integer(),
      stream: Type.Enum(['stdout', 'stderr']),
      atMs: Type.Integer(),
      droppedBytes: Type.Integer({ description: 'Bytes left out just before this chunk.' }),
      data: Type.String({ description: 'Base64.' }),
    }),
  ),
  nextCursor: Nullable(Type.String()),
  /** True once no more will come. */
  complete: Type.Boolean(),
});
export type OutputView = Static<typeof OutputView>;

const RunDetail = Type.Object({ run: RunView, attempts: Type.Array(AttemptView) });

/** Routes of runs. */
export const runRoutes = {
  listRuns: {
    method: 'GET',
    path: '/api/v1/runs',
    summary: 'Runs, the newest due first.',
    permission: 'viewer',
    status: 200,
    errors: [],
    response: listOf(RunView),
    query: Type.Object(
      {
        ...page,
        job: Type.Optional(JobName),
        agent: Type.Optional(AgentName),
        kind: Type.Optional(Type.String({ maxLength: 20 })),
        state: Type.Optional(Type.String({ maxLength: 200, description: 'Comma-separated states.' })),
        from: Type.Optional(Type.String({ maxLength: 40, description: 'Due at or after, RFC 3339.' })),
        to: Type.Optional(Type.String({ maxLength: 40 })),
      },
      strict,
    ),
  },
  getRun: {
    method: 'GET',
    path: '/api/v1/runs/:id',
    summary: 'One run with its attempts.',
    permission: 'viewer',
    params: RunParams,
    response: RunDetail,
    status: 200,
    errors: ['run.notFound', 'run.ambiguous'],
  },
  cancelRun: {
    method: 'POST',
    path: '/api/v1/runs/:id/cancel',
    summary: 'Cancels a run: drops it if it has not started, else ends its processes.',
    permission: 'operator',
    params: RunParams,
    response: RunView,
    status: 202,
    errors: ['run.notFound', 'run.ambiguous', 'run.ended'],
  },
  resolveRun: {
    method: 'POST',
    path: '/api/v1/runs/:id/resolve',
    summary: 'Decides the outcome of an unknown run.',
    permission: 'operator',
    params: RunParams,
    status: 200,
    errors: ['run.notFound', 'run.ambiguous', 'run.notUnknown', 'run.ended'],
    body: Type.Object(
      {
        as: Type.Enum(['failed', 'succeeded', 'retry']),
        note: Type.Optional(Type.String({ maxLength: 1_000 })),
      },
      strict,
    ),
    response: RunView,
  },
  retryRun: {
    method: 'POST',
    path: '/api/v1/runs/:id/retry',
    summary:
      'Decides about a run that waits for its next attempt: `now` ends the wait, `drop` ends the run with the outcome of its last attempt.',
    permission: 'operator',
    params: RunParams,
    status: 200,
    errors: ['run.notFound', 'run.ambiguous', 'run.notWaiting', 'run.ended'],
    body: Type.Object({ action: Type.Enum(['now', 'drop']) }, strict),
    response: RunView,
  },
  runOutput: {
    method: 'GET',
    path: '/api/v1/runs/:id/output',
    summary: 'What a run has written, in order.',
    permission: 'viewer',
    params: RunParams,
    response: OutputView,
    status: 200,
    errors: ['run.notFound', 'run.ambiguous'],
    query: Type.Object(
      {
        cursor: Type.Optional(Type.String({ maxLength: 100 })),
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.pageMax })),
      },
      strict,
    ),
  },
  followRun: {
    method: 'GET',
    path: '/api/v1/runs/:id/live',
    summary:
      "A run's output and state as server-sent events until it ends: `output` (an item of runOutput), `run` (a RunView with the `steps` and `progress` of its newest attempt), `end`.",
    permission: 'viewer',
    params: RunParams,
    status: 200,
    produces: 'text/event-stream',
    errors: ['run.notFound', 'run.ambiguous', 'request.tooMany'],
    query: Type.Object({ cursor: Type.Optional(Type.String({ maxLength: 100 })) }, strict),
  },
  exec: {
    method: 'POST',
    path: '/api/v1/exec',
    summary: 'Runs a command once, on one or several agents, without a job.',
    permission: 'operator',
    status: 201,
    errors: ['document.invalid', 'target.noAgent'],
    body: Type.Object(
      {
        command: CommandField,
        ...commandFields,
        title: Type.Optional(Type.String({ maxLength: LIMITS.titleLength })),
        agents: Type.Optional(Type.Array(AgentName, { minItems: 1, maxItems: LIMITS.targetAgents })),
        labels: Type.Optional(Labels),
        all: Type.Optional(
          Type.Boolean({
            description:
              'On every matching agent that is online; else on the first. Several names in `agents` mean all of them.',
          }),
        ),
        timeout: Type.Optional(Type.String({ maxLength: 40 })),
        startDeadline: Type.Optional(Type.String({ maxLength: 40, description: 'Default 1m.' })),
        idempotencyKey: Type.Optional(Type.String({ minLength: 1, maxLength: LIMITS.idempotencyKeyLength })),
      },
      strict,
    ),
    response: Type.Object({ runs: Type.Array(RunView) }),
  },
} as const satisfies Record<string, Route>;
