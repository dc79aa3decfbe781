const LONGEST = 100;
const PLAIN_WORDS = 2;

/** Prefixes that only run what follows them, with those of their options that take a word. */
const WRAPPERS: ReadonlyMap<string, readonly string[]> = new Map([
  ['!', []],
  ['chronic', []],
  ['env', ['-u', '-C']],
  ['exec', []],
  ['flock', ['-w', '-E']],
  ['ionice', ['-c', '-n']],
  ['nice', ['-n']],
  ['nocache', []],
  ['nohup', []],
  ['run-parts', ['-a', '-u']],
  ['setsid', []],
  ['sudo', ['-u', '-g']],
  ['time', []],
  ['timeout', ['-s', '-k']],
]);
/** Programs that are better known by the script that they run. */
const INTERPRETERS = new Set([
  'bash',
  'dash',
  'java',
  'ksh',
  'node',
  'perl',
  'php',
  'python',
  'python3',
  'ruby',
  'sh',
  'zsh',
]);
/** Commands that prepare or guard the one that matters. */
const GUARDS = new Set([
  '',
  '.',
  ':',
  '[',
  '[[',
  'cd',
  'command',
  'export',
  'false',
  'set',
  'sleep',
  'source',
  'test',
  'true',
  'type',
  'ulimit',
  'umask',
  'which',
]);
const KEYWORDS = /(?<=^|\s)(?:if|then|elif|else|fi|while|until|do|done)(?=\s|$)/g;
const SEPARATORS = /&&|\|\|?|[;{}()\n]|(?<!>)&(?!>)/;

/**
 * A job's name for a shell command: the program that does the work, with up to two plain words that follow it.
 * It depends on nothing but the command, so that a second import gives the same name.
 */
export function nameOf(command: string): string {
  const segments = simpleCommands(command);
  const worker =
    segments.find((words) => !GUARDS.has(baseName(words[0] ?? '')) && !isInline(words)) ?? segments[0] ?? [];
  const [program = '', ...more] = worker;
  const odd = more.findIndex((word) => !/^[a-z][a-z0-9_-]*$/i.test(word));
  const plain = more.slice(0, odd < 0 ? PLAIN_WORDS : Math.min(odd, PLAIN_WORDS));
  return slug([programName(program), ...plain].join('-'));
}

/** The name itself, or with the first of `-2`, `-3`, … that is not taken. */
export function uniqueName(name: string, taken: ReadonlySet<string>): string {
  let unique = name;
  for (let count = 2; taken.has(unique); count++) {
    const suffix = `-${count}`;
    unique = name.slice(0, LONGEST - suffix.length) + suffix;
  }
  return unique;
}

/** The simple commands of a shell text as words, roughly: it is only read for a name. */
function simpleCommands(command: string): string[][] {
  return command
    .replace(/\$\([^()]*\)|`[^`]*`/g, '_')
    .replace(/"[^"]*"|'[^']*'/g, (text) => text.slice(1, -1).replace(/[\s;&|(){}]+/g, '"'))
    .replace(KEYWORDS, ';')
    .split(SEPARATORS)
    .map((text) => unwrap(text.trim().split(/\s+/)))
    .filter((words) => words[0] !== undefined && words[0] !== '');
}

function unwrap(words: readonly string[]): string[] {
  const start = words.findIndex((word) => !/^\w+=/.test(word));
  const rest = start < 0 ? [] : words.slice(start);
  const program = baseName(rest[0] ?? '');
  const valued = WRAPPERS.get(program);
  if (valued !== undefined) {
    const after = rest.slice(1 + optionCount(rest.slice(1), valued));
    return unwrap(program === 'flock' ? after.slice(1) : after);
  }
  if (!INTERPRETERS.has(program)) return rest;
  const script = rest.slice(1 + optionCount(rest.slice(1), []));
  return isInline(rest) || script.length === 0 ? rest : script;
}

/** How many words are options, values of options, or bare amounts such as `10` and `5m`. */
function optionCount(words: readonly string[], valued: readonly string[]): number {
  let count = 0;
  for (let word = words[0]; word !== undefined; word = words[count]) {
    if (!/^-|^\d+[smhd]?$|^\w+=/.test(word)) break;
    count += valued.includes(word) ? 2 : 1;
  }
  return count;
}

/** `perl -e …`, `sh -c …`: the program's text stands on the line. */
function isInline(words: readonly string[]): boolean {
  return INTERPRETERS.has(baseName(words[0] ?? '')) && /^-\w*[cer]$/.test(words[1] ?? '');
}

function programName(path: string): string {
  return baseName(path).replace(/\.(sh|bash|py|pl|php|rb|js)$/i, '');
}

function baseName(path: string): string {
  return path.replace(/\/+$/, '').replace(/^.*\//, '');
}

/** A text as the name of a job. */
export function slug(text: string): string {
  const name = text
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .slice(0, LONGEST)
    .replace(/^[._-]+|[._-]+$/g, '');
  return name === '' ? 'job' : name;
}
