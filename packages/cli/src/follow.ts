import {
  ApiError,
  type Client,
  isTerminal,
  type LiveRun,
  type OutputView,
  type RunView,
  UnreachableError,
} from '@rota/contract';
import type { Clock } from './ports.ts';

export type OutputChunk = OutputView['chunks'][number];

/** Its steps are there while it is followed, not when it is asked for at the end. */
export type FollowedRun = RunView & Partial<LiveRun>;

export interface FollowOptions {
  clock: Clock;
  signal?: AbortSignal;
  onOutput(chunk: OutputChunk): void;
  /** Each time the run's state is heard of. */
  onRun?(run: FollowedRun): void;
  /** The connection was lost (with the reason), or is there again (null). */
  onContact?(problem: string | null): void;
  /** Give up when the run stays `unknown` for so many milliseconds; without it, wait for ever. */
  unknownForMs?: number;
}

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 5_000;

/**
 * Follows a run until it has ended and gives its last state. Each chunk of output is told once, also when the
 * connection or the server goes away meanwhile: it connects again with the cursor of what was told last.
 * @throws ApiError when the server refuses; the signal's reason when it is aborted
 */
export async function followRun(client: Client, id: string, options: FollowOptions): Promise<RunView> {
  const { clock, signal } = options;
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const told = new Told();
  let retryMs = FIRST_RETRY_MS;
  let lost = false;
  let unknown = false;
  let last: RunView | null = null;

  const hear = (run: FollowedRun) => {
    last = run;
    if (run.state === 'unknown' && !unknown && options.unknownForMs !== undefined) {
      void clock.sleep(options.unknownForMs, either).then(() => {
        if (unknown) stop.abort();
      });
    }
    unknown = run.state === 'unknown';
    options.onRun?.(run);
  };

  for (;;) {
    let problem = 'the server closed the connection';
    try {
      const query = told.cursor === null ? {} : { cursor: told.cursor };
      for await (const event of client.stream('followRun', { params: { id }, query, signal: either })) {
        retryMs = FIRST_RETRY_MS;
        if (lost) options.onContact?.(null);
        lost = false;
        if (event.event === 'run') hear(JSON.parse(event.data) as LiveRun);
        else if (event.event === 'output')
          told.once(JSON.parse(event.data) as OutputChunk, event.id, options.onOutput);
        else if (event.event === 'end') {
          stop.abort();
          return await finalRun(client, id, last, options);
        }
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (stop.signal.aborted && last !== null) return last;
      if (!mayPass(error)) throw error;
      problem = error instanceof UnreachableError || error instanceof ApiError ? error.message : problem;
    }
    if (!lost) options.onContact?.(problem);
    lost = true;
    await clock.sleep(retryMs, either);
    signal?.throwIfAborted();
    if (stop.signal.aborted && last !== null) return last;
    retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
  }
}

/** What has been told already: by cursor for the server, by attempt and number in case it sends a chunk again. */
class Told {
  cursor: string | null = null;
  readonly #lastSeq = new Map<string, number>();

  once(chunk: OutputChunk, cursor: string | null, tell: (chunk: OutputChunk) => void): void {
    if (cursor !== null) this.cursor = cursor;
    const key = String(chunk.attempt);
    if (chunk.seq <= (this.#lastSeq.get(key) ?? -1)) return;
    this.#lastSeq.set(key, chunk.seq);
    tell(chunk);
  }
}

/** A stream breaks with an error of the platform's; a server that is starting, stopping or busy says so. */
function mayPass(error: unknown): boolean {
  if (error instanceof ApiError) return [429, 500, 502, 503, 504].includes(error.problem.status);
  return error instanceof UnreachableError || (error instanceof Error && error.name !== 'AbortError');
}

async function finalRun(
  client: Client,
  id: string,
  last: RunView | null,
  options: FollowOptions,
): Promise<RunView> {
  if (last && isTerminal(last.state)) return last;
  const { run } = await client.call('getRun', { params: { id } });
  options.onRun?.(run);
  return run;
}

/** Reads what a run has written so far, from its start. */
export async function readOutput(
  client: Client,
  id: string,
  tell: (chunk: OutputChunk) => void,
): Promise<void> {
  let cursor: string | null = null;
  do {
    const page: OutputView = await client.call('runOutput', {
      params: { id },
      query: cursor === null ? { limit: 200 } : { cursor, limit: 200 },
    });
    page.chunks.forEach(tell);
    // The cursor of a run that still writes stays where the output ends.
    cursor = page.chunks.length === 0 ? null : page.nextCursor;
  } while (cursor !== null);
}
