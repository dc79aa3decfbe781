import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { test } from 'node:test';
import { systemClock } from '../clock.ts';
import type { Clock } from '../ports.ts';
import { runHttp } from './http.testing.ts';
import { failsWith, type Row, servers, testRows, to } from './httpWorld.testing.ts';

const ENCRYPTED = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc' } as const;

const TLS: Row[] = [
  {
    option: 'tls: a certificate that nobody vouches for is refused',
    http: ({ tls }) => ({ url: tls }),
    ends: failsWith('httpTls', /self-signed/),
  },
  {
    option: 'tls: a port that speaks none says so in few words',
    http: ({ url }) => ({ url: url.replace('http:', 'https:') }),
    ends: failsWith('httpTls', /^wrong version number \(ERR_SSL_WRONG_VERSION_NUMBER\)$/),
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

testRows([...TLS, ...PROXIES, ...TIMEOUTS]);

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
