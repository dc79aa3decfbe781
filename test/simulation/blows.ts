import type { Subject } from './kernel.ts';
import { suspectCopy, suspectOld } from './lockout.ts';
import type { Simulation } from './simulation.ts';
import { type Blow, type Fault, HEAL_MS, TAIL_MS } from './world.ts';

/** Arms all faults of the world: those of an instant, and those that wait for a moment after it. */
export function arm(simulation: Simulation): void {
  const { kernel, world } = simulation;
  const last = Math.max(0, ...world.faults.map(({ atMs }) => atMs)) + 60_000;
  for (const fault of world.faults) {
    kernel.at(fault.atMs, null, 'a fault is due', () => {
      const { moment } = fault;
      if (moment === null) {
        strike(simulation, fault, {});
        return;
      }
      // Too late it would strike into the time in which everything has to settle.
      kernel.when(moment.what, moment.nth, (subject) => {
        if (kernel.now < last)
          kernel.after(0, null, 'its moment has come', () => strike(simulation, fault, subject));
      });
    });
  }
}

function strike(simulation: Simulation, fault: Fault, subject: Subject): void {
  const { kernel, database, network, world } = simulation;
  const { blow } = fault;
  const replica = ('replica' in blow ? blow.replica : null) ?? subject.replica ?? 0;
  const agentIndex = ('agent' in blow ? blow.agent : null) ?? subject.agent ?? 0;
  const server = simulation.servers[replica];
  const agent = simulation.agents[agentIndex];
  if (!server || !agent) return;
  const { machine } = agent;
  kernel.trace('fault', `${blow.kind} ${agentIndex} ${replica}`);
  const note = (agents: number[] | null, forMs: number) =>
    simulation.note(blow.kind, `agent ${agentIndex}, server ${replica}`, agents, forMs);
  switch (blow.kind) {
    case 'killReplica':
      note(null, blow.forMs);
      server.kill(blow.forMs);
      return;
    case 'stopReplica':
      note(null, blow.forMs + 10_000);
      server.stop(blow.forMs);
      return;
    case 'freezeReplica':
      note(null, blow.forMs);
      server.process.freeze(blow.forMs);
      return;
    case 'databaseAway':
      note(null, blow.forMs);
      database.stop();
      kernel.after(blow.forMs, null, 'the database comes back', () => database.start());
      return;
    case 'databaseSlow': {
      note(null, blow.forMs);
      const before = world.latency.database;
      database.latency = { ...before, typicalMs: before.typicalMs + blow.byMs };
      kernel.after(blow.forMs, null, 'the database is quick again', () => {
        database.latency = before;
      });
      return;
    }
    case 'commitsFail':
    case 'answersLost': {
      note(null, blow.forMs);
      const name = blow.kind === 'commitsFail' ? 'failShare' : 'loseAnswerShare';
      database.faults[name] = blow.share;
      kernel.after(blow.forMs, null, 'the database answers again', () => {
        database.faults[name] = 0;
      });
      return;
    }
    case 'failOver':
      note(null, blow.forMs);
      database.stop();
      database.failOver();
      kernel.after(blow.forMs, null, 'the standby has taken over', () => database.start());
      return;
    case 'cut':
      note([agentIndex], 0);
      network.cut(agentIndex, blow.replica);
      return;
    case 'block':
      note([agentIndex], blow.forMs);
      network.block(agentIndex, replica, blow.direction, blow.forMs);
      return;
    case 'slowLink':
      note([agentIndex], blow.forMs);
      network.slow(agentIndex, blow.byMs, blow.forMs);
      return;
    case 'killSession':
      note([agentIndex], blow.forMs);
      agent.kill(blow.forMs);
      return;
    case 'stopSession':
      note([agentIndex], blow.forMs + 5_000);
      agent.stop(blow.forMs);
      return;
    case 'freezeSession':
      note([agentIndex], blow.forMs);
      agent.process.freeze(blow.forMs);
      return;
    case 'killHelper':
      note([agentIndex], 0);
      machine.helper?.process.end();
      return;
    case 'killBoth':
      note([agentIndex], blow.forMs);
      machine.helper?.process.end();
      agent.kill(blow.forMs);
      return;
    case 'freezeMachine':
      note([agentIndex], blow.forMs);
      agent.process.freeze(blow.forMs);
      machine.standStill(blow.forMs);
      return;
    case 'rebootMachine':
      note([agentIndex], blow.forMs);
      reboot(simulation, agentIndex, blow.forMs);
      return;
    case 'diskFull':
      note([agentIndex], blow.forMs);
      machine.disk.isFull = true;
      kernel.after(blow.forMs, null, `${machine.name} has room again`, () => {
        machine.disk.isFull = false;
      });
      return;
    case 'stepWallClock':
      note([agentIndex], 0);
      machine.wallOffsetMs += blow.byMs;
      return;
    case 'restoreFolder':
      restoreFolder(simulation, agentIndex, blow);
      return;
    case 'copyFolder':
      copyFolder(simulation, agentIndex, blow);
      return;
    case 'damageJournal':
      note([agentIndex], 2_000);
      simulation.damaged.add(agent.identity.agentId);
      agent.kill(2_000);
      machine.disk.damage('agent/journal');
      return;
    default:
      blow satisfies never;
  }
}

function reboot(simulation: Simulation, index: number, forMs: number): void {
  const agent = simulation.agents[index];
  if (!agent || agent.isDown) return;
  agent.powerOff();
  simulation.kernel.after(forMs, null, `${agent.machine.name} has power again`, () => {
    if (agent.isDown) agent.powerOn();
  });
}

/** The machine is put back to how its disk was some time ago. */
function restoreFolder(
  simulation: Simulation,
  index: number,
  blow: Extract<Blow, { afterMs: number }>,
): void {
  const { kernel } = simulation;
  const agent = simulation.agents[index];
  if (!agent || agent.isDown) return;
  const copy = agent.machine.copyFolder();
  const { agentId } = agent.identity;
  const since = simulation.database.clock();
  kernel.after(blow.afterMs, null, `${agent.machine.name} is put back`, () => {
    if (agent.isDown || agent.identity.agentId !== agentId) return;
    // It would be locked out when people have mended all.
    if (untilMended(simulation) < 60_000) return;
    simulation.note(blow.kind, agent.machine.name, [index], untilMended(simulation));
    simulation.betray(index, since);
    agent.powerOff();
    agent.machine.restoreFolder(copy);
    suspectOld(simulation, agent);
    kernel.after(5_000, null, `${agent.machine.name} has power again`, () => {
      if (agent.isDown) agent.powerOn();
    });
  });
}

/** A second machine begins with a copy of the folder, and goes after a while. */
function copyFolder(simulation: Simulation, index: number, blow: Extract<Blow, { afterMs: number }>): void {
  const agent = simulation.agents[index];
  if (!agent || agent.isDown) return;
  simulation.note(blow.kind, agent.machine.name, [index], untilMended(simulation));
  simulation.betray(index, simulation.database.clock());
  const copy = simulation.cloneOf(agent);
  copy.machine.restoreFolder(agent.machine.copyFolder());
  copy.powerOn();
  suspectCopy(simulation, agent, copy);
  simulation.kernel.after(blow.afterMs, null, `the copy of ${agent.machine.name} goes`, () =>
    copy.powerOff(),
  );
}

/** An agent that is found out stays locked out until a person brings it in anew. */
function untilMended({ kernel, world }: Simulation): number {
  return Math.max(60_000, world.durationMs - TAIL_MS) + HEAL_MS + 30_000 - kernel.now;
}
