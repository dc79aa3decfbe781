import type { KeptText } from '../stepsFile.ts';

/** How much of a command's standard output later steps may read: the last of it. */
const KEPT_BYTES = 64 * 1024;

/**
 * All output of one try passes here on its way to the spool. What is kept of it is for later steps, and as the command
 * wrote it.
 */
export interface StepOutput {
  write(stream: 'stdout' | 'stderr', data: Buffer): void;
  /** The last of its standard output. */
  kept(): KeptText;
}

/** `isKept`: there are later steps. */
export function createStepOutput(spool: StepOutput['write'], isKept: boolean): StepOutput {
  let parts: Buffer[] = [];
  let bytes = 0;
  let isWhole = true;

  function keep(data: Buffer): void {
    parts.push(data);
    bytes += data.length;
    while (parts.length > 1 && bytes - (parts[0] as Buffer).length >= KEPT_BYTES) {
      bytes -= (parts.shift() as Buffer).length;
      isWhole = false;
    }
  }

  return {
    write(stream, data) {
      if (isKept && stream === 'stdout') keep(data);
      spool(stream, data);
    },
    kept() {
      const data = Buffer.concat(parts);
      parts = [];
      const from = Math.max(0, data.length - KEPT_BYTES);
      return { text: data.toString('utf8', characterAt(data, from)), isWhole: isWhole && from === 0 };
    },
  };
}

/** The first place from `from` on where a character begins. */
function characterAt(data: Buffer, from: number): number {
  let at = from;
  while (at > 0 && at < data.length && ((data[at] as number) & 0xc0) === 0x80) at++;
  return at;
}
