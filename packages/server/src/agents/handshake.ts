import {
  type AgentMessage,
  agentProof,
  PROTOCOL_VERSION,
  type ServerMessage,
  serverProof,
} from '@rota/contract';
import type { Random } from '../random.ts';
import type { Store } from '../store/store.ts';
import type { AgentRow } from '../store/tables.ts';
import { type ServerKeys, signText, verifyText } from './permits.ts';

type Hello = Extract<AgentMessage, { type: 'hello' }>;
type Resume = Extract<AgentMessage, { type: 'resume' }>;
type Rejection = Extract<ServerMessage, { type: 'rejected' }>;

/** What is open between the first message of a connection and its welcome. */
export interface Greeting {
  hello: Hello;
  serverNonce: string;
  agent: AgentRow;
}

export interface Opened {
  agent: AgentRow;
  sessionEpoch: number;
  nonce: string;
  /** It has to tell its history before anything else. */
  recovering: boolean;
}

/**
 * Answers a hello with the server's proof and a challenge. An unknown agent is told so only after it could have been known:
 * ids are random and long, so that asking for them teaches nothing.
 */
export async function greet(
  ports: { store: Store; random: Random; keys: ServerKeys },
  hello: Hello,
): Promise<{ greeting: Greeting; challenge: ServerMessage } | { rejected: Rejection }> {
  if (hello.protocol !== PROTOCOL_VERSION) {
    return {
      rejected: reject(
        'protocol',
        `this server speaks version ${PROTOCOL_VERSION} of the agent protocol, not ${hello.protocol}`,
      ),
    };
  }
  const agent = await ports.store.readAgentById({ agentId: hello.agentId });
  if (!agent)
    return {
      rejected: reject('unknownAgent', 'this server does not know the agent; join again with a join token'),
    };
  const serverNonce = newNonce(ports.random);
  const signature = signText(ports.keys.privateKey, serverProof(hello, serverNonce));
  return {
    greeting: { hello, serverNonce, agent },
    challenge: { type: 'challenge', serverNonce, keyId: ports.keys.id, signature },
  };
}

/** Checks the agent's proof and begins its session in the store, or quarantines a copy. */
export async function admit(
  ports: { store: Store; random: Random },
  replicaId: string,
  greeting: Greeting,
  resume: Resume,
): Promise<{ opened: Opened } | { rejected: Rejection }> {
  const { agent, hello } = greeting;
  if (!verifyText(agent.publicKey, agentProof(greeting, hello, resume), resume.signature)) {
    return { rejected: reject('badSignature', 'the signature is not by the key that the agent joined with') };
  }
  const nonce = newNonce(ports.random);
  const answer = await ports.store.openSession({
    tenantId: agent.tenantId,
    agentId: agent.id,
    knownEpoch: agent.sessionEpoch,
    replicaId,
    lastNonce: resume.lastNonce,
    newNonce: nonce,
    journalSeq: resume.journalSeq,
    bootId: resume.bootId,
    facts: resume.facts,
    maxParallel: resume.maxParallel,
    draining: resume.draining,
  });
  if ('rejected' in answer) return { rejected: reject(answer.rejected, answer.detail) };
  const { sessionEpoch, recovering = false } = answer;
  return { opened: { agent, sessionEpoch, nonce, recovering } };
}

export function reject(code: Rejection['code'], message: string): Rejection {
  return { type: 'rejected', code, message };
}

function newNonce(random: Random): string {
  return Buffer.from(random.bytes(24)).toString('base64url');
}
