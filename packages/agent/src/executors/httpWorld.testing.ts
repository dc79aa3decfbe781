import assert from 'node:assert/strict';
import { lookup } from 'node:dns';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { LookupFunction } from 'node:net';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import {
  brotliCompressSync,
  constants,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib';
import type { HttpField } from '@rota/contract';
import { generate } from 'selfsigned';
import type { HttpSettings } from '../helperProtocol.ts';
import { echo, openProxy, openServers, type Ran, runHttp, type Seen } from './http.testing.ts';

/** One row for each option of an `http` step: the step as people write it, and what came of it. */
export interface Row {
  option: string;
  http(world: World): HttpField;
  settings?(world: World): Partial<HttpSettings>;
  /** What the answer must say of the request: the echo's, read as JSON. */
  sees?(seen: Seen, world: World): void;
  /** What came of the step; by default it succeeded. */
  ends?(ran: Ran, world: World): void;
}

export interface World {
  folder: string;
  /** Two origins that answer what they were asked, or as their path says. */
  url: string;
  other: string;
  tls: string;
  /** Demands a client certificate, and answers with its name. */
  mutual: string;
  ca: string;
  client: { cert: string; key: string };
  proxy: { url: string; asked: string[] };
  closedProxy: { url: string; asked: string[] };
  /** Takes connections and says nothing, so that TLS waits. */
  silent: number;
  deadPort: number;
}

export const servers = openServers();
export let world: World;

export const PACKED: Record<string, (text: string | Buffer) => Buffer> = {
  gzip: gzipSync,
  deflate: deflateSync,
  'deflate-raw': deflateRawSync,
  br: (text) => brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
  zstd: zstdCompressSync,
};
const BOMB_BYTES = 50_000_000;
export const TEXT =
  '{"status":"ok","items":[{"id":7,"tags":["a","b"]}],"full name":"x","n":null,"version":"2.4.1"}';

/** Answers as the path says. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url as string, 'http://x');
  const [, kind = '', ...words] = url.pathname.split('/');
  const word = words.join('/');
  switch (kind) {
    case 'text':
      return void response.end(url.searchParams.get('text') ?? TEXT);
    case 'latin1':
      response.setHeader('content-type', 'text/plain; charset=ISO-8859-1');
      return void response.end(Buffer.from('gr\xfc\xdfe', 'latin1'));
    case 'status':
      return void response.writeHead(Number(word)).end(`status ${word}`);
    case 'long':
      return void response.end(Buffer.alloc(Number(word), 'x'));
    case 'to':
      // /to/307/<where to>
      return void response
        .writeHead(Number(words[0]), {
          location: decodeURIComponent(words.slice(1).join('/')).replace(/^(?!\w+:)/, '/'),
        })
        .end();
    case 'hops':
      if (word === '0') return void echo(request, response);
      return void response.writeHead(302, { location: `/hops/${Number(word) - 1}` }).end();
    case 'login':
      response.setHeader('set-cookie', ['session=s3cret; Path=/; HttpOnly', 'elsewhere=1; Path=/nowhere']);
      return void response.writeHead(302, { location: '/echo' }).end();
    case 'packed': {
      const pack = PACKED[word] as (text: string) => Buffer;
      return void response.writeHead(200, { 'content-encoding': word.replace('-raw', '') }).end(pack(TEXT));
    }
    case 'bomb': {
      const pack = PACKED[word] as (data: Buffer) => Buffer;
      return void response.writeHead(200, { 'content-encoding': word }).end(pack(Buffer.alloc(BOMB_BYTES)));
    }
    case 'twice':
      return void response
        .writeHead(200, { 'content-encoding': 'gzip, br' })
        .end(brotliCompressSync(gzipSync(TEXT)));
    case 'damaged':
      return void response.writeHead(200, { 'content-encoding': 'gzip' }).end('this is not gzip');
    case 'strange':
      return void response.writeHead(200, { 'content-encoding': 'rot13' }).end('uryyb');
    case 'empty':
      return void response.writeHead(200, { 'content-encoding': 'gzip' }).end();
    case 'never':
      return;
    case 'trickle':
      response.writeHead(200);
      return void response.write('a');
    default:
      echo(request, response);
  }
}

before(async () => {
  const folder = mkdtempSync(`${tmpdir()}/rota-http-`);
  const names = [{ type: 2, value: 'localhost' } as const, { type: 7, ip: '127.0.0.1' } as const];
  const settings = { keyType: 'ec', algorithm: 'sha256' } as const;
  const own = await generate([{ name: 'commonName', value: 'localhost' }], {
    ...settings,
    extensions: [{ name: 'subjectAltName', altNames: names }],
  });
  const client = await generate([{ name: 'commonName', value: 'nightly' }], settings);
  writeFileSync(`${folder}/ca.pem`, own.cert);
  writeFileSync(`${folder}/client.pem`, client.cert);
  writeFileSync(`${folder}/client.key`, client.private);
  writeFileSync(`${folder}/report.csv`, 'a;b\n1;2\n');
  const pair = { cert: own.cert, key: own.private };
  const deadPort = await servers.raw(() => {});
  world = {
    folder,
    url: await servers.http(answer),
    other: await servers.http(answer),
    tls: await servers.https(pair, answer),
    mutual: await servers.https(
      { ...pair, requestCert: true, rejectUnauthorized: false, ca: [client.cert] },
      (request, response) => {
        const peer = (
          request.socket as unknown as { getPeerCertificate(): { subject?: { CN: string } } }
        ).getPeerCertificate();
        response.end(peer.subject?.CN ?? 'nobody');
      },
    ),
    ca: own.cert,
    client: { cert: client.cert, key: client.private },
    proxy: await openProxy(servers),
    closedProxy: await openProxy(servers, { authorization: `Basic ${btoa('bob:pa:ss')}` }),
    silent: await servers.raw((socket) => socket.resume()),
    deadPort,
  };
});
after(() => {
  servers.close();
  rmSync(world.folder, { recursive: true, force: true });
});

export const failsWith =
  (reason: string, error: RegExp) =>
  (ran: Ran): void => {
    assert.equal(ran.reason, reason, ran.error ?? 'it succeeded');
    assert.match(ran.error ?? '', error);
  };

/** The path by which a server sends on to another. */
export const to = (origin: string, status: number, path = '/echo') =>
  `/to/${status}/${encodeURIComponent(`${origin}${path}`)}`;

/** Names under `.test` are this machine. */
const testNames: LookupFunction = (hostname, options, callback) =>
  lookup(hostname.endsWith('.test') ? '127.0.0.1' : hostname, options, callback);

/** One test for each row. */
export function testRows(rows: Row[]): void {
  for (const row of rows) {
    test(`http: ${row.option}`, async () => {
      const ran = await runHttp(row.http(world), {
        settings: row.settings?.(world) ?? {},
        lookup: testNames,
      });
      if (row.ends) return row.ends(ran, world);
      assert.equal(ran.outcome, 'succeeded', ran.error ?? '');
      row.sees?.(JSON.parse(ran.stdout) as Seen, world);
    });
  }
}
