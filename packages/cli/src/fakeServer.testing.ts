import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import {
  ERRORS,
  type ErrorCode,
  type JobView,
  ROUTES,
  type Route,
  type RouteName,
  type RunView,
} from '@rota/contract';

export interface Call {
  route: RouteName;
  params: Record<string, string>;
  query: Record<string, string>;
  body: unknown;
  token: string | null;
}

/** An answer: JSON, a problem, or events one by one. `cut` ends a stream without an end event. */
export type Answer =
  | { json: unknown }
  | { problem: ErrorCode; detail?: string; faults?: { path: string; code: string; message: string }[] }
  | { events: { event: string; data: unknown; id?: string }[]; cut?: boolean };

export type Handlers = Partial<Record<RouteName, (call: Call) => Answer | Promise<Answer>>>;

export interface FakeServer {
  url: string;
  /** Every request that came, in order. */
  calls: Call[];
  /** The body of the last call of a route. */
  body<T = Record<string, unknown>>(route: RouteName): T;
  /** What a command needs to find this server. */
  env: Record<string, string>;
}

/** A real HTTP server that plays the routes it is given handlers for. */
export async function fakeServer(t: TestContext, handlers: Handlers): Promise<FakeServer> {
  const calls: Call[] = [];
  const server = createServer((request, response) => {
    handle(request, response, handlers, calls).catch((error) => response.destroy(error));
  });
  // On a machine that stands still for seconds a connection would be closed just as it is used again.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const body = <T>(route: RouteName) => calls.findLast((call) => call.route === route)?.body as T;
  return { url, calls, body, env: { ROTA_URL: url, ROTA_TOKEN: 'secret' } };
}

async function handle(request: IncomingMessage, response: ServerResponse, handlers: Handlers, calls: Call[]) {
  const call = await callOf(request);
  const handler = call && handlers[call.route];
  if (call) calls.push(call);
  const answer: Answer = call && handler ? await handler(call) : { problem: 'route.notFound' };
  if ('json' in answer) {
    const { status } = ROUTES[(call as Call).route];
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(status === 204 ? undefined : JSON.stringify(answer.json));
    return;
  }
  if ('events' in answer) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const { event, data, id } of answer.events) {
      response.write(
        `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`,
      );
    }
    if (answer.cut) setImmediate(() => response.destroy());
    else response.end();
    return;
  }
  const { status, title } = ERRORS[answer.problem];
  response.writeHead(status, { 'content-type': 'application/problem+json' });
  const { problem: code, detail = title, faults } = answer;
  response.end(JSON.stringify({ type: `urn:rota:error:${code}`, title, status, code, detail, faults }));
}

async function callOf(request: IncomingMessage): Promise<Call | null> {
  const url = new URL(request.url ?? '/', 'http://rota');
  let text = '';
  for await (const chunk of request) text += chunk;
  for (const [route, { method, path }] of Object.entries(ROUTES) as [RouteName, Route][]) {
    const pattern = new RegExp(`^${path.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`);
    const match = method === request.method ? pattern.exec(url.pathname) : null;
    if (match === null) continue;
    return {
      route,
      params: Object.fromEntries(
        Object.entries(match.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value ?? '')]),
      ),
      query: Object.fromEntries(url.searchParams),
      body: text === '' ? undefined : JSON.parse(text),
      token: request.headers.authorization?.replace(/^Bearer /, '') ?? null,
    };
  }
  return null;
}

/** A run that succeeded on `web-1`, unless told otherwise. */
export function runView(fields: Partial<RunView> = {}): RunView {
  return {
    id: 'r1abcdef',
    job: 'hello',
    revision: 1,
    kind: 'scheduled',
    title: 'hello',
    state: 'succeeded',
    reason: null,
    detail: null,
    agent: 'web-1',
    attempt: 1,
    retryAt: null,
    retriesLeft: null,
    params: {},
    scheduledFor: '2026-03-01T11:58:00.000Z',
    dueAt: '2026-03-01T11:58:00.000Z',
    queuedAt: '2026-03-01T11:58:00.001Z',
    offeredAt: '2026-03-01T11:58:00.002Z',
    startingAt: '2026-03-01T11:58:00.003Z',
    startedAt: '2026-03-01T11:58:00.010Z',
    endedAt: '2026-03-01T11:58:03.010Z',
    durationMs: 3_000,
    cancelRequestedAt: null,
    contactLostAt: null,
    exitCode: 0,
    signal: null,
    lateness: { planMs: 1, queueMs: 1, dispatchMs: 1, execMs: 7, totalMs: 10 },
    createdBy: null,
    ...fields,
  };
}

/** A job that echoes each minute, unless told otherwise. */
export function jobView(fields: Partial<JobView> = {}): JobView {
  return {
    id: 'j1',
    name: 'hello',
    title: 'hello',
    revision: 3,
    enabled: true,
    paused: null,
    document: { name: 'hello', schedule: 'every 1m', command: 'echo hi' },
    schedules: [{ text: 'every 1m', description: 'Every 1m', timezone: 'Europe/Berlin' }],
    next: ['2026-03-01T12:01:00.000Z'],
    lastRun: {
      id: 'r1abcdef',
      state: 'succeeded',
      scheduledFor: '2026-03-01T11:58:00.000Z',
      endedAt: '2026-03-01T11:58:03.010Z',
    },
    createdAt: '2026-02-01T00:00:00.000Z',
    updatedAt: '2026-02-01T00:00:00.000Z',
    ...fields,
  };
}

/** A piece of output as `runOutput` and `followRun` give it. */
export function chunk(
  seq: number,
  text: string,
  fields: { stream?: 'stdout' | 'stderr'; attempt?: number } = {},
) {
  const data = Buffer.from(text).toString('base64');
  return { attempt: 1, seq, stream: 'stdout' as const, atMs: seq, droppedBytes: 0, data, ...fields };
}
