import { HTTP_METHODS, type JobDocument, LIMITS, type RetryField, readJob } from '@rota/contract';
import { slug, uniqueName } from '../crontab/name.ts';
import { type Fields, type FleetCronConfig, isFields } from './read.ts';
import type { Texts } from './texts.ts';

/** A job of FleetCron as a document of ours. */
export interface FleetCronJob {
  /** As FleetCron calls it. */
  title: string;
  name: string;
  document: Record<string, unknown>;
}

/** What is said of a job: by its field when it was not carried over; without a field when it is the whole job. */
export interface FleetCronNote {
  job: string;
  field: string | null;
  message: string;
}

export interface ImportContext {
  timezone: string;
  config: Pick<FleetCronConfig, 'httpDefaults'>;
  texts: Texts;
  /** Names that are taken; that of the job is added. */
  names: Set<string>;
  agents: string[] | null;
  /** Told of each field that was left out. */
  note(note: FleetCronNote): void;
}

/** Fields that say nothing about what a job does. */
const IGNORED = ['_id', 'created_at', 'updated_at', '__v'];
const JOB_FIELDS = [
  'name',
  'enabled',
  'hour',
  'minute',
  'schedules',
  'actions',
  'timeout_sec',
  'retry',
  'when',
];
const REQUEST_FIELDS = ['method', 'url', 'headers', 'params', 'body'];
const ACTION_FIELDS = [
  'type',
  'name',
  'timeout_sec',
  'retry',
  'when',
  'continue_on_failure',
  ...REQUEST_FIELDS,
];
/** Methods whose body FleetCron sends. */
const WITH_BODY = ['POST', 'PUT', 'PATCH', 'DELETE'];
const DEFAULT_MAX_DELAY_MS = 600_000;

/** A value that makes the whole job impossible to carry over. */
class Impossible extends Error {
  readonly field: string;
  constructor(field: string, message: string) {
    super(message);
    this.field = field;
  }
}

/** Makes a document of a job; null when it cannot be one, which is noted. */
export function importJob(job: Fields, context: ImportContext): FleetCronJob | null {
  const title = typeof job.name === 'string' && job.name.trim() !== '' ? job.name.trim() : 'job';
  const note = (field: string | null, message: string) => context.note({ job: title, field, message });
  try {
    const name = uniqueName(slug(title), context.names);
    const document = {
      name,
      title: title.replace(/[\r\n]+/g, ' ').slice(0, LIMITS.titleLength),
      labels: { importedFrom: 'fleetcron' },
      ...(job.enabled === true ? {} : { enabled: false }),
      schedule: scheduleOf(job, context.timezone, note),
      ...(context.agents && { target: { agents: context.agents } }),
      ...executionOf(job, context, note),
    };
    const read = readJob(document, { timezone: context.timezone });
    if ('faults' in read) {
      for (const { path, message } of read.faults) note(null, `${path}: ${message}`);
      return null;
    }
    context.names.add(name);
    return { title, name, document };
  } catch (error) {
    if (!(error instanceof Impossible)) throw error;
    note(null, `${error.field}: ${error.message}`);
    return null;
  }
}

type Note = (field: string | null, message: string) => void;

function scheduleOf(job: Fields, timezone: string, note: Note): JobDocument['schedule'] {
  const { schedules } = job;
  const several = Array.isArray(schedules) && schedules.length > 0;
  const list: [Fields, string][] = several
    ? schedules.map((each, index) => [isFields(each) ? each : {}, `schedules[${index}].`])
    : [[job, '']];
  if (!several && job.minute === undefined && job.hour === undefined)
    throw new Impossible('minute', 'neither `minute`, `hour` nor `schedules` says when it runs');
  const entries = list.map(([fields, path]) => {
    if (several) noteOthers(fields, ['hour', 'minute'], path, note);
    const minute = timeOf(fields.minute ?? 0, 59, `${path}minute`);
    const hour = fields.hour ?? null;
    return {
      cron: `${minute} ${hour === null ? '*' : timeOf(hour, 23, `${path}hour`)} * * *`,
      timezone,
    };
  });
  return entries.length === 1 ? entries[0] : entries;
}

function timeOf(value: unknown, max: number, field: string): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= max) return number;
  throw new Impossible(field, `${JSON.stringify(value)} is not a whole number from 0 to ${max}`);
}

function executionOf(job: Fields, context: ImportContext, note: Note): Record<string, unknown> {
  if (Array.isArray(job.actions) && job.actions.length > 0) {
    noteOthers(job, JOB_FIELDS, '', note);
    if (job.when !== undefined) note('when', 'FleetCron heeds it in actions only');
    const names = new Set<string>();
    const steps = job.actions.flatMap((action: unknown, index) => {
      const path = `actions[${index}].`;
      if (!isFields(action)) throw new Impossible(`actions[${index}]`, 'is no object');
      if (action.type !== undefined && action.type !== 'http') {
        note(
          `${path}type`,
          `an action of the type ${JSON.stringify(action.type)}, which FleetCron skips, too`,
        );
        return [];
      }
      noteOthers(action, ACTION_FIELDS, path, note);
      const name = uniqueStep(stepName(action.name, index), names);
      return [stepOf(name, action, job, path, context, note)];
    });
    if (steps.length === 0) throw new Impossible('actions', 'none of them is a request');
    return { steps };
  }
  noteOthers(job, [...JOB_FIELDS, ...REQUEST_FIELDS], '', note);
  const { name: _, ...step } = stepOf('request', job, job, '', context, note);
  return 'retry' in step || 'when' in step ? { steps: [{ name: 'request', ...step }] } : step;
}

/** One request. What an action does not say, its job or the configuration does. */
function stepOf(
  name: string,
  action: Fields,
  job: Fields,
  path: string,
  context: ImportContext,
  note: Note,
): Record<string, unknown> {
  const { httpDefaults } = context.config;
  const retry = retryOf(
    { ...fieldsOf(job.retry ?? httpDefaults.retry), ...fieldsOf(action.retry) },
    path,
    note,
  );
  const when = whenOf(action.when, path, note);
  const timeout = action.timeout_sec ?? job.timeout_sec ?? httpDefaults.timeout_sec;
  return {
    name,
    http: {
      ...requestOf(action, path, context.texts, note),
      ...(timeout !== undefined &&
        timeout !== null && { timeout: seconds(timeout, `${path}timeout_sec`, 100) }),
    },
    ...(retry && { retry }),
    ...(when && { when }),
    ...(action.continue_on_failure === true && { continueOnFailure: true }),
  };
}

function requestOf(action: Fields, path: string, texts: Texts, note: Note): Record<string, unknown> {
  const method = String(action.method ?? 'GET').toUpperCase();
  if (!(HTTP_METHODS as readonly string[]).includes(method))
    throw new Impossible(`${path}method`, `there is no method ${JSON.stringify(action.method)}`);
  if (typeof action.url !== 'string' || action.url === '')
    throw new Impossible(`${path}url`, 'a request needs a URL');
  const headers = Object.entries(fieldsOf(action.headers)).map(([name, value]) => [
    name,
    texts.text(String(value)),
  ]);
  const query = texts.deep(fieldsOf(action.params)) as Fields;
  const { body } = action;
  const hasBody = body !== undefined && body !== null;
  if (hasBody && !WITH_BODY.includes(method)) note(`${path}body`, `FleetCron sends none with ${method}`);
  const sent = hasBody && WITH_BODY.includes(method);
  return {
    ...(method !== 'GET' && { method }),
    url: texts.text(action.url),
    ...(headers.length > 0 && { headers: Object.fromEntries(headers) }),
    ...(Object.keys(query).length > 0 && { query }),
    ...(sent && (typeof body === 'object' ? { json: texts.deep(body) } : { body: texts.text(String(body)) })),
  };
}

function retryOf(retry: Fields, path: string, note: Note): RetryField | null {
  noteOthers(retry, ['retries', 'delay_sec', 'backoff'], `${path}retry.`, note);
  const times = Number(retry.retries ?? 0);
  if (!Number.isInteger(times) || times < 0)
    throw new Impossible(`${path}retry.retries`, `${JSON.stringify(retry.retries)} is no number of retries`);
  if (times === 0) return null;
  if (times > 100) note(`${path}retry.retries`, `${times} is more than 100, and 100 is taken`);
  const backoff = Math.min(Math.max(Number(retry.backoff ?? 1) || 1, 1), 100);
  const delay = seconds(retry.delay_sec ?? 0, `${path}retry.delay_sec`, 0);
  const most = Number(retry.delay_sec ?? 0) * 1_000 * backoff ** (Math.min(times, 100) - 1);
  return {
    times: Math.min(times, 100),
    delay,
    backoff,
    ...(most > DEFAULT_MAX_DELAY_MS && { maxDelay: `${Math.min(Math.ceil(most), LIMITS.durationMaxMs)}ms` }),
  };
}

function whenOf(when: unknown, path: string, note: Note): Record<string, unknown> | null {
  const fields = fieldsOf(when);
  noteOthers(fields, ['hour_in', 'minute_in'], `${path}when.`, note);
  const list = (field: 'hour_in' | 'minute_in', max: number) => {
    const value = fields[field];
    if (value === undefined || value === null) return undefined;
    return [value].flat().map((each) => timeOf(each, max, `${path}when.${field}`));
  };
  const hour = list('hour_in', 23);
  const minute = list('minute_in', 59);
  for (const [field, values] of Object.entries({ hour_in: hour, minute_in: minute })) {
    if (values?.length === 0)
      throw new Impossible(`${path}when.${field}`, 'is empty, so that it never holds');
  }
  return hour || minute ? { ...(minute && { minute }), ...(hour && { hour }) } : null;
}

/** A number of seconds as a duration of ours. */
function seconds(value: unknown, field: string, min: number): string {
  const ms = Math.round(Number(value) * 1_000);
  if (!Number.isFinite(ms) || ms < min || ms > LIMITS.durationMaxMs)
    throw new Impossible(field, `${JSON.stringify(value)} is no number of seconds that is possible`);
  return ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`;
}

function noteOthers(fields: Fields, known: readonly string[], path: string, note: Note): void {
  for (const field of Object.keys(fields)) {
    if (!known.includes(field) && !IGNORED.includes(field)) note(path + field, 'has nothing like it here');
  }
}

function stepName(title: unknown, index: number): string {
  const name = String(title ?? '')
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, LIMITS.stepNameLength)
    .replace(/[-_]+$/, '');
  return name === '' ? `step-${index + 1}` : name;
}

function uniqueStep(name: string, taken: Set<string>): string {
  let unique = name;
  for (let count = 2; taken.has(unique); count++)
    unique = `${name.slice(0, LIMITS.stepNameLength - 4)}-${count}`;
  taken.add(unique);
  return unique;
}

function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}
