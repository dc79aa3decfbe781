import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_HTTP_SETTINGS } from '../helperProtocol.ts';
import { proxyFor } from './httpProxy.ts';

const settings = (exempt: string, changes: { http?: string | null; https?: string | null } = {}) => ({
  ...NO_HTTP_SETTINGS,
  proxies: { http: 'http://plain:3128', https: 'http://bob:p%40ss@secure:3128', exempt, ...changes },
});
const own = (url: string, exempt = '') =>
  proxyFor(new URL(url), { proxy: null }, settings(exempt))?.url ?? null;

test("the agent's own proxy is chosen by the scheme of the request", () => {
  assert.equal(own('http://a.example/'), 'http://plain:3128/');
  assert.deepEqual(proxyFor(new URL('https://a.example/'), { proxy: null }, settings('')), {
    url: 'http://secure:3128/',
    authorization: `Basic ${btoa('bob:p@ss')}`,
    isTrusted: true,
  });
  assert.equal(proxyFor(new URL('http://a/'), { proxy: null }, settings('', { http: null })), null);
});

test('what NO_PROXY names, and the own machine, are reached directly', () => {
  const list = ' db.test, .corp.test,*.wild.test intern.test:8080,10.1.2.3,2001:db8::1 ';
  for (const url of [
    'http://localhost/',
    'https://a.localhost:1/',
    'http://127.0.0.1:9/',
    'http://127.9.9.9/',
    'http://[::1]/',
    'http://db.test/',
    'http://DB.test./',
    'https://replica.db.test:5432/',
    'http://corp.test/',
    'http://a.b.corp.test/',
    'http://a.wild.test/',
    'http://intern.test:8080/',
    'http://10.1.2.3/',
    'http://[2001:db8::1]/',
  ])
    assert.equal(own(url, list), null, url);
  for (const url of [
    'http://mydb.test/',
    'http://intern.test/',
    'https://intern.test/',
    'http://10.1.2.4/',
    'http://test/',
  ])
    assert.notEqual(own(url, list), null, url);
  assert.equal(own('http://anything.example/', '*'), null);
});

test("a step's own word counts for more than the environment", () => {
  const url = new URL('http://db.test/');
  assert.equal(proxyFor(url, { proxy: false }, settings('')), null);
  const proxy = { url: 'http://other:8080', username: 'u', password: null };
  assert.deepEqual(proxyFor(url, { proxy }, settings('*')), {
    url: 'http://other:8080',
    authorization: `Basic ${btoa('u:')}`,
    isTrusted: false,
  });
});
