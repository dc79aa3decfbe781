import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { lookup } from 'node:dns';
import { EventEmitter, once } from 'node:events';
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
import { HTTP_METHODS, type HttpField } from '@rota/contract';
import { generate } from 'selfsigned';
import { systemClock } from '../clock.ts';
import type { HttpSettings } from '../helperProtocol.ts';
import type { Clock } from '../ports.ts';
import { echo, openProxy, openServers, type Ran, runHttp, type Seen } from './http.testing.ts';
import { ANSWER_BYTES } from './httpAnswer.ts';
import { createCookies } from './httpCookies.ts';

/** One row for each option of an `http` step: the step as people write it, and what came of it. */
interface Row {
  option: string;
  http(world: World): HttpField;
  settings?(world: World): Partial<HttpSettings>;
  /** What the answer must say of the request: the echo's, read as JSON. */
  sees?(seen: Seen, world: World): void;
  /** What came of the step; by default it succeeded. */
  ends?(ran: Ran, world: World): void;
}

interface World {
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

const servers = openServers();
let world: World;

const PACKED: Record<string, (text: string | Buffer) => Buffer> = {
  gzip: gzipSync,
  deflate: deflateSync,
  'deflate-raw': deflateRawSync,
  br: (text) => brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
  zstd: zstdCompressSync,
};
const BOMB_BYTES = 50_000_000;
const TEXT = '{"status":"ok","items":[{"id":7,"tags":["a","b"]}],"full name":"x","n":null,"version":"2.4.1"}';

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

const ENCRYPTED = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc' } as const;

const failsWith =
  (reason: string, error: RegExp) =>
  (ran: Ran): void => {
    assert.equal(ran.reason, reason, ran.error ?? 'it succeeded');
    assert.match(ran.error ?? '', error);
  };

const BODIES: Row[] = [
  {
    option: 'json',
    http: ({ url }) => ({ url, json: { n: [1, null, 'ü'] } }),
    sees({ method, headers, body }) {
      assert.deepEqual([method, headers['content-type']], ['POST', 'application/json']);
      assert.deepEqual(JSON.parse(Buffer.from(body, 'latin1').toString()), { n: [1, null, 'ü'] });
    },
  },
  {
    option: 'json: null is a body, too',
    http: ({ url }) => ({ url, json: null }),
    sees: ({ body }) => assert.equal(body, 'null'),
  },
  {
    option: 'form, with a list',
    http: ({ url }) => ({ url, form: { a: 'x & y', b: [1, true] } }),
    sees({ headers, body }) {
      assert.equal(headers['content-type'], 'application/x-www-form-urlencoded');
      assert.equal(body, 'a=x+%26+y&b=1&b=true');
    },
  },
  {
    option: 'multipart: values, lists and files',
    http: ({ url, folder }) => ({
      url,
      multipart: {
        note: 'hi',
        tag: ['a', 'b'],
        report: { file: `${folder}/report.csv`, type: 'text/csv' },
        named: { file: `${folder}/report.csv`, filename: 'a "b".csv' },
      },
    }),
    sees({ headers, body }) {
      assert.match(headers['content-type'] ?? '', /^multipart\/form-data; boundary=/);
      assert.equal(Number(headers['content-length']), body.length);
      assert.match(body, /name="note"\r\n\r\nhi\r\n/);
      assert.match(body, /name="tag"\r\n\r\na\r\n[\s\S]*name="tag"\r\n\r\nb\r\n/);
      assert.match(
        body,
        /name="report"; filename="report.csv"\r\nContent-Type: text\/csv\r\n\r\na;b\n1;2\n\r\n/,
      );
      assert.match(body, /name="named"; filename="a %22b%22.csv"\r\nContent-Type: application\/octet-stream/);
    },
  },
  {
    option: 'body: text as it is',
    http: ({ url }) => ({ url, body: '<a/>', headers: { 'Content-Type': 'text/xml' }, method: 'PUT' }),
    sees({ method, headers, body }) {
      assert.deepEqual([method, headers['content-type'], body], ['PUT', 'text/xml', '<a/>']);
    },
  },
  {
    option: 'file: one of the agent machine',
    http: ({ url, folder }) => ({ url, file: `${folder}/report.csv` }),
    sees({ method, headers, body }) {
      assert.deepEqual([method, body], ['POST', 'a;b\n1;2\n']);
      assert.deepEqual(
        [headers['content-length'], headers['content-type']],
        ['8', 'application/octet-stream'],
      );
    },
  },
  {
    option: 'file: sent again after a 307',
    http: ({ url, folder }) => ({ url: `${url}/to/307/echo`, file: `${folder}/report.csv` }),
    sees: ({ method, body }) => assert.deepEqual([method, body], ['POST', 'a;b\n1;2\n']),
  },
  {
    option: 'file: one that is not there',
    http: ({ url, folder }) => ({ url, file: `${folder}/none` }),
    ends: failsWith('httpFailed', /none cannot be sent: ENOENT/),
  },
  {
    option: 'file: what is no file',
    http: ({ url }) => ({ url, file: '/dev/zero' }),
    ends: failsWith('httpFailed', /\/dev\/zero cannot be sent: it is no regular file/),
  },
];

const REQUEST: Row[] = [
  ...HTTP_METHODS.map(
    (method): Row => ({
      option: `method: ${method}`,
      http: ({ url }) => ({ url, method }),
      ends(ran) {
        assert.equal(ran.outcome, 'succeeded', ran.error ?? '');
        if (method !== 'HEAD') assert.equal(JSON.parse(ran.stdout).method, method);
      },
    }),
  ),
  {
    option: 'headers, User-Agent among them',
    http: ({ url }) => ({ url, headers: { 'User-Agent': 'nightly/2', 'X-Mode': 'full' } }),
    sees: ({ headers }) =>
      assert.deepEqual([headers['user-agent'], headers['x-mode']], ['nightly/2', 'full']),
  },
  {
    option: 'headers: Host, for a server that has several names',
    http: ({ url }) => ({ url, headers: { Host: 'shop.example' } }),
    sees: ({ headers }) => assert.equal(headers.host, 'shop.example'),
  },
  {
    option: 'headers: without any, Rota says who it is',
    http: ({ url }) => ({ url }),
    sees: ({ headers }) => assert.match(headers['user-agent'] ?? '', /^rota\/\d/),
  },
  {
    option: 'query, with a list, beside what the URL has',
    http: ({ url }) => ({ url: `${url}/p?a=1`, query: { b: 'x y', c: [1, 2], d: true } }),
    sees: ({ url }) => assert.equal(url, '/p?a=1&b=x+y&c=1&c=2&d=true'),
  },
  {
    option: 'auth.basic',
    http: ({ url }) => ({ url, auth: { basic: { username: 'böb', password: 'pa:ss' } } }),
    sees: ({ headers }) =>
      assert.equal(headers.authorization, `Basic ${Buffer.from('böb:pa:ss').toString('base64')}`),
  },
  {
    option: 'auth.bearer',
    http: ({ url }) => ({ url, auth: { bearer: 'tok.en' } }),
    sees: ({ headers }) => assert.equal(headers.authorization, 'Bearer tok.en'),
  },
  {
    option: "idempotencyKey: the attempt's id by default",
    http: ({ url }) => ({ url }),
    sees: ({ headers }) => assert.equal(headers['idempotency-key'], 'attempt-1'),
  },
  {
    option: 'idempotencyKey: false',
    http: ({ url }) => ({ url, idempotencyKey: false }),
    sees: ({ headers }) => assert.equal(headers['idempotency-key'], undefined),
  },
  {
    option: 'idempotencyKey: one of its own',
    http: ({ url }) => ({ url, idempotencyKey: 'order 7' }),
    sees: ({ headers }) => assert.equal(headers['idempotency-key'], 'order 7'),
  },
  {
    option: 'cookies: what an answer sets goes along, where it belongs',
    http: ({ url }) => ({ url: `${url}/login`, headers: { Cookie: 'own=1' } }),
    sees: ({ headers }) => assert.equal(headers.cookie, 'own=1; session=s3cret'),
  },
];

const to = (origin: string, status: number, path = '/echo') =>
  `/to/${status}/${encodeURIComponent(`${origin}${path}`)}`;

const REDIRECTS: Row[] = [
  {
    option: 'redirects: five by default',
    http: ({ url }) => ({ url: `${url}/hops/5` }),
    ends: (ran) => assert.deepEqual([ran.outcome, ran.http?.redirects], ['succeeded', 5]),
  },
  {
    option: 'redirects: a limit',
    http: ({ url }) => ({ url: `${url}/hops/3`, redirects: 2 }),
    ends(ran) {
      failsWith('httpRedirect', /more than 2 redirects; the next would be \/hops\/0/)(ran);
      assert.deepEqual([ran.http?.status, ran.http?.redirects], [302, 2]);
    },
  },
  {
    option: 'redirects: 0 follows none',
    http: ({ url }) => ({ url: `${url}/hops/1`, redirects: 0 }),
    ends: failsWith('httpRedirect', /more than 0 redirects/),
  },
  {
    option: 'redirects: one that is expected is the answer',
    http: ({ url }) => ({ url: `${url}/hops/1`, expect: { status: 302 } }),
    ends: (ran) => assert.deepEqual([ran.outcome, ran.http?.status], ['succeeded', 302]),
  },
  {
    option: 'redirectTo: sameOrigin follows on the same origin',
    http: ({ url }) => ({ url: `${url}/hops/2`, redirectTo: 'sameOrigin' }),
    ends: (ran) => assert.deepEqual([ran.outcome, ran.http?.redirects], ['succeeded', 2]),
  },
  {
    option: 'redirectTo: sameOrigin leaves it not',
    http: ({ url, other }) => ({ url: `${url}${to(other, 302)}`, redirectTo: 'sameOrigin' }),
    ends: failsWith('httpRedirect', /which is another origin/),
  },
  ...([301, 302, 303] as const).map(
    (status): Row => ({
      option: `redirect ${status} makes a GET of a POST`,
      http: ({ url }) => ({ url: `${url}/to/${status}/echo`, json: 1 }),
      sees: ({ method, body, headers }) =>
        assert.deepEqual([method, body, headers['content-type']], ['GET', '', undefined]),
    }),
  ),
  ...([307, 308] as const).map(
    (status): Row => ({
      option: `redirect ${status} keeps method and body`,
      http: ({ url }) => ({ url: `${url}/to/${status}/echo`, json: 1 }),
      sees: ({ method, body, headers }) =>
        assert.deepEqual([method, body, headers['content-type']], ['POST', '1', 'application/json']),
    }),
  ),
  {
    option: 'redirect 302 keeps a PUT, 303 makes a GET of it',
    http: ({ url }) => ({ url: `${url}/to/302/to/303/echo`, method: 'PUT', json: 1 }),
    sees: ({ method, body }) => assert.deepEqual([method, body], ['GET', '']),
  },
  {
    option: 'redirect to another origin: credentials and cookies stay behind',
    http: ({ url, other }) => ({
      url: `${url}${to(other, 307)}`,
      auth: { bearer: 'secret' },
      headers: { Cookie: 'own=1', 'X-Kept': '1' },
    }),
    sees: ({ headers }) =>
      assert.deepEqual(
        [headers.authorization, headers.cookie, headers['x-kept']],
        [undefined, undefined, '1'],
      ),
  },
  {
    option: 'redirect with a name and password in it: they are not used',
    http: ({ url, other }) => ({ url: `${url}${to(other.replace('//', '//bob:pass@'), 302)}` }),
    sees: ({ headers }) => assert.equal(headers.authorization, undefined),
  },
  ...['ftp://x/', 'file:///etc/passwd', 'http://', 'javascript:alert(1)'].map(
    (place): Row => ({
      option: `redirect to ${place} is not followed`,
      http: ({ url }) => ({ url: `${url}/to/302/${encodeURIComponent(place)}` }),
      ends: failsWith('httpRedirect', /redirected to/),
    }),
  ),
];

const TLS: Row[] = [
  {
    option: 'tls: a certificate that nobody vouches for is refused',
    http: ({ tls }) => ({ url: tls }),
    ends: failsWith('httpTls', /self-signed/),
  },
  {
    option: 'tls.ca as a file',
    http: ({ tls, folder }) => ({ url: tls, tls: { ca: `${folder}/ca.pem` } }),
    sees: ({ method }) => assert.equal(method, 'GET'),
  },
  {
    option: 'tls.ca as PEM',
    http: ({ tls, ca }) => ({ url: tls, tls: { ca } }),
    sees: ({ method }) => assert.equal(method, 'GET'),
  },
  {
    option: 'tls.ca vouches for no other name',
    http: ({ tls, ca }) => ({ url: tls.replace('localhost', 'other.test'), tls: { ca } }),
    ends: failsWith('httpTls', /altnames/),
  },
  {
    option: 'tls.ca that cannot be read',
    http: ({ tls, folder }) => ({ url: tls, tls: { ca: `${folder}/none.pem` } }),
    ends: failsWith('httpTls', /none\.pem \(tls\.ca\) cannot be read: ENOENT/),
  },
  {
    option: 'tls.ca that is none',
    http: ({ tls }) => ({ url: tls, tls: { ca: '-----BEGIN CERTIFICATE-----\nnonsense\n' } }),
    ends: failsWith('httpTls', /./),
  },
  {
    option: 'tls.passphrase that is wrong',
    http({ mutual, ca, client }) {
      const key = createPrivateKey(client.key)
        .export({ ...ENCRYPTED, passphrase: 'open' })
        .toString();
      return { url: mutual, tls: { ca, cert: client.cert, key, passphrase: 'shut' } };
    },
    ends: failsWith('httpTls', /./),
  },
  {
    option: 'tls.insecure, with a warning',
    http: ({ tls }) => ({ url: tls, tls: { insecure: true } }),
    ends(ran, { tls }) {
      assert.equal(ran.outcome, 'succeeded', ran.error ?? '');
      assert.equal(
        ran.stderr,
        `warning: the certificate of ${new URL(tls).host} is not checked (tls.insecure)\n`,
      );
    },
  },
  {
    option: 'tls.cert and tls.key as files',
    http: ({ mutual, ca, folder }) => ({
      url: mutual,
      tls: { ca, cert: `${folder}/client.pem`, key: `${folder}/client.key` },
    }),
    ends: (ran) => assert.equal(ran.stdout, 'nightly', ran.error ?? ''),
  },
  {
    option: 'tls.cert, tls.key and tls.passphrase as PEM',
    http: ({ mutual, ca, client }) => {
      const key = createPrivateKey(client.key)
        .export({ ...ENCRYPTED, passphrase: 'open' })
        .toString();
      return { url: mutual, tls: { ca, cert: client.cert, key, passphrase: 'open' } };
    },
    ends: (ran) => assert.equal(ran.stdout, 'nightly', ran.error ?? ''),
  },
  {
    option: 'tls.cert is shown to the first origin alone',
    http: ({ tls, mutual, ca, client }) => ({
      url: `${tls}${to(mutual, 302)}`,
      tls: { ca, cert: client.cert, key: client.key },
    }),
    ends: (ran) => assert.equal(ran.stdout, 'nobody', ran.error ?? ''),
  },
];

const PROXIES: Row[] = [
  {
    option: 'proxy for http',
    http: ({ url, proxy }) => ({ url: `${url}/p`, proxy: proxy.url }),
    sees: (_seen, { url, proxy }) => assert.equal(proxy.asked.at(-1), `GET ${url}/p`),
  },
  {
    option: 'proxy for https, by CONNECT',
    http: ({ tls, ca, proxy }) => ({ url: tls, tls: { ca }, proxy: proxy.url, json: 1 }),
    sees({ method, headers }, { tls, proxy }) {
      assert.equal(method, 'POST');
      assert.equal(headers['proxy-authorization'], undefined);
      assert.equal(proxy.asked.at(-1), `CONNECT ${new URL(tls).host}`);
    },
  },
  {
    option: 'proxy.username and proxy.password',
    http: ({ tls, ca, closedProxy }) => ({
      url: tls,
      tls: { ca },
      proxy: { url: closedProxy.url, username: 'bob', password: 'pa:ss' },
    }),
    sees: ({ method }) => assert.equal(method, 'GET'),
  },
  {
    option: 'proxy that refuses a tunnel',
    http: ({ tls, closedProxy }) => ({ url: tls, proxy: closedProxy.url }),
    ends: failsWith('httpProxy', /407/),
  },
  {
    option: 'proxy that refuses a request',
    http: ({ url, closedProxy }) => ({ url, proxy: closedProxy.url }),
    ends: failsWith('httpProxy', /407/),
  },
  {
    option: "proxy: the agent's own, where the step names none",
    http: ({ url }) => ({ url: `${url.replace('127.0.0.1', 'service.test')}/own` }),
    settings: ({ proxy }) => ({ proxies: { http: proxy.url, https: null, exempt: 'db.test' } }),
    sees: ({ headers }, { url, proxy }) =>
      assert.equal(proxy.asked.at(-1), `GET http://${headers.host}/own`, url),
  },
  {
    option: "proxy: false goes past the agent's own",
    http: ({ url }) => ({ url, proxy: false }),
    settings: ({ deadPort }) => ({
      proxies: { http: `http://127.0.0.1:${deadPort}`, https: null, exempt: '' },
    }),
    sees: ({ method }) => assert.equal(method, 'GET'),
  },
];

const ANSWERS: Row[] = [
  ...Object.keys(PACKED).map(
    (coding): Row => ({
      option: `compression: ${coding} is unpacked`,
      http: ({ url }) => ({ url: `${url}/packed/${coding}`, expect: { json: { '$.status': 'ok' } } }),
      ends: (ran) => assert.equal(ran.stdout, TEXT, ran.error ?? ''),
    }),
  ),
  {
    option: 'compression: packed twice',
    http: ({ url }) => ({ url: `${url}/twice` }),
    ends: (ran) => assert.equal(ran.stdout, TEXT, ran.error ?? ''),
  },
  {
    option: 'compression: is asked for',
    http: ({ url }) => ({ url }),
    sees: ({ headers }) => assert.equal(headers['accept-encoding'], 'gzip, deflate, br, zstd'),
  },
  {
    option: 'compression: false asks for none',
    http: ({ url }) => ({ url, compression: false }),
    sees: ({ headers }) => assert.equal(headers['accept-encoding'], undefined),
  },
  ...['gzip', 'deflate', 'br', 'zstd'].map(
    (coding): Row => ({
      option: `compression: of a ${coding} bomb no more is unpacked than is read`,
      http: ({ url }) => ({ url: `${url}/bomb/${coding}` }),
      ends: (ran) =>
        assert.deepEqual([ran.outcome, ran.stdout.length], ['succeeded', 64 * 1024], ran.error ?? ''),
    }),
  ),
  {
    option: 'compression: what is damaged fails',
    http: ({ url }) => ({ url: `${url}/damaged` }),
    ends: failsWith('httpFailed', /cannot be unpacked \(gzip\)/),
  },
  {
    option: 'compression: what is not known is kept as it is, with a warning',
    http: ({ url }) => ({ url: `${url}/strange` }),
    ends: (ran) => assert.match(`${ran.stdout} ${ran.stderr}`, /^uryyb warning: .*rot13/),
  },
  {
    option: 'compression: an empty answer, and one to HEAD',
    http: ({ url }) => ({ url: `${url}/empty`, method: 'HEAD' }),
    ends: (ran) => assert.deepEqual([ran.outcome, ran.stdout], ['succeeded', ''], ran.error ?? ''),
  },
  {
    option: 'compression: an empty answer to GET',
    http: ({ url }) => ({ url: `${url}/empty` }),
    ends: (ran) => assert.deepEqual([ran.outcome, ran.stdout], ['succeeded', ''], ran.error ?? ''),
  },
  {
    option: 'sampleBytes',
    http: ({ url }) => ({ url: `${url}/long/5000000`, sampleBytes: 100_000 }),
    ends: (ran) => assert.deepEqual([ran.outcome, ran.stdout.length], ['succeeded', 100_000]),
  },
  {
    option: 'sampleBytes: 0 keeps nothing, and checks all the same',
    http: ({ url }) => ({ url: `${url}/text`, sampleBytes: 0, expect: { match: '"status":"no"' } }),
    ends: (ran) => assert.deepEqual([ran.reason, ran.stdout], ['httpAnswer', '']),
  },
];

type Expect = NonNullable<HttpField['expect']>;
const expectation = (option: string, expect: Expect, path = '/text'): Row => ({
  option,
  http: ({ url }) => ({ url: `${url}${path}`, expect }),
  ends: (ran) => assert.equal(ran.outcome, 'succeeded', ran.error ?? ''),
});
const rejection = (option: string, expect: Expect, error: RegExp, path = '/text'): Row => ({
  option,
  http: ({ url }) => ({ url: `${url}${path}`, expect }),
  ends: failsWith('httpAnswer', error),
});

const EXPECTATIONS: Row[] = [
  ...[404, '404', '4xx', '400-410', [200, '404']].map((status) =>
    expectation(`expect.status: ${JSON.stringify(status)}`, { status } as Expect, '/status/404'),
  ),
  {
    option: 'expect.status: not met, with the answer as evidence',
    http: ({ url }) => ({ url: `${url}/status/503`, expect: { status: ['2xx', 404] } }),
    ends(ran) {
      failsWith('httpStatus', /^status 503; expected 2xx, 404$/)(ran);
      assert.deepEqual([ran.http?.status, ran.stdout], [503, 'status 503']);
    },
  },
  expectation('expect.match', { match: '"id":\\s*\\d+' }),
  rejection('expect.match: not met', { match: ['ok', 'done'] }, /does not match done/),
  expectation('expect.match in the character set that the answer names', { match: '^grüße$' }, '/latin1'),
  expectation('expect.noMatch', { noMatch: ['ERROR', '(?i)exception'] }),
  rejection('expect.noMatch: not met', { noMatch: 'ok' }, /matches ok, which it must not/),
  expectation(
    'expect.match: the start of an answer without end',
    { match: '^x+' },
    `/long/${ANSWER_BYTES + 9}`,
  ),
  rejection(
    'expect.match: beyond what is read',
    { match: 'y' },
    /does not match y in its first/,
    `/long/${ANSWER_BYTES + 9}`,
  ),
  rejection(
    'expect.noMatch: of what is too long nothing is promised',
    { noMatch: 'y' },
    /too long for `noMatch`/,
    `/long/${ANSWER_BYTES + 9}`,
  ),
  expectation(
    'expect.match: a pattern that backtracking would never end',
    { match: '^(x+x+)+x$' },
    '/long/300000',
  ),
  rejection('expect.match: nor where it does not match', { match: '^(x+x+)+y$' }, /does not/, '/long/300000'),
  expectation('expect.json: a value, and several', {
    json: {
      '$.status': 'ok',
      '$.items[0].id': 7,
      "$['full name']": 'x',
      '$.n': null,
      '$.items[-1].tags[1]': 'b',
    },
  }),
  rejection(
    'expect.json: another value',
    { json: { '$.status': 'done' } },
    /\$\.status of the answer is "ok"; expected "done"/,
  ),
  rejection('expect.json: a number is no text', { json: { '$.items[0].id': '7' } }, /is 7; expected "7"/),
  rejection(
    'expect.json: nothing there',
    { json: { '$.items[1].id': 7 } },
    /has nothing at \$\.items\[1\]\.id/,
  ),
  expectation('expect.json equals: a whole object', {
    json: { '$.items[0]': { equals: { tags: ['a', 'b'], id: 7 } } },
  }),
  expectation('expect.json min and max', { json: { '$.items[0].id': { min: 7, max: 7 } } }),
  rejection('expect.json min: not met', { json: { '$.items[0].id': { min: 8 } } }, /expected at least 8/),
  rejection('expect.json max: what is no number', { json: { '$.status': { max: 8 } } }, /expected at most 8/),
  expectation('expect.json match', { json: { '$.version': { match: '^2\\.' } } }),
  rejection('expect.json match: not met', { json: { '$.version': { match: '^3' } } }, /does not match \^3/),
  expectation('expect.json exists', { json: { '$.n': { exists: true }, '$.error': { exists: false } } }),
  rejection(
    'expect.json exists: false, but it is there',
    { json: { '$.n': { exists: false } } },
    /must not be there/,
  ),
  rejection('expect.json: what is no JSON', { json: { $: 1 } }, /is not JSON/, '/status/200'),
];

const TIMEOUTS: Row[] = [
  {
    option: 'connectTimeout: TLS that never stands',
    http: ({ silent }) => ({ url: `https://127.0.0.1:${silent}/`, connectTimeout: '100ms' }),
    ends: failsWith('httpConnectTimeout', /no connection to 127.0.0.1:\d+ within 100 ms/),
  },
  {
    option: 'connectTimeout: a proxy that never answers',
    http: ({ tls, silent }) => ({ url: tls, proxy: `http://127.0.0.1:${silent}`, connectTimeout: '100ms' }),
    ends: failsWith('httpConnectTimeout', /no connection/),
  },
  {
    option: 'firstByteTimeout',
    http: ({ url }) => ({ url: `${url}/never`, firstByteTimeout: '100ms' }),
    ends: failsWith('httpFirstByteTimeout', /no answer began within 100 ms/),
  },
];

const ROWS: Row[] = [
  ...REQUEST,
  ...BODIES,
  ...REDIRECTS,
  ...TLS,
  ...PROXIES,
  ...ANSWERS,
  ...EXPECTATIONS,
  ...TIMEOUTS,
];

/** Names under `.test` are this machine. */
const testNames: LookupFunction = (hostname, options, callback) =>
  lookup(hostname.endsWith('.test') ? '127.0.0.1' : hostname, options, callback);

for (const row of ROWS) {
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

test('http: a jar of cookies serves several steps of one attempt', async () => {
  const cookies = createCookies();
  await runHttp({ url: `${world.url}/login`, redirects: 0, expect: { status: 302 } }, { cookies });
  const next = await runHttp({ url: `${world.url}/echo` }, { cookies });
  assert.equal(JSON.parse(next.stdout).headers.cookie, 'session=s3cret');
  const elsewhere = await runHttp({ url: world.url.replace('127.0.0.1', 'localhost') }, { cookies });
  assert.equal(JSON.parse(elsewhere.stdout).headers.cookie, undefined);
});

/** A clock that stands still; `pass` ends all timers of so many milliseconds that nobody has cancelled. */
function stillClock(): { clock: Clock; pass(ms: number): void } {
  const timers = new Set<{ ms: number; callback(): void }>();
  const clock: Clock = {
    ...systemClock,
    after(ms, callback) {
      const timer = { ms, callback };
      timers.add(timer);
      return { cancel: () => timers.delete(timer) };
    },
  };
  const pass = (ms: number) => {
    for (const timer of timers) if (timer.ms === ms && timers.delete(timer)) timer.callback();
  };
  return { clock, pass };
}

test('http: timeout says what it was doing, and the others count only their own part', async () => {
  const happened = new EventEmitter();
  const url = await servers.http((request, response) => {
    if (request.url === '/begun') response.writeHead(200).write('a');
    else happened.emit('request');
  });
  const port = await servers.raw(() => happened.emit('connection'));
  const times = { connectTimeout: '1s', firstByteTimeout: '2s', timeout: '3s' };
  const cases: [url: string, event: string, passing: number[], reason: string, error: RegExp][] = [
    [`https://127.0.0.1:${port}/`, 'connection', [2_000, 3_000], 'httpTimeout', /was being connected to/],
    [`https://127.0.0.1:${port}/`, 'connection', [2_000, 1_000], 'httpConnectTimeout', /no connection/],
    [url, 'request', [1_000, 3_000], 'httpTimeout', /the answer had not begun/],
    [url, 'request', [1_000, 2_000], 'httpFirstByteTimeout', /no answer began/],
    [`${url}/begun`, 'output', [1_000, 2_000, 3_000], 'httpTimeout', /the answer had begun/],
  ];
  for (const [address, event, passing, reason, error] of cases) {
    const { clock, pass } = stillClock();
    const moment = once(happened, event);
    const ran = runHttp({ url: address, ...times }, { clock, onOutput: () => happened.emit('output') });
    await moment;
    for (const ms of passing) pass(ms);
    failsWith(reason, error)(await ran);
  }
});
