import { type AgentMessage, parseAgentMessage, type ServerMessage } from '@rota/contract';
import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock.ts';
import type { Hints } from '../hints.ts';
import type { Random } from '../random.ts';
import type { Store } from '../store/store.ts';
import type { Admission } from './admission.ts';
import type { Dispatcher } from './dispatch.ts';
import { admit, type Greeting, greet, type Opened, reject } from './handshake.ts';
import { Inbox } from './inbox.ts';
import type { ServerKeys } from './permits.ts';
import type { Replica } from './replica.ts';
import type { createReports } from './reports.ts';
import type { Session, Sessions } from './sessions.ts';

/** How often an agent says that it is there, and how long it may be silent. */
const HEARTBEAT_MS = 5_000;
const SILENT_MS = 3 * HEARTBEAT_MS;
/** A connection must have proven itself within this. */
const HANDSHAKE_MS = 10_000;
/** How long the closing of a connection may take. */
const CLOSING_MS = 2_000;
/** An agent that lets this much pile up unread is cut off; it resumes later. */
const BUFFERED_MAX = 32 * 1024 * 1024;
/** Messages that may wait before a connection has proven itself; the handshake needs one at a time. */
const UNPROVEN_MAX = 4;
/** `lastSeenAt` is written at most this often while nothing else changes. */
const SEEN_MS = 60_000;

/** What is needed of an agent's socket; `ws` has it. */
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

export interface ConnectionPorts {
  store: Store;
  clock: Clock;
  random: Random;
  hints: Hints;
  log: Logger;
  sessions: Sessions;
  dispatcher: Dispatcher;
  keys: ServerKeys;
  replica: Pick<Replica, 'id'>;
  reports: ReturnType<typeof createReports>;
  admission: Admission;
  /** Its handshake is over, one way or the other. */
  proven(): void;
  /** Stores the end of its session. */
  endSession(session: Session): Promise<void>;
  /** What must be over before the server stops. */
  track(work: Promise<void>): void;
}

/** Serves one connection of an agent: its handshake, its session, and its messages in order. */
export function serveConnection(socket: AgentSocket, ports: ConnectionPorts): void {
  const { store, clock, random, log, sessions, dispatcher, keys, replica, reports, admission, track } = ports;
  let inHandshake = true;
  let greeting: Greeting | null = null;
  let session: (Session & { readonly lastStatus: { at: number; text: string } }) | null = null;
  let lastMessageAt = clock.now();
  const watchHandshake = () => clock.after(HANDSHAKE_MS, () => close('the handshake took too long'));
  const inbox = new Inbox(socket);
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
    if (session) await ports.endSession(session);
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
    ports.proven();
  };
  const watchSilence = () => {
    watch = clock.after(HEARTBEAT_MS, () => {
      if (inbox.isEmpty && clock.now() - lastMessageAt > SILENT_MS) close('the agent is silent');
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
    if (socket.readyState !== socket.OPEN) return ports.endSession(begun);
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
    if (!session && inbox.waiting >= UNPROVEN_MAX) {
      close('too many messages before the handshake');
      return;
    }
    const carryOut = async () => {
      try {
        if (message.type === 'ready' && onReady) await onReady(message.nonce);
        else await handle(message);
      } catch (error) {
        log.error(
          { err: error, agent: greeting?.agent.name, type: message.type },
          'a message could not be carried out',
        );
        close('a message could not be carried out');
      }
    };
    // Up to `ready` one message waits for the one before; after it the store keeps the order.
    track(session?.ready ? inbox.take(text.length, carryOut) : inbox.takeInTurn(text.length, carryOut));
  }

  socket.on('message', (data, isBinary) => {
    if (isBinary) close('binary frames are not spoken here');
    else receive(String(data));
  });
  socket.on('error', (error) => log.debug({ err: error, agent: greeting?.agent.name }, 'agent socket error'));
  socket.on('close', () => {
    watch.cancel();
    endHandshake();
    if (session) track(ports.endSession(session));
  });
}

function pickStatus({ maxParallel, draining, blocked }: Extract<AgentMessage, { type: 'status' }>) {
  return { maxParallel, draining, blocked };
}
