import { newCredential } from '../auth/credential.ts';
import type { Handlers } from './call.ts';
import { durationOf } from './durations.ts';
import { Refusal } from './errors.ts';
import { keyOf, limitOf, pageOf } from './pages.ts';
import { joinTokenView } from './presenters.ts';
import type { Services } from './services.ts';

const EXPIRES_IN = '1h';
const EXPIRY = { minMs: 1_000, maxMs: 30 * 86_400_000 };

export function joinTokenHandlers(
  services: Services,
): Pick<Handlers, 'createJoinToken' | 'listJoinTokens' | 'deleteJoinToken'> {
  const { store } = services;
  return {
    async createJoinToken({ body, principal }) {
      const credential = newCredential('joinToken', services.random);
      const row = await store.createJoinToken({
        tenantId: principal.tenantId,
        id: credential.id,
        hash: credential.hash,
        labelsJson: JSON.stringify(body.labels ?? {}),
        createdBy: principal.name,
        expiresInMs: durationOf('expiresIn', body.expiresIn ?? EXPIRES_IN, EXPIRY),
      });
      return { token: credential.text, joinToken: joinTokenView(row) };
    },

    async listJoinTokens({ query, principal }) {
      const key = keyOf<[number, string]>(query.cursor, ['number', 'string']);
      const limit = limitOf(query);
      const before = key && { createdAt: key[0], id: key[1] };
      const rows = await store.listJoinTokens({ tenantId: principal.tenantId, before, limit: limit + 1 });
      return pageOf(rows, limit, joinTokenView, (row) => [row.createdAt, row.id]);
    },

    async deleteJoinToken({ params, principal }) {
      if (!(await store.deleteJoinToken({ tenantId: principal.tenantId, id: params.id })))
        throw new Refusal('joinToken.notFound', `There is no join token "${params.id}".`);
    },
  };
}
