import { PLANTS } from './plants.ts';
import { simulate } from './simulate.ts';
import { makeWorld } from './world.ts';

/** What a planted bug came to. */
export interface PlantOutcome {
  /** The seed whose world brought it out; null when none did. */
  caughtBy: number | null;
  seeds: number;
  /** What was seen besides. */
  seen: string[];
}

/** Some minutes, and the time in which all has to settle. */
const HOURS = 0.5;

/** Lives through worlds with the planted bug until its invariant sees it. */
const plant = PLANTS.find(({ name }) => name === process.env.PLANT);
const most = Number(process.env.SEEDS);
const outcome: PlantOutcome = { caughtBy: null, seeds: 0, seen: [] };
const seen = new Set<string>();
for (let seed = 1; plant && seed <= most && outcome.caughtBy === null; seed++) {
  outcome.seeds = seed;
  const { violations } = await simulate(makeWorld(seed, { hours: HOURS, ...plant.world }));
  for (const { invariant } of violations) seen.add(invariant);
  if (seen.has(plant.invariant)) outcome.caughtBy = seed;
}
outcome.seen = [...seen];
process.send?.(outcome);
