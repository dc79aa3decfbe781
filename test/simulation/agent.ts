import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import type { AgentFacts, ServerKey } from '@rota/contract';
import { openJournal } from '../../packages/agent/src/journal.ts';
import type { Log } from '../../packages/agent/src/ports.ts';
import { type AgentState, isLastWord, type Session, startSession } from '../../packages/agent/src/session.ts';
import { createWork, type Work } from '../../packages/agent/src/work.ts';
import { type Kernel, Process } from './kernel.ts';
import type { Machine } from './machine.ts';
import type { SimNetwork } from './network.ts';
import type { Seeded } from './random.ts';

export interface SimIdentity {
  agentId: string;
  name: string;
  privateKey: KeyObject;
  publicKey: string;
}

/** An Ed25519 key of 32 bytes that a seed gives. */
export function keyOf(bytes: Uint8Array): { privateKey: KeyObject; publicKey: string } {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), bytes]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).toString('base64url');
  return { privateKey, publicKey };
}

const FACTS: AgentFacts = {
  hostname: 'simulated',
  os: 'simulated',
  arch: 'x64',
  kernel: '',
  cpus: 1,
  memoryBytes: 0,
  bootedAt: 0,
  addresses: [],
  timezone: 'UTC',
  agentVersion: '0',
  runtime: '',
  pid: 1,
  user: 'root',
};

/** Journals of a simulation are small, so that their growth and their rewriting are seen. */
const EXTENT_BYTES = 4_096;
const COMPACT_BYTES = 8_192;
/** It believes that it is online before the server has confirmed it. */
const CONFIRMED_MS = 5_000;
/** How long a supervisor waits until it starts the session process again. */
const RESTART_MS = 1_000;

/** The agent's session process on a machine, started again whenever it ends: the real one, but for its ports. */
export class SimAgent {
  readonly index: number;
  readonly machine: Machine;
  identity: SimIdentity;
  process: Process;
  state: AgentState = { state: 'stopped' };
  /** When it was online last, in the world's time. */
  onlineAt = Number.NEGATIVE_INFINITY;
  /** Not started again: the machine is off, or someone has stopped it. */
  isDown = true;
  readonly #kernel: Kernel;
  readonly #network: SimNetwork;
  readonly #random: Seeded;
  readonly #urls: string[];
  readonly #maxParallel: number;
  readonly #keys: () => ServerKey[];
  #session: Session | null = null;
  #work: Work | null = null;

  constructor(options: {
    kernel: Kernel;
    network: SimNetwork;
    random: Seeded;
    machine: Machine;
    index: number;
    identity: SimIdentity;
    urls: string[];
    maxParallel: number;
    keys(): ServerKey[];
  }) {
    this.#kernel = options.kernel;
    this.#network = options.network;
    this.#random = options.random;
    this.machine = options.machine;
    this.index = options.index;
    this.identity = options.identity;
    this.#urls = options.urls;
    this.#maxParallel = options.maxParallel;
    this.#keys = options.keys;
    this.process = new Process(options.kernel, `no session of ${options.machine.name}`);
    this.process.end();
  }

  /** Starts the session process, unless it runs. */
  start(): void {
    this.isDown = false;
    if (!this.process.ended) return;
    const process = new Process(this.#kernel, `session of ${this.machine.name}`);
    this.process = process;
    process.onEnd(() => {
      this.#session = null;
      this.#work = null;
    });
    process.after(this.machine.spawnDelay() * 20, 'a session starts', () => {
      this.#run(process).catch((error) => {
        this.#kernel.trace(process.name, `cannot start: ${(error as Error).message}`);
        this.kill(RESTART_MS);
      });
    });
  }

  /** SIGKILL; a supervisor starts it again. */
  kill(restartMs: number): void {
    this.#network.processEnded(this.process, false);
    this.process.end();
    this.#startAgain(restartMs);
  }

  /** Asks it to stop; it says goodbye. */
  stop(restartMs: number): void {
    const { process } = this;
    const session = this.#session;
    const work = this.#work;
    if (!session || !work) {
      this.kill(restartMs);
      return;
    }
    const leave = async () => {
      work.drain();
      await session.stop();
      await work.close();
    };
    void leave().then(() => {
      if (this.process === process && !process.ended) this.kill(restartMs);
    });
  }

  /** The machine loses its power. */
  powerOff(): void {
    this.isDown = true;
    this.#network.processEnded(this.process, true);
    this.process.end();
    this.machine.powerOff();
  }

  powerOn(): void {
    this.machine.boot();
    this.start();
  }

  #startAgain(afterMs: number): void {
    this.#kernel.after(afterMs, null, `${this.machine.name}: its supervisor looks`, () => {
      if (!this.isDown) this.start();
    });
  }

  async #run(process: Process): Promise<void> {
    const { machine, identity } = this;
    const clock = machine.clockOf(process);
    const { bootId } = machine;
    const log: Log = {
      debug: () => {},
      info: () => {},
      warn: (_fields, message) => this.#kernel.trace(process.name, `warns: ${message}`),
      error: (_fields, message) => this.#kernel.trace(process.name, `fails: ${message}`),
    };
    const disk = machine.disk.of(process, this.index);
    const { journal } = await openJournal({
      folder: 'agent',
      disk,
      now: { bootId, bootMs: clock.bootMs() },
      extentBytes: EXTENT_BYTES,
      compactBytes: COMPACT_BYTES,
    });
    let session: Session | undefined;
    const work = createWork({
      agentId: identity.agentId,
      bootId,
      maxParallel: this.#maxParallel,
      journal,
      spool: machine.spool.of(process),
      clock,
      log,
      environment: {},
      meetHelper: () => machine.meetHelper(process),
      isDiskFull: () => machine.disk.isFull,
      changed: () => session?.sendStatus(),
    });
    await work.recover();
    this.#work = work;
    let keys = this.#keys();
    session = startSession({
      agentId: identity.agentId,
      bootId,
      agentVersion: '0',
      urls: this.#urls,
      maxParallel: this.#maxParallel,
      clock,
      random: {
        unit: () => this.#random.unit(),
        token: (bytes) => Buffer.from(this.#random.bytes(bytes)).toString('base64url'),
      },
      connect: (url, events) => this.#network.dial({ index: this.index, process }, url, events),
      journal,
      work,
      log,
      facts: () => FACTS,
      sign: (text) => sign(null, Buffer.from(text), identity.privateKey).toString('base64url'),
      keys: () => keys,
      learn: async (learned) => {
        keys = learned;
      },
      stateChanged: (state) => {
        if (process.ended) return;
        this.state = state;
        if (state.state === 'online') {
          process.after(CONFIRMED_MS, 'has been online for a while', () => {
            if (this.state === state) this.onlineAt = this.#kernel.now;
          });
        }
        this.#kernel.trace(process.name, `is ${state.state}`);
        if (state.state === 'rejected' && isLastWord(state.code) && work.active === 0) this.isDown = true;
      },
    });
    this.#session = session;
  }
}
