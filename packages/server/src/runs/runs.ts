import { define, type Fault, type JobDefinition, type ParamValue, readParams } from '@rota/contract';
import type { Hints } from '../hints.ts';
import { newId, type Random } from '../random.ts';
import type { RequestedRun } from '../store/requests.ts';
import type { Store } from '../store/store.ts';
import { runIdOf } from './ids.ts';

/** What people and programs may ask of runs. */
export interface Runs {
  /** Runs a job now. The same idempotency key makes one run, for ever. */
  trigger(input: {
    tenantId: string;
    jobId: string;
    idempotencyKey: string | null;
    /** Only on the agent of this name. */
    agent: string | null;
    /** Values of its parameters by name; what is left out has its default. */
    params?: Record<string, unknown>;
    by: string;
  }): Promise<{ runId: string; created: boolean } | { error: 'jobNotFound' } | { faults: Fault[] }>;
  /** Runs a definition once, without a job: a run for each agent named, for all that are online, or for the first. */
  exec(input: {
    tenantId: string;
    definition: JobDefinition;
    agents: string[] | null;
    all: boolean;
    idempotencyKey: string | null;
    startDeadlineMs: number;
    by: string;
  }): Promise<{ runIds: string[] } | { error: 'noAgent' }>;
  cancel(input: {
    tenantId: string;
    runId: string;
    by: string;
  }): Promise<'cancelled' | 'requested' | 'ended' | 'notFound'>;
  /** Decides the outcome of an unknown run. */
  resolve(input: {
    tenantId: string;
    runId: string;
    as: 'failed' | 'succeeded' | 'retry';
    note: string;
    by: string;
  }): Promise<'done' | 'notUnknown' | 'ended' | 'notFound'>;
  /** Begins the next attempt of a run that waits for it at once, or drops it. */
  retry(input: {
    tenantId: string;
    runId: string;
    action: 'now' | 'drop';
    by: string;
  }): Promise<'done' | 'notWaiting' | 'ended' | 'notFound'>;
}

/** Where the hidden job of ad hoc runs has its place. */
export const AD_HOC_JOB_ID = 'adhoc';

/** Says to an agent that its attempt is to end, or its offer is withdrawn; a hint that resuming repeats. */
export interface AgentOrders {
  cancel(agentId: string, attemptId: string, epoch: number): void;
  withdraw(agentId: string, attemptId: string, epoch: number): void;
  /** Names of the tenant's connected agents that match. */
  onlineMatching(tenantId: string, target: JobDefinition['target']): Promise<string[]>;
  /** Which of these names are agents of the tenant. */
  knownNames(tenantId: string, names: string[]): Promise<string[]>;
}

export function createRuns(ports: { store: Store; random: Random; hints: Hints; agents: AgentOrders }): Runs {
  const { store, random, hints, agents } = ports;

  async function request(runs: RequestedRun[]): Promise<{ runId: string; created: boolean }[]> {
    const answers = await store.requestRuns({ runs });
    hints.give('dispatch');
    return answers;
  }

  function requestedRun(
    input: { tenantId: string; idempotencyKey: string | null; by: string },
    run: {
      jobId: string;
      kind: 'triggered' | 'adHoc';
      part: string;
      revision: number;
      definition: JobDefinition;
      pinned: boolean;
      params?: Record<string, ParamValue>;
    },
    startDeadlineMs: number,
  ): RequestedRun {
    const occurrenceKey = `t:${input.idempotencyKey ?? newId(random)}`;
    const { tenantId } = input;
    return {
      id: runIdOf({ tenantId, jobId: run.jobId, occurrenceKey, part: run.part }),
      tenantId,
      jobId: run.jobId,
      revision: run.revision,
      kind: run.kind,
      occurrenceKey,
      part: run.part,
      definitionJson: run.pinned ? JSON.stringify(run.definition) : null,
      paramsJson: run.params === undefined ? null : JSON.stringify(run.params),
      timeoutMs: run.definition.timeoutMs,
      createdBy: input.by,
      startDeadlineMs,
      idempotencyKey: input.idempotencyKey,
    };
  }

  return {
    async trigger(input) {
      const job = await store.readTriggerableJob({ tenantId: input.tenantId, jobId: input.jobId });
      if (!job) return { error: 'jobNotFound' };
      const definition = define(JSON.parse(job.documentJson), 'UTC');
      const read = readParams(definition, input.params ?? {});
      if ('faults' in read) return read;
      const pinned =
        input.agent === null
          ? definition
          : { ...definition, target: { ...definition.target, agents: [input.agent], labels: {}, max: null } };
      const run = requestedRun(
        input,
        {
          jobId: input.jobId,
          kind: 'triggered',
          part: '',
          revision: job.revision,
          definition: pinned,
          pinned: input.agent !== null,
          params: read.params,
        },
        definition.startDeadlineMs,
      );
      const [answer] = await request([run]);
      return answer as { runId: string; created: boolean };
    },

    async exec(input) {
      const { definition } = input;
      let names: string[] | null = input.agents;
      if (names !== null && (await agents.knownNames(input.tenantId, names)).length < new Set(names).size)
        return { error: 'noAgent' };
      if (input.all && names === null) {
        names = await agents.onlineMatching(input.tenantId, definition.target);
        if (names.length === 0) return { error: 'noAgent' };
      }
      const targets = names === null ? [null] : [...new Set(names)];
      // One key for all parts, so that asking again finds each of them.
      const idempotencyKey = input.idempotencyKey;
      const runs = targets.map((name) =>
        requestedRun(
          { ...input, idempotencyKey },
          {
            jobId: AD_HOC_JOB_ID,
            kind: 'adHoc',
            part: name ?? '',
            revision: 0,
            definition:
              name === null
                ? definition
                : { ...definition, target: { ...definition.target, agents: [name], labels: {} } },
            pinned: true,
          },
          input.startDeadlineMs,
        ),
      );
      return { runIds: (await request(runs)).map((answer) => answer.runId) };
    },

    async cancel(input) {
      const answer = await store.cancelRun(input);
      hints.give('events');
      hints.give(`run:${input.runId}`);
      hints.give('dispatch');
      if (answer.result === 'requested') agents.cancel(answer.agentId, answer.attemptId, answer.epoch);
      if (answer.result === 'cancelled' && answer.withdraw) {
        agents.withdraw(answer.withdraw.agentId, answer.withdraw.attemptId, answer.withdraw.epoch);
      }
      return answer.result;
    },

    async resolve(input) {
      const result = await store.resolveRun(input);
      hints.give('events');
      hints.give(`run:${input.runId}`);
      hints.give('dispatch');
      return result;
    },

    async retry(input) {
      const answer = await store.retryRun(input);
      hints.give('events');
      hints.give(`run:${input.runId}`);
      hints.give('dispatch');
      if (answer.result === 'done' && answer.withdraw) {
        const { agentId, attemptId, epoch } = answer.withdraw;
        agents.withdraw(agentId, attemptId, epoch);
      }
      return answer.result;
    },
  };
}
