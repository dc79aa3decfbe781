import { isDeepStrictEqual } from 'node:util';
import type { ApplyChange, ReadJob } from '@rota/contract';
import type { SavedJob } from '../store/jobs.ts';

/** What was, or would be, done to a job, with each field that differs. */
export function changeView(saved: SavedJob | undefined, job: ReadJob | undefined): ApplyChange {
  if (!saved) throw new Error('a save answers with one change for each job');
  const fields =
    saved.action === 'updated' && saved.before !== null && job
      ? fieldChanges(JSON.parse(saved.before), job.document, '')
      : [];
  return { name: saved.name, action: saved.action, revision: saved.revision, fields };
}

/** The fields in which two documents differ; what one of them lacks is null there. */
function fieldChanges(before: unknown, after: unknown, path: string): ApplyChange['fields'] {
  if (isDeepStrictEqual(before, after)) return [];
  if (!isObject(before) || !isObject(after)) return [{ path, before: before ?? null, after: after ?? null }];
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names.flatMap((name) =>
    fieldChanges(own(before, name), own(after, name), path === '' ? name : `${path}.${name}`),
  );
}

function own(value: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
