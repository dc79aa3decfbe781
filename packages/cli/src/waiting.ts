import type { Client, RunView } from '@rota/contract';
import type { Cli } from './cli.ts';
import { EXIT } from './errors.ts';
import { followRun, type OutputChunk } from './follow.ts';
import { createPrinter, exitCodeOf, outcomeLine } from './liveOutput.ts';
import type { Output } from './output.ts';
import { createProgressLine, noProgressLine } from './progressLine.ts';
import { createStepTeller } from './stepViews.ts';

/** An unknown run usually settles when its agent is back; after so long a caller that waits gets an answer. */
const UNKNOWN_FOR_MS = 30_000;

/**
 * Waits for runs, streaming their output, and gives the exit code: that of the first run (in their order) that
 * did not succeed. Output of several runs is prefixed with the agent's name. Ctrl-C ends the wait with
 * `onInterrupt`, which decides about the runs. With `steps` it says what becomes of each step.
 */
export async function waitForRuns(
  cli: Cli,
  client: Client,
  runs: readonly RunView[],
  output: Output,
  onInterrupt: () => void | Promise<void>,
  steps = false,
): Promise<number> {
  const stop = cli.ports.stopSignal();
  try {
    return await waitForAll(cli, client, runs, output, steps, stop);
  } catch (error) {
    if (!stop.aborted) throw error;
    await onInterrupt();
    return EXIT.cancelled;
  }
}

async function waitForAll(
  cli: Cli,
  client: Client,
  runs: readonly RunView[],
  output: Output,
  steps: boolean,
  signal: AbortSignal,
): Promise<number> {
  const agents = runs.length > 1 ? new Map(runs.map(({ id, agent }) => [id, agent])) : null;
  const ended = await Promise.all(
    runs.map((run) => waitForRun(cli, client, run, output, { agents, steps, signal })),
  );
  if (output.json) for (const run of ended) output.record({ run: run.id, end: run });
  return ended.map(exitCodeOf).find((code) => code !== 0) ?? 0;
}

async function waitForRun(
  cli: Cli,
  client: Client,
  { id }: RunView,
  output: Output,
  {
    agents,
    steps,
    signal,
  }: { agents: Map<string, string | null> | null; steps: boolean; signal: AbortSignal },
): Promise<RunView> {
  const prefix = () => (agents === null ? '' : prefixOf(id, agents));
  // Several runs have no place below all else.
  const progress =
    agents === null || output.json ? createProgressLine(cli.ports, output, id) : noProgressLine(cli.ports);
  const note = (text: string) => {
    if (!output.json) progress.ports.err.write(`${prefix()}${text}\n`);
  };
  const printer = createPrinter(progress.ports, output, { run: id, ...(agents && { prefix }) });
  // The first output may come before the word which agent it is from.
  let held: OutputChunk[] | null = agents === null ? null : [];
  const release = () => {
    held?.forEach(printer.chunk);
    held = null;
  };
  const tellSteps = createStepTeller(output, id, note);
  let said = '';
  const ended = await followRun(client, id, {
    clock: cli.ports.clock,
    unknownForMs: UNKNOWN_FOR_MS,
    signal,
    onOutput: (chunk) => (held === null ? printer.chunk(chunk) : void held.push(chunk)),
    onRun(heard) {
      agents?.set(id, heard.agent);
      if (heard.agent !== null) release();
      const why = waits(heard);
      if (why !== '' && why !== said) note(why);
      said = why;
      if (steps) tellSteps(heard);
      progress.hear(heard);
    },
    onContact: (problem) =>
      note(problem === null ? 'connected again' : `connection lost (${problem}); trying again…`),
  }).finally(progress.end);
  release();
  printer.flush();
  if (ended.state !== 'succeeded') note(`run ${ended.id} ${outcomeLine(ended)}`);
  return ended;
}

function prefixOf(id: string, agents: ReadonlyMap<string, string | null>): string {
  const width = Math.max(...[...agents.values()].map((agent) => agent?.length ?? 0));
  return `${(agents.get(id) ?? id).padEnd(width)} | `;
}

function waits(run: RunView): string {
  if (run.reason === null || !['queued', 'offered', 'unknown'].includes(run.state)) return '';
  return `${run.state === 'unknown' ? 'unknown' : 'waiting'}: ${run.reason.sentence} ${run.reason.remedy}`;
}
