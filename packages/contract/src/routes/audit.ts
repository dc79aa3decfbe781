import { type Static, Type } from 'typebox';
import { JobName } from '../job.ts';
import { SECRET_NAME } from '../names.ts';
import { Instant } from '../run.ts';
import { listOf, Nullable, page, type Route, strict } from './route.ts';

/** What is put on record of secrets: each change, and each permit that carried some. */
export const AUDIT_ACTIONS = ['set', 'delete', 'rotate', 'use'] as const;
export type AuditAction = (typeof AUDIT_ACTIONS)[number];

export const AuditView = Type.Object({
  id: Type.Integer(),
  at: Instant,
  action: Type.Enum([...AUDIT_ACTIONS]),
  by: Nullable(Type.String({ description: 'The token that asked; null for a use.' })),
  secrets: Type.Array(Type.String()),
  job: Nullable(Type.String({ description: 'The job that used them, or that they are for.' })),
  run: Nullable(Type.String()),
  attempt: Nullable(Type.String()),
  agent: Nullable(
    Type.String({ description: 'The agent that got them: its name, or its id when it is gone.' }),
  ),
  detail: Nullable(Type.String()),
});
export type AuditView = Static<typeof AuditView>;

/** Routes of the audit trail. */
export const auditRoutes = {
  listAudit: {
    method: 'GET',
    path: '/api/v1/audit',
    summary:
      'Who set, deleted and used which secrets, newest first. With a filter a page may have fewer entries than asked for while more follow.',
    permission: 'admin',
    query: Type.Object(
      {
        ...page,
        action: Type.Optional(Type.Enum([...AUDIT_ACTIONS])),
        secret: Type.Optional(
          Type.String({ pattern: SECRET_NAME, description: 'must be the name of a secret' }),
        ),
        job: Type.Optional(JobName),
        run: Type.Optional(
          Type.String({ pattern: '^[0-9a-z]{20}$', description: 'must be the id of a run' }),
        ),
      },
      strict,
    ),
    response: listOf(AuditView),
    status: 200,
    errors: [],
  },
} as const satisfies Record<string, Route>;
