import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { type AnswerOptions, answers, type Cli } from '../cli.ts';
import { rotaHome } from '../connection.ts';
import { CliError } from '../errors.ts';
import { bytes } from '../output.ts';

/** Flags of the server that `up` takes too. */
export interface ListenOptions {
  listen?: string;
  database?: string;
  tlsCert?: string;
  tlsKey?: string;
  masterKeyFile?: string;
  insecure?: boolean;
  timezone?: string;
  logLevel?: string;
  config?: string;
}

export function addServerCommands(program: Command, cli: Cli): void {
  const server = program.command('server').description('the server: it decides, agents do');
  addStart(server, cli);
  addBackup(server, cli);
  addRestore(server, cli);
  addRestored(server, cli);
  addMigrate(server, cli);
  addCopy(server, cli);
  addLoseSecrets(server, cli);
}

/** Gives a command the flags of a server that it starts. */
export function serves(command: Command): Command {
  return command
    .option('--listen <host:port>', 'where to listen; default 127.0.0.1:7682, this machine only')
    .option(
      '--database <url>',
      'PostgreSQL in place of a file: postgres://user@host/name; its password by ROTA_DATABASE_FILE or PGPASSWORD',
    )
    .option('--tls-cert <file>', 'certificate (PEM)')
    .option('--tls-key <file>', 'its key (PEM)')
    .option(
      '--master-key-file <file>',
      'keys that secrets are encrypted under; without it a file beside the data',
    )
    .option('--insecure', 'listen for other machines without TLS, because something in front does it')
    .option('--timezone <zone>', "default zone of schedules; at first this machine's")
    .option('--config <file>', 'rota.config.yaml')
    .addOption(
      new Option('--log-level <level>', 'what is logged').choices(['debug', 'info', 'warn', 'error']),
    );
}

/** What `@rota/server` is started with. */
export function serverOptions(options: ListenOptions, { ports }: Cli) {
  const { listen, database, tlsCert, tlsKey, masterKeyFile, insecure, timezone, logLevel, config } = options;
  const file = (path: string) => resolve(ports.cwd, path);
  return {
    home: join(rotaHome(ports), 'server'),
    env: ports.env,
    ...(listen !== undefined && { listen }),
    ...(database !== undefined && { database }),
    ...(tlsCert !== undefined && { tlsCert: file(tlsCert) }),
    ...(tlsKey !== undefined && { tlsKey: file(tlsKey) }),
    ...(masterKeyFile !== undefined && { masterKeyFile: file(masterKeyFile) }),
    ...(insecure && { insecure }),
    ...(timezone !== undefined && { timezone }),
    ...(logLevel !== undefined && { logLevel }),
    ...(config !== undefined && { configFile: file(config) }),
  };
}

/** Starts the server in this process; says who runs already in a sentence. @throws CliError */
export async function startServerHere(options: ListenOptions & { logTo: 'stdout' | 'file' }, cli: Cli) {
  const { startServer } = await import('@rota/server');
  try {
    return await startServer({ ...serverOptions(options, cli), logTo: options.logTo });
  } catch (error) {
    return alreadyRunning(error);
  }
}

function alreadyRunning(error: unknown): never {
  const { name, pid, url } = error as { name?: string; pid?: number; url?: string };
  if (name !== 'AlreadyRunningError') throw error;
  throw new CliError(`a server runs already: pid ${pid}, ${url}`, { next: 'rota status' });
}

function addStart(server: Command, cli: Cli): void {
  serves(server.command('start'))
    .description('run the server in the foreground; logs go to stdout')
    .action(async (options: ListenOptions) => {
      const stop = cli.ports.stopSignal();
      const running = await startServerHere({ ...options, logTo: 'stdout' }, cli);
      await aborted(stop);
      await running.stop();
    });
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    else signal.addEventListener('abort', () => done(), { once: true });
  });
}

function addBackup(server: Command, cli: Cli): void {
  answers(server.command('backup'))
    .description("copy this machine's server data into one file, while the server runs")
    .argument('<file>')
    .action(async (file: string, options: AnswerOptions) => {
      const output = cli.output(options);
      noFile(cli, 'pg_dump');
      const { backupServer } = await import('@rota/server');
      const path = resolve(cli.ports.cwd, file);
      const result = await backupServer(join(rotaHome(cli.ports), 'server'), path);
      const { masterKeyFile } = keyFileOf({}, cli);
      if (output.json) return output.value({ file: path, ...result, masterKeyFile });
      output.line(`${path}: ${bytes(result.bytes)}`);
      output.note(
        `Without the master key, which is not in it, its secrets cannot be read: keep a copy of ${masterKeyFile} somewhere else.`,
      );
    });
}

function addRestore(server: Command, cli: Cli): void {
  answers(server.command('restore'))
    .description('put a backup in place of the data; the server must not run')
    .argument('<file>')
    .option('--force', 'replace what an earlier restore has kept aside')
    .option('--master-key-file <file>', 'keys of its secrets; without it the file beside the data')
    .option('--lose-secrets', 'restore it although the master key is lost, without the secrets')
    .action(async (file: string, options: RestoreOptions) => {
      const output = cli.output(options);
      noFile(cli, 'pg_restore');
      const { restoreServer } = await import('@rota/server');
      const path = resolve(cli.ports.cwd, file);
      const home = join(rotaHome(cli.ports), 'server');
      await restoreServer(home, path, {
        force: options.force === true,
        loseSecrets: options.loseSecrets === true,
        ...keyFileOf(options, cli),
      }).catch(alreadyRunning);
      if (output.json) return output.value({ file: path, home });
      output.line(`Restored ${home} from ${path}. Start it: npx rota up`);
    });
}

interface RestoreOptions extends AnswerOptions {
  force?: boolean;
  masterKeyFile?: string;
  loseSecrets?: boolean;
}

/** Where the master keys of this machine's server are, as far as flags and the environment say. */
function keyFileOf({ masterKeyFile }: { masterKeyFile?: string }, { ports }: Cli): { masterKeyFile: string } {
  const given = masterKeyFile ?? ports.env.ROTA_MASTER_KEY_FILE;
  const fallback = join(rotaHome(ports), 'server/master-key');
  return { masterKeyFile: given ? resolve(ports.cwd, given) : fallback };
}

function addLoseSecrets(server: Command, cli: Cli): void {
  answers(server.command('lose-secrets'))
    .description(
      'delete the secrets whose master key is lost for good, so that the server can start; it must not run',
    )
    .option('--master-key-file <file>', 'the keys that are there; without it the file beside the data')
    .option('--database <url>', 'PostgreSQL in place of the file of this machine')
    .option('--config <file>', 'rota.config.yaml')
    .action(async (options: AnswerOptions & ListenOptions) => {
      const output = cli.output(options);
      const { loseSecrets } = await import('@rota/server');
      const lost = await loseSecrets(serverOptions(options, cli)).catch(alreadyRunning);
      if (output.json) return output.value(lost);
      if (lost.keys.length === 0) return output.line('Nothing is lost: the file has every master key.');
      output.line(`${lost.secrets} secrets under ${lost.keys.join(', ')} are deleted. Set them again.`);
    });
}

function addRestored(server: Command, cli: Cli): void {
  answers(server.command('restored'))
    .description(
      'after pg_restore, before a server is started: agents are newer than the backup, and are believed once',
    )
    .option('--database <url>', 'the database that was put back; without it, that of ROTA_DATABASE')
    .option('--config <file>', 'rota.config.yaml')
    .action(async (options: AnswerOptions & ListenOptions) => {
      const output = cli.output(options);
      const { restoredServer } = await import('@rota/server');
      await restoredServer(serverOptions(options, cli));
      if (output.json) return output.value({ restored: true });
      output.line('Each agent may resume once, and tells what it did. Start the servers.');
    });
}

/** A server whose data is in PostgreSQL has no file to copy. */
function noFile({ ports }: Cli, program: string): void {
  if (ports.env.ROTA_DATABASE || ports.env.ROTA_DATABASE_FILE)
    throw new CliError(`the data is in PostgreSQL (ROTA_DATABASE is set): use ${program}`);
}

function addMigrate(server: Command, cli: Cli): void {
  answers(server.command('migrate'))
    .description('bring the schema of the data up to date, as a start does')
    .option('--status', 'only say what was done and what is to do')
    .option('--database <url>', 'PostgreSQL in place of the file of this machine')
    .option('--config <file>', 'rota.config.yaml')
    .action(async (options: AnswerOptions & ListenOptions & { status?: boolean }) => {
      const output = cli.output(options);
      const { migrateServer } = await import('@rota/server');
      const migrate = options.status !== true;
      const migrations = await migrateServer(serverOptions(options, cli), { migrate });
      if (output.json) return output.value({ migrations });
      for (const { name, at } of migrations) output.line(`${name}  ${at ?? 'to do'}`);
    });
}

function addCopy(server: Command, cli: Cli): void {
  answers(server.command('copy'))
    .description(
      "copy a server's file to an empty PostgreSQL database, with history and keys; the server must not run",
    )
    .option('--from <sqlite:file>', "the file; this machine's without it")
    .option(
      '--to <url>',
      'postgres://user@host/name; without it, the database of ROTA_DATABASE or the configuration',
    )
    .option('--config <file>', 'rota.config.yaml')
    .action(async (options: AnswerOptions & { from?: string; to?: string; config?: string }) => {
      const output = cli.output(options);
      const { copyServer } = await import('@rota/server');
      const { to: database, config } = options;
      const settled = serverOptions(
        { ...(database !== undefined && { database }), ...(config !== undefined && { config }) },
        cli,
      );
      const from = options.from ?? `sqlite:${join(settled.home, 'rota.db')}`;
      if (!from.startsWith('sqlite:'))
        throw new CliError(`--from ${from} is not a file of a server; write sqlite:/path/to/rota.db`);
      const file = resolve(cli.ports.cwd, from.slice('sqlite:'.length));
      const copied = await copyServer(settled, file, ({ table, rows }) => {
        if (!output.json) output.note(`${table}: ${rows}`);
      }).catch(alreadyRunning);
      if (output.json) return output.value({ tables: copied });
      output.line(`Copied ${copied.reduce((sum, { rows }) => sum + rows, 0)} rows, counted on both sides.`);
      output.note('Every server on that database needs the master key file of this one: --master-key-file.');
    });
}
