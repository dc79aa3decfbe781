import { createHash } from 'node:crypto';
import { arm } from './blows.ts';
import { operate } from './operator.ts';
import { Simulation } from './simulation.ts';
import { judge } from './verdict.ts';
import type { World } from './world.ts';

export interface Outcome {
  seed: string;
  /** SHA-256 over all that has happened, and what the database says at the end. */
  hash: string;
  violations: { invariant: string; sentence: string }[];
  virtualMs: number;
  events: number;
  starts: number;
  runs: number;
}

/** Lives through a world from its beginning to its end, and judges it. */
export async function simulate(
  world: World,
  listener: ((line: string) => void) | null = null,
): Promise<Outcome> {
  const simulation = new Simulation(world, listener);
  const { kernel, database } = simulation;
  operate(simulation);
  arm(simulation);
  const violations: Outcome['violations'] = [];
  const stray = (error: unknown) => {
    violations.push({
      invariant: 'nothingStray',
      sentence: error instanceof Error ? String(error.stack) : String(error),
    });
  };
  process.on('unhandledRejection', stray);
  try {
    await kernel.run(world.durationMs);
    violations.push(...judge(simulation));
    const runs = database.inspect(
      'select "id", "state", "reason", "epoch", "startedAt", "endedAt" from "runs" order by "id"',
    );
    const hash = createHash('sha256').update(kernel.digest()).update(JSON.stringify(runs)).digest('hex');
    return {
      seed: world.seed,
      hash,
      violations,
      virtualMs: world.durationMs,
      events: kernel.events,
      starts: simulation.evidence.length,
      runs: runs.length,
    };
  } catch (error) {
    stray(error);
    return {
      seed: world.seed,
      hash: kernel.digest(),
      violations,
      virtualMs: kernel.now,
      events: kernel.events,
      starts: simulation.evidence.length,
      runs: 0,
    };
  } finally {
    process.off('unhandledRejection', stray);
    database.close();
  }
}
