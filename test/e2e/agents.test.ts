import assert from 'node:assert/strict';
import { appendFileSync, cpSync, existsSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Installation, processesWith, type RotaProcess } from '../support/installation.ts';
import { until } from '../support/until.ts';

/** What agents must do when they are killed, copied or away; real processes throughout. */
const installation = new Installation();
const agents = new Map<string, RotaProcess>();

before(async () => {
  await installation.startServer();
  for (const name of ['one', 'two']) await start(name);
  await installation.client().call('setAgent', { params: { name: 'one' }, body: { order: 1 } });
  await installation.client().call('setAgent', { params: { name: 'two' }, body: { order: 2 } });
});

after(() => installation.remove());

async function start(name: string): Promise<void> {
  agents.set(name, await installation.startAgent(name));
  await installation.whenOnline(name);
}

async function exec(agent: string, command: string): Promise<string> {
  const { runs } = await installation.client().call('exec', { body: { command, agents: [agent] } });
  return runs[0]?.id as string;
}

const run = async (id: string) => (await installation.client().call('getRun', { params: { id } })).run;
const inState = (id: string, state: string) =>
  until(`run ${id} to be ${state}`, async () => {
    const now = await run(id);
    return now.state === state ? now : null;
  });

/** A command that says that it began and goes on when `gate` exists: a long job without a clock. */
function gated(gate: string): string {
  return `echo begun; while [ -d ${path.dirname(gate)} ] && [ ! -e ${gate} ]; do sleep 0.05; done; echo done; exit 7`;
}

async function outputOf(id: string): Promise<string> {
  const { chunks } = await installation.client().call('runOutput', { params: { id } });
  return chunks.map((chunk) => Buffer.from(chunk.data, 'base64').toString()).join('');
}

test('an agent that is killed under a job reports its exit status and whole output after its restart', async () => {
  const gate = path.join(installation.folder, 'gate-kill');
  const id = await exec('one', gated(gate));
  await inState(id, 'running');
  await agents.get('one')?.kill('SIGKILL');
  appendFileSync(gate, '');
  await start('one');
  const ended = await inState(id, 'failed');
  assert.equal(ended.exitCode, 7);
  assert.equal(await outputOf(id), 'begun\ndone\n');
});

test('a service manager that asks the session and its helper to end does not end the job', async () => {
  const gate = path.join(installation.folder, 'gate-term');
  const id = await exec('one', gated(gate));
  await inState(id, 'running');
  const home = path.join(installation.home('one'), 'agent');
  const session = agents.get('one') as RotaProcess;
  for (const pid of processesWith(home)) {
    const isJob = processesWith('ROTA_ATTEMPT=').includes(pid);
    if (!isJob && pid !== session.child.pid) process.kill(pid, 'SIGTERM');
  }
  await session.kill('SIGTERM');
  appendFileSync(gate, '');
  await start('one');
  const ended = await inState(id, 'failed');
  assert.equal(ended.exitCode, 7);
  assert.equal(await outputOf(id), 'begun\ndone\n');
});

test('cancelling a run ends its whole tree, also what left its session', async () => {
  const mark = `mark-${process.pid}`;
  const id = await exec('one', `setsid sh -c 'exec sleep 1000' & echo ${mark}; exec sleep 1000`);
  await until('its output', async () => (await outputOf(id)).includes(mark));
  assert.ok(processesWith(`ROTA_RUN=${id}`).length >= 2);
  await installation.client().call('cancelRun', { params: { id } });
  await inState(id, 'cancelled');
  assert.deepEqual(processesWith(`ROTA_RUN=${id}`), []);
});

test('runs go to the first agent, to the second while the first is dead, and back when it returns', async () => {
  const client = installation.client();
  await client.call('putJob', {
    params: { name: 'failover' },
    body: { name: 'failover', command: 'true', target: { stagger: '10s' } },
  });
  const trigger = async () => {
    const { run: made } = await client.call('runJob', { params: { name: 'failover' }, body: {} });
    return inState(made.id, 'succeeded');
  };
  assert.equal((await trigger()).agent, 'one');
  await agents.get('one')?.kill('SIGKILL');
  const second = await trigger();
  assert.equal(second.agent, 'two');
  assert.ok((second.lateness.totalMs ?? 0) < 10_000, `within the stagger: ${second.lateness.totalMs} ms`);
  await start('one');
  assert.equal((await trigger()).agent, 'one');
});

test('a frozen agent lets its offer pass, and the next one takes it after the stagger', async () => {
  const client = installation.client();
  await client.call('putJob', {
    params: { name: 'frozen' },
    body: { name: 'frozen', command: 'true', target: { stagger: '1s' } },
  });
  agents.get('one')?.child.kill('SIGSTOP');
  try {
    const { run: made } = await client.call('runJob', { params: { name: 'frozen' }, body: {} });
    assert.equal((await inState(made.id, 'succeeded')).agent, 'two');
  } finally {
    agents.get('one')?.child.kill('SIGCONT');
  }
});

test('an agent that knows several servers uses one that answers', async () => {
  await agents.get('two')?.kill('SIGTERM');
  // Port 1 of loopback has no server.
  agents.set(
    'two',
    await installation.startAgent('two', { url: 'http://127.0.0.1:1', args: ['--url', installation.url()] }),
  );
  await installation.whenOnline('two');
  await inState(await exec('two', 'true'), 'succeeded');
});

test('a copied state folder is quarantined', async () => {
  const from = path.join(installation.home('two'), 'agent');
  await agents.get('two')?.kill('SIGTERM');
  const to = path.join(installation.home('copy'), 'agent');
  cpSync(from, to, { recursive: true, filter: (source) => !source.endsWith('.sock') });
  assert.ok(existsSync(path.join(to, 'identity.json')));
  await start('two');
  installation.start('copy', ['agent', 'start', '--url', installation.url()]);
  const quarantined = await until('the quarantine', async () => {
    const agent = await installation.client().call('getAgent', { params: { name: 'two' } });
    return agent.state === 'quarantined' ? agent : null;
  });
  assert.match(quarantined.detail ?? '', /copied or restored/);
});
