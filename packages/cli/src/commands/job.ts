import type { JobView, RouteQuery } from '@rota/contract';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { limitOption, pairs } from '../arguments.ts';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { type Output, printable } from '../output.ts';
import { readPages } from '../pages.ts';
import { jobAction, jobColumns, jobState, labelsText, nextText, runState } from '../views.ts';
import { waitForRuns } from '../waiting.ts';
import { addJobAddCommand } from './jobAdd.ts';
import { addJobEditCommand } from './jobEdit.ts';

export function addJobCommands(program: Command, cli: Cli): void {
  const job = program.command('job').description('jobs: what runs, when and where');
  addJobAddCommand(job, cli);
  addList(job, cli);
  addShow(job, cli);
  addRun(job, cli);
  addJobEditCommand(job, cli);
  addPause(job, cli);
  addResume(job, cli);
  addDelete(job, cli);
}

interface ListOptions extends ServerOptions {
  label?: string;
  owner?: string;
  paused?: boolean;
  limit: number;
}

function addList(job: Command, cli: Cli): void {
  talks(job.command('list'))
    .description('jobs by name')
    .argument('[prefix]', 'only names that begin so')
    .option('-l, --label <key[=value]>', 'only jobs with that label')
    .option('--owner <text>', 'only jobs of that owner')
    .option('--paused', 'only paused jobs')
    .addOption(limitOption())
    .action(async (prefix: string | undefined, options: ListOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const filter: RouteQuery<'listJobs'> = {
        ...(prefix !== undefined && { prefix }),
        ...(options.label !== undefined && { label: options.label }),
        ...(options.owner !== undefined && { owner: options.owner }),
        ...(options.paused && { paused: true }),
      };
      const { items, more } = await readPages(options.limit, (page) =>
        client.call('listJobs', { query: { ...filter, ...page } }),
      );
      if (output.json) return output.value(items);
      if (items.length === 0 && output.human) {
        return output.note('No jobs. Make one: rota job add hello --every 10s -- echo hi');
      }
      output.table(items, jobColumns(output));
      if (more) output.note(`There are more; see them with --limit ${options.limit * 10}.`);
    });
}

function addShow(job: Command, cli: Cli): void {
  talks(job.command('show'))
    .description('one job: its schedule, its next times, its document')
    .argument('<name>')
    .action(async (name: string, options: ServerOptions) => {
      const output = cli.output(options);
      const view = await cli.connect(options).call('getJob', { params: { name } });
      if (output.json) return output.value(view);
      showJob(output, view);
    });
}

function showJob(output: Output, job: JobView): void {
  const { document, paused, lastRun } = job;
  output.facts([
    ['name', job.name],
    ['title', job.title === job.name ? null : printable(job.title)],
    [
      'state',
      jobState(output, job) +
        (paused
          ? ` since ${output.time(paused.at)} by ${paused.by}${paused.note && `: ${printable(paused.note)}`}`
          : ''),
    ],
    [
      'schedule',
      job.schedules.map((each) => `${each.text}  ${output.style('dim', each.description)}`).join('\n'),
    ],
    ['next', job.next.map((instant) => output.timeInFull(instant)).join('\n')],
    ['does', jobAction(job)],
    [
      'last run',
      lastRun ? `${lastRun.id} ${runState(output, lastRun.state)} ${output.time(lastRun.endedAt)}` : null,
    ],
    ['labels', labelsText(document.labels ?? {})],
    ['owner', document.owner ?? null],
    ['revision', `${job.revision}, ${output.time(job.updatedAt)}`],
    ['document', output.human ? printable(stringify(document).trimEnd()) : JSON.stringify(document)],
  ]);
}

interface RunOptions extends ServerOptions {
  wait?: boolean;
  follow?: boolean;
  param?: Record<string, string>;
  agent?: string;
  idempotencyKey?: string;
}

function addRun(job: Command, cli: Cli): void {
  talks(job.command('run'))
    .description('run a job now')
    .argument('<name>')
    .option('-w, --wait', "stream its output and end with the command's exit code")
    .option('-f, --follow', 'the same, and say how each step gets on')
    .option('--param <name=value>', 'a parameter; may be repeated', pairs('parameter'))
    .option('--agent <name>', 'on this agent')
    .option('--idempotency-key <text>', 'the same key never makes a second run')
    .action(async (name: string, options: RunOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const { agent, idempotencyKey, param } = options;
      const answer = await client.call('runJob', {
        params: { name },
        body: {
          ...(agent !== undefined && { agent }),
          ...(param && { params: param }),
          ...(idempotencyKey !== undefined && { idempotencyKey }),
        },
      });
      if (options.wait || options.follow) {
        const { id } = answer.run;
        const onInterrupt = () =>
          output.note(`rota: interrupted; the run goes on. To end it: rota run cancel ${id}`);
        const steps = options.follow === true;
        cli.exitCode = await waitForRuns(cli, client, [answer.run], output, onInterrupt, steps);
        return;
      }
      if (output.json) return output.value(answer);
      output.line(answer.run.id);
      if (!answer.created) output.note('The idempotency key had made this run before.');
      if (output.human) output.note(`Follow it: rota logs -f ${answer.run.id}`);
    });
}

interface NoteOptions extends ServerOptions {
  note?: string;
}

function addPause(job: Command, cli: Cli): void {
  talks(job.command('pause'))
    .description("stop a job's schedule")
    .argument('<name...>')
    .option('--note <text>', 'why')
    .action(async (names: string[], options: NoteOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const { note } = options;
      const views: JobView[] = [];
      for (const name of names) {
        views.push(
          await client.call('pauseJob', { params: { name }, body: note === undefined ? {} : { note } }),
        );
        if (!output.json) output.line(`${name}: paused`);
      }
      if (output.json) output.value(views);
    });
}

function addResume(job: Command, cli: Cli): void {
  talks(job.command('resume'))
    .description("start a job's schedule again, from now")
    .argument('<name...>')
    .option('--note <text>', 'why')
    .action(async (names: string[], options: NoteOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const views: JobView[] = [];
      for (const name of names) {
        const view = await client.call('resumeJob', {
          params: { name },
          body: options.note === undefined ? {} : { note: options.note },
        });
        views.push(view);
        if (!output.json) output.line(`${name}: ${nextText(output, view)}`);
      }
      if (output.json) output.value(views);
    });
}

function addDelete(job: Command, cli: Cli): void {
  talks(job.command('delete'))
    .description('delete jobs; their runs stay until their retention ends')
    .argument('<name...>')
    .action(async (names: string[], options: ServerOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      for (const name of names) {
        await client.call('deleteJob', { params: { name } });
        if (!output.json) output.line(`${name}: deleted`);
      }
      if (output.json) output.value({ deleted: names });
    });
}
