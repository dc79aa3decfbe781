import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { type FaultProxy, startFaultProxy } from './faultProxy.ts';
import { until } from './until.ts';

/** A server that keeps what it hears. */
const accepted: { socket: Socket; heard: string; ended: boolean; failed: boolean }[] = [];
const server = createServer({ allowHalfOpen: true }, (socket) => {
  const connection = { socket, heard: '', ended: false, failed: false };
  accepted.push(connection);
  socket.setEncoding('utf8').on('data', (text: string) => {
    connection.heard += text;
  });
  socket.on('end', () => {
    connection.ended = true;
  });
  socket.on('error', () => {
    connection.failed = true;
  });
});
let proxy: FaultProxy;

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy = await startFaultProxy(() => ({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
  }));
});

after(async () => {
  await proxy.close();
  for (const { socket } of accepted) socket.destroy();
  server.close();
});

beforeEach(() => proxy.mend());

async function open() {
  const socket = connect({ host: '127.0.0.1', port: proxy.port, allowHalfOpen: true });
  const client = { socket, heard: '', ended: false, failed: false };
  socket.setEncoding('utf8').on('data', (text: string) => {
    client.heard += text;
  });
  socket.on('end', () => {
    client.ended = true;
  });
  socket.on('error', () => {
    client.failed = true;
  });
  const count = accepted.length;
  const peer = await until('the connection', () => accepted[count]);
  return { client, peer };
}

const isOver = (side: { ended: boolean; failed: boolean }) => side.ended || side.failed;
const heard = (side: { heard: string }, text: string) => until(`to hear ${text}`, () => side.heard === text);

test('bytes and ends pass both ways', async () => {
  const { client, peer } = await open();
  client.socket.end('ping');
  await heard(peer, 'ping');
  await until('the end', () => peer.ended);
  peer.socket.end('pong');
  await heard(client, 'pong');
  await until('the end', () => client.ended);
});

test('what is held comes later, in its order, while the other way goes on', async () => {
  const { client, peer } = await open();
  proxy.set({ toServer: 'hold' });
  client.socket.write('one');
  client.socket.write(' two');
  client.socket.end();
  peer.socket.write('alive');
  await heard(client, 'alive');
  assert.deepEqual([peer.heard, peer.ended], ['', false]);
  proxy.mend();
  await heard(peer, 'one two');
  await until('the end', () => peer.ended);
});

test('what is swallowed never comes, and its connection is closed when the link is mended', async () => {
  const { client, peer } = await open();
  proxy.set({ toServer: 'swallow' });
  client.socket.write('lost');
  peer.socket.write('alive');
  await heard(client, 'alive');
  assert.equal(peer.heard, '');
  await until('the loss', () => proxy.swallowedBytes === 4);
  proxy.mend();
  await until('the end', () => isOver(client) && isOver(peer));
});

test('a new connection is refused while the link refuses', async () => {
  proxy.set({ refuse: true });
  const socket = connect({ host: '127.0.0.1', port: proxy.port });
  socket.on('error', () => {});
  const count = accepted.length;
  await once(socket, 'close');
  assert.equal(accepted.length, count);
});

test('a cut closes what is open, and new connections are taken', async () => {
  const { client, peer } = await open();
  proxy.cut();
  await until('the end', () => isOver(client) && isOver(peer));
  const { client: next, peer: nextPeer } = await open();
  next.socket.write('again');
  await heard(nextPeer, 'again');
});

test('a slow link delivers late, in order', async () => {
  const { client, peer } = await open();
  proxy.set({ delayMs: 60 });
  const began = performance.now();
  client.socket.write('late');
  await heard(peer, 'late');
  assert.ok(performance.now() - began >= 59);
});

test('messages of a WebSocket can be judged one by one, of any length and both ways', async () => {
  const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
  const wire = await startFaultProxy(
    () => ({ host: '127.0.0.1', port: (sockets.address() as AddressInfo).port }),
    { messages: true },
  );
  const got: string[] = [];
  sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(String(data))));
  const judged: string[] = [];
  wire.decide(({ from, type }) => {
    judged.push(`${from} ${type}`);
    if (from === 'server' && type === 'last') return 'passAndCut';
    return type === 'unwanted' ? 'drop' : 'pass';
  });
  const socket = new WebSocket(`ws://127.0.0.1:${wire.port}`, { perMessageDeflate: false });
  await once(socket, 'open');
  socket.on('error', () => {});
  socket.on('message', (data) => got.push(String(data)));
  const long = 'x'.repeat(70_000);
  for (const message of [
    '{"type":"short"}',
    '{"type":"unwanted"}',
    `{"type":"middle","text":"${long.slice(0, 300)}"}`,
    `{"type":"long","text":"ü${long}"}`,
    '{"type":"last"}',
  ])
    socket.send(message);
  await once(socket, 'close');
  assert.deepEqual(judged.toSorted(), [
    'agent last',
    'agent long',
    'agent middle',
    'agent short',
    'agent unwanted',
    'server last',
    'server long',
    'server middle',
    'server short',
  ]);
  assert.equal(got[2], `{"type":"long","text":"ü${long}"}`);
  assert.equal(got.at(-1), '{"type":"last"}');
  await wire.close();
  sockets.close();
});
