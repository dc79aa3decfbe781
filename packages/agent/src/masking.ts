/**
 * Takes the values of secrets out of what leaves an attempt, before it reaches a disk or a connection. It is a net against
 * mistakes: it knows the usual spellings of a value, and whoever wants to can spell it otherwise.
 */
export interface Masker {
  /** `…` says that a text was cut: the beginning of a value before it is masked, too. */
  text(text: string): string;
  /** For one stream of output. */
  stream(): MaskedStream;
}

export interface MaskedStream {
  /** What can be passed on by now: only an end that may be the beginning of a value is held back. */
  write(data: Buffer): Buffer;
  /** The rest. `isCut`: the beginning of a value at the end is masked, too. */
  flush(isCut?: boolean): Buffer;
  /** Something was masked. */
  readonly isHit: boolean;
}

/** A shorter value would be masked wherever it happens to stand. */
export const MASKED_LENGTH = 6;
/** A shorter beginning of a value, where a text was cut, tells nothing, and stands there by chance. */
const CUT_LENGTH = 4;
/** Stands in place of a value. */
export const MASK = '***';
const MASK_BYTES = Buffer.from(MASK);
const NOTHING = Buffer.alloc(0);

export function createMasker(values: string[]): Masker {
  const forms = formsOf(values.filter((value) => value.length >= MASKED_LENGTH));
  if (forms.length === 0) return NO_MASKER;
  const search = createSearch(forms);
  return {
    text(text) {
      const parts = mask(search, text, false).split('…');
      return parts
        .map((part, index) => (index < parts.length - 1 ? mask(search, part, true) : part))
        .join('…');
    },
    stream: () => createStream(search),
  };
}

function mask(search: Search, text: string, isCut: boolean): string {
  const stream = createStream(search);
  const parts = [stream.write(Buffer.from(text)), stream.flush(isCut)];
  return stream.isHit ? Buffer.concat(parts).toString() : text;
}

/** Masks nothing. */
export const NO_MASKER: Masker = {
  text: (text) => text,
  stream: () => ({ write: (data) => data, flush: () => NOTHING, isHit: false }),
};

/** Values that overlap are masked together, so that no end of one is left beside the other. */
function createStream(search: Search): MaskedStream {
  let held: Buffer = NOTHING;
  /** So much of what is held is masked already. */
  let covered = 0;
  let isHit = false;

  /** Everything up to `limit`; what begins there or later is held. */
  function pass(data: Buffer, limit: number): Buffer {
    const parts: Buffer[] = [];
    let from = covered;
    for (let found = search.find(data, 0); found; found = search.find(data, found.start + 1)) {
      if (found.start >= limit) break;
      if (found.start >= from) parts.push(data.subarray(from, found.start), MASK_BYTES);
      from = Math.max(from, found.end);
      isHit = true;
    }
    if (from < limit) {
      parts.push(data.subarray(from, limit));
      from = limit;
    }
    covered = from - limit;
    // A copy, as the whole piece would stay in memory with it.
    held = limit === data.length ? NOTHING : Buffer.from(data.subarray(limit));
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  return {
    write(piece) {
      const data = held.length === 0 ? piece : Buffer.concat([held, piece]);
      return pass(data, search.openFrom(data));
    },
    flush(isCut = false) {
      if (!isCut || held.length < CUT_LENGTH) return pass(held, held.length);
      const mask = covered === 0 ? MASK_BYTES : NOTHING;
      held = NOTHING;
      covered = 0;
      isHit = true;
      return mask;
    },
    get isHit() {
      return isHit;
    },
  };
}

interface Search {
  /** The first place from `from` on where a form stands, and where the longest that begins there ends. */
  find(data: Buffer, from: number): { start: number; end: number } | null;
  /** Where the data that may be the beginning of a form starts; its length when there is none. */
  openFrom(data: Buffer): number;
}

const HASHES = 4_096;
const WIDTH_MAX = 200;
const hash = (one: number, two: number) => ((one << 5) ^ two) & (HASHES - 1);

/**
 * Looks for all forms at once (Wu and Manber): two bytes say how far the next form can be at the nearest, so that most bytes are
 * never looked at, however many forms there are.
 */
function createSearch(forms: Buffer[]): Search {
  const width = Math.min(WIDTH_MAX, ...forms.map((form) => form.length));
  const longest = forms.reduce((length, form) => Math.max(length, form.length), 0);
  const shifts = new Uint8Array(HASHES).fill(width - 1);
  const byHash = new Map<number, Buffer[]>();
  const byFirst = new Map<number, Buffer[]>();
  for (const form of forms) {
    for (let at = 1; at < width; at++) {
      const key = hash(form[at - 1] as number, form[at] as number);
      shifts[key] = Math.min(shifts[key] as number, width - 1 - at);
    }
    add(byHash, hash(form[width - 2] as number, form[width - 1] as number), form);
    add(byFirst, form[0] as number, form);
  }

  return {
    find(data, from) {
      for (let last = from + width - 1; last < data.length; ) {
        const key = hash(data[last - 1] as number, data[last] as number);
        const shift = shifts[key] as number;
        if (shift > 0) {
          last += shift;
          continue;
        }
        const start = last - width + 1;
        let end = 0;
        for (const form of byHash.get(key) as Buffer[])
          if (start + form.length > end && standsAt(form, data, start)) end = start + form.length;
        if (end > 0) return { start, end };
        last++;
      }
      return null;
    },
    openFrom(data) {
      for (let start = Math.max(0, data.length - longest + 1); start < data.length; start++) {
        const length = data.length - start;
        for (const form of byFirst.get(data[start] as number) ?? [])
          if (form.length > length && isSame(form, data, start, length)) return start;
      }
      return data.length;
    },
  };
}

function standsAt(form: Buffer, data: Buffer, start: number): boolean {
  return start + form.length <= data.length && isSame(form, data, start, form.length);
}

/** Most differ at once, which asks for no call. */
function isSame(form: Buffer, data: Buffer, start: number, length: number): boolean {
  const near = Math.min(length, 8);
  for (let at = 0; at < near; at++) if (form[at] !== data[start + at]) return false;
  return near === length || form.compare(data, start + near, start + length, near, length) === 0;
}

function add(map: Map<number, Buffer[]>, key: number, form: Buffer): void {
  const forms = map.get(key);
  if (forms) forms.push(form);
  else map.set(key, [form]);
}

/** How values are spelled, each form once. */
function formsOf(values: string[]): Buffer[] {
  const texts = new Set<string>();
  for (const value of values) {
    const spelled = [value, ...linesOf(value), ...jsonForms(value), ...urlForms(value), ...shellForms(value)];
    // As one character for each byte, by which equal forms are found.
    for (const text of spelled) texts.add(Buffer.from(text).toString('latin1'));
    for (const text of base64Forms(Buffer.from(value))) texts.add(text);
  }
  return [...texts].map((text) => Buffer.from(text, 'latin1'));
}

/** A value of several lines is often written line by line. */
function linesOf(value: string): string[] {
  return value.split(/\r\n|\n|\r/).filter((line) => line.length >= MASKED_LENGTH);
}

/**
 * The value anywhere in a base64 text: after as many bytes as fill groups of three, one more, or two. Characters at the edges that
 * its neighbours decide on are left out.
 */
function base64Forms(value: Buffer): string[] {
  const forms: string[] = [];
  for (const before of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(before), value]).toString('base64');
    const from = Math.ceil((before * 8) / 6);
    const to = Math.floor(((before + value.length) * 8) / 6);
    forms.push(text.slice(from, to));
  }
  // Of its own, it is often broken into lines.
  const whole = forms[0] as string;
  for (const columns of [64, 76])
    for (const end of ['\n', '\r\n']) if (whole.length > columns) forms.push(broken(whole, columns, end));
  return [...forms, ...forms.map((form) => form.replaceAll('+', '-').replaceAll('/', '_'))];
}

function broken(text: string, columns: number, end: string): string {
  const lines: string[] = [];
  for (let at = 0; at < text.length; at += columns) lines.push(text.slice(at, at + columns));
  return lines.join(end);
}

function jsonForms(value: string): string[] {
  const inside = (text: string) => JSON.stringify(text).slice(1, -1);
  const plain = inside(value);
  const escaped = (text: string, characters: RegExp, isUpper: boolean) =>
    text.replace(characters, (character) => {
      const code = character.charCodeAt(0).toString(16).padStart(4, '0');
      return `\\u${isUpper ? code.toUpperCase() : code}`;
    });
  const slashed = (text: string) => text.replaceAll('/', '\\/');
  const forms = [plain, inside(plain), escaped(plain, MARKUP, false), escaped(plain, MARKUP, true)];
  for (const isUpper of [false, true])
    forms.push(escaped(plain, NOT_ASCII, isUpper), escaped(plain, MARKUP_OR_NOT_ASCII, isUpper));
  return [...forms, ...forms.map(slashed)];
}

/** What encoders of JSON write as `\uXXXX` beside control characters. */
const NOT_ASCII = /[\u007f-\uffff]/g;
const MARKUP = /[<>&\u2028\u2029]/g;
const MARKUP_OR_NOT_ASCII = /[<>&'+\u007f-\uffff]/g;

/** What different encoders leave as it is, beside letters and digits. */
const KEPT_IN_URLS = [
  // encodeURIComponent, RFC 3986, the same with paths, encodeURI
  "-_.!~*'()",
  '-_.~',
  '-_.~/',
  "-_.!~*'();/?:@&=+$,#",
  // Paths, queries and user names as a URL parser writes them
  "!$%&'()*+,-./:;=@[\\]^_|~",
  '!$%&()*+,-./:;=?@[\\]^_`{|}~',
  "!$%&'()*+,-._~",
];
/** In forms, where a space is `+`. */
const KEPT_IN_FORMS = ['*-._', '-._~', '-._'];

function urlForms(value: string): string[] {
  const bytes = [...Buffer.from(value)];
  const encode = (kept: string, space: string | null) => {
    const isKept = (character: string) => /[A-Za-z0-9]/.test(character) || kept.includes(character);
    return bytes.map((byte) => {
      const character = String.fromCharCode(byte);
      if (space !== null && character === ' ') return space;
      return isKept(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    });
  };
  const encoded = [
    ...KEPT_IN_URLS.map((kept) => encode(kept, null)),
    ...KEPT_IN_FORMS.map((kept) => encode(kept, '+')),
  ];
  return encoded.flatMap((parts) => [
    parts.join(''),
    parts.map((part) => (part.length === 3 ? part.toLowerCase() : part)).join(''),
  ]);
}

/** In single quotes, in double quotes, and with backslashes. */
function shellForms(value: string): string[] {
  return [
    value.replaceAll("'", "'\\''"),
    value.replaceAll("'", `'"'"'`),
    value.replace(/[$`"\\]/g, '\\$&'),
    value.replace(/[^A-Za-z0-9_@%+=:,./\n-]/g, '\\$&'),
  ];
}
