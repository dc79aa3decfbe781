import { ApiError, type Client, isTerminal, type RunView } from '@rota/contract';
import type { Command } from 'commander';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { CliError, EXIT, usageError } from '../errors.ts';
import { followRun, readOutput } from '../follow.ts';
import { createPrinter, outcomeLine } from '../liveOutput.ts';
import { type Output, styler } from '../output.ts';
import { readShares } from '../outputShares.ts';
import { createProgressLine } from '../progressLine.ts';

/** How often a followed job is asked for its next run. */
const NEXT_RUN_MS = 1_000;
/** States of a run that may have written something. */
const STARTED = 'starting,running,unknown,succeeded,failed,timedOut,cancelled';

interface LogsOptions extends ServerOptions {
  follow?: boolean;
  step?: string;
}

export function addLogsCommand(program: Command, cli: Cli): void {
  talks(program.command('logs'))
    .description('what a run wrote, or the newest run of a job')
    .argument('<run-or-job>')
    .option('-f, --follow', 'go on as it writes; of a job also through its next runs')
    .option('--step <name>', 'only what this step wrote')
    .action(async (target: string, options: LogsOptions) => {
      if (options.follow && options.step !== undefined)
        throw usageError('--step shows what a step has written so far; leave out --follow');
      const output = cli.output(options);
      const client = cli.connect(options);
      if (await isJob(client, target)) {
        if (options.follow) return followJob(cli, client, target, output);
        const run = await newestRun(client, target);
        if (run === null) return output.note(`${target} has not run yet.`);
        heading(cli, output, run);
        return print(cli, client, run.id, output, options.step);
      }
      if (!options.follow) return print(cli, client, target, output, options.step);
      await follow(cli, client, target, output);
    });
}

/** A word may be a job's name or a run's id; a job comes first. */
async function isJob(client: Client, target: string): Promise<boolean> {
  try {
    await client.call('getJob', { params: { name: target } });
    return true;
  } catch (error) {
    if (!(error instanceof ApiError) || ![400, 404].includes(error.problem.status)) throw error;
  }
  try {
    await client.call('getRun', { params: { id: target } });
    return false;
  } catch (error) {
    if (!(error instanceof ApiError) || ![400, 404].includes(error.problem.status)) throw error;
    throw new CliError(`there is no job and no run ${JSON.stringify(target)}`, {
      exitCode: EXIT.notFound,
      next: 'rota job list   (or: rota run list)',
    });
  }
}

async function newestRun(client: Client, job: string): Promise<RunView | null> {
  const { items } = await client.call('listRuns', { query: { job, state: STARTED, limit: 1 } });
  return items[0] ?? null;
}

async function print(
  cli: Cli,
  client: Client,
  id: string,
  output: Output,
  step: string | undefined,
): Promise<void> {
  const printer = createPrinter(cli.ports, output, { run: id });
  const cut = step === undefined ? null : await readShares(client, id, step);
  await readOutput(client, id, (chunk) => {
    const part = cut === null ? chunk : cut(chunk);
    if (part !== null) printer.chunk(part);
  });
  printer.flush();
}

async function follow(cli: Cli, client: Client, id: string, output: Output): Promise<RunView> {
  const progress = createProgressLine(cli.ports, output, id);
  const { ports } = progress;
  const printer = createPrinter(ports, output, { run: id });
  const ended = await followRun(client, id, {
    clock: ports.clock,
    onOutput: printer.chunk,
    onRun: progress.hear,
    onContact: (problem) =>
      ports.err.write(
        problem === null ? 'rota: connected again\n' : `rota: connection lost (${problem}); trying again…\n`,
      ),
  }).finally(progress.end);
  printer.flush();
  if (output.json) output.record({ run: id, end: ended });
  else if (ended.state !== 'succeeded') output.note(`rota: run ${ended.id} ${outcomeLine(ended)}`);
  return ended;
}

/** Follows the newest run of a job, then each later one, until someone interrupts. */
async function followJob(cli: Cli, client: Client, job: string, output: Output): Promise<void> {
  let newest = await newestRun(client, job);
  if (newest === null) output.note(`rota: ${job} has not run yet; waiting for its first run…`);
  else await followOne(newest);
  for (;;) {
    await cli.ports.clock.sleep(NEXT_RUN_MS);
    for (const run of await runsSince(cli, client, job, newest, output)) {
      await followOne(run);
      newest = run;
    }
  }

  async function followOne(run: RunView): Promise<void> {
    heading(cli, output, run);
    await follow(cli, client, run.id, output);
  }
}

/** Runs that came after one, oldest first; none while the server cannot be asked. */
async function runsSince(
  cli: Cli,
  client: Client,
  job: string,
  last: RunView | null,
  output: Output,
): Promise<RunView[]> {
  try {
    const from = last === null ? {} : { from: last.dueAt };
    const { items } = await client.call('listRuns', { query: { job, state: STARTED, limit: 50, ...from } });
    const known = last === null ? -1 : items.findIndex(({ id }) => id === last.id);
    return (known === -1 ? items : items.slice(0, known)).reverse();
  } catch (error) {
    if (error instanceof ApiError && error.problem.status < 500 && error.problem.status !== 429) throw error;
    output.note('rota: the server does not answer; trying again…');
    await cli.ports.clock.sleep(5 * NEXT_RUN_MS);
    return [];
  }
}

/** Which run the lines below belong to, on stderr so that stdout holds the output alone. */
function heading(cli: Cli, output: Output, run: RunView): void {
  if (output.json) return;
  const style = styler(cli.ports, cli.ports.err);
  const on = run.agent === null ? '' : ` on ${run.agent}`;
  const ended = isTerminal(run.state) ? `, ${run.state}` : '';
  output.note(style('dim', `── run ${run.id}${on}, due ${run.dueAt}${ended} ──`));
}
