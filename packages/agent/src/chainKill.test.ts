import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { defineRetry, type Step } from '@rota/contract';
import { folder, server, start } from './agentFixture.testing.ts';
import { command } from './fakeServer.testing.ts';
import { step } from './helper/chain.testing.ts';
import type { KillAt } from './helperKill.testing.ts';

const pathOf = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const HELPER = [process.execPath, '--import', pathOf('./helperKill.testing.ts'), pathOf('./helper/main.ts')];
const sessions: ChildProcess[] = [];

after(() => {
  for (const session of sessions) session.kill('SIGKILL');
});

/** Each try of each step leaves its mark; `two` fails at its first try, and its failure matters to nobody. */
function chain(): Step[] {
  const mark = `${folder}/mark-$ROTA_ATTEMPT`;
  const failsOnce = `echo two >> ${mark}; test -e ${mark}-again || { touch ${mark}-again; exit 75; }`;
  return [
    step('one', `echo one >> ${mark}`),
    step('two', failsOnce, {
      continueOnFailure: true,
      retry: defineRetry({ times: 1, delay: '0s', outcomes: ['exit:75'] }),
    }),
    step('three', `echo three >> ${mark}`),
  ];
}

function marksOf(attemptId: string): string[] {
  const file = `${folder}/mark-${attemptId}`;
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}

/** Runs a chain whose helper dies at this point, and lets it go on as often as it asks. @returns false when it has no such point */
async function runUntil(kill: KillAt, revive: () => Promise<void>): Promise<boolean> {
  const steps = chain();
  const order = `${folder}/killAt`;
  writeFileSync(order, JSON.stringify(kill));
  const known = server.messages.length;
  const attemptId = await server.run(command('true'), { steps });
  let answered = known;
  let isRevived = false;
  await server.until(() => {
    if (!isRevived && !existsSync(order)) {
      isRevived = true;
      void revive();
    }
    for (const message of server.messages.slice(answered)) {
      if (message.type !== 'continue' || message.attemptId !== attemptId) continue;
      const { epoch, bootId, bootMs } = message;
      const accept = { type: 'accept', attemptId, epoch, bootId, bootMs, journalSeq: 0 } as const;
      server.send(server.permit(accept, command('true'), { steps }));
    }
    answered = server.messages.length;
    const { end, refused } = server.of(attemptId);
    return end ?? refused;
  });
  const marks = marksOf(attemptId);
  const at = `point ${kill.point}: ${marks.join(' ')}`;
  const { end } = server.of(attemptId);
  if (!end) assert.deepEqual(marks, [], `${at}, though it was refused`);
  for (const { name, state, tries } of end?.steps ?? []) {
    const count = marks.filter((mark) => mark === name).length;
    assert.ok(count <= (name === 'two' ? 2 : 1), at);
    assert.ok(count <= tries, `${at}, and ${name} has ${tries} tries`);
    if (state === 'succeeded') assert.equal(count, tries, `${at}, and ${name} has succeeded`);
  }
  assert.deepEqual(
    marks,
    [...marks].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b)),
    at,
  );
  const isReached = !existsSync(order);
  rmSync(order, { force: true });
  return isReached;
}

const ORDER = ['one', 'two', 'three'];

test('at whichever point the helper is killed, no step that may have begun begins again', async () => {
  await start({ helperCommand: HELPER });
  // Now before and now after one of them: what is just after one is nearly what is just before the next.
  let point = 1;
  while (await runUntil({ point, also: null }, async () => {})) point += 3;
  // Of the last one nothing was killed.
  assert.ok(point > 30, `${point - 1} points`);
});

test('nor does it when the session dies with it', async () => {
  const begin = async () => {
    const known = server.messages.length;
    const args = [pathOf('./agentProcess.testing.ts'), folder, JSON.stringify(HELPER)];
    const session = spawn(process.execPath, args, { stdio: 'inherit' });
    sessions.push(session);
    await server.heard('status', () => true, known);
    return session;
  };
  let session = await begin();
  for (let point = 2; ; point += 12) {
    const also = session.pid as number;
    const died = once(session, 'exit');
    const isReached = await runUntil({ point, also }, async () => {
      await died;
      session = await begin();
    });
    if (!isReached) break;
  }
});
