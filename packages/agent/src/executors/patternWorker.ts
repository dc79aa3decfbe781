/** The thread of `httpPatterns.ts`: answers one list of questions and ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { RE2JS } from 're2js';
import type { PatternQuestion } from './httpPatterns.ts';

parentPort?.postMessage(
  (workerData as PatternQuestion[]).map(({ pattern, text }) => RE2JS.compile(pattern).matcher(text).find()),
);
