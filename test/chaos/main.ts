import { parseArgs } from 'node:util';
import { allKills, type Kill, killAtArrows } from './arrows.ts';
import { killBusiestReplica } from './replicaKills.ts';
import { disturbReplicas } from './replicas.ts';

/**
 * For as long as you like: `npm run chaos -- --kills 500`: kill -9 at the arrows of the start protocol;
 * `npm run chaos -- --faults 50 [--seed 7]`: three replicas and four agents under random faults;
 * `npm run chaos -- --replica-kills 50`: how soon runs start again after the busiest of three replicas is killed.
 */
const { values } = parseArgs({
  options: {
    kills: { type: 'string' },
    faults: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    'replica-kills': { type: 'string' },
  },
});
if (values['replica-kills'] !== undefined) await replicaKills(Number(values['replica-kills']));
else if (values.faults !== undefined) await faults(Number(values.faults), values.seed);
else await arrows(Number(values.kills ?? 500));

async function arrows(wanted: number): Promise<void> {
  const every = allKills();
  const kills: Kill[] = Array.from({ length: wanted }, (_, index) => every[index % every.length] as Kill);
  const report = await killAtArrows(kills, (kill, index) => {
    process.stdout.write(
      `\r${index + 1}/${wanted} ${kill.arrow.type} ${kill.victim} ${kill.delivered ? 'delivered' : 'lost'}          `,
    );
  });
  console.log(`\n${JSON.stringify(report, null, 2)}`);
  process.exitCode = report.violations.length === 0 ? 0 : 1;
}

async function faults(wanted: number, seed: string): Promise<void> {
  const report = await disturbReplicas(seed, wanted);
  console.log(JSON.stringify(report, null, 2));
  process.exitCode = report.violations.length === 0 ? 0 : 1;
}

async function replicaKills(wanted: number): Promise<void> {
  const results = await killBusiestReplica(wanted, (kill, index) =>
    console.log(
      `${index + 1}/${wanted}: held ${kill.held} agents; first start after ${kill.firstMs} ms, on one of them after ${kill.firstHeldMs} ms, on all of them after ${kill.allHeldMs} ms`,
    ),
  );
  for (const [what, read] of [
    ['first start', (kill) => kill.firstMs],
    ['first start on an agent that it held', (kill) => kill.firstHeldMs],
    ['a start on every agent that it held', (kill) => kill.allHeldMs],
  ] as const satisfies [string, (kill: (typeof results)[number]) => number][]) {
    const sorted = results.map(read).sort((a, b) => a - b);
    console.log(`${what}: median ${sorted[Math.floor(sorted.length / 2)]} ms, worst ${sorted.at(-1)} ms`);
  }
}
