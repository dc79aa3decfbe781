import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Installation, type RotaProcess } from '../support/installation.ts';
import { until } from '../support/until.ts';

/** A server that is put back from a backup, with an agent that has gone on since. */
const installation = new Installation();
const backup = path.join(installation.folder, 'rota.backup');
let server: RotaProcess;
let agent: RotaProcess;

before(async () => {
  server = await installation.startServer();
  agent = await installation.startAgent('one');
  await installation.whenOnline('one');
});

after(() => installation.remove());

async function exec(command: string): Promise<string> {
  const { runs } = await installation.client().call('exec', { body: { command } });
  const id = runs[0]?.id as string;
  await until(
    'the run to end',
    async () => (await installation.client().call('getRun', { params: { id } })).run.endedAt !== null,
  );
  return id;
}

test('a backup of a working server, put back later, has its runs, and its agent goes on', async () => {
  const before = await exec('echo before');
  const made = await installation.run(['server', 'backup', backup]);
  assert.equal(made.code, 0, made.stderr);
  const later = await exec('echo later');

  const refused = await installation.run(['server', 'restore', backup]);
  assert.notEqual(refused.code, 0);
  await server.kill('SIGTERM');
  await agent.kill('SIGTERM');
  const restored = await installation.run(['server', 'restore', backup]);
  assert.equal(restored.code, 0, restored.stderr);

  server = await installation.startServer();
  agent = await installation.startAgent('one');
  await installation.whenOnline('one');
  // The later one is not in the backup: its agent has told it.
  for (const id of [before, later])
    assert.equal((await installation.client().call('getRun', { params: { id } })).run.state, 'succeeded');
  await exec('echo after');
});

test('after its first session a restored agent is held to its nonce again', async () => {
  await agent.kill('SIGKILL');
  agent = await installation.startAgent('one');
  await installation.whenOnline('one');
  await exec('true');
});
