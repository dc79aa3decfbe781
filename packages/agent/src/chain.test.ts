import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, watch, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  type AgentMessage,
  type AttemptEnd,
  defineRetry,
  defineWhen,
  type Permit,
  type Step,
} from '@rota/contract';
import { agents, folder, gated, helperPid, server, start, startSession } from './agentFixture.testing.ts';
import { systemClock } from './clock.ts';
import { systemDisk } from './disk.ts';
import { readBootId } from './facts.ts';
import { command, key, silent } from './fakeServer.testing.ts';
import { step } from './helper/chain.testing.ts';
import { openJournal } from './journal.ts';
import { startAgent } from './main.ts';
import { END_RESERVE, encodeBegin } from './spoolFile.ts';
import { blankStep, type EndedStep, encodeStepRecord, type StepRecord } from './stepsFile.ts';

type Continue = Extract<AgentMessage, { type: 'continue' }>;

const states = ({ steps }: AttemptEnd) => steps.map(({ name, state }) => `${name} ${state}`);
const mark = () => `${folder}/mark`;
/** What the steps have written, each as often as it was begun. */
const begun = () => readFileSync(mark(), 'utf8').trim().split('\n');
/** A step that leaves its mark. */
const marking = (name: string, changes: Partial<Step> = {}) =>
  step(name, `echo ${name} >> ${mark()}`, changes);
/** One that leaves its mark, then waits for `gate`. */
const waiting = (name: string, changes: Partial<Step> = {}) =>
  step(name, `echo ${name} >> ${mark()}; ${gated(`${folder}/gate`).replace('exit 7', 'true')}`, changes);
const open = () => appendFileSync(`${folder}/gate`, '');

async function run(steps: Step[], changes: Partial<Permit> = {}): Promise<string> {
  return server.run(command('true'), { steps, ...changes });
}

function told(attemptId: string, name: string, state: string, after = 0): Promise<unknown> {
  return server.heard(
    'step',
    (message) =>
      message.attemptId === attemptId && message.step.name === name && message.step.state === state,
    after,
  );
}

function asked(attemptId: string, after = 0): Promise<Continue> {
  return server.heard('continue', (message) => message.attemptId === attemptId, after);
}

/** Answers that the chain may go on. */
function permit(
  { attemptId, epoch, bootId, bootMs }: Continue,
  steps: Step[],
  changes: Partial<Permit> = {},
): void {
  const accept = { type: 'accept', attemptId, epoch, bootId, bootMs, journalSeq: 0 } as const;
  server.send(server.permit(accept, command('true'), { steps, ...changes }));
}

/** Resolves once the spool has nothing of the attempt. */
function vanishes(attemptId: string): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(`${folder}/spool`, look);
    function look(): void {
      if (readdirSync(`${folder}/spool`).some((name) => name.startsWith(attemptId))) return;
      watcher.close();
      resolve();
    }
    look();
  });
}

function killHelper(): void {
  process.kill(helperPid() as number, 'SIGKILL');
}

test('a chain goes on untouched when the session is killed, and the next one tells its steps again', async () => {
  const session = await startSession();
  const id = await run([marking('one'), waiting('two'), marking('three')]);
  await told(id, 'two', 'running');
  session.kill('SIGKILL');
  await once(session, 'exit');
  const known = server.messages.length;
  await startSession();
  await told(id, 'one', 'succeeded', known);
  await told(id, 'two', 'running', known);
  open();
  const end = await server.ended(id);
  assert.deepEqual(states(end), ['one succeeded', 'two succeeded', 'three succeeded']);
  assert.deepEqual(begun(), ['one', 'two', 'three']);
  assert.equal(server.messages.filter(({ type }) => type === 'continue').length, 0);
});

test('a step whose helper died is never begun again: its fate is lost, and the chain ends', async () => {
  await start();
  const id = await run([
    marking('one'),
    waiting('two', { retry: defineRetry({ times: 3 }) }),
    marking('three'),
  ]);
  await told(id, 'two', 'running');
  killHelper();
  open();
  const end = await server.ended(id);
  assert.deepEqual([end.outcome, end.reason], ['failed', 'exitStatusLost']);
  assert.deepEqual(states(end), ['one succeeded', 'two failed', 'three notRun']);
  assert.deepEqual(begun(), ['one', 'two']);
});

test('after a lost step whose failure may be passed over, the chain asks, and goes on with the next one', async () => {
  await start();
  const steps = [
    step('one', `echo one >> ${mark()}; echo '{"id": 7}'`),
    waiting('two', { continueOnFailure: true }),
    step('three', `echo three {{ steps.one.json.id }} {{ steps.two.state }} >> ${mark()}; echo last`),
  ];
  const id = await run(steps);
  await told(id, 'two', 'running');
  killHelper();
  open();
  permit(await asked(id), steps);
  const end = await server.ended(id);
  assert.equal(end.outcome, 'succeeded', end.error ?? '');
  assert.deepEqual(states(end), ['one succeeded', 'two failed', 'three succeeded']);
  assert.equal(end.steps[1]?.reason, 'exitStatusLost');
  assert.deepEqual(begun(), ['one', 'two', 'three 7 failed']);
  assert.ok(server.of(id).output.endsWith('last\n'));
  assert.equal(end.outputBytes - (end.steps[2]?.outputFrom ?? 0), 5);
});

test('a step that waited for its next try when its helper died goes on with that try', async () => {
  await start();
  const steps = [
    step('one', `echo one >> ${mark()}; test $(wc -l < ${mark()}) -ge 2`, {
      retry: defineRetry({ times: 5, delay: '3s' }),
    }),
    marking('two'),
  ];
  const id = await run(steps);
  await told(id, 'one', 'retrying');
  killHelper();
  permit(await asked(id), steps);
  const end = await server.ended(id);
  assert.deepEqual(states(end), ['one succeeded', 'two succeeded']);
  assert.equal(end.steps[0]?.tries, 2);
  assert.ok((end.steps[0]?.durationMs ?? 0) >= 2_900);
  assert.deepEqual(begun(), ['one', 'one', 'two']);
});

test('wherever the helper of a chain is killed, no step is begun twice, and those that never began go on', async () => {
  await start();
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const steps = names.map((name) =>
    step(name, `echo ${name} >> ${mark()}; sleep 0.1`, { continueOnFailure: true }),
  );
  const id = await run(steps);
  let answered = 0;
  const answer = () => {
    for (const message of server.messages.slice(answered))
      if (message.type === 'continue' && message.attemptId === id) permit(message, steps);
    answered = server.messages.length;
    return server.of(id).end;
  };
  for (const [name, state] of [
    ['a', 'running'],
    ['b', 'succeeded'],
    ['d', 'running'],
  ] as const) {
    await server.until(
      () =>
        answer() ||
        server.messages.some(
          (message) =>
            message.type === 'step' &&
            message.step.name === name &&
            (message.step.state === state || message.step.state === 'failed'),
        ),
    );
    killHelper();
  }
  const end = (await server.until(answer)) as AttemptEnd;
  const marks = begun();
  assert.deepEqual([end.outcome, new Set(marks).size], ['succeeded', marks.length]);
  for (const { name, state } of end.steps) {
    assert.ok(state === 'succeeded' || state === 'failed', `${name} ${state}`);
    if (state === 'succeeded') assert.ok(marks.includes(name), `${name} is not marked`);
  }
  assert.ok(end.steps.some(({ state }) => state === 'failed'));
});

/** Starts an agent whose helper has died between the steps `one` and `two` of an attempt. */
async function startBetween(
  steps: Step[],
  timeoutMs: number | null = null,
  left: Pick<EndedStep, 'kept' | 'isMasked'> = { kept: { text: 'kept\n', isWhole: true }, isMasked: false },
): Promise<string> {
  const attemptId = server.newId();
  const bootId = readBootId();
  const { journal } = await openJournal({ folder, disk: systemDisk, now: { bootId, bootMs: 0 } });
  const started = { attemptId, epoch: 1, bootId, helperId: 'gone', permitUntilBootMs: 9e15, key, bootMs: 0 };
  await journal.append({ type: 'started', ...started });
  await journal.close();
  mkdirSync(`${folder}/spool`, { recursive: true });
  const startedBootMs = systemClock.bootMs();
  const begin = { attemptId, kind: 'command', startedBootMs, timeoutMs, killGraceMs: 0 };
  writeFileSync(
    `${folder}/spool/${attemptId}`,
    Buffer.concat([Buffer.alloc(END_RESERVE), encodeBegin(begin)]),
  );
  const plan = steps.map(({ name, continueOnFailure }) => ({ name, kind: 'command', continueOnFailure }));
  const result = {
    ...blankStep(0, 'one', 'succeeded', 0),
    tries: 1,
    exitCode: 0,
    durationMs: 5,
    startedMs: 0,
  };
  const records: StepRecord[] = [
    { kind: 'plan', steps: plan, isPlain: false },
    { kind: 'started', index: 0, number: 1, bootMs: startedBootMs, timeoutMs: null, outputFrom: 0 },
    { kind: 'ended', result, ...left, cpuMs: 10, maxRssBytes: 1_000 },
  ];
  writeFileSync(`${folder}/spool/${attemptId}.steps`, Buffer.concat(records.map(encodeStepRecord)));
  agents.push(await startAgent({ stateFolder: folder, log: silent }));
  return attemptId;
}

test('a chain whose helper died between two steps goes on, with secrets of the new permit in memory alone', async () => {
  const steps = [
    marking('one'),
    step('two', `echo {{ steps.one.output }} >> ${mark()}; test "$KEY" = pass-word-7331`, {
      action: command(`echo {{ steps.one.output }} >> ${mark()}; test "$KEY" = pass-word-7331`, {
        env: { KEY: '{{ PASSWORD }}' },
      }),
    }),
    waiting('three'),
  ];
  const id = await startBetween(steps);
  permit(await asked(id), steps, { secrets: { PASSWORD: { from: 'server', value: 'pass-word-7331' } } });
  await told(id, 'three', 'running');
  assert.throws(() => execFileSync('grep', ['-ra', 'pass-word-7331', folder]), { status: 1 });
  open();
  const end = await server.ended(id);
  assert.deepEqual(states(end), ['one succeeded', 'two succeeded', 'three succeeded']);
  assert.deepEqual(begun(), ['kept', 'three']);
  assert.ok((end.cpuMs ?? 0) >= 10);
});

for (const [isMasked, why] of [
  [true, /^\{\{ steps\.one\.output \}\}: it held the value of a secret, and so was not kept when the helper/],
  [false, /^\{\{ steps\.one\.output \}\}: it was lost when the helper process of the agent was restarted$/],
] as const)
  test(`output that is not kept over a helper's death${isMasked ? ', as it held a secret,' : ''} fails what names it`, async () => {
    const steps = [
      marking('one'),
      step('two', 'echo {{ steps.one.output }}', { continueOnFailure: true }),
      marking('three', { when: defineWhen({ expression: 'steps.one.state == "succeeded"' }) }),
      marking('four', { when: defineWhen({ expression: 'steps.one.json == null' }) }),
    ];
    const id = await startBetween(steps, null, { kept: null, isMasked });
    permit(await asked(id), steps);
    const end = await server.ended(id);
    assert.deepEqual(states(end), ['one succeeded', 'two failed', 'three succeeded', 'four failed']);
    assert.equal(end.steps[1]?.reason, 'templateFailed');
    assert.match(end.steps[1]?.error ?? '', why);
    assert.equal(end.steps[3]?.reason, 'conditionFailed');
    assert.deepEqual(begun(), ['three']);
  });

test('a chain that the server does not let go on ends, and says why', async () => {
  const id = await startBetween([marking('one'), marking('two')]);
  await asked(id);
  server.send({ type: 'withdraw', attemptId: id, epoch: 1 });
  const end = await server.ended(id);
  assert.deepEqual([end.outcome, end.reason], ['failed', 'chainInterrupted']);
  assert.match(end.error ?? '', /did not let the chain go on/);
  assert.deepEqual(states(end), ['one succeeded', 'two notRun']);
});

test('a permit with other steps than those that were begun lets nothing go on', async () => {
  const id = await startBetween([marking('one'), marking('two')]);
  permit(await asked(id), [marking('one'), marking('three')]);
  const end = await server.ended(id);
  assert.deepEqual([end.reason, states(end)], ['chainInterrupted', ['one succeeded', 'two notRun']]);
  assert.throws(begun);
});

test('the question is asked again by each session, and by the next helper, until it is answered', async () => {
  const steps = [marking('one'), marking('two')];
  const id = await startBetween(steps);
  await asked(id);
  const known = server.messages.length;
  server.cut();
  await asked(id, known);
  const later = server.messages.length;
  killHelper();
  permit(await asked(id, later), steps);
  const end = await server.ended(id);
  assert.equal(end.outcome, 'succeeded');
  assert.deepEqual(begun(), ['two']);
});

test('an answer that comes too late is asked for again', async () => {
  const steps = [marking('one'), marking('two')];
  const id = await startBetween(steps);
  const question = await asked(id);
  const known = server.messages.length;
  permit(question, steps, { validUntilBootMs: 1 });
  permit(await asked(id, known), steps);
  assert.equal((await server.ended(id)).outcome, 'succeeded');
});

test('a chain that waits for the answer can be cancelled', async () => {
  const id = await startBetween([marking('one'), marking('two')]);
  await asked(id);
  server.send({ type: 'cancel', attemptId: id, epoch: 1, graceMs: 0 });
  const end = await server.ended(id);
  assert.deepEqual([end.outcome, states(end)], ['cancelled', ['one succeeded', 'two notRun']]);
});

test('the timeout of the run holds while a chain waits for the answer', async () => {
  const id = await startBetween([marking('one'), marking('two')], 500);
  const end = await server.ended(id);
  assert.deepEqual([end.outcome, end.reason], ['timedOut', 'timeout']);
  assert.deepEqual(states(end), ['one succeeded', 'two notRun']);
});

test('after a restart of the machine the end says how far the steps came', async () => {
  const session = await startSession();
  const id = await run([marking('one'), waiting('two'), marking('three')]);
  await told(id, 'two', 'running');
  session.kill('SIGKILL');
  await once(session, 'exit');
  killHelper();
  const { journal } = await openJournal({ folder, disk: systemDisk, now: { bootId: 'other', bootMs: 0 } });
  const started = { attemptId: id, epoch: 1, bootId: 'former', helperId: 'h', permitUntilBootMs: 1 };
  await journal.append({ type: 'started', ...started, key, bootMs: 0 });
  await journal.close();
  agents.push(await startAgent({ stateFolder: folder, log: silent }));
  const end = await server.ended(id);
  assert.deepEqual([end.outcome, end.reason], ['failed', 'hostRestarted']);
  assert.deepEqual(states(end), ['one succeeded', 'two failed', 'three notRun']);
  assert.equal(end.steps[1]?.reason, 'hostRestarted');
  open();
});

test('a secret that refers to the environment of the agent has the value that stands there', async () => {
  await start();
  const env = { VALUE: '{{ HERE }}', EXPECTED: process.env.PATH as string };
  const action = command('test "$VALUE" = "$EXPECTED" && echo "$VALUE"', { env });
  const id = await server.run(action, { secrets: { HERE: { from: 'agentEnv', name: 'PATH' } } });
  assert.equal((await server.ended(id)).outcome, 'succeeded');
  assert.equal(server.of(id).output, '***\n');
});

test('once the server has all of an attempt, nothing of its steps is left on the disk', async () => {
  await start();
  const id = await run([marking('one'), marking('two')]);
  await server.ended(id);
  await vanishes(id);
});
