import type { FollowedRun } from './follow.ts';
import type { Output } from './output.ts';
import type { Ports, Sink } from './ports.ts';

/**
 * How far a run is that is followed: on a terminal a line that stays below all else, as JSON one record for each word, and elsewhere
 * nothing, as what the command itself says of it is in its output.
 */
export interface ProgressLine {
  /** What is written beside it has to go there, so that the line stays last. */
  readonly ports: Ports;
  hear(run: FollowedRun): void;
  /** Takes the line away. */
  end(): void;
}

const BAR_WIDTH = 30;
const ERASE = '\r\u001b[K';

export function createProgressLine(ports: Ports, output: Output, run: string): ProgressLine {
  if (output.json) return jsonLine(ports, output, run);
  return ports.err.isTTY && ports.env.TERM !== 'dumb' ? terminalLine(ports) : noProgressLine(ports);
}

export function noProgressLine(ports: Ports): ProgressLine {
  return { ports, hear() {}, end() {} };
}

function jsonLine(ports: Ports, output: Output, run: string): ProgressLine {
  let told: number | null = null;
  return {
    ports,
    hear({ attempt, progress = null }) {
      if (progress !== told) output.record({ run, attempt, progress });
      told = progress;
    },
    end() {},
  };
}

function terminalLine(ports: Ports): ProgressLine {
  const { out, err } = ports;
  let text = '';
  let isDrawn = false;
  /** A line of the command's that has no end yet is not to be erased. */
  let isAtStart = true;

  function erase(): void {
    if (isDrawn) err.write(ERASE);
    isDrawn = false;
  }

  function draw(): void {
    if (text === '' || !isAtStart) return;
    err.write(text);
    isDrawn = true;
  }

  function show(next: string): void {
    if (next === text) return;
    erase();
    text = next;
    draw();
  }

  function above(sink: Sink): Sink {
    if (!sink.isTTY) return sink;
    return {
      isTTY: true,
      columns: sink.columns,
      write(data) {
        if (data.length === 0) return;
        erase();
        sink.write(data);
        isAtStart = data.at(-1) === (typeof data === 'string' ? '\n' : 10);
        draw();
      },
    };
  }

  return {
    ports: { ...ports, out: above(out), err: above(err) },
    hear: (run) => show(lineOf(run, err.columns)),
    end: () => show(''),
  };
}

/** `[#########---------------------] 30 % fetch` */
function lineOf({ progress = null, steps = [] }: FollowedRun, columns: number): string {
  if (progress === null) return '';
  const done = Math.round((progress / 100) * BAR_WIDTH);
  const bar = `[${'#'.repeat(done)}${'-'.repeat(BAR_WIDTH - done)}] ${progress} %`;
  const step = steps.find(({ state }) => state === 'running');
  // A line that wraps could not be erased.
  return `${bar}${step ? ` ${step.name}` : ''}`.slice(0, Math.max(0, columns - 1));
}
