import { lookAtLockouts } from './lockout.ts';
import { EPOCH_MS, type Simulation, TENANT } from './simulation.ts';
import { type Action, HEAL_MS, PAUSE_MS, TAIL_MS } from './world.ts';

/** Between two tries of what must be done. */
const AGAIN_MS = 1_500;
/** How often someone looks for a run that waits for its next attempt. */
const WAITING_LOOKS = 60;

/** What people do: they make the jobs, act as the world says, mend what is broken, and at the end let all come to rest. */
export function operate(simulation: Simulation): void {
  const { kernel, world } = simulation;
  for (const server of simulation.servers) server.start();
  for (const [index, agent] of simulation.agents.entries()) {
    const { startsAtMs } = world.agents[index] ?? { startsAtMs: 0 };
    simulation.faults.push({
      kind: 'notThere',
      from: EPOCH_MS,
      to: EPOCH_MS + startsAtMs + 5_000,
      what: agent.machine.name,
      agents: [agent.identity.agentId],
    });
    kernel.at(startsAtMs, null, `${agent.machine.name} has power`, () => agent.powerOn());
  }
  kernel.at(1_000, null, 'jobs are made', () => {
    for (const job of world.jobs)
      insist(simulation, `make ${job.name}`, () => simulation.saveJob(job, job.fields));
  });
  for (const action of world.actions) {
    kernel.at(action.atMs, null, `someone wants to ${action.kind}`, () => {
      act(simulation, action).then(
        (answer) => kernel.trace('operator', `${action.kind}: ${JSON.stringify(answer)}`),
        (error) => kernel.trace('operator', `${action.kind} failed: ${(error as Error).message}`),
      );
    });
  }
  const tail = Math.max(60_000, world.durationMs - TAIL_MS);
  kernel.at(tail + HEAL_MS, null, 'all is mended', () => mend(simulation));
  kernel.at(tail + PAUSE_MS, null, 'all jobs are paused', () => {
    for (const { name } of world.jobs) {
      insist(simulation, `pause ${name}`, async () => {
        const served = simulation.served();
        if (!served) return false;
        await served.store.pauseJob({ tenantId: TENANT, name, by: 'operator', note: '' });
        return true;
      });
    }
  });
}

/** Tries until it is done. */
function insist(simulation: Simulation, what: string, attempt: () => Promise<unknown>): void {
  const { kernel } = simulation;
  const again = () => kernel.after(AGAIN_MS, null, `again: ${what}`, () => insist(simulation, what, attempt));
  attempt().then(
    (done) => {
      if (!done) again();
    },
    () => again(),
  );
}

async function act(simulation: Simulation, action: Action): Promise<unknown> {
  const { world } = simulation;
  const served = simulation.served();
  if (!served) return 'no server';
  const { store, hints, runs } = served;
  switch (action.kind) {
    case 'edit': {
      const job = world.jobs[action.job];
      return job && simulation.saveJob(job, { ...job.fields, ...action.fields });
    }
    case 'pause':
    case 'resume':
    case 'delete': {
      const name = world.jobs[action.job]?.name ?? '';
      const input = { tenantId: TENANT, name, by: 'operator', note: '' };
      const done =
        action.kind === 'pause'
          ? await store.pauseJob(input)
          : action.kind === 'resume'
            ? await store.resumeJob(input)
            : await store.deleteJob(input);
      for (const topic of ['plan', 'dispatch', 'events']) hints.give(topic);
      return done;
    }
    case 'trigger': {
      const jobId = world.jobs[action.job]?.name ?? '';
      const answer = await runs.trigger({
        tenantId: TENANT,
        jobId,
        idempotencyKey: null,
        agent: null,
        by: 'operator',
      });
      if ('runId' in answer) simulation.acknowledged.push(answer.runId);
      return answer;
    }
    case 'cancel': {
      const runId = drawRun(simulation, action.draw, ['queued', 'offered', 'starting', 'running', 'unknown']);
      return runId && runs.cancel({ tenantId: TENANT, runId, by: 'operator' });
    }
    case 'resolve': {
      const runId = drawRun(simulation, action.draw, ['unknown']);
      if (runId === null) return null;
      const as = (['failed', 'succeeded', 'retry'] as const)[Math.floor(action.draw * 3)] ?? 'failed';
      const decision = { runId, at: simulation.database.clock() };
      // Without an answer it may have been done.
      simulation.decisions.push(decision);
      const answer = await runs.resolve({ tenantId: TENANT, runId, as, note: '', by: 'operator' });
      if (answer !== 'done') simulation.decisions.splice(simulation.decisions.indexOf(decision), 1);
      return answer;
    }
    case 'hurryRetry':
    case 'dropRetry': {
      const runId = await untilWaiting(simulation, action.draw);
      if (runId === null) return null;
      const isDrop = action.kind === 'dropRetry';
      const decision = { runId, at: simulation.database.clock() };
      if (!isDrop) simulation.hurried.push(decision);
      const by = 'operator';
      const answer = await runs.retry({ tenantId: TENANT, runId, action: isDrop ? 'drop' : 'now', by });
      if (isDrop && answer === 'done') simulation.dropped.push({ runId, at: simulation.database.clock() });
      return answer;
    }
    case 'setAgent': {
      const { order, enabled } = action;
      const name = `agent-${action.agent}`;
      const done = await store.setAgent({ tenantId: TENANT, name, orderNumber: order, enabled });
      // Until it is mended: nothing goes to it, which is nobody's fault.
      if (!enabled)
        simulation.note('disabled', name, [action.agent], world.durationMs - simulation.kernel.now);
      for (const topic of ['agents', 'dispatch', 'events']) hints.give(topic);
      return done;
    }
    default:
      return action satisfies never;
  }
}

/** A run that waits for its next attempt, as soon as there is one; null when none comes. */
async function untilWaiting(simulation: Simulation, draw: number): Promise<string | null> {
  for (let looks = 0; looks < WAITING_LOOKS; looks++) {
    const runId = drawRun(simulation, draw, ['queued', 'offered'], '"attempt" > 0');
    if (runId !== null) return runId;
    await new Promise<void>((resolve) => {
      simulation.kernel.after(AGAIN_MS, null, 'someone looks again', resolve);
    });
  }
  return null;
}

/** A run that is in one of these states now, or was in one a moment ago. */
function drawRun(simulation: Simulation, draw: number, states: string[], fits = 'true'): string | null {
  const found = simulation.database.inspect<{ id: string }>(
    `select "id" from "runs" where "endedAt" is null and "state" in (${states.map(() => '?').join(', ')}) and ${fits} order by "id"`,
    ...states,
  );
  return found[Math.floor(draw * found.length)]?.id ?? null;
}

/** Ends all that is broken, and brings in anew what was locked out. */
function mend(simulation: Simulation): void {
  const { kernel, database, servers, agents, world } = simulation;
  lookAtLockouts(simulation);
  if (database.away) database.start();
  database.faults.failShare = 0;
  database.faults.loseAnswerShare = 0;
  database.latency = world.latency.database;
  for (const server of servers) server.start();
  for (const agent of agents) {
    agent.machine.disk.isFull = false;
    if (agent.isDown) agent.powerOn();
    const name = `agent-${agent.index}`;
    insist(simulation, `enable ${name}`, async () => {
      const served = simulation.served();
      if (!served) return false;
      const row = await served.store.getAgent({ tenantId: TENANT, name });
      if (row?.state === 'quarantined') {
        // Everything that it ran is ended first: only then it may be called gone.
        simulation.note('replaced', name, [agent.index], 60_000);
        if (!agent.isDown) agent.powerOff();
        await served.store.removeAgent({ tenantId: TENANT, name, gone: true });
        served.gateway.disconnect(row.id, 'the agent was removed');
        agent.machine.restoreFolder({ disk: new Map(), spool: new Map() });
        agent.identity = simulation.join(agent.index);
        agent.powerOn();
      } else await served.store.setAgent({ tenantId: TENANT, name, enabled: true });
      for (const topic of ['agents', 'dispatch', 'events']) served.hints.give(topic);
      return true;
    });
  }
  kernel.trace('operator', 'mends all');
}
