import { randomBytes } from 'node:crypto';

/** Where ids, nonces and secrets come from; injected like the clock. */
export interface Random {
  /** Unpredictable bytes. */
  bytes(count: number): Uint8Array;
}

export const systemRandom: Random = { bytes: (count) => randomBytes(count) };

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** Bytes as lower-case letters and digits without look-alikes (Crockford's base 32), most significant bits first. */
export function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET[(value >> bits) & 31];
    }
  }
  return text;
}

/** A new id: 20 characters, 100 random bits. */
export function newId(random: Random): string {
  return base32(random.bytes(13)).slice(0, 20);
}
