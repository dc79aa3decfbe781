import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allKills, killAtArrows } from './arrows.ts';

test('kill -9 of server, agent or both at every arrow of the start protocol doubles nothing and loses nothing', async (t) => {
  const report = await killAtArrows(allKills());
  t.diagnostic(JSON.stringify(report));
  assert.deepEqual(report.violations, []);
  const { starts } = report.statistics;
  assert.ok(starts >= report.kills, `each kill is followed by a start: ${starts} starts`);
});
