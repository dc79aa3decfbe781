import { type Static, Type } from 'typebox';
import { AgentName, JobDocument, JobName } from '../job.ts';
import { LIMITS } from '../names.ts';
import { GapView, Instant, RUN_STATES, RunView } from '../run.ts';
import { listOf, Nullable, page, type Route, strict } from './route.ts';

const NameParams = Type.Object({ name: JobName }, strict);
const Note = Type.Object({ note: Type.Optional(Type.String({ maxLength: 1_000 })) }, strict);

export const JobView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  title: Type.String(),
  revision: Type.Integer(),
  enabled: Type.Boolean(),
  paused: Nullable(Type.Object({ at: Instant, note: Type.String(), by: Type.String() })),
  document: JobDocument,
  /** Plain words, one for each schedule. */
  schedules: Type.Array(
    Type.Object({ text: Type.String(), description: Type.String(), timezone: Type.String() }),
  ),
  next: Type.Array(Instant, { description: 'The next instants; at most five in one job, one in a list.' }),
  lastRun: Nullable(
    Type.Object({
      id: Type.String(),
      state: Type.Enum([...RUN_STATES]),
      scheduledFor: Instant,
      endedAt: Nullable(Instant),
    }),
  ),
  createdAt: Instant,
  updatedAt: Instant,
});
export type JobView = Static<typeof JobView>;

/** What `apply` did or would do to one job. */
export const ApplyChange = Type.Object({
  name: Type.String(),
  action: Type.Enum(['created', 'updated', 'unchanged', 'deleted']),
  revision: Nullable(Type.Integer()),
  /** For `updated`: each field that differs. */
  fields: Type.Array(Type.Object({ path: Type.String(), before: Type.Unknown(), after: Type.Unknown() })),
});
export type ApplyChange = Static<typeof ApplyChange>;

/** Routes of jobs. */
export const jobRoutes = {
  listJobs: {
    method: 'GET',
    path: '/api/v1/jobs',
    summary: 'Jobs by name.',
    permission: 'viewer',
    status: 200,
    errors: [],
    response: listOf(JobView),
    query: Type.Object(
      {
        ...page,
        prefix: Type.Optional(Type.String({ maxLength: 100 })),
        label: Type.Optional(Type.String({ maxLength: 300, description: 'key or key=value' })),
        owner: Type.Optional(Type.String({ maxLength: LIMITS.ownerLength })),
        enabled: Type.Optional(Type.Boolean()),
        paused: Type.Optional(Type.Boolean()),
      },
      strict,
    ),
  },
  putJob: {
    method: 'PUT',
    path: '/api/v1/jobs/:name',
    summary:
      'Creates or changes a job. With `?revision=N` only if that is its revision (0: only if it does not exist).',
    permission: 'editor',
    params: NameParams,
    query: Type.Object(
      {
        revision: Type.Optional(Type.Integer({ minimum: 0 })),
        paused: Type.Optional(Type.Boolean({ description: 'A new job starts paused.' })),
      },
      strict,
    ),
    body: Type.Unknown(),
    response: Type.Object({ job: JobView, change: ApplyChange }),
    status: 200,
    errors: ['document.invalid', 'job.revisionConflict'],
  },
  getJob: {
    method: 'GET',
    path: '/api/v1/jobs/:name',
    summary: 'One job.',
    permission: 'viewer',
    params: NameParams,
    response: JobView,
    status: 200,
    errors: ['job.notFound'],
  },
  deleteJob: {
    method: 'DELETE',
    path: '/api/v1/jobs/:name',
    summary: 'Deletes a job; its runs stay until their retention ends.',
    permission: 'editor',
    params: NameParams,
    status: 204,
    errors: ['job.notFound'],
  },
  pauseJob: {
    method: 'POST',
    path: '/api/v1/jobs/:name/pause',
    summary: "Stops a job's schedule.",
    permission: 'operator',
    params: NameParams,
    body: Note,
    response: JobView,
    status: 200,
    errors: ['job.notFound'],
  },
  resumeJob: {
    method: 'POST',
    path: '/api/v1/jobs/:name/resume',
    summary: "Starts a job's schedule again, from now.",
    permission: 'operator',
    params: NameParams,
    body: Note,
    response: JobView,
    status: 200,
    errors: ['job.notFound'],
  },
  runJob: {
    method: 'POST',
    path: '/api/v1/jobs/:name/run',
    summary: 'Runs a job now.',
    permission: 'operator',
    params: NameParams,
    status: 201,
    errors: ['job.notFound', 'agent.notFound'],
    body: Type.Object(
      {
        params: Type.Optional(
          Type.Record(Type.String({ maxLength: 50 }), Type.Unknown(), {
            maxProperties: LIMITS.params,
            description:
              "Values of the job's parameters by name; those that are left out have their defaults.",
          }),
        ),
        idempotencyKey: Type.Optional(Type.String({ minLength: 1, maxLength: LIMITS.idempotencyKeyLength })),
        agent: Type.Optional(AgentName),
      },
      strict,
    ),
    response: Type.Object({
      run: RunView,
      created: Type.Boolean({ description: 'false: the idempotency key had made this run before.' }),
    }),
  },
  jobRevisions: {
    method: 'GET',
    path: '/api/v1/jobs/:name/revisions',
    summary: 'What a job was, newest first.',
    permission: 'viewer',
    params: NameParams,
    query: Type.Object(page, strict),
    status: 200,
    errors: ['job.notFound'],
    response: listOf(
      Type.Object({
        revision: Type.Integer(),
        at: Instant,
        by: Type.String(),
        action: Type.String(),
        document: Nullable(JobDocument),
      }),
    ),
  },
  jobGaps: {
    method: 'GET',
    path: '/api/v1/jobs/:name/gaps',
    summary: 'Ranges of instants that were skipped or missed together, newest first.',
    permission: 'viewer',
    params: NameParams,
    query: Type.Object(page, strict),
    response: listOf(GapView),
    status: 200,
    errors: ['job.notFound'],
  },
} as const satisfies Record<string, Route>;
