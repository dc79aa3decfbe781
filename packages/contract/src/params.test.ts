import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BadJob, testBadJobs } from './define.testing.ts';
import { define } from './define.ts';
import { readParams } from './params.ts';

/** A job whose parameters are bad; the path and the words of the one fault that it gives. */
const BAD: BadJob[] = [
  [
    'a parameter of no type',
    { command: 'x', params: { a: { type: 'text' } } },
    'params.a.type',
    /one of: string, number/,
  ],
  [
    'a default of another type',
    { command: 'x', params: { a: { type: 'number', default: 'x' } } },
    'params.a.default',
    /must be a number/,
  ],
  [
    'a default that is no choice',
    { command: 'x', params: { a: { default: 'x', choices: ['y'] } } },
    'params.a.default',
    /none of its choices/,
  ],
  [
    'a default that must be given',
    { command: 'x', params: { a: { default: 'x', required: true } } },
    'params.a.required',
    /need not be given/,
  ],
  [
    'neither required nor a default',
    { command: 'x', params: { a: { required: false } } },
    'params.a.default',
    /has a default/,
  ],
  [
    'a schedule and no default',
    { command: 'x', schedule: '@daily', params: { a: {} } },
    'params.a.default',
    /needs a default/,
  ],
  ['a bad name of a parameter', { command: 'x', params: { 'a-b': {} } }, 'params.a-b', /./],
];

testBadJobs(BAD);

const PARAMS = define(
  {
    name: 'a',
    command: 'true',
    params: {
      mode: { default: 'full', choices: ['full', 'quick'] },
      days: { type: 'number' },
      dry: { default: false },
    },
  },
  'UTC',
);

test('The values of a run are what was given, else the defaults', () => {
  assert.deepEqual(readParams(PARAMS, { days: 7 }), { params: { mode: 'full', days: 7, dry: false } });
  assert.deepEqual(readParams(PARAMS, { mode: 'quick', days: '-2.5', dry: 'true' }), {
    params: { mode: 'quick', days: -2.5, dry: true },
  });
  assert.deepEqual(readParams(define({ name: 'a', command: 'x' }, 'UTC'), undefined), { params: {} });
});

test('All faults of the values of a run are told at once', () => {
  const faults = (given: unknown) => {
    const read = readParams(PARAMS, given);
    return 'faults' in read ? read.faults.map(({ path, message }) => `${path}: ${message}`) : [];
  };
  assert.deepEqual(faults({}), ['params.days: is required: it has no default']);
  assert.deepEqual(faults({ mod: 'x', mode: 'slow', days: 'many', dry: null }), [
    'params.mod: unknown parameter (did you mean "mode"?)',
    'params.mode: "slow" is not allowed; one of: full, quick',
    'params.days: must be a number, not "many"',
    'params.dry: must be true or false, not null',
  ]);
  assert.deepEqual(faults([1]), ['params: must be an object, not [1]']);
  assert.equal(faults(JSON.parse('{"days": 1, "__proto__": 1, "constructor": 2}')).length, 2);
});
