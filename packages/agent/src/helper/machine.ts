import type { Action } from '@rota/contract';
import type { ExecutorPorts, Prepared, StepTask } from '../executors/execution.ts';
import { prepareAction } from '../executors/index.ts';
import type { Clock } from '../ports.ts';
import { endTree, findRoot, isAlive, type Mark, type Root } from '../processTree.ts';
import type { BeginRecord } from '../spoolFile.ts';
import { createFolderSync } from './folderSync.ts';
import { type AttemptOutput, type OutputLimits, OutputWriter } from './outputWriter.ts';
import { createPipes } from './pipes.ts';
import { openStepFile, type StepFile } from './stepLog.ts';
import { createUsageMeter } from './usage.ts';

/** Whether a file is to be made, or one that an earlier helper has left is to be added to. */
export type Opening = 'new' | 'resume';

/**
 * What the helper does to its machine. Writes into the spool go to the page cache at once and outlive the helper; only what was
 * synced outlives a loss of power.
 */
export interface HelperMachine {
  /** The attempt's file; a new one has its begin record. @throws when the disk does not take it */
  openOutput(
    begin: BeginRecord,
    limits: OutputLimits,
    onWritten: () => void,
    opening: Opening,
  ): AttemptOutput;
  /** The file of its steps. @throws when the disk does not take it */
  openSteps(attemptId: string, opening: Opening): StepFile;
  /** Makes the names in the spool's folder durable. */
  syncFolder(): Promise<void>;
  /** Makes a try of a step ready. @throws with a message for people */
  prepare(task: StepTask, action: Action, ports: Pick<ExecutorPorts, 'http' | 'output'>): Promise<Prepared>;
  findRoot(mark: Mark): Root | null;
  isAlive(root: Root): boolean;
  /** Ends what is left of an attempt, or of one step of it; resolves once it has gone, or will not go. */
  endTree(root: Root, mark: Mark, graceMs: number): Promise<unknown>;
}

/** The machine that this process runs on. */
export function thisMachine(options: {
  spoolFolder: string;
  pipesFolder: string;
  clock: Clock;
}): HelperMachine {
  const { spoolFolder: folder, clock } = options;
  const usage = createUsageMeter(clock);
  const pipes = createPipes(options.pipesFolder);
  return {
    openOutput: (begin, limits, onWritten, opening) =>
      new OutputWriter(`${folder}/${begin.attemptId}`, begin, limits, clock, onWritten, opening),
    openSteps: (attemptId, opening) => openStepFile(`${folder}/${attemptId}.steps`, opening),
    syncFolder: createFolderSync(folder),
    prepare: (task, action, ports) => prepareAction(task, action, { ...ports, clock, usage, pipes, folder }),
    findRoot,
    isAlive,
    endTree: (root, mark, graceMs) => endTree(root, mark, graceMs, clock),
  };
}
