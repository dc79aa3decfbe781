import type { Action, AttemptEnd } from '@rota/contract';
import type { Masker } from '../masking.ts';
import { createOutputData, type ReportedData } from '../outputData.ts';
import type { KeptText } from '../stepsFile.ts';

/** How much of a command's standard output later steps may read: the last of it. */
const KEPT_BYTES = 64 * 1024;

/**
 * All output of one try passes here on its way to the spool, and is masked. What is kept of it is for later steps, in memory, and
 * as the command wrote it.
 */
export interface StepOutput {
  write(stream: 'stdout' | 'stderr', data: Buffer): void;
  /** Nothing more comes: what a command said of itself. */
  end(): ReportedData;
  /** The last of its standard output. */
  kept(): KeptOutput;
}

/** `isSecret`: it may have a secret's value or a part of one, and goes to no disk. */
export type KeptOutput = KeptText & { isSecret: boolean };

/** The body of an answer, for later steps. */
export function keptAnswer(
  { isWhole, text }: { isWhole: boolean; text(): string },
  masker: Masker,
): KeptOutput {
  const body = text();
  const shown = isWhole ? body : `${body}…`;
  return { text: body, isWhole, isSecret: masker.text(shown) !== shown };
}

/** Whether the answer to a request tells a secret in what stands before its body. */
export function isMaskedIn(http: AttemptEnd['http'], masker: Masker): boolean {
  return Object.entries(http?.headers ?? {}).some(
    ([name, value]) => masker.text(name) !== name || masker.text(value) !== value,
  );
}

/** `isKept`: there are later steps. */
export function createStepOutput(
  to: { write: StepOutput['write']; progress(percent: number): void },
  { kind, isKept }: { kind: Action['kind']; isKept: boolean },
  masker: Masker,
): StepOutput {
  const data = createOutputData(to.progress);
  const masked = { stdout: masker.stream(), stderr: masker.stream() };
  let parts: Buffer[] = [];
  let bytes = 0;
  let isWhole = true;
  let isNoticed = false;

  function keep(data: Buffer): void {
    parts.push(data);
    bytes += data.length;
    while (parts.length > 1 && bytes - (parts[0] as Buffer).length >= KEPT_BYTES) {
      bytes -= (parts.shift() as Buffer).length;
      isWhole = false;
    }
  }

  /** Also a value that is spelled in a way of its own until it is read. */
  function noticed(text: string): string {
    const shown = masker.text(text);
    if (shown !== text) isNoticed = true;
    return shown;
  }

  function pass(stream: 'stdout' | 'stderr', data: Buffer): void {
    if (data.length > 0) to.write(stream, data);
  }

  return {
    write(stream, piece) {
      if (isKept && stream === 'stdout') keep(piece);
      if (kind === 'command' && stream === 'stdout') data.write(piece);
      pass(stream, masked[stream].write(piece));
    },
    end() {
      // A sample of an answer may end anywhere.
      for (const stream of ['stdout', 'stderr'] as const) pass(stream, masked[stream].flush(kind === 'http'));
      return data.end({ ...masker, text: noticed });
    },
    kept() {
      const data = Buffer.concat(parts);
      parts = [];
      const from = Math.max(0, data.length - KEPT_BYTES);
      return {
        text: data.toString('utf8', characterAt(data, from)),
        isWhole: isWhole && from === 0,
        // Also when what was masked is not in the last of it: a value may be cut at its beginning.
        isSecret: masked.stdout.isHit || isNoticed,
      };
    },
  };
}

/** The first place from `from` on where a character begins. */
function characterAt(data: Buffer, from: number): number {
  let at = from;
  while (at > 0 && at < data.length && ((data[at] as number) & 0xc0) === 0x80) at++;
  return at;
}
