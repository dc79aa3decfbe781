import type { Template } from './template.ts';

/** What commands make of their arguments: some read them once more, as a shell text, as arithmetic or as names. */

/** Where a template stands that has no place there, and what to do. */
export interface Misplaced {
  where: string;
  remedy: string;
}

export const AS_CODE =
  'bash runs commands that such a text holds; check the value first, and give it in `env`';
const SHELLS = ['sh', 'bash', 'dash', 'ash', 'ksh', 'mksh', 'zsh', 'fish', 'su', 'runuser'];
/** They run their arguments as a shell text. */
const RUN_TEXT = ['eval', 'trap', 'alias'];
/** They take names of variables, whose subscripts bash evaluates. */
const TAKE_NAMES = ['unset', 'read', 'mapfile', 'readarray', 'getopts'];
const DECLARE = ['declare', 'typeset', 'local', 'export', 'readonly'];
const SSH_OPTIONS_WITH_VALUE = /^-[A-Za-z0-9]*[BbcDEeFIiJLlmOopQRSWw]$/;

/** Why a template must not stand in a word behind these words of a command of a shell text; null when it may. */
export function faultInCommand(template: Template, words: readonly string[], word: string): Misplaced | null {
  const fault = isShellText(words) ? faultInShellText(template, word) : null;
  if (fault !== null) return fault;
  const [command = ''] = words;
  if (command === 'let') return { where: 'stands in arithmetic', remedy: AS_CODE };
  const isName =
    TAKE_NAMES.includes(command) ||
    (DECLARE.includes(command) && !word.includes('=')) ||
    (['printf', 'test', '['].includes(command) && words.at(-1) === '-v');
  return isName ? { where: `is read as the name of a variable by ${command}`, remedy: AS_CODE } : null;
}

/**
 * Whether an argument is read as a shell text by the command that it is given to. `before` are the words before it.
 */
export function isShellText(before: readonly string[]): boolean {
  const names = before.map((word) => word.replace(/^.*\//, ''));
  const [command] = names[0] === 'command' || names[0] === 'builtin' ? names.slice(1) : names;
  if (command !== undefined && RUN_TEXT.includes(command)) return true;
  const last = names.at(-1) ?? '';
  if (names.some((name) => SHELLS.includes(name)) && /^(-[a-z]*c[a-z]*|--command)$/.test(last)) return true;
  const ssh = names.indexOf('ssh');
  return ssh >= 0 && names[ssh - 1]?.startsWith('-') !== true && hasHost(names.slice(ssh + 1));
}

function hasHost(words: readonly string[]): boolean {
  for (let index = 0; index < words.length; index++) {
    const word = words[index] as string;
    if (!word.startsWith('-')) return true;
    if (SSH_OPTIONS_WITH_VALUE.test(word)) index++;
  }
  return false;
}

/** Why a template must not stand in a shell text of a shell text, where only a quoted value is safe; null when it may. */
export function faultInShellText({ filters }: Template, wordBefore: string): Misplaced | null {
  const open = (mark: string) => wordBefore.split(mark).length % 2 === 0;
  const plain = !open("'") && !open('\\"') && !wordBefore.includes('`');
  if (filters.at(-1)?.name === 'shell' && plain) return null;
  return {
    where: 'is read as a shell text by the command that it is given to',
    remedy: 'write `| shell` and no quotes around it there, or give the value in `env`',
  };
}
