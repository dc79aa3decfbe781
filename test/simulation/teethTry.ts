import { PLANTS } from './plants.ts';
import { biteAll, misplaced } from './teeth.ts';

console.log(PLANTS.flatMap(misplaced));
let caught = 0;
let all = 0;
await biteAll(
  { seeds: Number(process.argv[2] ?? 3), workers: 2, only: process.argv[3] ?? '' },
  (plant, o) => {
    all++;
    if (o.caughtBy) caught++;
    console.log(o.caughtBy ? 'CAUGHT' : 'missed', plant.name, JSON.stringify(o));
  },
);
console.log(caught, '/', all);
