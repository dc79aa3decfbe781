import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { ServerKey } from '@rota/contract';
import { replaceFile } from './disk.ts';
import type { Disk } from './ports.ts';

/** Who an agent is: what it got when it joined, and its secret. The file `identity.json` in its state folder. */
export interface Identity {
  agentId: string;
  name: string;
  tenant: string;
  /** Addresses of servers, http or https, tried in turn. */
  urls: string[];
  /** Ed25519, PKCS8 DER in base64url. */
  privateKey: string;
  /** The server's keys that it trusts. */
  keys: ServerKey[];
}

const FILE = 'identity.json';

/** Null when the folder has none. @throws Error when it cannot be read */
export async function readIdentity(disk: Disk, folder: string): Promise<Identity | null> {
  const data = await disk.read(`${folder}/${FILE}`);
  if (!data) return null;
  try {
    const identity = JSON.parse(data.toString()) as Identity;
    privateKeyOf(identity);
    return identity;
  } catch (error) {
    throw new Error(`${folder}/${FILE} is damaged: restore it, or remove it and join again`, {
      cause: error,
    });
  }
}

export function writeIdentity(disk: Disk, folder: string, identity: Identity): Promise<void> {
  return replaceFile(disk, folder, FILE, `${JSON.stringify(identity, null, 2)}\n`);
}

/** A new key pair; the public key is SPKI DER. Both in base64url. */
export function generateKeys(): { privateKey: string; publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519', {
    privateKeyEncoding: { format: 'der', type: 'pkcs8' },
    publicKeyEncoding: { format: 'der', type: 'spki' },
  });
  return { privateKey: privateKey.toString('base64url'), publicKey: publicKey.toString('base64url') };
}

/** Signs with the agent's key; the signature is base64url. */
export function createSigner(identity: Identity): (text: string) => string {
  const key = privateKeyOf(identity);
  return (text) => sign(null, Buffer.from(text), key).toString('base64url');
}

function privateKeyOf(identity: Identity): KeyObject {
  return createPrivateKey({
    key: Buffer.from(identity.privateKey, 'base64url'),
    format: 'der',
    type: 'pkcs8',
  });
}
