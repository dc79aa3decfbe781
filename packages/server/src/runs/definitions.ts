import { define, type JobDefinition, type JobDocument } from '@rota/contract';
import { parseSchedule, type Schedule } from '@rota/schedule';

export interface Defined {
  definition: JobDefinition;
  schedules: Schedule[];
}

/** Zone of schedules that have none, which only `every` may lack: it does not depend on a zone. */
const NO_ZONE = 'UTC';

/** Revisions that are kept ready; a few kilobytes each. */
const CACHE_SIZE = 20_000;

/** Definitions by revision: what a stored document means, computed once and kept for the revisions in use. */
export interface Definitions {
  /** `anchorsJson` holds, for each `every`, the instant that its multiples count from. */
  ofJob(job: {
    tenantId: string;
    id: string;
    revision: number;
    documentJson: string;
    anchorsJson: string;
  }): Defined;
  /** Of a run: its own definition, or that of its revision. */
  ofRun(run: {
    tenantId: string;
    jobId: string;
    revision: number;
    definitionJson: string | null;
    documentJson: string | null;
  }): JobDefinition;
}

export function createDefinitions(): Definitions {
  const definitions = new Map<string, JobDefinition>();
  const schedules = new Map<string, Schedule[]>();
  return {
    ofJob(job) {
      const definition = keep(definitions, `${job.tenantId}/${job.id}/${job.revision}`, () =>
        defineText(job.documentJson),
      );
      const parsed = keep(schedules, `${job.tenantId}/${job.id}/${job.revision}`, () =>
        parseAll(definition, job.id, job.anchorsJson),
      );
      return { definition, schedules: parsed };
    },
    ofRun(run) {
      if (run.definitionJson !== null) return JSON.parse(run.definitionJson) as JobDefinition;
      const { documentJson } = run;
      if (documentJson === null)
        throw new Error(`revision ${run.revision} of job ${run.jobId} has no document`);
      return keep(definitions, `${run.tenantId}/${run.jobId}/${run.revision}`, () =>
        defineText(documentJson),
      );
    },
  };
}

/** The kinds of a job's steps, each once. */
export function kindsOf(definition: JobDefinition): string[] {
  return [...new Set(definition.steps.map(({ action }) => action.kind))];
}

function defineText(documentJson: string): JobDefinition {
  return define(JSON.parse(documentJson) as JobDocument, NO_ZONE);
}

function parseAll(definition: JobDefinition, jobId: string, anchorsJson: string): Schedule[] {
  const anchors = JSON.parse(anchorsJson) as Record<string, number>;
  return definition.schedules.map(({ jitterMs, ...schedule }) =>
    parseSchedule(
      {
        ...schedule,
        ...(jitterMs > 0 ? { jitter: `${jitterMs}ms` } : {}),
        ...(schedule.every !== undefined ? { anchor: anchors[schedule.every] ?? 0 } : {}),
      },
      { timezone: schedule.timezone, spreadKey: jobId },
    ),
  );
}

/** The value of a key, made when it is not there; the longest kept goes when there are too many. */
function keep<T>(cache: Map<string, T>, key: string, make: () => T): T {
  const found = cache.get(key);
  if (found !== undefined) return found;
  const made = make();
  if (cache.size >= CACHE_SIZE) cache.delete(cache.keys().next().value as string);
  cache.set(key, made);
  return made;
}
