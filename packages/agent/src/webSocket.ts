import { getCACertificates } from 'node:tls';
import { LIMITS } from '@rota/contract';
import { WebSocket } from 'ws';
import type { Clock, Connect } from './ports.ts';

const OPEN_MS = 10_000;
/** How long a closing connection may take to be closed by the other side. */
const CLOSE_MS = 2_000;

/** Dials `<url>/agent` by WebSocket. `ca`: PEM certificates trusted beside the system's own. */
export function webSocketConnect(ca: string | null, clock: Clock): Connect {
  const trust = ca === null ? {} : { ca: [...getCACertificates('default'), ca] };
  return (url, events) => {
    const socket = new WebSocket(`${url.replace(/^http/, 'ws').replace(/\/+$/, '')}/agent`, {
      perMessageDeflate: false,
      maxPayload: LIMITS.messageBytes,
      handshakeTimeout: OPEN_MS,
      ...trust,
    });
    let cause = 'the server closed the connection';
    socket.on('open', () => events.opened());
    socket.on('message', (data) => {
      events.alive();
      events.received(data.toString());
    });
    socket.on('pong', () => events.alive());
    socket.on('ping', () => events.alive());
    socket.on('error', (error) => {
      cause = error.message || (error as NodeJS.ErrnoException).code || 'the connection failed';
    });
    socket.on('close', () => events.closed(cause));
    return {
      send: (text) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(text);
      },
      ping: () => {
        if (socket.readyState === WebSocket.OPEN) socket.ping();
      },
      close() {
        const timer = clock.after(CLOSE_MS, () => socket.terminate());
        socket.once('close', () => timer.cancel());
        socket.close(1000);
      },
      terminate: () => socket.terminate(),
    };
  };
}
