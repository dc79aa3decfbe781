import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import {
  type JobDefinition,
  LIMITS,
  type Permit,
  permitProof,
  type SecretSource,
  type ServerKey,
  type ServerMessage,
} from '@rota/contract';
import { attemptIdOf } from '../runs/ids.ts';
import { localTimeOf } from '../runs/localTime.ts';
import { paramsOf } from '../runs/params.ts';
import type { PermitGrant } from '../store/permits.ts';
import { KILL_GRACE_MS } from '../store/unknownRuns.ts';

/** The server's identity towards agents. */
export interface ServerKeys {
  /** The key that signs. */
  id: string;
  privateKey: KeyObject;
  /** All keys that agents should trust, the signing one among them. */
  published: ServerKey[];
}

/** Signs what was granted: the message that lets one agent start one attempt once. */
export function signPermit(
  keys: ServerKeys,
  grant: PermitGrant,
  definition: JobDefinition,
  agent: { agentId: string; bootId: string; permitUntilBootMs: number },
  secrets: Record<string, SecretSource>,
): Extract<ServerMessage, { type: 'permit' }> {
  const { run, number } = grant;
  const permit: Permit = {
    attemptId: attemptIdOf(run.id, number),
    epoch: run.epoch,
    agentId: agent.agentId,
    bootId: agent.bootId,
    validUntilBootMs: agent.permitUntilBootMs,
    run: {
      id: run.id,
      tenant: grant.tenantName,
      job: run.kind === 'adHoc' ? '' : grant.jobName,
      number,
      scheduledFor: run.scheduledFor,
      kind: run.kind,
      local: localTimeOf(definition, run, grant.timezone),
      params: paramsOf(definition, run),
    },
    agent: { name: grant.agent.name, labels: grant.agent.labels },
    key: {
      jobId: run.jobId,
      revision: run.revision,
      kind: run.kind,
      occurrenceKey: run.occurrenceKey,
      part: run.part,
      scheduledFor: run.scheduledFor,
      dueAt: run.dueAt,
      startBy: run.startBy,
      timeoutMs: run.timeoutMs,
    },
    steps: definition.steps,
    secrets,
    timeoutMs: definition.timeoutMs,
    killGraceMs: KILL_GRACE_MS,
    output: { headBytes: LIMITS.outputHeadBytes, tailBytes: LIMITS.outputTailBytes },
  };
  const payload = JSON.stringify(permit);
  return {
    type: 'permit',
    keyId: keys.id,
    payload,
    signature: signText(keys.privateKey, permitProof(payload)),
  };
}

/** An Ed25519 signature of a text, base64url. */
export function signText(key: KeyObject, text: string): string {
  return sign(null, Buffer.from(text), key).toString('base64url');
}

/** Whether `signature` (base64url) is by the key `publicKey` (SPKI DER, base64url); false for anything malformed. */
export function verifyText(publicKey: string, text: string, signature: string): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey, 'base64url'), format: 'der', type: 'spki' });
    return (
      key.asymmetricKeyType === 'ed25519' &&
      verify(null, Buffer.from(text), key, Buffer.from(signature, 'base64url'))
    );
  } catch {
    return false;
  }
}
