/**
 * A 53-bit number from a text, evenly spread and the same for ever: spread minutes and jitter hang on it,
 * so changing it moves the jobs of every installation.
 */
export function stableHash(text: string): number {
  let left = 0x9e3779b9;
  let right = 0x7f4a7c15;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    left = Math.imul(left ^ unit, 0x01000193);
    right = Math.imul(right + unit, 0x2c1b3c6d) ^ (right >>> 13);
  }
  const high = mixed(left ^ mixed(right));
  const low = mixed(right + high);
  return (high >>> 11) * 0x1_0000_0000 + (low >>> 0);
}

/** The finalizer of MurmurHash3: each bit of the input flips about half of the output. */
function mixed(bits: number): number {
  let hash = bits;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/** A whole number from 0 to `size - 1`, chosen by the text. */
export function chosenBelow(size: number, text: string): number {
  return Math.floor((stableHash(text) / 2 ** 53) * size);
}
