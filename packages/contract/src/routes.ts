import type { Static, TSchema } from 'typebox';
import { agentRoutes } from './routes/agents.ts';
import { auditRoutes } from './routes/audit.ts';
import { documentRoutes } from './routes/documents.ts';
import { jobRoutes } from './routes/jobs.ts';
import { joinTokenRoutes } from './routes/joinTokens.ts';
import { runRoutes } from './routes/runs.ts';
import { secretRoutes } from './routes/secrets.ts';
import { serverRoutes } from './routes/server.ts';
import { tokenRoutes } from './routes/tokens.ts';

/**
 * Every route of the REST API. The server registers exactly these, OpenAPI and the typed client come from them,
 * and a test walks them.
 */
export const ROUTES = {
  ...serverRoutes,
  ...jobRoutes,
  ...documentRoutes,
  ...runRoutes,
  ...agentRoutes,
  ...joinTokenRoutes,
  ...tokenRoutes,
  ...secretRoutes,
  ...auditRoutes,
};

export type RouteName = keyof typeof ROUTES;
/** The parts of a route's types, for the server's handlers and the client. */
export type RouteParams<N extends RouteName> = (typeof ROUTES)[N] extends { params: infer S extends TSchema }
  ? Static<S>
  : Record<never, never>;
export type RouteQuery<N extends RouteName> = (typeof ROUTES)[N] extends { query: infer S extends TSchema }
  ? Static<S>
  : Record<never, never>;
export type RouteBody<N extends RouteName> = (typeof ROUTES)[N] extends { body: infer S extends TSchema }
  ? Static<S>
  : undefined;
export type RouteResponse<N extends RouteName> = (typeof ROUTES)[N] extends {
  response: infer S extends TSchema;
}
  ? Static<S>
  : undefined;

/** Kinds of event on `/api/v1/events`. */
export const EVENT_TYPES = ['run', 'job', 'agent', 'server', 'secret'] as const;
export type EventType = (typeof EVENT_TYPES)[number];
