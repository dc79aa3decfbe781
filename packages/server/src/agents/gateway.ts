import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { LIMITS } from '@rota/contract';
import type { Logger } from 'pino';
import { WebSocketServer } from 'ws';
import type { Clock } from '../clock.ts';
import type { Hints } from '../hints.ts';
import type { Random } from '../random.ts';
import type { Store } from '../store/store.ts';
import { Admission } from './admission.ts';
import { type AgentSocket, serveConnection } from './connection.ts';
import type { Dispatcher } from './dispatch.ts';
import type { ServerKeys } from './permits.ts';
import type { Replica } from './replica.ts';
import { createReports, type ReportPorts } from './reports.ts';
import type { Session, Sessions } from './sessions.ts';

/** A server that stops sends its agents away at this pace, and all within this time. */
const LEAVING_EACH_MS = 5;
const LEAVING_MAX_MS = 5_000;
/** How long the closing of a connection may take. */
const CLOSING_MS = 2_000;
/** Connections that may be in their handshake at one time, and how many of them are attended to: the others wait for that. */
const HANDSHAKES_MAX = 5_000;
const HANDSHAKES_AT_ONCE = 200;
/** When the end of a session is stored again that could not be. */
const STORE_END_AGAIN_MS = 1_000;

export interface Gateway {
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Takes a connection that was just opened. */
  accept(socket: AgentSocket): void;
  /** Ends an agent's session, because it was removed or changed. */
  disconnect(agentId: string, reason: string): void;
  cancel(agentId: string, attemptId: string, epoch: number): void;
  withdraw(agentId: string, attemptId: string, epoch: number): void;
  /** Tells agents to go elsewhere, `gently` a few at a time, and closes. Their jobs go on. */
  stop(options?: { gently: boolean }): Promise<void>;
}

/** Holds the agents' sessions: handshake, resume, and their messages in order. */
export function createGateway(
  ports: ReportPorts & {
    store: Store;
    clock: Clock;
    random: Random;
    hints: Hints;
    log: Logger;
    sessions: Sessions;
    dispatcher: Dispatcher;
    keys: ServerKeys;
    replica: Pick<Replica, 'id'>;
  },
): Gateway {
  const { store, clock, log, sessions } = ports;
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: LIMITS.messageBytes,
  });
  const reports = createReports(ports);
  const sockets = new Set<AgentSocket>();
  const open = new Set<Promise<void>>();
  let handshakes = 0;
  const admission = new Admission(HANDSHAKES_AT_ONCE);
  let stopping = false;
  const atStop = new Set<() => void>();

  function accept(socket: AgentSocket): void {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    handshakes += 1;
    const proven = () => {
      handshakes -= 1;
    };
    serveConnection(socket, { ...ports, reports, admission, proven, endSession, track });
  }

  async function endSession(session: Session): Promise<void> {
    if (session.ended) return;
    session.ended = true;
    session.ready = false;
    sessions.remove(session, clock.now());
    if (await storeEnd(session)) {
      for (const topic of ['agents', 'dispatch', 'events']) ports.hints.give(topic);
    }
  }

  /** What the agent has would wait for ever for a session whose end is not stored; to store it twice does no harm. */
  async function storeEnd({ tenantId, agentId, sessionEpoch, goodbye }: Session): Promise<boolean> {
    for (;;) {
      try {
        return await store.closeSession({ tenantId, agentId, sessionEpoch, goodbye });
      } catch (error) {
        if (stopping) throw error;
        log.error(
          { err: error, agent: agentId },
          'the end of a session could not be stored; it will be tried again',
        );
        await new Promise<void>((resolve) => {
          const done = () => {
            timer.cancel();
            atStop.delete(done);
            resolve();
          };
          const timer = clock.after(STORE_END_AGAIN_MS, done);
          atStop.add(done);
        });
      }
    }
  }

  /** Agents that came all at once to another server would be a burden there. */
  async function sendAway(): Promise<void> {
    const here = sessions.all();
    const spreadMs = Math.min(LEAVING_MAX_MS, here.length * LEAVING_EACH_MS);
    const left = here.map(
      (session, index) =>
        new Promise<void>((resolve) => {
          clock.after(Math.floor((index * spreadMs) / here.length), () => {
            session.send({ type: 'leaving' });
            resolve();
          });
        }),
    );
    await Promise.all(left);
  }

  function track(work: Promise<void>): void {
    const tracked: Promise<void> = work
      .catch((error: unknown) => log.error({ err: error }, 'the end of a session could not be stored'))
      .finally(() => open.delete(tracked));
    open.add(tracked);
  }

  return {
    handleUpgrade(request, socket, head) {
      if (stopping || handshakes >= HANDSHAKES_MAX) {
        socket.end('HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
        return;
      }
      server.handleUpgrade(request, socket, head, accept);
    },
    accept,
    disconnect(agentId, reason) {
      sessions.get(agentId)?.close(reason);
    },
    cancel(agentId, attemptId, epoch) {
      if (!sessions.cancel(agentId, { attemptId, epoch })) ports.hints.tell('cancels');
    },
    withdraw(agentId, attemptId, epoch) {
      if (!sessions.withdraw(agentId, { attemptId, epoch })) ports.hints.tell('offers');
    },
    async stop({ gently } = { gently: false }) {
      stopping = true;
      for (const each of atStop) each();
      if (gently) await sendAway();
      for (const session of sessions.all()) session.send({ type: 'leaving' });
      const left = [...sockets];
      for (const socket of left) socket.close(1001);
      await Promise.all(
        left.map(
          (socket) =>
            new Promise<void>((resolve) => {
              if (socket.readyState === socket.CLOSED) return resolve();
              const timer = clock.after(CLOSING_MS, () => socket.terminate());
              socket.once('close', () => {
                timer.cancel();
                resolve();
              });
            }),
        ),
      );
      while (open.size > 0) await Promise.all(open);
    },
  };
}
