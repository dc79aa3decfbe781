import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AttemptEnd, StepResult } from '@rota/contract';
import { unseenEnd } from './spoolFile.ts';
import { blankStep, encodeStepRecord, joinEnd, readStepTraces, type StepRecord } from './stepsFile.ts';

const plan: StepRecord = {
  kind: 'plan',
  steps: ['one', 'two', 'three'].map((name) => ({ name, kind: 'command', continueOnFailure: false })),
  isPlain: false,
};
const started = (index: number, number = 1): StepRecord => {
  return { kind: 'started', index, number, bootMs: 100 * number, timeoutMs: null, outputFrom: 7 };
};
const result = (index: number, changes: Partial<StepResult> = {}): StepResult => {
  return {
    ...blankStep(index, ['one', 'two', 'three'][index] as string, 'succeeded', 0),
    tries: 1,
    ...changes,
  };
};
const ended = (each: StepResult): StepRecord => {
  return { kind: 'ended', result: each, kept: null, isMasked: false, cpuMs: null, maxRssBytes: null };
};
const read = (...records: StepRecord[]) => readStepTraces(Buffer.concat(records.map(encodeStepRecord)));
const states = (end: AttemptEnd) => end.steps.map(({ state }) => state);

test('a step that has started and not ended is open, with what is known of its newest try', () => {
  const traces = read(plan, started(0), ended(result(0)), started(1), {
    kind: 'process',
    process: { pid: 42, startTime: 5 },
  });
  assert.equal(traces?.ended.length, 1);
  assert.deepEqual([traces?.open?.index, traces?.open?.process?.pid, traces?.open?.waiting], [1, 42, null]);
});

test('a try that is begun again has no process yet, and its step began with the first try', () => {
  const waits = result(0, { state: 'retrying' });
  const traces = read(plan, started(0), { kind: 'retrying', result: waits, againBootMs: 900 });
  assert.equal(traces?.open?.waiting?.againBootMs, 900);
  const again = read(plan, started(0), { kind: 'retrying', result: waits, againBootMs: 900 }, started(0, 2));
  const { number, startedBootMs, tryBootMs, waiting, process } = again?.open ?? {};
  assert.deepEqual([number, startedBootMs, tryBootMs, waiting, process], [2, 100, 200, null, null]);
});

test('a file that is cut at any byte of its last record has lost that record and nothing else', () => {
  const whole = [plan, started(0), ended(result(0))].map(encodeStepRecord);
  const last = encodeStepRecord(started(1));
  const size = Buffer.concat(whole).length;
  for (let bytes = 0; bytes < last.length; bytes++) {
    const traces = readStepTraces(Buffer.concat([...whole, last.subarray(0, bytes)]));
    assert.deepEqual([traces?.ended.length, traces?.open, traces?.size], [1, null, size]);
  }
  assert.equal(readStepTraces(encodeStepRecord(plan).subarray(0, 20)), null);
});

test('an end has all steps of the plan: from the file, from what the file did not take, and those that never ran', () => {
  const traces = read(plan, started(0), ended(result(0, { result: '{"a":1}' })), started(1));
  const end = { ...unseenEnd('exitStatus', 50), steps: [result(1, { state: 'failed', exitCode: 3 })] };
  const whole = joinEnd(end, traces);
  assert.deepEqual(states(whole), ['succeeded', 'failed', 'notRun']);
  assert.equal(whole.steps[1]?.exitCode, 3);
  assert.equal(whole.result, '{"a":1}');
});

test('a step that was under way when nobody was there to see its end has failed like its attempt', () => {
  const traces = read(plan, started(0), ended(result(0)), started(1));
  const whole = joinEnd(unseenEnd('hostRestarted', 50), traces);
  assert.deepEqual(states(whole), ['succeeded', 'failed', 'notRun']);
  const { reason, tries, outputFrom, outputTo } = whole.steps[1] as StepResult;
  assert.deepEqual([reason, tries, outputFrom, outputTo], ['hostRestarted', 1, 7, 50]);
});

test('what one plain step gave as its result is in its end, and no steps are', () => {
  const traces = read({ ...plan, isPlain: true }, ended(result(0, { result: '[1]' })));
  const whole = joinEnd({ ...unseenEnd('exitStatus', 0) }, traces);
  assert.deepEqual([whole.steps, whole.result], [[], '[1]']);
});
