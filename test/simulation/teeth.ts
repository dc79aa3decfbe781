import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { PLANTS, type Plant } from './plants.ts';
import type { PlantOutcome } from './plantWorker.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const LOADER = fileURLToPath(new URL('./plantLoader.ts', import.meta.url));
const WORKER = fileURLToPath(new URL('./plantWorker.ts', import.meta.url));

/** Texts of a plant that do not stand in exactly one place of the source. */
export function misplaced(plant: Plant): string[] {
  return plant.edits
    .filter(({ file, find }) => readFileSync(path.join(ROOT, file), 'utf8').split(find).length !== 2)
    .map(({ file, find }) => `${plant.name}: ${file} has not exactly one ${JSON.stringify(find)}`);
}

/** Plants a bug in a process of its own, and lets worlds come about until it is seen, `seeds` at most. */
export function bite(plant: Plant, seeds: number): Promise<PlantOutcome> {
  return new Promise((resolve, reject) => {
    let outcome: PlantOutcome | null = null;
    const child = fork(WORKER, {
      execArgv: ['--disable-warning=ExperimentalWarning', '--import', LOADER],
      env: { ...process.env, PLANT: plant.name, SEEDS: String(seeds) },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    child.on('message', (message: PlantOutcome) => {
      outcome = message;
      child.disconnect();
    });
    child.once('error', reject);
    child.once('exit', (code) => {
      if (outcome) resolve(outcome);
      else reject(new Error(`${plant.name}: its process ended with ${code}`));
    });
  });
}

/** All plants, a few at a time. */
export async function biteAll(
  options: { seeds: number; workers: number; only?: string },
  onOutcome: (plant: Plant, outcome: PlantOutcome) => void,
): Promise<void> {
  const waiting = PLANTS.filter(({ name }) => name.includes(options.only ?? '')).values();
  const work = async () => {
    for (const plant of waiting) onOutcome(plant, await bite(plant, options.seeds));
  };
  await Promise.all(Array.from({ length: options.workers }, work));
}
