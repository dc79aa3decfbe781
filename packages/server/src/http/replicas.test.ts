import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { createClient } from '@rota/contract';
import { ScriptedAgent } from '../agents/scriptedAgent.testing.ts';
import { type RunningServer, startServer } from '../main.ts';
import { testPostgres, urlOf } from '../postgres.testing.ts';
import { JOINING, temporaryHome } from '../server.testing.ts';

/** Two servers on one database, with the admin's client of each. */
async function startTwo(t: TestContext, pooler: boolean) {
  const postgres = await testPostgres();
  const address = await postgres.database();
  const servers: RunningServer[] = [];
  const masterKeyFile = `${temporaryHome(t)}-master-key`;
  t.after(async () => {
    for (const server of servers) await server.stop();
    await postgres.release(address);
  });
  for (let n = 0; n < 2; n += 1) {
    servers.push(
      await startServer({
        home: temporaryHome(t),
        listen: '127.0.0.1:0',
        timezone: 'UTC',
        logTo: 'file',
        database: urlOf(address),
        masterKeyFile,
        env: { ROTA_DATABASE_POOL_SIZE: '4', ROTA_DATABASE_POOLER: String(pooler) },
      }),
    );
  }
  const token = readFileSync(servers[0]?.tokenFile ?? '', 'utf8').trim();
  return servers.map((server) => ({ server, client: createClient({ url: server.url, token, fetch }) }));
}

for (const pooler of [false, true]) {
  test(`What an agent of one server does is followed at another${pooler ? ', behind a pooler too' : ''}`, async (t) => {
    const [a, b] = await startTwo(t, pooler);
    assert(a && b);
    const agent = new ScriptedAgent('one', () => `${a.server.url.replace('http', 'ws')}/agent`);
    const joined = await b.client.call('joinAgent', {
      body: {
        ...JOINING,
        token: await a.server.createLocalJoinToken(),
        name: 'one',
        publicKey: agent.publicKey,
      },
    });
    agent.disk.agentId = joined.agentId;
    await agent.connect();
    await b.server.whenAgentOnline('one', t.signal);
    const status = await b.client.call('status', {});
    assert.deepEqual(status.servers.map(({ state, agents }) => `${state} ${agents}`).sort(), [
      'live 0',
      'live 1',
    ]);

    const abort = new AbortController();
    t.after(() => abort.abort());
    const states: string[] = [];
    const seen = (async () => {
      for await (const { event, data } of b.client.stream('events', {
        query: { types: 'run', after: 0 },
        signal: abort.signal,
      })) {
        if (event === 'run') states.push(JSON.parse(data).state);
        if (states.at(-1) === 'succeeded') return;
      }
    })();
    const { runs } = await b.client.call('exec', { body: { command: 'true', agents: ['one'] } });
    const id = runs[0]?.id as string;
    const offer = await agent.next('offer');
    agent.accept(offer);
    agent.started(offer);
    agent.output(offer, 2, 'hello\n');
    let output = '';
    for await (const { event, data } of b.client.stream('followRun', {
      params: { id },
      query: {},
      signal: abort.signal,
    })) {
      if (event !== 'output') {
        if (event === 'end') break;
        continue;
      }
      output += Buffer.from(JSON.parse(data).data, 'base64').toString();
      agent.ended(offer, { outputBytes: 6 });
    }
    assert.equal(output, 'hello\n');
    assert.equal((await b.client.call('getRun', { params: { id } })).run.state, 'succeeded');
    await seen;
    assert.deepEqual(states.slice(-4), ['offered', 'starting', 'running', 'succeeded']);
    await agent.cut();
  });
}

test('A server that stops is not counted any more, and its agents go on at another', async (t) => {
  const [a, b] = await startTwo(t, false);
  assert(a && b);
  const agent = new ScriptedAgent('one', () => `${a.server.url.replace('http', 'ws')}/agent`);
  const token = await a.server.createLocalJoinToken();
  const body = { ...JOINING, token, name: 'one', publicKey: agent.publicKey };
  agent.disk.agentId = (await a.client.call('joinAgent', { body })).agentId;
  await agent.connect();
  await b.server.whenAgentOnline('one', t.signal);
  const stopped = a.server.stop();
  await agent.next('leaving');
  await agent.cut();
  agent.dials = () => `${b.server.url.replace('http', 'ws')}/agent`;
  await agent.connect();
  await b.server.whenAgentOnline('one', t.signal);
  await stopped;
  const { servers } = await b.client.call('status', {});
  assert.deepEqual(
    servers.map(({ state, agents }) => `${state} ${agents}`),
    ['live 1'],
  );
  await agent.cut();
});
