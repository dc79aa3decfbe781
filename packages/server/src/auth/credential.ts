import { createHash, timingSafeEqual } from 'node:crypto';
import { base32, type Random } from '../random.ts';

/** Kinds of credential and the word that each begins with. */
const WORDS = { token: 'rota', joinToken: 'rotajoin' } as const;
type Kind = keyof typeof WORDS;

/** A credential as it is made: `text` is shown once, only `id` and `hash` are stored. */
export interface NewCredential {
  id: string;
  /** SHA-256 of the secret, base64url. */
  hash: string;
  text: string;
}

/** Makes a credential with 256 random bits of secret. */
export function newCredential(kind: Kind, random: Random): NewCredential {
  const id = base32(random.bytes(8)).slice(0, 12);
  const secret = Buffer.from(random.bytes(32)).toString('base64url');
  return { id, hash: hashOf(secret).toString('base64url'), text: `${WORDS[kind]}_${id}_${secret}` };
}

/** The parts of a credential's text; null when it is not one. */
export function parseCredential(kind: Kind, text: string): { id: string; secret: string } | null {
  const match = /^(rota|rotajoin)_([0-9a-z]{12})_([A-Za-z0-9_-]{43})$/.exec(text);
  if (!match || match[1] !== WORDS[kind]) return null;
  return { id: match[2] as string, secret: match[3] as string };
}

/** Whether a secret has a stored hash, in a time that does not depend on how much of it is right. */
export function secretMatches(secret: string, hash: string): boolean {
  const expected = Buffer.from(hash, 'base64url');
  return expected.byteLength === 32 && timingSafeEqual(hashOf(secret), expected);
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
