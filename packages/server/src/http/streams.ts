import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import type { Clock } from '../clock.ts';
import type { Hints } from '../hints.ts';
import { Refusal } from './errors.ts';

/** Streams open at one time, in all and for one token. */
const STREAMS = 1_000;
const STREAMS_OF_TOKEN = 100;
/** Longest wait for a hint before looking anyway. */
const POLL_MS = 1_000;
/** A comment is sent after so much silence, so that whatever stands between keeps the connection. */
const HEARTBEAT_MS = 15_000;
/** A reader that does not read for so long is cut off; it resumes by the last id that it has. */
const SLOW_MS = 10_000;

export interface StreamEvent {
  event: string;
  data: unknown;
  id?: string;
}

/** An open stream of server-sent events. */
export interface EventStream {
  /** Sends an event; waits while the reader is slow. False once the stream has ended. */
  send(event: StreamEvent): Promise<boolean>;
  /** Waits until there may be something new on a topic. False once the stream has ended. */
  wait(topic: string): Promise<boolean>;
}

/** Opens streams and knows all that are open, so that stopping can end them. */
export interface Streams {
  /** Takes over the reply, runs `body`, and ends the stream. @throws Refusal `request.tooMany` before anything is sent */
  run(reply: FastifyReply, tokenId: string, body: (stream: EventStream) => Promise<void>): Promise<void>;
  stop(): void;
}

export function createStreams(ports: { clock: Clock; hints: Hints }): Streams {
  const open = new Map<ServerResponse, string>();
  return {
    async run(reply, tokenId, body) {
      const ofToken = [...open.values()].filter((each) => each === tokenId).length;
      if (open.size >= STREAMS || ofToken >= STREAMS_OF_TOKEN)
        throw new Refusal('request.tooMany', 'Too many streams are open; close one or use one for all.');
      const { raw } = reply;
      open.set(raw, tokenId);
      try {
        reply.hijack();
        raw.setHeader('x-request-id', reply.request.id);
        raw.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' });
        raw.flushHeaders();
        await body(createStream(raw, ports));
      } finally {
        open.delete(raw);
        raw.end();
      }
    },
    stop() {
      for (const raw of open.keys()) raw.destroy();
    },
  };
}

function createStream(raw: ServerResponse, ports: { clock: Clock; hints: Hints }): EventStream {
  const { clock, hints } = ports;
  let quietSince = clock.now();
  const ended = () => raw.destroyed || raw.writableEnded;

  async function write(text: string): Promise<boolean> {
    if (ended()) return false;
    quietSince = clock.now();
    if (raw.write(text)) return true;
    const drained = await first(raw, ['drain', 'close'], (wake) => {
      const timer = clock.after(SLOW_MS, wake);
      return () => timer.cancel();
    });
    if (drained !== 'drain') raw.destroy();
    return !ended();
  }

  return {
    send({ event, data, id }) {
      const idLine = id === undefined ? '' : `id: ${id}\n`;
      return write(`${idLine}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    },
    async wait(topic) {
      if (ended()) return false;
      await first(raw, ['close'], (wake) => {
        const timer = clock.after(POLL_MS, wake);
        const unsubscribe = hints.on(topic, wake);
        return () => {
          timer.cancel();
          unsubscribe();
        };
      });
      if (ended()) return false;
      return clock.now() - quietSince < HEARTBEAT_MS ? true : write(': still here\n\n');
    },
  };
}

/** Waits for one of the events, or for `arm`'s callback; says which event, null for the callback. */
function first(
  raw: ServerResponse,
  events: string[],
  arm: (wake: () => void) => () => void,
): Promise<string | null> {
  return new Promise((resolve) => {
    const listeners = events.map((event) => [event, () => finish(event)] as const);
    const finish = (event: string | null) => {
      for (const [name, listener] of listeners) raw.off(name, listener);
      disarm();
      resolve(event);
    };
    for (const [name, listener] of listeners) raw.on(name, listener);
    const disarm = arm(() => finish(null));
  });
}
