import { InvalidArgumentError, Option } from 'commander';
import { oneLine } from './output.ts';

/** Collects a flag that may be given more than once. */
export function repeated(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

/** Collects `k=v` flags into one record. */
export function pairs(
  what: string,
): (value: string, before: Record<string, string> | undefined) => Record<string, string> {
  return (value, before) => {
    const at = value.indexOf('=');
    if (at < 1)
      throw new InvalidArgumentError(`${JSON.stringify(value)} is not a ${what}; expected key=value.`);
    return { ...before, [value.slice(0, at)]: value.slice(at + 1) };
  };
}

/** Reads a whole number in a range. */
export function wholeNumber(min: number, max: number): (value: string) => number {
  return (value) => {
    const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}.`);
  };
}

/** The words after `--`: one word is a text for the shell, several are a program and its arguments. */
export function commandOf(words: readonly string[]): string | string[] {
  return words.length === 1 ? (words[0] as string) : [...words];
}

/** A command on one line, for people. */
export function commandText(command: string | readonly string[]): string {
  return oneLine(typeof command === 'string' ? command : command.map(quotedWord).join(' '));
}

function quotedWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** `--label k=v`, as often as wanted. */
export function labelOption(description: string): Option {
  return new Option('-l, --label <key=value>', description).argParser(pairs('label'));
}

/** `--limit N` of lists. */
export function limitOption(): Option {
  return new Option('--limit <n>', 'at most so many').argParser(wholeNumber(1, 1_000_000)).default(100);
}
