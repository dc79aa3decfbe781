import { Worker } from 'node:worker_threads';

export interface PatternQuestion {
  pattern: string;
  text: string;
}

/** A pattern's automaton may grow with its text. */
const HEAP_MB = 256;

/**
 * Whether each pattern is found in its text. In a thread of its own: the engine is linear, but a megabyte times a large
 * pattern takes seconds, in which the helper could not look after anything else. Rejects when `signal` ends it.
 */
export function matchPatterns(questions: PatternQuestion[], signal: AbortSignal): Promise<boolean[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./patternWorker.ts', import.meta.url), {
      workerData: questions.map(({ pattern, text }) => ({ pattern, text })),
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
      env: {},
    });
    const stop = () => {
      void worker.terminate();
      reject(signal.reason);
    };
    const settle = (act: () => void) => {
      signal.removeEventListener('abort', stop);
      act();
    };
    worker.once('message', (found: boolean[]) => settle(() => resolve(found)));
    worker.once('error', (error) => settle(() => reject(error)));
    worker.once('exit', () => settle(() => reject(new Error('the patterns were not matched'))));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
