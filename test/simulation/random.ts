/** A seeded source of randomness (sfc32): the same seed gives the same numbers for ever. */
export class Seeded {
  #a: number;
  #b: number;
  #c: number;
  #d = 1;

  constructor(seed: number | string) {
    const text = String(seed);
    let hash = 2_166_136_261;
    for (let index = 0; index < text.length; index++) {
      hash = Math.imul(hash ^ text.charCodeAt(index), 16_777_619);
    }
    this.#a = hash | 0;
    this.#b = Math.imul(hash, 2_654_435_761) | 0;
    this.#c = ~hash | 0;
    for (let round = 0; round < 15; round++) this.#next();
  }

  #next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + sum) | 0;
    return sum >>> 0;
  }

  /** 0 ≤ x < 1. */
  unit(): number {
    return this.#next() / 4_294_967_296;
  }

  /** A whole number, both ends included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.unit() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.unit() * values.length)] as T;
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let index = 0; index < count; index++) bytes[index] = this.#next() & 255;
    return bytes;
  }
}

/** How long something takes: mostly about `typicalMs`, seldom `slowMs`. */
export interface Latency {
  typicalMs: number;
  slowMs: number;
  slowShare: number;
}

export function drawLatency(random: Seeded, latency: Latency): number {
  const scale = random.chance(latency.slowShare) ? latency.slowMs : latency.typicalMs;
  return scale * (0.2 + 1.6 * random.unit());
}
