import {
  type AgentFacts,
  type AgentMessage,
  agentProof,
  type Hello,
  HISTORY_PER_MESSAGE,
  PROTOCOL_VERSION,
  parseServerMessage,
  type ServerKey,
  type ServerMessage,
  serverProof,
} from '@rota/contract';
import type { Static } from 'typebox';
import { blockedBy } from './attempts.ts';
import type { Journal } from './journal.ts';
import { createKeyRing, type KeyRing } from './permit.ts';
import type { Clock, Connect, Connection, Log, Random, Timer } from './ports.ts';
import type { Work } from './work.ts';

export type Rejection = Extract<ServerMessage, { type: 'rejected' }>;

/** What the agent is to the outside. */
export type AgentState =
  | { state: 'connecting'; detail: string | null }
  | { state: 'online'; url: string; name: string }
  /** A server refused it for good; it goes on with what runs and asks again now and then. */
  | { state: 'rejected'; code: Rejection['code']; message: string }
  | { state: 'stopped' };

/** Keeps the agent in contact with a server: dials, proves both sides, resumes, and dials again when it is lost. */
export interface Session {
  /** Resolves once the connection is closed; nothing is dialled any more. */
  stop(): Promise<void>;
  /** Tells the server how things stand. */
  sendStatus(): void;
}

export interface SessionPorts {
  agentId: string;
  bootId: string;
  agentVersion: string;
  urls: string[];
  maxParallel: number;
  clock: Clock;
  random: Random;
  connect: Connect;
  journal: Pick<Journal, 'seq' | 'nonce' | 'append' | 'idle'>;
  work: Pick<Work, 'idle' | 'situation' | 'attempts' | 'history' | 'connected' | 'disconnected' | 'handle'>;
  log: Log;
  facts(): AgentFacts;
  sign(text: string): string;
  keys(): ServerKey[];
  /** Stores what a proven server told: its keys, and the agent's name. */
  learn(keys: ServerKey[], name: string): Promise<void>;
  stateChanged(state: AgentState): void;
}

/** True when the identity is of no use any more; a quarantine can be lifted, and a draining server comes back. */
export function isLastWord(code: Rejection['code']): boolean {
  return code === 'unknownAgent' || code === 'removed' || code === 'badSignature';
}

/** Another server is asked at once, until each was asked; the jitter keeps agents of one server from coming in one instant. */
const FAILOVER_MS = 200;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** A session that lasted so long, or whose server asked the agent to leave, was a good one. */
const STABLE_MS = 5_000;
/** After a final rejection. */
const REJECTED_RETRY_MS = 5 * 60_000;
const HANDSHAKE_MS = 15_000;
/** Heartbeats without a sign of life after which a connection is dead. */
const SILENT_HEARTBEATS = 3;

/** Whether dialling again is of no use before a person has acted. */
function isFinal({ code }: Rejection): boolean {
  return code !== 'draining' && code !== 'superseded';
}

/** Agents that know the same servers spread over them, and over those that are left when one is lost. */
function inRandomOrder(urls: readonly string[], random: Random): string[] {
  const order = [...urls];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random.unit() * (last + 1));
    [order[last], order[other]] = [order[other] as string, order[last] as string];
  }
  return order;
}

type Outcome = { kind: 'lost'; cause: string; wasGood: boolean } | { kind: 'rejected'; rejection: Rejection };

export function startSession(ports: SessionPorts): Session {
  const { clock, log, random } = ports;
  const stopped = Promise.withResolvers<void>();
  let isStopping = false;
  let current: Dialogue | null = null;
  let wake = (): void => {};

  async function run(): Promise<void> {
    let failures = 0;
    const urls = inRandomOrder(ports.urls, random);
    for (let next = 0; !isStopping; next++) {
      const url = urls[next % urls.length] as string;
      const outcome = await dial(url);
      if (isStopping) break;
      if (outcome.kind === 'rejected' && isFinal(outcome.rejection)) {
        const { code, message } = outcome.rejection;
        log.error({ url, code, reason: message }, 'the server rejected this agent; asking again in 5 min');
        ports.stateChanged({ state: 'rejected', code, message });
        await pause(REJECTED_RETRY_MS);
        continue;
      }
      const cause = outcome.kind === 'rejected' ? outcome.rejection.message : outcome.cause;
      failures = outcome.kind === 'lost' && outcome.wasGood ? 0 : failures + 1;
      const rounds = Math.floor(failures / urls.length);
      const limitMs =
        rounds === 0 ? FAILOVER_MS : Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(rounds, 10));
      const delayMs = Math.round(random.unit() * limitMs);
      log.warn({ url, cause, delayMs }, 'no session with the server; dialling again');
      ports.stateChanged({ state: 'connecting', detail: cause });
      await pause(delayMs);
    }
  }

  /** Resolves when the connection has ended. */
  async function dial(url: string): Promise<Outcome> {
    current = new Dialogue(url, ports);
    const outcome = await current.ended;
    current = null;
    return outcome;
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = clock.after(ms, resolve);
      wake = () => {
        timer.cancel();
        resolve();
      };
      if (isStopping) wake();
    });
  }

  ports.stateChanged({ state: 'connecting', detail: null });
  void run().finally(() => {
    ports.stateChanged({ state: 'stopped' });
    stopped.resolve();
  });
  return {
    stop() {
      isStopping = true;
      current?.leave();
      wake();
      return stopped.promise;
    },
    sendStatus: () => current?.sendStatus(),
  };
}

/** One connection, from the first word to the last. */
class Dialogue {
  readonly ended: Promise<Outcome>;
  readonly #url: string;
  readonly #ports: SessionPorts;
  readonly #hello: Static<typeof Hello>;
  readonly #connection: Connection;
  readonly #end: (outcome: Outcome) => void;
  #phase: 'opening' | 'challenge' | 'welcome' | 'ready' | 'closed' = 'opening';
  #incoming: Promise<void> = Promise.resolve();
  #keyRing: KeyRing;
  #readySince = 0;
  #lastHeardMs: number;
  #rejection: Rejection | null = null;
  #isSentAway = false;
  #timer: Timer;

  constructor(url: string, ports: SessionPorts) {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.ended = promise;
    this.#end = resolve;
    this.#url = url;
    this.#ports = ports;
    this.#keyRing = createKeyRing(ports.keys());
    this.#hello = {
      type: 'hello',
      protocol: PROTOCOL_VERSION,
      agentId: ports.agentId,
      clientNonce: ports.random.token(24),
      agentVersion: ports.agentVersion,
    };
    this.#lastHeardMs = ports.clock.bootMs();
    this.#timer = ports.clock.after(HANDSHAKE_MS, () =>
      this.#fail('the server did not finish its greeting in time'),
    );
    this.#connection = ports.connect(url, {
      opened: () => {
        this.#phase = 'challenge';
        this.#send(this.#hello);
      },
      received: (text) => {
        this.#incoming = this.#incoming
          .then(() => this.#receive(text))
          .catch((error) => this.#fail(error instanceof Error ? error.message : String(error)));
      },
      alive: () => {
        this.#lastHeardMs = ports.clock.bootMs();
      },
      closed: (cause) => {
        // What came before the end still counts.
        void this.#incoming.then(() => this.#close(cause));
      },
    });
  }

  leave(): void {
    if (this.#phase === 'ready') {
      this.sendStatus();
      this.#send({ type: 'goodbye' });
      this.#connection.close();
    } else this.#connection.terminate();
  }

  sendStatus(): void {
    if (this.#phase !== 'ready') return;
    const { clock, work, maxParallel } = this.#ports;
    const situation = work.situation();
    this.#send({
      type: 'status',
      bootMs: Math.floor(clock.bootMs()),
      active: situation.active,
      maxParallel,
      draining: situation.draining,
      blocked: blockedBy(situation),
    });
  }

  #send(message: AgentMessage): void {
    if (this.#phase !== 'closed') this.#connection.send(JSON.stringify(message));
  }

  #fail(cause: string): void {
    if (this.#phase === 'closed') return;
    this.#connection.terminate();
    this.#close(cause);
  }

  #close(cause: string): void {
    if (this.#phase === 'closed') return;
    const wasReady = this.#phase === 'ready';
    this.#phase = 'closed';
    this.#timer.cancel();
    if (wasReady) this.#ports.work.disconnected();
    const wasGood =
      wasReady && (this.#isSentAway || this.#ports.clock.bootMs() - this.#readySince >= STABLE_MS);
    this.#end(
      this.#rejection ? { kind: 'rejected', rejection: this.#rejection } : { kind: 'lost', cause, wasGood },
    );
  }

  async #receive(text: string): Promise<void> {
    if (this.#phase === 'closed') return;
    const parsed = parseServerMessage(text);
    if ('fault' in parsed) {
      this.#ports.log.warn({ url: this.#url, fault: parsed.fault }, 'passed over a message of the server');
      return;
    }
    const { message } = parsed;
    switch (message.type) {
      case 'challenge':
        return this.#onChallenge(message);
      case 'rejected':
        this.#rejection = message;
        return this.#fail(message.message);
      case 'welcome':
        return this.#onWelcome(message);
      case 'leaving':
        this.#isSentAway = true;
        return this.#fail('the server is about to stop');
      case 'offer':
      case 'withdraw':
      case 'permit':
      case 'cancel':
      case 'ack':
        if (this.#phase === 'ready') this.#ports.work.handle(message);
        return;
      default:
        message satisfies never;
    }
  }

  /** Only now it is known that this is the server; before, nothing was said but who calls. */
  async #onChallenge(challenge: Extract<ServerMessage, { type: 'challenge' }>): Promise<void> {
    if (this.#phase !== 'challenge') return;
    const { journal, work, bootId, maxParallel, clock } = this.#ports;
    const proof = serverProof(this.#hello, challenge.serverNonce);
    if (!this.#keyRing.verify(challenge.keyId, proof, challenge.signature))
      return this.#fail(
        `the server at ${this.#url} did not prove that it has a key that this agent trusts; if its keys were lost, the agent must join again`,
      );
    this.#phase = 'welcome';
    // What the last connection brought must be settled, or an attempt could start that is told as not started.
    await work.idle();
    await journal.idle();
    const position = { bootId, journalSeq: journal.seq, lastNonce: journal.nonce };
    this.#send({
      type: 'resume',
      signature: this.#ports.sign(agentProof(challenge, this.#hello, position)),
      ...position,
      bootMs: Math.floor(clock.bootMs()),
      facts: this.#ports.facts(),
      maxParallel,
      draining: work.situation().draining,
      attempts: work.attempts(),
    });
  }

  async #onWelcome(welcome: Extract<ServerMessage, { type: 'welcome' }>): Promise<void> {
    if (this.#phase !== 'welcome') return;
    const { journal, work, clock, log } = this.#ports;
    await this.#ports.learn(welcome.keys, welcome.name);
    await journal.append({ type: 'nonce', nonce: welcome.nonce });
    if (this.#isClosed()) return;
    if (welcome.recovering) {
      this.#tellHistory();
      log.warn({ url: this.#url }, 'the server has lost its last commits; told it what was done here');
    }
    this.#keyRing = createKeyRing(welcome.keys);
    this.#phase = 'ready';
    this.#readySince = clock.bootMs();
    this.#timer.cancel();
    this.#send({ type: 'ready', nonce: welcome.nonce });
    work.connected((message) => this.#send(message), this.#keyRing);
    this.sendStatus();
    this.#beat(welcome.heartbeatMs);
    log.info({ url: this.#url, name: welcome.name }, 'online');
    this.#ports.stateChanged({ state: 'online', url: this.#url, name: welcome.name });
  }

  #tellHistory(): void {
    const attempts = this.#ports.work.history();
    do {
      const part = attempts.splice(0, HISTORY_PER_MESSAGE);
      this.#send({ type: 'history', attempts: part, last: attempts.length === 0 });
    } while (attempts.length > 0);
  }

  #isClosed(): boolean {
    return this.#phase === 'closed';
  }

  #beat(heartbeatMs: number): void {
    const { clock } = this.#ports;
    this.#timer = clock.after(heartbeatMs, () => {
      if (clock.bootMs() - this.#lastHeardMs > SILENT_HEARTBEATS * heartbeatMs)
        return this.#fail('the server has fallen silent');
      this.#connection.ping();
      this.sendStatus();
      this.#beat(heartbeatMs);
    });
  }
}
