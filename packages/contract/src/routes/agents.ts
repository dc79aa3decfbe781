import { type Static, Type } from 'typebox';
import { AgentFacts } from '../agentMessages.ts';
import { AgentName } from '../job.ts';
import { Labels } from '../labels.ts';
import { Instant } from '../run.ts';
import { ServerKey } from '../serverMessages.ts';
import { listOf, Nullable, page, type Route, strict } from './route.ts';

const AgentParams = Type.Object({ name: AgentName }, strict);
export const AgentView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  state: Type.Enum(['online', 'offline', 'quarantined']),
  /** Why it is quarantined or would decline an offer. */
  detail: Nullable(Type.String()),
  order: Type.Integer(),
  labels: Labels,
  enabled: Type.Boolean({ description: 'false: it gets no new runs.' }),
  maxParallel: Type.Integer(),
  active: Type.Integer({ description: 'Attempts it is running now.' }),
  draining: Type.Boolean(),
  facts: Nullable(AgentFacts),
  connectedAt: Nullable(Instant),
  lastSeenAt: Nullable(Instant),
  createdAt: Instant,
});
export type AgentView = Static<typeof AgentView>;

/** Routes of agents. */
export const agentRoutes = {
  listAgents: {
    method: 'GET',
    path: '/api/v1/agents',
    summary: 'Agents by order and name.',
    permission: 'viewer',
    status: 200,
    errors: [],
    response: listOf(AgentView),
    query: Type.Object(
      {
        ...page,
        state: Type.Optional(Type.Enum(['online', 'offline', 'quarantined'])),
        label: Type.Optional(Type.String({ maxLength: 300 })),
      },
      strict,
    ),
  },
  getAgent: {
    method: 'GET',
    path: '/api/v1/agents/:name',
    summary: 'One agent.',
    permission: 'viewer',
    params: AgentParams,
    response: AgentView,
    status: 200,
    errors: ['agent.notFound'],
  },
  setAgent: {
    method: 'PATCH',
    path: '/api/v1/agents/:name',
    summary: "Changes an agent's order, labels or whether it gets runs.",
    permission: 'editor',
    params: AgentParams,
    response: AgentView,
    status: 200,
    errors: ['agent.notFound', 'agent.nameConflict'],
    body: Type.Object(
      {
        name: Type.Optional(AgentName),
        order: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
        labels: Type.Optional(Labels),
        enabled: Type.Optional(Type.Boolean()),
      },
      strict,
    ),
  },
  removeAgent: {
    method: 'DELETE',
    path: '/api/v1/agents/:name',
    summary:
      'Removes an agent and its key. `gone` says that the machine and its processes are gone for good: its runs become unknown and its job slots free.',
    permission: 'admin',
    params: AgentParams,
    status: 204,
    errors: ['agent.notFound', 'agent.active'],
    query: Type.Object({ gone: Type.Optional(Type.Boolean()) }, strict),
  },
  joinAgent: {
    method: 'POST',
    path: '/api/v1/agents/join',
    summary: 'Trades a join token and a new public key for an identity.',
    permission: 'open',
    status: 201,
    errors: ['joinToken.invalid', 'agent.nameConflict', 'request.tooMany'],
    body: Type.Object(
      {
        token: Type.String({ maxLength: 200 }),
        name: AgentName,
        publicKey: Type.String({ maxLength: 200, description: 'Ed25519, SPKI DER in base64url.' }),
        labels: Type.Optional(Labels),
        order: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
        facts: AgentFacts,
      },
      strict,
    ),
    response: Type.Object({
      agentId: Type.String(),
      name: Type.String(),
      tenant: Type.String(),
      keys: Type.Array(ServerKey),
    }),
  },
} as const satisfies Record<string, Route>;
