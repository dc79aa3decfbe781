import { readFile } from 'node:fs/promises';
import { isIP, type LookupFunction } from 'node:net';
import { type ConnectionOptions, getCACertificates } from 'node:tls';
import type { HttpAction } from '@rota/contract';
import { Agent, type buildConnector, type Dispatcher, ProxyAgent, request } from 'undici';
import type { HttpSettings } from '../helperProtocol.ts';
import { HttpFault } from './httpFault.ts';
import type { Guard } from './httpGuard.ts';
import { type ProxyServer, proxyFor } from './httpProxy.ts';
import type { HttpRequest } from './httpRequest.ts';

/** The connections of one step: which way each request goes, and that none goes where the guard forbids it. */
export interface Connections {
  /** Sends it; `connected` is told once a connection stands and the request goes out. */
  send(request: HttpRequest, connected: () => void): Promise<Dispatcher.ResponseData>;
  close(cause: Error): void;
}

export interface ConnectionPorts {
  settings: HttpSettings;
  guard: Guard;
  lookup: LookupFunction;
  signal: AbortSignal;
}

/** No timer of the connection's own: the step has its timeouts. */
const UNTIMED = { headersTimeout: 0, bodyTimeout: 0 } as const;

/** @throws HttpFault when a certificate cannot be read */
export async function openConnections(
  step: HttpAction,
  first: HttpRequest,
  ports: ConnectionPorts,
): Promise<Connections> {
  const trust = await trustOf(step.tls);
  const client = await clientOf(step.tls);
  const guarded = guardedLookup(ports.guard, ports.lookup);
  const firstOrigin = new URL(first.url).origin;
  const dispatchers = new Map<string, Dispatcher>();

  /** The client certificate is shown to none but the server that the job names. */
  function dispatcherFor(url: URL, proxy: ProxyServer | null): Dispatcher {
    const isFirst = url.origin === firstOrigin;
    const key = `${isFirst} ${proxy?.url ?? ''}`;
    let dispatcher = dispatchers.get(key);
    if (!dispatcher) {
      const tls = { ...trust, ...(isFirst && client) };
      dispatcher = proxy === null ? direct(tls) : through(proxy, tls);
      dispatchers.set(key, dispatcher);
    }
    return dispatcher;
  }

  function direct(tls: ConnectionOptions): Dispatcher {
    return new Agent({ ...UNTIMED, connect: connector(tls, guarded) });
  }

  function through(proxy: ProxyServer, tls: ConnectionOptions): Dispatcher {
    return new ProxyAgent({
      ...UNTIMED,
      uri: proxy.url,
      ...(proxy.authorization !== null && { token: proxy.authorization }),
      proxyTunnel: false,
      requestTls: connector(tls, guarded),
      proxyTls: connector(trust, proxy.isTrusted ? ports.lookup : guarded),
    });
  }

  return {
    async send({ url: text, ...options }, connected) {
      const url = new URL(text);
      const proxy = proxyFor(url, step, ports.settings);
      checkLiteral(url, ports.guard);
      if (proxy && !proxy.isTrusted) checkLiteral(new URL(proxy.url), ports.guard);
      const dispatcher = dispatcherFor(url, proxy).compose((dispatch) => (sent, handler) => {
        const { onRequestStart } = handler;
        handler.onRequestStart = (...given) => {
          connected();
          onRequestStart?.apply(handler, given);
        };
        return dispatch(sent, handler);
      });
      // Its types know no Blob, which it sends all the same.
      const body = options.body as Exclude<HttpRequest['body'], Blob>;
      return request(url, { ...options, body, dispatcher, signal: ports.signal });
    },
    close(cause) {
      for (const dispatcher of dispatchers.values()) void dispatcher.destroy(cause);
    },
  };
}

function connector(tls: ConnectionOptions, lookup: LookupFunction): buildConnector.BuildOptions {
  return { ...tls, lookup, timeout: 0, allowH2: false } as buildConnector.BuildOptions;
}

/** An address in a URL is connected to as it stands there; no name is looked up. */
function checkLiteral(url: URL, guard: Guard): void {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) === 0) return;
  const range = guard.forbids(host);
  if (range !== null) throw new HttpFault('httpBlocked', `the agent lets no request reach ${host}: ${range}`);
}

/** A lookup that leaves out what the guard forbids. Its results are what is connected to: nothing is asked twice. */
export function guardedLookup(guard: Guard, lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, []);
      const found = addresses as { address: string; family: number }[];
      const allowed = found.filter(({ address }) => guard.forbids(address) === null);
      const [first] = allowed;
      if (!first) {
        const told = found.map(({ address }) => `${address}: ${guard.forbids(address)}`).join('; ');
        const text = `the agent lets no request reach ${hostname}, which is ${told || 'no address'}`;
        return callback(new HttpFault('httpBlocked', text), []);
      }
      if (options.all) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

async function trustOf({ ca, insecure }: HttpAction['tls']): Promise<ConnectionOptions> {
  if (insecure) return { rejectUnauthorized: false };
  return ca === null ? {} : { ca: [...getCACertificates('default'), await pem(ca, 'tls.ca')] };
}

async function clientOf({ cert, key, passphrase }: HttpAction['tls']): Promise<ConnectionOptions | null> {
  if (cert === null || key === null) return null;
  return {
    cert: await pem(cert, 'tls.cert'),
    key: await pem(key, 'tls.key'),
    ...(passphrase !== null && { passphrase }),
  };
}

async function pem(text: string, option: string): Promise<string> {
  if (!text.startsWith('/')) return text;
  try {
    return await readFile(text, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new HttpFault('httpTls', `the file ${text} (${option}) cannot be read: ${code}`);
  }
}
