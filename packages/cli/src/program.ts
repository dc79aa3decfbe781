import { Command, CommanderError } from 'commander';
import type { Cli } from './cli.ts';
import { createCli } from './cli.ts';
import { addAgentCommands } from './commands/agent.ts';
import { addAuditCommands } from './commands/audit.ts';
import { addCompletionCommands } from './commands/completion.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addDocumentCommands } from './commands/document.ts';
import { addExecCommand } from './commands/exec.ts';
import { addImportCommands } from './commands/import.ts';
import { addInitCommand } from './commands/init.ts';
import { addJobCommands } from './commands/job.ts';
import { addLoginCommand } from './commands/login.ts';
import { addLogsCommand } from './commands/logs.ts';
import { addNextCommand } from './commands/next.ts';
import { addRunCommands } from './commands/run.ts';
import { addSecretCommands } from './commands/secret.ts';
import { addServerCommands } from './commands/server.ts';
import { addStatusCommand } from './commands/status.ts';
import { addTokenCommands } from './commands/token.ts';
import { addUpCommand } from './commands/up.ts';
import { EXIT, type Explanation, explain } from './errors.ts';
import { hintFor } from './hints.ts';
import { styler } from './output.ts';
import type { Ports } from './ports.ts';
import { VERSION } from './version.ts';

/** The whole command tree. */
export function createProgram(cli: Cli): Command {
  const program = new Command('rota')
    .description('Runs your jobs on time, on every machine you own, and tells you when one did not.')
    .version(VERSION, '-V, --version', 'print the version')
    .addHelpCommand(
      new Command('help')
        .argument('[command]')
        .description('explain a command')
        .helpGroup('Machines and access:'),
    )
    .helpOption('-h, --help', 'explain this command')
    .addHelpText('after', `\n${AFTER_HELP}`);
  program.commandsGroup('Begin:');
  addUpCommand(program, cli);
  addInitCommand(program, cli);
  addImportCommands(program, cli);
  program.commandsGroup('Jobs and runs:');
  addJobCommands(program, cli);
  addRunCommands(program, cli);
  addLogsCommand(program, cli);
  addExecCommand(program, cli);
  addDocumentCommands(program, cli);
  addNextCommand(program, cli);
  program.commandsGroup('Machines and access:');
  addServerCommands(program, cli);
  addAgentCommands(program, cli);
  addTokenCommands(program, cli);
  addSecretCommands(program, cli);
  addAuditCommands(program, cli);
  addLoginCommand(program, cli);
  addStatusCommand(program, cli);
  addDoctorCommand(program, cli);
  addCompletionCommands(program, cli);
  for (const command of program.commands) command.helpCommand(false);
  return program;
}

const AFTER_HELP = `Exit codes: 0 ok, 1 failure, 2 wrong usage, 3 server unreachable, 4 not allowed, 5 not found,
6 conflict or invalid document. With --wait, exec and job run end as the command did
(timed out 124, no outcome 125, cancelled 130).`;

/** Runs one command line (without `node` and the script) and gives the exit code. It never throws. */
export async function run(argv: readonly string[], ports: Ports): Promise<number> {
  const cli = createCli(ports);
  const program = createProgram(cli);
  let said = '';
  forEachCommand(program, (command) =>
    command
      .exitOverride()
      .showHelpAfterError(false)
      .configureOutput({
        writeOut: (text) => ports.out.write(text),
        writeErr: (text) => {
          said += text;
        },
        getOutHelpWidth: () => ports.out.columns,
        getErrHelpWidth: () => ports.err.columns,
        getOutHasColors: () => ports.out.isTTY && !ports.env.NO_COLOR,
        getErrHasColors: () => ports.err.isTTY && !ports.env.NO_COLOR,
      }),
  );
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return cli.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return usageFailed(error, said, argv, { program, ports });
    const explanation = explain(error);
    if (explanation.exitCode === EXIT.notAllowed && cli.connection !== null) {
      const { tokenMissing, tokenFrom } = cli.connection;
      explanation.message += ` (${tokenMissing ?? `token from ${tokenFrom}`})`;
    }
    tell(explanation, argv, ports);
    return explanation.exitCode;
  }
}

function forEachCommand(command: Command, visit: (command: Command) => void): void {
  visit(command);
  for (const child of command.commands) forEachCommand(child, visit);
}

/** Help and version end a parse too; everything else of commander's is a mistake in what was typed. */
function usageFailed(
  error: CommanderError,
  said: string,
  argv: readonly string[],
  { program, ports }: { program: Command; ports: Ports },
): number {
  if (error.exitCode === 0) return EXIT.ok;
  if (error.code === 'commander.help') {
    ports.err.write(said);
    return EXIT.usage;
  }
  const [problem = '', ...rest] = said.trim().split('\n');
  const meant = error.code === 'commander.unknownOption' ? asArgument(program, problem, argv) : null;
  const hint = meant ?? hintOf(error, argv, /\(Did you mean (.+)\?\)/.exec(rest.join(' '))?.[1] ?? null);
  const message = [problem.replace(/^error: /, ''), ...(hint === null ? rest : [hint])].join('\n');
  tell({ message, faults: [], next: null, exitCode: EXIT.usage, code: null }, argv, ports);
  return EXIT.usage;
}

/** A flag that is named as an argument of its command is meant as that: `rota run list slow` for `--job slow`. */
function asArgument(program: Command, problem: string, argv: readonly string[]): string | null {
  const flag = /unknown option '(--[^'=]+)/.exec(problem)?.[1];
  const at = argv.findIndex((word) => word === flag || word.startsWith(`${flag}=`));
  const path: string[] = [];
  let command = program;
  for (const word of argv) {
    const found = command.commands.find((child) => child.name() === word);
    if (found === undefined) break;
    command = found;
    path.push(word);
  }
  const argument = command.registeredArguments.find((each) => `--${each.name()}` === flag);
  if (argument === undefined) return null;
  const value = argv[at]?.split('=')[1] ?? argv[at + 1] ?? argument.name().toUpperCase();
  return `did you mean \`rota ${[...path, value].join(' ')}\`?`;
}

/** What to type in place of it; `nearest` is the command or flag that is spelt most like the wrong one. */
function hintOf(error: CommanderError, argv: readonly string[], nearest: string | null): string | null {
  const end = argv.indexOf('--');
  const words = argv.slice(0, end === -1 ? argv.length : end);
  const takesCommand = words[0] === 'exec' || (words[0] === 'job' && words[1] === 'add');
  if (takesCommand && end === -1) return `the command stands behind \`--\`: rota ${words[0]} … -- COMMAND`;
  if (error.code === 'commander.unknownCommand') {
    const meant = hintFor(argv, nearest);
    return meant === null ? 'see `rota --help`' : `did you mean \`${meant}\`?`;
  }
  if (error.code === 'commander.unknownOption' && words[0]?.startsWith('-')) {
    return 'flags stand behind the command: rota COMMAND … --flag';
  }
  return nearest === null ? null : `did you mean \`${nearest}\`?`;
}

/** Says what went wrong on stderr: for people, or as one line of JSON when they asked for JSON. */
function tell(
  { message, faults, next, exitCode, code }: Explanation,
  argv: readonly string[],
  ports: Ports,
): void {
  const end = argv.indexOf('--');
  if (argv.slice(0, end === -1 ? argv.length : end).includes('--json')) {
    ports.err.write(`${JSON.stringify({ error: { message, code, exitCode, faults, next } })}\n`);
    return;
  }
  const style = styler(ports, ports.err);
  const lines = [`${style('red', 'rota:')} ${message}`, ...faults.map((fault) => `  ${fault}`)];
  if (next !== null) lines.push(`${style('dim', 'next:')} ${next}`);
  ports.err.write(`${lines.join('\n')}\n`);
}
