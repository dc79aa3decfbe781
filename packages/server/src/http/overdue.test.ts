import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ReadJob, readJob } from '@rota/contract';
import { systemRandom } from '../random.ts';
import { createDefinitions } from '../runs/definitions.ts';
import { memoryStore, stillClock } from '../store/store.testing.ts';
import { jobInput } from './jobs.ts';
import { planOverdue } from './overdue.ts';

const NOW = Date.UTC(2026, 10, 21, 12, 0, 0);
const MINUTE = 60_000;

function read(command: string): ReadJob {
  const result = readJob({ name: 'a', command, schedule: 'every 1m' }, { timezone: 'UTC' });
  assert.ok('job' in result);
  return result.job;
}

test('Instants that nobody had planned before an edit are settled under the old revision, not lost', async (t) => {
  const clock = stillClock(NOW);
  const store = await memoryStore(t, clock);
  const save = (command: string) =>
    store.saveJobs({
      tenantId: 't',
      by: 'me',
      jobs: [jobInput(read(command), systemRandom)],
      paused: false,
      owner: null,
      prune: false,
      expectedRevision: null,
    });
  await save('one');
  clock.set(NOW + 3 * MINUTE + 1_000);
  const ports = { store, clock, random: systemRandom, definitions: createDefinitions() };
  await planOverdue(ports, { tenantId: 't', names: ['a'] });
  await save('two');

  const job = await store.findJob({ tenantId: 't', name: 'a' });
  const gaps = await store.listGaps({ tenantId: 't', jobId: job?.id ?? '', before: null, limit: 10 });
  assert.deepEqual(
    gaps.map((gap) => [
      gap.revision,
      (gap.fromAt - NOW) / MINUTE,
      (gap.toAt - NOW) / MINUTE,
      gap.count,
      gap.reason,
    ]),
    [[1, 1, 2, 2, 'catchUp']],
  );
  const runs = await store.listRuns({ tenantId: 't', filter: {}, before: null, limit: 10 });
  assert.deepEqual(
    runs.map((run) => [run.revision, (run.scheduledFor - NOW) / MINUTE, run.state]),
    [[1, 3, 'planned']],
  );
  assert.equal(job?.nextAt, NOW + 3 * MINUTE + 1_000);
});
