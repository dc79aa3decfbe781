import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { type Answer, simulateAll } from './crew.ts';
import { shrink } from './shrink.ts';
import { simulate } from './simulate.ts';
import { makeWorld, type World } from './world.ts';

/**
 * `npm run simulate -- --seeds 5000`: lives through so many worlds and says what did not hold.
 * `--seed X` replays one, with its trace on request (`--trace`); `--shrink` makes a failing one smaller.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    hours: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    twice: { type: 'boolean', default: false },
    shrink: { type: 'boolean', default: false },
    workers: { type: 'string' },
  },
});
const hours = Number(values.hours);

function describe(world: World): string {
  const faults = world.faults.map(
    ({ blow, atMs, moment }) =>
      `    ${Math.round(atMs / 1_000)} s${moment ? `, ${moment.nth}. "${moment.what}"` : ''}: ${JSON.stringify(blow)}`,
  );
  const actions = world.actions.map((action) => `    ${JSON.stringify(action)}`);
  return [
    `  ${world.replicas} replicas, ${world.agents.length} agents, ${world.jobs.length} jobs; faults:`,
    ...faults,
    '  actions:',
    ...actions,
  ].join('\n');
}

function report({ seed, violations }: Answer | Awaited<ReturnType<typeof simulate>>, world: World): void {
  if (violations.length === 0) return;
  console.log(`\nseed ${seed}: ${violations.length} violations`);
  for (const { invariant, sentence } of violations.slice(0, 10)) console.log(`  ${invariant}: ${sentence}`);
  console.log(describe(world));
  console.log(`  replay: npm run simulate -- --seed ${seed} --hours ${hours} --trace`);
}

if (values.seed !== undefined) {
  let world = makeWorld(Number(values.seed), { hours });
  if (values.shrink) world = await shrink(world);
  const outcome = await simulate(world, values.trace ? (line) => console.log(line) : null);
  report(outcome, world);
  console.log(`${outcome.violations.length} violations; trace hash ${outcome.hash}`);
  process.exitCode = outcome.violations.length === 0 ? 0 : 1;
} else {
  const from = Number(values.from);
  const seeds = Array.from({ length: Number(values.seeds) }, (_, index) => from + index);
  const combined = createHash('sha256');
  const failed: string[] = [];
  const total = { virtualMs: 0, starts: 0, runs: 0, events: 0, unequal: 0 };
  const began = performance.now();
  const tasks = seeds.map((seed) => ({ world: makeWorld(seed, { hours }), twice: values.twice }));
  await simulateAll(
    tasks,
    (answer, index) => {
      combined.update(answer.hash);
      if (answer.again !== null && answer.again !== answer.hash) {
        total.unequal += 1;
        console.log(`\nseed ${answer.seed}: the second run has another trace hash`);
      }
      total.virtualMs += answer.virtualMs;
      total.starts += answer.starts;
      total.runs += answer.runs;
      total.events += answer.events;
      if (answer.violations.length > 0) failed.push(answer.seed);
      report(answer, makeWorld(Number(answer.seed), { hours }));
      if (process.stdout.isTTY) process.stdout.write(`\r${index + 1}/${seeds.length} `);
      else if ((index + 1) % 100 === 0) console.log(`${index + 1}/${seeds.length}`);
    },
    values.workers === undefined ? {} : { workers: Number(values.workers) },
  );
  const seconds = (performance.now() - began) / 1_000;
  console.log(
    `\n${seeds.length} seeds of ${hours} h: ${failed.length} with violations${failed.length > 0 ? ` (${failed.join(', ')})` : ''}` +
      `\n${total.starts} starts, ${total.runs} runs, ${total.events} events in ${seconds.toFixed(1)} s: ${Math.round(total.virtualMs / 1_000 / seconds)} virtual seconds per second` +
      `\ncombined trace hash ${combined.digest('hex')}`,
  );
  process.exitCode = failed.length === 0 && total.unequal === 0 ? 0 : 1;
}
