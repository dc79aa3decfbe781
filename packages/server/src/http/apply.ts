import { type Fault, type JobDocument, LIMITS, readDocument } from '@rota/contract';
import { parseYaml } from '../yaml.ts';
import type { Handlers } from './call.ts';
import { changeView } from './changes.ts';
import { faulty, Refusal } from './errors.ts';
import { jobInput, revisionConflict } from './jobs.ts';
import { checkSecrets } from './namedSecrets.ts';
import { planOverdue } from './overdue.ts';
import { labelOf } from './pages.ts';
import type { Services } from './services.ts';

export function applyHandlers(services: Services): Pick<Handlers, 'apply' | 'export'> {
  const { store, hints } = services;
  return {
    async apply({ body, principal }) {
      const { tenantId } = principal;
      const { dryRun = false, prune = false, paused = false } = body;
      const input = textOf(body.document);
      const read = readDocument(input, { timezone: principal.timezone });
      if ('faults' in read) throw faulty('document.invalid', read.faults);
      const { owner, jobs } = read.document;
      if (prune && (owner === null || owner === '')) throw faulty('document.invalid', [PRUNE_NEEDS_OWNER]);
      await checkSecrets(
        services,
        tenantId,
        jobs.map(({ document, definition }, index) => {
          const path = `jobs[${index}].`;
          return { job: document.name, definition, chained: 'steps' in document, path };
        }),
      );
      const save = {
        tenantId,
        by: principal.name,
        jobs: jobs.map((job) => jobInput(job, services.random)),
        paused,
        owner: owner ?? '',
        prune,
        expectedRevision: null,
      };
      if (!dryRun) await planOverdue(services, { tenantId, names: jobs.map((job) => job.document.name) });
      const result = await (dryRun ? store.previewJobs(save) : store.saveJobs(save));
      if ('conflict' in result) throw revisionConflict(result.conflict, 0);
      if (!dryRun) for (const topic of ['plan', 'dispatch', 'events']) hints.give(topic);
      const byName = new Map(jobs.map((job) => [job.document.name, job]));
      return { dryRun, changes: result.changes.map((each) => changeView(each, byName.get(each.name))) };
    },

    async export({ query, principal }) {
      const { tenantId } = principal;
      const filter = {
        ...(query.owner === undefined ? {} : { owner: query.owner }),
        ...(query.label === undefined ? {} : { label: labelOf(query.label) }),
      };
      const jobs: JobDocument[] = [];
      for (let after: string | null = ''; after !== null; ) {
        const page: Awaited<ReturnType<typeof store.listJobs>> = await store.listJobs({
          tenantId,
          after,
          limit: LIMITS.pageMax,
          filter,
        });
        for (const job of page.jobs) jobs.push(JSON.parse(job.documentJson) as JobDocument);
        after = page.next;
      }
      return { jobs };
    },
  };
}

const PRUNE_NEEDS_OWNER: Fault = {
  path: 'owner',
  code: 'missing',
  message: 'is required with prune: it says whose jobs may be deleted',
};

/** A document that came as text, parsed; one that came as JSON, as it is. */
function textOf(document: unknown): unknown {
  if (typeof document !== 'string') return document;
  if (Buffer.byteLength(document) > LIMITS.bodyBytes)
    throw new Refusal('request.tooLarge', `A document may have at most ${LIMITS.bodyBytes} bytes.`);
  const parsed = parseYaml(document);
  if ('faults' in parsed) throw faulty('document.invalid', parsed.faults);
  return parsed.value;
}
