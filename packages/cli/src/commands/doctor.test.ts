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
      json: {
        version,
        now: new Date(now).toISOString(),
        agents: { online, offline: 0, quarantined: 0 },
        recovery: null,
      },
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

test('doctor and status say that the database lacks what agents have still to tell', async (t) => {
  const recovery = {
    since: new Date(NOW).toISOString(),
    cause: 'failover',
    awaited: ['db-1', 'db-2'],
    heldRuns: 3,
  };
  const base = healthy();
  const server = await fakeServer(t, {
    ...base,
    status: () => ({
      json: {
        version: VERSION,
        now: new Date(NOW).toISOString(),
        startedAt: new Date(NOW).toISOString(),
        timezone: 'UTC',
        jobs: { total: 1, enabled: 1, paused: 0 },
        servers: [],
        agents: { online: 1, offline: 0, quarantined: 0 },
        runs: {
          queued: 0,
          active: 0,
          unknown: 0,
          succeededLastDay: 0,
          failedLastDay: 0,
          missedLastDay: 0,
        },
        recovery,
        lateness: { p50Ms: null, p99Ms: null, maxMs: null, runs: 0 },
      },
    }),
  });
  const doctor = await rota(['doctor'], server);
  assert.match(
    doctor.out,
    /database\twarning\ta standby took over .* 3 runs held; not heard yet: db-1, db-2/,
  );
  assert.match(doctor.err, /rota agent remove db-1 --gone/);
  const status = await rota(['status'], server);
  assert.match(status.out, /database.*a standby took over that may lack the last commits.*db-1, db-2/);
  assert.match(status.err, /rota agent remove db-1 --gone/);
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
