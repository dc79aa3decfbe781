import { lookup } from 'node:dns';
import type { Step } from '@rota/contract';
import { type Ending, type ExecutorPorts, NO_ENDING, type Prepared } from '../executors/execution.ts';
import { createCookies } from '../executors/httpCookies.ts';
import { prepareAction } from '../executors/index.ts';
import type { HttpSettings, Task } from '../helperProtocol.ts';

/** Where output goes, and what executing needs of the helper. */
export type StepsPorts = Omit<ExecutorPorts, 'http'> & { http: HttpSettings };

/**
 * Makes the steps of one attempt ready; once begun, output goes to the ports and the ending comes from the execution. All
 * else about the attempt (its permit, its spool, its timeout, who is told) belongs to its runner. Never throws, and
 * neither does what it returns: a step that cannot begin is one that has failed.
 */
export async function prepareSteps(task: Task, ports: StepsPorts): Promise<Prepared> {
  let prepared: Prepared;
  try {
    prepared = await prepareAction(task, (task.steps[0] as Step).action, {
      ...ports,
      http: { settings: ports.http, lookup, cookies: createCookies() },
    });
  } catch (error) {
    prepared = neverBegun(error);
  }
  return {
    begin() {
      try {
        return prepared.begin();
      } catch (error) {
        return neverBegun(error).begin();
      }
    },
    discard: () => prepared.discard(),
  };
}

/** An execution that has failed before it began. */
function neverBegun(fault: unknown): Prepared {
  const error = fault instanceof Error ? fault.message : String(fault);
  const ending: Ending = { ...NO_ENDING, outcome: 'failed', reason: 'spawnFailed', error };
  return { begin: () => ({ root: null, ended: Promise.resolve(ending), end() {} }), discard() {} };
}
