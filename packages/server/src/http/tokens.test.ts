import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { assertProblem, JOINING, startTestServer } from '../server.testing.ts';

test('The first start leaves an admin token that only its owner can read', async (t) => {
  const server = await startTestServer(t);
  assert.equal(server.firstStart, true);
  assert.match(server.token, /^rota_[0-9a-z]{12}_[A-Za-z0-9_-]{43}$/);
  assert.equal(statSync(server.tokenFile).mode & 0o777, 0o600);
  assert.equal(statSync(dirname(server.tokenFile)).mode & 0o777, 0o700);
  assert.equal((await server.send('GET', '/api/v1/whoami')).json.role, 'admin');
});

test('A revoked token is refused from that moment on', async (t) => {
  const server = await startTestServer(t);
  const { json } = await server.send('POST', '/api/v1/tokens', { name: 'ci', role: 'viewer' });
  assert.equal((await server.send('GET', '/api/v1/jobs', undefined, json.token)).status, 200);
  assertProblem(
    await server.send('POST', '/api/v1/tokens', { name: 'ci', role: 'admin' }),
    'token.nameConflict',
  );
  const inFlight = Array.from({ length: 20 }, () =>
    server.send('GET', '/api/v1/jobs', undefined, json.token),
  );
  assert.equal((await server.send('DELETE', '/api/v1/tokens/ci')).status, 204);
  assertProblem(await server.send('GET', '/api/v1/jobs', undefined, json.token), 'auth.invalid');
  await Promise.all(inFlight);
  assertProblem(await server.send('DELETE', '/api/v1/tokens/ci'), 'token.notFound');
  const last = assertProblem(await server.send('DELETE', '/api/v1/tokens/admin'), 'token.lastAdmin');
  assert.equal(last.detail, 'It can go once there is another that does not expire.');
});

test('A revoked token ends the streams that it has open', async (t) => {
  const server = await startTestServer(t);
  const { json } = await server.send('POST', '/api/v1/tokens', { name: 'ci', role: 'viewer' });
  const response = await fetch(`${server.url}/api/v1/events`, {
    headers: { authorization: `Bearer ${json.token}` },
  });
  assert.equal(response.status, 200);
  await server.send('DELETE', '/api/v1/tokens/ci');
  await server.send('PUT', '/api/v1/jobs/a', { command: 'true' });
  for await (const _ of response.body ?? []);
});

test('A token tells when it was used, and never its secret again', async (t) => {
  const server = await startTestServer(t);
  const { json } = await server.send('POST', '/api/v1/tokens', {
    name: 'ci',
    role: 'viewer',
    expiresIn: '1h',
  });
  await server.send('GET', '/api/v1/jobs', undefined, json.token);
  const list = await server.send('GET', '/api/v1/tokens');
  const ci = list.json.items.find((each: { name: string }) => each.name === 'ci');
  assert.ok(ci.lastUsedAt && ci.expiresAt > ci.createdAt);
  assert.ok(!list.text.includes(json.token.split('_').slice(2).join('_')));
  assertProblem(
    await server.send('POST', '/api/v1/tokens', { name: 'x', role: 'viewer', expiresIn: 'soon' }),
    'document.invalid',
  );
});

test('An address that fails too often is told to wait, but a valid token is always let in', async (t) => {
  const server = await startTestServer(t);
  const wrong = 'rota_aaaaaaaaaaaa_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
  const statuses: number[] = [];
  for (let n = 0; n < 25; n += 1)
    statuses.push((await server.send('GET', '/api/v1/jobs', undefined, wrong)).status);
  assert.deepEqual([...new Set(statuses)], [401, 429]);
  const told = await server.send('GET', '/api/v1/jobs', undefined, wrong);
  assertProblem(told, 'request.tooMany');
  assert.ok(Number(told.headers.get('retry-after')) > 0);
  assert.equal((await server.send('GET', '/api/v1/jobs')).status, 200);
});

test('Of fifty agents that use one join token at once, exactly one joins', async (t) => {
  const server = await startTestServer(t);
  const { json } = await server.send('POST', '/api/v1/join-tokens', { labels: { role: 'db' } });
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      server.send(
        'POST',
        '/api/v1/agents/join',
        { token: json.token, name: `db-${n}`, labels: { role: 'web', a: 'b' }, ...JOINING },
        null,
      ),
    ),
  );
  const joined = answers.filter(({ status }) => status === 201);
  assert.equal(joined.length, 1);
  assert.ok(answers.every(({ status }) => [201, 401, 429].includes(status)));
  const { json: agents } = await server.send('GET', '/api/v1/agents');
  assert.equal(agents.items.length, 1);
  assert.deepEqual(agents.items[0].labels, { role: 'db', a: 'b' });
  assert.deepEqual([agents.items[0].state, agents.items[0].order], ['offline', 100]);
  assert.equal(joined[0]?.json.keys.length, 1);
  const { json: tokens } = await server.send('GET', '/api/v1/join-tokens');
  assert.equal(tokens.items[0].usedBy, agents.items[0].name);
});

test('A join token that is wrong, expired, revoked or of another kind does not join', async (t) => {
  const server = await startTestServer(t);
  const joinWith = (token: string, name = 'db-1', more: object = {}) =>
    server.send('POST', '/api/v1/agents/join', { token, name, ...JOINING, ...more }, null);
  const { json: revoked } = await server.send('POST', '/api/v1/join-tokens', {});
  await server.send('DELETE', `/api/v1/join-tokens/${revoked.joinToken.id}`);
  assertProblem(await joinWith(revoked.token), 'joinToken.invalid');
  const { json: good } = await server.send('POST', '/api/v1/join-tokens', {});
  assertProblem(
    await joinWith(`${good.token.slice(0, -1)}${good.token.endsWith('A') ? 'B' : 'A'}`),
    'joinToken.invalid',
  );
  assertProblem(await joinWith(server.token), 'joinToken.invalid');
  assertProblem(await joinWith(good.token, 'db-1', { publicKey: 'AAAA' }), 'request.invalid');
  assert.equal((await joinWith(good.token)).status, 201);
  const { json: next } = await server.send('POST', '/api/v1/join-tokens', {});
  const taken = assertProblem(await joinWith(next.token), 'agent.nameConflict');
  assert.match(taken.detail, /^There is an agent "db-1"; choose another name/);
  assert.equal((await joinWith(next.token, 'db-2')).status, 201);
  assertProblem(await server.send('POST', '/api/v1/join-tokens', { expiresIn: '31d' }), 'document.invalid');
});

test('An agent is changed, renamed and removed, and its name is free again', async (t) => {
  const server = await startTestServer(t);
  for (const name of ['db-1', 'db-2']) {
    const token = await server.createLocalJoinToken();
    assert.equal(
      (await server.send('POST', '/api/v1/agents/join', { token, name, ...JOINING }, null)).status,
      201,
    );
  }
  const set = await server.send('PATCH', '/api/v1/agents/db-2', {
    order: 1,
    labels: { a: 'b' },
    enabled: false,
  });
  assert.deepEqual([set.json.order, set.json.labels, set.json.enabled], [1, { a: 'b' }, false]);
  assertProblem(await server.send('PATCH', '/api/v1/agents/db-2', { name: 'db-1' }), 'agent.nameConflict');
  assert.equal((await server.send('PATCH', '/api/v1/agents/db-2', { name: 'db-3' })).json.name, 'db-3');
  const list = await server.send('GET', '/api/v1/agents');
  assert.deepEqual(
    list.json.items.map((each: { name: string }) => each.name),
    ['db-3', 'db-1'],
  );
  assert.equal((await server.send('DELETE', '/api/v1/agents/db-1')).status, 204);
  assertProblem(await server.send('GET', '/api/v1/agents/db-1'), 'agent.notFound');
  const token = await server.createLocalJoinToken();
  assert.equal(
    (await server.send('POST', '/api/v1/agents/join', { token, name: 'db-1', ...JOINING }, null)).status,
    201,
  );
});

test('No credential that goes through the server reaches its log', async (t) => {
  const server = await startTestServer(t, { logLevel: 'debug' });
  const { json: token } = await server.send('POST', '/api/v1/tokens', { name: 'ci', role: 'viewer' });
  const { json: joinToken } = await server.send('POST', '/api/v1/join-tokens', {});
  const canaries = [server.token, token.token, joinToken.token].map((text) =>
    String(text).split('_').slice(2).join('_'),
  );
  await server.send('GET', `/api/v1/jobs?token=${token.token}`);
  await server.send('GET', `/${token.token}`);
  await server.send('GET', '/api/v1/jobs', undefined, `${token.token}x`);
  await server.send('PUT', '/api/v1/jobs/a', `{"command": "${token.token}"`);
  await server.send('PUT', '/api/v1/jobs/a', { command: 'x', env: { SECRET: token.token } });
  await server.send('POST', '/api/v1/agents/join', { token: joinToken.token, name: 'a', ...JOINING }, null);
  await server.send('POST', '/api/v1/agents/join', { token: joinToken.token, name: 'b' }, null);
  await server.stop();
  const log = readFileSync(join(server.home, 'server.log'), 'utf8');
  assert.match(log, /"route":"joinAgent"/);
  for (const canary of canaries) assert.ok(!log.includes(canary));
});
