const CHUNK = 64 * 1024 * 1024;

/** Memory of which every page has been written, so that it is really there; held as long as the result is. */
export function holdMemory(bytes: number): Buffer[] {
  const held: Buffer[] = [];
  for (let left = bytes; left > 0; left -= CHUNK) held.push(Buffer.alloc(Math.min(CHUNK, left), 1));
  return held;
}
