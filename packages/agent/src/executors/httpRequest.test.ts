import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HTTP_METHODS } from '@rota/contract';
import { runHttp } from './http.testing.ts';
import { createCookies } from './httpCookies.ts';
import { failsWith, type Row, testRows, world } from './httpWorld.testing.ts';

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

testRows([...REQUEST, ...BODIES]);

test('http: a jar of cookies serves several steps of one attempt', async () => {
  const cookies = createCookies();
  await runHttp({ url: `${world.url}/login`, redirects: 0, expect: { status: 302 } }, { cookies });
  const next = await runHttp({ url: `${world.url}/echo` }, { cookies });
  assert.equal(JSON.parse(next.stdout).headers.cookie, 'session=s3cret');
  const elsewhere = await runHttp({ url: world.url.replace('127.0.0.1', 'localhost') }, { cookies });
  assert.equal(JSON.parse(elsewhere.stdout).headers.cookie, undefined);
});
