import { parseCredential } from '../auth/credential.ts';
import { isPublicKey } from '../auth/serverKey.ts';
import { newId } from '../random.ts';
import type { Handlers } from './call.ts';
import { faulty, Refusal } from './errors.ts';
import { keyOf, labelOf, limitOf, pageOf } from './pages.ts';
import { agentView } from './presenters.ts';
import type { Services } from './services.ts';

const DEFAULT_ORDER = 100;

type AgentRoutes = 'listAgents' | 'getAgent' | 'setAgent' | 'removeAgent' | 'joinAgent';

export function agentHandlers(services: Services): Pick<Handlers, AgentRoutes> {
  const { store, hints } = services;

  async function viewByName(tenantId: string, name: string) {
    const row = await store.getAgent({ tenantId, name });
    if (!row) throw noAgent(name);
    return agentView(row);
  }

  function changed(): void {
    hints.give('agents');
    hints.give('dispatch');
    hints.give('events');
  }

  return {
    async listAgents({ query, principal }) {
      const key = keyOf<[number, string]>(query.cursor, ['number', 'string']);
      const limit = limitOf(query);
      const rows = await store.listAgents({
        tenantId: principal.tenantId,
        after: key && { orderNumber: key[0], name: key[1] },
        limit: limit + 1,
        state: query.state ?? null,
        label: query.label === undefined ? null : labelOf(query.label),
      });
      return pageOf(rows, limit, agentView, (row) => [row.orderNumber, row.name]);
    },

    getAgent: ({ params, principal }) => viewByName(principal.tenantId, params.name),

    async setAgent({ params, body, principal }) {
      const { tenantId } = principal;
      const result = await store.setAgent({
        tenantId,
        name: params.name,
        newName: body.name,
        orderNumber: body.order,
        labelsJson: body.labels && JSON.stringify(body.labels),
        enabled: body.enabled,
      });
      if (result === 'notFound') throw noAgent(params.name);
      if (result === 'nameConflict') throw nameConflict(body.name ?? params.name);
      changed();
      return viewByName(tenantId, body.name ?? params.name);
    },

    async removeAgent({ params, query, principal }) {
      const { tenantId } = principal;
      const result = await store.removeAgent({ tenantId, name: params.name, gone: query.gone ?? false });
      if (result === 'notFound') throw noAgent(params.name);
      if (result === 'active')
        throw new Refusal(
          'agent.active',
          'It has runs that have not ended, or has not told yet what it ran (see `rota status`). Wait for them or cancel them; say `--gone` only when the machine and its processes are gone for good.',
        );
      services.disconnectAgent(result.agentId, 'the agent was removed');
      changed();
    },

    async joinAgent({ body, request }) {
      const token = parseCredential('joinToken', body.token);
      if (!isPublicKey(body.publicKey)) {
        const message = 'must be an Ed25519 public key, SPKI DER in base64url';
        throw faulty('request.invalid', [{ path: 'publicKey', code: 'value', message }]);
      }
      const agentId = newId(services.random);
      const joined = token
        ? await store.joinAgent({
            token,
            agentId,
            name: body.name,
            publicKey: body.publicKey,
            labels: body.labels ?? {},
            orderNumber: body.order ?? DEFAULT_ORDER,
            facts: body.facts,
          })
        : 'tokenInvalid';
      if (joined === 'tokenInvalid') throw invalidJoinToken(services.failures.count(request.ip));
      if (joined === 'nameConflict') throw nameConflict(body.name);
      changed();
      const keys = await store.serverKeys({});
      return {
        agentId,
        name: body.name,
        tenant: joined.tenantName,
        keys: keys.map(({ id, publicKey }) => ({ id, publicKey })),
      };
    },
  };
}

function invalidJoinToken(retryAfterS: number): Refusal {
  if (retryAfterS > 0)
    return new Refusal('request.tooMany', `Too many failed attempts; try again in ${retryAfterS} s.`, {
      headers: { 'retry-after': String(retryAfterS) },
    });
  return new Refusal(
    'joinToken.invalid',
    'It is unknown, used or expired. Make a new one with `rota agent join-token`.',
  );
}

function nameConflict(name: string): Refusal {
  return new Refusal(
    'agent.nameConflict',
    `There is an agent "${name}"; choose another name, or remove that one first with \`rota agent remove\`.`,
  );
}

function noAgent(name: string): Refusal {
  return new Refusal('agent.notFound', `There is no agent "${name}"; see \`rota agent list\`.`);
}
