import { Type } from 'typebox';
import { JobDocument } from '../job.ts';
import { LIMITS } from '../names.ts';
import { ApplyChange } from './jobs.ts';
import { type Route, strict } from './route.ts';

/** Routes of documents, which hold many jobs. */
export const documentRoutes = {
  apply: {
    method: 'POST',
    path: '/api/v1/apply',
    summary: 'Applies a document of jobs: all of it or nothing.',
    permission: 'editor',
    status: 200,
    errors: ['document.invalid', 'job.revisionConflict'],
    body: Type.Object(
      {
        document: Type.Union([
          Type.String({ maxLength: LIMITS.bodyBytes, description: 'YAML 1.2 or JSON text.' }),
          Type.Object({}, { additionalProperties: true }),
        ]),
        dryRun: Type.Optional(Type.Boolean()),
        prune: Type.Optional(
          Type.Boolean({
            description: "Deletes the jobs that this document's owner applied before and no longer lists.",
          }),
        ),
        paused: Type.Optional(Type.Boolean({ description: 'Jobs that are new start paused.' })),
      },
      strict,
    ),
    response: Type.Object({ dryRun: Type.Boolean(), changes: Type.Array(ApplyChange) }),
  },
  export: {
    method: 'GET',
    path: '/api/v1/export',
    summary: 'All jobs as one document.',
    permission: 'viewer',
    status: 200,
    errors: [],
    query: Type.Object(
      {
        owner: Type.Optional(Type.String({ maxLength: LIMITS.ownerLength })),
        label: Type.Optional(Type.String({ maxLength: 300 })),
      },
      strict,
    ),
    response: Type.Object({ jobs: Type.Array(JobDocument) }),
  },
} as const satisfies Record<string, Route>;
