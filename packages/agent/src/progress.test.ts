import assert from 'node:assert/strict';
import { once } from 'node:events';
import { appendFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import type { Step } from '@rota/contract';
import { folder, gated, helperPid, server, start, startSession } from './agentFixture.testing.ts';
import { command } from './fakeServer.testing.ts';
import { step } from './helper/chain.testing.ts';

/** Says something, then waits for the gate. */
const waiting = (said: string) => `echo ${said}; ${gated(`${folder}/gate`).replace('exit 7', 'true')}`;
const open = () => appendFileSync(`${folder}/gate`, '');

function told(attemptId: string, percent: number | null, after = 0): Promise<unknown> {
  return server.heard(
    'progress',
    (message) => message.attemptId === attemptId && message.percent === percent,
    after,
  );
}

const percents = (attemptId: string) =>
  server.messages.flatMap((message) =>
    message.type === 'progress' && message.attemptId === attemptId ? [message.percent] : [],
  );

test('how far a command is, is told while it runs: about once a second, and the last word before the end', async () => {
  await start();
  const began = performance.now();
  const id = await server.run(
    command(
      `for n in $(seq 1 60); do echo rota:progress $n%; done; ${waiting('begun')}; echo '{"progress":0.7}'; echo 90%`,
    ),
  );
  await told(id, 60);
  assert.deepEqual(
    readdirSync(`${folder}/spool`).filter((name) => name.includes(id) && name.endsWith('.steps')),
    [],
  );
  open();
  await told(id, 90);
  const end = await server.ended(id);
  assert.equal(end.outcome, 'succeeded');
  const heard = percents(id);
  assert.deepEqual(
    heard,
    [...heard].sort((one, other) => Number(one) - Number(other)),
  );
  const seconds = (performance.now() - began) / 1_000;
  assert.ok(heard.length <= seconds + 3, `${heard.length} words in ${seconds} s`);
  assert.ok(
    server.messages.findLastIndex(({ type }) => type === 'progress') <
      server.messages.findIndex(({ type }) => type === 'ended'),
  );
  assert.match(server.of(id).output, /rota:progress 60%\n[\s\S]*90%\n/);
});

test('a server that is met again hears how far it is', async () => {
  await start();
  const id = await server.run(command(waiting('40%')));
  await told(id, 40);
  const known = server.messages.length;
  server.cut();
  await told(id, 40, known);
  open();
  assert.equal((await server.ended(id)).outcome, 'succeeded');
});

test('a session that comes after one that was killed tells how far it is, and goes on telling', async () => {
  const session = await startSession();
  const id = await server.run(command(`${waiting('40%')}; echo 80%`));
  await told(id, 40);
  session.kill('SIGKILL');
  await once(session, 'exit');
  const known = server.messages.length;
  await startSession();
  await told(id, 40, known);
  open();
  await told(id, 80, known);
  assert.equal((await server.ended(id)).outcome, 'succeeded');
});

test('what a step said is taken back when the next one begins', async () => {
  await start();
  const id = await server.run(command('true'), {
    steps: [step('one', 'echo 100%'), step('two', waiting('nothing'))],
  });
  await told(id, null);
  open();
  await server.ended(id);
  assert.deepEqual(percents(id), [100, null]);
});

test('of a command whose helper was killed, what it said last stands, and nothing more is told', async () => {
  await start();
  const id = await server.run(command(`${waiting('40%')}; echo 80%`));
  await told(id, 40);
  process.kill(helperPid() as number, 'SIGKILL');
  open();
  const end = await server.ended(id);
  assert.equal(end.reason, 'exitStatusLost');
  assert.deepEqual([...new Set(percents(id))], [40]);
});

test('a chain that goes on after its helper was killed takes back what the lost step said', async () => {
  await start();
  const steps: Step[] = [
    step('one', waiting('40%'), { continueOnFailure: true }),
    step('two', 'echo 70%; exit 3'),
  ];
  const id = await server.run(command('true'), { steps });
  await told(id, 40);
  const known = server.messages.length;
  process.kill(helperPid() as number, 'SIGKILL');
  open();
  const { attemptId, epoch, bootId, bootMs } = await server.heard(
    'continue',
    (message) => message.attemptId === id,
  );
  const accept = { type: 'accept', attemptId, epoch, bootId, bootMs, journalSeq: 0 } as const;
  server.send(server.permit(accept, command('true'), { steps }));
  await told(id, null, known);
  await told(id, 70, known);
  assert.equal((await server.ended(id)).exitCode, 3);
});
