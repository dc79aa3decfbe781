// An agent without disk and processes, which answers each message at once: what is left is the server's own work.
// node bench/scriptedAgent.ts <url> <identity file> <maxParallel>, with a join token in ROTA_JOIN_TOKEN the first time.
import { createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import {
  type AgentFacts,
  type AgentMessage,
  agentProof,
  createClient,
  PROTOCOL_VERSION,
  type ServerMessage,
} from '@rota/contract';
import { WebSocket } from 'ws';

const [url = '', identityFile = '', maxParallel = '10000'] = process.argv.slice(2);

const FACTS: AgentFacts = {
  hostname: 'scripted',
  os: '',
  arch: '',
  kernel: '',
  cpus: 1,
  memoryBytes: 0,
  bootedAt: 0,
  addresses: [],
  timezone: 'UTC',
  agentVersion: 'bench',
  runtime: '',
  pid: process.pid,
  user: '',
};

interface Identity {
  agentId: string;
  privateKey: string;
  journalSeq: number;
  nonce: string | null;
}

const identity: Identity = existsSync(identityFile)
  ? JSON.parse(readFileSync(identityFile, 'utf8'))
  : await join();

async function join(): Promise<Identity> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const joined = await createClient({ url, token: null, fetch }).call('joinAgent', {
    body: {
      token: process.env.ROTA_JOIN_TOKEN ?? '',
      name: 'scripted',
      publicKey: publicKey.toString('base64url'),
      facts: FACTS,
    },
  });
  return { agentId: joined.agentId, privateKey, journalSeq: 0, nonce: null };
}

const bootMs = () => Math.round(performance.now());
const bootId = String(process.pid);
const clientNonce = randomBytes(24).toString('base64url');
const socket = new WebSocket(new URL('/agent', url.replace(/^http/, 'ws')), { perMessageDeflate: false });
const send = (message: AgentMessage) => socket.send(JSON.stringify(message));

function answer(message: ServerMessage): void {
  switch (message.type) {
    case 'challenge': {
      const resume = { bootId, journalSeq: identity.journalSeq, lastNonce: identity.nonce };
      const proof = agentProof(message, { agentId: identity.agentId, clientNonce }, resume);
      const signature = sign(null, Buffer.from(proof), createPrivateKey(identity.privateKey)).toString(
        'base64url',
      );
      send({
        type: 'resume',
        signature,
        ...resume,
        bootMs: bootMs(),
        facts: FACTS,
        maxParallel: Number(maxParallel),
        draining: false,
        attempts: [],
      });
      return;
    }
    case 'welcome':
      identity.nonce = message.nonce;
      writeFileSync(identityFile, JSON.stringify(identity));
      send({ type: 'ready', nonce: message.nonce });
      setInterval(sendStatus, message.heartbeatMs);
      return;
    case 'offer': {
      const { attemptId, epoch } = message;
      identity.journalSeq += 1;
      send({
        type: 'accept',
        attemptId,
        epoch,
        bootId,
        bootMs: bootMs(),
        journalSeq: identity.journalSeq,
      });
      return;
    }
    case 'permit':
      carryOut(JSON.parse(message.payload) as { attemptId: string; epoch: number });
      return;
    case 'rejected':
      throw new Error(message.message);
    case 'withdraw':
    case 'cancel':
    case 'ack':
    case 'leaving':
      return;
    default:
      message satisfies never;
  }
}

function carryOut({ attemptId, epoch }: { attemptId: string; epoch: number }): void {
  identity.journalSeq += 1;
  const { journalSeq } = identity;
  send({ type: 'started', attemptId, epoch, seq: 1, pid: 1, journalSeq });
  send({
    type: 'ended',
    attemptId,
    epoch,
    seq: 2,
    journalSeq,
    end: {
      outcome: 'succeeded',
      reason: null,
      exitCode: 0,
      signal: null,
      error: null,
      durationMs: 1,
      cpuMs: 1,
      maxRssBytes: 1,
      outputBytes: 0,
      outputDroppedBytes: 0,
      http: null,
      steps: [],
      result: null,
      summary: null,
    },
  });
}

function sendStatus(): void {
  send({
    type: 'status',
    bootMs: bootMs(),
    active: 0,
    maxParallel: Number(maxParallel),
    draining: false,
    blocked: null,
  });
}

socket.on('open', () =>
  send({
    type: 'hello',
    protocol: PROTOCOL_VERSION,
    agentId: identity.agentId,
    clientNonce,
    agentVersion: 'bench',
  }),
);
socket.on('message', (data) => answer(JSON.parse(String(data)) as ServerMessage));
socket.on('close', () => process.exit());
