import swagger from '@fastify/swagger';
import { faultsOf, LIMITS, ROUTES, type Route, type RouteName } from '@rota/contract';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  LogController,
} from 'fastify';
import type { Logger } from 'pino';
import type { TSchema } from 'typebox';
import type { Authenticator, Principal } from '../auth/authenticate.ts';
import type { Metrics } from '../metrics.ts';
import { newId, type Random } from '../random.ts';
import type { Call, Handler, Handlers } from './call.ts';
import { faulty, problemOf, Refusal, refusalOf } from './errors.ts';
import { documentOf, schemaOf } from './openapi.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route of the contract that this is. */
    routeName?: RouteName;
  }
  interface FastifyRequest {
    principal: Principal | null;
  }
}

export interface AppPorts {
  authenticator: Authenticator;
  handlers: Handlers;
  random: Random;
  log: Logger;
  metrics: Metrics;
  tls: { cert: string; key: string } | null;
  version: string;
}

/** How long a client may take to send a whole request. */
const REQUEST_MS = 30_000;

/**
 * The HTTP server: exactly the routes of the contract. Each is authenticated before its body is read, checked against
 * its schemas, and answered as JSON; every error is a problem (RFC 9457).
 */
export async function createApp(ports: AppPorts): Promise<FastifyInstance> {
  const { random, log, metrics } = ports;
  const app: FastifyInstance = Fastify({
    ...(ports.tls ? { https: { ...ports.tls, minVersion: 'TLSv1.2' } as never } : {}),
    loggerInstance: log.child({}, { level: 'warn' }) as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => newId(random),
    requestIdHeader: false,
    bodyLimit: LIMITS.bodyBytes,
    requestTimeout: REQUEST_MS,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 200 },
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => {
      secure(reply.raw, ports.tls !== null);
      answerError(error, request, reply);
    },
    clientErrorHandler: (_error, socket) => {
      if (socket.writable)
        socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
    },
  });
  app.removeContentTypeParser('text/plain');
  app.decorateRequest('principal', null);
  app.setValidatorCompiler(({ schema, httpPart }) => (value: unknown) => {
    const checked = readPart(httpPart ?? 'body', schema as TSchema, value);
    const faults = faultsOf(schema as TSchema, checked);
    return faults.length === 0 ? { value: checked } : { error: faulty('request.invalid', faults) };
  });
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  await app.register(swagger, documentOf(ports.version));

  app.addHook('onRequest', async (request, reply) => {
    secure(reply.raw, ports.tls !== null);
    reply.header('x-request-id', request.id);
    const name = request.routeOptions.config.routeName;
    if (name === undefined) return;
    const { permission } = ROUTES[name] as Route;
    if (permission === 'open') return;
    const found = await ports.authenticator.authenticate({
      header: request.headers.authorization,
      address: request.ip,
      needed: permission,
    });
    if ('principal' in found) {
      request.principal = found.principal;
      return;
    }
    const headers: Record<string, string> = {};
    if (found.refused !== 'auth.forbidden') headers['www-authenticate'] = 'Bearer realm="rota"';
    if (found.retryAfterS !== undefined) headers['retry-after'] = String(found.retryAfterS);
    throw new Refusal(found.refused, found.detail, { headers });
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.config.routeName ?? 'unmatched';
    const durationMs = Math.round(reply.elapsedTime * 1_000) / 1_000;
    metrics.requestEnded(route, reply.statusCode, durationMs);
    const level = request.method === 'GET' || request.method === 'HEAD' ? 'debug' : 'info';
    const by = request.principal?.name;
    log[level](
      { request: request.id, route, status: reply.statusCode, durationMs, by, from: request.ip },
      'request',
    );
  });
  app.setErrorHandler((error, request, reply) => answerError(error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const allowed = methodsOf(path);
    if (allowed.length === 0)
      throw new Refusal('route.notFound', 'See /api/v1/openapi.json for the routes that there are.');
    reply.header('allow', allowed.join(', '));
    throw new Refusal('route.methodNotAllowed', `This route takes ${allowed.join(', ')}.`);
  });

  for (const [name, route] of Object.entries(ROUTES) as [RouteName, Route][]) {
    const handler = ports.handlers[name] as Handler<RouteName>;
    app.route({
      method: route.method,
      url: route.path,
      exposeHeadRoute: route.method === 'GET' && route.produces !== 'text/event-stream',
      config: { routeName: name },
      schema: schemaOf(name, route),
      handler: async (request, reply) => {
        const answer = await handler(callOf(request, reply));
        if (reply.sent || route.produces === 'text/event-stream') return reply;
        reply.code(route.status);
        if (route.produces !== undefined && !reply.hasHeader('content-type'))
          reply.type(contentType(route.produces));
        return reply.send(answer);
      },
    });
  }
  return app;

  function answerError(error: unknown, request: FastifyRequest, reply: import('fastify').FastifyReply): void {
    const refusal = refusalOf(error);
    if (refusal === null) log.error({ err: error, request: request.id }, 'a request failed');
    const told =
      refusal ?? new Refusal('server.internal', `See the server's log for the request ${request.id}.`);
    const problem = problemOf(told, request.id);
    reply.code(problem.status).headers(told.headers).type('application/problem+json');
    void reply.serializer((value) => JSON.stringify(value)).send(problem);
  }
}

function callOf(request: FastifyRequest, reply: Call<RouteName>['reply']): Call<RouteName> {
  const { params, query, body, principal } = request;
  return { params, query, body, principal, request, reply } as Call<RouteName>;
}

function contentType(produces: NonNullable<Route['produces']>): string {
  return produces === 'application/json' ? produces : `${produces}; charset=utf-8`;
}

/** What every answer carries: nothing is stored, framed, sniffed, or loaded from elsewhere. */
function secure(raw: import('node:http').ServerResponse, tls: boolean): void {
  const headers: Record<string, string> = {
    'cache-control': 'no-store',
    'content-security-policy':
      "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
  };
  if (tls) headers['strict-transport-security'] = 'max-age=31536000';
  for (const [name, value] of Object.entries(headers)) raw.setHeader(name, value);
}

/** A part of a request as its schema means it: texts of a query as numbers and booleans, no body as an empty one. */
function readPart(part: string, schema: TSchema, value: unknown): unknown {
  const { type, properties } = schema as { type?: string; properties?: Record<string, { type?: string }> };
  if (part === 'body') {
    if (isDeeper(value, BODY_DEPTH))
      throw faulty('request.invalid', [
        { path: '', code: 'tooLarge', message: `the body is nested more than ${BODY_DEPTH} levels deep` },
      ]);
    return value ?? (type === 'object' ? {} : value);
  }
  if (part !== 'querystring') return value;
  return Object.fromEntries(
    Object.entries(value as Record<string, unknown>).map(([key, text]) => {
      const wanted = properties && Object.hasOwn(properties, key) ? properties[key]?.type : undefined;
      if (wanted === 'integer' && typeof text === 'string' && /^-?\d{1,15}$/.test(text))
        return [key, Number(text)];
      if (wanted === 'boolean' && (text === 'true' || text === 'false')) return [key, text === 'true'];
      return [key, text];
    }),
  );
}

/** Levels that a body may be nested: whatever walks through one later may do so by recursion. */
const BODY_DEPTH = 60;

function isDeeper(value: unknown, depth: number): boolean {
  let level = [value];
  for (let at = 0; at <= depth; at += 1) {
    level = level.flatMap((each) => (each !== null && typeof each === 'object' ? Object.values(each) : []));
    if (level.length === 0) return false;
  }
  return true;
}

const PATHS = Object.values(ROUTES as Record<string, Route>).map(({ method, path }) => ({
  method,
  pattern: new RegExp(`^${path.replaceAll('.', '\\.').replace(/:\w+/g, '[^/]+')}$`),
}));

/** Methods that a path's route takes; none when there is no such route. */
function methodsOf(path: string): string[] {
  return [...new Set(PATHS.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method))];
}
