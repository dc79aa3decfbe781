import { isDeepStrictEqual } from 'node:util';
import type { LiveRun } from '@rota/contract';
import type { Handlers } from './call.ts';
import { liveRun } from './presenters.ts';
import { chunkView, findRun, outputCursor, outputKeyOf } from './runs.ts';
import type { Services } from './services.ts';

const CHUNKS_PER_READ = 50;

export function liveHandlers(services: Services): Pick<Handlers, 'followRun'> {
  const { store, streams, authenticator } = services;
  return {
    async followRun({ params, query, request, reply, principal }) {
      const { tenantId } = principal;
      const { id: runId } = await findRun(services, tenantId, params.id);
      const lastId = request.headers['last-event-id'];
      let after = outputKeyOf(
        query.cursor ?? (typeof lastId === 'string' && lastId !== '' ? lastId : undefined),
      );

      await streams.run(reply, principal.tokenId, async (stream) => {
        let shown: LiveRun | null = null;
        for (;;) {
          // The run first: output that it wrote before its end is then surely in what is read after it.
          const [row] = await store.runsByIds({ tenantId, ids: [runId] });
          if (!row) return;
          const [newest] = await store.attemptsOfRun({ tenantId, runId, newest: true });
          const page = await store.readOutput({ tenantId, runId, after, limit: CHUNKS_PER_READ });
          for (const chunk of page.chunks) {
            after = { attempt: chunk.attempt, seq: chunk.seq };
            const event = { event: 'output', data: chunkView(chunk), id: outputCursor(after) };
            if (!(await stream.send(event))) return;
          }
          const run = liveRun(row, newest ?? null);
          if (!isDeepStrictEqual(run, shown)) {
            shown = run;
            if (!(await stream.send({ event: 'run', data: run }))) return;
          }
          if (page.complete && row.endedAt !== null) {
            await stream.send({ event: 'end', data: {} });
            return;
          }
          if (page.chunks.length === CHUNKS_PER_READ || page.complete) continue;
          if (!(await stream.wait(`run:${runId}`)) || !(await authenticator.stands(principal))) return;
        }
      });
    },
  };
}
