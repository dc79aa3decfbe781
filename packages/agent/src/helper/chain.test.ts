import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { defineWhen } from '@rota/contract';
import { by, type Chains, openChains, states, step } from './chain.testing.ts';

let chains: Chains;
before(() => {
  chains = openChains();
});
after(() => chains.close());

test('steps run in order, and each has its share of the output', async () => {
  const chain = chains.start([
    step('one', 'echo 1; echo one >&2'),
    step('two', 'printf 2'),
    step('three', 'echo drei'),
  ]);
  const end = await chain.ended;
  assert.equal(end.outcome, 'succeeded');
  assert.deepEqual(states(end), ['one succeeded', 'two succeeded', 'three succeeded']);
  const shares = await Promise.all(
    end.steps.map(({ outputFrom, outputTo }) => chain.output(outputFrom, outputTo)),
  );
  assert.deepEqual([shares[0]?.length, shares[1], shares[2]], [6, '2', 'drei\n']);
  assert.equal(end.outputBytes, 12);
  assert.ok(
    end.steps.every(
      ({ tries, durationMs, startedMs }) => tries === 1 && durationMs !== null && startedMs !== null,
    ),
  );
});

test('each step is told when it begins and when it has ended', async () => {
  const chain = chains.start([step('one', 'true'), step('two', 'exit 3')]);
  await chain.ended;
  assert.deepEqual(
    chain.told.map(({ name, state }) => `${name} ${state}`),
    ['one running', 'one succeeded', 'two running', 'two failed'],
  );
});

test('one plain step leaves no file of steps, and tells nothing of steps', async () => {
  const chain = chains.start([step('main', `ls ${chains.folder}/spool`)]);
  const end = await chain.ended;
  assert.deepEqual([end.outcome, end.steps, chain.told], ['succeeded', [], []]);
  assert.doesNotMatch(await chain.output(), new RegExp(`${chain.attemptId}.steps`));
});

test('that a step begins is on the disk before it is begun', async () => {
  const look = `grep -ao '"kind":"started","index":[0-9]' ${chains.folder}/spool/$ROTA_ATTEMPT.steps | tail -1`;
  const chain = chains.start([step('one', look), step('two', look)]);
  const end = await chain.ended;
  assert.equal(end.outcome, 'succeeded');
  assert.equal(await chain.output(), '"kind":"started","index":0\n"kind":"started","index":1\n');
});

test('a failed step ends the chain: the rest is not run', async () => {
  const end = await chains.start([
    step('one', 'true'),
    step('two', 'echo no; exit 4'),
    step('three', 'true'),
    step('four', 'true'),
  ]).ended;
  assert.deepEqual([end.outcome, end.reason, end.exitCode], ['failed', 'exitStatus', 4]);
  assert.deepEqual(states(end), ['one succeeded', 'two failed', 'three notRun', 'four notRun']);
  assert.equal(by(end, 'four').tries, 0);
});

test('a failure that may be passed over neither ends the chain nor fails the run, and is shown', async () => {
  const end = await chains.start([step('one', 'exit 4', { continueOnFailure: true }), step('two', 'exit 0')])
    .ended;
  assert.deepEqual([end.outcome, end.reason, end.exitCode], ['succeeded', null, 0]);
  assert.deepEqual(states(end), ['one failed', 'two succeeded']);
  assert.equal(by(end, 'one').exitCode, 4);
});

test('a step whose condition does not hold is skipped, and says which', async () => {
  const chain = chains.start([
    step('noon', 'true', { when: defineWhen({ hour: 12 }) }),
    step('one', 'exit 1', { continueOnFailure: true }),
    step('clean', 'true', { when: defineWhen({ steps: { one: 'failed' } }) }),
    step('publish', 'true', { when: defineWhen({ steps: { one: 'succeeded' } }) }),
  ]);
  const end = await chain.ended;
  assert.deepEqual(states(end), ['noon skipped', 'one failed', 'clean succeeded', 'publish skipped']);
  assert.match(by(end, 'noon').detail ?? '', /hour/);
  assert.match(by(end, 'publish').detail ?? '', /one/);
  assert.equal(by(end, 'noon').tries, 0);
});

test('a chain whose steps are all skipped has succeeded', async () => {
  const never = { when: defineWhen({ hour: 12 }) };
  const end = await chains.start([step('one', 'false', never), step('two', 'false', never)]).ended;
  assert.deepEqual([end.outcome, end.exitCode], ['succeeded', null]);
  assert.deepEqual(states(end), ['one skipped', 'two skipped']);
});

test('a condition that cannot be evaluated fails its step', async () => {
  const end = await chains.start([
    step('one', 'echo text'),
    step('two', 'true', { when: defineWhen({ expression: 'steps.one.json.count > 3' }) }),
  ]).ended;
  assert.deepEqual([end.outcome, end.reason], ['failed', 'conditionFailed']);
  assert.deepEqual(states(end), ['one succeeded', 'two failed']);
});

test('a cancel ends the step that runs, also one whose failure may be passed over', async () => {
  const chain = chains.start([step('one', 'sleep 1000', { continueOnFailure: true }), step('two', 'true')]);
  await chain.until(({ state }) => state === 'running');
  chain.runner.end(5_000);
  const end = await chain.ended;
  assert.deepEqual([end.outcome, end.signal], ['cancelled', 'SIGTERM']);
  assert.deepEqual(states(end), ['one cancelled', 'two notRun']);
});

const canMount = process.platform === 'linux' && process.getuid?.() === 0;
test('on a full disk no step begins whose note is not written, and the end says so', {
  skip: !canMount && 'needs root to mount a small disk',
}, async () => {
  const disk = mkdtempSync(`${tmpdir()}/rota-disk-`);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk]);
  const small = openChains(disk);
  const mark = `${chains.folder}/begun`;
  try {
    const steps = Array.from({ length: 30 }, (_, index) => step(`s${index}`, `echo ${index} >> ${mark}`));
    const fill = step('fill', `head -c 8000000 /dev/zero > ${disk}/filler || true`);
    const end = await small.start([fill, ...steps]).ended;
    assert.deepEqual([end.outcome, end.reason], ['failed', 'stepNotWritten']);
    assert.match(end.error ?? '', /could not be written/);
    const at = end.steps.findIndex(({ state }) => state === 'failed');
    assert.deepEqual([end.steps[at]?.reason, end.steps[at]?.tries], ['stepNotWritten', 0]);
    assert.ok(end.steps.slice(0, at).every(({ state }) => state === 'succeeded'));
    assert.ok(end.steps.slice(at + 1).every(({ state }) => state === 'notRun'));
    const begun = readFileSync(mark, 'utf8').trim().split('\n');
    assert.deepEqual(
      begun,
      Array.from({ length: at - 1 }, (_, index) => String(index)),
    );
  } finally {
    execFileSync('umount', ['-l', disk]);
    rmSync(disk, { recursive: true, force: true });
  }
});
