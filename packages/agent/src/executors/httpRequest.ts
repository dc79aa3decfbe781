import { openAsBlob } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { HttpAction } from '@rota/contract';
import type { FormData } from 'undici';
import { VERSION } from '../version.ts';
import type { StepTask } from './execution.ts';
import { cut } from './httpAnswer.ts';
import { HttpFault } from './httpFault.ts';
import { basic } from './httpProxy.ts';

export const URL_LENGTH = 1_500;
const ENCODINGS = 'gzip, deflate, br, zstd';
/** Headers that speak of a body, and of who asks. */
const ABOUT_BODY = ['content-type', 'content-encoding', 'content-language', 'content-location'];
const ABOUT_SENDER = ['authorization', 'cookie', 'host'];

export interface HttpRequest {
  method: HttpAction['method'];
  url: string;
  /** Names in lower case. */
  headers: Record<string, string>;
  /** It can be sent more than once. */
  body: string | Blob | FormData | null;
}

/** The request as the step says it, without its body; headers that the step sets win. @throws Error when the URL is none */
export function firstRequest(task: KeyParts, step: HttpAction): HttpRequest {
  if (!URL.canParse(step.url)) throw new Error(`the url ${step.url} is not a URL`);
  const url = new URL(step.url);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new Error(`the url ${step.url} must begin with http:// or https://`);
  for (const [name, value] of Object.entries(step.query))
    for (const each of [value].flat()) url.searchParams.append(name, each);
  const headers: Record<string, string> = { 'user-agent': `rota/${VERSION}` };
  if (step.idempotencyKey !== false)
    headers['idempotency-key'] = step.idempotencyKey === true ? keyOf(task) : step.idempotencyKey;
  if (step.compression) headers['accept-encoding'] = ENCODINGS;
  const type = contentType(step.body);
  if (type !== null) headers['content-type'] = type;
  if (url.username !== '' || url.password !== '') {
    headers.authorization = basic(decodeURIComponent(url.username), decodeURIComponent(url.password));
    url.username = '';
    url.password = '';
  }
  if (step.auth !== null)
    headers.authorization =
      'bearer' in step.auth ? `Bearer ${step.auth.bearer}` : basic(step.auth.username, step.auth.password);
  for (const [name, value] of Object.entries(step.headers)) headers[name.toLowerCase()] = value;
  // Its boundary is part of the type.
  if (step.body.type === 'multipart') delete headers['content-type'];
  return { method: step.method, url: url.href, headers, body: null };
}

type KeyParts = Pick<StepTask, 'attemptId' | 'steps' | 'step'>;

/** The same for all tries of a step, and another for each step. */
function keyOf({ attemptId, steps, step }: KeyParts): string {
  return steps.length === 1 ? attemptId : `${attemptId}/${step}`;
}

function contentType(body: HttpAction['body']): string | null {
  switch (body.type) {
    case 'json':
      return 'application/json';
    case 'form':
      return 'application/x-www-form-urlencoded';
    case 'raw':
      return 'text/plain; charset=utf-8';
    case 'file':
      return 'application/octet-stream';
    case 'none':
    case 'multipart':
      return null;
    default:
      return body satisfies never;
  }
}

/** The body to send; files are opened, and read while they are sent. @throws HttpFault when a file cannot be read */
export async function openBody(body: HttpAction['body']): Promise<HttpRequest['body']> {
  switch (body.type) {
    case 'none':
      return null;
    case 'json':
      return JSON.stringify(body.json);
    case 'form': {
      const pairs = Object.entries(body.form).flatMap(([name, value]) =>
        [value].flat().map((each): [string, string] => [name, each]),
      );
      return new URLSearchParams(pairs).toString();
    }
    case 'raw':
      return body.text;
    case 'file':
      return openFile(body.path);
    case 'multipart': {
      const { FormData } = await import('undici');
      const form = new FormData();
      for (const part of body.parts) {
        if ('value' in part) form.append(part.name, part.value);
        else
          form.append(part.name, await openFile(part.file, part.type), part.filename ?? basename(part.file));
      }
      return form;
    }
    default:
      return body satisfies never;
  }
}

/** A file that changes while it is sent fails the request. */
async function openFile(path: string, type: string | null = null): Promise<Blob> {
  try {
    // What is no file, such as a pipe, may never end.
    if (!(await stat(path)).isFile()) throw new Error('it is no regular file');
    return (await openAsBlob(path, type === null ? {} : { type })) as Blob;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new HttpFault('httpFailed', `the file ${path} cannot be sent: ${code ?? message}`);
  }
}

/** The request that a redirect asks for (RFC 9110, 15.4): 303, and 301 and 302 after a POST, become a GET. */
export function redirected(
  request: HttpRequest,
  status: number,
  location: string,
  redirectTo: HttpAction['redirectTo'],
): HttpRequest {
  const place = asUtf8(location);
  const shown = cut(place, URL_LENGTH);
  const fault = (message: string) => new HttpFault('httpRedirect', message);
  if (!URL.canParse(place, request.url)) throw fault(`redirected to ${shown}, which is not a URL`);
  const url = new URL(place, request.url);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw fault(`redirected to ${url.protocol}, which is not followed`);
  const isSameOrigin = url.origin === new URL(request.url).origin;
  if (redirectTo === 'sameOrigin' && !isSameOrigin)
    throw fault(`redirected to ${url.origin}, which is another origin (redirectTo: sameOrigin)`);
  // Credentials are the job's to say, not the service's.
  url.username = '';
  url.password = '';
  const becomesGet =
    (status === 303 && request.method !== 'HEAD') ||
    ((status === 301 || status === 302) && request.method === 'POST');
  const headers = { ...request.headers };
  if (becomesGet) for (const name of ABOUT_BODY) delete headers[name];
  // What was meant for one server is no business of another.
  if (!isSameOrigin) for (const name of ABOUT_SENDER) delete headers[name];
  return {
    method: becomesGet ? 'GET' : request.method,
    url: url.href,
    headers,
    body: becomesGet ? null : request.body,
  };
}

/** Headers come as Latin-1, but some servers put UTF-8 into them. */
function asUtf8(header: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(header, 'latin1'));
  } catch {
    return header;
  }
}
