import { setPriority } from 'node:os';
import type { Answer, Task } from './crew.ts';
import { simulate } from './simulate.ts';

// Virtual time can wait; what runs in real time beside it cannot.
setPriority(10);

/** A process that lives through the worlds that it is sent, one after the other. */
process.on('message', async ({ world, twice }: Task) => {
  const outcome = await simulate(world);
  const again = twice ? (await simulate(world)).hash : null;
  process.send?.({ ...outcome, again } satisfies Answer);
});
