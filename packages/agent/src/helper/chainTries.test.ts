import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { defineRetry } from '@rota/contract';
import { by, type Chains, openChains, states, step, TestClock } from './chain.testing.ts';

let chains: Chains;
before(() => {
  chains = openChains();
});
after(() => chains.close());

const retry = (times: number) => defineRetry({ times, delay: '10s' });

test('tries follow each other after longer and longer waits, until one succeeds', async () => {
  const clock = new TestClock();
  const mark = `${chains.folder}/tries`;
  const chain = chains.start(
    [
      step('one', `echo try >> ${mark}; test $(wc -l < ${mark}) -ge 3`, { retry: retry(5) }),
      step('two', 'true'),
    ],
    {},
    clock,
  );
  await chain.until(({ state, tries }) => state === 'retrying' && tries === 1);
  await clock.pass(10_000);
  await chain.until(({ state, tries }) => state === 'retrying' && tries === 2);
  await clock.pass(20_000);
  const end = await chain.ended;
  assert.deepEqual(states(end), ['one succeeded', 'two succeeded']);
  assert.equal(by(end, 'one').tries, 3);
  assert.match(by(end, 'one').detail ?? '', /^try 2 failed: exit \d+$/, 'why there was another one');
  assert.equal(by(end, 'two').detail, null);
  assert.ok((by(end, 'one').durationMs ?? 0) >= 30_000);
  assert.equal(readFileSync(mark, 'utf8'), 'try\ntry\ntry\n');
});

test('when all tries have failed, the last one says how the step ended', async () => {
  const clock = new TestClock();
  const chain = chains.start([step('one', 'exit 9', { retry: retry(1) })], {}, clock);
  await clock.pass(10_000);
  const end = await chain.ended;
  assert.deepEqual([end.outcome, end.exitCode, by(end, 'one').tries], ['failed', 9, 2]);
  assert.equal(by(end, 'one').detail, 'try 1 failed: exit 9');
});

test('what the policy does not list is not tried again', async () => {
  const only75 = defineRetry({ times: 3, delay: '10s', outcomes: ['exit:75'] });
  const end = await chains.start([step('one', 'exit 74', { retry: only75 })], {}, new TestClock()).ended;
  assert.deepEqual([end.exitCode, by(end, 'one').tries], [74, 1]);
});

test('a timeout holds for each try, and leaves what earlier steps have started', async () => {
  const clock = new TestClock();
  const pid = `${chains.folder}/daemon.pid`;
  const chain = chains.start(
    [
      step('serve', `setsid sleep 1000 > /dev/null 2>&1 & echo $! > ${pid}`),
      step('slow', 'echo begun; sleep 1000', { timeoutMs: 7_000, retry: retry(1) }),
    ],
    {},
    clock,
  );
  await chain.until(({ name, state }) => name === 'slow' && state === 'running');
  await clock.pass(7_000);
  await chain.until(({ state }) => state === 'retrying');
  await clock.pass(10_000);
  await clock.pass(7_000);
  const end = await chain.ended;
  const daemon = Number(readFileSync(pid, 'utf8'));
  assert.deepEqual([end.outcome, end.reason, by(end, 'slow').tries], ['timedOut', 'timeout', 2]);
  assert.ok(existsSync(`/proc/${daemon}`));
  process.kill(daemon, 'SIGKILL');
});

test('a cancel ends the wait for the next try', async () => {
  const chain = chains.start(
    [step('one', 'exit 1', { retry: retry(3) }), step('two', 'true')],
    {},
    new TestClock(),
  );
  await chain.until(({ state }) => state === 'retrying');
  chain.runner.end(0);
  const end = await chain.ended;
  assert.deepEqual([end.outcome, end.reason], ['cancelled', 'cancelledByUser']);
  assert.deepEqual(states(end), ['one cancelled', 'two notRun']);
  assert.equal(by(end, 'one').tries, 1);
});

test('the timeout of the run ends the wait for the next try', async () => {
  const clock = new TestClock();
  const chain = chains.start([step('one', 'exit 1', { retry: retry(3) })], { timeoutMs: 5_000 }, clock);
  await chain.until(({ state }) => state === 'retrying');
  await clock.pass(5_000);
  const end = await chain.ended;
  assert.deepEqual([end.outcome, end.reason, states(end)], ['timedOut', 'timeout', ['one timedOut']]);
});
