import { createPublicKey, generateKeyPairSync, type KeyObject, randomUUID, sign, verify } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import {
  type Action,
  type AgentMessage,
  type AttemptEnd,
  agentProof,
  type CommandAction,
  type LocalTime,
  type Permit,
  parseAgentMessage,
  permitProof,
  type RunKey,
  type ServerMessage,
  type Step,
  serverProof,
} from '@rota/contract';
import { type WebSocket, WebSocketServer } from 'ws';
import { generateKeys, type Identity } from './identity.ts';

type Message<T extends AgentMessage['type']> = Extract<AgentMessage, { type: T }>;

/** What the server has committed of one attempt. */
export interface Committed {
  seq: number;
  output: string;
  chunks: number;
  droppedBytes: number;
  end: AttemptEnd | null;
  /** How many times an end or a refusal came. */
  ends: number;
  refused: string | null;
}

/** Speaks the server's side of the agent protocol on a real socket, and can be told to misbehave. */
export class FakeServer {
  readonly messages: AgentMessage[] = [];
  readonly committed = new Map<string, Committed>();
  readonly keyId = 'k1';
  #keys = generateKeyPairSync('ed25519');
  readonly #server: WebSocketServer;
  readonly #folders: string[] = [];
  readonly #waiting = new Set<() => void>();
  #socket: WebSocket | null = null;
  #agentKey: KeyObject | null = null;
  #attempts = 0;
  /** Attempt ids are unique on the machine: by them an agent finds the processes that it has to end. */
  readonly #id = randomUUID();
  /** Every nonce that it gave, the newest last. */
  readonly nonces: string[] = [];
  /** Answers nothing about attempts while false. */
  acks = true;
  /** What a resume is answered with instead of a welcome. */
  rejection: Extract<ServerMessage, { type: 'rejected' }> | null = null;
  /** Signs challenges with a key that nobody trusts. */
  isImpostor = false;
  heartbeatMs = 1_000;
  /** Whether a welcome asks for the history. */
  recovering = false;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    server.on('connection', (socket) => this.#serve(socket));
  }

  static async start(): Promise<FakeServer> {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/agent' });
    await new Promise((resolve) => server.once('listening', resolve));
    return new FakeServer(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A state folder of an agent that has joined this server. */
  makeFolder(parent = tmpdir()): string {
    const folder = mkdtempSync(`${parent}/rota-agent-`);
    this.#folders.push(folder);
    const { privateKey, publicKey } = generateKeys();
    this.trust(publicKey);
    const key = this.#keys.publicKey.export({ format: 'der', type: 'spki' }).toString('base64url');
    const identity: Identity = {
      agentId: 'agent-1',
      name: 'one',
      tenant: 'default',
      urls: [this.url],
      privateKey,
      keys: [{ id: this.keyId, publicKey: key }],
    };
    writeFileSync(`${folder}/identity.json`, JSON.stringify(identity), { mode: 0o600 });
    return folder;
  }

  /** Knows the agent of another server, and is known to it, as servers of one database are. */
  joins(other: FakeServer): void {
    this.#keys = other.#keys;
    this.#agentKey = other.#agentKey;
  }

  trust(publicKey: string): void {
    this.#agentKey = createKey(publicKey);
  }

  send(message: ServerMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }

  /** Cuts the connection without a word. */
  cut(): void {
    this.#socket?.terminate();
  }

  async stop(): Promise<void> {
    for (const client of this.#server.clients) client.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** The first message that fits, from the beginning or from `after` on; waits for it. */
  async heard<T extends AgentMessage['type']>(
    type: T,
    fits: (message: Message<T>) => boolean = () => true,
    after = 0,
  ): Promise<Message<T>> {
    return this.until(() =>
      this.messages
        .slice(after)
        .find((message): message is Message<T> => message.type === type && fits(message as Message<T>)),
    );
  }

  /** Waits until a message makes `check` give something. */
  async until<R>(check: () => R | undefined | null | false): Promise<R> {
    for (;;) {
      const value = check();
      if (value) return value;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  of(attemptId: string): Committed {
    let committed = this.committed.get(attemptId);
    if (!committed) {
      committed = { seq: 0, output: '', chunks: 0, droppedBytes: 0, end: null, ends: 0, refused: null };
      this.committed.set(attemptId, committed);
    }
    return committed;
  }

  ended(attemptId: string): Promise<AttemptEnd> {
    return this.until(() => this.of(attemptId).end);
  }

  /** An attempt id that nobody has. */
  newId(): string {
    return `run-${++this.#attempts}-${this.#id}`;
  }

  offer(attemptId = this.newId(), epoch = 1, kinds = ['command']): string {
    this.send({ type: 'offer', attemptId, epoch, kinds });
    return attemptId;
  }

  /** Offers an attempt and permits it once it is accepted. */
  async run(action: Action, changes: Partial<Permit> = {}): Promise<string> {
    const attemptId = this.offer(undefined, 1, [action.kind]);
    const accept = await this.heard('accept', (message) => message.attemptId === attemptId);
    this.send(this.permit(accept, action, changes));
    return attemptId;
  }

  permit(
    accept: Message<'accept'>,
    action: Action,
    changes: Partial<Permit> = {},
  ): Extract<ServerMessage, { type: 'permit' }> {
    const permit: Permit = {
      attemptId: accept.attemptId,
      epoch: accept.epoch,
      agentId: 'agent-1',
      bootId: accept.bootId,
      validUntilBootMs: accept.bootMs + 30_000,
      run: {
        id: 'run',
        tenant: 'default',
        job: 'job',
        number: 1,
        scheduledFor: 0,
        kind: 'scheduled',
        local: LOCAL_TIME,
        params: {},
      },
      key,
      agent: { name: 'agent', labels: {} },
      steps: [plainStep(action)],
      secrets: {},
      timeoutMs: null,
      killGraceMs: 5_000,
      output: { headBytes: 1024 * 1024, tailBytes: 1024 * 1024 },
      ...changes,
    };
    const payload = JSON.stringify(permit);
    const signature = this.#sign(permitProof(payload));
    return { type: 'permit', keyId: this.keyId, payload, signature };
  }

  #sign(text: string): string {
    return sign(null, Buffer.from(text), this.#keys.privateKey).toString('base64url');
  }

  #serve(socket: WebSocket): void {
    let hello: Message<'hello'> | null = null;
    const serverNonce = `nonce-${Math.random()}`;
    const say = (message: ServerMessage) => socket.send(JSON.stringify(message));
    socket.on('message', (data) => {
      const parsed = parseAgentMessage(data.toString());
      if ('fault' in parsed)
        throw new Error(`the agent said what the contract does not know: ${parsed.fault}`);
      const { message } = parsed;
      if (message.type === 'hello') {
        hello = message;
        const proof = serverProof(message, serverNonce);
        const impostor = generateKeyPairSync('ed25519').privateKey;
        const signature = this.isImpostor
          ? sign(null, Buffer.from(proof), impostor).toString('base64url')
          : this.#sign(proof);
        say({ type: 'challenge', serverNonce, keyId: this.keyId, signature });
      } else if (message.type === 'resume') {
        const proof = agentProof({ serverNonce }, hello as Message<'hello'>, message);
        const isProven = verify(
          null,
          Buffer.from(proof),
          this.#agentKey as KeyObject,
          Buffer.from(message.signature, 'base64url'),
        );
        if (!isProven) throw new Error('the agent did not prove itself');
        if (this.rejection) say(this.rejection);
        else {
          this.nonces.push(`given-${this.nonces.length + 1}`);
          const key = this.#keys.publicKey.export({ format: 'der', type: 'spki' }).toString('base64url');
          say({
            type: 'welcome',
            sessionEpoch: this.nonces.length,
            nonce: this.nonces.at(-1) as string,
            name: 'one',
            heartbeatMs: this.heartbeatMs,
            keys: [{ id: this.keyId, publicKey: key }],
            recovering: this.recovering,
          });
        }
      } else if (message.type === 'ready') this.#socket = socket;
      else this.#commit(message, say);
      this.messages.push(message);
      this.#wake();
    });
    socket.on('close', () => this.#wake());
  }

  #commit(message: AgentMessage, say: (message: ServerMessage) => void): void {
    if (!('attemptId' in message) || NOT_ACKNOWLEDGED.includes(message.type)) return;
    const committed = this.of(message.attemptId);
    let done = false;
    if (message.type === 'started') committed.seq = Math.max(committed.seq, message.seq);
    else if (message.type === 'output') {
      for (const chunk of message.chunks) {
        if (chunk.seq <= committed.seq) continue;
        committed.seq = chunk.seq;
        committed.droppedBytes += chunk.droppedBytes;
        committed.chunks += 1;
        committed.output += Buffer.from(chunk.data, 'base64').toString('latin1');
      }
    } else if (message.type === 'ended') {
      if (message.seq <= committed.seq && committed.end === null)
        throw new Error('the end does not come last');
      committed.seq = Math.max(committed.seq, message.seq);
      committed.end = message.end;
      committed.ends += 1;
      done = true;
    } else if (message.type === 'refused') {
      committed.refused = message.reason;
      committed.ends += 1;
      done = true;
    }
    if (this.acks)
      say({ type: 'ack', attemptId: message.attemptId, epoch: message.epoch, seq: committed.seq, done });
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}

function createKey(publicKey: string): KeyObject {
  return createPublicKey({ key: Buffer.from(publicKey, 'base64url'), format: 'der', type: 'spki' });
}

/** The key of every permit. */
export const key: RunKey = {
  jobId: 'job',
  revision: 1,
  kind: 'scheduled',
  occurrenceKey: 's:0',
  part: '',
  scheduledFor: 0,
  dueAt: 0,
  startBy: 0,
  timeoutMs: null,
};

/** A command step with the defaults of a job. */
export function command(text: string | string[], changes: Partial<CommandAction> = {}): CommandAction {
  return {
    kind: 'command',
    command: text,
    shell: 'sh',
    env: {},
    user: null,
    cwd: null,
    umask: null,
    stdin: '',
    ...changes,
  };
}

export const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** Messages about an attempt that get no `ack`. */
const NOT_ACKNOWLEDGED: AgentMessage['type'][] = ['accept', 'decline', 'step', 'progress', 'continue'];

/** 1970-01-01, a Thursday. */
export const LOCAL_TIME: LocalTime = { minute: 0, hour: 0, day: 1, month: 1, weekday: 4, timezone: 'UTC' };

/** A chain's only step, which does this and nothing else. */
export function plainStep(action: Action, name = 'main'): Step {
  return { name, action, timeoutMs: null, retry: null, when: null, continueOnFailure: false };
}
