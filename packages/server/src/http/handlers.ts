import type { FastifyInstance } from 'fastify';
import { agentHandlers } from './agents.ts';
import { applyHandlers } from './apply.ts';
import { auditHandlers } from './audit.ts';
import type { Handlers } from './call.ts';
import { eventHandlers } from './events.ts';
import { homeHandlers } from './home.ts';
import { jobHandlers } from './jobs.ts';
import { joinTokenHandlers } from './joinTokens.ts';
import { liveHandlers } from './live.ts';
import { metricsHandlers } from './metrics.ts';
import { openapiHandlers } from './openapi.ts';
import { runHandlers } from './runs.ts';
import { secretHandlers } from './secrets.ts';
import type { Services } from './services.ts';
import { statusHandlers } from './status.ts';
import { tokenHandlers } from './tokens.ts';

/** A handler for each route of the contract. `app` is asked for only once it serves. */
export function createHandlers(services: Services, app: () => FastifyInstance): Handlers {
  return {
    ...statusHandlers(services),
    ...homeHandlers(services),
    ...metricsHandlers(services),
    ...openapiHandlers(app),
    ...eventHandlers(services),
    ...jobHandlers(services),
    ...applyHandlers(services),
    ...runHandlers(services),
    ...liveHandlers(services),
    ...agentHandlers(services),
    ...joinTokenHandlers(services),
    ...tokenHandlers(services),
    ...secretHandlers(services),
    ...auditHandlers(services),
  };
}
