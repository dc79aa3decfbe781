import { type AttemptView, type RouteQuery, RUN_STATES, type RunView } from '@rota/contract';
import { type Command, Option } from 'commander';
import { limitOption } from '../arguments.ts';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { usageError } from '../errors.ts';
import { bytes, type Output, oneLine, took } from '../output.ts';
import { readPages } from '../pages.ts';
import { chainText, stepColumns } from '../stepViews.ts';
import { paramsText, runColumns, runState } from '../views.ts';

export function addRunCommands(program: Command, cli: Cli): void {
  const run = program.command('run').description('runs: what happened, and what goes on');
  addList(run, cli);
  addShow(run, cli);
  addCancel(run, cli);
  addResolve(run, cli);
  addRetry(run, cli);
}

interface ListOptions extends ServerOptions {
  job?: string;
  agent?: string;
  state?: string;
  active?: boolean;
  failed?: boolean;
  from?: string;
  to?: string;
  limit: number;
}

const ACTIVE = 'queued,offered,starting,running,unknown';
/** What has come or is over; what is still planned shows with `--state planned`. */
const PAST = RUN_STATES.filter((state) => state !== 'planned').join(',');
const FAILED = 'failed,timedOut,missed,unknown';

function addList(run: Command, cli: Cli): void {
  talks(run.command('list'))
    .description('runs, the newest due first')
    .argument('[job]', 'only of this job')
    .option('--agent <name>', 'only on this agent')
    .option('--state <states>', 'only in these states, comma-separated; default: all but planned')
    .option('--active', 'only what waits or runs now')
    .option('--failed', 'only what failed, timed out, was missed or is unknown')
    .option('--from <time>', 'due at or after, RFC 3339')
    .option('--to <time>', 'due before, RFC 3339')
    .addOption(limitOption().default(50))
    .action(async (job: string | undefined, options: ListOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const state = options.state ?? (options.active ? ACTIVE : options.failed ? FAILED : PAST);
      const filter: RouteQuery<'listRuns'> = {
        ...(job !== undefined && { job }),
        ...(options.agent !== undefined && { agent: options.agent }),
        state,
        ...(options.from !== undefined && { from: options.from }),
        ...(options.to !== undefined && { to: options.to }),
      };
      const { items, more } = await readPages(options.limit, (page) =>
        client.call('listRuns', { query: { ...filter, ...page } }),
      );
      if (output.json) return output.value(items);
      if (items.length === 0 && output.human) return output.note('No runs.');
      output.table(items, runColumns(output));
      if (more) output.note(`There are more; see them with --limit ${options.limit * 10}.`);
    });
}

function addShow(run: Command, cli: Cli): void {
  talks(run.command('show'))
    .description('one run, its attempts, and why it is as it is')
    .argument('<id>', 'its id or the first characters of it')
    .action(async (id: string, options: ServerOptions) => {
      const output = cli.output(options);
      const answer = await cli.connect(options).call('getRun', { params: { id } });
      if (output.json) return output.value(answer);
      showRun(output, answer.run, answer.attempts);
    });
}

function showRun(output: Output, run: RunView, attempts: readonly AttemptView[]): void {
  const { reason } = run;
  output.facts([
    ['run', run.id],
    ['job', run.job === null ? oneLine(run.title) : `${run.job} (revision ${run.revision})`],
    ['kind', run.kind + (run.createdBy ? ` by ${run.createdBy}` : '')],
    [
      'state',
      runState(output, run.state) +
        (run.cancelRequestedAt !== null && run.endedAt === null ? ', cancelling' : ''),
    ],
    [
      'why',
      reason && [reason.sentence, run.detail, output.style('dim', reason.remedy)].filter(Boolean).join('\n'),
    ],
    ['retry', retryText(output, run)],
    ['params', paramsText(run.params)],
    ['scheduled', output.timeInFull(run.scheduledFor)],
    ['due', run.dueAt === run.scheduledFor ? null : output.timeInFull(run.dueAt)],
    ['started', run.startedAt && output.timeInFull(run.startedAt)],
    ['ended', run.endedAt && output.timeInFull(run.endedAt)],
    ['took', run.durationMs === null ? null : took(run.durationMs)],
    ['late', latenessText(run)],
    ['contact', run.contactLostAt && `lost ${output.timeInFull(run.contactLostAt)}`],
    ...attempts.map((attempt) => [`attempt ${attempt.number}`, attemptText(output, attempt)] as const),
  ]);
  for (const attempt of attempts) {
    if (attempt.steps.length === 0) continue;
    if (output.human) output.line();
    if (output.human && attempts.length > 1) output.line(`Steps of attempt ${attempt.number}:`);
    output.table(attempt.steps, stepColumns(output));
  }
  if (output.human && run.startedAt !== null) output.note(`Its output: rota logs ${run.id}`);
}

function retryText(output: Output, run: RunView): string | null {
  if (run.retriesLeft === null || run.endedAt !== null) return null;
  const next = run.retryAt === null ? '' : `next attempt ${output.timeInFull(run.retryAt)}, `;
  return `${next}${run.retriesLeft} more after ${run.retryAt === null ? 'this one' : 'that'}`;
}

function latenessText({ lateness }: RunView): string | null {
  if (lateness.totalMs === null) return null;
  const parts = (['plan', 'queue', 'dispatch', 'exec'] as const).map(
    (part) => `${part} ${took(lateness[`${part}Ms`])}`,
  );
  return `${took(lateness.totalMs)} (${parts.join(', ')})`;
}

function attemptText(output: Output, attempt: AttemptView): string {
  const parts = [
    attempt.outcome ?? attempt.state,
    attempt.agent === null ? '' : `on ${attempt.agent}`,
    attempt.exitCode === null ? '' : `exit ${attempt.exitCode}`,
    attempt.signal ?? '',
    attempt.http?.status ? `HTTP ${attempt.http.status} from ${attempt.http.url}` : '',
    attempt.durationMs === null ? '' : took(attempt.durationMs),
    toldText(attempt),
    attempt.cpuMs === null ? '' : `cpu ${took(attempt.cpuMs)}`,
    attempt.maxRssBytes === null ? '' : `memory ${bytes(attempt.maxRssBytes)}`,
    attempt.outputBytes === 0 ? '' : `output ${bytes(attempt.outputBytes)}`,
    attempt.progress === null ? '' : `progress ${attempt.progress} %`,
    attempt.outputDroppedBytes === 0 ? '' : `(${bytes(attempt.outputDroppedBytes)} left out)`,
  ];
  const chain = attempt.outcome === null ? [] : chainText(attempt);
  const why = attempt.error ?? attempt.reason?.sentence ?? '';
  const said = [
    ...(chain.length === 0 ? [why && output.style('dim', oneLine(why))] : chain),
    attempt.summary === null ? '' : `summary: ${oneLine(attempt.summary)}`,
    attempt.result === null ? '' : `result: ${oneLine(JSON.stringify(attempt.result), 500)}`,
  ];
  return [parts.filter(Boolean).join(', '), ...said].filter(Boolean).join('\n');
}

/** That the server was told of the end long after it: the agent could not reach it. */
function toldText({ startedAt, endedAt, durationMs }: AttemptView): string {
  if (startedAt === null || endedAt === null || durationMs === null) return '';
  const lateMs = Date.parse(endedAt) - Date.parse(startedAt) - durationMs;
  return lateMs < TOLD_LATE_MS ? '' : `told ${took(lateMs)} later`;
}

const TOLD_LATE_MS = 2_000;

function addCancel(run: Command, cli: Cli): void {
  talks(run.command('cancel'))
    .description('cancel runs: drop those that have not started, end the processes of the others')
    .argument('<id...>')
    .action(async (ids: string[], options: ServerOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const runs: RunView[] = [];
      for (const id of ids) {
        const cancelled = await client.call('cancelRun', { params: { id } });
        runs.push(cancelled);
        if (!output.json)
          output.line(`${cancelled.id}: ${cancelled.state === 'cancelled' ? 'cancelled' : 'cancelling'}`);
      }
      if (output.json) output.value(runs);
    });
}

interface ResolveOptions extends ServerOptions {
  as: 'failed' | 'succeeded' | 'retry';
  note?: string;
}

function addResolve(run: Command, cli: Cli): void {
  talks(run.command('resolve'))
    .description('decide the outcome of an unknown run, after a look at its machine')
    .argument('<id>')
    .addOption(
      new Option('--as <outcome>', 'what it was')
        .choices(['failed', 'succeeded', 'retry'])
        .makeOptionMandatory(),
    )
    .option('--note <text>', 'how you know')
    .action(async (id: string, options: ResolveOptions) => {
      const output = cli.output(options);
      const body = { as: options.as, ...(options.note !== undefined && { note: options.note }) };
      const resolved = await cli.connect(options).call('resolveRun', { params: { id }, body });
      if (output.json) return output.value(resolved);
      output.line(`${resolved.id}: ${resolved.state}`);
    });
}

function addRetry(run: Command, cli: Cli): void {
  talks(run.command('retry'))
    .description('hurry or drop the next attempt of a run that waits for it')
    .argument('<id>')
    .option('--now', 'begin it at once')
    .option('--drop', 'no further attempt: the run ends as its last one did')
    .action(async (id: string, options: ServerOptions & { now?: boolean; drop?: boolean }) => {
      if (options.now === options.drop) throw usageError('give --now or --drop');
      const output = cli.output(options);
      const body = { action: options.now ? ('now' as const) : ('drop' as const) };
      const decided = await cli.connect(options).call('retryRun', { params: { id }, body });
      if (output.json) return output.value(decided);
      output.line(`${decided.id}: ${options.now ? 'begins its next attempt' : decided.state}`);
    });
}
