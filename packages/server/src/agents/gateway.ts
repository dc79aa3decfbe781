import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type AgentMessage, LIMITS, parseAgentMessage, type ServerMessage } from '@rota/contract';
import type { Logger } from 'pino';
import { WebSocketServer } from 'ws';
import type { Clock, Timer } from '../clock.ts';
import type { Hints } from '../hints.ts';
import type { Random } from '../random.ts';
import type { Store } from '../store/store.ts';
import { Admission } from './admission.ts';
import type { Dispatcher } from './dispatch.ts';
import { admit, type Greeting, greet, type Opened, reject } from './handshake.ts';
import type { ServerKeys } from './permits.ts';
import type { Replica } from './replica.ts';
import { createReports, type ReportPorts } from './reports.ts';
import type { Session, Sessions } from './sessions.ts';

/** How often an agent says that it is there, and how long it may be silent. */
export const HEARTBEAT_MS = 5_000;
const SILENT_MS = 3 * HEARTBEAT_MS;
/** A connection must have proven itself within this. */
const HANDSHAKE_MS = 10_000;
/** A server that stops sends its agents away at this pace, and all within this time. */
const LEAVING_EACH_MS = 5;
const LEAVING_MAX_MS = 5_000;
/** How long the closing of a connection may take. */
const CLOSING_MS = 2_000;
/** Connections that may be in their handshake at one time, and how many of them are attended to: the others wait for that. */
const HANDSHAKES_MAX = 5_000;
const HANDSHAKES_AT_ONCE = 200;
/** An agent that lets this much pile up unread is cut off; it resumes later. */
const BUFFERED_MAX = 32 * 1024 * 1024;
/** Messages of one agent, and their bytes, that may be under way at one time before its socket is read no further. */
const UNDER_WAY_MAX = 500;
const UNDER_WAY_BYTES = 16 * 1024 * 1024;
/** Messages that may wait before a connection has proven itself; the handshake needs one at a time. */
const UNPROVEN_MAX = 4;
/** When the end of a session is stored again that could not be. */
const STORE_END_AGAIN_MS = 1_000;
/** `lastSeenAt` is written at most this often while nothing else changes. */
const SEEN_MS = 60_000;

/** What the gateway needs of an agent's connection; `ws` has it. */
export interface AgentSocket {
  readonly readyState: number;
  readonly OPEN: number;
  readonly CLOSED: number;
  readonly bufferedAmount: number;
  readonly isPaused: boolean;
  send(text: string): void;
  close(code: number): void;
  terminate(): void;
  pause(): void;
  resume(): void;
  on(event: 'message', listener: (data: { toString(): string }, isBinary: boolean) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'close', listener: () => void): unknown;
  once(event: 'close', listener: () => void): unknown;
}

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
  const { store, clock, random, log, sessions, dispatcher, keys, replica } = ports;
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
    let inHandshake = true;
    let greeting: Greeting | null = null;
    let session: (Session & { readonly lastStatus: { at: number; text: string } }) | null = null;
    let underWay = 0;
    let underWayBytes = 0;
    /** Messages in `queue`; while there are any, later ones must not overtake them. */
    let queued = 0;
    let lastMessageAt = clock.now();
    let queue: Promise<void> = Promise.resolve();
    const watchHandshake = () => clock.after(HANDSHAKE_MS, () => close('the handshake took too long'));
    let watch: Timer = watchHandshake();
    let leaveHandshake = (): void => {};

    const send = (message: ServerMessage) => {
      if (socket.readyState !== socket.OPEN) return;
      if (socket.bufferedAmount > BUFFERED_MAX) {
        close('the agent does not read');
        return;
      }
      socket.send(JSON.stringify(message));
    };
    const close = (reason: string) => {
      log.info({ agent: greeting?.agent.name, reason }, 'agent connection closed');
      socket.terminate();
    };
    /** Says why, and ends; a peer that does not close its side is cut off. */
    const finish = async (message?: ServerMessage) => {
      if (message) send(message);
      socket.close(1000);
      watch.cancel();
      watch = clock.after(CLOSING_MS, () => socket.terminate());
      leaveHandshake();
      if (session) await endSession(session);
    };
    /** Resolves when this connection is attended to, or is over. */
    const attended = () =>
      new Promise<void>((resolve) => {
        watch.cancel();
        const leave = admission.enter(() => {
          watch = watchHandshake();
          resolve();
        });
        leaveHandshake = () => {
          leave();
          resolve();
        };
      });
    const endHandshake = () => {
      leaveHandshake();
      if (!inHandshake) return;
      inHandshake = false;
      handshakes -= 1;
    };
    const watchSilence = () => {
      watch = clock.after(HEARTBEAT_MS, () => {
        if (underWay === 0 && clock.now() - lastMessageAt > SILENT_MS) close('the agent is silent');
        else watchSilence();
      });
    };

    async function handle(message: AgentMessage): Promise<void> {
      if (session?.ready) {
        if (message.type === 'status') await status(session, message);
        else if (message.type === 'goodbye') {
          session.goodbye = true;
          await finish();
        } else await reports.report(session, message);
        return;
      }
      if (message.type === 'hello' && !greeting) {
        await attended();
        if (socket.readyState !== socket.OPEN) return;
        const answer = await greet({ store, random, keys }, message);
        if ('rejected' in answer) return finish(answer.rejected);
        greeting = answer.greeting;
        send(answer.challenge);
        return;
      }
      if (message.type === 'resume' && greeting && !session) {
        const answer = await admit({ store, random }, replica.id, greeting, message);
        if ('rejected' in answer) {
          log.warn({ agent: greeting.agent.name, code: answer.rejected.code }, answer.rejected.message);
          if (answer.rejected.code === 'quarantined') {
            sessions.get(greeting.agent.id)?.close('a copy of the agent is there');
            ports.hints.give('events');
          }
          return finish(answer.rejected);
        }
        await begin(answer.opened, message);
        return;
      }
      if (message.type === 'history' && onHistory) return onHistory(message);
      close(`unexpected ${message.type}`);
    }

    async function begin(opened: Opened, resume: Extract<AgentMessage, { type: 'resume' }>): Promise<void> {
      const { agent, sessionEpoch, nonce, recovering } = opened;
      const begun = {
        tenantId: agent.tenantId,
        agentId: agent.id,
        sessionEpoch,
        active: new Set<string>(),
        sent: new Map<string, number>(),
        cancelled: new Set<string>(),
        maxParallel: resume.maxParallel,
        draining: resume.draining,
        blocked: null,
        ready: false,
        ended: false,
        goodbye: false,
        lastStatus: { at: clock.now(), text: '' },
        send,
        close,
      };
      session = begun;
      // The connection may have gone while its session was being opened: nobody would close it.
      if (socket.readyState !== socket.OPEN) return endSession(begun);
      sessions.add(begun);
      send({
        type: 'welcome',
        sessionEpoch,
        nonce,
        name: agent.name,
        heartbeatMs: HEARTBEAT_MS,
        keys: keys.published,
        recovering,
      });
      let told = !recovering;
      if (recovering) {
        onHistory = async ({ attempts, last }) => {
          watch.cancel();
          watch = clock.after(HANDSHAKE_MS, () => close('the history took too long'));
          if (!(await reports.adopt(begun, attempts))) return close('the agent has another session by now');
          if (last) told = true;
        };
      }
      onReady = async (shown) => {
        onReady = null;
        onHistory = null;
        if (!told) return close('the history is missing');
        if (
          !(await store.confirmSession({
            tenantId: agent.tenantId,
            agentId: agent.id,
            sessionEpoch,
            nonce: shown,
          }))
        ) {
          close('the nonce is not the one that was given');
          return;
        }
        if (begun.ended) return;
        await reports.reconcile(begun, resume.attempts, resume, resume.journalSeq);
        if (begun.ended) return;
        if (recovering) {
          await store.endHistory({ tenantId: agent.tenantId, agentId: agent.id, sessionEpoch });
          ports.hints.give('recovery');
        }
        if (begun.ended) return;
        // First here: whoever sees that it is online may count on it.
        begun.ready = true;
        watch.cancel();
        endHandshake();
        watchSilence();
        if (!(await store.readySession(begun))) {
          close('the agent has another session by now');
          return;
        }
        log.info({ agent: agent.name }, 'agent online');
        ports.hints.give('events');
        ports.hints.tell('agents');
        ports.hints.give('offers');
        dispatcher.agentsChanged(begun);
      };
    }
    let onReady: ((nonce: string) => Promise<void>) | null = null;
    let onHistory: ((message: Extract<AgentMessage, { type: 'history' }>) => Promise<void>) | null = null;

    async function status(
      current: NonNullable<typeof session>,
      message: Extract<AgentMessage, { type: 'status' }>,
    ): Promise<void> {
      const came = current.blocked !== null && message.blocked === null;
      current.maxParallel = message.maxParallel;
      current.draining = message.draining;
      current.blocked = message.blocked === 'full' ? null : message.blocked;
      if (came) dispatcher.agentsChanged(current);
      const text = `${message.maxParallel} ${message.draining} ${message.blocked}`;
      const { lastStatus } = current;
      if (lastStatus.text === text && clock.now() - lastStatus.at < SEEN_MS) return;
      const isNews = lastStatus.text !== text;
      lastStatus.text = text;
      lastStatus.at = clock.now();
      const { tenantId, agentId, sessionEpoch } = current;
      await store.storeAgentStatus({ tenantId, agentId, sessionEpoch, ...pickStatus(message) });
      if (isNews) ports.hints.tell('agents');
    }

    function receive(text: string): void {
      // What comes after the end is not lost: the agent reports it again when it resumes.
      if (socket.readyState !== socket.OPEN) return;
      lastMessageAt = clock.now();
      const parsed = parseAgentMessage(text);
      if ('fault' in parsed) {
        log.warn({ agent: greeting?.agent.name }, `bad message: ${parsed.fault}`);
        track(finish(reject('protocol', parsed.fault)));
        return;
      }
      const { message } = parsed;
      if (!session && queued >= UNPROVEN_MAX) {
        close('too many messages before the handshake');
        return;
      }
      underWay += 1;
      underWayBytes += text.length;
      if (underWay >= UNDER_WAY_MAX || underWayBytes >= UNDER_WAY_BYTES) socket.pause();
      const done = () => {
        underWay -= 1;
        underWayBytes -= text.length;
        const few = underWay <= UNDER_WAY_MAX / 2 && underWayBytes <= UNDER_WAY_BYTES / 2;
        if (few && socket.isPaused) socket.resume();
      };
      const failed = (error: unknown) => {
        log.error(
          { err: error, agent: greeting?.agent.name, type: message.type },
          'a message could not be carried out',
        );
        close('a message could not be carried out');
      };
      // Up to `ready` one message waits for the one before; after it the store keeps the order.
      if (session?.ready && queued === 0) {
        track(handle(message).catch(failed).finally(done));
        return;
      }
      queued += 1;
      queue = queue
        .then(() => {
          if (socket.readyState !== socket.OPEN) return;
          return message.type === 'ready' && onReady ? onReady(message.nonce) : handle(message);
        })
        .catch(failed)
        .finally(() => {
          queued -= 1;
          done();
        });
      track(queue);
    }

    socket.on('message', (data, isBinary) => {
      if (isBinary) close('binary frames are not spoken here');
      else receive(String(data));
    });
    socket.on('error', (error) =>
      log.debug({ err: error, agent: greeting?.agent.name }, 'agent socket error'),
    );
    socket.on('close', () => {
      watch.cancel();
      endHandshake();
      if (session) track(endSession(session));
    });
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
              const timer = clock.after(2_000, () => socket.terminate());
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

function pickStatus({ maxParallel, draining, blocked }: Extract<AgentMessage, { type: 'status' }>) {
  return { maxParallel, draining, blocked };
}
