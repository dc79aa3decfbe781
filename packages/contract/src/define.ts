import { parseDuration, parseSchedule, ScheduleError } from '@rota/schedule';
import { defineSteps, retryFaults, stepsFaults } from './defineSteps.ts';
import { type Fault, faultsOf, shown } from './faults.ts';
import {
  Document,
  JOB_FIELDS_LATER,
  JOB_VALUES_LATER,
  type JobDefinition,
  JobDocument,
  type ScheduleDefinition,
  STEP_FIELDS_ONLY,
} from './job.ts';
import { createMeaning, type Meaning } from './meaning.ts';
import { LIMITS } from './names.ts';
import { defineParam, type Param, type ParamField, paramFaults } from './params.ts';
import { defineRetry } from './retry.ts';

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
  const told = faults.filter((fault) => fault.code === 'notSupported' || !later.has(fault.path));
  if (input === null || typeof input !== 'object' || Array.isArray(input)) return { faults: told };
  addMeaningFaults(input as JobDocument, context.timezone, createMeaning(told, base));
  if (told.length > 0) return { faults: told };
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
    steps: defineSteps(document),
    params: Object.fromEntries(
      Object.entries(document.params ?? {}).map(([name, field]) => [name, defineParam(field)]),
    ),
    retry: document.retry === undefined ? null : defineRetry(document.retry),
    timeoutMs: document.timeout === undefined ? null : parseDuration(document.timeout),
    concurrency: 'forbid',
    catchUp: 'latest',
    startDeadlineMs: ms(document.startDeadline, JOB_DEFAULTS.startDeadlineMs),
    onUnknown: document.onUnknown ?? 'hold',
  };
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

/** Adds the faults that the schema cannot say: durations, schedules, steps, fields that belong together. */
function addMeaningFaults(document: JobDocument, timezone: string, meaning: Meaning): void {
  const own = document as Record<string, unknown>;
  meaning.duration('timeout', own.timeout, 1_000, 'at least 1s');
  meaning.duration('startDeadline', own.startDeadline, 1_000, 'at least 1s');
  if (isObject(own.target)) meaning.duration('target.stagger', own.target.stagger, 0, 'at least 0s');
  retryFaults(own.retry, meaning.inside('retry'));
  const params: Record<string, Pick<Param, 'type'>> = {};
  for (const [name, field] of Object.entries(isObject(own.params) ? own.params : {})) {
    // Of a parameter that is broken only its name is known: nothing more is to be told where it is used.
    params[name] = { type: 'number' };
    if (meaning.broken(`params.${name}`)) continue;
    paramFaults(field as ParamField, own.schedule !== undefined, meaning.inside(`params.${name}`).add);
    params[name] = defineParam(field as ParamField);
  }
  stepsFaults(own, params, meaning);
  for (const { value, path } of scheduleList(document)) {
    if (meaning.broken(path) || (typeof value !== 'string' && !isObject(value))) continue;
    if (typeof value !== 'string') {
      const kinds = ['cron', 'every', 'at'].filter((kind) => Object.hasOwn(value, kind));
      if (kinds.length !== 1) {
        const code = kinds.length === 0 ? 'missing' : 'value';
        meaning.add(path, code, 'a schedule has exactly one of `cron`, `every` and `at`');
        continue;
      }
      meaning.duration(`${path}.jitter`, value.jitter, 0, 'at least 0s');
      if (meaning.broken(path)) continue;
    }
    const fault = scheduleFault(value, timezone);
    if (fault) meaning.add(path, 'value', fault);
  }
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

/** Fields and values that the design has but this version does not, or not at the top of a job. */
function laterFaults(input: unknown, base: string): Fault[] {
  if (!isObject(input)) return [];
  const at = (path: string) => (base === '' ? path : `${base}.${path}`);
  const faults: Fault[] = JOB_FIELDS_LATER.filter((field) => Object.hasOwn(input, field)).map((field) => ({
    path: at(field),
    code: 'notSupported',
    message: `\`${field}\` is not supported yet`,
  }));
  for (const field of STEP_FIELDS_ONLY.filter((field) => Object.hasOwn(input, field))) {
    const message = 'belongs to a step; write `steps: [{name: …}]`';
    faults.push({ path: at(field), code: 'notSupported', message });
  }
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
