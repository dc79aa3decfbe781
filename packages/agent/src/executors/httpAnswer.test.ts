import assert from 'node:assert/strict';
import type { HttpField } from '@rota/contract';
import { ANSWER_BYTES } from './httpAnswer.ts';
import { failsWith, PACKED, type Row, TEXT, testRows } from './httpWorld.testing.ts';

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

testRows([...ANSWERS, ...EXPECTATIONS]);
