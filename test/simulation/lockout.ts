import { readJournal } from '../../packages/agent/src/journal.ts';
import { PERMIT_MS } from '../../packages/server/src/store/unknownRuns.ts';
import { type History, iso } from '../history/history.ts';
import type { SimAgent } from './agent.ts';
import type { Simulation } from './simulation.ts';

/** An agent that went on from a copy of its folder, or from an older state of it. */
export interface Suspect {
  agents: SimAgent[];
  agentId: string;
  atMs: number;
  /** Of the database: another one believes each agent once. */
  timeline: number;
}

/** A folder was put back: when the server has seen what came after it, the agent must not come online with it. */
export function suspectOld({ database, suspects, kernel }: Simulation, agent: SimAgent): void {
  const { agentId } = agent.identity;
  const file = agent.machine.disk.copy().get('agent/journal');
  const { seq, nonce } = readJournal(Buffer.from(file ?? []));
  const [row] = database.inspect<{ journalSeq: number; nonce: string | null; pendingNonce: string | null }>(
    'select * from "agents" where "id" = ?',
    agentId,
  );
  if (!row || (seq >= row.journalSeq && (nonce === row.nonce || nonce === row.pendingNonce))) return;
  suspects.push({ agents: [agent], agentId, atMs: kernel.now, timeline: database.timeline });
}

/** A folder was copied: of the two only one may come online from now on. */
export function suspectCopy(
  { database, suspects, kernel }: Simulation,
  agent: SimAgent,
  copy: SimAgent,
): void {
  const { agentId } = agent.identity;
  suspects.push({ agents: [agent, copy], agentId, atMs: kernel.now, timeline: database.timeline });
}

/** Before people mend what is locked out: who should be, and who should not. */
export function lookAtLockouts(simulation: Simulation): void {
  const { database, suspects, betrayed, damaged, findings } = simulation;
  const rows = database.inspect<{ id: string; name: string; state: string }>('select * from "agents"');
  const locked = new Set(rows.filter(({ state }) => state === 'quarantined').map(({ id }) => id));
  for (const { agents, agentId, atMs, timeline } of suspects) {
    if (timeline !== database.timeline || locked.has(agentId)) continue;
    if (!agents.every((agent) => agent.identity.agentId === agentId && agent.onlineAt > atMs)) continue;
    const sentence = `agent ${agentId} came online with ${agents.length > 1 ? 'a copy' : 'an older state'} of its folder and is not locked out`;
    findings.push({ invariant: 'suspectsLockedOut', sentence });
  }
  for (const { id, name } of rows) {
    if (!locked.has(id) || betrayed.has(id) || damaged.has(id)) continue;
    findings.push({ invariant: 'innocentsNotLockedOut', sentence: `${name} is locked out without a cause` });
  }
}

/** From the last look at a permit to the start, clocks that run slow included. */
const EXEC_MS = 200;
/** After a cancel, how long a process may live: a while until it is heard, TERM, grace, KILL. */
const CANCEL_MS = 30_000;
/** Faults that can keep a cancel from being heard do so for so long after their end. */
const CANCEL_RECOVERY_MS = 45_000;

/** What the history's own invariants do not speak of. */
export function* lookAtTheEnd(
  { database, agents, servers, faults, evidence, decisions, damaged, betrayed }: Simulation,
  { runs, attempts }: History,
): Generator<{ invariant: string; sentence: string }> {
  const decided = new Set(decisions.map(({ runId }) => runId));
  const byId = new Map(runs.map((run) => [run.id, run]));
  const adopted = new Set(
    database
      .inspect<{ id: string }>(`select "id" from "attempts" where "permitBootId" = ''`)
      .map(({ id }) => id),
  );
  const startedAt = new Map(evidence.map(({ attemptId, at }) => [attemptId, at]));
  for (const { id, runId, number, startingAt } of attempts) {
    const run = byId.get(runId);
    // When one that an agent told of got its permit is lost; its start shows how long before that was at most.
    const permitAt = adopted.has(id) ? (startedAt.get(id) ?? 0) - PERMIT_MS - EXEC_MS : startingAt;
    if (run && number === 1 && !decided.has(runId) && permitAt > run.startBy)
      yield {
        invariant: 'neverAfterDeadline',
        sentence: `attempt ${id} got its permit at ${iso(permitAt)}, after ${iso(run.startBy)}`,
      };
  }
  const wanted = database.inspect<{ id: string; at: number }>(
    'select "id", "cancelRequestedAt" as "at" from "runs" where "cancelRequestedAt" is not null',
  );
  const cancelledAt = new Map(wanted.map(({ id, at }) => [id, at]));
  for (const { attemptId, runId, at, endedAt } of evidence) {
    const asked = cancelledAt.get(runId);
    const ended = endedAt ?? database.clock();
    if (asked === undefined || decided.has(runId) || ended - Math.max(asked, at) < CANCEL_MS) continue;
    if (faults.some(({ from, to }) => from <= ended && to + CANCEL_RECOVERY_MS >= asked)) continue;
    yield {
      invariant: 'cancelHeard',
      sentence: `attempt ${attemptId} went on until ${iso(ended)} although its end was asked for at ${iso(asked)}`,
    };
  }
  for (const { id, state, reason, agentId } of runs) {
    if (state !== 'unknown' || reason !== 'journalDamaged' || agentId === null) continue;
    if (damaged.has(agentId) || betrayed.has(agentId) || database.timeline > 1) continue;
    yield {
      invariant: 'damageHasCause',
      sentence: `run ${id} is unknown because of a damaged journal, but that of ${agentId} never was`,
    };
  }
  const alive = new Set(servers.map(({ name }) => name));
  for (const { name } of database.inspect<{ name: string }>('select "name" from "replicas"')) {
    if (!alive.has(name))
      yield { invariant: 'deadServersForgotten', sentence: `${name} is gone but not forgotten` };
  }
  for (const agent of agents) {
    const { agentId, name } = agent.identity;
    const [row] = database.inspect<{ state: string }>('select "state" from "agents" where "id" = ?', agentId);
    if ((row?.state === 'online') !== (agent.state.state === 'online'))
      yield {
        invariant: 'presenceIsTrue',
        sentence: `${name} is ${agent.state.state} but ${row?.state} on record`,
      };
  }
}
