import type { RouteBody } from '@rota/contract';
import { type Command, Option } from 'commander';
import { commandOf, labelOption, pairs, repeated } from '../arguments.ts';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { usageError } from '../errors.ts';
import { waitForRuns } from '../waiting.ts';

interface ExecOptions extends ServerOptions {
  agent?: string[];
  label?: Record<string, string>;
  all?: boolean;
  wait?: boolean;
  timeout?: string;
  startDeadline?: string;
  user?: string;
  cwd?: string;
  env?: Record<string, string>;
  shell?: 'sh' | 'bash';
  stdin?: boolean;
  title?: string;
  idempotencyKey?: string;
}

export function addExecCommand(program: Command, cli: Cli): void {
  talks(program.command('exec'))
    .description('run a command once, on one or several agents')
    .usage('[--agent NAME… | --label k=v…] [--all] [--wait] [flags] -- COMMAND…')
    .argument('<command...>', 'one word is a text for the shell, several are a program and its arguments')
    .optionsGroup('Where:')
    .option('--agent <name>', 'on this agent; several names mean all of them', repeated)
    .addOption(labelOption('on an agent with this label'))
    .option('--all', 'on every agent that fits and is online, not on the first')
    .optionsGroup('How:')
    .option('-w, --wait', "stream the output and end with the command's exit code")
    .option('--timeout <duration>', 'end it when it runs longer')
    .option('--start-deadline <duration>', 'give up when it could not start by then (1m)')
    .option('--user <name>', 'as this user')
    .option('--cwd <folder>', 'in this folder')
    .option('--env <name=value>', 'with this variable; may be repeated', pairs('variable'))
    .addOption(new Option('--shell <shell>', 'shell of a command of one word').choices(['sh', 'bash']))
    .option('--stdin', 'give it what this command reads from its own input (at most 64 KiB)')
    .option('--title <text>', 'what the list of runs calls it')
    .option('--idempotency-key <text>', 'the same key never makes a second run')
    .action(async (words: string[], options: ExecOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const { runs } = await client.call('exec', { body: await bodyOf(words, options, cli) });
      if (options.wait) {
        cli.exitCode = await waitForRuns(cli, client, runs, output, async () => {
          output.note('rota: interrupted; cancelling…');
          // One that has just ended cannot be cancelled, and needs not be.
          for (const { id } of runs)
            await client.call('cancelRun', { params: { id } }).catch(() => undefined);
        });
        return;
      }
      if (output.json) return output.value({ runs });
      for (const run of runs) output.line(run.agent === null ? run.id : `${run.id}\t${run.agent}`);
      if (output.human) output.note(`Follow it: rota logs -f ${runs[0]?.id ?? 'RUN'}   (next time: --wait)`);
    });
}

async function bodyOf(words: string[], options: ExecOptions, { ports }: Cli): Promise<RouteBody<'exec'>> {
  if (options.stdin && ports.stdin.isTTY) throw usageError('--stdin: pipe the input into this command');
  const { agent, label, all, timeout, startDeadline, user, cwd, env, shell, title, idempotencyKey } = options;
  return {
    command: commandOf(words),
    ...(agent && { agents: agent }),
    ...(label && { labels: label }),
    ...(all && { all }),
    ...(timeout !== undefined && { timeout }),
    ...(startDeadline !== undefined && { startDeadline }),
    ...(user !== undefined && { user }),
    ...(cwd !== undefined && { cwd }),
    ...(env && { env }),
    ...(shell && { shell }),
    ...(title !== undefined && { title }),
    ...(options.stdin && { stdin: await ports.stdin.text() }),
    idempotencyKey: idempotencyKey ?? ports.freshId(),
  };
}
