import { parseDuration } from '@rota/schedule';
import type { Fault } from './faults.ts';
import { shown } from './faults.ts';
import type { HttpAction, HttpField, JsonExpectation, MultipartPart } from './http.ts';
import { JsonPathError, parseJsonPath } from './jsonPath.ts';
import { patternFault } from './pattern.ts';

/** What holds for a request whose job does not say otherwise. */
export const HTTP_DEFAULTS = {
  timeoutMs: 30_000,
  connectTimeoutMs: 10_000,
  redirects: 5,
  sampleBytes: 64 * 1024,
  expectStatus: ['2xx'],
} as const;

const BODIES = ['json', 'form', 'multipart', 'body', 'file'] as const;

/** Headers that say how a message travels: the connection sets them. */
const CONNECTION_HEADERS = [
  'connection',
  'content-length',
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

/** The step with every default settled, `timeoutMs` from what stands around it. The field must have been read before. */
export function defineHttp(http: HttpField, timeoutMs: number = HTTP_DEFAULTS.timeoutMs): HttpAction {
  const { expect, tls, proxy } = http;
  const hasBody = BODIES.some((body) => http[body] !== undefined);
  return {
    kind: 'http',
    method: http.method ?? (hasBody ? 'POST' : 'GET'),
    url: http.url,
    headers: http.headers ?? {},
    query: asText(http.query ?? {}),
    body: defineBody(http),
    auth: http.auth?.basic ?? (http.auth?.bearer === undefined ? null : { bearer: http.auth.bearer }),
    idempotencyKey: http.idempotencyKey ?? true,
    timeoutMs: ms(http.timeout) ?? timeoutMs,
    connectTimeoutMs: ms(http.connectTimeout) ?? HTTP_DEFAULTS.connectTimeoutMs,
    firstByteTimeoutMs: ms(http.firstByteTimeout),
    redirects: http.redirects ?? HTTP_DEFAULTS.redirects,
    redirectTo: http.redirectTo ?? 'any',
    tls: {
      ca: tls?.ca ?? null,
      cert: tls?.cert ?? null,
      key: tls?.key ?? null,
      passphrase: tls?.passphrase ?? null,
      insecure: tls?.insecure ?? false,
    },
    proxy:
      proxy === undefined || proxy === true
        ? null
        : proxy === false
          ? false
          : typeof proxy === 'string'
            ? { url: proxy, username: null, password: null }
            : { url: proxy.url, username: proxy.username ?? null, password: proxy.password ?? null },
    compression: http.compression ?? true,
    sampleBytes: http.sampleBytes ?? HTTP_DEFAULTS.sampleBytes,
    expectStatus: list(expect?.status ?? HTTP_DEFAULTS.expectStatus).map(String),
    expectMatch: list(expect?.match ?? []),
    expectNoMatch: list(expect?.noMatch ?? []),
    expectJson: Object.entries(expect?.json ?? {}).map(
      ([path, condition]): JsonExpectation =>
        condition !== null && typeof condition === 'object'
          ? { path, ...condition }
          : { path, equals: condition },
    ),
  };
}

function defineBody(http: HttpField): HttpAction['body'] {
  if (http.json !== undefined) return { type: 'json', json: http.json };
  if (http.form) return { type: 'form', form: asText(http.form) };
  if (http.multipart) {
    const parts = Object.entries(http.multipart).flatMap(([name, value]) =>
      list(value).map(
        (part): MultipartPart =>
          typeof part === 'object'
            ? { name, file: part.file, filename: part.filename ?? null, type: part.type ?? null }
            : { name, value: String(part) },
      ),
    );
    return { type: 'multipart', parts };
  }
  if (http.body !== undefined) return { type: 'raw', text: http.body };
  return http.file === undefined ? { type: 'none' } : { type: 'file', path: http.file };
}

/** Tells a fault; the path is inside `http`. */
export type AddHttpFault = (path: string, code: Fault['code'], message: string) => void;

/**
 * Faults that the schema cannot say. `sound` says whether what stands at a path has the shape of the schema;
 * only such a field is looked at.
 */
export function httpFaults(
  http: Record<string, unknown>,
  sound: (path: string) => boolean,
  add: AddHttpFault,
): void {
  const own = (path: keyof HttpField) => (sound(path) ? http[path] : undefined) as never;
  const bodies = BODIES.filter((field) => http[field] !== undefined);
  if (bodies.length > 1)
    add(bodies[1] as string, 'value', `a request has one body, but ${bodies.join(' and ')} are set`);
  checkAddress(own('url'), 'url', 'use `auth`, or the `Authorization` header', add);
  checkHeaders(http, own('headers'), add);
  checkAuth(own('auth'), add);
  checkTls(own('tls'), add);
  checkProxy(own('proxy'), add);
  checkExpect(own('expect'), add);
  if (http.redirects === 0 && http.redirectTo !== undefined)
    add('redirectTo', 'value', 'says nothing when `redirects` is 0');
}

function checkAddress(url: string | undefined, path: string, remedy: string, add: AddHttpFault): void {
  if (url === undefined) return;
  const parsed = URL.parse(plainAddress(url));
  if (parsed === null) add(path, 'value', `${shown(url)} is not a URL`);
  else if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:')
    add(path, 'value', `${shown(url)}: only http:// and https:// are allowed`);
  else if (parsed.username !== '' || parsed.password !== '')
    add(path, 'value', `a user name or password in the URL is not allowed; ${remedy}`);
}

/** The address with something simple in place of its templates, as far as they leave it open what it is. */
function plainAddress(url: string): string {
  if (!url.includes('{{')) return url;
  const plain = url.replace(TEMPLATE, '1');
  if (!url.startsWith('{{')) return plain;
  return plain.startsWith('1://') ? `http${plain.slice(1)}` : `http://${plain}`;
}

/** Roughly: what is no template is told elsewhere. */
const TEMPLATE = /\{\{.*?\}\}/g;

function checkHeaders(http: Record<string, unknown>, headers: HttpField['headers'], add: AddHttpFault): void {
  const seen = new Map<string, string>();
  for (const name of Object.keys(headers ?? {})) {
    const lower = name.toLowerCase();
    const path = `headers.${name}`;
    const before = seen.get(lower);
    seen.set(lower, name);
    if (before !== undefined) add(path, 'duplicate', `is the same header as ${before}`);
    else if (CONNECTION_HEADERS.includes(lower)) add(path, 'value', 'is set by the connection itself');
    else if (lower === 'proxy-authorization')
      add(path, 'value', 'is not for the service; use `proxy.username` and `proxy.password`');
    else if (lower === 'authorization' && http.auth !== undefined)
      add(path, 'value', 'is what `auth` sets; use one of them');
    else if (lower === 'idempotency-key' && http.idempotencyKey !== undefined)
      add(path, 'value', 'is what `idempotencyKey` sets; use one of them');
  }
}

function checkAuth(auth: HttpField['auth'], add: AddHttpFault): void {
  if (!auth) return;
  const kinds = Object.keys(auth);
  if (kinds.length !== 1)
    add('auth', kinds.length === 0 ? 'missing' : 'value', 'has exactly one of `basic` and `bearer`');
  else if (auth.basic?.username.replace(TEMPLATE, '').includes(':'))
    add('auth.basic.username', 'value', 'must not contain ":", which ends the name');
}

function checkTls(tls: HttpField['tls'], add: AddHttpFault): void {
  if (!tls) return;
  if (tls.cert !== undefined && tls.key === undefined)
    add('tls.key', 'missing', 'a client certificate needs its key');
  if (tls.key !== undefined && tls.cert === undefined)
    add('tls.cert', 'missing', 'a key needs its client certificate');
  if (tls.passphrase !== undefined && tls.key === undefined)
    add('tls.passphrase', 'value', 'is that of `key`, which is not set');
  if (tls.insecure && tls.ca !== undefined)
    add('tls.insecure', 'value', 'makes `ca` say nothing; use one of them');
}

function checkProxy(proxy: HttpField['proxy'], add: AddHttpFault): void {
  if (proxy === undefined || proxy === false) return;
  const remedy = 'use `proxy.username` and `proxy.password`';
  if (proxy === true)
    add('proxy', 'value', 'true is not allowed; give the URL of a proxy, or false for none');
  else if (typeof proxy === 'string') checkAddress(proxy, 'proxy', remedy, add);
  else {
    checkAddress(proxy.url, 'proxy.url', remedy, add);
    if (proxy.password !== undefined && proxy.username === undefined)
      add('proxy.username', 'missing', 'a password needs its user name');
  }
}

function checkExpect(expect: HttpField['expect'], add: AddHttpFault): void {
  if (!expect) return;
  for (const status of list(expect.status ?? [])) {
    const [from, to] = String(status).split('-');
    if (to !== undefined && Number(from) > Number(to))
      add('expect.status', 'value', `${shown(status)} ends before it begins`);
  }
  for (const field of ['match', 'noMatch'] as const) {
    for (const pattern of list(expect[field] ?? [])) checkPattern(pattern, `expect.${field}`, add);
  }
  for (const [path, condition] of Object.entries(expect.json ?? {})) checkJson(path, condition, add);
}

function checkPattern(pattern: string, path: string, add: AddHttpFault): void {
  const fault = patternFault(pattern);
  if (fault !== null) add(path, 'value', `${shown(pattern)}: ${fault}`);
}

type JsonCondition = NonNullable<NonNullable<HttpField['expect']>['json']>[string];

function checkJson(path: string, condition: JsonCondition, add: AddHttpFault): void {
  const at = 'expect.json';
  try {
    parseJsonPath(path);
  } catch (error) {
    if (!(error instanceof JsonPathError)) throw error;
    add(at, 'value', `${shown(path)}: ${error.message}`);
  }
  if (condition === null || typeof condition !== 'object') return;
  const { match, min, max, exists } = condition;
  const fields = Object.keys(condition);
  if (fields.length === 0)
    add(at, 'missing', `${shown(path)}: needs one of equals, match, min, max and exists`);
  if (exists === false && fields.length > 1)
    add(at, 'value', `${shown(path)}: what must not exist has no other condition`);
  if (min !== undefined && max !== undefined && min > max)
    add(at, 'value', `${shown(path)}: min ${min} is more than max ${max}`);
  if (match !== undefined) checkPattern(match, at, add);
}

type Scalar = string | number | boolean;

function asText(fields: Record<string, Scalar | Scalar[]>): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      Array.isArray(value) ? value.map(String) : String(value),
    ]),
  );
}

function list<T>(value: T | readonly T[]): T[] {
  return (Array.isArray(value) ? value : [value]) as T[];
}

function ms(text: string | undefined): number | null {
  return text === undefined ? null : parseDuration(text);
}
