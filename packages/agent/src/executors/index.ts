import type { Action } from '@rota/contract';
import { executeCommand } from './command.ts';
import type { ExecutorPorts, Prepared, StepTask } from './execution.ts';

/** The executor of an action's kind; that of requests is large, and read when there is one. */
export async function prepareAction(task: StepTask, action: Action, ports: ExecutorPorts): Promise<Prepared> {
  switch (action.kind) {
    case 'command':
      return executeCommand(task, action, ports);
    case 'http':
      return (await import('./http.ts')).executeHttp(task, action, ports);
    default:
      action satisfies never;
      throw new Error(`an action of kind ${(action as Action).kind} is not known here`);
  }
}
