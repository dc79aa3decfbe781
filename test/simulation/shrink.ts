import fc from 'fast-check';
import { type Outcome, simulate } from './simulate.ts';
import type { World } from './world.ts';

/** The smallest lists of faults and actions with which one of the world's violations still comes about, as far as is found. */
export async function shrink(
  world: World,
  log: (line: string) => void = console.log,
  live: (world: World) => Promise<Pick<Outcome, 'violations'>> = simulate,
): Promise<World> {
  const wanted = new Set((await live(world)).violations.map(({ invariant }) => invariant));
  if (wanted.size === 0) return world;
  const items = world.faults.length + world.actions.length;
  const indexes = fc.uniqueArray(fc.nat(Math.max(0, items - 1)), { maxLength: items, size: 'max' });
  const smaller = (kept: number[]): World => {
    const chosen = new Set(kept);
    return {
      ...world,
      faults: world.faults.filter((_, index) => chosen.has(index)),
      actions: world.actions.filter((_, index) => chosen.has(world.faults.length + index)),
    };
  };
  let best = world;
  const property = fc.asyncProperty(indexes, async (kept) => {
    const candidate = smaller(kept);
    const { violations } = await live(candidate);
    const fails = violations.some(({ invariant }) => wanted.has(invariant));
    if (
      fails &&
      candidate.faults.length + candidate.actions.length < best.faults.length + best.actions.length
    ) {
      best = candidate;
      log(`${best.faults.length} faults and ${best.actions.length} actions are enough`);
    }
    return !fails;
  });
  await fc.check(property, {
    examples: [[Array.from({ length: items }, (_, index) => index)]],
    numRuns: 1,
    // A list that cannot be made smaller is tried in few ways.
    interruptAfterTimeLimit: 600_000,
  });
  return best;
}
