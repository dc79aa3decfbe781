import { simulate } from './simulate.ts';
import { makeWorld } from './world.ts';

const seed = Number(process.argv[2] ?? 1);
const hours = Number(process.argv[3] ?? 1);
const world = makeWorld(seed, { hours, maxReplicas: Number(process.argv[4] ?? 3) });
const verbose = process.argv.includes('-v');
const began = performance.now();
const outcome = await simulate(world, verbose ? (line) => console.log(line) : null);
console.error(
  JSON.stringify({ ...outcome, violations: outcome.violations.length }),
  Math.round(performance.now() - began),
  'ms',
  world.replicas,
  'replicas',
  world.agents.length,
  'agents',
  world.jobs.length,
  'jobs',
  world.faults.length,
  'faults',
  world.actions.length,
  'actions',
);
const counts: Record<string, number> = {};
for (const v of outcome.violations) counts[v.invariant] = (counts[v.invariant] ?? 0) + 1;
console.error(counts);
for (const v of outcome.violations.slice(0, 12)) console.error(v.invariant, v.sentence.slice(0, 400));
