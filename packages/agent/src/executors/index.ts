import type { Action } from '@rota/contract';
import { executeCommand } from './command.ts';
import type { ExecutorPorts, Prepared, StepTask } from './execution.ts';
import { executeHttp } from './http.ts';

/** The executor of an action's kind. */
export function prepareAction(task: StepTask, action: Action, ports: ExecutorPorts): Promise<Prepared> {
  switch (action.kind) {
    case 'command':
      return executeCommand(task, action, ports);
    case 'http':
      return executeHttp(task, action, ports);
    default:
      action satisfies never;
      throw new Error(`an action of kind ${(action as Action).kind} is not known here`);
  }
}
