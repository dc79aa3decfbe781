import type { Connection, ConnectionEvents } from '../../packages/agent/src/ports.ts';
import type { AgentSocket } from '../../packages/server/src/agents/connection.ts';
import type { Kernel, Process, Subject } from './kernel.ts';
import { drawLatency, type Latency, type Seeded } from './random.ts';

const OPEN_MS = 10_000;
const CLOSE_MS = 2_000;
/** After a way was blocked, how long at most until what waited is sent again. */
const SENT_AGAIN_MS = 3_000;

const unheard = () => {};

type Item = { kind: 'text'; text: string; type: string } | { kind: 'ping' | 'pong' | 'close' | 'reset' };

/** One end of a connection. Its items arrive in order, one event each, while its process runs. */
class End {
  readonly process: Process;
  state: 'open' | 'closing' | 'closed' = 'open';
  queue: { item: Item; at: number }[] = [];
  lastAt = 0;
  isMoving = false;
  isPaused = false;
  peer!: End;
  /** The way that leads here: blocked while the network says so. */
  way: string;
  receive: (item: Item) => void = unheard;
  closed: (cause: string) => void = () => {};

  constructor(process: Process, way: string) {
    this.process = process;
    this.way = way;
  }
}

/** A server that can be dialled. */
export interface Listener {
  process: Process;
  replica: number;
  accept(socket: AgentSocket): void;
}

/** Connections between agents and replicas, whose ways can be slow, cut, or dead in one direction. */
export class SimNetwork {
  latency: Latency;
  readonly #kernel: Kernel;
  readonly #random: Seeded;
  readonly #listeners = new Map<string, Listener>();
  readonly #links = new Set<Link>();
  /** Until when a way is blocked: `agent>replica` and `replica>agent`. */
  readonly #blocked = new Map<string, number>();
  readonly #slow = new Map<string, number>();

  constructor(kernel: Kernel, random: Seeded, latency: Latency) {
    this.#kernel = kernel;
    this.#random = random;
    this.latency = latency;
  }

  listen(url: string, listener: Listener): void {
    this.#listeners.set(url, listener);
    listener.process.onEnd(() => {
      if (this.#listeners.get(url) === listener) this.#listeners.delete(url);
    });
  }

  deafen(url: string): void {
    this.#listeners.delete(url);
  }

  dial(agent: { index: number; process: Process }, url: string, events: ConnectionEvents): Connection {
    const link = new Link(this.#kernel, this.#random, this, agent, events);
    this.#links.add(link);
    this.#kernel.after(this.delay(), null, `${agent.process.name} dials ${url}`, () => {
      const listener = this.#listeners.get(url);
      if (listener && !this.blockedUntil(way(agent.index, listener.replica, 'up'))) link.connect(listener);
      else if (!listener) link.refuse(this.#random.chance(0.5) ? 0 : OPEN_MS);
      else link.refuse(OPEN_MS);
    });
    return link;
  }

  /** Cuts the connections between an agent and a replica, or all replicas. What was on its way is lost in part. */
  cut(agent: number, replica: number | null): void {
    for (const link of [...this.#links]) {
      const { subject } = link;
      if (subject.replica === undefined || subject.agent !== agent) continue;
      if (replica === null || subject.replica === replica) link.cut();
    }
  }

  /** Blocks one direction between an agent and a replica, or both: nothing arrives, and nobody is told. */
  block(agent: number, replica: number, direction: 'up' | 'down' | 'both', forMs: number): void {
    for (const each of ['up', 'down'] as const) {
      if (direction === 'both' || direction === each)
        this.#blocked.set(way(agent, replica, each), this.#kernel.now + forMs);
    }
  }

  slow(agent: number, byMs: number, forMs: number): void {
    this.#slow.set(String(agent), byMs);
    this.#kernel.after(forMs, null, 'the network is quick again', () => this.#slow.delete(String(agent)));
  }

  slowBy(agent: number): number {
    return this.#slow.get(String(agent)) ?? 0;
  }

  /** A process has ended: the other sides hear of it, unless its machine went down with it. */
  processEnded(process: Process, silently: boolean): void {
    for (const link of [...this.#links]) link.processEnded(process, silently);
  }

  delay(): number {
    return drawLatency(this.#random, this.latency);
  }

  blockedUntil(name: string): number | null {
    const until = this.#blocked.get(name);
    return until !== undefined && until > this.#kernel.now ? until : null;
  }

  forget(link: Link): void {
    this.#links.delete(link);
  }
}

function way(agent: number, replica: number, direction: 'up' | 'down'): string {
  return direction === 'up' ? `${agent}>${replica}` : `${replica}<${agent}`;
}

/** One connection; it is the agent's side of itself. */
class Link implements Connection {
  readonly subject: Subject;
  readonly #kernel: Kernel;
  readonly #random: Seeded;
  readonly #network: SimNetwork;
  readonly #events: ConnectionEvents;
  readonly #agent: End;
  #server: End | null = null;
  #isDialling = true;

  constructor(
    kernel: Kernel,
    random: Seeded,
    network: SimNetwork,
    agent: { index: number; process: Process },
    events: ConnectionEvents,
  ) {
    this.#kernel = kernel;
    this.#random = random;
    this.#network = network;
    this.#events = events;
    this.subject = { agent: agent.index };
    this.#agent = new End(agent.process, '');
    this.#agent.closed = (cause) => events.closed(cause);
  }

  connect(listener: Listener): void {
    if (!this.#isDialling || this.#agent.state === 'closed') return;
    this.#isDialling = false;
    const { agent = 0 } = this.subject;
    this.subject.replica = listener.replica;
    this.#agent.way = way(agent, listener.replica, 'down');
    const server = new End(listener.process, way(agent, listener.replica, 'up'));
    this.#server = server;
    server.peer = this.#agent;
    this.#agent.peer = server;
    this.#agent.receive = (item) => this.#agentReceives(item);
    listener.process.after(0, 'accepts a connection', () => {
      const socket = new ServerSocket(this, server);
      listener.accept(socket);
      // It opens when the answer is there.
      this.#kernel.after(this.#network.delay(), this.#agent.process, 'is connected', () => {
        if (this.#agent.state === 'open') this.#events.opened();
      });
    });
    this.#kernel.after(OPEN_MS, this.#agent.process, 'looks whether it is connected', () => {
      if (this.#agent.state === 'open' && server.state === 'open' && server.receive === unheard)
        this.terminate();
    });
  }

  refuse(afterMs: number): void {
    this.#isDialling = false;
    this.#kernel.after(afterMs, this.#agent.process, 'cannot connect', () =>
      this.#end(this.#agent, 'no answer'),
    );
  }

  // The agent's side.

  send(text: string): void {
    this.transmit(this.#agent, { kind: 'text', text, type: typeOf(text) });
  }

  ping(): void {
    this.transmit(this.#agent, { kind: 'ping' });
  }

  close(): void {
    this.closeEnd(this.#agent);
    this.#kernel.after(CLOSE_MS, this.#agent.process, 'closes for good', () => this.terminate());
  }

  terminate(): void {
    this.terminateEnd(this.#agent);
  }

  #agentReceives(item: Item): void {
    if (item.kind === 'close' || item.kind === 'reset') {
      this.#peerCloses(this.#agent, item.kind);
      return;
    }
    this.#events.alive();
    if (item.kind === 'text') this.#events.received(item.text);
  }

  // Both sides.

  transmit(from: End, item: Item): void {
    const to = from.peer as End | undefined;
    if (from.state !== 'open' || !to) return;
    if (item.kind === 'text') this.#kernel.trace(from.process.name, `send ${item.type}`, this.subject);
    this.#enqueue(to, item);
  }

  #enqueue(to: End, item: Item): void {
    const slowMs = this.#network.slowBy(this.subject.agent ?? 0);
    to.lastAt = Math.max(to.lastAt, this.#kernel.now + this.#network.delay() + slowMs);
    to.queue.push({ item, at: to.lastAt });
    this.move(to);
  }

  /** Brings the first item that waits for an end to it. */
  move(to: End): void {
    const first = to.queue[0];
    if (to.isMoving || to.isPaused || first === undefined) return;
    to.isMoving = true;
    const blocked = this.#network.blockedUntil(to.way);
    if (blocked !== null) {
      this.#kernel.at(blocked + this.#random.unit() * SENT_AGAIN_MS, null, 'the network tries again', () => {
        to.isMoving = false;
        this.move(to);
      });
      return;
    }
    this.#kernel.at(first.at, to.process, 'something arrives', () => {
      to.isMoving = false;
      if (to.queue[0] !== first) return this.move(to);
      // The way was blocked while it was on it.
      if (this.#network.blockedUntil(to.way) !== null) return this.move(to);
      to.queue.shift();
      if (to.state !== 'closed') {
        const { item } = first;
        if (item.kind === 'text') this.#kernel.trace(to.process.name, `receive ${item.type}`, this.subject);
        to.receive(item);
      }
      this.move(to);
    });
  }

  closeEnd(end: End): void {
    if (end.state !== 'open' || !end.peer) {
      this.terminateEnd(end);
      return;
    }
    this.transmit(end, { kind: 'close' });
    end.state = 'closing';
  }

  terminateEnd(end: End): void {
    if (end.state === 'closed') return;
    this.#isDialling = false;
    if (end.peer) this.#enqueue(end.peer, { kind: 'reset' });
    this.#end(end, 'it was terminated');
  }

  peerCloses(end: End, kind: 'close' | 'reset'): void {
    this.#peerCloses(end, kind);
  }

  #peerCloses(end: End, kind: 'close' | 'reset'): void {
    if (kind === 'close' && end.state === 'open') this.transmit(end, { kind: 'close' });
    this.#end(end, 'the other side closed it');
  }

  /** Ends one side; whoever listens hears of it a moment later. */
  #end(end: End, cause: string): void {
    if (end.state === 'closed') return;
    end.state = 'closed';
    end.queue = [];
    end.process.after(0, 'a connection has ended', () => end.closed(cause));
    if (!end.peer || end.peer.state === 'closed' || end.peer.process.ended) this.#network.forget(this);
  }

  /** Some of what is on its way still arrives; then both sides hear of the end. */
  cut(): void {
    this.#kernel.trace('network', 'cuts a connection', this.subject);
    for (const end of [this.#agent, this.#server]) {
      if (!end || end.state === 'closed') continue;
      end.queue.splice(this.#random.int(0, end.queue.length));
      this.#enqueue(end, { kind: 'reset' });
    }
  }

  processEnded(process: Process, silently: boolean): void {
    for (const end of [this.#agent, this.#server]) {
      if (end?.process !== process || end.state === 'closed') continue;
      end.state = 'closed';
      end.queue = [];
      if (!end.peer) continue;
      if (silently) this.#network.forget(this);
      else this.#enqueue(end.peer, { kind: 'reset' });
    }
  }
}

/** The server's side, with the little of `ws` that the gateway uses. */
class ServerSocket implements AgentSocket {
  readonly OPEN = 1;
  readonly CLOSED = 3;
  readonly bufferedAmount = 0;
  readonly #link: Link;
  readonly #end: End;
  readonly #onMessage: ((data: { toString(): string }, isBinary: boolean) => void)[] = [];
  readonly #onClose: (() => void)[] = [];

  constructor(link: Link, end: End) {
    this.#link = link;
    this.#end = end;
    end.receive = (item) => {
      if (item.kind === 'close' || item.kind === 'reset') return link.peerCloses(end, item.kind);
      if (item.kind === 'ping') return link.transmit(end, { kind: 'pong' });
      if (item.kind === 'text') for (const listener of this.#onMessage) listener(item.text, false);
    };
    end.closed = () => {
      for (const listener of this.#onClose.splice(0)) listener();
    };
  }

  get readyState(): number {
    return { open: 1, closing: 2, closed: 3 }[this.#end.state];
  }

  get isPaused(): boolean {
    return this.#end.isPaused;
  }

  send(text: string): void {
    this.#link.transmit(this.#end, { kind: 'text', text, type: typeOf(text) });
  }

  close(): void {
    this.#link.closeEnd(this.#end);
  }

  terminate(): void {
    this.#link.terminateEnd(this.#end);
  }

  pause(): void {
    this.#end.isPaused = true;
  }

  resume(): void {
    this.#end.isPaused = false;
    this.#link.move(this.#end);
  }

  on(event: string, listener: (...values: never[]) => void): void {
    if (event === 'message') this.#onMessage.push(listener as never);
    if (event === 'close') this.#onClose.push(listener as never);
  }

  once(event: 'close', listener: () => void): void {
    this.on(event, listener);
  }
}

function typeOf(text: string): string {
  return /"type":"(\w+)"/.exec(text)?.[1] ?? '?';
}
