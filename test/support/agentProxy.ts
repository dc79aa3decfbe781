import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';

/** One message between an agent and the server, as it passes. */
export interface Passing {
  from: 'agent' | 'server';
  type: string;
  text: string;
}

/** What becomes of a message. */
export type Fate = 'pass' | 'drop' | 'dropAndCut' | 'passAndCut';

export interface AgentProxy {
  url: string;
  /** Decides about each message; by default all pass. */
  decide(judge: (message: Passing) => Fate): void;
  /** Cuts all connections. */
  cut(): void;
  close(): Promise<void>;
}

/** Stands between agents and a server whose address may change, and sees each message of the agent protocol. */
export async function startAgentProxy(serverUrl: () => string): Promise<AgentProxy> {
  let judge: (message: Passing) => Fate = () => 'pass';
  const pairs = new Set<() => void>();
  const http = createServer((incoming, answer) => {
    const outgoing = request(
      new URL(incoming.url ?? '/', serverUrl()),
      { method: incoming.method, headers: incoming.headers },
      (response) => {
        answer.writeHead(response.statusCode ?? 502, response.headers);
        response.pipe(answer);
      },
    );
    outgoing.on('error', () => answer.destroy());
    incoming.pipe(outgoing);
  });
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  http.on('upgrade', (incoming: IncomingMessage, socket, head) => {
    let target: WebSocket;
    try {
      target = new WebSocket(new URL(incoming.url ?? '/', serverUrl().replace(/^http/, 'ws')), {
        perMessageDeflate: false,
      });
    } catch {
      socket.destroy();
      return;
    }
    target.once('error', () => socket.destroy());
    target.once('open', () => sockets.handleUpgrade(incoming, socket, head, (agent) => join(agent, target)));
  });

  function join(agent: WebSocket, server: WebSocket): void {
    const cut = () => {
      agent.terminate();
      server.terminate();
      pairs.delete(cut);
    };
    pairs.add(cut);
    const carry = (from: Passing['from'], source: WebSocket, sink: WebSocket) => {
      source.on('message', (data) => {
        const text = String(data);
        const fate = judge({ from, type: typeOf(text), text });
        if (fate === 'pass' || fate === 'passAndCut') sink.send(text);
        // A cut that follows a message waits until its bytes are on their way.
        if (fate === 'passAndCut') setImmediate(cut);
        if (fate === 'dropAndCut') cut();
      });
      source.on('close', cut);
      source.on('error', cut);
    };
    carry('agent', agent, server);
    carry('server', server, agent);
  }

  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    decide(next) {
      judge = next;
    },
    cut() {
      for (const each of [...pairs]) each();
    },
    async close() {
      for (const each of [...pairs]) each();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

function typeOf(text: string): string {
  return /^\{"type":"(\w+)"/.exec(text)?.[1] ?? String((JSON.parse(text) as { type?: unknown }).type);
}
