import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readJob } from './define.ts';
import type { Fault } from './faults.ts';
import type { HttpAction } from './http.ts';

const URL = 'https://example.com/';

function read(http: Record<string, unknown>): { step: HttpAction } | { faults: Fault[] } {
  const result = readJob({ name: 'a', http: { url: URL, ...http } }, { timezone: 'UTC' });
  return 'faults' in result ? result : { step: result.job.definition.steps[0]?.action as HttpAction };
}

const PEM = '-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n';

/** Fields that make an otherwise good request bad; the path and the words of the one fault that they give. */
const BAD: [title: string, http: Record<string, unknown>, path: string, message: RegExp][] = [
  ['an unknown field', { retries: 3 }, 'http.retries', /unknown field/],
  ['a near miss', { redirect: 3 }, 'http.redirect', /did you mean "redirects"/],
  ['an unknown method', { method: 'FETCH' }, 'http.method', /not allowed; one of: GET, HEAD/],
  ['CONNECT', { method: 'CONNECT' }, 'http.method', /not allowed/],
  ['a method in small letters', { method: 'post' }, 'http.method', /did you mean "POST"/],
  ['no URL', { url: undefined }, 'http.url', /not nothing/],
  ['a URL that is none', { url: 'http//x' }, 'http.url', /is not a URL/],
  ['another scheme', { url: 'ftp://x/' }, 'http.url', /only http:\/\/ and https:\/\//],
  ['a password in the URL', { url: 'http://u:p@x/' }, 'http.url', /use `auth`/],
  ['a header of two lines', { headers: { 'X-A': 'a\nb' } }, 'http.headers.X-A', /one line/],
  ['a header beyond Latin-1', { headers: { 'X-A': '€' } }, 'http.headers.X-A', /Latin-1/],
  ['a header twice', { headers: { 'X-A': '1', 'x-a': '2' } }, 'http.headers.x-a', /same header as X-A/],
  [
    'a header of the connection',
    { headers: { 'Content-Length': '1' } },
    'http.headers.Content-Length',
    /set by the connection/,
  ],
  [
    'a header for proxies',
    { headers: { 'Proxy-Authorization': 'x' } },
    'http.headers.Proxy-Authorization',
    /proxy\.username/,
  ],
  [
    'authorization twice',
    { headers: { Authorization: 'x' }, auth: { bearer: 'y' } },
    'http.headers.Authorization',
    /what `auth` sets/,
  ],
  [
    'an idempotency key twice',
    { headers: { 'Idempotency-Key': 'x' }, idempotencyKey: false },
    'http.headers.Idempotency-Key',
    /what `idempotencyKey` sets/,
  ],
  ['an object in the query', { query: { a: {} } }, 'http.query.a', /must be .*, not an object/],
  ['an object in a form', { form: { a: null } }, 'http.form.a', /not null/],
  ['two bodies', { json: 1, file: '/x' }, 'http.file', /has one body, but json and file are set/],
  ['an empty multipart body', { multipart: {} }, 'http.multipart', /must not have fewer than 1/],
  ['a part without a file', { multipart: { a: { filename: 'x' } } }, 'http.multipart.a.file', /is required/],
  [
    'a part of a relative file',
    { multipart: { a: { file: 'x' } } },
    'http.multipart.a.file',
    /absolute path/,
  ],
  [
    'an unknown field of a part',
    { multipart: { a: { file: '/x', name: 'b' } } },
    'http.multipart.a.name',
    /unknown field/,
  ],
  ['a relative file', { file: 'report.csv' }, 'http.file', /absolute path/],
  ['auth of no kind', { auth: {} }, 'http.auth', /exactly one of `basic` and `bearer`/],
  [
    'auth of two kinds',
    { auth: { bearer: 'x', basic: { username: 'u', password: 'p' } } },
    'http.auth',
    /exactly one of/,
  ],
  [
    'basic auth without a password',
    { auth: { basic: { username: 'u' } } },
    'http.auth.basic.password',
    /is required/,
  ],
  [
    'a colon in a user name',
    { auth: { basic: { username: 'a:b', password: 'p' } } },
    'http.auth.basic.username',
    /must not contain ":"/,
  ],
  ['a token with spaces', { auth: { bearer: 'a b' } }, 'http.auth.bearer', /without spaces/],
  ['an unknown kind of auth', { auth: { digest: {} } }, 'http.auth.digest', /unknown field/],
  ['a timeout that is too short', { timeout: '1ms' }, 'http.timeout', /at least 100ms/],
  ['a connectTimeout that is none', { connectTimeout: 'soon' }, 'http.connectTimeout', /"soon"/],
  ['a firstByteTimeout in numbers', { firstByteTimeout: 5 }, 'http.firstByteTimeout', /must be text, not 5/],
  ['too many redirects', { redirects: 21 }, 'http.redirects', /<= 20/],
  [
    'a redirect policy that is none',
    { redirectTo: 'sameHost' },
    'http.redirectTo',
    /one of: any, sameOrigin/,
  ],
  ['a policy for no redirects', { redirects: 0, redirectTo: 'any' }, 'http.redirectTo', /says nothing/],
  ['a certificate that is none', { tls: { ca: 'ca.pem' } }, 'http.tls.ca', /absolute path or PEM text/],
  ['a client certificate without its key', { tls: { cert: PEM } }, 'http.tls.key', /needs its key/],
  ['a key without its certificate', { tls: { key: '/k' } }, 'http.tls.cert', /needs its client certificate/],
  ['a passphrase of nothing', { tls: { passphrase: 'x' } }, 'http.tls.passphrase', /which is not set/],
  [
    'an authority that nobody asks',
    { tls: { ca: PEM, insecure: true } },
    'http.tls.insecure',
    /use one of them/,
  ],
  ['an unknown field of tls', { tls: { verify: false } }, 'http.tls.verify', /unknown field/],
  ['a proxy that is none', { proxy: 'proxy:3128x' }, 'http.proxy', /only http:\/\/|is not a URL/],
  ['a proxy that is true', { proxy: true }, 'http.proxy', /true is not allowed/],
  ['a password in the URL of a proxy', { proxy: 'http://u:p@x/' }, 'http.proxy', /proxy\.username/],
  ['a proxy without a URL', { proxy: { username: 'u' } }, 'http.proxy.url', /is required/],
  [
    'a password of nobody',
    { proxy: { url: 'http://x', password: 'p' } },
    'http.proxy.username',
    /needs its user name/,
  ],
  ['compression by name', { compression: 'gzip' }, 'http.compression', /must be true or false/],
  ['an empty idempotency key', { idempotencyKey: '' }, 'http.idempotencyKey', /one line/],
  ['a sample that is too large', { sampleBytes: 2 ** 21 }, 'http.sampleBytes', /<= 1048576/],
  ['an unknown expectation', { expect: { body: 'ok' } }, 'http.expect.body', /unknown field/],
  ['a status that is none', { expect: { status: [200, '6xx'] } }, 'http.expect.status[1]', /200-204/],
  [
    'a range of status backwards',
    { expect: { status: '204-200' } },
    'http.expect.status',
    /ends before it begins/,
  ],
  ['a pattern that is none', { expect: { match: '(' } }, 'http.expect.match', /missing closing \)/],
  ['look-around', { expect: { noMatch: 'a(?=b)' } }, 'http.expect.noMatch', /RE2 has no look-around/],
  ['a back-reference', { expect: { match: ['ok', '(a)\\1'] } }, 'http.expect.match', /no back-references/],
  [
    'a pattern that is too large',
    { expect: { match: '(?:\\pL{1000}){1}'.repeat(9) } },
    'http.expect.match',
    /too complex/,
  ],
  ['a pattern that is too long', { expect: { match: 'x'.repeat(501) } }, 'http.expect.match', /500/],
  ['a path without $', { expect: { json: { status: 'ok' } } }, 'http.expect.json', /begins with \$/],
  [
    'a path with a wildcard',
    { expect: { json: { '$.a[*]': 1 } } },
    'http.expect.json',
    /is no step of a path/,
  ],
  ['a condition without any', { expect: { json: { '$.a': {} } } }, 'http.expect.json', /needs one of equals/],
  [
    'an unknown condition',
    { expect: { json: { '$.a': { eq: 1 } } } },
    'http.expect.json.$.a.eq',
    /unknown field/,
  ],
  ['a list as a condition', { expect: { json: { '$.a': [1] } } }, 'http.expect.json.$.a', /not a list/],
  ['min above max', { expect: { json: { '$.a': { min: 2, max: 1 } } } }, 'http.expect.json', /more than max/],
  [
    'a condition on what must not be',
    { expect: { json: { '$.a': { exists: false, min: 1 } } } },
    'http.expect.json',
    /no other/,
  ],
  [
    'a bad pattern for a value',
    { expect: { json: { '$.a': { match: '[' } } } },
    'http.expect.json',
    /missing closing/,
  ],
];

for (const [title, http, path, message] of BAD) {
  test(`A request with ${title} gives one fault that names it`, () => {
    const result = read(http);
    const faults = 'faults' in result ? result.faults : [];
    assert.equal(faults.length, 1, JSON.stringify(faults));
    assert.equal(faults[0]?.path.replaceAll('"', ''), path);
    assert.match(faults[0]?.message ?? '', message);
  });
}

test('The shortest request gets every default of the documentation', () => {
  const result = read({});
  assert.ok('step' in result);
  assert.deepEqual(result.step, {
    kind: 'http',
    method: 'GET',
    url: URL,
    headers: {},
    query: {},
    body: { type: 'none' },
    auth: null,
    idempotencyKey: true,
    timeoutMs: 30_000,
    connectTimeoutMs: 10_000,
    firstByteTimeoutMs: null,
    redirects: 5,
    redirectTo: 'any',
    tls: { ca: null, cert: null, key: null, passphrase: null, insecure: false },
    proxy: null,
    compression: true,
    sampleBytes: 65_536,
    expectStatus: ['2xx'],
    expectMatch: [],
    expectNoMatch: [],
    expectJson: [],
  } satisfies HttpAction);
});

test('The longest request says what agents get', () => {
  const result = read({
    method: 'PATCH',
    headers: { 'X-A': 'é' },
    query: { a: [1, true] },
    multipart: { note: [1, 'b'], report: { file: '/r.csv', filename: 'r', type: 'text/csv' } },
    auth: { basic: { username: 'u', password: '' } },
    idempotencyKey: 'own',
    timeout: '1m',
    connectTimeout: '1s',
    firstByteTimeout: '5s',
    redirects: 1,
    redirectTo: 'sameOrigin',
    tls: { ca: PEM, cert: '/c', key: '/k', passphrase: 'x' },
    proxy: { url: 'http://proxy:3128', username: 'u', password: 'p' },
    compression: false,
    sampleBytes: 0,
    expect: { status: [200, '300-302'], match: 'a', noMatch: ['b'], json: { $: 1, '$.a': { exists: true } } },
  });
  assert.ok('step' in result, JSON.stringify(result));
  assert.deepEqual(result.step, {
    kind: 'http',
    method: 'PATCH',
    url: URL,
    headers: { 'X-A': 'é' },
    query: { a: ['1', 'true'] },
    body: {
      type: 'multipart',
      parts: [
        { name: 'note', value: '1' },
        { name: 'note', value: 'b' },
        { name: 'report', file: '/r.csv', filename: 'r', type: 'text/csv' },
      ],
    },
    auth: { username: 'u', password: '' },
    idempotencyKey: 'own',
    timeoutMs: 60_000,
    connectTimeoutMs: 1_000,
    firstByteTimeoutMs: 5_000,
    redirects: 1,
    redirectTo: 'sameOrigin',
    tls: { ca: PEM, cert: '/c', key: '/k', passphrase: 'x', insecure: false },
    proxy: { url: 'http://proxy:3128', username: 'u', password: 'p' },
    compression: false,
    sampleBytes: 0,
    expectStatus: ['200', '300-302'],
    expectMatch: ['a'],
    expectNoMatch: ['b'],
    expectJson: [
      { path: '$', equals: 1 },
      { path: '$.a', exists: true },
    ],
  } satisfies HttpAction);
});
