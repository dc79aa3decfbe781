import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import type { HttpSettings } from '../helperProtocol.ts';
import { type DnsServer, openDnsServer } from './dnsServer.testing.ts';
import { openServers, type Ran, runHttp } from './http.testing.ts';
import { createGuard, rangeFault } from './httpGuard.ts';

/** Where no request may go: the trap, which would answer, and what clouds and links have. */
const TRAP = '127.66.6.6';
const FORBIDDEN_4 = [
  TRAP,
  '169.254.169.254',
  '169.254.170.2',
  '169.254.170.23',
  '169.254.1.1',
  '169.254.42.42',
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
];
const FORBIDDEN_6 = [
  'fd00:ec2::254',
  'fd00:ec2::23',
  'fd20:ce::254',
  'fd00:42::42',
  'fe80::a9fe:a9fe',
  'fe80::1',
  'febf::1',
];
const SETTINGS: Partial<HttpSettings> = { deny: ['127.66.0.0/16'] };

const servers = openServers();
let dns: DnsServer;
/** The port of the trap and of the server that may be reached. */
let port: number;
/** Requests and connections that got into the trap. */
let trapped = 0;
const served: string[] = [];

before(async () => {
  dns = await openDnsServer();
  const allowed = createServer((request, response) => {
    served.push(request.headers.host ?? '');
    const place = new URL(request.url as string, 'http://x').searchParams.get('to');
    if (place === null) response.end('reached');
    // Bytes of UTF-8, as servers send them that do not care.
    else response.writeHead(307, { location: Buffer.from(place).toString('latin1') }).end();
  });
  port = await servers.listen(allowed, '127.0.0.1');
  const trap = createServer((_request, response) => response.end('trapped'));
  trap.on('connection', () => trapped++);
  await servers.listen(trap, TRAP, port);
});
after(() => {
  dns.close();
  servers.close();
});

const hex = (value: number) => value.toString(16);
const octal = (value: number) => `0${value.toString(8)}`;

/** Ways to write one IPv4 address in a URL, and IPv6 addresses that lead to it. */
function spellings(address: string): string[] {
  const [a, b, c, d] = address.split('.').map(Number) as [number, number, number, number];
  const number = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  const [high, low] = [hex((a << 8) | b), hex((c << 8) | d)];
  const inverted = [a, b, c, d].map((byte) => 255 - byte) as [number, number, number, number];
  const teredo = `${hex((inverted[0] << 8) | inverted[1])}:${hex((inverted[2] << 8) | inverted[3])}`;
  return [
    address,
    `${address}.`,
    `${number}`,
    `0x${hex(number)}`,
    `0X${hex(number).toUpperCase()}`,
    octal(number),
    [a, b, c, d].map(octal).join('.'),
    [a, b, c, d].map((byte) => `0000${octal(byte)}`).join('.'),
    [a, b, c, d].map((byte) => `0x${hex(byte)}`).join('.'),
    `0x${hex(a)}.${octal(b)}.${(c << 8) | d}`,
    `${a}.${(b << 16) | (c << 8) | d}`,
    `${a}.${b}.${(c << 8) | d}`,
    [...address]
      .map((char) => (char === '.' ? char : String.fromCodePoint(char.charCodeAt(0) + 0xfee0)))
      .join(''),
    address.replaceAll('.', '\u3002'),
    [...address].map((char) => `%${hex(char.charCodeAt(0))}`).join(''),
    `allowed.example@${address}`,
    `${address.slice(0, 3)}\t${address.slice(3)}`,
    `[::ffff:${address}]`,
    `[::ffff:${high}:${low}]`,
    `[0:0:0:0:0:FFFF:${high}:${low}]`,
    `[::${high}:${low}]`,
    `[::ffff:0:${high}:${low}]`,
    `[64:ff9b::${address}]`,
    `[64:ff9b:1::${high}:${low}]`,
    `[2002:${high}:${low}::1]`,
    `[2001:0:1:2:3:4:${teredo}]`,
    `[2001:0:${high}:${low}:1:2:3:4]`,
    `[2a00:1::5efe:${high}:${low}]`,
  ];
}

const HOSTS = [...FORBIDDEN_4.flatMap(spellings), ...FORBIDDEN_6.map((address) => `[${address}]`)];

const stopped = (ran: Ran, host: string) => {
  assert.equal(ran.reason, 'httpBlocked', `${host}: ${ran.reason} ${ran.error} ${ran.stdout}`);
  assert.match(ran.error ?? '', /the agent lets no request reach/);
};

test(`${HOSTS.length} ways to write an address that is forbidden are stopped in the URL of a job`, async () => {
  assert.ok(HOSTS.length > 200);
  for (const host of HOSTS) {
    const ran = runHttp({ url: `http://${host}:${port}/` }, { settings: SETTINGS });
    if (host.includes('@')) await assert.rejects(ran, /user name or password/);
    else stopped(await ran, host);
  }
  assert.equal(trapped, 0);
});

test(`${HOSTS.length} ways to write such an address are stopped in a redirect`, async () => {
  for (const host of HOSTS) {
    const to = encodeURIComponent(`http://${host}:${port}/`);
    const ran = await runHttp({ url: `http://127.0.0.1:${port}/?to=${to}` }, { settings: SETTINGS });
    stopped(ran, host);
    assert.equal(ran.http?.status, 307, 'the answer that led there is told');
  }
  assert.equal(trapped, 0);
});

test('other ways to say where to go on to are stopped as well', async () => {
  const places = [
    `//${TRAP}:${port}/`,
    `\\\\${TRAP}:${port}\\`,
    `http:\\\\${TRAP}:${port}`,
    `hTTp:////${TRAP}:${port}/`,
    ` http://${TRAP}:${port}/`,
    `http://127.0.0.1:${port}@${TRAP}:${port}/`,
    `http://127.0.0.1#@${TRAP}:${port}/`.replace('#', '%23'),
    `/?to=${encodeURIComponent(`http://${TRAP}:${port}/`)}`,
  ];
  for (const place of places) {
    const to = encodeURIComponent(place);
    stopped(await runHttp({ url: `http://127.0.0.1:${port}/?to=${to}` }, { settings: SETTINGS }), place);
  }
  for (const zone of ['%25eth0', '%eth0', '%251'])
    await assert.rejects(runHttp({ url: `http://[fe80::1${zone}]/` }), /is not a URL/);
  assert.equal(trapped, 0);
});

test('names that lead to a forbidden address are stopped, whatever else they lead to', async () => {
  const { lookup, answers } = dns;
  const forbidden = [...FORBIDDEN_4, ...FORBIDDEN_6, '::ffff:127.66.6.6', '64:ff9b::7f42:606'];
  for (const [index, address] of forbidden.entries()) {
    const name = `only${index}.test`;
    answers.set(name, [[address]]);
    stopped(await runHttp({ url: `http://${name}:${port}/` }, { settings: SETTINGS, lookup }), name);
    const to = encodeURIComponent(`http://${name}:${port}/`);
    stopped(
      await runHttp({ url: `http://127.0.0.1:${port}/?to=${to}` }, { settings: SETTINGS, lookup }),
      name,
    );
  }
  answers.set('both.test', [[TRAP, '127.0.0.1', 'fe80::1']]);
  const both = await runHttp({ url: `http://both.test:${port}/` }, { settings: SETTINGS, lookup });
  assert.equal(both.stdout, 'reached');
  assert.equal(trapped, 0);
});

test('a name that leads elsewhere from one question to the next reaches only what was checked', async () => {
  const { lookup, answers, asked } = dns;
  const url = `http://turning.test:${port}/`;
  const turns = Array.from({ length: 40 }, (_, index) => [index % 2 === 0 ? '127.0.0.1' : TRAP]);
  answers.set('turning.test', turns);
  const ends: string[] = [];
  for (let request = 0; request < 40; request++) {
    asked.length = 0;
    const ran = await runHttp({ url }, { settings: SETTINGS, lookup });
    ends.push(ran.reason ?? ran.stdout);
    assert.deepEqual(asked, ['AAAA turning.test', 'A turning.test'], 'each connection asks once');
  }
  assert.deepEqual([...new Set(ends)], ['reached', 'httpBlocked']);
  // A redirect to the same name by another port is another connection.
  answers.set('later.test', [['127.0.0.1'], [TRAP]]);
  const other = await servers.http((_request, response) =>
    response.writeHead(302, { location: `http://later.test:${port}/` }).end(),
  );
  const later = other.replace('127.0.0.1', 'later.test');
  stopped(await runHttp({ url: later }, { settings: SETTINGS, lookup }), later);
  assert.equal(trapped, 0);
});

test('a proxy that a job names is under the guard, too, and so is what it is asked for', async () => {
  const proxy = `http://${TRAP}:${port}`;
  stopped(await runHttp({ url: 'http://far.test/', proxy }, { settings: SETTINGS }), proxy);
  stopped(await runHttp({ url: 'https://far.test/', proxy }, { settings: SETTINGS }), proxy);
  dns.answers.set('proxy.test', [[TRAP]]);
  const named = { url: 'http://far.test/', proxy: `http://proxy.test:${port}` };
  stopped(await runHttp(named, { settings: SETTINGS, lookup: dns.lookup }), 'proxy.test');
  const through = { url: 'http://169.254.169.254/', proxy: `http://127.0.0.1:${port}` };
  stopped(await runHttp(through, { settings: SETTINGS }), '169.254.169.254');
  assert.equal(trapped, 0);
});

test('what is allowed passes, by address, by name and after a redirect', async () => {
  const { lookup, answers } = dns;
  answers.set('fine.test', [['127.0.0.1']]);
  const url = `http://127.0.0.1:${port}/`;
  const ways = [
    url,
    `http://fine.test:${port}/`,
    `http://2130706433:${port}/`,
    `http://[::ffff:127.0.0.1]:${port}/`,
  ];
  for (const way of [...ways, ...ways.map((way) => `${url}?to=${encodeURIComponent(way)}`)]) {
    const ran = await runHttp({ url: way }, { settings: SETTINGS, lookup });
    assert.equal(ran.stdout, 'reached', `${way}: ${ran.error}`);
  }
  const opened = await runHttp(
    { url: `http://${TRAP}:${port}/` },
    { settings: { deny: ['127.66.0.0/16'], allow: [TRAP] } },
  );
  assert.equal(opened.stdout, 'trapped', 'the trap does answer');
});

test('by default all but link-local and metadata addresses may be reached', () => {
  const guard = createGuard({ allow: [], deny: [], strict: false });
  for (const address of [...FORBIDDEN_4.slice(1), ...FORBIDDEN_6, 'fe80::1%eth0', '::ffff:169.254.169.254'])
    assert.notEqual(guard.forbids(address), null, address);
  for (const address of [
    '127.0.0.1',
    '::1',
    '10.0.0.1',
    '192.168.1.1',
    'fd12::1',
    '1.1.1.1',
    '2606:4700::1111',
    '0.0.0.0',
  ])
    assert.equal(guard.forbids(address), null, address);
});

test('a strict guard lets only public addresses be reached, and what it is told to allow', () => {
  const guard = createGuard({
    allow: ['10.2.0.0/16', 'fd12::/16'],
    deny: ['10.2.9.0/24', '1.1.1.1'],
    strict: true,
  });
  const closed = [
    '127.0.0.1',
    '::1',
    '::',
    '0.0.0.0',
    '10.1.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
  ];
  const reserved = ['100.64.0.1', '198.18.0.1', '203.0.113.9', '224.0.0.1', '255.255.255.255', '192.0.2.1'];
  const six = [
    'fc00::1',
    'fd00::1',
    'fec0::1',
    'ff02::1',
    '2001:db8::1',
    '2002:808:808::1',
    '2001:0:808:808::',
  ];
  const within = [
    '64:ff9b::10.0.0.1',
    '::ffff:10.0.0.1',
    '2a00::5efe:a00:1',
    '100::1',
    '10.2.9.1',
    '1.1.1.1',
  ];
  for (const address of [...closed, ...reserved, ...six, ...within])
    assert.notEqual(guard.forbids(address), null, address);
  for (const address of [
    '8.8.8.8',
    '172.32.0.1',
    '2606:4700::1111',
    '64:ff9b::8.8.8.8',
    '10.2.0.1',
    'fd12::1',
  ])
    assert.equal(guard.forbids(address), null, address);
});

test('the narrowest range decides, and of two equal ones deny', () => {
  const forbids = (allow: string[], deny: string[], address: string) =>
    createGuard({ allow, deny, strict: false }).forbids(address) !== null;
  assert.equal(forbids(['10.1.0.0/16'], ['10.0.0.0/8'], '10.1.0.1'), false);
  assert.equal(forbids(['10.0.0.0/8'], ['10.1.0.0/16'], '10.1.0.1'), true);
  assert.equal(forbids(['10.1.0.0/16'], ['10.1.0.0/16'], '10.1.0.1'), true);
  assert.equal(
    forbids(['0.0.0.0/0', '::/0'], [], '169.254.169.254'),
    true,
    'metadata is opened by its address alone',
  );
  assert.equal(forbids(['169.254.169.254'], [], '169.254.169.254'), false);
  assert.equal(forbids(['10.1.0.0/16'], ['0.0.0.0/0', '::/0'], '8.8.8.8'), true);
  assert.equal(forbids([], ['::/0'], '8.8.8.8'), false, 'ranges of IPv6 say nothing of IPv4');
  assert.equal(forbids([], ['10.0.0.0/9'], '10.127.255.255'), true);
  assert.equal(forbids([], ['10.0.0.0/9'], '10.128.0.0'), false);
});

test('a range that is none is named', () => {
  for (const range of [
    '10.0.0.0/33',
    '::/129',
    '10.0.0/8',
    'example.com',
    '10.0.0.0/8/8',
    'fe80::1%eth0',
    '',
    '/8',
  ])
    assert.notEqual(rangeFault(range), null, range);
  assert.match(rangeFault('::ffff:10.0.0.0/104') ?? '', /written as IPv4/);
  for (const range of ['10.0.0.0/8', '10.1.2.3', 'fd00::/8', '::1', '0.0.0.0/0'])
    assert.equal(rangeFault(range), null, range);
});
