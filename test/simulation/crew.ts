import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Outcome } from './simulate.ts';
import type { World } from './world.ts';

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url));

/** Nearly all that a world makes is short-lived: it is thrown away before it is copied. */
export const EXEC_ARGV = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=32'];

/** What a worker is asked: a world, and whether to live through it a second time and compare. */
export interface Task {
  world: World;
  twice: boolean;
}

export interface Answer extends Outcome {
  /** The hash of the second time; null when there was none. */
  again: string | null;
}

/** Lives through worlds in worker processes, one for each core. Answers come in the order of the tasks. */
export async function simulateAll(
  tasks: Iterable<Task>,
  onAnswer: (answer: Answer, index: number) => void,
  options: { workers?: number } = {},
): Promise<void> {
  const waiting = tasks[Symbol.iterator]();
  let asked = 0;
  let told = 0;
  const early = new Map<number, Answer>();
  const tell = (answer: Answer, index: number) => {
    early.set(index, answer);
    for (let next = early.get(told); next; next = early.get(told)) {
      early.delete(told);
      onAnswer(next, told);
      told += 1;
    }
  };
  const work = (worker: ChildProcess) =>
    new Promise<void>((resolve, reject) => {
      let index = -1;
      const next = () => {
        const { done, value } = waiting.next();
        if (done) {
          worker.disconnect();
          return resolve();
        }
        index = asked++;
        worker.send(value);
      };
      worker.on('message', (answer: Answer) => {
        tell(answer, index);
        next();
      });
      worker.once('error', reject);
      worker.once('exit', (code) => {
        if (code !== 0) reject(new Error(`a worker ended with ${code} in task ${index}`));
      });
      next();
    });
  const crew = Array.from({ length: options.workers ?? availableParallelism() }, () =>
    fork(WORKER, {
      execArgv: EXEC_ARGV,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    }),
  );
  try {
    await Promise.all(crew.map(work));
  } finally {
    for (const worker of crew) if (worker.connected) worker.kill();
  }
}
