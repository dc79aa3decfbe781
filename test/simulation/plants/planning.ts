import { BUSY, type Plant, SERVER, STORE } from './plant.ts';

/** Bugs in what makes runs of schedules. */
export const PLANNING: Plant[] = [
  {
    name: 'the plan begins now instead of at the cursor',
    edits: [
      {
        file: `${SERVER}/scheduler/plan.ts`,
        find: 'const from = job.plannedThrough;',
        replace: 'const from = Math.max(job.plannedThrough, now);',
      },
    ],
    invariant: 'everyInstantAccounted',
    world: { ...BUSY, maxReplicas: 1, kinds: ['killReplica', 'databaseAway'], faultsPerHour: 100 },
    seed: 6,
  },
  {
    name: 'what was passed over is not written down',
    edits: [
      { file: `${SERVER}/scheduler/plan.ts`, find: '    if (late > 1)\n', replace: '    if (late > 1e9)\n' },
    ],
    invariant: 'everyInstantAccounted',
    world: { ...BUSY, maxReplicas: 1, kinds: ['killReplica', 'databaseAway'], faultsPerHour: 100 },
    seed: 6,
  },
  {
    name: 'the unique key of an occurrence dropped, and the cursor not compared',
    edits: [
      {
        file: `${STORE}/migrations/0001Initial.ts`,
        find: "{ primary: ['tenantId', 'id'], unique: [['tenantId', 'jobId', 'occurrenceKey', 'part']] }",
        replace: "{ primary: ['tenantId', 'id'] }",
      },
      {
        file: `${SERVER}/scheduler/plan.ts`,
        find: "id: runIdOf({ tenantId: job.tenantId, jobId: job.id, occurrenceKey, part: '' }),",
        replace:
          'id: runIdOf({ tenantId: job.tenantId, jobId: job.id, occurrenceKey, part: String(globalThis.planted = (globalThis.planted ?? 0) + 1) }),',
      },
      {
        file: `${STORE}/planning.ts`,
        find: '{ tenantId, id: jobId, revision, plannedThrough: plan.expectedThrough }',
        replace: '{ tenantId, id: jobId, revision }',
      },
    ],
    invariant: 'everyInstantAccounted',
    world: { ...BUSY, minReplicas: 3 },
    seed: 3,
  },
  {
    name: 'a plan of an older revision is stored',
    edits: [
      {
        file: `${STORE}/planning.ts`,
        find: '{ tenantId, id: jobId, revision, plannedThrough: plan.expectedThrough }',
        replace: '{ tenantId, id: jobId }',
      },
    ],
    invariant: 'nothingExtra',
    world: {
      minReplicas: 3,
      kinds: ['databaseSlow'],
      faultsPerHour: 200,
      actions: ['edit'],
      actionsPerHour: 600,
    },
    seed: 1,
  },
  {
    name: 'a run is due at once instead of at its instant',
    edits: [{ file: `${STORE}/planning.ts`, find: 'wakeAt: run.dueAt,', replace: 'wakeAt: now,' }],
    invariant: 'neverEarly',
    world: { faultsPerHour: 0, actionsPerHour: 0 },
    seed: 4,
  },
  {
    name: 'an edit takes back instants that have come',
    edits: [
      {
        file: `${STORE}/jobs.ts`,
        find: `and "kind" = 'scheduled' and "scheduledFor" > ?`,
        replace: `and "kind" = 'scheduled' and "scheduledFor" > ? - 30000`,
      },
    ],
    invariant: 'everyInstantAccounted',
    world: {
      fields: { schedule: { every: '15s', jitter: '10s' } },
      faultsPerHour: 0,
      actions: ['edit', 'pause', 'resume'],
      actionsPerHour: 300,
    },
    seed: 1,
  },
  {
    name: 'a job is planned only when somebody says so',
    edits: [
      {
        file: `${SERVER}/scheduler/scheduler.ts`,
        find: 'const POLL_MS = 1_000;',
        replace: 'const POLL_MS = 2 ** 40;',
      },
      {
        file: `${SERVER}/scheduler/scheduler.ts`,
        find: 'if (next > horizon) return next - LOOK_MS;',
        replace: 'if (next > horizon) return null;',
      },
    ],
    invariant: 'latenessByFaultWindow',
    // Now and then somebody does: what is planned then starts late.
    world: {
      ...BUSY,
      hours: 0.5,
      maxAgents: 1,
      maxJobs: 1,
      fields: { schedule: 'every 300s', target: {}, startDeadline: '1d' },
      faultsPerHour: 0,
      actions: ['resume'],
      actionsPerHour: 8,
    },
    seed: 4,
  },
];
