import type { HttpAction, HttpResult } from '@rota/contract';
import type { Clock, Timer } from '../ports.ts';
import { type Ending, type Execution, type ExecutorPorts, NO_ENDING, type Prepare } from './execution.ts';
import { cut, readAnswer, sampleHeaders, textOf } from './httpAnswer.ts';
import type { Connections } from './httpConnection.ts';
import type { Cookies } from './httpCookies.ts';
import { contentFault, isExpected } from './httpExpect.ts';
import { failedBy, HttpFault } from './httpFault.ts';
import { createGuard } from './httpGuard.ts';
import { firstRequest, type HttpRequest, openBody, redirected, URL_LENGTH } from './httpRequest.ts';

const REDIRECTS = [301, 302, 303, 307, 308];

/** Makes a request. Its step's key goes along as `Idempotency-Key`, so that the other side can tell repeats. */
export const executeHttp: Prepare<HttpAction> = async (task, step, ports) => {
  const { openConnections } = await import('./httpConnection.ts');
  const first = firstRequest(task, step);
  const begin = (): Execution => {
    const abort = new AbortController();
    const watch = watchTimeouts(step, ports.clock, (fault) => abort.abort(fault));
    const { signal } = abort;
    const journey: Journey = { watch, signal, ports, connections: null, http: null, answer: null };
    async function run(): Promise<Ending> {
      const body = await openBody(step.body);
      journey.connections = await openConnections(step, first, {
        settings: ports.http.settings,
        guard: createGuard(ports.http.settings),
        lookup: ports.http.lookup,
        signal,
      });
      return follow({ ...first, body }, step, journey, journey.connections);
    }
    // A connection that is being made hears no signal.
    const aborted = new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    return {
      root: null,
      ended: Promise.race([run(), aborted])
        .catch((error): Ending => {
          const ending = failedBy(signal.aborted ? signal.reason : error, journey.http);
          return { ...ending, answer: journey.answer };
        })
        .finally(() => {
          watch.stop();
          journey.connections?.close(new Error('the step has ended'));
        }),
      end: () => abort.abort(new HttpFault('httpFailed', 'the request was ended')),
    };
  };
  return { begin, discard() {} };
};

/** The timeouts of a step, each of which says what took too long. */
interface Watch {
  connecting(host: string): void;
  /** The request goes out. */
  waiting(): void;
  /** The answer has begun. */
  reading(): void;
  stop(): void;
}

function watchTimeouts(step: HttpAction, clock: Clock, late: (fault: HttpFault) => void): Watch {
  let doing = 'nothing was sent yet';
  let timer: Timer | null = null;
  const whole = clock.after(step.timeoutMs, () =>
    late(new HttpFault('httpTimeout', `no whole answer within ${step.timeoutMs} ms; ${doing}`)),
  );
  function enter(next: string, ms: number | null, fault: () => HttpFault): void {
    timer?.cancel();
    doing = next;
    timer = ms === null ? null : clock.after(ms, () => late(fault()));
  }
  return {
    connecting(host) {
      const { connectTimeoutMs: ms } = step;
      enter(`${host} was being connected to`, ms, () => {
        return new HttpFault('httpConnectTimeout', `no connection to ${host} within ${ms} ms`);
      });
    },
    waiting() {
      const { firstByteTimeoutMs: ms } = step;
      enter('the answer had not begun', ms, () => {
        return new HttpFault('httpFirstByteTimeout', `no answer began within ${ms} ms`);
      });
    },
    reading() {
      timer?.cancel();
      doing = 'the answer had begun';
    },
    stop() {
      timer?.cancel();
      whole.cancel();
    },
  };
}

interface Journey {
  watch: Watch;
  signal: AbortSignal;
  ports: ExecutorPorts;
  connections: Connections | null;
  /** The newest answer. */
  http: HttpResult | null;
  /** Its body, once that was read. */
  answer: Ending['answer'];
}

/** Sends, goes where it is sent on to, and judges the last answer. @throws HttpFault and what the connection throws */
async function follow(
  first: HttpRequest,
  step: HttpAction,
  journey: Journey,
  connections: Connections,
): Promise<Ending> {
  const { output } = journey.ports;
  const { cookies } = journey.ports.http;
  let request = first;
  for (let redirects = 0; ; redirects++) {
    // Who ended it while a file or a certificate was opened wants nothing sent.
    journey.signal.throwIfAborted();
    const { protocol, host } = new URL(request.url);
    if (step.tls.insecure && protocol === 'https:')
      output('stderr', Buffer.from(`warning: the certificate of ${host} is not checked (tls.insecure)\n`));
    journey.watch.connecting(host);
    const answer = await connections.send(withCookies(request, cookies), journey.watch.waiting);
    journey.watch.reading();
    const status = answer.statusCode;
    journey.http = {
      status,
      url: cut(request.url, URL_LENGTH),
      redirects,
      headers: sampleHeaders(answer.headers),
    };
    const { location, 'set-cookie': setCookie } = answer.headers;
    if (setCookie !== undefined) await cookies.take(request.url, [setCookie].flat());
    const isAsExpected = isExpected(status, step.expectStatus);
    if (typeof location === 'string' && REDIRECTS.includes(status) && !isAsExpected) {
      await answer.body.dump();
      if (redirects >= step.redirects) {
        const next = cut(location, URL_LENGTH);
        throw new HttpFault(
          'httpRedirect',
          `more than ${step.redirects} redirects; the next would be ${next}`,
        );
      }
      request = redirected(request, status, location, step.redirectTo);
      continue;
    }
    const content = await readAnswer(answer.body, answer.headers, step.sampleBytes, output);
    journey.answer = { isWhole: content.isWhole, text: () => textOf(content, answer.headers) };
    if (!isAsExpected)
      throw new HttpFault('httpStatus', `status ${status}; expected ${step.expectStatus.join(', ')}`);
    const fault = await contentFault(step, content, answer.headers, journey.signal);
    if (fault !== null) throw new HttpFault('httpAnswer', fault);
    return { ...NO_ENDING, http: journey.http, answer: journey.answer };
  }
}

function withCookies(request: HttpRequest, cookies: Cookies): HttpRequest {
  const kept = cookies.header(request.url);
  if (kept === null) return request;
  const own = request.headers.cookie;
  return {
    ...request,
    headers: { ...request.headers, cookie: own === undefined ? kept : `${own}; ${kept}` },
  };
}
