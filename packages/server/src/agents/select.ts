import type { JobDefinition, Labels, ReasonCode } from '@rota/contract';

/** An agent as selection sees it. */
export interface Candidate {
  id: string;
  name: string;
  order: number;
  labels: Labels;
  enabled: boolean;
}

/**
 * Whether an agent can take an attempt now. `away` agents are known not to be there: nobody waits for them. One that is
 * `returning` has just lost its server, and is waited for a moment.
 */
export type Presence = 'ready' | 'full' | 'blocked' | 'returning' | 'away';

export type Choice =
  | { kind: 'offer'; agentId: string }
  | { kind: 'wait'; reason: ReasonCode; roundOver: boolean; agentId?: string };

/** The agents that take part: those that match, by order and then name, at most `target.max`. Pure. */
export function candidatesOf(agents: readonly Candidate[], target: JobDefinition['target']): Candidate[] {
  const names = target.agents === null ? null : new Set(target.agents);
  const labels = Object.entries(target.labels);
  const matching = agents.filter(
    (agent) =>
      (names === null || names.has(agent.name)) &&
      labels.every(([key, value]) => agent.labels[key] === value),
  );
  matching.sort((a, b) => a.order - b.order || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return target.max === null ? matching : matching.slice(0, target.max);
}

/**
 * Picks an agent (`pick: first`): the first that is ready and has not let this run pass in this round. Pure.
 * Each next one waits for the one before it (`stagger`), because an offer stands that long before it is withdrawn; and for one
 * that is returning.
 */
export function choose(
  candidates: readonly Candidate[],
  presenceOf: (agentId: string) => Presence,
  passed: ReadonlySet<string>,
): Choice {
  if (candidates.length === 0) return { kind: 'wait', reason: 'noAgentMatches', roundOver: true };
  let full = false;
  let blocked = false;
  for (const { id, enabled } of candidates) {
    const presence = enabled ? presenceOf(id) : 'away';
    if (presence === 'ready' && !passed.has(id)) return { kind: 'offer', agentId: id };
    if (presence === 'returning' && !passed.has(id))
      return { kind: 'wait', reason: 'agentReturning', roundOver: false, agentId: id };
    if (presence === 'full') full = true;
    if (presence === 'blocked' || presence === 'ready') blocked = true;
  }
  if (blocked) return { kind: 'wait', reason: 'agentsDeclined', roundOver: true };
  return { kind: 'wait', reason: full ? 'agentsFull' : 'noAgentOnline', roundOver: true };
}
