import { isIP, isIPv4 } from 'node:net';

/**
 * Which addresses the requests of an agent may reach. It looks at addresses as bytes, and only at those that are
 * connected to: how an address was written, or which name led to it, is of no interest here.
 */
export interface Guard {
  /** The range that forbids an address, as text for people; null when it may be reached. */
  forbids(address: string): string | null;
}

export interface GuardRules {
  /** Addresses or ranges such as `10.1.2.3` and `10.0.0.0/8`. */
  allow: readonly string[];
  deny: readonly string[];
  /** Forbids whatever is not public. */
  strict: boolean;
}

/** Where clouds hand credentials to whoever asks from inside, and what is on no network beyond the own link. */
const METADATA: Rule[] = [
  ...['169.254.0.0/16', 'fe80::/10'].map((range) => deny(range, 'link-local')),
  ...['169.254.169.254', '169.254.170.2', '169.254.170.23', '169.254.0.23', '169.254.42.42'].map((address) =>
    deny(address, 'cloud metadata'),
  ),
  ...['100.100.100.200', '168.63.129.16', '192.0.0.192'].map((address) => deny(address, 'cloud metadata')),
  ...['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254', 'fd00:42::42', 'fe80::a9fe:a9fe'].map((address) =>
    deny(address, 'cloud metadata'),
  ),
];

/** What the registries of special addresses (IANA) call not globally reachable; of IPv6, 2000::/3 is what is public. */
const NOT_PUBLIC: Rule[] = [
  ...['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10'].map((range) =>
    deny(range, 'private'),
  ),
  ...['0.0.0.0/8', '127.0.0.0/8'].map((range) => deny(range, 'this machine')),
  ...['192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '198.18.0.0/15', '198.51.100.0/24'].map((range) =>
    deny(range, 'reserved'),
  ),
  ...['203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'].map((range) => deny(range, 'reserved')),
  deny('::/0', 'not public'),
  ...['2000::/3', '64:ff9b::/96'].map((range) => rule(range, true, '', 0)),
  ...['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'].map((range) => deny(range, 'reserved')),
];

/** Makes the guard. The narrowest range that holds an address decides; of two equal ones the agent's own deny counts. */
export function createGuard(rules: GuardRules): Guard {
  const all = [
    ...METADATA,
    ...(rules.strict ? NOT_PUBLIC : []),
    ...rules.allow.map((range) => rule(range, true, '', 1)),
    ...rules.deny.map((range) => rule(range, false, '--http-deny', 2)),
  ].sort((a, b) => b.prefix - a.prefix || b.weight - a.weight);
  return {
    forbids(address) {
      const meanings = meaningsOf(address);
      if (meanings === null) return 'not an address';
      for (const bytes of meanings) {
        const decided = all.find((each) => holds(each, bytes));
        if (decided && !decided.allow) return `${decided.text} (${decided.label})`;
      }
      return null;
    },
  };
}

/** What is wrong with the text of a range; null when it is one. */
export function rangeFault(text: string): string | null {
  const [address = '', prefix, more] = text.split('/');
  const bytes = isIP(address) ? bytesOf(address) : null;
  if (bytes === null || more !== undefined || address.includes('%'))
    return 'must be an address or a range such as 10.0.0.0/8 or fd00::/8';
  if (isMapped(bytes)) return 'must be written as IPv4';
  if (prefix === undefined) return null;
  return /^\d{1,3}$/.test(prefix) && Number(prefix) <= bytes.length * 8
    ? null
    : `must end with /0 to /${bytes.length * 8}`;
}

interface Rule {
  text: string;
  label: string;
  allow: boolean;
  bytes: Uint8Array;
  prefix: number;
  weight: number;
}

function rule(text: string, allow: boolean, label: string, weight: number): Rule {
  const fault = rangeFault(text);
  if (fault !== null) throw new Error(`${text}: ${fault}`);
  const [address = '', prefix] = text.split('/');
  const bytes = bytesOf(address);
  return {
    text,
    label,
    allow,
    bytes,
    prefix: prefix === undefined ? bytes.length * 8 : Number(prefix),
    weight,
  };
}

function deny(text: string, label: string): Rule {
  return rule(text, false, label, 0);
}

function holds({ bytes, prefix }: Rule, address: Uint8Array): boolean {
  if (bytes.length !== address.length) return false;
  for (let bit = 0; bit < prefix; bit += 8) {
    const mask = 0xff << Math.max(0, 8 - (prefix - bit));
    const [own = 0, other = 0] = [bytes[bit / 8], address[bit / 8]];
    if (((own ^ other) & mask & 0xff) !== 0) return false;
  }
  return true;
}

/** The address, and those IPv4 addresses that routers or the system make of it; null when it is none. */
function meaningsOf(address: string): Uint8Array[] | null {
  const plain = address.split('%')[0] as string;
  if (isIP(plain) === 0) return null;
  const bytes = bytesOf(plain);
  if (bytes.length === 4) return [bytes];
  const starts = (...start: number[]) => start.every((byte, index) => bytes[index] === byte);
  const last = bytes.subarray(12);
  const zeros = (count: number) => bytes.subarray(0, count).every((byte) => byte === 0);
  // ::ffff:a.b.c.d is a.b.c.d, and nothing else.
  if (isMapped(bytes)) return [last];
  const meanings = [bytes];
  if (zeros(12) && last.some((byte, index) => byte !== 0 && index < 3)) meanings.push(last);
  if (zeros(8) && bytes[8] === 0xff && bytes[9] === 0xff && bytes[10] === 0 && bytes[11] === 0)
    meanings.push(last);
  if (starts(0x00, 0x64, 0xff, 0x9b)) {
    meanings.push(last);
    // Under 64:ff9b:1::/48 it may also stand around the byte that is always 0.
    if (bytes[5] === 1) meanings.push(Uint8Array.from([6, 7, 9, 10], (index) => bytes[index] as number));
  }
  if (starts(0x20, 0x02)) meanings.push(bytes.subarray(2, 6));
  if (starts(0x20, 0x01, 0, 0))
    meanings.push(
      last.map((byte) => byte ^ 0xff),
      bytes.subarray(4, 8),
    );
  if ((bytes[8] === 0 || bytes[8] === 2) && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe)
    meanings.push(last);
  return meanings;
}

function isMapped(bytes: Uint8Array): boolean {
  const isZero = bytes.subarray(0, 10).every((byte) => byte === 0);
  return bytes.length === 16 && isZero && bytes[10] === 0xff && bytes[11] === 0xff;
}

/** The bytes of what `isIP` takes for an address without a zone. */
function bytesOf(address: string): Uint8Array {
  if (isIPv4(address)) return Uint8Array.from(address.split('.'), Number);
  const [head = '', tail] = address.split('::');
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const gap = Array<number>(16 - before.length - after.length).fill(0);
  return Uint8Array.from([...before, ...gap, ...after]);
}

function words(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((word) => {
    if (word.includes('.')) return word.split('.').map(Number);
    const value = Number.parseInt(word, 16);
    return [value >> 8, value & 0xff];
  });
}
