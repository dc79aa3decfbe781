import type { Client } from '@rota/contract';
import { CliError, EXIT } from './errors.ts';
import type { OutputChunk } from './follow.ts';

interface Share {
  from: number;
  to: number;
}

/**
 * Reads where a step's share of a run's output is, in each attempt.
 * @returns what a chunk has of that share, null for none; chunks are given in their order
 * @throws CliError when the run has no such step
 */
export async function readShares(
  client: Client,
  id: string,
  step: string,
): Promise<(chunk: OutputChunk) => OutputChunk | null> {
  const { attempts } = await client.call('getRun', { params: { id } });
  const shares = new Map<number, Share>();
  for (const { number, steps } of attempts) {
    const found = steps.find(({ name }) => name === step);
    if (found) shares.set(number, { from: found.outputFrom, to: found.outputTo ?? Number.POSITIVE_INFINITY });
    // One plain step has no record of its own: all that was written is its output.
    else if (steps.length === 0 && step === 'main')
      shares.set(number, { from: 0, to: Number.POSITIVE_INFINITY });
  }
  if (shares.size === 0) {
    const names = [...new Set(attempts.flatMap(({ steps }) => steps.map(({ name }) => name)))];
    const known = names.length === 0 ? '' : `; its steps: ${names.join(', ')}`;
    throw new CliError(`the run has no step ${JSON.stringify(step)}${known}`, { exitCode: EXIT.notFound });
  }
  const places = new Map<number, number>();
  return (chunk) => {
    const data = Buffer.from(chunk.data, 'base64');
    const from = (places.get(chunk.attempt) ?? 0) + chunk.droppedBytes;
    places.set(chunk.attempt, from + data.byteLength);
    const share = shares.get(chunk.attempt);
    if (share === undefined) return null;
    const part = data.subarray(Math.max(0, share.from - from), Math.max(0, share.to - from));
    // What is missing before it may be another step's.
    const missing = Math.max(0, Math.min(from, share.to) - Math.max(from - chunk.droppedBytes, share.from));
    if (part.byteLength === 0 && missing === 0) return null;
    return { ...chunk, droppedBytes: missing, data: part.toString('base64') };
  };
}
