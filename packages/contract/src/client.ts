import type { Problem } from './problem.ts';
import type { Route } from './routes/route.ts';
import {
  ROUTES,
  type RouteBody,
  type RouteName,
  type RouteParams,
  type RouteQuery,
  type RouteResponse,
} from './routes.ts';

/** The server answered with an error. */
export class ApiError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.name = 'ApiError';
    this.problem = problem;
  }
}

/** No usable answer came: wrong address, no server, not Rota. */
export class UnreachableError extends Error {
  readonly url: string;
  constructor(url: string, cause: unknown) {
    super(`no answer from ${url}: ${reasonOf(cause)}`, { cause });
    this.name = 'UnreachableError';
    this.url = url;
  }
}

export interface ClientOptions {
  url: string;
  token: string | null;
  fetch: typeof globalThis.fetch;
}

type Part<K extends string, T> = unknown extends T
  ? { [P in K]: unknown }
  : T extends undefined
    ? Record<never, never>
    : keyof T extends never
      ? Record<never, never>
      : { [P in K]: T };
export type CallInput<N extends RouteName> = Part<'params', RouteParams<N>> &
  Partial<Part<'query', RouteQuery<N>>> &
  Part<'body', RouteBody<N>> & { signal?: AbortSignal };

export interface ServerSentEvent {
  event: string;
  data: string;
  id: string | null;
}

export interface Client {
  /** Calls a route. @throws ApiError, UnreachableError */
  call<N extends RouteName>(name: N, input: CallInput<N>): Promise<RouteResponse<N>>;
  /** Reads a text/event-stream route until it ends. @throws ApiError, UnreachableError */
  stream<N extends RouteName>(name: N, input: CallInput<N>): AsyncGenerator<ServerSentEvent>;
}

/** A typed client over `ROUTES`. */
export function createClient(options: ClientOptions): Client {
  const base = options.url.replace(/\/+$/, '');

  async function request(name: RouteName, input: Record<string, unknown>): Promise<Response> {
    const route = ROUTES[name] as Route;
    const url =
      base +
      fillPath(route.path, (input.params ?? {}) as Record<string, string>) +
      queryText(input.query as object | undefined);
    const headers: Record<string, string> = { accept: route.produces ?? 'application/json' };
    if (options.token !== null) headers.authorization = `Bearer ${options.token}`;
    const init: RequestInit = { method: route.method, headers, redirect: 'error' };
    if (input.signal) init.signal = input.signal as AbortSignal;
    if (input.body !== undefined) {
      headers['content-type'] = 'application/json';
      init.body = JSON.stringify(input.body);
    }
    let response: Response;
    try {
      response = await options.fetch(url, init);
    } catch (error) {
      if ((input.signal as AbortSignal | undefined)?.aborted) throw error;
      throw new UnreachableError(base, error);
    }
    if (response.ok) return response;
    throw await problemOf(response, base);
  }

  return {
    async call(name, input) {
      const response = await request(name, input);
      const route = ROUTES[name] as Route;
      if (route.status === 204) {
        await response.body?.cancel();
        return undefined as never;
      }
      return (route.response ? await response.json() : await response.text()) as never;
    },
    async *stream(name, input) {
      const response = await request(name, input);
      if (response.body) yield* readEvents(response.body);
    },
  };
}

/** Splits a text/event-stream body into its events (WHATWG HTML, section 9.2). */
async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder();
  let buffer = '';
  let event: ServerSentEvent = { event: 'message', data: '', id: null };
  let lines: string[] = [];
  for await (const bytes of body) {
    buffer += decoder.decode(bytes, { stream: true });
    for (let end = buffer.indexOf('\n'); end !== -1; end = buffer.indexOf('\n')) {
      const line = buffer.slice(0, end).replace(/\r$/, '');
      buffer = buffer.slice(end + 1);
      if (line === '') {
        if (lines.length > 0) yield { ...event, data: lines.join('\n') };
        event = { event: 'message', data: '', id: null };
        lines = [];
        continue;
      }
      const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
      if (field === 'event') event.event = value;
      else if (field === 'data') lines.push(value);
      else if (field === 'id') event.id = value;
    }
  }
}

function fillPath(path: string, params: Record<string, string>): string {
  return path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ''));
}

function queryText(query: object | undefined): string {
  const entries = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
  return entries.length === 0
    ? ''
    : `?${new URLSearchParams(entries.map(([key, value]): [string, string] => [key, String(value)]))}`;
}

async function problemOf(response: Response, base: string): Promise<Error> {
  const text = await response.text();
  try {
    const problem = JSON.parse(text) as Problem;
    if (typeof problem.code === 'string') return new ApiError(problem);
  } catch {
    // not JSON: something else than Rota answered
  }
  return new UnreachableError(base, new Error(`HTTP ${response.status} from something that is not Rota`));
}

function reasonOf(cause: unknown): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  if (!(inner instanceof Error)) return String(inner);
  const code = (inner as { code?: string }).code;
  return code !== undefined && !inner.message.includes(code)
    ? `${code} ${inner.message}`.trim()
    : inner.message;
}
