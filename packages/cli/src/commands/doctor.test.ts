import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeServer, type Handlers } from '../fakeServer.testing.ts';
import { NOW, rota } from '../rota.testing.ts';
import { VERSION } from '../version.ts';

function healthy(fields: { now?: number; version?: string; online?: number } = {}): Handlers {
  const { now = NOW, version = VERSION, online = 1 } = fields;
  return {
    health: () => ({ json: { status: 'ok' } }),
    ready: () => ({ json: { status: 'ok' } }),
    whoami: () => ({ json: { tenant: 'default', token: 'me', role: 'admin', timezone: 'UTC' } }),
    status: () => ({
      json: { version, now: new Date(now).toISOString(), agents: { online, offline: 0, quarantined: 0 } },
    }),
  };
}

async function states(
  argv: Parameters<typeof rota>[1],
): Promise<{ code: number; states: Record<string, string> }> {
  const { code, out } = await rota(['doctor', '--json'], argv);
  const findings = JSON.parse(out) as { what: string; state: string }[];
  return { code, states: Object.fromEntries(findings.map(({ what, state }) => [what, state])) };
}

test('doctor finds nothing wrong with a healthy installation', async (t) => {
  const { code, states: found } = await states(await fakeServer(t, healthy()));
  assert.equal(code, 0);
  const { disk: _, ...rest } = found;
  const ok = ['node', 'zone', 'server', 'token', 'version', 'clock', 'agents'];
  assert.deepEqual(rest, Object.fromEntries(ok.map((what) => [what, 'ok'])));
});

test('doctor warns of clocks apart, versions apart and of no agent', async (t) => {
  const server = await fakeServer(t, healthy({ now: NOW + 60_000, version: '9.9.9', online: 0 }));
  const { code, states: found } = await states(server);
  assert.equal(code, 0);
  assert.deepEqual([found.clock, found.version, found.agents], ['warning', 'warning', 'warning']);
  const { err, out } = await rota(['doctor'], server);
  assert.match(out, /clock\twarning\t1m0s behind the server's/);
  assert.match(err, /clock: synchronise both clocks/);
});

test('doctor fails for a token that is not valid', async (t) => {
  const server = await fakeServer(t, { ...healthy(), whoami: () => ({ problem: 'auth.invalid' }) });
  const { code, states: found } = await states(server);
  assert.equal(code, 1);
  assert.equal(found.token, 'fault');
});

test('doctor without a server says so, and whether its port is free', async () => {
  const taken = await states({ ports: { canListen: async () => false } });
  assert.deepEqual([taken.code, taken.states.server, taken.states.port], [1, 'fault', 'fault']);
  assert.equal((await states({})).states.port, 'ok');
});
