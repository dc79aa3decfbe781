import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { LIMITS, type Permit, permitProof, type SecretSource, type ServerKey } from '@rota/contract';
import type { Task } from './helperProtocol.ts';

/** The server's keys that this agent trusts. */
export interface KeyRing {
  readonly keys: ServerKey[];
  /** True when the key `keyId` made `signature` (base64url) over `text`. */
  verify(keyId: string, text: string, signature: string): boolean;
}

export function createKeyRing(keys: ServerKey[]): KeyRing {
  const parsed = new Map<string, KeyObject>();
  for (const key of keys) {
    const der = Buffer.from(key.publicKey, 'base64url');
    parsed.set(key.id, createPublicKey({ key: der, format: 'der', type: 'spki' }));
  }
  return {
    keys,
    verify(keyId, text, signature) {
      const key = parsed.get(keyId);
      return key !== undefined && verify(null, Buffer.from(text), key, Buffer.from(signature, 'base64url'));
    },
  };
}

/** `attemptId` and `epoch` are there when the payload says so, though nobody has proven it. */
export type PermitReading =
  | { permit: Permit }
  | { permit: null; fault: string; claims: { attemptId: string; epoch: number } | null };

/** Reads a permit and proves that the server signed it for this agent. Never throws. */
export function readPermit(
  message: { keyId: string; payload: string; signature: string },
  keyRing: KeyRing,
  agentId: string,
): PermitReading {
  let content: Partial<Permit> | null;
  try {
    content = JSON.parse(message.payload) as Partial<Permit> | null;
  } catch {
    content = null;
  }
  const claims =
    typeof content?.attemptId === 'string' && Number.isSafeInteger(content.epoch)
      ? { attemptId: content.attemptId, epoch: content.epoch as number }
      : null;
  const fault = (text: string): PermitReading => ({ permit: null, fault: text, claims });
  if (!keyRing.verify(message.keyId, permitProof(message.payload), message.signature))
    return fault('its signature is not by a key of the server');
  if (!claims || !isWhole(content as Partial<Permit>)) return fault('it lacks what a permit must have');
  if (content?.agentId !== agentId) return fault('it is for another agent');
  return { permit: content as Permit };
}

/** The server's signature vouches for the rest. */
function isWhole(permit: Partial<Permit>): boolean {
  return (
    typeof permit.bootId === 'string' &&
    typeof permit.validUntilBootMs === 'number' &&
    typeof permit.run?.id === 'string' &&
    typeof permit.key?.occurrenceKey === 'string' &&
    Array.isArray(permit.steps) &&
    permit.steps.length > 0 &&
    typeof permit.output?.headBytes === 'number' &&
    typeof permit.output.tailBytes === 'number'
  );
}

/** What the helper is to do. Its own environment is a small one: what secrets take from the agent's goes along. */
export function taskOf(permit: Permit, environment: Record<string, string | undefined>): Task {
  const withValue = (source: SecretSource): SecretSource => {
    const value = source.from === 'agentEnv' ? environment[source.name] : undefined;
    return value === undefined ? source : { from: 'server', value };
  };
  return {
    attemptId: permit.attemptId,
    epoch: permit.epoch,
    agent: permit.agent,
    run: permit.run,
    steps: permit.steps,
    secrets: Object.fromEntries(
      Object.entries(permit.secrets).map(([name, source]) => [name, withValue(source)]),
    ),
    timeoutMs: permit.timeoutMs,
    killGraceMs: permit.killGraceMs,
    validUntilBootMs: permit.validUntilBootMs,
    output: { ...permit.output, chunkBytes: LIMITS.outputChunkBytes },
  };
}
