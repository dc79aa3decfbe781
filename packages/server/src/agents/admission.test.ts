import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Admission } from './admission.ts';

test('no more than allowed are in at one time, and who waits comes in the order of coming', () => {
  const admission = new Admission(2);
  const begun: string[] = [];
  const [one, two] = ['one', 'two', 'three', 'four'].map((name) => admission.enter(() => begun.push(name)));
  assert.deepEqual(begun, ['one', 'two']);
  two?.();
  assert.deepEqual(begun, ['one', 'two', 'three']);
  one?.();
  assert.deepEqual(begun, ['one', 'two', 'three', 'four']);
});

test('who leaves while waiting is passed over, and who leaves twice frees one place', () => {
  const admission = new Admission(1);
  const begun: string[] = [];
  const [one, two] = ['one', 'two', 'three', 'four'].map((name) => admission.enter(() => begun.push(name)));
  two?.();
  one?.();
  one?.();
  assert.deepEqual(begun, ['one', 'three']);
});

test('who leaves as soon as it is in makes room for the next', () => {
  const admission = new Admission(1);
  const begun: string[] = [];
  const first = admission.enter(() => begun.push('first'));
  const second = admission.enter(() => {
    begun.push('second');
    queueMicrotask(second);
  });
  const third = admission.enter(() => begun.push('third'));
  first();
  second();
  assert.deepEqual(begun, ['first', 'second', 'third']);
  third();
});
