import type { Handlers } from './call.ts';
import { cursorOf, keyOf, limitOf } from './pages.ts';
import { instant } from './presenters.ts';
import type { Services } from './services.ts';

export function auditHandlers({ store }: Pick<Services, 'store'>): Pick<Handlers, 'listAudit'> {
  return {
    async listAudit({ query, principal }) {
      const { action, secret, job, run } = query;
      const [before = null] = keyOf<[number]>(query.cursor, ['number']) ?? [];
      const { rows, next } = await store.listAudit({
        tenantId: principal.tenantId,
        before,
        limit: limitOf(query),
        filter: {
          ...(action === undefined ? {} : { action }),
          ...(secret === undefined ? {} : { secret }),
          ...(job === undefined ? {} : { job }),
          ...(run === undefined ? {} : { runId: run }),
        },
      });
      return {
        items: rows.map((row) => ({
          id: row.id,
          at: instant(row.at),
          action: row.action,
          by: row.by,
          secrets: JSON.parse(row.secretsJson) as string[],
          job: row.job,
          run: row.runId,
          attempt: row.attemptId,
          agent: row.agentName ?? row.agentId,
          detail: row.detail,
        })),
        nextCursor: next === null ? null : cursorOf([next]),
      };
    },
  };
}
