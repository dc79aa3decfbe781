import type { HttpResult, HttpStep, ReasonCode } from '@rota/contract';
import type { Dispatcher } from 'undici';
import type { Task } from '../helperProtocol.ts';
import { VERSION } from '../version.ts';
import { type Ending, type Execution, type ExecutorPorts, NO_ENDING, type Prepare } from './execution.ts';

/** What is kept of an answer's body as output; as much again and more is read, so that a cut is noticed. */
const SAMPLE_BYTES = 64 * 1024;
const READ_BYTES = 1024 * 1024;
const HEADERS_MAX = 50;
const HEADER_LENGTH = 300;
const HEADERS_BYTES = 4 * 1024;
const URL_LENGTH = 1_500;
const REDIRECTS = [301, 302, 303, 307, 308];

/** Makes a request. The attempt's id goes along as `Idempotency-Key`, so that the other side can tell repeats. */
export const executeHttp: Prepare<HttpStep> = async (task, step, ports) => {
  const { Agent, request } = await import('undici');
  const first = firstRequest(task, step);
  const begin = (): Execution => {
    const abort = new AbortController();
    const dispatcher = new Agent({ headersTimeout: 0, bodyTimeout: 0, connect: { timeout: 0 } });
    const timer = ports.clock.after(step.timeoutMs, () =>
      abort.abort(new Fault('httpTimeout', `no whole answer within ${step.timeoutMs} ms`)),
    );
    const send: Send = ({ url, ...options }) =>
      request(url, { ...options, dispatcher, signal: abort.signal });
    return {
      root: null,
      ended: follow(first, step, send, ports.output)
        .catch((error): Ending => failure(abort.signal.aborted ? abort.signal.reason : error))
        .finally(() => {
          timer.cancel();
          void dispatcher.destroy();
        }),
      end: () => abort.abort(new Fault('httpFailed', 'the request was ended')),
    };
  };
  return { begin, discard() {} };
};

interface HttpRequest {
  method: HttpStep['method'];
  url: string;
  headers: Record<string, string>;
  body: string | null;
}

type Send = (request: HttpRequest) => Promise<Dispatcher.ResponseData>;

/** A cause that the reasons know. */
class Fault extends Error {
  readonly reason: ReasonCode;
  readonly http: HttpResult | null;
  constructor(reason: ReasonCode, message: string, http: HttpResult | null = null) {
    super(message);
    this.reason = reason;
    this.http = http;
  }
}

/** The request as the step says it; headers that the step sets win. @throws Error when the URL is none */
export function firstRequest(task: Pick<Task, 'attemptId'>, step: HttpStep): HttpRequest {
  if (!URL.canParse(step.url)) throw new Error(`the url ${step.url} is not a URL`);
  const url = new URL(step.url);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new Error(`the url ${step.url} must begin with http:// or https://`);
  for (const [name, value] of Object.entries(step.query)) url.searchParams.append(name, value);
  const headers: Record<string, string> = {
    'user-agent': `rota/${VERSION}`,
    'idempotency-key': task.attemptId,
  };
  if (url.username !== '' || url.password !== '') {
    const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    headers.authorization = `Basic ${Buffer.from(credentials).toString('base64')}`;
    url.username = '';
    url.password = '';
  }
  const { type, text } = bodyOf(step);
  if (type !== null) headers['content-type'] = type;
  for (const [name, value] of Object.entries(step.headers)) headers[name.toLowerCase()] = value;
  return { method: step.method, url: url.href, headers, body: text };
}

function bodyOf({ body }: HttpStep): { type: string | null; text: string | null } {
  switch (body.type) {
    case 'none':
      return { type: null, text: null };
    case 'json':
      return { type: 'application/json', text: JSON.stringify(body.json) };
    case 'form':
      return { type: 'application/x-www-form-urlencoded', text: new URLSearchParams(body.form).toString() };
    case 'raw':
      return { type: 'text/plain; charset=utf-8', text: body.text };
    default:
      return body satisfies never;
  }
}

/** Sends, goes where it is sent on to, and judges the last answer. @throws Fault and what the connection throws */
async function follow(
  first: HttpRequest,
  step: HttpStep,
  send: Send,
  output: ExecutorPorts['output'],
): Promise<Ending> {
  let request = first;
  for (let redirects = 0; ; redirects++) {
    const answer = await send(request);
    const http: HttpResult = {
      status: answer.statusCode,
      url: request.url.slice(0, URL_LENGTH),
      redirects,
      headers: sampleHeaders(answer.headers),
    };
    const location = REDIRECTS.includes(answer.statusCode) ? answer.headers.location : undefined;
    if (typeof location === 'string' && !isExpected(answer.statusCode, step.expectStatus)) {
      await answer.body.dump();
      if (redirects >= step.redirects)
        throw new Fault(
          'httpRedirect',
          `more than ${step.redirects} redirects; the next would be ${location.slice(0, URL_LENGTH)}`,
          http,
        );
      request = redirected(request, answer.statusCode, location, http);
      continue;
    }
    await readSample(answer.body, output);
    if (isExpected(answer.statusCode, step.expectStatus)) return { ...NO_ENDING, http };
    const error = `status ${answer.statusCode}; expected ${step.expectStatus.join(', ')}`;
    return { ...NO_ENDING, outcome: 'failed', reason: 'httpStatus', error, http };
  }
}

/** The request that a redirect asks for (RFC 9110, 15.4): 303, and 301 and 302 after a POST, become a GET. */
export function redirected(
  request: HttpRequest,
  status: number,
  location: string,
  http: HttpResult,
): HttpRequest {
  if (!URL.canParse(location, request.url))
    throw new Fault(
      'httpRedirect',
      `redirected to ${location.slice(0, URL_LENGTH)}, which is not a URL`,
      http,
    );
  const url = new URL(location, request.url);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new Fault('httpRedirect', `redirected to ${url.protocol}, which is not followed`, http);
  const becomesGet =
    (status === 303 && request.method !== 'HEAD') ||
    ((status === 301 || status === 302) && request.method === 'POST');
  const headers = { ...request.headers };
  if (becomesGet) delete headers['content-type'];
  // What was meant for one server is no business of another.
  if (url.origin !== new URL(request.url).origin) {
    delete headers.authorization;
    delete headers.cookie;
    delete headers.host;
  }
  return {
    method: becomesGet ? 'GET' : request.method,
    url: url.href,
    headers,
    body: becomesGet ? null : request.body,
  };
}

/** Whether a status is among `200`, `2xx` or `200-204`. */
export function isExpected(status: number, expected: string[]): boolean {
  return expected.some((text) => {
    if (text.endsWith('xx')) return Math.floor(status / 100) === Number(text[0]);
    const [from, to] = text.split('-').map(Number) as [number, number | undefined];
    return status >= from && status <= (to ?? from);
  });
}

async function readSample(
  body: Dispatcher.ResponseData['body'],
  output: ExecutorPorts['output'],
): Promise<void> {
  let bytes = 0;
  for await (const data of body as AsyncIterable<Buffer>) {
    if (bytes < SAMPLE_BYTES) output('stdout', data.subarray(0, SAMPLE_BYTES - bytes));
    bytes += data.length;
    if (bytes >= READ_BYTES) return;
  }
}

/** Bounded, and without cookies: they are keys. */
function sampleHeaders(headers: Dispatcher.ResponseData['headers']): Record<string, string> {
  const sample: Record<string, string> = {};
  let room = HEADERS_BYTES;
  for (const [name, value] of Object.entries(headers).slice(0, HEADERS_MAX)) {
    if (value === undefined || name === 'set-cookie') continue;
    const text = String(value).slice(0, HEADER_LENGTH);
    room -= Buffer.byteLength(name) + Buffer.byteLength(text);
    if (room < 0) break;
    sample[name] = text;
  }
  return sample;
}

const REFUSED = ['ECONNREFUSED'];
const DNS = ['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'EAI_NODATA'];
const TIMEOUT = ['ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'];
const RESET = [
  'ECONNRESET',
  'EPIPE',
  'ECONNABORTED',
  'UND_ERR_SOCKET',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
];
const TLS =
  /^(CERT_|ERR_TLS_|ERR_SSL_|EPROTO$|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/;

function failure(error: unknown): Ending {
  const fault = error instanceof Fault ? error : faultOf(error);
  return { ...NO_ENDING, outcome: 'failed', reason: fault.reason, error: fault.message, http: fault.http };
}

function faultOf(error: unknown): Fault {
  // Several addresses were tried: the last one's cause stands for all.
  const single = error instanceof AggregateError ? (error.errors.at(-1) as unknown) : error;
  const { code = '', message = String(single) } = (single ?? {}) as { code?: string; message?: string };
  return new Fault(
    reasonOf(code, message),
    code && !message.includes(code) ? `${message} (${code})` : message,
  );
}

/** The reason that a code of the connection stands for. */
export function reasonOf(code: string, message = ''): ReasonCode {
  if (DNS.includes(code)) return 'httpDns';
  if (REFUSED.includes(code)) return 'httpRefused';
  if (TIMEOUT.includes(code)) return 'httpTimeout';
  if (TLS.test(code) || /before secure TLS connection/.test(message)) return 'httpTls';
  return RESET.includes(code) ? 'httpReset' : 'httpFailed';
}
