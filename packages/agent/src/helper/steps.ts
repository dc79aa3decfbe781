import { lookup } from 'node:dns';
import type { Action, ReasonCode, Situation, Step } from '@rota/contract';
import {
  type Ending,
  type ExecutorPorts,
  type HttpPorts,
  NO_ENDING,
  type Prepared,
} from '../executors/execution.ts';
import type { HttpSettings, Task } from '../helperProtocol.ts';
import type { HelperMachine } from './machine.ts';
import type { Secrets } from './secrets.ts';

/** Where output goes, and what executing needs of the helper. */
export interface StepPorts extends Pick<ExecutorPorts, 'output'> {
  machine: Pick<HelperMachine, 'prepare'>;
  http: HttpSettings;
  cookies: HttpPorts['cookies'];
}

/** Why a step is not even begun. */
export interface StepFault {
  reason: ReasonCode;
  error: string;
}

/**
 * Makes one try of a step ready: its templates are rendered now. Never throws, and neither does what it returns: a try that
 * cannot begin is one that has failed.
 */
export async function prepareStep(
  task: Task,
  step: Step,
  situation: () => Promise<Situation>,
  secrets: Secrets,
  ports: StepPorts,
): Promise<{ prepared: Prepared } | { prepared: null; fault: StepFault }> {
  const rendered = await render(step.action, situation, secrets);
  if (rendered.action === null) return { prepared: null, fault: rendered.fault };
  let prepared: Prepared;
  try {
    prepared = await ports.machine.prepare({ ...task, step: step.name }, rendered.action, {
      output: ports.output,
      http: { settings: ports.http, lookup, cookies: ports.cookies },
    });
  } catch (error) {
    prepared = neverBegun(error);
  }
  return {
    prepared: {
      begin() {
        try {
          return prepared.begin();
        } catch (error) {
          return neverBegun(error).begin();
        }
      },
      discard: () => prepared.discard(),
    },
  };
}

/** The action with its templates rendered; most have none, and need nothing of what renders them. */
async function render(
  action: Action,
  situation: () => Promise<Situation>,
  { values, faults }: Secrets,
): Promise<{ action: Action } | { action: null; fault: StepFault }> {
  if (!JSON.stringify(action).includes('{{')) return { action };
  try {
    const { renderAction } = await import('@rota/contract');
    return { action: renderAction(action, { ...(await situation()), secrets: values }) };
  } catch (error) {
    const { message } = error as Error;
    return { action: null, fault: { reason: 'templateFailed', error: withCauses(message, faults) } };
  }
}

/** A template that names a secret without a value is told why it has none. */
function withCauses(message: string, faults: Map<string, string>): string {
  const causes = [...faults].filter(([name]) => message.includes(name)).map(([, fault]) => fault);
  return [message, ...causes].join('; ');
}

/** An execution that has failed before it began. */
function neverBegun(fault: unknown): Prepared {
  const error = fault instanceof Error ? fault.message : String(fault);
  const ending: Ending = { ...NO_ENDING, outcome: 'failed', reason: 'spawnFailed', error };
  return { begin: () => ({ root: null, ended: Promise.resolve(ending), end() {} }), discard() {} };
}
