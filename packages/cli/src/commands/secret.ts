import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { RouteBody, SecretView } from '@rota/contract';
import type { Command } from 'commander';
import { limitOption } from '../arguments.ts';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { CliError, usageError } from '../errors.ts';
import { readPages } from '../pages.ts';

interface SetOptions extends ServerOptions {
  job?: string;
  valueFile?: string;
  exact?: boolean;
  agentEnv?: string;
  agentFile?: string;
}

export function addSecretCommands(program: Command, cli: Cli): void {
  const secret = program.command('secret').description('secrets: values that jobs name and nobody sees');
  addSet(secret, cli);
  addList(secret, cli);
  addDelete(secret, cli);
  addRotateKey(secret, cli);
}

function addSet(secret: Command, cli: Cli): void {
  talks(secret.command('set'))
    .description('set a secret: its value from a file, from what is piped in, or typed unseen')
    .argument('<name>')
    .option('--job <job>', 'for this job alone, before that of all jobs')
    .option('--value-file <file>', 'read the value from this file')
    .option('--exact', 'keep the line break at the end of the file or of the input')
    .option(
      '--agent-env <variable>',
      "each agent's own environment variable of this name; the server never sees it",
    )
    .option('--agent-file <path>', "each agent's own file; the server never sees it")
    .action(async (name: string, options: SetOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const body = await contentOf(name, options, cli);
      const answer = await client.call('putSecret', { params: { name }, query: jobOf(options), body });
      if (output.json) return output.value(answer);
      output.line(`${shownName(answer.secret)}: ${answer.created ? 'set' : 'changed'}`);
      if (answer.jobExists === false) output.note(`There is no job "${options.job}" yet.`);
    });
}

/** What is sent. A value never stands in the arguments of a process, which other users of the machine can read. */
async function contentOf(name: string, options: SetOptions, { ports }: Cli): Promise<RouteBody<'putSecret'>> {
  const { valueFile, agentEnv, agentFile, exact } = options;
  if ([valueFile, agentEnv, agentFile].filter((each) => each !== undefined).length > 1)
    throw usageError('--value-file, --agent-env and --agent-file exclude each other');
  if (agentEnv !== undefined) return { agentEnv };
  if (agentFile !== undefined) return { agentFile };
  if (valueFile !== undefined) return { value: ended(readValue(resolve(ports.cwd, valueFile)), exact) };
  if (!ports.stdin.isTTY) return { value: ended(asText(await ports.stdin.text()), exact) };
  const value = await ports.stdin.ask(`Value of ${name}: `, true);
  if (value !== (await ports.stdin.ask('The same again: ', true)))
    throw new CliError('the two differ; nothing was set');
  return { value };
}

/** What reads the input puts this character in place of bytes that are no text: another value than the one that was meant. */
function asText(input: string): string {
  if (!input.includes('\uFFFD')) return input;
  throw new CliError('the value that is piped in is not text in UTF-8: write other bytes as base64');
}

/** Editors and `echo` end a file with a line break that is not meant. */
function ended(text: string, exact: boolean | undefined): string {
  return exact ? text : text.replace(/\r?\n$/, '');
}

function readValue(path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(path));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'it is not text in UTF-8' : (code ?? 'error');
    throw new CliError(`--value-file: ${path} cannot be read: ${why}`);
  }
}

function addList(secret: Command, cli: Cli): void {
  talks(secret.command('list'))
    .description('secrets without their values')
    .option('--job <job>', 'only those of this job alone')
    .addOption(limitOption())
    .action(async (options: ServerOptions & { limit: number; job?: string }) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const { items } = await readPages(options.limit, (query) =>
        client.call('listSecrets', { query: { ...query, ...jobOf(options) } }),
      );
      if (output.json) return output.value(items);
      if (items.length === 0 && output.human) return output.note('No secrets.');
      output.table(items, [
        { head: 'NAME', text: (each) => each.name },
        { head: 'JOB', text: (each) => each.job ?? '-' },
        { head: 'FROM', text: fromText },
        { head: 'CHANGED', text: (each) => output.time(each.updatedAt) },
        { head: 'BY', text: (each) => each.updatedBy },
      ]);
    });
}

function fromText({ from, reference }: SecretView): string {
  switch (from) {
    case 'server':
      return 'server';
    case 'agentEnv':
      return `agent's ${reference}`;
    case 'agentFile':
      return `agent's file ${reference}`;
    default:
      return from satisfies never;
  }
}

function addDelete(secret: Command, cli: Cli): void {
  talks(secret.command('delete'))
    .description('delete secrets; runs of jobs that still name them fail before anything is started')
    .argument('<name...>')
    .option('--job <job>', 'those of this job alone')
    .action(async (names: string[], options: ServerOptions & { job?: string }) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      for (const name of names) {
        await client.call('deleteSecret', { params: { name }, query: jobOf(options) });
        if (!output.json) output.line(`${name}: deleted`);
      }
      if (output.json) output.value({ deleted: names });
    });
}

function addRotateKey(secret: Command, cli: Cli): void {
  talks(secret.command('rotate-key'))
    .description('make a new master key and encrypt all values under it')
    .option(
      '--prepare',
      "only write the new key to the server's file, which is then to be copied to the other servers",
    )
    .option('--shared', 'all servers read one file')
    .action(async (options: ServerOptions & { prepare?: boolean; shared?: boolean }) => {
      const output = cli.output(options);
      const { prepare = false, shared = false } = options;
      const answer = await cli.connect(options).call('rotateMasterKey', { body: { prepare, shared } });
      if (output.json) return output.value(answer);
      if (!answer.active) {
        output.line(`The new master key ${answer.keyId} is in ${answer.file}, and not used yet.`);
        output.note('Copy that file to every other server of the database; then: rota secret rotate-key');
        return;
      }
      if (answer.unreadable > 0)
        output.note(`${answer.unreadable} values cannot be opened by this server, and stay as they are.`);
      output.line(`${answer.encrypted} values are encrypted under the master key ${answer.keyId} now.`);
      output.note(
        `Keep a copy of ${answer.file} apart from the backups. The older keys in it are for backups that are older than this.`,
      );
    });
}

function jobOf({ job }: { job?: string }): { job?: string } {
  return job === undefined ? {} : { job };
}

function shownName({ name, job }: SecretView): string {
  return job === null ? name : `${name} (job ${job})`;
}
