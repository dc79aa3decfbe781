import type { Step } from '@rota/contract';
import type { Task } from '../helperProtocol.ts';
import { executeCommand } from './command.ts';
import type { ExecutorPorts, Prepared } from './execution.ts';
import { executeHttp } from './http.ts';

/** The executor of a step's kind. */
export function prepareStep(task: Task, ports: ExecutorPorts): Promise<Prepared> {
  const { step } = task;
  switch (step.kind) {
    case 'command':
      return executeCommand(task, step, ports);
    case 'http':
      return executeHttp(task, step, ports);
    default:
      step satisfies never;
      throw new Error(`a step of kind ${(step as Step).kind} is not known here`);
  }
}
