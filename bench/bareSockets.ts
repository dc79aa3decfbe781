// The least that `ws` does for idle connections: node bench/bareSockets.ts serve <port>, which prints its port, or
// node bench/bareSockets.ts dial <url> <count>, which tells a parent process how many are open, and dials again when one ends.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';

/** As often as agents do. */
const HEARTBEAT_MS = 5_000;
const REDIAL_MS = 500;
const STATUS = JSON.stringify({ type: 'status', active: 0, maxParallel: 2, draining: false, blocked: null });

let online = 0;
const [role, target = '', count = '0'] = process.argv.slice(2);
if (role === 'serve') await serve(Number(target));
else for (let index = 0; index < Number(count); index++) dial();

async function serve(port: number): Promise<void> {
  const server = new WebSocketServer({ port, host: '127.0.0.1', perMessageDeflate: false, backlog: 4_096 });
  server.on('connection', (socket) => {
    socket.on('message', (data) => JSON.parse(String(data)));
    socket.on('error', () => {});
  });
  await once(server, 'listening');
  console.log((server.address() as AddressInfo).port);
}

function dial(): void {
  const socket = new WebSocket(target, { perMessageDeflate: false });
  let beat: NodeJS.Timeout | undefined;
  socket.on('open', () => {
    tell(1);
    beat = setInterval(() => {
      socket.ping();
      socket.send(STATUS);
    }, HEARTBEAT_MS);
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    if (beat !== undefined) tell(-1);
    clearInterval(beat);
    setTimeout(dial, Math.random() * REDIAL_MS);
  });
}

function tell(change: number): void {
  online += change;
  process.send?.({ online });
}

process.on('disconnect', () => process.exit());
