import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeServer, type Handlers } from '../fakeServer.testing.ts';
import { rota } from '../rota.testing.ts';

const agent = {
  id: 'a1',
  name: 'web-1',
  state: 'online',
  detail: null,
  order: 100,
  labels: { role: 'web', old: 'x' },
  enabled: true,
  maxParallel: 4,
  active: 1,
  draining: false,
  facts: null,
  connectedAt: null,
  lastSeenAt: '2026-03-01T11:59:50.000Z',
  createdAt: '2026-01-01T00:00:00.000Z',
};

const joinToken: Handlers = {
  createJoinToken: ({ body }) => ({
    json: {
      token: 'secret-join',
      joinToken: { id: 't', ...(body as object), expiresAt: '2026-03-01T13:00:00.000Z' },
    },
  }),
};

test('join-token prints the whole command, the token in its environment and not among its words', async (t) => {
  const server = await fakeServer(t, joinToken);
  const { out, err } = await rota(['agent', 'join-token', '-l', 'role=web', '--expires-in', '2h'], server);
  assert.equal(out, `ROTA_JOIN_TOKEN=secret-join npx rota agent start --url ${server.url}\n`);
  assert.match(err, /Works once, until 2026-03-01T13:00:00.000Z/);
  assert.match(err, /--listen/, 'an address that other machines cannot reach');
  assert.deepEqual(server.body('createJoinToken'), { labels: { role: 'web' }, expiresIn: '2h' });
});

test('agent list says on a terminal that an agent which is online is seen now', async (t) => {
  const items = [agent, { ...agent, name: 'web-2', state: 'offline' }];
  const server = await fakeServer(t, { listAgents: () => ({ json: { items, nextCursor: null } }) });
  const { out } = await rota(['agent', 'list'], { ...server, tty: true });
  assert.match(out, /web-1 .* now /);
  assert.match(out, /web-2 .* 10s ago /);
});

test('agent set adds and takes away single labels', async (t) => {
  const server = await fakeServer(t, {
    getAgent: () => ({ json: agent }),
    setAgent: ({ body }) => ({ json: { ...agent, ...(body as object) } }),
  });
  const { out } = await rota(
    ['agent', 'set', 'web-1', '-l', 'zone=b', '--unlabel', 'old', '--order', '5', '--disable'],
    server,
  );
  assert.deepEqual(server.body('setAgent'), { order: 5, enabled: false, labels: { role: 'web', zone: 'b' } });
  assert.equal(out, 'web-1\tonline, disabled\t5\t1/4\t2026-03-01T11:59:50.000Z\t-\trole=web zone=b\n');
});

test('agent remove says --gone to the server only when told', async (t) => {
  const server = await fakeServer(t, { removeAgent: () => ({ json: null }) });
  assert.equal((await rota(['agent', 'remove', 'web-1'], server)).code, 0);
  assert.equal((await rota(['agent', 'remove', 'web-1', '--gone'], server)).code, 0);
  assert.deepEqual(
    server.calls.map(({ query }) => query),
    [{}, { gone: 'true' }],
  );
});

test('an agent that has not joined says where the token comes from', async () => {
  for (const argv of [[], ['--url', 'http://127.0.0.1:1']]) {
    const { code, err } = await rota(['agent', 'start', ...argv]);
    assert.equal(code, 2);
    assert.match(err, /next: rota agent join-token/);
  }
});

test('token create prints the token alone on stdout', async (t) => {
  const server = await fakeServer(t, { createToken: () => ({ json: { token: 'rota_x', view: {} } }) });
  const { out, err } = await rota(
    ['token', 'create', 'ci', '--role', 'operator', '--expires-in', '90d'],
    server,
  );
  assert.equal(out, 'rota_x\n');
  assert.match(err, /Shown once/);
  assert.deepEqual(server.body('createToken'), { name: 'ci', role: 'operator', expiresIn: '90d' });
});
