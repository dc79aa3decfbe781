import { EVENT_TYPES, type EventType, type Fault } from '@rota/contract';
import type { EventRow } from '../store/tables.ts';
import type { Handlers } from './call.ts';
import { faulty, Refusal } from './errors.ts';
import { instant } from './presenters.ts';
import type { Services } from './services.ts';

const EVENTS_PER_READ = 200;

export function eventHandlers(services: Services): Pick<Handlers, 'events'> {
  const { store, streams, authenticator } = services;
  return {
    async events({ query, request, reply, principal }) {
      const { tenantId } = principal;
      const types = typesOf(query.types);
      const job = query.job === undefined ? null : await store.findJob({ tenantId, name: query.job });
      if (query.job !== undefined && !job)
        throw new Refusal('job.notFound', `There is no job "${query.job}"; see \`rota job list\`.`);
      const resumed = query.after ?? lastEventIdOf(request.headers['last-event-id']);
      const wanted = (event: EventRow) => types.has(event.type) && (job === null || event.jobId === job.id);

      await streams.run(reply, principal.tokenId, async (stream) => {
        let after = resumed ?? (await store.lastEventId({}));
        const oldest = await store.firstEventId({});
        // Events live for an hour: who was away for longer has to read the lists again.
        if (resumed !== undefined && oldest > resumed + 1) {
          if (!(await stream.send({ event: 'reset', data: {} }))) return;
        }
        for (;;) {
          const batch = await store.readEvents({ tenantId, after, limit: EVENTS_PER_READ });
          for (const event of batch) {
            after = event.id;
            if (wanted(event) && !(await stream.send(eventOf(event)))) return;
          }
          if (batch.length === EVENTS_PER_READ) continue;
          if (!(await stream.wait('events')) || !(await authenticator.stands(principal))) return;
        }
      });
    },
  };
}

function eventOf(event: EventRow) {
  return {
    id: String(event.id),
    event: event.type,
    data: {
      id: event.subjectId,
      jobId: event.jobId,
      at: instant(event.at),
      ...(JSON.parse(event.dataJson) as Record<string, unknown>),
    },
  };
}

function lastEventIdOf(header: string | string[] | undefined): number | undefined {
  return typeof header === 'string' && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

function typesOf(text: string | undefined): Set<EventType> {
  if (text === undefined) return new Set(EVENT_TYPES);
  const types = text.split(',').filter((type) => type !== '');
  const faults: Fault[] = types
    .filter((type) => !(EVENT_TYPES as readonly string[]).includes(type))
    .map((type) => ({
      path: 'types',
      code: 'value',
      message: `"${type}" is not allowed; one of: ${EVENT_TYPES.join(', ')}`,
    }));
  if (faults.length > 0) throw faulty('request.invalid', faults);
  return new Set(types as EventType[]);
}
