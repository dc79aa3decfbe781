import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '@rota/contract';
import { createMasker, NO_MASKER } from './masking.ts';
import { createOutputData, RESULT_BYTES, type ReportedData, SUMMARY_LENGTH } from './outputData.ts';

function reported(
  text: string,
  masker = NO_MASKER,
  pieceLength = text.length,
  onProgress: (percent: number) => void = () => {},
): ReportedData {
  const data = createOutputData(onProgress);
  const whole = Buffer.from(text);
  for (let at = 0; at < whole.length; at += pieceLength) data.write(whole.subarray(at, at + pieceLength));
  return data.end(masker);
}

const NOTHING: ReportedData = { result: null, summary: null, failure: null, notes: [] };

test('result and summary are whole lines, wherever the output is cut; the last one counts', () => {
  const text =
    'hello\nrota:result 1\nrota:summary first\r\nrota:result {"rows": [1, 2]}\nrota:summary zwölf rows';
  for (let length = 1; length < 60; length++)
    assert.deepEqual(reported(text, NO_MASKER, length), {
      ...NOTHING,
      result: '{"rows":[1,2]}',
      summary: 'zwölf rows',
    });
});

test('what only looks like it says nothing', () => {
  for (const line of ['x rota:result 1', ' rota:summary x', 'rota:', '{"complete"', '{"code": 1}', '', '{}'])
    assert.deepEqual(reported(`${line}\n`), NOTHING, line);
});

test('the last line of a plugin of Cronicle says how it went', () => {
  assert.equal(reported('{"complete":1,"code":7,"description":"no room"}\n').failure, 'no room');
  assert.equal(reported('{"complete":true,"code":"7"}\n').failure, 'it reported the code 7');
  assert.deepEqual(reported('{"complete":1,"code":0,"description":"all copied"}\n'), {
    ...NOTHING,
    summary: 'all copied',
  });
  assert.deepEqual(reported('{"complete":1,"code":255,"description":"one was old"}'), {
    ...NOTHING,
    summary: 'one was old',
  });
});

test('what is too long or no JSON is not taken, which is said', () => {
  assert.deepEqual([RESULT_BYTES, SUMMARY_LENGTH], [LIMITS.resultBytes, LIMITS.summaryLength]);
  const long = reported(
    `rota:result "${'x'.repeat(70_000)}"\nrota:result {\nrota:summary ${'y'.repeat(1_001)}\n`,
  );
  assert.deepEqual([long.result, long.summary], [null, 'y'.repeat(1_000)]);
  assert.deepEqual(long.notes, [
    'the line of its result is longer than 65536 bytes',
    'its result is no JSON',
    'its summary was cut after 1000 characters',
  ]);
  const deep = reported(`rota:result ${'['.repeat(30_000)}${']'.repeat(30_000)}`);
  assert.ok(deep.result !== null || deep.notes.length === 1);
  assert.match(reported(`rota:result "${'x'.repeat(65_530)}€€"`).notes[0] ?? '', /more than 65536 bytes/);
});

test('values of secrets in it are masked, and a result stays JSON', () => {
  const masker = createMasker(['pass"word', '123456']);
  const { result, summary } = reported(
    'rota:result {"a":"x pass\\"word","n":123456,"pass\\"word":[true]}\nrota:summary is pass"word',
    masker,
  );
  assert.equal(result, '{"a":"x ***","n":"***","***":[true]}');
  assert.equal(summary, 'is ***');
});

function progressOf(text: string, pieceLength?: number): number[] {
  const heard: number[] = [];
  reported(text, NO_MASKER, pieceLength, (percent) => heard.push(percent));
  return heard;
}

test('progress is a line of ours, of a plugin of Cronicle, or a percentage alone, wherever the output is cut', () => {
  const text =
    'begin\nrota:progress 10%\n{"progress":0.29}\r\n  45%  \nrota:progress 0.57\nrota:progress 99.9%\n100%';
  for (let length = 1; length < 40; length++)
    assert.deepEqual(progressOf(text, length), [10, 29, 45, 57, 99, 100]);
  assert.deepEqual(
    progressOf('{"progress": 0}\n{"progress": 1}\nrota:progress .5\nrota:progress 1\n'),
    [0, 100, 50, 100],
  );
});

test('a plugin may say how far it is and how it went in one line', () => {
  const heard: number[] = [];
  const { failure } = reported('{"progress":0.5,"complete":1,"code":2}\n', NO_MASKER, 8, (percent) =>
    heard.push(percent),
  );
  assert.deepEqual([heard, failure], [[50], 'it reported the code 2']);
});

test('what is no progress is only output', () => {
  for (const line of [
    'rota:progress',
    'rota:progress 40',
    'rota:progress 101%',
    'rota:progress -1%',
    'rota:progress 1.5',
    'rota:progress 40 %',
    'rota:progress NaN',
    'rota:progress 0x10%',
    'x 40%',
    '40% done',
    '140%',
    '1e1%',
    '%',
    '{"progress":"0.5"}',
    '{"progress":1.5}',
    '{"progress":null}',
    '{"progress":0.5',
    '["progress",0.5]',
    'x{"progress":0.5}',
  ]) {
    assert.deepEqual(progressOf(`${line}\n`), [], line);
    assert.deepEqual(reported(`${line}\n`), NOTHING, line);
  }
});
