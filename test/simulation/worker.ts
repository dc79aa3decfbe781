import type { Answer, Task } from './crew.ts';
import { simulate } from './simulate.ts';

/** A process that lives through the worlds that it is sent, one after the other. */
process.on('message', async ({ world, twice }: Task) => {
  const outcome = await simulate(world);
  const again = twice ? (await simulate(world)).hash : null;
  process.send?.({ ...outcome, again } satisfies Answer);
});
