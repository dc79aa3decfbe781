import { ApiError, readJob } from '@rota/contract';
import { type Command, Option } from 'commander';
import { commandOf, labelOption, pairs, repeated } from '../arguments.ts';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { CliError, EXIT, FaultsError, usageError } from '../errors.ts';
import { nextText } from '../views.ts';

interface AddOptions extends ServerOptions {
  every?: string[];
  cron?: string[];
  at?: string[];
  timezone?: string;
  jitter?: string;
  agent?: string[];
  stagger?: string;
  label?: Record<string, string>;
  timeout?: string;
  startDeadline?: string;
  user?: string;
  cwd?: string;
  shell?: string;
  env?: Record<string, string>;
  http?: string;
  title?: string;
  description?: string;
  owner?: string;
  paused?: boolean;
  replace?: boolean;
}

export function addJobAddCommand(job: Command, cli: Cli): void {
  talks(job.command('add'))
    .description('make a job of a command')
    .usage('NAME [--every 15m | --cron "30 2 * * *" | --at TIME] [flags] -- COMMAND…')
    .argument('<name>')
    .argument('[command...]', 'one word is a text for the shell, several are a program and its arguments')
    .optionsGroup('When:')
    .option('--every <duration>', 'each so often, such as 10s, 15m or 1h30m', repeated)
    .option('--cron <pattern>', 'by a cron pattern; H spreads jobs', repeated)
    .option('--at <time>', 'once, RFC 3339', repeated)
    .option('--timezone <zone>', "IANA name; default: the server's")
    .option('--jitter <duration>', 'up to so much later, always the same for one job and instant')
    .optionsGroup('Where:')
    .option('--agent <name>', 'only on this agent; may be repeated, agents step in by their order', repeated)
    .addOption(labelOption('only on agents with this label'))
    .option('--stagger <duration>', 'how long each next agent waits for the one before it')
    .optionsGroup('What:')
    .option('--http <url>', 'request this address in place of a command')
    .option('--user <name>', 'run as this user')
    .option('--cwd <folder>', 'in this folder')
    .option('--env <name=value>', 'with this variable; may be repeated', pairs('variable'))
    .addOption(new Option('--shell <shell>', 'shell of a command of one word').choices(['sh', 'bash']))
    .option('--timeout <duration>', 'end it when it runs longer')
    .option('--start-deadline <duration>', 'give up when it could not start by then')
    .optionsGroup('About it:')
    .option('--title <text>', 'name for people')
    .option('--description <text>', 'what it is for')
    .option('--owner <text>', 'whose it is')
    .option('--job-label <key=value>', 'label of the job itself; may be repeated', pairs('label'))
    .option('--paused', 'do not start its schedule yet')
    .option('--replace', 'replace a job of that name')
    .action(
      async (name: string, words: string[], options: AddOptions & { jobLabel?: Record<string, string> }) => {
        const output = cli.output(options);
        const document = { name, ...documentOf(words, options) };
        // The server checks again, but it would stop at a bad name, which stands in the path.
        const read = readJob(document, { timezone: options.timezone ?? 'UTC' });
        if ('faults' in read) throw new FaultsError(read.faults);
        const client = cli.connect(options);
        const query = { ...(!options.replace && { revision: 0 }), ...(options.paused && { paused: true }) };
        const { job: view, change } = await client
          .call('putJob', { params: { name }, query, body: document })
          .catch(conflict(name));
        if (output.json) return output.value({ job: view, change });
        const [schedule] = view.schedules;
        output.line(
          `${name}: ${change.action}${schedule ? `, ${schedule.description}` : ''}; ${nextText(output, view)}`,
        );
      },
    );
}

/** The document of a job as the flags say it; what they do not say is left to its defaults. */
function documentOf(words: string[], options: AddOptions & { jobLabel?: Record<string, string> }): object {
  if (words.length > 0 && options.http !== undefined)
    throw usageError('a job has a command or --http, not both');
  if (words.length === 0 && options.http === undefined) {
    throw usageError(
      'what shall it run? Put the command behind --',
      'rota job add NAME --every 10s -- echo hi',
    );
  }
  const schedules = schedulesOf(options);
  const target = {
    ...(options.agent && { agents: options.agent }),
    ...(options.label && { labels: options.label }),
    ...(options.stagger !== undefined && { stagger: options.stagger }),
  };
  return defined({
    title: options.title,
    description: options.description,
    owner: options.owner,
    labels: options.jobLabel,
    schedule: schedules.length > 1 ? schedules : schedules[0],
    target: Object.keys(target).length > 0 ? target : undefined,
    command: words.length > 0 ? commandOf(words) : undefined,
    http: options.http === undefined ? undefined : { url: options.http },
    shell: options.shell,
    env: options.env,
    user: options.user,
    cwd: options.cwd,
    timeout: options.timeout,
    startDeadline: options.startDeadline,
  });
}

function schedulesOf({ every = [], cron = [], at = [], timezone, jitter }: AddOptions): object[] {
  const common = defined({ timezone, jitter });
  return [
    ...every.map((each) => ({ every: each, ...common })),
    ...cron.map((each) => ({ cron: each, ...common })),
    ...at.map((each) => ({ at: each, ...common })),
  ];
}

function defined(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}

function conflict(name: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof ApiError && error.problem.code === 'job.revisionConflict') {
      throw new CliError(`there is a job ${name} already`, {
        exitCode: EXIT.conflict,
        next: `rota job edit ${name}   (or: job add --replace)`,
      });
    }
    throw error;
  };
}
