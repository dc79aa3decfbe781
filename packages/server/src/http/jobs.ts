import { JobDocument, type ReadJob, readJob } from '@rota/contract';
import { newId, type Random } from '../random.ts';
import type { JobWithLastRun } from '../store/jobReads.ts';
import type { JobInput } from '../store/jobs.ts';
import type { JobRow } from '../store/tables.ts';
import type { Handlers } from './call.ts';
import { changeView } from './changes.ts';
import { faulty, Refusal } from './errors.ts';
import { checkSecrets } from './namedSecrets.ts';
import { planOverdue } from './overdue.ts';
import { cursorOf, keyOf, labelOf, limitOf, pageOf } from './pages.ts';
import { gapView, instant, jobView, runView } from './presenters.ts';
import type { Services } from './services.ts';

/** Instants that one job shows, and each job of a list. */
const INSTANTS_OF_ONE = 5;
const INSTANTS_IN_LIST = 1;

type JobRoutes =
  | 'listJobs'
  | 'putJob'
  | 'getJob'
  | 'deleteJob'
  | 'pauseJob'
  | 'resumeJob'
  | 'runJob'
  | 'jobRevisions'
  | 'jobGaps';

export function jobHandlers(services: Services): Pick<Handlers, JobRoutes> {
  const { store, clock, hints, definitions } = services;

  const view = (row: JobWithLastRun, instants = INSTANTS_OF_ONE) =>
    jobView(row, { definitions, now: clock.now(), instants });

  async function viewByName(tenantId: string, name: string) {
    const row = await store.getJob({ tenantId, name });
    if (!row) throw noJob(name);
    return view(row);
  }

  async function liveOrDeleted(tenantId: string, name: string): Promise<JobRow> {
    const row = await store.findJob({ tenantId, name });
    if (!row) throw noJob(name);
    return row;
  }

  function changed(): void {
    hints.give('plan');
    hints.give('dispatch');
    hints.give('events');
  }

  return {
    async listJobs({ query, principal }) {
      const { tenantId } = principal;
      const [after = ''] = keyOf<[string]>(query.cursor, ['string']) ?? [];
      const { prefix, label, owner, enabled, paused } = query;
      const { jobs, next } = await store.listJobs({
        tenantId,
        after,
        limit: limitOf(query),
        filter: {
          ...(prefix === undefined ? {} : { prefix }),
          ...(label === undefined ? {} : { label: labelOf(label) }),
          ...(owner === undefined ? {} : { owner }),
          ...(enabled === undefined ? {} : { enabled }),
          ...(paused === undefined ? {} : { paused }),
        },
      });
      return {
        items: jobs.map((row) => view(row, INSTANTS_IN_LIST)),
        nextCursor: next === null ? null : cursorOf([next]),
      };
    },

    async putJob({ params, query, body, principal }) {
      const { tenantId } = principal;
      const named = isObject(body) && body.name === undefined ? { ...body, name: params.name } : body;
      const read = readJob(named, { timezone: principal.timezone });
      if ('faults' in read) throw faulty('document.invalid', read.faults);
      const { name } = read.job.document;
      if (name !== params.name) {
        const message = `"${name}" differs from the name in the path, "${params.name}"; a job cannot be renamed`;
        throw faulty('document.invalid', [{ path: 'name', code: 'value', message }]);
      }
      const chained = 'steps' in read.job.document;
      await checkSecrets(services, tenantId, [
        { job: name, definition: read.job.definition, chained, path: '' },
      ]);
      await planOverdue(services, { tenantId, names: [name] });
      const result = await store.saveJobs({
        tenantId,
        by: principal.name,
        jobs: [jobInput(read.job, services.random)],
        paused: query.paused ?? false,
        owner: null,
        prune: false,
        expectedRevision: query.revision ?? null,
      });
      if ('conflict' in result) throw revisionConflict(result.conflict, query.revision ?? 0);
      changed();
      return { job: await viewByName(tenantId, name), change: changeView(result.changes[0], read.job) };
    },

    getJob: ({ params, principal }) => viewByName(principal.tenantId, params.name),

    async deleteJob({ params, principal }) {
      const { tenantId } = principal;
      await planOverdue(services, { tenantId, names: [params.name] });
      if (!(await store.deleteJob({ tenantId, name: params.name, by: principal.name })))
        throw noJob(params.name);
      changed();
    },

    async pauseJob({ params, body, principal }) {
      const { tenantId } = principal;
      await planOverdue(services, { tenantId, names: [params.name] });
      const note = body.note ?? '';
      if (!(await store.pauseJob({ tenantId, name: params.name, by: principal.name, note })))
        throw noJob(params.name);
      changed();
      return viewByName(tenantId, params.name);
    },

    async resumeJob({ params, principal }) {
      const { tenantId } = principal;
      if (!(await store.resumeJob({ tenantId, name: params.name }))) throw noJob(params.name);
      changed();
      return viewByName(tenantId, params.name);
    },

    async runJob({ params, body, principal }) {
      const { tenantId } = principal;
      const job = await store.getJob({ tenantId, name: params.name });
      if (!job) throw noJob(params.name);
      if (body.agent !== undefined && !(await store.getAgent({ tenantId, name: body.agent })))
        throw new Refusal('agent.notFound', `There is no agent "${body.agent}"; see \`rota agent list\`.`);
      const answer = await services.runs.trigger({
        tenantId,
        jobId: job.id,
        idempotencyKey: body.idempotencyKey ?? null,
        agent: body.agent ?? null,
        params: body.params ?? {},
        by: principal.name,
      });
      if ('error' in answer) throw noJob(params.name);
      if ('faults' in answer) throw faulty('request.invalid', answer.faults);
      const [run] = await store.runsByIds({ tenantId, ids: [answer.runId] });
      if (!run) throw new Refusal('run.notFound', 'That key made a run whose retention has ended.');
      return { run: runView(run), created: answer.created };
    },

    async jobRevisions({ params, query, principal }) {
      const { tenantId } = principal;
      const job = await liveOrDeleted(tenantId, params.name);
      const [before = Number.MAX_SAFE_INTEGER] = keyOf<[number]>(query.cursor, ['number']) ?? [];
      const limit = limitOf(query);
      const rows = await store.listRevisions({ tenantId, jobId: job.id, before, limit: limit + 1 });
      return pageOf(
        rows,
        limit,
        (row) => ({
          revision: row.revision,
          at: instant(row.at),
          by: row.by,
          action: row.action,
          document: row.documentJson === null ? null : (JSON.parse(row.documentJson) as JobDocument),
        }),
        (row) => [row.revision],
      );
    },

    async jobGaps({ params, query, principal }) {
      const { tenantId } = principal;
      const job = await liveOrDeleted(tenantId, params.name);
      const key = keyOf<[number, string]>(query.cursor, ['number', 'string']);
      const limit = limitOf(query);
      const before = key && { toAt: key[0], id: key[1] };
      const rows = await store.listGaps({ tenantId, jobId: job.id, before, limit: limit + 1 });
      return pageOf(
        rows,
        limit,
        (row) => gapView(row, job.name),
        (row) => [row.toAt, row.id],
      );
    },
  };
}

/** A job as it goes into the store, its fields in the order of the documentation. */
export function jobInput({ document, definition }: ReadJob, random: Random): JobInput {
  const fields = Object.keys(JobDocument.properties) as (keyof JobDocument)[];
  const ordered = Object.fromEntries(
    fields.filter((field) => document[field] !== undefined).map((field) => [field, document[field]]),
  );
  return {
    id: newId(random),
    name: document.name,
    documentJson: JSON.stringify(ordered),
    enabled: definition.enabled,
    scheduled: definition.schedules.length > 0,
    everyTexts: definition.schedules.flatMap((schedule) => schedule.every ?? []),
  };
}

export function revisionConflict(found: { name: string; revision: number }, expected: number): Refusal {
  const detail =
    found.revision === 0
      ? `There is no job "${found.name}", so it has no revision ${expected}.`
      : `"${found.name}" has revision ${found.revision}, not ${expected}. Read it again, repeat your change, and save with that revision.`;
  return new Refusal('job.revisionConflict', detail);
}

function noJob(name: string): Refusal {
  return new Refusal('job.notFound', `There is no job "${name}"; see \`rota job list\`.`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
