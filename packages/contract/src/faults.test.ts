import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Type } from 'typebox';
import { faultsOf, nearest, shown } from './faults.ts';

const strict = { additionalProperties: false };
const messages = (schema: Parameters<typeof faultsOf>[0], value: unknown) =>
  faultsOf(schema, value).map(({ path, message }) => `${path}: ${message}`);

test('A value that fits has no faults', () => {
  assert.deepEqual(faultsOf(Type.Object({ a: Type.String() }, strict), { a: 'x' }), []);
});

test('Paths read like code, also through lists and odd keys', () => {
  const schema = Type.Object({ list: Type.Array(Type.Object({ n: Type.Integer() }, strict)) }, strict);
  assert.deepEqual(messages(schema, { list: [{ n: 1 }, { n: 'x', 'a b': 1 }] }), [
    'list[1]."a b": unknown field',
    'list[1].n: must be a whole number, not the text "x"',
  ]);
});

test('A value that fits no branch of a choice is told all of them once', () => {
  const schema = Type.Object({ a: Type.Union([Type.String(), Type.Array(Type.String())]) }, strict);
  assert.deepEqual(messages(schema, { a: 7 }), ['a: must be text or a list, not 7']);
});

test('A value that nearly fits one branch of a choice is told about that branch alone', () => {
  const schema = Type.Object(
    { a: Type.Union([Type.String(), Type.Object({ cron: Type.String() }, strict)]) },
    strict,
  );
  assert.deepEqual(messages(schema, { a: { crn: 'x', cron: 'y' } }), [
    'a.crn: unknown field (did you mean "cron"?)',
  ]);
});

test('A near name is suggested, a far one is not', () => {
  assert.equal(nearest('shedule', ['schedule', 'shell']), ' (did you mean "schedule"?)');
  assert.equal(nearest('SHELL', ['schedule', 'shell']), ' (did you mean "shell"?)');
  assert.equal(nearest('banana', ['schedule', 'shell']), '');
  assert.equal(nearest('x'.repeat(10_000), ['schedule']), '');
  assert.equal(nearest('x', []), '');
});

test('A value in a message is one short line, whatever it is', () => {
  for (const value of [
    'x'.repeat(10_000),
    'a\nb\u001b[31m\u0000',
    { a: 'y'.repeat(500) },
    undefined,
    null,
    5,
  ]) {
    const text = shown(value);
    assert.ok(text.length <= 80);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is what is asserted
    assert.doesNotMatch(text, /[\u0000-\u001f]/);
  }
});

test('A thousand faults are all told, and quickly', () => {
  const schema = Type.Object({ a: Type.Array(Type.Integer()) }, strict);
  assert.equal(faultsOf(schema, { a: Array(1_000).fill('x') }).length, 1_000);
});
