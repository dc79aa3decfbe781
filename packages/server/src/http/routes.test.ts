import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { createClient, faultsOf, LIMITS, ROUTES, type Route, type RouteName } from '@rota/contract';
import { assertProblem, roleBelow, startTestServer, type TestServer } from '../server.testing.ts';

const ALL = Object.entries(ROUTES) as [RouteName, Route][];
const filled = (path: string) => path.replace(':name', 'some-name').replace(':id', 'abcd1234');

test('Each route answers 401 without a token and 403 to a role that is too small, before it looks at anything else', async (t) => {
  const server = await startTestServer(t);
  const tokens = {
    viewer: await server.tokenOf('viewer'),
    operator: await server.tokenOf('operator'),
    editor: await server.tokenOf('editor'),
  };
  for (const [name, route] of ALL) {
    if (route.permission === 'open') continue;
    const body = route.body ? 'not json' : undefined;
    const nobody = await server.send(route.method, filled(route.path), body, null);
    assert.equal(nobody.status, 401, name);
    assertProblem(nobody, 'auth.missing');
    assert.match(nobody.headers.get('www-authenticate') ?? '', /^Bearer/);
    const below = roleBelow(route.permission);
    if (below === null || below === 'admin') continue;
    const small = await server.send(route.method, filled(route.path), body, tokens[below]);
    assert.equal(small.status, 403, name);
    assertProblem(small, 'auth.forbidden');
  }
});

test('Open are only the health checks, the page at / and the join handshake', () => {
  const open = ALL.filter(([, route]) => route.permission === 'open').map(([name]) => name);
  assert.deepEqual(open.sort(), ['health', 'home', 'joinAgent', 'ready']);
});

test('Only a bearer header carries a token', async (t) => {
  const server = await startTestServer(t);
  const { url, token } = server;
  assert.equal((await server.send('GET', `/api/v1/jobs?token=${token}`, undefined, null)).status, 401);
  assert.equal((await server.send('GET', `/api/v1/jobs?access_token=${token}`, undefined, null)).status, 401);
  for (const authorization of [
    token,
    `Basic ${Buffer.from(`x:${token}`).toString('base64')}`,
    'Bearer',
    'Bearer ',
    `Bearer ${token}x`,
    `Bearer ${token.slice(0, -1)}`,
    `Bearer ${token} ${token}`,
    `Bearer ${token.toUpperCase()}`,
    `Bearer rotajoin${token.slice(4)}`,
    'Bearer rota_aaaaaaaaaaaa_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
  ]) {
    const response = await fetch(`${url}/api/v1/jobs`, { headers: { authorization } });
    assert.equal(response.status, 401, authorization);
    await response.body?.cancel();
  }
  const lower = await fetch(`${url}/api/v1/jobs`, { headers: { authorization: `bearer ${token}` } });
  assert.equal(lower.status, 200);
  await lower.body?.cancel();
});

/** Sends a path exactly as it is; `fetch` would tidy it up. */
function raw(
  server: TestServer,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<number> {
  const { hostname, port } = new URL(server.url);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, method, headers }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    sent.on('error', reject);
    sent.end();
  });
}

test('No spelling of a protected path gets around its permission', async (t) => {
  const server = await startTestServer(t);
  await server.send('PUT', '/api/v1/jobs/secret', { command: 'true' });
  for (const path of [
    '/api/v1/jobs/',
    '//api/v1/jobs',
    '/api//v1/jobs',
    '/API/V1/JOBS',
    '/api/v1/jobs.json',
    '/api/v1/jobs;a=b',
    '/api/v1/jobs;/healthz',
    '/api/v1/jobs%2f',
    '/api/v1%2fjobs',
    '/%61pi/v1/jobs',
    '/api/v1/jobs%20',
    '/api/v1/jobs.',
    '/api/v1/jobs%00',
    '/healthz/../api/v1/jobs',
    '/healthz/..%2fapi/v1/jobs',
    '/./api/v1/jobs',
    '/api/v1/jobs/secret/',
    '/api/v1/jobs/secret%2f',
    '/api/v1/jobs/secret;x',
    '/api/v1/jobs/%73ecret',
    '/api/v1/jobs#/healthz',
    '/metrics/',
    '/METRICS',
    'http://healthz/api/v1/jobs',
  ]) {
    const status = await raw(server, path);
    assert.ok([400, 401, 404].includes(status), `${path}: ${status}`);
  }
  const override = {
    'x-http-method-override': 'GET',
    'x-method-override': 'GET',
    'x-original-url': '/healthz',
    'x-rewrite-url': '/healthz',
  };
  assert.equal(await raw(server, '/api/v1/jobs', override), 401);
  const viewer = {
    ...override,
    'x-http-method-override': 'DELETE',
    authorization: `Bearer ${await server.tokenOf('viewer')}`,
  };
  assert.equal(await raw(server, '/api/v1/jobs/secret', viewer), 200);
  assert.equal((await server.send('GET', '/api/v1/jobs/secret')).status, 200);
});

test('What cannot be routed or read is a problem that says why', async (t) => {
  const server = await startTestServer(t);
  assertProblem(await server.send('GET', '/nowhere'), 'route.notFound');
  const wrong = await server.send('PATCH', '/api/v1/jobs/a', {});
  assertProblem(wrong, 'route.methodNotAllowed');
  assert.deepEqual((wrong.headers.get('allow') ?? '').split(', ').sort(), ['DELETE', 'GET', 'PUT']);
  assertProblem(await server.send('PUT', '/api/v1/jobs/a', '{"command": '), 'request.invalid');
  assertProblem(
    await server.send('PUT', '/api/v1/jobs/a', '{"__proto__": {"command": "x"}}'),
    'request.invalid',
  );
  assertProblem(await server.send('PUT', '/api/v1/jobs/a', ''), 'request.invalid');
  assertProblem(
    await server.send('PUT', '/api/v1/jobs/a', `"${'x'.repeat(LIMITS.bodyBytes)}"`),
    'request.tooLarge',
  );
  assertProblem(await server.send('GET', '/api/v1/jobs/%zz'), 'request.invalid');
  const text = await fetch(`${server.url}/api/v1/jobs/a`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${server.token}`, 'content-type': 'text/plain' },
    body: 'x',
  });
  assert.equal(text.status, 415);
  assert.equal(((await text.json()) as { code: string }).code, 'request.unsupportedMediaType');
  const query = assertProblem(await server.send('GET', '/api/v1/jobs?limit=0&pefix=a'), 'request.invalid');
  assert.deepEqual(query.faults?.map(({ path, message }) => `${path}: ${message}`).sort(), [
    'limit: 0: must be >= 1',
    'pefix: unknown field (did you mean "prefix"?)',
  ]);
  assertProblem(await server.send('GET', '/api/v1/jobs?limit=2&limit=3'), 'request.invalid');
  assertProblem(await server.send('GET', '/api/v1/jobs?cursor=bm9uc2Vuc2U'), 'request.invalid');
  assertProblem(await server.send('GET', '/api/v1/runs?from=yesterday'), 'request.invalid');
  assertProblem(await server.send('GET', '/api/v1/runs?state=runing'), 'request.invalid');
  const deep = `{"http": {"url": "http://a/", "json": ${'['.repeat(100_000)}${']'.repeat(100_000)}}}`;
  assertProblem(await server.send('PUT', '/api/v1/jobs/a', deep), 'request.invalid');
});

test('Answers carry strict headers, no CORS, and HEAD works', async (t) => {
  const server = await startTestServer(t);
  for (const path of ['/', '/healthz', '/api/v1/jobs', '/nowhere', '/%zz']) {
    const { headers } = await server.send('GET', path);
    assert.equal(headers.get('x-content-type-options'), 'nosniff', path);
    assert.equal(headers.get('x-frame-options'), 'DENY');
    assert.equal(headers.get('cache-control'), 'no-store');
    assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'/);
    assert.equal(headers.get('access-control-allow-origin'), null);
    assert.equal(headers.get('server'), null);
    assert.equal(headers.get('x-powered-by'), null);
  }
  assert.equal((await server.send('HEAD', '/api/v1/jobs')).status, 200);
  assert.equal((await server.send('HEAD', '/api/v1/jobs', undefined, null)).status, 401);
  assert.ok([404, 405].includes((await server.send('HEAD', '/api/v1/events')).status));
  assert.ok([404, 405].includes((await server.send('OPTIONS', '/api/v1/jobs')).status));
});

test('The page at / says what to type and holds nothing secret', async (t) => {
  const server = await startTestServer(t);
  const { text, headers } = await server.send('GET', '/', undefined, null);
  assert.match(headers.get('content-type') ?? '', /^text\/html/);
  assert.equal(text.match(/<code>npx rota (job|logs|import)/g)?.length, 3);
  assert.ok(text.includes(server.url));
  assert.doesNotMatch(text, /<script|rota_|style=/);
  const { hostname, port } = new URL(server.url);
  const odd = await new Promise<string>((resolve) => {
    request({ hostname, port, path: '/', headers: { host: '"><script>alert(1)</script>' } }, (response) => {
      let got = '';
      response.on('data', (part) => {
        got += part;
      });
      response.on('end', () => resolve(got));
    }).end();
  });
  assert.doesNotMatch(odd, /<script/);
});

test('Health and readiness are a status and nothing else', async (t) => {
  const server = await startTestServer(t);
  assert.equal((await server.send('GET', '/healthz', undefined, null)).text, '{"status":"ok"}');
  assert.equal((await server.send('GET', '/readyz', undefined, null)).text, '{"status":"ok"}');
});

test('OpenAPI 3.1 describes every route of the contract', async (t) => {
  const server = await startTestServer(t);
  const { json } = await server.send('GET', '/api/v1/openapi.json');
  assert.equal(json.openapi, '3.1.0');
  const described = Object.values(
    json.paths as Record<string, Record<string, { operationId: string }>>,
  ).flatMap((methods) =>
    Object.entries(methods).flatMap(([method, each]) => (method === 'head' ? [] : [each.operationId])),
  );
  assert.deepEqual(described.sort(), ALL.map(([name]) => name).sort());
  const put = json.paths['/api/v1/jobs/{name}'].put;
  assert.deepEqual(put.security, [{ token: [] }]);
  assert.ok(put.responses['409'].content['application/problem+json']);
});

test('What the lists and single views answer is what the contract says', async (t) => {
  const server = await startTestServer(t);
  const document = { command: 'echo', schedule: ['every 1h', '0 0 * * *'], labels: { a: 'b' } };
  await server.send('PUT', '/api/v1/jobs/a', document);
  const { json: started } = await server.send('POST', '/api/v1/jobs/a/run', {});
  const exec = await server.send('POST', '/api/v1/exec', { command: 'echo hi' });
  assert.equal(exec.status, 201, exec.text);
  await server.send('POST', '/api/v1/join-tokens', {});
  const params: Record<string, string> = { name: 'a', id: started.run.id };
  for (const [name, route] of ALL) {
    if (route.method !== 'GET' || !route.response || name === 'getAgent') continue;
    const answer = await server.send(
      'GET',
      route.path.replace(/:(\w+)/, (_, key) => params[key] ?? ''),
    );
    assert.equal(answer.status, route.status, `${name}: ${answer.text}`);
    assert.deepEqual(faultsOf(route.response, answer.json), [], name);
  }
});

test('The typed client speaks with a real server', async (t) => {
  const server = await startTestServer(t);
  const client = createClient({ url: server.url, token: server.token, fetch });
  await client.call('putJob', { params: { name: 'a' }, body: { command: 'echo' } });
  assert.equal((await client.call('getJob', { params: { name: 'a' } })).name, 'a');
  assert.equal(await client.call('deleteJob', { params: { name: 'a' } }), undefined);
  await assert.rejects(client.call('getJob', { params: { name: 'a' } }), {
    name: 'ApiError',
    message: /no job "a"/,
  });
  assert.match((await client.call('metrics', {})) as unknown as string, /^# HELP rota_/m);
});
