import { createFormSearch, type FormSearch } from './formSearch.ts';

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
  const search = createFormSearch(forms);
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

function mask(search: FormSearch, text: string, isCut: boolean): string {
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
function createStream(search: FormSearch): MaskedStream {
  let held: Buffer = NOTHING;
  /** So much of what is held is masked already. */
  let covered = 0;
  let isHit = false;

  /** Everything up to `limit`; what begins there or later is held. */
  function pass(data: Buffer, found: number[], limit: number): Buffer {
    const parts: Buffer[] = [];
    let from = covered;
    for (let index = 0; index < found.length; index += 2) {
      const [start, end] = [found[index] as number, found[index + 1] as number];
      if (start >= limit) break;
      if (start >= from) parts.push(data.subarray(from, start), MASK_BYTES);
      from = Math.max(from, end);
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
      const { found, openFrom } = search.scan(data);
      return pass(data, found, openFrom);
    },
    flush(isCut = false) {
      if (!isCut || held.length < CUT_LENGTH) return pass(held, search.scan(held).found, held.length);
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

/** A longer form is looked for in parts. */
const PART_LENGTH = 64;
/** A longer value does not stand in addresses and in commands. */
const ARGUMENT_LENGTH = 4_096;

/** How values are spelled, each form once. */
function formsOf(values: string[]): Buffer[] {
  const texts = new Set<string>();
  for (const value of values) {
    const spelled = [value, ...linesOf(value), ...jsonForms(value)];
    if (value.length <= ARGUMENT_LENGTH) spelled.push(...urlForms(value), ...shellForms(value));
    // As one character for each byte, by which equal forms are found.
    for (const text of spelled) texts.add(Buffer.from(text).toString('latin1'));
    for (const text of base64Forms(Buffer.from(value))) texts.add(text);
  }
  const parts = new Set([...texts].flatMap(partsOf));
  return [...parts].map((part) => Buffer.from(part, 'latin1'));
}

/** Parts of a long form overlap, so that what they mask is one. */
function partsOf(form: string): string[] {
  const parts = [form.slice(-PART_LENGTH)];
  for (let at = 0; at < form.length - PART_LENGTH; at += PART_LENGTH - 1)
    parts.push(form.slice(at, at + PART_LENGTH));
  return parts;
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
  const bytes = Buffer.from(value).toString('latin1');
  const encode = (kept: string, isForm: boolean) =>
    bytes.replace(/[^A-Za-z0-9]/g, (character) => {
      if (isForm && character === ' ') return '+';
      if (kept.includes(character)) return character;
      return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
    });
  const encoded = [
    ...KEPT_IN_URLS.map((kept) => encode(kept, false)),
    ...KEPT_IN_FORMS.map((kept) => encode(kept, true)),
  ];
  const lower = (text: string) => text.replace(/%[0-9A-F]{2}/g, (part) => part.toLowerCase());
  return [...encoded, ...encoded.map(lower)];
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
