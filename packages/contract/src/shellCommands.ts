import type { Template } from './template.ts';

/** What commands make of their arguments: some read them once more, as a shell text, as arithmetic or as names. */

/** Where a template stands that has no place there, and what to do. */
export interface Misplaced {
  where: string;
  remedy: string;
}

export const AS_CODE =
  'bash runs commands that such a text holds; check the value first, and give it in `env`';
/** They run an argument of theirs as a shell text, behind `-c`. */
const SHELLS = [
  ...['sh', 'bash', 'rbash', 'dash', 'ash', 'ksh', 'mksh', 'zsh', 'fish'],
  ...['su', 'runuser', 'script', 'flock'],
];
/** They run their arguments as a shell text. */
const RUN_TEXT = ['eval', 'trap', 'alias', 'compgen', 'complete', 'bind'];
/** The same, when they stand anywhere in a command. */
const RUN_TEXT_ANYWHERE = ['watch', 'parallel'];
/** What stands before the name of a command. */
const PREFIXES = ['command', 'builtin', 'exec', 'coproc', 'time'];
/** They take names of variables, whose subscripts bash evaluates. */
const TAKE_NAMES = ['unset', 'read', 'mapfile', 'readarray', 'getopts'];
const DECLARE = ['declare', 'typeset', 'local', 'export', 'readonly'];
const SSH_OPTIONS_WITH_VALUE = /^-[A-Za-z0-9]*[BbcDEeFIiJLlmOopQRSWw]$/;
const SHELL_OPTION_WITH_VALUE = /^[-+][A-Za-z]*[oO]$/;
const COMMAND_OPTION = /^(-[A-Za-z]*c[A-Za-z]*|--command)$/;
/** The text stands in the same word. */
const COMMAND_WORD = /^(--command=|-c)/;

/** Why a template must not stand in a word behind these words of a command of a shell text, all as written; null when it may. */
export function faultInCommand(template: Template, words: readonly string[], word: string): Misplaced | null {
  const before = words.map(meaningOf);
  const text = meaningOf(word);
  const inner = shellTextBefore(before, text);
  return inner === null ? faultAsName(before, text) : faultInShellText(template, inner);
}

function faultAsName(before: readonly string[], text: string): Misplaced | null {
  const [command = ''] = commandIn(before.map(nameIn));
  if (command === 'let') return { where: 'stands in arithmetic', remedy: AS_CODE };
  const isName =
    TAKE_NAMES.includes(command) ||
    (DECLARE.includes(command) && (!text.includes('=') || text.includes('=('))) ||
    (['printf', 'test', '['].includes(command) && before.at(-1) === '-v');
  return isName ? { where: `is read as the name of a variable by ${command}`, remedy: AS_CODE } : null;
}

/** Whether a shell that these words start reads commands from its standard input. */
export function readsCommands(words: readonly string[]): boolean {
  const names = words.map((word) => nameIn(meaningOf(word)));
  const shell = names.findLastIndex((name) => SHELLS.includes(name));
  return shell >= 0 && onlyOptions(names.slice(shell + 1));
}

/**
 * Of an argument that begins with `text` and that its command reads as a shell text: what stands there in it before the place behind
 * `text`. Null when it is no such argument. `before` are the words before it, without their quotes.
 */
export function shellTextBefore(before: readonly string[], text: string): string | null {
  const names = before.map(nameIn);
  const joined = (from: number) => [...before.slice(from), text].join(' ');
  const start = names.length - commandIn(names).length;
  if (RUN_TEXT.includes(names[start] ?? '')) return joined(start + 1);
  const anywhere = names.findIndex((name) => RUN_TEXT_ANYWHERE.includes(name));
  if (anywhere >= 0) return joined(anywhere + 1);
  const shell = names.findLastIndex((name) => SHELLS.includes(name));
  if (shell >= 0) {
    const option = before.findIndex((word, index) => index > shell && COMMAND_OPTION.test(word));
    if (option >= 0 && onlyOptions(before.slice(option + 1))) return text;
    if (option < 0 && COMMAND_WORD.test(text)) return text.replace(COMMAND_WORD, '');
  }
  const ssh = names.indexOf('ssh');
  if (ssh < 0 || names[ssh - 1]?.startsWith('-')) return null;
  const host = hostIn(names, ssh + 1);
  return host === null ? null : joined(host + 1);
}

/** The command and its arguments. */
function commandIn(names: readonly string[]): readonly string[] {
  const first = names.findIndex((name) => !PREFIXES.includes(name) && !name.startsWith('-'));
  return first < 0 ? [] : names.slice(first);
}

function nameIn(word: string): string {
  return /^\$\{?(SHELL|BASH|0)\b/.test(word) ? 'sh' : word.replace(/^.*\//, '');
}

function onlyOptions(words: readonly string[]): boolean {
  return words.every(
    (word, index) => /^[-+]/.test(word) || SHELL_OPTION_WITH_VALUE.test(words[index - 1] ?? ''),
  );
}

function hostIn(words: readonly string[], from: number): number | null {
  for (let index = from; index < words.length; index++) {
    const word = words[index] as string;
    if (!word.startsWith('-')) return index;
    if (SSH_OPTIONS_WITH_VALUE.test(word)) index++;
  }
  return null;
}

/** A word or its beginning without its quotes. */
function meaningOf(word: string): string {
  let meaning = '';
  let quote = '';
  for (let at = 0; at < word.length; at++) {
    const char = word[at] as string;
    const next = word[at + 1] ?? '';
    if (quote === "'" ? char === quote : char === '"' && quote !== "'") quote = quote === '' ? char : '';
    else if (char === "'" && quote === '') quote = char;
    else if (char === '\\' && (quote === '' || (quote === '"' && /[$`"\\]/.test(next)))) {
      meaning += next;
      at++;
    } else meaning += char;
  }
  return meaning;
}

/** Why a template must not stand in a shell text of a shell text, where only a quoted value is safe; null when it may. */
export function faultInShellText({ filters }: Template, textBefore: string): Misplaced | null {
  if (filters.at(-1)?.name === 'shell' && isPlainPlace(textBefore)) return null;
  return {
    where: 'is read as a shell text by the command that it is given to',
    remedy: 'write `| shell` and no quotes around it there, or give the value in `env`',
  };
}

/** Whether a quoted value behind this text is a word of a command that does not read it once more. */
function isPlainPlace(text: string): boolean {
  if (/`|<<|\(\(|\[\[|\$\[|\$'|[\\$]$/.test(text)) return false;
  let quote = '';
  let words = [''];
  for (let at = 0; at < text.length; at++) {
    const char = text[at] as string;
    if (char === '\\' && quote !== "'") words[words.length - 1] += text[++at] ?? '';
    else if (quote !== '' ? char === quote : char === "'" || char === '"') quote = quote === '' ? char : '';
    else if (quote !== '') words[words.length - 1] += char;
    else if (char === '#' && words.at(-1) === '') {
      const end = text.indexOf('\n', at);
      if (end < 0) return false;
      at = end - 1;
    } else if (/[;&|\n(){}]/.test(char)) words = [''];
    else if (/\s/.test(char)) words.push('');
    else words[words.length - 1] += char;
  }
  const word = words.pop() ?? '';
  const before = words.filter((each) => each !== '');
  return quote === '' && shellTextBefore(before, word) === null && faultAsName(before, word) === null;
}
