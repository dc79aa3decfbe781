import { type Static, Type } from 'typebox';
import { type HttpAction, HttpField } from './http.ts';
import { Labels } from './labels.ts';
import { AGENT_NAME, ENV_NAME, JOB_NAME, LIMITS, PARAM_NAME, STEP_NAME } from './names.ts';
import { type Param, ParamField } from './params.ts';
import { type Retry, RetryField } from './retry.ts';
import { type When, WhenField } from './when.ts';

/** The schema of a job as people write it. Durations are text here and milliseconds in `JobDefinition`. */

const strict = { additionalProperties: false } as const;
const DurationText = Type.String({ maxLength: 40, description: 'A duration such as 90s, 15m, 1h30m or 2d.' });
const oneLine = (maxLength: number) =>
  Type.String({
    maxLength,
    pattern: '^[^\\r\\n\\u0000]*$',
    description: `must be one line of at most ${maxLength} characters`,
  });

export const JobName = Type.String({
  pattern: JOB_NAME,
  description: 'must start with a-z or 0-9 and have only a-z, 0-9, ".", "_" and "-" (at most 100 characters)',
});
export const AgentName = Type.String({
  pattern: AGENT_NAME,
  description:
    'must start with a letter or digit and have only letters, digits, ".", "_" and "-" (at most 100 characters)',
});
export const ScheduleObject = Type.Object(
  {
    cron: Type.Optional(Type.String({ maxLength: LIMITS.cronLength })),
    every: Type.Optional(DurationText),
    at: Type.Optional(Type.String({ maxLength: 64 })),
    timezone: Type.Optional(Type.String({ maxLength: 64 })),
    jitter: Type.Optional(DurationText),
  },
  strict,
);
const ScheduleText = Type.String({ minLength: 1, maxLength: LIMITS.cronLength });
export const ScheduleField = Type.Union([
  ScheduleText,
  ScheduleObject,
  Type.Array(Type.Union([ScheduleText, ScheduleObject]), { minItems: 1, maxItems: LIMITS.schedulesPerJob }),
]);

export const Target = Type.Object(
  {
    agents: Type.Optional(Type.Array(AgentName, { minItems: 1, maxItems: LIMITS.targetAgents })),
    labels: Type.Optional(Labels),
    pick: Type.Optional(Type.Enum(['first'])),
    stagger: Type.Optional(DurationText),
    max: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.targetAgents })),
  },
  strict,
);

const Env = Type.Record(
  Type.String({ pattern: ENV_NAME }),
  Type.String({
    maxLength: LIMITS.envValueLength,
    pattern: '^[^\\u0000]*$',
    description: 'must not contain NUL',
  }),
  { additionalProperties: false, maxProperties: LIMITS.envVariables },
);
const CommandText = Type.String({
  minLength: 1,
  maxLength: LIMITS.commandLength,
  pattern: '^[^\\u0000]*$',
  description: 'must not contain NUL',
});

export const CommandField = Type.Union([
  CommandText,
  Type.Array(
    Type.String({
      maxLength: LIMITS.commandLength,
      pattern: '^[^\\u0000]*$',
      description: 'must not contain NUL',
    }),
    {
      minItems: 1,
      maxItems: LIMITS.argv,
    },
  ),
]);

/** What stands beside `command`, at the top of a job or in a step. */
export const commandFields = {
  shell: Type.Optional(Type.Enum(['sh', 'bash'])),
  env: Type.Optional(Env),
  user: Type.Optional(
    Type.String({
      pattern: '^([A-Za-z0-9_][A-Za-z0-9._-]{0,63}\\$?|[^\\u0000]{0,200}\\{\\{[^\\u0000]{1,200})$',
      description: 'must be the name of a user',
    }),
  ),
  cwd: Type.Optional(
    Type.String({
      pattern: '^(/|\\{\\{)[^\\u0000]*$',
      maxLength: LIMITS.pathLength,
      description: 'must be an absolute path',
    }),
  ),
  umask: Type.Optional(Type.String({ pattern: '^0?[0-7]{3}$', description: 'must be octal, such as "022"' })),
  stdin: Type.Optional(Type.String({ maxLength: LIMITS.stdinLength })),
};

const StepField = Type.Object(
  {
    name: Type.String({
      pattern: STEP_NAME,
      description:
        'must start with a letter and have only letters, digits, "_" and "-" (at most 50 characters)',
    }),
    command: Type.Optional(CommandField),
    ...commandFields,
    http: Type.Optional(HttpField),
    timeout: Type.Optional(DurationText),
    retry: Type.Optional(RetryField),
    when: Type.Optional(WhenField),
    continueOnFailure: Type.Optional(Type.Boolean()),
  },
  strict,
);
export type StepField = Static<typeof StepField>;

/** A job as it stands in a document, in the API and in an export. */
export const JobDocument = Type.Object(
  {
    name: JobName,
    title: Type.Optional(oneLine(LIMITS.titleLength)),
    description: Type.Optional(Type.String({ maxLength: LIMITS.descriptionLength })),
    owner: Type.Optional(oneLine(LIMITS.ownerLength)),
    labels: Type.Optional(Labels),
    enabled: Type.Optional(Type.Boolean()),
    schedule: Type.Optional(ScheduleField),
    target: Type.Optional(Target),
    command: Type.Optional(CommandField),
    ...commandFields,
    http: Type.Optional(HttpField),
    steps: Type.Optional(Type.Array(StepField, { minItems: 1, maxItems: LIMITS.steps })),
    params: Type.Optional(
      Type.Record(Type.String({ pattern: PARAM_NAME }), ParamField, {
        additionalProperties: false,
        maxProperties: LIMITS.params,
      }),
    ),
    timeout: Type.Optional(DurationText),
    retry: Type.Optional(RetryField),
    concurrency: Type.Optional(Type.Enum(['forbid'])),
    catchUp: Type.Optional(Type.Enum(['latest'])),
    startDeadline: Type.Optional(DurationText),
    onUnknown: Type.Optional(Type.Enum(['hold', 'retry'])),
  },
  strict,
);
export type JobDocument = Static<typeof JobDocument>;

/** Fields of the design that are not built yet: refused by name, never ignored. */
export const JOB_FIELDS_LATER = [
  'pool',
  'priority',
  'after',
  'tolerance',
  'maxRuntime',
  'notify',
  'external',
  'heartbeat',
  'kubernetes',
] as const;
/** Fields of steps that a job with one step at its top does not take. */
export const STEP_FIELDS_ONLY = ['when', 'continueOnFailure'] as const;

/** Values of the design that are not built yet, by field. */
export const JOB_VALUES_LATER: Record<string, readonly string[]> = {
  concurrency: ['allow', 'queue', 'replace'],
  catchUp: ['skip', 'all'],
  'target.pick': ['all', 'random', 'roundRobin', 'leastBusy'],
};

/** A document: jobs, what holds for all of them, and whose it is (for pruning). */
export const Document = Type.Object(
  {
    owner: Type.Optional(oneLine(LIMITS.ownerLength)),
    defaults: Type.Optional(Type.Object({ timezone: Type.Optional(Type.String({ maxLength: 64 })) }, strict)),
    jobs: Type.Array(Type.Unknown(), { maxItems: LIMITS.jobsPerDocument }),
  },
  strict,
);

/** One schedule of a job, its zone and jitter settled. Exactly one of `cron`, `every` and `at` is there. */
export interface ScheduleDefinition {
  cron?: string;
  every?: string;
  at?: string;
  timezone: string;
  jitterMs: number;
}

export interface CommandAction {
  kind: 'command';
  /** Text runs through the shell, a list is the argv. */
  command: string | string[];
  shell: 'sh' | 'bash';
  env: Record<string, string>;
  user: string | null;
  cwd: string | null;
  umask: string | null;
  stdin: string;
}

/** What a step does. An unhandled kind does not compile: switch on `kind` and end with `satisfies never`. */
export type Action = CommandAction | HttpAction;

/** One link of a chain. */
export interface Step {
  /** Unique in the job; `main` when the job has no `steps`. */
  name: string;
  action: Action;
  /** Of each try; null for no limit but the action's own. */
  timeoutMs: number | null;
  /** Tries within the attempt. */
  retry: Retry | null;
  /** It is passed over unless this holds. */
  when: When | null;
  /** Its failure neither ends the chain nor fails the run. */
  continueOnFailure: boolean;
}

/** A job with every default settled: what planning, dispatch and agents work with. */
export interface JobDefinition {
  name: string;
  title: string;
  description: string;
  owner: string;
  labels: Labels;
  enabled: boolean;
  schedules: ScheduleDefinition[];
  target: { agents: string[] | null; labels: Labels; pick: 'first'; staggerMs: number; max: number | null };
  /** At least one, in their order. */
  steps: Step[];
  params: Record<string, Param>;
  /** Of the whole run: further attempts. */
  retry: Retry | null;
  /** Kills the run; null for no limit. */
  timeoutMs: number | null;
  concurrency: 'forbid';
  catchUp: 'latest';
  startDeadlineMs: number;
  onUnknown: 'hold' | 'retry';
}
