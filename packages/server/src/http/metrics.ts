import type { Handlers } from './call.ts';
import type { Services } from './services.ts';

export function metricsHandlers(services: Services): Pick<Handlers, 'metrics'> {
  const { metrics } = services;
  return {
    async metrics({ reply }) {
      const text = await metrics.text();
      reply.type(metrics.contentType);
      return text;
    },
  };
}
