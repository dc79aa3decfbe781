import type { Argument, Command, Option } from 'commander';

/** What may stand where the cursor is. */
export type Candidates =
  | { kind: 'words'; words: { word: string; description: string }[] }
  /** Names that the server or the disk knows. */
  | { kind: 'jobs' | 'agents' | 'runs' | 'tokens' | 'files' }
  | { kind: 'nothing' };

/** Arguments and flags by the name of their value, as the command tree spells it. */
const VALUES: Record<string, Exclude<Candidates['kind'], 'words' | 'nothing'>> = {
  file: 'files',
  folder: 'files',
  job: 'jobs',
  agent: 'agents',
  id: 'runs',
  'run-or-job': 'jobs',
  'name-or-id': 'tokens',
};

/**
 * What may follow the words typed behind `rota`; the last of them is the one being typed (empty after a blank).
 * Pure: it knows the command tree alone.
 */
export function candidates(program: Command, words: readonly string[]): Candidates {
  const typed = words.at(-1) ?? '';
  let command = program;
  let flag: Option | null = null;
  let position = 0;
  for (const word of words.slice(0, -1)) {
    if (word === '--') return { kind: 'nothing' };
    if (flag !== null) {
      flag = null;
    } else if (word.startsWith('-')) {
      flag = word.includes('=') ? null : (optionOf(command, word) ?? null);
      if (flag !== null && !takesValue(flag)) flag = null;
    } else {
      const child = command.commands.find((each) => each.name() === word);
      if (child !== undefined && position === 0) command = child;
      else position += 1;
    }
  }
  if (flag !== null) return valuesOf(command, flag.argChoices, valueName(flag.flags));
  if (typed.startsWith('-')) return flagsOf(command);
  if (command.commands.length > 0) return subcommands(command);
  const argument = command.registeredArguments[Math.min(position, command.registeredArguments.length - 1)];
  if (argument === undefined || (position >= command.registeredArguments.length && !argument.variadic)) {
    return { kind: 'nothing' };
  }
  return valuesOf(command, argument.argChoices, argumentName(command, argument));
}

function optionOf(command: Command, word: string): Option | undefined {
  return command.options.find(({ short, long }) => word === short || word === long);
}

function takesValue(option: Option): boolean {
  return option.required || option.optional;
}

function valueName(flags: string): string {
  return /[<[]([\w-]+)/.exec(flags)?.[1] ?? '';
}

/** `<name>` means a job under `job` and an agent under `agent`. */
function argumentName(command: Command, argument: Argument): string {
  const parent = command.parent?.name() ?? '';
  return argument.name() === 'name' && (parent === 'agent' || (parent === 'job' && command.name() !== 'add'))
    ? parent
    : argument.name();
}

function valuesOf(command: Command, choices: readonly string[] | undefined, name: string): Candidates {
  if (choices !== undefined)
    return { kind: 'words', words: choices.map((word) => ({ word, description: '' })) };
  const kind = VALUES[name] ?? (name === 'name' && command.name() !== 'add' ? VALUES.agent : undefined);
  return { kind: kind ?? 'nothing' };
}

function flagsOf(command: Command): Candidates {
  const options = command.createHelp().visibleOptions(command);
  return {
    kind: 'words',
    words: options.flatMap(({ long, description }) => (long ? [{ word: long, description }] : [])),
  };
}

function subcommands(command: Command): Candidates {
  const visible = command.createHelp().visibleCommands(command);
  return {
    kind: 'words',
    words: visible.map((each) => ({ word: each.name(), description: each.description() })),
  };
}
