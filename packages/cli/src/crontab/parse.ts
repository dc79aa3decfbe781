import path from 'node:path/posix';
import { ENV_NAME, plainBraces } from '@rota/contract';
import { describe } from './description.ts';
import { type Line, readLine } from './line.ts';
import { nameOf, uniqueName } from './name.ts';
import { backwardRange, timeFault } from './time.ts';

/** An entry of a crontab as a job. */
export interface CrontabJob {
  /** Counted from 1. */
  line: number;
  name: string;
  /** A job document of Rota, without `enabled` and `target`: those are the importer's choice. */
  document: Record<string, unknown>;
  /** The line as it stands in the file, without its newline. */
  source: string;
  /** The value of `MAILTO` where the entry stands; empty means that cron sends no mail. */
  mailto?: string;
}

/** A line that is not imported, and why. */
export interface CrontabFault {
  line: number;
  text: string;
  message: string;
}

/** Something that a person should know of an imported line or of the file. */
export interface CrontabNotice {
  line: number;
  message: string;
}

export interface ParsedCrontab {
  jobs: CrontabJob[];
  faults: CrontabFault[];
  notices: CrontabNotice[];
}

export interface CrontabOptions {
  /** The file's name, for the descriptions and for cron's own rule about names. */
  file: string;
  /** Whether each entry names its user, as in a system crontab; see `hasUserField`. */
  userField: boolean;
  /** Whose crontab it is when the entries do not say. */
  defaultUser?: string;
  /** The home folder of a user; undefined for a user that this machine does not know. */
  homeOf?: (user: string) => string | undefined;
  /** Whether a folder is there. cron runs a command all the same when its home is not. */
  isFolder?: (path: string) => boolean;
  /** The shell until the crontab sets `SHELL`; default `/bin/sh`. */
  shellDefault?: string;
  /** The zone by which this machine's cron runs; without it the jobs take their tenant's zone. */
  timezone?: string;
  /** Names that are given already, for instance to the jobs of another file of the same import. */
  taken?: Iterable<string>;
}

type Entry = Extract<Line, { kind: 'entry' }>;
type Variable = Extract<Line, { kind: 'variable' }>;

/** What an entry finds set by the lines above it, and where the findings about the file go. */
interface Reading {
  options: CrontabOptions;
  variables: Map<string, string>;
  comments: string[];
  names: Set<string>;
  /** Messages that are true of several lines and said at the first. */
  told: Set<string>;
  found: ParsedCrontab;
}

const DEFAULT_SHELL = '/bin/sh';
const VARIABLE_NAME = new RegExp(ENV_NAME);
/** cron's own, when the crontab sets none. */
const DEFAULT_PATH = '/usr/bin:/bin';
/** The home that Debian gives to users who have none. */
const NO_HOME = '/nonexistent';

/** Whether a file of this name is a system crontab, whose entries have a user after the time. */
export function hasUserField(file: string): boolean {
  const whole = path.normalize(file);
  return whole.endsWith('/etc/crontab') || path.dirname(whole).endsWith('/etc/cron.d');
}

/**
 * Reads a crontab as Debian's cron does and makes a job of each entry. It never throws for what the text says: an
 * entry that cannot become a job is a fault with its line, the others are still imported.
 */
export function parseCrontab(text: string, options: CrontabOptions): ParsedCrontab {
  const reading: Reading = {
    options,
    variables: new Map(),
    comments: [],
    names: new Set(options.taken),
    told: new Set(),
    found: { jobs: [], faults: [], notices: [] },
  };
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  noticeFile(text, lines.length, reading);
  for (const [index, source] of lines.entries()) readInto(reading, index + 1, source);
  return reading.found;
}

function noticeFile(text: string, lastLine: number, { options, found }: Reading): void {
  const { dir, base } = path.parse(path.normalize(options.file));
  if (dir.endsWith('/etc/cron.d') && !/^[A-Za-z0-9_-]+$/.test(base)) {
    const message = `Debian's cron ignores files of this name ("${base}"): it reads only names of letters, digits, "_" and "-"; these jobs do not run today`;
    found.notices.push({ line: 1, message });
  }
  if (text !== '' && !text.endsWith('\n')) {
    const message =
      "Debian's cron ignores this whole file, because its last line does not end with a newline; these jobs do not run today";
    found.notices.push({ line: lastLine, message });
  }
}

function readInto(reading: Reading, number: number, source: string): void {
  const { comments, found, options } = reading;
  const text = source.replace(/\r$/, '');
  const line = readLine(text, options.userField);
  if (line.kind === 'comment') {
    comments.push(line.text);
    return;
  }
  const description = describe(comments);
  comments.length = 0;
  if (line.kind === 'variable') {
    setVariable(reading, number, text, line);
  } else if (line.kind === 'fault') {
    found.faults.push({ line: number, text, message: line.message });
  } else if (line.kind === 'entry') {
    addJob(reading, number, source, line, description);
  }
}

function setVariable(reading: Reading, line: number, text: string, { name, value, bare }: Variable): void {
  const { variables, found } = reading;
  const notice = (message: string) => found.notices.push({ line, message });
  if (!VARIABLE_NAME.test(name)) {
    const message = `"${name}" cannot be the name of a variable: allowed are letters, digits and "_", and no digit first`;
    found.faults.push({ line, text, message });
    return;
  }
  variables.set(name, value);
  if (bare) {
    notice(`Debian's cron refuses a file with an empty value that is not quoted; it is read as ${name}=""`);
  }
  if (name === 'MAILTO' && value !== '') {
    notice(
      `MAILTO=${value} is kept as a variable and in the descriptions; Rota keeps each run's output instead of mailing it`,
    );
  }
  if (name === 'CRON_TZ') {
    notice(
      `CRON_TZ=${value} becomes the zone of the schedules below; Debian's cron ignores it and goes by the machine's zone`,
    );
  }
  if (name === 'RANDOM_DELAY') {
    notice(
      `RANDOM_DELAY=${value} is only kept as a variable, as Debian's cron does; for a delay set schedule.jitter, such as "${value}m"`,
    );
  }
}

function addJob(reading: Reading, line: number, source: string, entry: Entry, description: string): void {
  const { options, variables, names, found } = reading;
  const timezone = variables.get('CRON_TZ') || options.timezone;
  const schedule = { cron: entry.time, ...(timezone !== undefined && { timezone }) };
  const name = uniqueName(nameOf(entry.command), names);
  const message = timeFault(schedule, name);
  if (message !== undefined) {
    found.faults.push({ line, text: source.replace(/\r$/, ''), message });
    return;
  }
  names.add(name);
  noticeEntry(reading, line, source, entry);
  const mailto = variables.get('MAILTO');
  const document = {
    name,
    description: withOrigin(description, options.file, mailto),
    labels: { importedFrom: 'crontab' },
    schedule,
    ...execution(reading, line, entry),
  };
  found.jobs.push({ line, name, document, source, ...(mailto !== undefined && { mailto }) });
}

function withOrigin(description: string, file: string, mailto: string | undefined): string {
  const mailed = mailto === undefined || mailto === '' ? '' : `; cron mailed its output to ${mailto}`;
  const origin = `Imported from ${file}${mailed}.`;
  return description === '' ? origin : `${description}\n\n${origin}`;
}

/** The command and all that cron gives to it: shell, variables, user, working folder, input. */
function execution(reading: Reading, line: number, entry: Entry): Record<string, unknown> {
  const { options, variables } = reading;
  const user = entry.user ?? options.defaultUser;
  const shell = variables.get('SHELL') ?? options.shellDefault ?? DEFAULT_SHELL;
  const home = variables.get('HOME') ?? (user === undefined ? undefined : options.homeOf?.(user));
  const env: Record<string, string> = {
    SHELL: shell,
    PATH: DEFAULT_PATH,
    ...(home !== undefined && { HOME: home }),
    ...Object.fromEntries(variables),
    ...(user !== undefined && { LOGNAME: user }),
  };
  return {
    ...shellCommand(shell, plainBraces(entry.command)),
    env: Object.fromEntries(Object.entries(env).map(([name, value]) => [name, plainBraces(value)])),
    ...(user !== undefined && { user }),
    ...(home !== undefined && { cwd: plainBraces(workingFolder(reading, line, home)) }),
    ...(entry.stdin !== '' && { stdin: plainBraces(entry.stdin) }),
  };
}

/** Only a plain `sh -c` is what cron does; Rota's `shell: bash` adds options, so every other shell is spelt out. */
function shellCommand(shell: string, command: string): { command: string | string[]; shell?: 'sh' } {
  return shell === DEFAULT_SHELL ? { command, shell: 'sh' } : { command: [shell, '-c', command] };
}

/** cron stays where it is when it cannot enter the home; Rota would fail, so such a command runs in `/`. */
function workingFolder(reading: Reading, line: number, home: string): string {
  const { isFolder } = reading.options;
  if (path.isAbsolute(home) && home !== NO_HOME && (isFolder?.(home) ?? true)) return home;
  noticeOnce(reading, line, `the home folder "${home}" is not there: its commands run in "/"`);
  return '/';
}

function noticeOnce({ told, found }: Reading, line: number, message: string): void {
  if (told.has(message)) return;
  told.add(message);
  found.notices.push({ line, message });
}

function noticeEntry(reading: Reading, line: number, source: string, entry: Entry): void {
  const { options, found } = reading;
  const notice = (message: string) => found.notices.push({ line, message });
  const { user, command, time } = entry;
  if (entry.quiet) {
    notice('the leading "-", by which some crons do not log the start, is left out; Rota records every run');
  }
  if (source.endsWith('\r')) {
    notice('the line ends with a carriage return, which cron hands to the command; it is left out');
  }
  const backwards = backwardRange(time);
  if (backwards !== undefined) {
    notice(
      `Debian's cron takes the range "${backwards}" as empty, because it goes backwards; Rota goes on past the end of the field`,
    );
  }
  if (options.homeOf === undefined) return;
  if (user !== undefined && options.homeOf(user) === undefined) {
    const message = `this machine has no user "${user}", so Debian's cron ignores the whole file; these jobs do not run today`;
    noticeOnce(reading, line, message);
  }
  const first = command.split(/\s/, 1)[0] ?? '';
  if (user === undefined && options.homeOf(first) !== undefined) {
    notice(
      `the command begins with "${first}", which is a user of this machine; if the file has a user field, import it with --user-field`,
    );
  }
}
