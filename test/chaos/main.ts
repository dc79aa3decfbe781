import { parseArgs } from 'node:util';
import { allKills, type Kill, killAtArrows } from './arrows.ts';

/** `npm run chaos -- --kills 500`: kill -9 at the arrows of the start protocol, for as long as you like. */
const { values } = parseArgs({ options: { kills: { type: 'string', default: '500' } } });
const wanted = Number(values.kills);
const every = allKills();
const kills: Kill[] = Array.from({ length: wanted }, (_, index) => every[index % every.length] as Kill);

const report = await killAtArrows(kills, (kill, index) => {
  process.stdout.write(
    `\r${index + 1}/${wanted} ${kill.arrow.type} ${kill.victim} ${kill.delivered ? 'delivered' : 'lost'}          `,
  );
});
console.log(`\n${JSON.stringify(report, null, 2)}`);
process.exitCode = report.violations.length === 0 ? 0 : 1;
