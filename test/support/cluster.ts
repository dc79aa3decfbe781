import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, createClient } from '@rota/contract';
import pg from 'pg';
import { type BreakableDatabase, startDatabase } from './database.ts';
import { type FaultProxy, startFaultProxy } from './faultProxy.ts';
import { Installation, processesWith, type RotaProcess } from './installation.ts';
import { until } from './until.ts';

/** A replica or an agent: a real process that comes and goes under one name. */
export interface Member {
  readonly name: string;
  process: RotaProcess;
}

/**
 * Several real servers on one real database and agents that know them all, with a faulty wire between any two of them.
 * Clients reach the servers directly.
 */
export class Cluster {
  readonly installation = new Installation();
  readonly replicas: Member[] = [];
  readonly agents: Member[] = [];
  readonly #database: BreakableDatabase;
  /** From each replica to the database. */
  readonly #databaseLinks = new Map<string, FaultProxy>();
  /** From each agent to each replica, in the order in which the agent tries them. */
  readonly #links = new Map<string, { replica: string; proxy: FaultProxy }[]>();

  readonly #mounted: string[] = [];

  private constructor(database: BreakableDatabase) {
    this.#database = database;
  }

  /** `smallDisk`: name of an agent whose state folder gets a small disk of its own, which only root can make. */
  static async start(size: { replicas: number; agents: number; smallDisk?: string }): Promise<Cluster> {
    const cluster = new Cluster(await startDatabase());
    if (size.smallDisk !== undefined) cluster.#mountSmallDisk(size.smallDisk);
    try {
      for (let number = 1; number <= size.replicas; number++) await cluster.#addReplica(`replica-${number}`);
      await Promise.all(
        Array.from({ length: size.agents }, (_, index) => cluster.#addAgent(`agent-${index + 1}`, index)),
      );
      await cluster.whenAgentsOnline();
    } catch (error) {
      await cluster.remove();
      throw error;
    }
    return cluster;
  }

  get database(): BreakableDatabase {
    return this.#database;
  }

  databaseUrl(port = this.#database.port): string {
    return `postgres://postgres@127.0.0.1:${port}/${this.#database.name}`;
  }

  databaseLink(replica: Member): FaultProxy {
    return this.#databaseLinks.get(replica.name) as FaultProxy;
  }

  linksOf(agent: Member): { replica: string; proxy: FaultProxy }[] {
    return this.#links.get(agent.name) as { replica: string; proxy: FaultProxy }[];
  }

  async #addReplica(name: string): Promise<void> {
    const { port } = this.#database;
    this.#databaseLinks.set(name, await startFaultProxy(() => ({ host: '127.0.0.1', port })));
    this.replicas.push({ name, process: await this.#startReplica(name) });
  }

  #startReplica(name: string): Promise<RotaProcess> {
    const link = this.#databaseLinks.get(name) as FaultProxy;
    return this.installation.startServer(['--listen', '127.0.0.1:0'], {
      name,
      env: {
        ROTA_DATABASE: this.databaseUrl(link.port),
        ROTA_MASTER_KEY_FILE: join(this.installation.folder, 'master-key'),
      },
    });
  }

  async restartReplica(replica: Member): Promise<void> {
    replica.process = await this.#startReplica(replica.name);
  }

  async #addAgent(name: string, index: number): Promise<void> {
    const links = await Promise.all(
      this.replicas.map(async ({ name: replica }) => ({
        replica,
        proxy: await startFaultProxy(() => this.installation.address(replica)),
      })),
    );
    // Each begins with another replica, so that all of them hold some.
    const turned = links.map((_, at) => links[(at + index) % links.length] as (typeof links)[number]);
    this.#links.set(name, turned);
    this.agents.push({ name, process: await this.#startAgent(name) });
  }

  async #startAgent(name: string): Promise<RotaProcess> {
    const [first, ...others] = (this.#links.get(name) ?? []).map(
      ({ proxy }) => `http://127.0.0.1:${proxy.port}`,
    );
    return this.installation.startAgent(name, {
      url: first as string,
      args: others.flatMap((url) => ['--url', url]),
      joinToken: () => this.joinToken(),
    });
  }

  async joinToken(): Promise<string> {
    return (await this.ask((client) => client.call('createJoinToken', { body: {} }))).token;
  }

  async restartAgent(agent: Member): Promise<void> {
    agent.process = await this.#startAgent(agent.name);
  }

  /** Ends an agent with its helper and all that it runs, as a machine does that loses its power. */
  async killHost(agent: Member): Promise<void> {
    const { folder } = this.installation;
    const jobs = new Set(processesWith(`ROTA_AGENT=${agent.name}\0`));
    const own = processesWith(`${this.installation.home(agent.name)}/`);
    const pids = [...own, ...processesWith(`${folder}/`).filter((pid) => jobs.has(pid))];
    for (const pid of new Set([agent.process.child.pid as number, ...pids])) kill(pid);
    await agent.process.exited;
  }

  /** Asks the replicas, one after the other, until one answers. */
  async ask<T>(
    question: (client: Client) => Promise<T>,
    replicas: readonly Member[] = this.replicas,
  ): Promise<T> {
    let failure: unknown;
    for (const replica of replicas) {
      try {
        return await question(this.clientOf(replica));
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  clientOf(replica: Member): Client {
    return createClient({
      url: this.installation.url(replica.name),
      token: this.installation.token('replica-1'),
      fetch: (url, init) => fetch(url, { ...init, signal: AbortSignal.timeout(ANSWER_MS) }),
    });
  }

  async whenAgentsOnline(timeoutMs = 60_000): Promise<void> {
    await until(
      'all agents online',
      async () => {
        const { items } = await this.ask((client) => client.call('listAgents', {}));
        const states = new Map(items.map(({ name, state }) => [name, state]));
        const missing = this.agents.find(({ name }) => states.get(name) !== 'online');
        if (missing)
          throw new Error(
            `${missing.name} is ${states.get(missing.name)}; it says: ${this.installation.log(missing.name).slice(-2_000)}`,
          );
        return true;
      },
      timeoutMs,
    );
  }

  #mountSmallDisk(agent: string): void {
    const home = this.installation.home(agent);
    mkdirSync(home, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SMALL_DISK}`, 'tmpfs', home]);
    this.#mounted.push(home);
  }

  /** Asks the database itself. */
  async query<T extends object>(text: string, values: unknown[] = []): Promise<T[]> {
    const client = new pg.Client({ connectionString: this.databaseUrl() });
    client.on('error', () => {});
    client.setTypeParser(20, Number);
    await client.connect();
    try {
      return (await client.query<T>(text, values)).rows;
    } finally {
      await client.end();
    }
  }

  async remove(): Promise<void> {
    const proxies = [
      ...this.#databaseLinks.values(),
      ...[...this.#links.values()].flat().map(({ proxy }) => proxy),
    ];
    await this.installation.kill();
    for (const home of this.#mounted) execFileSync('umount', ['--lazy', home]);
    await this.installation.remove();
    await Promise.all(proxies.map((proxy) => proxy.close()));
  }
}

/** Above the 64 MiB below which an agent takes no work. */
const SMALL_DISK = '96m';

/** How long a client waits for a server that may be frozen. */
const ANSWER_MS = 5_000;

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has just ended
  }
}
