/** Finds many short byte strings in data at once, at a cost that neither they nor the data can drive up. */
export interface FormSearch {
  scan(data: Buffer): Scan;
}

export interface Scan {
  /** Where forms stand, as start and end in turn; those that overlap are one. */
  found: number[];
  /** Where the data that may be the beginning of a form starts; its length when there is none. */
  openFrom: number;
}

const HASHES = 4_096;
const hash = (one: number, two: number) => ((one << 5) ^ two) & (HASHES - 1);
/** A tree is left again when no more than this is pending: that is cheaper to read anew than to follow. */
const SHALLOW = 2;
const UNKNOWN = -1;

/**
 * Two bytes say how far the next form can be at the nearest, so that most bytes of ordinary text are never looked at, however many
 * forms there are (Wu and Manber). Where one may begin, a tree of all forms is followed, which reads each byte but once, whatever
 * the forms have in common with the data or with each other (Aho and Corasick).
 *
 * `forms` are neither empty nor longer than 255 bytes.
 */
export function createFormSearch(forms: Buffer[]): FormSearch {
  const width = forms.reduce((length, form) => Math.min(length, form.length), 255);
  const shifts = new Uint8Array(HASHES).fill(width - 1);
  for (const form of forms)
    for (let at = 1; at < width; at++) {
      const key = hash(form[at - 1] as number, form[at] as number);
      shifts[key] = Math.min(shifts[key] as number, width - 1 - at);
    }
  const tree = new FormTree(forms);

  /** The first place from `from` on where a form may begin. */
  function nearest(data: Buffer, from: number): number {
    for (let last = from + width - 1; last < data.length; ) {
      const shift = shifts[hash(data[last - 1] as number, data[last] as number)] as number;
      if (shift === 0) return last - width + 1;
      last += shift;
      from = last - width + 1;
    }
    return from;
  }

  return {
    scan(data) {
      const found: number[] = [];
      let node = 0;
      let at = 0;
      while (at < data.length) {
        const start = nearest(data, at);
        for (at = start; at < data.length; ) {
          node = tree.after(node, data[at++] as number);
          const length = tree.longestAt(node);
          if (length > 0) join(found, at - length, at);
          const pending = tree.depth[node] as number;
          if (pending > SHALLOW || at - pending <= start) continue;
          at -= pending;
          node = 0;
          break;
        }
      }
      return { found, openFrom: data.length - tree.pending(node) };
    },
  };
}

/** Adds a place that ends behind all others. */
function join(found: number[], start: number, end: number): void {
  let from = start;
  while (found.length > 0 && (found.at(-1) as number) > from) {
    found.pop();
    from = Math.min(from, found.pop() as number);
  }
  found.push(from, end);
}

/** All beginnings of all forms, as nodes of a tree; 0 is the empty one. */
class FormTree {
  /** Of each node: how many bytes it has. */
  readonly depth: Uint8Array;
  /** How long the longest form is that ends there, as far as its other is known; 0 when none does. */
  readonly #longest: Uint8Array;
  /** Without the last byte. */
  readonly #before: Int32Array;
  /** The byte that leads there. */
  readonly #bytes: Uint8Array;
  /** Where to go on when no byte leads on: the longest other beginning that ends with the same bytes. */
  readonly #other: Int32Array;
  readonly #isLeaf: Uint8Array;
  /** Nodes of one byte, and of two. */
  readonly #first = new Int32Array(256);
  readonly #second = new Int32Array(256 * 256);
  /** Of longer ones: whether the next node is one byte longer, as most are; and the few others that are. */
  readonly #isNext: Uint8Array;
  readonly #isFork: Uint8Array;
  readonly #forks = new Map<number, number>();
  #size = 1;

  constructor(forms: Buffer[]) {
    const most = 1 + forms.reduce((sum, form) => sum + form.length, 0);
    this.depth = new Uint8Array(most);
    this.#longest = new Uint8Array(most);
    this.#before = new Int32Array(most);
    this.#bytes = new Uint8Array(most);
    this.#other = new Int32Array(most).fill(UNKNOWN);
    this.#isLeaf = new Uint8Array(most).fill(1);
    this.#isNext = new Uint8Array(most);
    this.#isFork = new Uint8Array(most);
    for (const form of forms) this.#add(form);
  }

  /** Where a byte leads from a node. */
  after(node: number, byte: number): number {
    for (let from = node; from !== 0; from = this.#otherOf(from)) {
      const next = this.#child(from, byte);
      if (next !== 0) return next;
    }
    return this.#first[byte] as number;
  }

  /** How long the longest form is that ends there; 0 when none does. */
  longestAt(node: number): number {
    if (node !== 0) this.#otherOf(node);
    return this.#longest[node] as number;
  }

  /** How many of the last bytes may be the beginning of a form. */
  pending(node: number): number {
    let from = node;
    while (from !== 0 && this.#isLeaf[from]) from = this.#otherOf(from);
    return this.depth[from] as number;
  }

  #child(node: number, byte: number): number {
    if (node === 0) return this.#first[byte] as number;
    if (this.depth[node] === 1) return this.#second[(this.#bytes[node] as number) * 256 + byte] as number;
    if (this.#isNext[node] && this.#bytes[node + 1] === byte) return node + 1;
    return this.#isFork[node] ? (this.#forks.get(node * 256 + byte) ?? 0) : 0;
  }

  #add(form: Buffer): void {
    let node = 0;
    for (const byte of form) {
      let next = this.#child(node, byte);
      if (next === 0) {
        next = this.#size++;
        this.#before[next] = node;
        this.#bytes[next] = byte;
        this.depth[next] = (this.depth[node] as number) + 1;
        this.#isLeaf[node] = 0;
        if (node === 0) this.#first[byte] = next;
        else if (this.depth[node] === 1) this.#second[(this.#bytes[node] as number) * 256 + byte] = next;
        else if (next === node + 1) this.#isNext[node] = 1;
        else {
          this.#isFork[node] = 1;
          this.#forks.set(node * 256 + byte, next);
        }
      }
      node = next;
    }
    this.#longest[node] = form.length;
  }

  /** Found out for those nodes only that the data leads to: a long form has many to which none ever does. */
  #otherOf(node: number): number {
    const known = this.#other[node] as number;
    if (known !== UNKNOWN) return known;
    const before = this.#before[node] as number;
    const other = before === 0 ? 0 : this.after(this.#otherOf(before), this.#bytes[node] as number);
    this.#other[node] = other;
    if (other !== 0 && this.#longest[node] === 0) this.#longest[node] = this.longestAt(other);
    return other;
  }
}
