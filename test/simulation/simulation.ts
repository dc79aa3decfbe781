import { createHash } from 'node:crypto';
import { readJob } from '@rota/contract';
import { joinAgent } from '../../packages/server/src/store/agents.ts';
import { createJoinToken } from '../../packages/server/src/store/joinTokens.ts';
import { createTenant } from '../../packages/server/src/store/tenants.ts';
import type { Decision, Fault as FaultWindow } from '../history/history.ts';
import { keyOf, SimAgent, type SimIdentity } from './agent.ts';
import { SimDatabase } from './database.ts';
import { Kernel } from './kernel.ts';
import type { Suspect } from './lockout.ts';
import { type Evidence, Machine } from './machine.ts';
import { SimNetwork } from './network.ts';
import { Seeded } from './random.ts';
import { type Served, SimServer } from './server.ts';
import type { SimJob, World } from './world.ts';

export const TENANT = 'acme';
/** When each world begins: soon clocks will change in Berlin. */
export const EPOCH_MS = Date.UTC(2026, 2, 29, 0, 40, 0);

/** A world brought to life: all its parts, and what is known of what was done to it. */
export class Simulation {
  readonly world: World;
  readonly kernel: Kernel;
  readonly database: SimDatabase;
  readonly network: SimNetwork;
  readonly servers: SimServer[];
  readonly agents: SimAgent[];
  readonly evidence: Evidence[] = [];
  /** What was done, as the checker wants to know it. */
  readonly faults: FaultWindow[] = [];
  readonly decisions: Decision[] = [];
  readonly acknowledged: string[] = [];
  /** Further attempts that people asked for at once, or did not want. */
  readonly hurried: Decision[] = [];
  readonly dropped: Decision[] = [];
  /** Agents whose folder was put back or copied: from then on their promises are not worth what they were. */
  readonly betrayed = new Map<string, number>();
  /** Agents whose journal was damaged: it may look like an older one. */
  readonly damaged = new Set<string>();
  /** Copies and older states of folders, and who must not come online with them; see `lockout.ts`. */
  readonly suspects: Suspect[] = [];
  /** What was found to be wrong while the world went on. */
  readonly findings: { invariant: string; sentence: string }[] = [];
  readonly random: Seeded;
  readonly #publicKey: string;
  #identities = 0;
  #machines = 0;

  constructor(world: World, listener: ((line: string) => void) | null = null) {
    this.world = world;
    this.random = new Seeded(`${world.seed} operator`);
    const ties = new Seeded(`${world.seed} ties`);
    this.kernel = new Kernel(() => ties.unit(), listener);
    const { kernel } = this;
    this.database = new SimDatabase(kernel, new Seeded(`${world.seed} database`), {
      epochMs: EPOCH_MS,
      latency: world.latency.database,
      standbyLagMs: world.standbyLagMs,
    });
    this.network = new SimNetwork(kernel, new Seeded(`${world.seed} network`), world.latency.network);
    this.database.commit(
      [(transaction) => createTenant(transaction, { id: TENANT, name: TENANT, timezone: 'UTC' })],
      EPOCH_MS,
    );
    const key = keyOf(new Seeded('server key').bytes(32));
    this.servers = Array.from(
      { length: world.replicas },
      (_, index) =>
        new SimServer({
          kernel,
          network: this.network,
          database: this.database,
          index,
          seed: world.seed,
          key,
          noticeLoss: world.noticeLoss,
        }),
    );
    for (const server of this.servers) server.peers = this.servers;
    this.agents = world.agents.map((_, index) => this.#makeAgent(index, this.join(index), key.publicKey));
    this.#publicKey = key.publicKey;
  }

  #makeAgent(index: number, identity: SimIdentity, serverKey: string): SimAgent {
    const { world, kernel } = this;
    const agent = world.agents[index] as World['agents'][number];
    const urls = this.servers.map(({ url }) => url);
    this.#machines += 1;
    const machine = new Machine({
      kernel,
      name: `agent-${index}`,
      index,
      seed: `${world.seed} ${this.#machines}`,
      rate: agent.rate,
      epochMs: EPOCH_MS,
      disk: world.latency.disk,
      spawn: world.latency.spawn,
      evidence: this.evidence,
      behaviourOf: (name) => world.jobs.find((job) => job.name === name)?.behaviour as SimJob['behaviour'],
    });
    return new SimAgent({
      kernel,
      network: this.network,
      random: new Seeded(`${world.seed} agent ${this.#machines}`),
      machine,
      index,
      identity,
      urls: [...urls.slice(index % urls.length), ...urls.slice(0, index % urls.length)],
      maxParallel: agent.maxParallel,
      keys: () => [{ id: 'key', publicKey: serverKey }],
    });
  }

  /** A second machine with the identity of an agent. */
  cloneOf(agent: SimAgent): SimAgent {
    return this.#makeAgent(agent.index, agent.identity, this.#publicKey);
  }

  /** From now on, and for what was begun shortly before, nobody can rely on what this agent's disk says. */
  betray(index: number, since: number): void {
    const agentId = this.agents[index]?.identity.agentId ?? '';
    const before = this.betrayed.get(agentId);
    this.betrayed.set(agentId, Math.min(before ?? Number.POSITIVE_INFINITY, since));
  }

  /** A new identity for the agent of a machine, as a join token gives it. */
  join(index: number): SimIdentity {
    const number = ++this.#identities;
    const agentId = `agentid${String(number).padStart(13, '0')}`;
    const name = `agent-${index}`;
    const { privateKey, publicKey } = keyOf(new Seeded(`key ${number}`).bytes(32));
    const token = { id: `token${number}`, secret: 'secret' };
    const orderNumber = this.world.agents[index]?.order ?? 100;
    const now = this.database.clock();
    const [, joined] = this.database.commit(
      [
        (transaction) =>
          createJoinToken(transaction, {
            tenantId: TENANT,
            id: token.id,
            hash: createHash('sha256').update(token.secret).digest('base64url'),
            labelsJson: '{}',
            createdBy: null,
            expiresInMs: 60_000,
          }),
        (transaction) =>
          joinAgent(transaction, {
            token,
            agentId,
            name,
            publicKey,
            labels: {},
            orderNumber,
            facts: {} as never,
          }),
      ],
      now,
    );
    if (typeof joined === 'string') throw new Error(`agent ${index} could not join: ${joined}`);
    return { agentId, name, privateKey, publicKey };
  }

  /** A replica that takes requests, chosen by chance; null when none does. */
  served(): Served | null {
    const able = this.servers.filter(({ served, process }) => served !== null && !process.frozen);
    return able.length === 0 ? null : this.random.pick(able).served;
  }

  async saveJob(job: SimJob, fields: Record<string, unknown>): Promise<boolean> {
    const served = this.served();
    if (!served) return false;
    const action = fields.steps === undefined ? { command: 'true' } : {};
    const read = readJob({ name: job.name, ...action, ...fields }, { timezone: 'UTC' });
    if (!('job' in read)) throw new Error(JSON.stringify(read));
    const { document, definition } = read.job;
    await served.store.saveJobs({
      tenantId: TENANT,
      by: 'operator',
      jobs: [
        {
          id: job.name,
          name: job.name,
          documentJson: JSON.stringify(document),
          enabled: true,
          scheduled: definition.schedules.length > 0,
          everyTexts: definition.schedules.flatMap(({ every }) => (every === undefined ? [] : [every])),
        },
      ],
      paused: false,
      owner: null,
      prune: false,
      expectedRevision: null,
    });
    served.hints.give('plan');
    served.hints.give('dispatch');
    return true;
  }

  /** Notes a disturbance for the checker, from now on. */
  note(kind: string, what: string, agents: number[] | null, forMs: number): void {
    const from = this.database.clock();
    this.faults.push({
      kind,
      from,
      to: from + forMs,
      what,
      agents: agents?.map((index) => this.agents[index]?.identity.agentId ?? '') ?? null,
    });
  }
}
