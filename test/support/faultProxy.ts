import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { MessageFrames } from './messageFrames.ts';

/** One message of the agent protocol, as it passes. */
export interface Passing {
  from: 'agent' | 'server';
  type: string;
  text: string;
}

/** What becomes of a message. */
export type Fate = 'pass' | 'drop' | 'dropAndCut' | 'passAndCut';

/**
 * What becomes of bytes in one direction. `hold`: they come later, as packets that are sent again. `swallow`: they never come,
 * and the connection is of no use any more, as when a router has forgotten it; neither side is told until the link is mended.
 */
export type Flow = 'pass' | 'hold' | 'swallow';

export interface LinkState {
  toServer: Flow;
  toClient: Flow;
  /** Each piece comes this much later. */
  delayMs: number;
  /** New connections are closed at once. */
  refuse: boolean;
}

const MENDED: LinkState = { toServer: 'pass', toClient: 'pass', delayMs: 0, refuse: false };

/** A faulty wire: stands between clients and a server whose address may change. */
export interface FaultProxy {
  readonly port: number;
  /** How many bytes have been lost so far. */
  readonly swallowedBytes: number;
  set(state: Partial<LinkState>): void;
  /** As it was at first. Connections that bytes were swallowed of are closed. */
  mend(): void;
  /** Closes all connections, in both directions and with what is under way. */
  cut(): void;
  /** Decides about each message between an agent and a server; by default all pass. */
  decide(judge: (message: Passing) => Fate): void;
  close(): Promise<void>;
}

/** `target` says where the server is now; null: nowhere. With `messages` the stream is cut into them, so that they can be judged. */
export async function startFaultProxy(
  target: () => { host: string; port: number } | null,
  options: { messages?: boolean } = {},
): Promise<FaultProxy> {
  let state: LinkState = MENDED;
  let judge: (message: Passing) => Fate = () => 'pass';
  const pairs = new Set<Pair>();
  let swallowedBytes = 0;

  class Pair {
    readonly client: Socket;
    readonly server: Socket;
    readonly #directions: Direction[];
    /** Bytes of it are gone: it cannot go on. */
    #useless = false;

    constructor(client: Socket, server: Socket) {
      this.client = client;
      this.server = server;
      this.#directions = [
        new Direction(this, 'agent', client, server, () => state.toServer),
        new Direction(this, 'server', server, client, () => state.toClient),
      ];
      pairs.add(this);
    }

    swallowed(): void {
      this.#useless = true;
    }

    stateChanged(): void {
      if (this.#useless && state.toServer !== 'swallow' && state.toClient !== 'swallow') this.cut();
      else for (const direction of this.#directions) direction.flow();
    }

    cut(): void {
      pairs.delete(this);
      for (const direction of this.#directions) direction.stop();
      this.client.destroy();
      this.server.destroy();
    }
  }

  /** Carries the bytes of one direction, in their order. */
  class Direction {
    readonly #pair: Pair;
    readonly #from: Passing['from'];
    readonly #source: Socket;
    readonly #sink: Socket;
    readonly #state: () => Flow;
    readonly #frames = options.messages ? new MessageFrames() : null;
    readonly #waiting: { at: number; bytes: Buffer | 'end' | 'broken' }[] = [];
    #timer: NodeJS.Timeout | undefined;

    constructor(pair: Pair, from: Passing['from'], source: Socket, sink: Socket, flow: () => Flow) {
      this.#pair = pair;
      this.#from = from;
      this.#source = source;
      this.#sink = sink;
      this.#state = flow;
      source.on('data', (chunk: Buffer) => this.#take(chunk));
      source.on('end', () => this.#put('end'));
      source.on('error', () => {});
      source.on('close', (hadError) => {
        if (hadError) this.#put('broken');
      });
      sink.on('drain', () => source.resume());
    }

    #take(chunk: Buffer): void {
      if (this.#frames === null) {
        this.#put(chunk);
        return;
      }
      for (const { bytes, text } of this.#frames.take(chunk)) {
        const fate = text === null ? 'pass' : judge({ from: this.#from, type: typeOf(text), text });
        if (fate === 'passAndCut') {
          this.#sink.write(bytes, () => this.#pair.cut());
          return;
        }
        if (fate === 'pass') this.#put(bytes);
        if (fate === 'dropAndCut') {
          this.#pair.cut();
          return;
        }
      }
    }

    #put(bytes: Buffer | 'end' | 'broken'): void {
      if (!pairs.has(this.#pair)) return;
      this.#waiting.push({ at: performance.now() + state.delayMs, bytes });
      this.flow();
    }

    /** Lets through what may pass now. */
    flow(): void {
      clearTimeout(this.#timer);
      const flow = this.#state();
      if (flow === 'swallow' && this.#waiting.length > 0) {
        for (const { bytes } of this.#waiting) swallowedBytes += typeof bytes === 'string' ? 0 : bytes.length;
        this.#waiting.length = 0;
        this.#pair.swallowed();
      }
      while (flow === 'pass' && this.#waiting[0]) {
        const { at, bytes } = this.#waiting[0];
        const waitMs = at - performance.now();
        if (waitMs > 0 && state.delayMs > 0) {
          this.#timer = setTimeout(() => this.flow(), waitMs);
          break;
        }
        this.#waiting.shift();
        if (bytes === 'broken') {
          this.#pair.cut();
          return;
        }
        if (bytes === 'end') this.#sink.end();
        else if (!this.#sink.write(bytes)) this.#source.pause();
      }
      if (this.#waiting.length > WAITING_MAX) this.#source.pause();
      else if (flow !== 'pass' || !this.#sink.writableNeedDrain) this.#source.resume();
    }

    stop(): void {
      clearTimeout(this.#timer);
      this.#waiting.length = 0;
    }
  }

  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    client.on('error', () => {});
    const address = state.refuse ? null : target();
    if (address === null) {
      client.destroy();
      return;
    }
    const server = connect({ ...address, allowHalfOpen: true, noDelay: true });
    const pair = new Pair(client, server);
    const forget = () => {
      if (client.destroyed && server.destroyed) pairs.delete(pair);
    };
    client.on('close', forget);
    server.on('close', forget);
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));

  function change(next: LinkState): void {
    state = next;
    for (const pair of [...pairs]) pair.stateChanged();
  }

  return {
    port: (listener.address() as AddressInfo).port,
    get swallowedBytes() {
      return swallowedBytes;
    },
    set: (next) => change({ ...state, ...next }),
    mend: () => change(MENDED),
    cut() {
      for (const pair of [...pairs]) pair.cut();
    },
    decide(next) {
      judge = next;
    },
    async close() {
      for (const pair of [...pairs]) pair.cut();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

/** Pieces that wait on one direction before its source is read no further. */
const WAITING_MAX = 1_000;

function typeOf(text: string): string {
  return /^\{"type":"(\w+)"/.exec(text)?.[1] ?? String((JSON.parse(text) as { type?: unknown }).type);
}
