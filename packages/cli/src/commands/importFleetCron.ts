import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { ApiError, type ApplyChange, type Client } from '@rota/contract';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { repeated } from '../arguments.ts';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { CliError, EXIT, usageError, whyUnreadable } from '../errors.ts';
import { type FleetCronJob, type FleetCronNote, importJob } from '../fleetcron/job.ts';
import { type FleetCronConfig, FleetCronError, readConfig, readExport } from '../fleetcron/read.ts';
import { createTexts } from '../fleetcron/texts.ts';
import { namesOfOthers } from '../jobNames.ts';
import { type Output, oneLine, printable } from '../output.ts';
import { readPages } from '../pages.ts';

interface FleetCronOptions extends ServerOptions {
  config?: string;
  timezone?: string;
  owner: string;
  agent?: string[];
  print?: boolean;
  dryRun?: boolean;
  setSecrets?: boolean;
}

/** What an export became. */
interface Imported {
  jobs: FleetCronJob[];
  notes: FleetCronNote[];
  /** Secrets that the jobs name, each with the key that it had. */
  secrets: Map<string, string>;
}

/** What FleetCron takes when its configuration does not say it. */
const DEFAULT_TIMEZONE = 'Asia/Seoul';

export function addFleetCronImport(command: Command, cli: Cli): void {
  talks(command.command('fleetcron'))
    .description('make jobs of an export of the `jobs` collection of FleetCron; they arrive paused')
    .argument('<file>', 'as mongoexport writes it, with or without --jsonArray; - reads the input')
    .option('--config <file>', 'fleetcron.config.json: its time zone, its secrets and its defaults')
    .option(
      '--timezone <zone>',
      `instead of what that file says; default: ${DEFAULT_TIMEZONE}, as in FleetCron`,
    )
    .option('--owner <text>', 'owner of the jobs', 'fleetcron')
    .option('--agent <name>', 'an agent that may run them; default: any', repeated)
    .option('--set-secrets', 'also set the secrets that there are not yet, from the configuration')
    .option('--print', 'only write the document that `rota apply` takes; no server is asked')
    .option('--dry-run', 'only say what would be made')
    .action(async (file: string, options: FleetCronOptions) => {
      const output = cli.output(options);
      if (options.setSecrets && (options.config === undefined || options.print || options.dryRun))
        throw usageError('--set-secrets needs --config, and goes neither with --print nor with --dry-run');
      const config = await configOf(options, cli);
      const client = options.print ? null : cli.connect(options);
      const taken = client ? await namesOfOthers(client, options.owner) : [];
      const imported = await importFile(file, options, config, taken, cli);
      if (imported.notes.some(({ field }) => field === null)) cli.exitCode = EXIT.failure;
      const document = { owner: options.owner, jobs: imported.jobs.map((job) => job.document) };
      if (client === null) {
        if (output.json) output.value(document);
        else cli.ports.out.write(printable(stringify(document)));
        tellNotes(output, file, imported.notes);
        tellSecrets(output, [...imported.secrets.keys()], imported, config);
        return;
      }
      if (!output.json) tellNotes(output, file, imported.notes);
      await provideSecrets(client, imported, config, options, output);
      const changes = await save(client, document, options);
      if (output.json) return output.value({ ...imported, secrets: [...imported.secrets.keys()], changes });
      show(output, file, imported, changes);
      if (!options.dryRun && changes.some(({ action }) => action === 'created'))
        output.note(
          'New jobs are paused, as FleetCron still runs them. Stop it, then: rota job resume NAME…',
        );
    });
}

async function importFile(
  file: string,
  options: FleetCronOptions,
  config: FleetCronConfig,
  taken: readonly string[],
  cli: Cli,
): Promise<Imported> {
  const notes: FleetCronNote[] = [];
  const texts = createTexts(Object.keys(config.secrets));
  const context = {
    timezone: options.timezone ?? config.timezone ?? DEFAULT_TIMEZONE,
    config,
    texts,
    names: new Set(taken),
    agents: options.agent ?? null,
    note: (note: FleetCronNote) => notes.push(note),
  };
  const documents = await parsed(file, cli, readExport);
  const jobs = documents.flatMap((document) => importJob(document, context) ?? []);
  return { jobs, notes, secrets: new Map([...texts.named].sort()) };
}

async function configOf(options: FleetCronOptions, cli: Cli): Promise<FleetCronConfig> {
  if (options.config === undefined) return { timezone: null, secrets: {}, httpDefaults: {} };
  return parsed(options.config, cli, readConfig);
}

async function parsed<T>(file: string, { ports }: Cli, read: (text: string) => T): Promise<T> {
  let text: string;
  try {
    text = file === '-' ? await ports.stdin.text() : readFileSync(resolve(ports.cwd, file), 'utf8');
  } catch (error) {
    throw usageError(`cannot read ${file}: ${whyUnreadable(error)}`);
  }
  try {
    return read(text);
  } catch (error) {
    if (!(error instanceof FleetCronError)) throw error;
    throw usageError(
      `${file}: ${error.message}`,
      'mongoexport --db fleetcron --collection jobs --out jobs.json',
    );
  }
}

/** Sets secrets that are missing, when that is wanted. @throws CliError when some are missing then */
async function provideSecrets(
  client: Client,
  imported: Imported,
  config: FleetCronConfig,
  options: FleetCronOptions,
  output: Output,
): Promise<void> {
  if (imported.secrets.size === 0) return;
  const { items } = await readPages(100_000, (query) => client.call('listSecrets', { query }));
  const there = new Set(items.filter(({ job }) => job === null).map(({ name }) => name));
  const missing = [...imported.secrets.keys()].filter((name) => !there.has(name));
  const left: string[] = [];
  for (const name of missing) {
    const key = imported.secrets.get(name) ?? '';
    const value = Object.hasOwn(config.secrets, key) ? config.secrets[key] : undefined;
    if (!options.setSecrets || value === undefined) {
      left.push(name);
      continue;
    }
    try {
      await client.call('putSecret', { params: { name }, query: {}, body: { value } });
      if (!output.json) output.note(`Secret ${name}: set`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      output.note(`Secret ${name}: not set: ${error.message}`);
      left.push(name);
    }
  }
  if (left.length === 0) return;
  tellSecrets(output, left, imported, config);
  throw new CliError(
    `nothing was saved: ${left.length === 1 ? 'a secret is' : 'secrets are'} missing: ${left.join(', ')}`,
    {
      next:
        options.config === undefined
          ? '--config fleetcron.config.json --set-secrets sets them'
          : '--set-secrets sets them',
    },
  );
}

/** The commands that set secrets: their values are asked for, and never printed. */
function tellSecrets(
  output: Output,
  names: readonly string[],
  imported: Imported,
  config: FleetCronConfig,
): void {
  if (names.length === 0) return;
  output.note('Secrets that the jobs name:');
  for (const name of names) {
    const key = imported.secrets.get(name) ?? name;
    const was = key === name ? '' : `, called ${JSON.stringify(key)} there`;
    const where = Object.hasOwn(config.secrets, key) ? 'in the configuration' : 'not in the configuration';
    output.note(`  rota secret set ${name}   # ${where}${was}`);
  }
}

async function save(
  client: Client,
  document: { owner: string; jobs: Record<string, unknown>[] },
  options: FleetCronOptions,
): Promise<ApplyChange[]> {
  if (document.jobs.length === 0) return [];
  const body = { document, paused: true, dryRun: options.dryRun === true };
  return (await client.call('apply', { body })).changes;
}

function tellNotes(output: Output, file: string, notes: readonly FleetCronNote[]): void {
  for (const { job, field, message } of notes) {
    const what = field === null ? `not imported: ${message}` : `${field} is not carried over: ${message}`;
    output.note(`${file}: ${oneLine(job, 100)}: ${what}`);
  }
}

function show(output: Output, file: string, { jobs }: Imported, changes: readonly ApplyChange[]): void {
  const actions = new Map(changes.map(({ name, action }) => [name, action]));
  output.line(output.style('bold', `${file}: ${jobs.length} ${jobs.length === 1 ? 'job' : 'jobs'}`));
  output.table(jobs, [
    { head: '  FLEETCRON', text: ({ title }) => `  ${oneLine(title, 60)}` },
    { head: 'JOB', text: ({ name }) => name },
    { head: 'SCHEDULE', text: ({ document }) => cronText(document.schedule) },
    { head: '', text: ({ name }) => actions.get(name) ?? '' },
  ]);
}

function cronText(schedule: unknown): string {
  return [schedule]
    .flat()
    .map((each) => (each as { cron: string }).cron)
    .join(', ');
}
