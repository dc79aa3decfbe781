import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXEC_ARGV } from './crew.ts';
import type { Plant } from './plants/plant.ts';
import { PLANTS } from './plants.ts';
import type { PlantOutcome, PlantTask } from './plantWorker.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const LOADER = fileURLToPath(new URL('./plantLoader.ts', import.meta.url));
const WORKER = fileURLToPath(new URL('./plantWorker.ts', import.meta.url));

/** Texts of a plant that do not stand in exactly one place of the source. */
export function misplaced(plant: Plant): string[] {
  return plant.edits
    .filter(({ file, find }) => readFileSync(path.join(ROOT, file), 'utf8').split(find).length !== 2)
    .map(({ file, find }) => `${plant.name}: ${file} has not exactly one ${JSON.stringify(find)}`);
}

/** Plants each bug, in a process for each core, and lets its worlds come about until it is seen, `seeds` more than the recorded one at most. */
export async function biteAll(seeds: number): Promise<{ plant: Plant; outcome: PlantOutcome }[]> {
  const outcomes: { plant: Plant; outcome: PlantOutcome }[] = [];
  const waiting = PLANTS.entries();
  const crew = Array.from({ length: availableParallelism() }, () =>
    fork(WORKER, {
      execArgv: [...EXEC_ARGV, '--import', LOADER],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    }),
  );
  const work = async (worker: ChildProcess) => {
    for (const [index, plant] of waiting) {
      const others = Array.from({ length: seeds }, (_, other) => other + 1).filter(
        (seed) => seed !== plant.seed,
      );
      const outcome = await ask(worker, { plant: index, seeds: [plant.seed, ...others] });
      outcomes[index] = { plant, outcome };
    }
    worker.disconnect();
  };
  try {
    await Promise.all(crew.map(work));
  } finally {
    for (const worker of crew) if (worker.connected) worker.kill();
  }
  return outcomes;
}

function ask(worker: ChildProcess, task: PlantTask): Promise<PlantOutcome> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null) =>
      reject(new Error(`${PLANTS[task.plant]?.name}: its process ended with ${code}`));
    worker.once('exit', ended);
    worker.once('message', (outcome: PlantOutcome) => {
      worker.off('exit', ended);
      resolve(outcome);
    });
    worker.send(task);
  });
}
