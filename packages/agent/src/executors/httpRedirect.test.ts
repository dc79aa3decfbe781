import assert from 'node:assert/strict';
import { failsWith, type Row, testRows, to } from './httpWorld.testing.ts';

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

testRows(REDIRECTS);
