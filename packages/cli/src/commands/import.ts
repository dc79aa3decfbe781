import { readFileSync, realpathSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, resolve } from 'node:path';
import type { AgentView, ApplyChange, Client } from '@rota/contract';
import type { Command } from 'commander';
import { repeated } from '../arguments.ts';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { homesOf } from '../crontab/homes.ts';
import { hasUserField, type ParsedCrontab, parseCrontab } from '../crontab/parse.ts';
import { takeOverFile } from '../crontab/takeOver.ts';
import { CliError, EXIT, usageError, whyUnreadable } from '../errors.ts';
import { namesOfOthers } from '../jobNames.ts';
import { type Output, oneLine } from '../output.ts';
import { readPages } from '../pages.ts';
import { addFleetCronImport } from './importFleetCron.ts';

interface ImportOptions extends ServerOptions {
  userField?: boolean;
  user?: string;
  owner?: string;
  agent?: string[];
  anyAgent?: boolean;
  takeOver?: boolean;
  dryRun?: boolean;
}

/** One crontab with what has become of it. */
interface Imported extends ParsedCrontab {
  file: string;
  owner: string;
  changes: ApplyChange[];
  /** Set once its lines are comments. */
  backup: string | null;
}

export function addImportCommands(program: Command, cli: Cli): void {
  const command = program.command('import').description('take over what other schedulers do');
  talks(command.command('crontab'))
    .description('make jobs of crontabs; they arrive paused, and cron goes on until --take-over')
    .argument(
      '<file...>',
      'such as /etc/crontab, /etc/cron.d/*, /var/spool/cron/crontabs/NAME; - reads the input',
    )
    .option('--user-field', 'each line names its user; known of /etc/crontab and /etc/cron.d')
    .option('--no-user-field', 'no line does')
    .option('--user <name>', 'whose crontab it is; known of /var/spool/cron')
    .option('--owner <text>', 'owner of the jobs; default: "crontab HOST:FILE"')
    .option('--agent <name>', "the agent that runs them; default: this machine's", repeated)
    .option('--any-agent', 'let any agent run them')
    .option('--dry-run', 'only say what would be made')
    .option('--take-over', 'also comment the lines out (a copy is kept), then start the jobs')
    .action(async (files: string[], options: ImportOptions) => {
      const output = cli.output(options);
      if (options.takeOver && (options.dryRun || files.includes('-'))) {
        throw usageError('--take-over changes files: it goes neither with --dry-run nor with the input (-)');
      }
      const client = cli.connect(options);
      const target = await targetOf(client, options);
      const imported: Imported[] = [];
      for (const file of files) imported.push(await importFile(file, target, options, client, cli));
      if (imported.some(({ faults }) => faults.length > 0)) cli.exitCode = EXIT.failure;
      if (options.takeOver) for (const each of imported) await takeOver(each, client, cli, output);
      if (output.json) return output.value(imported);
      for (const each of imported) show(output, each);
      if (!options.takeOver && !options.dryRun) showNext(output, imported, options);
    });
  addFleetCronImport(command, cli);
}

/** A crontab belongs to one machine, so its jobs go to the agent there unless told otherwise. */
async function targetOf(client: Client, options: ImportOptions): Promise<{ agents: string[] } | null> {
  if (options.anyAgent) return null;
  if (options.agent) return { agents: options.agent };
  const { items } = await readPages<AgentView>(100_000, (query) => client.call('listAgents', { query }));
  const here = items.filter((agent) => agent.name === hostname() || agent.facts?.hostname === hostname());
  const [agent] = here;
  if (agent !== undefined && here.length === 1) return { agents: [agent.name] };
  const known =
    items
      .slice(0, 10)
      .map(({ name }) => name)
      .join(', ') || 'there are none yet';
  throw usageError(
    `which agent shall run these jobs? ${here.length === 0 ? 'None' : 'More than one'} is known as this machine (${hostname()}); agents: ${known}`,
    'rota import crontab FILE --agent NAME   (or: --any-agent)',
  );
}

async function importFile(
  file: string,
  target: { agents: string[] } | null,
  options: ImportOptions,
  client: Client,
  cli: Cli,
): Promise<Imported> {
  const { ports } = cli;
  const path = file === '-' ? '-' : realPath(resolve(ports.cwd, file), file);
  const owner = options.owner ?? `crontab ${hostname()}:${path}`;
  const homes = homesOf(readIfThere('/etc/passwd'));
  const user = options.user ?? spoolUser(path);
  const parsed = parseCrontab(path === '-' ? await ports.stdin.text() : readFileSync(path, 'utf8'), {
    file: path === '-' ? 'the input' : path,
    userField: options.userField ?? hasUserField(path),
    ...(user !== undefined && { defaultUser: user }),
    homeOf: (name) => homes.get(name),
    isFolder: (folder) => statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true,
    timezone: ports.timezone,
    taken: await namesOfOthers(client, owner),
  });
  const jobs = parsed.jobs.map(({ document }) => ({ ...document, ...(target && { target }) }));
  const dryRun = options.dryRun === true;
  const body = { document: { owner, jobs }, paused: true, dryRun };
  const { changes } = jobs.length === 0 ? { changes: [] } : await client.call('apply', { body });
  return { ...parsed, file: path, owner, changes, backup: null };
}

function realPath(path: string, file: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    throw usageError(`cannot read ${file}: ${whyUnreadable(error)}`);
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Below the spool a crontab is called as its user. */
function spoolUser(path: string): string | undefined {
  return /^\/var\/spool\/cron(\/crontabs)?$/.test(dirname(path)) ? basename(path) : undefined;
}

/**
 * Comments the lines out, then starts the jobs: in this order, so that nothing ever runs twice. When it stops
 * between the two, the error says which jobs are still paused.
 */
async function takeOver(imported: Imported, client: Client, cli: Cli, output: Output): Promise<void> {
  const { file, owner, jobs } = imported;
  if (jobs.length === 0) return remindOfPaused(client, owner, file, output);
  const when = new Date(cli.ports.clock.now()).toISOString();
  const { backup } = await takeOverFile(file, jobs, when).catch((error) => {
    throw new CliError(`${file} was not changed and the jobs stay paused: ${(error as Error).message}`);
  });
  imported.backup = backup;
  const waiting = jobs.map(({ name }) => name);
  try {
    for (const { name } of jobs) {
      await client.call('resumeJob', { params: { name }, body: { note: `taken over from ${file}` } });
      waiting.shift();
    }
  } catch (error) {
    const message = `the lines of ${file} are comments now (copy: ${backup}), but these jobs are still paused, so NOBODY runs them: ${waiting.join(', ')} (${(error as Error).message})`;
    throw new CliError(message, { next: `rota job resume ${waiting.join(' ')}` });
  }
}

/** A take-over that broke off leaves paused jobs behind; whether someone paused them on purpose cannot be known. */
async function remindOfPaused(client: Client, owner: string, file: string, output: Output): Promise<void> {
  const { items } = await readPages(100_000, (page) =>
    client.call('listJobs', { query: { owner, paused: true, ...page } }),
  );
  if (items.length === 0) return;
  output.note(
    `${file}: nothing left to take over, but ${count(items.length, 'paused job')} came from it. To start:`,
  );
  output.note(`  rota job resume ${items.map(({ name }) => name).join(' ')}`);
}

function show(output: Output, { file, jobs, faults, notices, changes, backup }: Imported): void {
  const actions = new Map(changes.map(({ name, action }) => [name, action]));
  output.line(output.style('bold', `${file}: ${count(jobs.length, 'job')}`));
  output.table(jobs, [
    { head: '  LINE', text: ({ line }) => `  ${line}` },
    { head: 'JOB', text: ({ name }) => name },
    { head: 'SCHEDULE', text: ({ document }) => oneLine((document.schedule as { cron: string }).cron) },
    { head: 'USER', text: ({ document }) => String(document.user ?? '-') },
    { head: '', text: ({ name }) => actions.get(name) ?? '' },
  ]);
  for (const { line, text, message } of faults) {
    output.note(`${file}:${line}: not imported: ${message}\n    ${oneLine(text, 100)}`);
  }
  for (const { line, message } of notices) output.note(`${file}:${line}: note: ${message}`);
  if (backup !== null)
    output.line(`  Taken over: cron no longer runs them, Rota does. The file as it was: ${backup}`);
}

function showNext(output: Output, imported: readonly Imported[], options: ImportOptions): void {
  const files = imported.filter(({ jobs, file }) => jobs.length > 0 && file !== '-').map(({ file }) => file);
  if (imported.every(({ jobs }) => jobs.length === 0)) {
    output.note('No line became a job.');
    return;
  }
  output.note('New jobs are paused and cron still runs the lines, so nothing runs twice.');
  if (files.length === 0) {
    output.note('Take the lines out of the crontab (crontab -e), then: rota job resume NAME…');
    return;
  }
  output.note('Switch over in one go, the lines become comments (a copy is kept) and the jobs start:');
  output.note(`  rota import crontab --take-over${flags(options)} ${files.join(' ')}`);
}

/** The flags of this call that the next one needs too. */
function flags({ userField, user, owner, agent, anyAgent }: ImportOptions): string {
  return [
    userField === true ? ' --user-field' : userField === false ? ' --no-user-field' : '',
    user === undefined ? '' : ` --user ${user}`,
    owner === undefined ? '' : ` --owner ${JSON.stringify(owner)}`,
    ...(agent ?? []).map((name) => ` --agent ${name}`),
    anyAgent ? ' --any-agent' : '',
  ].join('');
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
