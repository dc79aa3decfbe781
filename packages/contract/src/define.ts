import { parseDuration, parseSchedule, ScheduleError } from '@rota/schedule';
import { defineHttp, httpFaults } from './defineHttp.ts';
import { type Fault, faultsOf, shown } from './faults.ts';
import {
  type Action,
  Document,
  JOB_FIELDS_LATER,
  JOB_VALUES_LATER,
  type JobDefinition,
  JobDocument,
  type ScheduleDefinition,
} from './job.ts';
import { LIMITS } from './names.ts';

/** Defaults of DESIGN section 2, in milliseconds. */
export const JOB_DEFAULTS = {
  staggerMs: 10_000,
  startDeadlineMs: 86_400_000,
  killGraceMs: 10_000,
} as const;

export interface ReadJob {
  /** The job as written, with its zones settled so that a later change of the default does not move it. */
  document: JobDocument;
  definition: JobDefinition;
}

/**
 * Reads one job of a document: checks it, settles its defaults, and says all that is wrong with it.
 * `timezone` is the default zone; `base` stands before the path of each fault.
 */
export function readJob(
  input: unknown,
  context: { timezone: string; base?: string },
): { job: ReadJob } | { faults: Fault[] } {
  const base = context.base ?? '';
  const size = JSON.stringify(input)?.length ?? 0;
  if (size > LIMITS.jobBytes) {
    return {
      faults: [
        {
          path: base,
          code: 'tooLarge',
          message: `the job has ${size} characters; at most ${LIMITS.jobBytes} are allowed`,
        },
      ],
    };
  }
  const faults = [...laterFaults(input, base), ...faultsOf(JobDocument, input, base)];
  const later = new Set(faults.filter((fault) => fault.code === 'notSupported').map((fault) => fault.path));
  const shape = faults.filter((fault) => fault.code === 'notSupported' || !later.has(fault.path));
  if (input === null || typeof input !== 'object' || Array.isArray(input)) return { faults: shape };
  const meaning = meaningFaults(input as JobDocument, context.timezone, base, shape);
  const all = [...shape, ...meaning];
  if (all.length > 0) return { faults: all };
  const document = pinZones(input as JobDocument, context.timezone);
  return { job: { document, definition: define(document, context.timezone) } };
}

export interface ReadDocument {
  owner: string | null;
  jobs: ReadJob[];
}

/** Reads a whole document, already parsed from YAML or JSON: all faults of all jobs at once. */
export function readDocument(
  input: unknown,
  context: { timezone: string },
): { document: ReadDocument } | { faults: Fault[] } {
  const faults = faultsOf(Document, input);
  if (faults.length > 0) return { faults };
  const { owner, defaults, jobs } = input as {
    owner?: string;
    defaults?: { timezone?: string };
    jobs: unknown[];
  };
  const timezone = defaults?.timezone ?? context.timezone;
  const zoneFault = scheduleFault({ cron: '0 0 * * *', timezone }, timezone);
  if (zoneFault) return { faults: [{ path: 'defaults.timezone', code: 'value', message: zoneFault }] };
  const read: ReadJob[] = [];
  const seen = new Map<string, number>();
  jobs.forEach((job, index) => {
    const withOwner =
      owner !== undefined && isObject(job) && !Object.hasOwn(job, 'owner') ? { ...job, owner } : job;
    const result = readJob(withOwner, { timezone, base: `jobs[${index}]` });
    if ('faults' in result) faults.push(...result.faults);
    else read.push(result.job);
    const name = isObject(job) && typeof job.name === 'string' ? job.name : null;
    if (name === null) return;
    const first = seen.get(name);
    if (first === undefined) seen.set(name, index);
    else
      faults.push({
        path: `jobs[${index}].name`,
        code: 'duplicate',
        message: `${shown(name)} is already the name of jobs[${first}]`,
      });
  });
  return faults.length > 0 ? { faults } : { document: { owner: owner ?? null, jobs: read } };
}

/** The definition of a stored document: every default settled. The document must have been read before. */
export function define(document: JobDocument, timezone: string): JobDefinition {
  const { target } = document;
  return {
    name: document.name,
    title: document.title ?? document.name,
    description: document.description ?? '',
    owner: document.owner ?? '',
    labels: document.labels ?? {},
    enabled: document.enabled ?? true,
    schedules: scheduleList(document).map(({ value }) => defineSchedule(value, timezone)),
    target: {
      agents: target?.agents ?? null,
      labels: target?.labels ?? {},
      pick: 'first',
      staggerMs: ms(target?.stagger, JOB_DEFAULTS.staggerMs),
      max: target?.max ?? null,
    },
    steps: [
      {
        name: 'main',
        action: defineAction(document),
        timeoutMs: null,
        retry: null,
        when: null,
        continueOnFailure: false,
      },
    ],
    params: {},
    retry: null,
    timeoutMs: document.timeout === undefined ? null : parseDuration(document.timeout),
    concurrency: 'forbid',
    catchUp: 'latest',
    startDeadlineMs: ms(document.startDeadline, JOB_DEFAULTS.startDeadlineMs),
    onUnknown: 'hold',
  };
}

function defineAction(document: JobDocument): Action {
  const { http } = document;
  if (http === undefined) {
    return {
      kind: 'command',
      command: document.command as string | string[],
      shell: document.shell ?? 'sh',
      env: document.env ?? {},
      user: document.user ?? null,
      cwd: document.cwd ?? null,
      umask: document.umask ?? null,
      stdin: document.stdin ?? '',
    };
  }
  return defineHttp(http);
}

type ScheduleValue =
  | string
  | { cron?: string; every?: string; at?: string; timezone?: string; jitter?: string };

/** The schedules of a document, each with the path that a fault names. */
function scheduleList(document: JobDocument): { value: ScheduleValue; path: string }[] {
  const { schedule } = document;
  if (schedule === undefined) return [];
  if (!Array.isArray(schedule)) return [{ value: schedule as ScheduleValue, path: 'schedule' }];
  return schedule.map((value, index) => ({ value: value as ScheduleValue, path: `schedule[${index}]` }));
}

function defineSchedule(value: ScheduleValue, timezone: string): ScheduleDefinition {
  if (typeof value !== 'string') {
    const { jitter, cron, ...rest } = value;
    // `@every` in a cron field is an interval, too, and counts from an anchor like any other.
    const when = cron === undefined ? {} : whenOf(cron, ['@every']);
    return { ...rest, ...when, timezone: value.timezone ?? timezone, jitterMs: ms(jitter, 0) };
  }
  return { ...whenOf(value, ['every', '@every', 'at']), timezone, jitterMs: 0 };
}

/** What a schedule's text says, by the keyword that it may begin with, in any case. */
function whenOf(text: string, keywords: string[]): Pick<ScheduleDefinition, 'cron' | 'every' | 'at'> {
  const [word = '', ...more] = text.trim().split(/\s+/);
  const keyword = word.toLowerCase();
  if (!keywords.includes(keyword)) return { cron: text.trim() };
  return keyword === 'at' ? { at: more.join(' ') } : { every: more.join('') };
}

function pinZones(document: JobDocument, timezone: string): JobDocument {
  if (document.schedule === undefined) return document;
  const pin = (value: ScheduleValue): ScheduleValue => {
    if (typeof value !== 'string')
      return value.timezone !== undefined || value.every !== undefined ? value : { ...value, timezone };
    const { jitterMs: _, ...pinned } = defineSchedule(value, timezone);
    return pinned.every !== undefined ? value : pinned;
  };
  const schedule = Array.isArray(document.schedule)
    ? document.schedule.map(pin)
    : pin(document.schedule as ScheduleValue);
  return { ...document, schedule } as JobDocument;
}

/** Faults that the schema cannot say: durations, schedules, fields that belong together. */
function meaningFaults(document: JobDocument, timezone: string, base: string, shape: Fault[]): Fault[] {
  const faults: Fault[] = [];
  const at = (path: string) => (base === '' ? path : `${base}.${path}`);
  const add = (path: string, code: Fault['code'], message: string) =>
    faults.push({ path: at(path), code, message });
  const broken = (path: string) =>
    shape.some(
      (fault) =>
        fault.path === at(path) ||
        fault.path.startsWith(`${at(path)}.`) ||
        fault.path.startsWith(`${at(path)}[`),
    );
  const duration = (path: string, value: unknown, min: number, what: string) => {
    if (typeof value !== 'string' || broken(path)) return;
    const fault = durationFault(value, min, what);
    if (fault) add(path, 'value', fault);
  };
  const own = document as Record<string, unknown>;
  duration('timeout', own.timeout, 1_000, 'at least 1s');
  duration('startDeadline', own.startDeadline, 1_000, 'at least 1s');
  if (isObject(own.target)) duration('target.stagger', own.target.stagger, 0, 'at least 0s');

  const http = isObject(own.http) ? own.http : undefined;
  const later =
    isObject(document) && ['steps', 'external', 'kubernetes'].some((field) => Object.hasOwn(document, field));
  if (own.command === undefined && own.http === undefined && !later)
    add('command', 'missing', 'a job needs `command` or `http`');
  if (own.command !== undefined && own.http !== undefined)
    add('http', 'value', 'a job has `command` or `http`, not both');
  if (own.http !== undefined) {
    for (const field of ['shell', 'env', 'user', 'cwd', 'umask', 'stdin'] as const) {
      if (own[field] !== undefined)
        add(field, 'value', `belongs to \`command\`; a job with \`http\` does not take it`);
    }
  }
  if (Array.isArray(own.command) && own.shell !== undefined)
    add('shell', 'value', 'a command that is a list runs without a shell');
  if (http) {
    for (const field of ['timeout', 'connectTimeout', 'firstByteTimeout'])
      duration(`http.${field}`, http[field], 100, 'at least 100ms');
    httpFaults(
      http,
      (path) => !broken(`http.${path}`),
      (path, code, message) => add(`http.${path}`, code, message),
    );
  }
  for (const { value, path } of scheduleList(document)) {
    if (broken(path) || (typeof value !== 'string' && !isObject(value))) continue;
    if (typeof value !== 'string') {
      const kinds = ['cron', 'every', 'at'].filter((kind) => Object.hasOwn(value, kind));
      if (kinds.length !== 1) {
        add(
          path,
          kinds.length === 0 ? 'missing' : 'value',
          'a schedule has exactly one of `cron`, `every` and `at`',
        );
        continue;
      }
      duration(`${path}.jitter`, value.jitter, 0, 'at least 0s');
      if (value.jitter !== undefined && durationFault(value.jitter, 0, '')) continue;
    }
    const fault = scheduleFault(value, timezone);
    if (fault) add(path, 'value', fault);
  }
  return faults;
}

function scheduleFault(value: ScheduleValue, timezone: string): string | null {
  try {
    parseSchedule(value, { timezone, spreadKey: 'check' });
    return null;
  } catch (error) {
    if (error instanceof ScheduleError) return error.message;
    throw error;
  }
}

function durationFault(text: string, min: number, rule: string): string | null {
  try {
    const value = parseDuration(text);
    if (value < min) return `${shown(text)} is too short; ${rule}`;
    if (value > LIMITS.durationMaxMs) return `${shown(text)} is too long; at most 365d`;
    return null;
  } catch (error) {
    if (error instanceof ScheduleError) return error.message;
    throw error;
  }
}

/** Fields and values that the design has but this version does not. */
function laterFaults(input: unknown, base: string): Fault[] {
  if (!isObject(input)) return [];
  const at = (path: string) => (base === '' ? path : `${base}.${path}`);
  const faults: Fault[] = JOB_FIELDS_LATER.filter((field) => Object.hasOwn(input, field)).map((field) => ({
    path: at(field),
    code: 'notSupported',
    message: `\`${field}\` is not supported yet`,
  }));
  for (const [path, values] of Object.entries(JOB_VALUES_LATER)) {
    const value = path
      .split('.')
      .reduce<unknown>(
        (from, part) => (isObject(from) && Object.hasOwn(from, part) ? from[part] : undefined),
        input,
      );
    if (typeof value === 'string' && values.includes(value)) {
      faults.push({ path: at(path), code: 'notSupported', message: `"${value}" is not supported yet` });
    }
  }
  return faults;
}

function ms(text: string | undefined, fallback: number): number {
  return text === undefined ? fallback : parseDuration(text);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
