import { constants } from 'node:os';
import type { RunView } from '@rota/contract';
import { EXIT } from './errors.ts';
import type { OutputChunk } from './follow.ts';
import { bytes, type Output, took } from './output.ts';
import type { Ports, Sink } from './ports.ts';

/** Where a run's output goes: its stdout to ours, its stderr to ours, with a prefix line by line, or as JSON. */
export interface Printer {
  chunk(chunk: OutputChunk): void;
  /** Writes a last line that has no end yet. */
  flush(): void;
}

export function createPrinter(
  ports: Ports,
  output: Output,
  options: { run: string; prefix?: () => string },
): Printer {
  if (output.json) return jsonPrinter(output, options.run);
  const { prefix } = options;
  const lines = { stdout: new Lines(ports.out, prefix), stderr: new Lines(ports.err, prefix) };
  return {
    chunk(chunk) {
      if (chunk.droppedBytes > 0) {
        lines[chunk.stream].flush();
        ports.err.write(`${prefix?.() ?? ''}… ${bytes(chunk.droppedBytes)} left out …\n`);
      }
      lines[chunk.stream].write(Buffer.from(chunk.data, 'base64'));
    },
    flush() {
      lines.stdout.flush();
      lines.stderr.flush();
    },
  };
}

function jsonPrinter(output: Output, run: string): Printer {
  return {
    chunk: ({ data, ...chunk }) =>
      output.record({ run, ...chunk, text: Buffer.from(data, 'base64').toString('utf8') }),
    flush: () => undefined,
  };
}

/** Bytes to a sink: as they come without a prefix, else by whole lines so that several runs do not mix. */
class Lines {
  readonly #sink: Sink;
  readonly #prefix: (() => string) | undefined;
  #rest: Buffer = Buffer.alloc(0);

  constructor(sink: Sink, prefix: (() => string) | undefined) {
    this.#sink = sink;
    this.#prefix = prefix;
  }

  write(data: Buffer): void {
    if (this.#prefix === undefined) {
      this.#sink.write(data);
      return;
    }
    let text = Buffer.concat([this.#rest, data]);
    for (let end = text.indexOf(10); end !== -1; end = text.indexOf(10)) {
      this.#sink.write(Buffer.concat([Buffer.from(this.#prefix()), text.subarray(0, end + 1)]));
      text = text.subarray(end + 1);
    }
    this.#rest = text;
  }

  flush(): void {
    if (this.#rest.length === 0) return;
    this.#sink.write(Buffer.concat([Buffer.from(this.#prefix?.() ?? ''), this.#rest, Buffer.from('\n')]));
    this.#rest = Buffer.alloc(0);
  }
}

/** The exit code of a run that was waited for: the command's own where it has one. */
export function exitCodeOf(run: RunView): number {
  switch (run.state) {
    case 'succeeded':
      return EXIT.ok;
    case 'failed':
      if (run.exitCode !== null && run.exitCode !== 0) return run.exitCode;
      return run.signal === null
        ? EXIT.failure
        : 128 + (constants.signals[run.signal as NodeJS.Signals] ?? 0);
    case 'timedOut':
      return EXIT.timedOut;
    case 'cancelled':
      return EXIT.cancelled;
    default:
      return EXIT.noOutcome;
  }
}

/** How a run ended, in one line: `failed: exit 7 on web-1 after 3s`. */
export function outcomeLine(run: RunView): string {
  const parts = [run.state === 'timedOut' ? 'timed out' : run.state];
  if (run.state === 'failed' && run.exitCode !== null) parts.push(`with exit code ${run.exitCode}`);
  else if (run.state === 'failed' && run.signal !== null) parts.push(`by ${run.signal}`);
  if (run.agent !== null) parts.push(`on ${run.agent}`);
  if (run.durationMs !== null) parts.push(`after ${took(run.durationMs)}`);
  const plain = run.state === 'succeeded' || run.reason === null || run.reason.code === 'exitStatus';
  return plain
    ? parts.join(' ')
    : `${parts.join(' ')}: ${run.reason?.sentence}${run.detail ? ` (${run.detail})` : ''}`;
}
