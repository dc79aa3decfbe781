import { withdrawOffer } from './dispatch.ts';
import { all, type Operation, placeholders, rows, type Transaction } from './operation.ts';
import type { RunRow } from './tables.ts';

/** An offer that stands, with the document of its run's revision. */
export type OfferedRun = RunRow & {
  agentId: string;
  documentJson: string | null;
  /** Who holds its agent's session; null: nobody, the agent has gone away since it was chosen. */
  replicaId: string | null;
};

/** An attempt whose end was asked for. */
export interface CancelledRun {
  id: string;
  attempt: number;
  epoch: number;
  agentId: string;
}

/**
 * What a server has to see to: offers to agents whose sessions it holds, or that nobody holds, and ends that were asked for.
 * It reads only what is offered or being cancelled, not what there is.
 */
export function* readDeliveries(
  transaction: Transaction,
  input: { replicaId: string },
): Operation<{ offers: OfferedRun[]; cancels: CancelledRun[] }> {
  const [offers, cancels] = yield* all(
    transaction,
    rows<OfferedRun>(
      `select "runs".*, "jobRevisions"."documentJson", "agents"."replicaId" from "runs"
       join "agents" on "agents"."tenantId" = "runs"."tenantId" and "agents"."id" = "runs"."agentId"
       left join "jobRevisions" on "jobRevisions"."tenantId" = "runs"."tenantId" and "jobRevisions"."jobId" = "runs"."jobId"
         and "jobRevisions"."revision" = "runs"."revision"
       where "runs"."state" = 'offered' and "runs"."wakeAt" is not null
         and ("agents"."replicaId" = ? or "agents"."replicaId" is null)
       order by "runs"."wakeAt"`,
      input.replicaId,
    ),
    rows<CancelledRun>(
      `select "runs"."id", "runs"."attempt", "runs"."epoch", "runs"."agentId" from "runs"
       join "agents" on "agents"."tenantId" = "runs"."tenantId" and "agents"."id" = "runs"."agentId"
       where "runs"."cancelRequestedAt" is not null and "runs"."endedAt" is null
         and "runs"."state" in ('starting', 'running', 'unknown') and "agents"."replicaId" = ?`,
      input.replicaId,
    ),
  );
  return { offers, cancels };
}

/** Takes those offers back whose agents are away: they were chosen before that was seen. @returns how many went back */
export function* withdrawFromAway(
  transaction: Transaction,
  input: { runs: Pick<RunRow, 'tenantId' | 'id'>[] },
): Operation<number> {
  const offered = yield* rows<RunRow>(
    `select "runs".* from "runs" join "agents" on "agents"."tenantId" = "runs"."tenantId" and "agents"."id" = "runs"."agentId"
     where "runs"."state" = 'offered' and "agents"."replicaId" is null
       and "runs"."id" in (${placeholders(input.runs)}) ${transaction.dialect.skipLocked}`,
    ...input.runs.map(({ id }) => id),
  );
  let withdrawn = 0;
  for (const run of offered) withdrawn += (yield* withdrawOffer(transaction, run, false)).length;
  return withdrawn;
}

/** How many attempts each agent was offered or runs; agents with none are left out. */
export function* readAgentLoads(
  _transaction: Transaction,
  _input: Record<never, never>,
): Operation<{ agentId: string; runs: number }[]> {
  return yield* rows<{ agentId: string; runs: number }>(
    `select "agentId", count(*) as "runs" from "runs" where "endedAt" is null and "agentId" is not null
       and "state" in ('offered', 'starting', 'running') group by "agentId"`,
  );
}
