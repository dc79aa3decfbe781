import { setPriority } from 'node:os';
import { worldOf } from './plants/plant.ts';
import { PLANTS } from './plants.ts';
import type { simulate } from './simulate.ts';
// The modules that no plant touches.
import './simulate.ts';

// Virtual time can wait; what runs in real time beside it cannot.
setPriority(10);

/** Which plant, and the seeds whose worlds are lived through with it until its invariant sees it. */
export interface PlantTask {
  plant: number;
  seeds: number[];
}

/** What a planted bug came to. */
export interface PlantOutcome {
  /** The seed whose world brought it out; null when none did. */
  caughtBy: number | null;
  /** What was seen besides. */
  seen: string[];
}

/** A process that plants one bug after the other, see `plantLoader.ts`. */
process.on('message', async ({ plant: index, seeds }: PlantTask) => {
  const plant = PLANTS[index];
  const planted = (await import(`./simulate.ts?plant=${index}`)) as { simulate: typeof simulate };
  const seen = new Set<string>();
  let caughtBy: number | null = null;
  for (const seed of seeds) {
    if (!plant || caughtBy !== null) break;
    const { violations } = await planted.simulate(worldOf(plant, seed));
    for (const { invariant } of violations) seen.add(invariant);
    if (violations.some(({ invariant }) => invariant === plant.invariant)) caughtBy = seed;
  }
  process.send?.({ caughtBy, seen: [...seen] } satisfies PlantOutcome);
});
