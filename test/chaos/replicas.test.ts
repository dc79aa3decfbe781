import assert from 'node:assert/strict';
import { test } from 'node:test';
import { disturbReplicas } from './replicas.ts';

/** A new seed each time: the report names it. */
const seed = String(Date.now() % 1_000_000);

test('three replicas under faults of processes, links and their database double nothing and lose nothing', async (t) => {
  const { violations, statistics, ...report } = await disturbReplicas(seed, 12);
  t.diagnostic(
    JSON.stringify({ ...report, faults: report.faults.map(({ kind, what }) => `${kind} ${what}`) }),
  );
  t.diagnostic(JSON.stringify(statistics));
  assert.deepEqual(violations.slice(0, 20), []);
});
