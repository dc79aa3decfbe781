import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import {
  type AgentMessage,
  agentProof,
  type HistoryAttempt,
  type JournalledAttempt,
  type Permit,
  PROTOCOL_VERSION,
  parseServerMessage,
  type ServerMessage,
} from '@rota/contract';
import { WebSocket } from 'ws';
import { SUCCEEDED } from '../attemptReports.testing.ts';
import { signText } from './permits.ts';

type Of<Type extends ServerMessage['type']> = Extract<ServerMessage, { type: Type }>;
type Resume = Extract<AgentMessage, { type: 'resume' }>;
type Ended = Extract<AgentMessage, { type: 'ended' }>;

/** What is on an agent's disk; a copy of it is a copied state folder. */
export interface AgentDisk {
  agentId: string;
  lastNonce: string | null;
  journalSeq: number;
  bootId: string;
  journal: JournalledAttempt[];
  /** What it tells a server that has lost commits. */
  history: HistoryAttempt[];
}

/** A fault of the handshake; what is not named goes as it should. */
export interface HandshakeFaults {
  agentId?: string;
  protocol?: number;
  signWith?: KeyObject;
  resume?: Partial<Resume>;
  /** Stop after this message was sent. */
  stopAfter?: 'hello' | 'resume';
  /** The nonce does not reach the disk. */
  loseNonce?: boolean;
  /** The history is kept back. */
  loseHistory?: boolean;
  /** The nonce that `ready` shows. */
  readyNonce?: string;
}

/** An agent whose every word a test decides, on a real WebSocket. It executes nothing. */
export class ScriptedAgent {
  readonly name: string;
  readonly publicKey: string;
  disk: AgentDisk;
  /** Everything that came on the present connection. */
  received: ServerMessage[] = [];
  maxParallel = 10;
  bootMs = 1_000;
  readonly #privateKey: KeyObject;
  /** Where it dials. */
  dials: () => string;
  #socket: WebSocket | null = null;
  #taken = 0;
  #quit = false;
  #waiting: (() => void)[] = [];
  #closed: Promise<number> = Promise.resolve(0);

  constructor(name: string, url: () => string, keys = newKeys()) {
    this.name = name;
    this.publicKey = keys.publicKey;
    this.disk = {
      agentId: `agent-${name}`,
      lastNonce: null,
      journalSeq: 0,
      bootId: 'boot',
      journal: [],
      history: [],
    };
    this.#privateKey = keys.privateKey;
    this.dials = url;
  }

  /** The same identity with a copy of the disk, on another machine. */
  copy(): ScriptedAgent {
    const copy = new ScriptedAgent(this.name, this.dials, {
      publicKey: this.publicKey,
      privateKey: this.#privateKey,
    });
    copy.disk = structuredClone(this.disk);
    return copy;
  }

  /** Opens a socket and says nothing. */
  async open(): Promise<void> {
    const socket = new WebSocket(this.dials(), { perMessageDeflate: false });
    this.#socket = socket;
    this.received = [];
    this.#taken = 0;
    socket.on('message', (data) => {
      const parsed = parseServerMessage(String(data));
      if ('fault' in parsed) throw new Error(parsed.fault);
      this.received.push(parsed.message);
      this.#wake();
    });
    socket.on('error', () => {});
    this.#closed = new Promise((resolve) => socket.on('close', resolve));
    void this.#closed.then(() => this.#wake());
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
  }

  /** Connects and goes through the handshake, up to a fault. @returns the server's last word in it */
  async connect(faults: HandshakeFaults = {}): Promise<ServerMessage> {
    await this.open();
    const hello = {
      type: 'hello',
      protocol: faults.protocol ?? PROTOCOL_VERSION,
      agentId: faults.agentId ?? this.disk.agentId,
      clientNonce: 'client-nonce',
      agentVersion: '0',
    } as const;
    this.send(hello);
    const challenge = await this.next('challenge', 'rejected');
    if (challenge.type === 'rejected' || faults.stopAfter === 'hello') return challenge;
    const said = {
      bootId: this.disk.bootId,
      bootMs: this.bootMs,
      journalSeq: this.disk.journalSeq,
      lastNonce: this.disk.lastNonce,
      ...faults.resume,
    };
    this.send({
      type: 'resume',
      signature: signText(faults.signWith ?? this.#privateKey, agentProof(challenge, hello, said)),
      facts: FACTS,
      maxParallel: this.maxParallel,
      draining: false,
      attempts: this.disk.journal,
      ...said,
    });
    const welcome = await this.next('welcome', 'rejected');
    if (welcome.type === 'rejected' || faults.stopAfter === 'resume') return welcome;
    if (!faults.loseNonce) this.disk.lastNonce = welcome.nonce;
    if (welcome.recovering && !faults.loseHistory)
      this.send({ type: 'history', attempts: this.disk.history, last: true });
    this.send({ type: 'ready', nonce: faults.readyNonce ?? welcome.nonce });
    return welcome;
  }

  send(message: AgentMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }

  sendRaw(data: string | Buffer): void {
    this.#socket?.send(data);
  }

  /** The next message of one of these types that was not taken yet; others before it are skipped. */
  async next<Type extends ServerMessage['type']>(...types: Type[]): Promise<Of<Type>> {
    for (;;) {
      while (this.#taken < this.received.length) {
        const message = this.received[this.#taken++] as ServerMessage;
        if ((types as string[]).includes(message.type)) return message as Of<Type>;
      }
      if (this.#socket?.readyState === WebSocket.CLOSED)
        throw new Error(`the connection ended before ${types.join(' or ')} came`);
      if (this.#quit) throw new Error(`nobody is waiting for ${types.join(' or ')} any more`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Makes everything fail that waits for a message of this connection. */
  quitWaiting(): void {
    this.#quit = true;
    this.#wake();
  }

  /** Resolves, with the close code, when the connection has ended. */
  closed(): Promise<number> {
    return this.#closed;
  }

  /** Cuts the connection as a broken network does. */
  async cut(): Promise<void> {
    this.#socket?.terminate();
    await this.#closed;
  }

  /** Resolves when the server has read all that was sent so far. */
  async flushed(): Promise<void> {
    const socket = this.#socket as WebSocket;
    await new Promise((resolve) => {
      socket.once('pong', resolve);
      socket.ping();
    });
  }

  journal(attempt: { attemptId: string; epoch: number }, state: JournalledAttempt['state']): number {
    const { attemptId, epoch } = attempt;
    this.disk.journal = this.disk.journal.filter(
      (each) => each.attemptId !== attemptId || each.epoch !== epoch,
    );
    this.disk.journal.push({ attemptId, epoch, state });
    this.disk.journalSeq += 1;
    return this.disk.journalSeq;
  }

  accept(attempt: { attemptId: string; epoch: number }): void {
    const { attemptId, epoch } = attempt;
    const journalSeq = this.journal(attempt, 'accepted');
    this.send({
      type: 'accept',
      attemptId,
      epoch,
      bootId: this.disk.bootId,
      bootMs: this.bootMs,
      journalSeq,
    });
  }

  decline(attempt: { attemptId: string; epoch: number }, code: 'full' | 'diskFull' = 'full'): void {
    const { attemptId, epoch } = attempt;
    this.send({ type: 'decline', attemptId, epoch, code, detail: '' });
  }

  refuse(attempt: { attemptId: string; epoch: number }): void {
    const { attemptId, epoch } = attempt;
    const journalSeq = this.journal(attempt, 'refused');
    this.send({ type: 'refused', attemptId, epoch, reason: 'withdrawn', journalSeq });
  }

  started(attempt: { attemptId: string; epoch: number }): void {
    const { attemptId, epoch } = attempt;
    const journalSeq = this.journal(attempt, 'started');
    this.#remember(attempt, null);
    this.send({ type: 'started', attemptId, epoch, seq: 1, pid: 7, journalSeq });
  }

  output({ attemptId, epoch }: { attemptId: string; epoch: number }, seq: number, text: string): void {
    const data = Buffer.from(text).toString('base64');
    this.send({
      type: 'output',
      attemptId,
      epoch,
      chunks: [{ seq, stream: 'stdout', atMs: 0, droppedBytes: 0, data }],
    });
  }

  ended(attempt: { attemptId: string; epoch: number }, end: Partial<Ended['end']> = {}): void {
    const { attemptId, epoch } = attempt;
    const journalSeq = this.journal(attempt, 'ended');
    this.send({ type: 'ended', attemptId, epoch, seq: 99, end: { ...SUCCEEDED, ...end }, journalSeq });
  }

  /** Ends an attempt and sees that the server has committed it: it is of no more interest but to one that loses that. */
  async settle(
    attempt: { attemptId: string; epoch: number },
    end: Partial<Ended['end']> = {},
  ): Promise<void> {
    this.ended(attempt, end);
    for (;;) {
      const ack = await this.next('ack');
      if (ack.attemptId === attempt.attemptId && ack.done) break;
    }
    this.disk.journal = this.disk.journal.filter(({ attemptId }) => attemptId !== attempt.attemptId);
    this.#remember(attempt, { ...SUCCEEDED, ...end });
  }

  #remember({ attemptId, epoch }: { attemptId: string; epoch: number }, end: Ended['end'] | null): void {
    const known = this.disk.history.find((each) => each.attemptId === attemptId);
    const permit = this.received.find(
      (message) => message.type === 'permit' && permitOf(message).attemptId === attemptId,
    );
    const key = known?.key ?? (permit?.type === 'permit' ? permitOf(permit).key : null);
    this.disk.history = this.disk.history.filter((each) => each !== known);
    this.disk.history.push({
      attemptId,
      epoch,
      state: end === null ? 'started' : 'ended',
      permitted: true,
      key,
      startedMsAgo: 0,
      endedMsAgo: end === null ? null : 0,
      end,
    });
  }

  status(more: Partial<Extract<AgentMessage, { type: 'status' }>> = {}): void {
    const { bootMs, maxParallel } = this;
    this.send({ type: 'status', bootMs, active: 0, maxParallel, draining: false, blocked: null, ...more });
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function newKeys(): { publicKey: string; privateKey: KeyObject } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return { publicKey: publicKey.export({ format: 'der', type: 'spki' }).toString('base64url'), privateKey };
}

/** What a permit message permits. */
export function permitOf(message: Of<'permit'>): Permit {
  return JSON.parse(message.payload) as Permit;
}

const FACTS: Resume['facts'] = {
  hostname: 'host',
  os: 'linux',
  arch: 'x64',
  kernel: '6',
  cpus: 1,
  memoryBytes: 1,
  bootedAt: 0,
  addresses: [],
  timezone: 'UTC',
  agentVersion: '0',
  runtime: 'node',
  pid: 1,
  user: 'root',
};
