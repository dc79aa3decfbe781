import type { RunKey } from './agentMessages.ts';
import type { Step } from './job.ts';
import type { ParamValue } from './params.ts';
import type { LocalTime } from './when.ts';

/** Where a secret's value comes from: the server, or the agent's own environment or file. */
export type SecretSource =
  | { from: 'server'; value: string }
  | { from: 'agentEnv'; name: string }
  | { from: 'agentFile'; path: string };

/** The signed content of a permit: all that the agent needs to execute, so that it executes nothing unsigned. */
export interface Permit {
  attemptId: string;
  epoch: number;
  agentId: string;
  /** Valid on this boot of the agent's machine until its boot-time clock reads more than this. */
  bootId: string;
  validUntilBootMs: number;
  run: {
    id: string;
    tenant: string;
    job: string;
    number: number;
    /** Nominal instant, epoch ms. */
    scheduledFor: number;
    kind: string;
    /** The nominal instant in the zone of the schedule that fired, else of the tenant. */
    local: LocalTime;
    params: Record<string, ParamValue>;
  };
  /** What templates and conditions may name of the agent. */
  agent: { name: string; labels: Record<string, string> };
  key: RunKey;
  steps: Step[];
  /** Those that its steps name, and no others. */
  secrets: Record<string, SecretSource>;
  timeoutMs: number | null;
  killGraceMs: number;
  output: { headBytes: number; tailBytes: number };
}
