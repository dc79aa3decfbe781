import type { TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import { AGENT_MESSAGES, type AgentMessage } from './agentMessages.ts';
import { SERVER_MESSAGES, type ServerMessage } from './serverMessages.ts';

/**
 * What agent and server say to each other on the WebSocket at `/agent`, as JSON text frames.
 *
 * Handshake:  agent `hello` → server `challenge` → agent `resume` → server `welcome` (or `rejected`) → agent `ready`.
 * A start:    server `offer` → agent `accept` (or `decline`) → server `permit` → agent `started` … `output` … `ended`.
 * Reports (`started`, `output`, `ended`) carry (attemptId, seq), are idempotent, and stay with the agent
 * until the server's `ack` says that everything up to that seq is committed.
 * A database that was put back to an older state has lost such commits: `welcome` asks for the agent's `history` then, and
 * the agent tells what it was given to do, also what was acknowledged, before it says `ready`.
 * No message compares clocks of two machines: the agent's readings are of its own boot-time clock.
 */
export const PROTOCOL_VERSION = 1;

/** What the server's key signs in `challenge`, and the agent's key in `resume`: parts joined by a newline. */
export const SERVER_PROOF = 'rota-server-v1';
export const AGENT_PROOF = 'rota-agent-v1';
/** What the server's key signs in `permit`: this, a newline, and the payload's text. */
export const PERMIT_PROOF = 'rota-permit-v1';

/** Text that the server signs to prove itself. */
export function serverProof(hello: { agentId: string; clientNonce: string }, serverNonce: string): string {
  return [SERVER_PROOF, hello.agentId, hello.clientNonce, serverNonce].join('\n');
}

/** Text that the agent signs to prove itself and what it resumes with. */
export function agentProof(
  challenge: { serverNonce: string },
  hello: { agentId: string; clientNonce: string },
  resume: { bootId: string; journalSeq: number; lastNonce: string | null },
): string {
  return [
    AGENT_PROOF,
    hello.agentId,
    challenge.serverNonce,
    hello.clientNonce,
    resume.bootId,
    resume.journalSeq,
    resume.lastNonce ?? '',
  ].join('\n');
}

/** Text that the server signs for a permit's payload. */
export function permitProof(payload: string): string {
  return `${PERMIT_PROOF}\n${payload}`;
}

export type ParsedMessage<M> = { message: M } | { fault: string };

const compiled = new Map<TSchema, Validator>();

/** Reads one frame from an agent; never throws. */
export function parseAgentMessage(text: string): ParsedMessage<AgentMessage> {
  return parse(text, AGENT_MESSAGES);
}

/** Reads one frame from the server; never throws. */
export function parseServerMessage(text: string): ParsedMessage<ServerMessage> {
  return parse(text, SERVER_MESSAGES);
}

function parse<M>(text: string, schemas: Record<string, TSchema>): ParsedMessage<M> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { fault: 'not JSON' };
  }
  const type = value !== null && typeof value === 'object' ? (value as { type?: unknown }).type : undefined;
  if (typeof type !== 'string' || !Object.hasOwn(schemas, type)) return { fault: 'unknown message type' };
  const schema = schemas[type] as TSchema;
  let validator = compiled.get(schema);
  if (!validator) {
    validator = Compile(schema);
    compiled.set(schema, validator);
  }
  if (validator.Check(value)) return { message: value as M };
  const [first] = validator.Errors(value);
  return { fault: `${type}${first?.instancePath ?? ''} ${first?.message ?? 'is not valid'}` };
}
