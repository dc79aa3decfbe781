import { lookup } from 'node:dns';
import {
  createServer as createHttpServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import {
  type AddressInfo,
  connect,
  createServer as createSocketServer,
  type Server,
  type Socket,
} from 'node:net';
import { defineHttp, type HttpField, readJob } from '@rota/contract';
import { systemClock } from '../clock.ts';
import { type HttpSettings, NO_HTTP_SETTINGS } from '../helperProtocol.ts';
import type { Clock } from '../ports.ts';
import type { Ending, ExecutorPorts, HttpPorts, StepTask } from './execution.ts';
import { executeHttp } from './http.ts';
import { createCookies } from './httpCookies.ts';

/** Servers of a test file, and what closes them all. */
export interface Servers {
  listen(server: Server, host?: string, port?: number): Promise<number>;
  http(answer: Answer, host?: string): Promise<string>;
  https(options: ServerOptions, answer: Answer): Promise<string>;
  /** Takes connections and gives them to `taken`. */
  raw(taken: (socket: Socket) => void): Promise<number>;
  close(): void;
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export function openServers(): Servers {
  const open: (Server & { closeAllConnections?(): void })[] = [];
  const sockets = new Set<Socket>();
  async function listen(server: Server, host = '127.0.0.1', port = 0): Promise<number> {
    open.push(server);
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => {}).once('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, host, resolve);
    });
    return (server.address() as AddressInfo).port;
  }
  return {
    listen,
    http: async (answer, host) =>
      `http://${host ?? '127.0.0.1'}:${await listen(createHttpServer(answer), host)}`,
    https: async (options, answer) => `https://localhost:${await listen(createTlsServer(options, answer))}`,
    raw: (taken) => listen(createSocketServer(taken)),
    close() {
      for (const server of open) server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A request as a server got it. */
export interface Seen {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** Reads a request whole. */
export function read(request: IncomingMessage): Promise<Seen> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    request.on('data', (data: Buffer) => parts.push(data));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      resolve({ method, url, headers, body: Buffer.concat(parts).toString('latin1') });
    });
  });
}

/** Answers with what came, as JSON. */
export const echo: Answer = (request, response) => {
  void read(request).then((seen) => response.end(request.method === 'HEAD' ? '' : JSON.stringify(seen)));
};

/** A proxy for http and, by CONNECT, for https, to which every name is this machine; `asked` is what it was told to reach. */
export async function openProxy(
  servers: Servers,
  options: { authorization?: string } = {},
): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const isAllowed = (headers: IncomingHttpHeaders) =>
    options.authorization === undefined || headers['proxy-authorization'] === options.authorization;
  const server = createHttpServer((incoming, response) => {
    asked.push(`${incoming.method} ${incoming.url}`);
    if (!isAllowed(incoming.headers)) return void response.writeHead(407).end();
    const { port, pathname, search } = new URL(incoming.url as string);
    const onward = request(
      {
        host: '127.0.0.1',
        port,
        path: pathname + search,
        method: incoming.method,
        headers: incoming.headers,
      },
      (answer) => {
        response.writeHead(answer.statusCode as number, answer.headers);
        answer.pipe(response);
      },
    );
    incoming.pipe(onward);
  });
  server.on('connect', (incoming: IncomingMessage, socket: Socket) => {
    asked.push(`CONNECT ${incoming.url}`);
    if (!isAllowed(incoming.headers))
      return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    const port = Number((incoming.url as string).split(':')[1]);
    const onward = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    onward.on('error', () => socket.destroy());
    socket.on('error', () => onward.destroy()).on('close', () => onward.destroy());
  });
  return { url: `http://127.0.0.1:${await servers.listen(server)}`, asked };
}

export interface Ran extends Ending {
  stdout: string;
  stderr: string;
}

/** Runs an `http` step as it stands in a document. */
export async function runHttp(
  http: HttpField,
  changes: Partial<Omit<HttpPorts, 'settings'>> & {
    settings?: Partial<HttpSettings>;
    clock?: Clock;
    onOutput?(): void;
  } = {},
): Promise<Ran> {
  const job = readJob({ name: 'a', http }, { timezone: 'UTC' });
  if ('faults' in job)
    throw new Error(job.faults.map(({ path, message }) => `${path}: ${message}`).join('\n'));
  const output = { stdout: '', stderr: '' };
  const ports = {
    clock: changes.clock ?? systemClock,
    http: {
      lookup: changes.lookup ?? lookup,
      cookies: changes.cookies ?? createCookies(),
      settings: { ...NO_HTTP_SETTINGS, ...changes.settings },
    },
    output(stream: 'stdout' | 'stderr', data: Buffer) {
      output[stream] += data.toString();
      changes.onOutput?.();
    },
  } as unknown as ExecutorPorts;
  const prepared = await executeHttp(
    { attemptId: 'attempt-1', steps: [{}], step: 'main' } as StepTask,
    defineHttp(http),
    ports,
  );
  return { ...(await prepared.begin().ended), ...output };
}
