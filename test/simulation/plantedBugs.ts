import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { PLANTS } from './plants.ts';
import { biteAll, misplaced } from './teeth.ts';

/** `npm run teeth`: every planted bug must be seen by the invariant that it breaks. */

/** Seeds after which a planted bug counts as missed; most are seen in the first world. */
const SEEDS = 25;

test('each text that a planted bug replaces stands in exactly one place', () => {
  assert.deepEqual(PLANTS.flatMap(misplaced), []);
  assert.ok(PLANTS.length >= 24);
});

test('every planted bug is seen by the invariant that it breaks', async () => {
  const missed: string[] = [];
  await biteAll({ seeds: SEEDS, workers: availableParallelism() }, (plant, { caughtBy, seen }) => {
    if (caughtBy === null)
      missed.push(`${plant.name}: not ${plant.invariant}, but ${seen.join(', ') || 'nothing'}`);
  });
  console.log(`${PLANTS.length - missed.length}/${PLANTS.length} planted bugs caught`);
  assert.deepEqual(missed, []);
});
