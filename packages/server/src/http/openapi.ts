import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import { ERRORS, type ErrorCode, Problem, type Route, type RouteName } from '@rota/contract';
import type { FastifyInstance, FastifySchema } from 'fastify';
import type { Handlers } from './call.ts';

/** The API's description; its paths come from the routes that are registered. */
export function documentOf(version: string): FastifyDynamicSwaggerOptions {
  return {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Rota', version, description: 'Runs your jobs on time, on every machine you own.' },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    },
  };
}

/** Errors that any route may answer with. */
const COMMON: ErrorCode[] = ['request.invalid', 'server.busy', 'server.outcomeUnknown', 'server.internal'];
const AUTHENTICATED: ErrorCode[] = ['auth.missing', 'auth.invalid', 'auth.forbidden', 'request.tooMany'];

/** A route as Fastify checks it and OpenAPI shows it. */
export function schemaOf(name: RouteName, route: Route): FastifySchema & Record<string, unknown> {
  const { params, query, body, response, permission } = route;
  return {
    operationId: name,
    summary: route.summary,
    description:
      permission === 'open'
        ? 'Needs no token.'
        : `Needs a token with the role ${permission} or a higher one.`,
    tags: [tagOf(route.path)],
    ...(params ? { params } : {}),
    ...(query ? { querystring: query } : {}),
    ...(body ? { body } : {}),
    ...(permission === 'open' ? {} : { security: [{ token: [] }] }),
    response: { [route.status]: successOf(route, response), ...errorsOf(route) },
  };
}

function successOf(route: Route, response: Route['response']): unknown {
  if (response !== undefined) return { description: 'Success.', ...response };
  if (route.produces === undefined) return { description: 'Done.', type: 'null' };
  return { description: 'Success.', content: { [route.produces]: { schema: { type: 'string' } } } };
}

function errorsOf(route: Route): Record<number, unknown> {
  const codes = [...route.errors, ...COMMON, ...(route.permission === 'open' ? [] : AUTHENTICATED)];
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of new Set(codes)) {
    const { status } = ERRORS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, each]) => [
      status,
      { description: each.join(', '), content: { 'application/problem+json': { schema: Problem } } },
    ]),
  );
}

function tagOf(path: string): string {
  return /^\/api\/v1\/([a-z-]+)/.exec(path)?.[1] ?? 'server';
}

/** Serves the description of the API that `app` turns out to be. */
export function openapiHandlers(app: () => FastifyInstance): Pick<Handlers, 'openapi'> {
  return { openapi: async () => JSON.stringify(app().swagger()) };
}
