import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns';
import type { AddressInfo, LookupFunction } from 'node:net';

/** A name server on UDP whose answers may change from one question to the next. */
export interface DnsServer {
  /** Asks this server, and no file or cache. */
  lookup: LookupFunction;
  /** Answers to the questions for a name, in turn; the last one stays. Each is a list of addresses. */
  answers: Map<string, string[][]>;
  /** The names that were asked for, with the type: `A name`. */
  asked: string[];
  close(): void;
}

const TYPES: Record<number, 'A' | 'AAAA'> = { 1: 'A', 28: 'AAAA' };

export async function openDnsServer(): Promise<DnsServer> {
  const answers = new Map<string, string[][]>();
  const asked: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (question, from) => {
    const { name, end } = nameIn(question);
    const type = TYPES[question.readUInt16BE(end)];
    asked.push(`${type} ${name}`);
    const left = answers.get(name);
    const addresses = left?.[0] ?? [];
    const fitting = addresses.filter((address) => (type === 'AAAA') === address.includes(':'));
    // The question for IPv4 comes last, and so ends the turn.
    if (type === 'A' && left && left.length > 1) left.shift();
    socket.send(
      answerTo(question.subarray(0, end + 4), fitting, left !== undefined),
      from.port,
      from.address,
    );
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const resolver = new Resolver({ timeout: 5_000, tries: 2 });
  resolver.setServers([`127.0.0.1:${(socket.address() as AddressInfo).port}`]);
  const lookup: LookupFunction = (hostname, options, callback) => {
    resolver.resolve6(hostname, (_error, six = []) => {
      resolver.resolve4(hostname, (error, four = []) => {
        const found = [
          ...four.map((address) => ({ address, family: 4 })),
          ...six.map((address) => ({ address, family: 6 })),
        ];
        const [first] = found;
        if (!first) callback(error ?? new Error('no address'), []);
        else if (options.all) callback(null, found);
        else callback(null, first.address, first.family);
      });
    });
  };
  return { lookup, answers, asked, close: () => socket.close() };
}

function nameIn(question: Buffer): { name: string; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = question[at] ?? 0; length > 0; length = question[at] ?? 0) {
    labels.push(question.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 };
}

/** RFC 1035, 4.1: the question again, and one record, which may not be kept, for each address. */
function answerTo(question: Buffer, addresses: string[], isKnown: boolean): Buffer {
  const header = Buffer.from(question);
  header.writeUInt16BE(isKnown ? 0x8180 : 0x8183, 2);
  header.writeUInt16BE(addresses.length, 6);
  header.writeUInt32BE(0, 8);
  const records = addresses.map((address) => {
    const data = address.includes(':') ? sixBytes(address) : Buffer.from(address.split('.').map(Number));
    const type = data.length === 16 ? 28 : 1;
    return Buffer.concat([Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, data.length]), data]);
  });
  return Buffer.concat([header, ...records]);
}

/** Of an address in the form that URLs have. */
function sixBytes(address: string): Buffer {
  const text = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = '', tail = ''] = text.split('::');
  const before = head.split(':').filter(Boolean);
  const after = tail.split(':').filter(Boolean);
  const words = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
  return Buffer.from(words.map((word) => word.padStart(4, '0')).join(''), 'hex');
}
