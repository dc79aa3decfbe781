import { newCredential } from '../auth/credential.ts';
import type { Handlers } from './call.ts';
import { durationOf } from './durations.ts';
import { Refusal } from './errors.ts';
import { keyOf, limitOf, pageOf } from './pages.ts';
import { tokenView } from './presenters.ts';
import type { Services } from './services.ts';

const EXPIRY = { minMs: 60_000, maxMs: 3_650 * 86_400_000 };

export function tokenHandlers(
  services: Services,
): Pick<Handlers, 'listTokens' | 'createToken' | 'deleteToken'> {
  const { store } = services;
  return {
    async listTokens({ query, principal }) {
      const [after = ''] = keyOf<[string]>(query.cursor, ['string']) ?? [];
      const limit = limitOf(query);
      const rows = await store.listTokens({ tenantId: principal.tenantId, after, limit: limit + 1 });
      return pageOf(rows, limit, tokenView, (row) => [row.name]);
    },

    async createToken({ body, principal }) {
      const credential = newCredential('token', services.random);
      const row = await store.createToken({
        tenantId: principal.tenantId,
        id: credential.id,
        hash: credential.hash,
        name: body.name,
        role: body.role,
        createdBy: principal.name,
        expiresInMs: body.expiresIn === undefined ? null : durationOf('expiresIn', body.expiresIn, EXPIRY),
      });
      if (!row)
        throw new Refusal(
          'token.nameConflict',
          `There is a token "${body.name}"; choose another name, or \`rota token revoke\` it first.`,
        );
      return { token: credential.text, view: tokenView(row) };
    },

    async deleteToken({ params, principal }) {
      const result = await store.deleteToken({ tenantId: principal.tenantId, idOrName: params.id });
      if (result === 'notFound')
        throw new Refusal('token.notFound', `There is no token "${params.id}"; see \`rota token list\`.`);
      if (result === 'lastAdmin')
        throw new Refusal('token.lastAdmin', 'It can go once there is another that does not expire.');
    },
  };
}
