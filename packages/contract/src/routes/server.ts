import { Type } from 'typebox';
import { JobName } from '../job.ts';
import { ROLES } from '../roles.ts';
import { Instant } from '../run.ts';
import { Nullable, type Route, strict } from './route.ts';

/** Routes of the server itself. */
export const serverRoutes = {
  health: {
    method: 'GET',
    path: '/healthz',
    summary: 'Whether the process lives.',
    permission: 'open',
    response: Type.Object({ status: Type.String() }),
    status: 200,
    errors: [],
  },
  ready: {
    method: 'GET',
    path: '/readyz',
    summary: 'Whether the server takes work.',
    permission: 'open',
    response: Type.Object({ status: Type.String() }),
    status: 200,
    errors: ['server.draining', 'server.busy'],
  },
  home: {
    method: 'GET',
    path: '/',
    summary: 'A page that says what to do first.',
    permission: 'open',
    status: 200,
    produces: 'text/html',
    errors: [],
  },
  metrics: {
    method: 'GET',
    path: '/metrics',
    summary: 'Metrics for Prometheus.',
    permission: 'viewer',
    status: 200,
    produces: 'text/plain',
    errors: [],
  },
  openapi: {
    method: 'GET',
    path: '/api/v1/openapi.json',
    summary: 'This API as OpenAPI 3.1.',
    permission: 'viewer',
    status: 200,
    produces: 'application/json',
    errors: [],
  },
  whoami: {
    method: 'GET',
    path: '/api/v1/whoami',
    summary: 'Whose token this is.',
    permission: 'viewer',
    status: 200,
    errors: [],
    response: Type.Object({
      tenant: Type.String(),
      token: Type.String(),
      role: Type.Enum([...ROLES]),
      timezone: Type.String(),
    }),
  },
  status: {
    method: 'GET',
    path: '/api/v1/status',
    summary: 'The state of everything in a few numbers.',
    permission: 'viewer',
    status: 200,
    errors: [],
    response: Type.Object({
      version: Type.String(),
      startedAt: Instant,
      now: Instant,
      timezone: Type.String(),
      jobs: Type.Object({
        total: Type.Integer(),
        enabled: Type.Integer({ description: 'And not paused.' }),
        paused: Type.Integer({ description: 'And not disabled; the rest is.' }),
      }),
      servers: Type.Array(
        Type.Object({
          name: Type.String({ description: 'Host and process id.' }),
          state: Type.Enum(['live', 'leaving', 'lost']),
          startedAt: Instant,
          lastSeenAt: Instant,
          agents: Type.Integer({ description: 'Agents of all tenants that are connected to it.' }),
        }),
        { description: 'All servers on this database.' },
      ),
      agents: Type.Object({ online: Type.Integer(), offline: Type.Integer(), quarantined: Type.Integer() }),
      runs: Type.Object({
        queued: Type.Integer(),
        active: Type.Integer(),
        unknown: Type.Integer(),
        succeededLastDay: Type.Integer(),
        failedLastDay: Type.Integer(),
        missedLastDay: Type.Integer(),
      }),
      recovery: Nullable(
        Type.Object({
          since: Instant,
          cause: Type.Enum(['failover', 'restore']),
          awaited: Type.Array(Type.String(), { description: 'Agents that have not told yet what they did.' }),
          heldRuns: Type.Integer(),
        }),
      ),
      lateness: Type.Object({
        p50Ms: Nullable(Type.Integer()),
        p99Ms: Nullable(Type.Integer()),
        maxMs: Nullable(Type.Integer()),
        runs: Type.Integer(),
      }),
    }),
  },
  events: {
    method: 'GET',
    path: '/api/v1/events',
    summary: 'Changes as they are committed, as server-sent events.',
    permission: 'viewer',
    status: 200,
    produces: 'text/event-stream',
    errors: ['request.tooMany'],
    query: Type.Object(
      {
        after: Type.Optional(Type.Integer({ minimum: 0 })),
        types: Type.Optional(
          Type.String({ maxLength: 200, description: 'Comma-separated: run, job, agent, server, secret.' }),
        ),
        job: Type.Optional(JobName),
      },
      strict,
    ),
  },
} as const satisfies Record<string, Route>;
